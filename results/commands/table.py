"""Print one table of several runs, for the terminal or as markdown, LaTeX, CSV, JSON or HTML.

--layout scenario sets the four scenarios side by side; --layout paper has the columns of the FTRL paper's Table 2.
docs/comparing.md says how each figure is formed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.console.text import printable
from harness.errors import UsageError
from results.runs import Run

HELP = "one table of several runs"
LAYOUTS = ("default", "scenario", "paper")
OPTIONS = {
    "by_task": ("--by-task", ("default",)),
    "rule": ("--rule", ("scenario", "paper")),
    "environments": ("--environments", ("paper",)),
    "base": ("--base", ("paper",)),
    "with_published": ("--with-published", ("paper",)),
}
"""Options that only some layouts have."""


def configure(parser: argparse.ArgumentParser) -> None:
    from results.layouts.paper import ENVIRONMENT_GROUPS

    add = parser.add_argument
    add("run", type=Path, nargs="+", metavar="RUN", help="run directories, or folders that hold them")
    add("--by-task", action="store_true", help="a row for every task, not only for groups")
    add_format_option(parser)
    add("--layout", choices=LAYOUTS, default="default", help="which rows and columns")
    add("--rule", choices=["strict", "paper"], help="whose scores (default: strict by scenario, paper in paper)")
    add(
        "--environments",
        choices=ENVIRONMENT_GROUPS,
        help="what fills the Solve columns of paper (default: the first of these that a run has)",
    )
    add(
        "--base",
        nargs="+",
        action="extend",
        default=[],
        metavar="RUN|MODEL",
        help="base models of paper: rows that follow one are compared with it by arrows",
    )
    add("--with-published", action="store_true", help="the published rows of Table 2, marked as such")


def add_format_option(parser: argparse.ArgumentParser) -> None:
    from results.render import TABLE_FORMATS

    parser.add_argument("--format", choices=list(TABLE_FORMATS), default="simple", help="how to print it")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that holds no finished run."""
    from results.runs import read_runs

    for name, (option, layouts) in OPTIONS.items():
        if getattr(args, name) and args.layout not in layouts:
            raise UsageError(f"{option} belongs to --layout {' or '.join(layouts)}.")
    print(_table(read_runs(args.run), args))
    return 0


def _table(runs: list[Run], args: argparse.Namespace) -> str:
    from results import render
    from results.layouts.default import default_json, default_table
    from results.layouts.paper import PaperOptions, paper_table
    from results.layouts.scenario import scenario_table

    if args.layout == "paper":
        choice = PaperOptions(args.rule or "paper", args.environments, args.base, args.with_published)
        return render.TABLE_FORMATS[args.format](paper_table(runs, choice))
    if args.layout == "scenario":
        return render.TABLE_FORMATS[args.format](scenario_table(runs, args.rule or "strict"))
    if args.format == "simple":
        return _as_eval_prints(runs, args.by_task)
    if args.format == "json":
        return default_json(runs, args.by_task)
    return render.TABLE_FORMATS[args.format](default_table(runs, args.by_task))


def _as_eval_prints(runs: list[Run], by_task: bool) -> str:
    from harness.console.tables import format_legend, format_table

    summaries = [run.summary for run in runs]
    return printable(f"{format_table(summaries, [run.groups for run in runs], by_task)}\n\n{format_legend(summaries)}")
