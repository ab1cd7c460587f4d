"""Print one table of several runs, in the terminal's, markdown, LaTeX, CSV or HTML form."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "one table of several runs"
STYLES = {"simple": "simple", "markdown": "github", "latex": "latex_booktabs", "html": "html", "tsv": "tsv"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="run directories, or folders that hold them")
    parser.add_argument("--by-task", action="store_true", help="a row for every task, not only for groups")
    parser.add_argument("--format", choices=list(STYLES), default="simple", help="how to print it")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that holds no finished run."""
    from harness.display import LEGEND, table
    from harness.runs import RunDirectory
    from harness.terminal import printable

    summaries = [RunDirectory.open(path).summary() for path in found_runs(args.run)]
    print(printable(table(summaries, args.by_task, STYLES[args.format])))
    if args.format == "simple":
        print(f"\n{LEGEND}")
    return 0


def found_runs(paths: list[Path]) -> list[Path]:
    """The run directories among the paths and, for a folder that is none itself, directly below it."""
    found: list[Path] = []
    for path in paths:
        below = [] if (path / "manifest.json").exists() else sorted(p.parent for p in path.glob("*/manifest.json"))
        found += below or [path]
    return found
