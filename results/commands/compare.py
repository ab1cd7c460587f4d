"""Compare runs of the same samples with a base: paired differences, how sure they are, and which episodes flipped.

The first run is the base; a folder stands for the runs in it, so `harness compare DIR` compares the two modes that
`harness eval --reasoning both` wrote there. Runs whose tasks, samples or epochs differ are refused. What each figure
means: docs/comparing.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from results.commands.table import add_format_option

HELP = "paired differences between runs of the same samples, and whether they are real"
LISTED = 5


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "run", type=Path, nargs="+", metavar="RUN", help="the base, then what is compared with it; folders hold several"
    )
    add("--by-task", action="store_true", help="every task too, not only groups")
    add("--metric", nargs="+", action="extend", default=[], metavar="GLOB", help="which metrics (default: the usual)")
    add("--shared", action="store_true", help="leave out tasks that only one of the runs has")
    add("--all", action="store_true", help=f"list every episode that flipped, not only the first {LISTED}")
    add("--brief", action="store_true", help="the table alone, without what flipped or changed sign")
    add_format_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for fewer than two runs, and for runs that cannot be paired."""
    from results.comparison.present import ComparisonOptions, format_comparison

    options = ComparisonOptions(args.by_task, args.metric, args.shared, None if args.all else LISTED, args.brief)
    print(format_comparison(args.run, args.format, options))
    return 0
