"""Print one table of several runs, for the terminal or as markdown, LaTeX, CSV, JSON or HTML.

--layout scenario sets the four scenarios side by side; --layout paper has the columns of the FTRL paper's Table 2.
docs/comparing.md says how each figure is formed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.errors import UsageError
from results.layouts import ENVIRONMENT_GROUPS, LAYOUTS
from results.render import TABLE_FORMATS

HELP = "one table of several runs"
OPTIONS = {
    "by_task": ("--by-task", ("default",)),
    "rule": ("--rule", ("scenario", "paper")),
    "environments": ("--environments", ("paper",)),
    "base": ("--base", ("paper",)),
    "with_published": ("--with-published", ("paper",)),
}
"""Options that only some layouts have."""


def configure(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--format", choices=list(TABLE_FORMATS), default="simple", help="how to print it")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that holds no finished run."""
    from results.layouts.choose import TableOptions, format_runs

    for name, (option, layouts) in OPTIONS.items():
        if getattr(args, name) and args.layout not in layouts:
            raise UsageError(f"{option} belongs to --layout {' or '.join(layouts)}.")
    paper = (args.environments, args.base, args.with_published)
    print(format_runs(args.run, TableOptions(args.layout, args.format, args.by_task, args.rule, *paper)))
    return 0
