"""Print one table of several runs, for the terminal or as markdown, LaTeX or HTML."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.terminal import printable

HELP = "one table of several runs"
STYLES = {"simple": "simple", "markdown": "github", "latex": "latex_booktabs", "html": "html"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="run directories, or folders that hold them")
    parser.add_argument("--by-task", action="store_true", help="a row for every task, not only for groups")
    parser.add_argument("--format", choices=list(STYLES), default="simple", help="how to print it")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that holds no finished run."""
    from harness.display import legend, table
    from harness.runs import RunDirectory

    runs = [RunDirectory.open(path) for path in found_runs(args.run)]
    summaries, groups = [run.summary() for run in runs], [run.manifest["groups"] for run in runs]
    print(printable(table(summaries, groups, args.by_task, STYLES[args.format])))
    if args.format == "simple":
        print(f"\n{legend(summaries)}")
    return 0


def found_runs(paths: list[Path]) -> list[Path]:
    """The run directories among the paths and, for a folder that is none itself, the finished ones below it."""
    found: list[Path] = []
    for path in paths:
        below = [] if (path / "manifest.json").exists() else sorted(p.parent for p in path.rglob("manifest.json"))
        finished = [run for run in below if (run / "summary.json").exists()]
        for run in below:
            if run not in finished:
                print(printable(f"Left out {run}: it is not finished."), file=sys.stderr)
        found += finished or [path]
    return found
