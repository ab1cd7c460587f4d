"""Write runs as one HTML file: summary, tables, figures, why episodes failed, and every transcript.

The file needs no network and no server; open it in any browser of 2023 or later.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.commands.options import add_trust_option
from harness.console.text import printable

HELP = "one HTML file to read: summary, figures, causes of failure, every transcript"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, nargs="+", metavar="RUN", help="run directories, or folders that hold them")
    add("--out", type=Path, required=True, metavar="FILE.html", help="the file to write; only a report is overwritten")
    add("--training", type=Path, nargs="+", default=[], metavar="DIR", help="training directories, for their curves")
    add("--title", metavar="TEXT", default="Tool use, measured", help="the page's title")
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where no run can be read, or where the file is something else than a report."""
    from results.report.write import write_report

    report = write_report(args.run, args.training, args.out, args.title, args.trust_code)
    for remark in report.remarks:
        print(printable(remark), file=sys.stderr)
    episodes = sum(len(run.results) for run in report.runs)
    size = args.out.stat().st_size / 1e6
    runs = f"{len(report.runs)} run" + ("s" if len(report.runs) > 1 else "")
    print(printable(f"{args.out}: {runs}, {episodes:,} episodes, {size:.1f} MB"))
    return 0
