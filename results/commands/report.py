"""Write runs as one HTML file: summary, tables, figures, why episodes failed, and every transcript.

The file needs no network and no server; open it in any browser of 2023 or later.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.console.text import printable
from harness.errors import UsageError

HELP = "one HTML file to read: summary, figures, causes of failure, every transcript"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, nargs="+", metavar="RUN", help="run directories, or folders that hold them")
    add("--out", type=Path, required=True, metavar="FILE.html", help="the file to write; only a report is overwritten")
    add("--training", type=Path, nargs="+", default=[], metavar="DIR", help="training directories, for their curves")
    add("--title", metavar="TEXT", default="Tool use, measured", help="the page's title")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where no run can be read, or where the file is something else than a report."""
    from harness.data import jsonio
    from results.report.data import read_report
    from results.report.page import PAGE_START, build_page

    _refuse_others(args.out, PAGE_START)
    report = read_report(args.run, args.training)
    text = build_page(report, args.title)
    jsonio.write_atomically(args.out, text)
    for remark in report.remarks:
        print(printable(remark), file=sys.stderr)
    episodes = sum(len(run.records) for run in report.runs)
    size = args.out.stat().st_size / 1e6
    runs = f"{len(report.runs)} run" + ("s" if len(report.runs) > 1 else "")
    print(printable(f"{args.out}: {runs}, {episodes:,} episodes, {size:.1f} MB"))
    return 0


def _refuse_others(out: Path, begin: str) -> None:
    """Raises UsageError where `out` cannot be written or holds something that is no report."""
    if not out.parent.is_dir():
        raise UsageError(f"{out} cannot be written: {out.parent} is no directory.")
    if out.is_dir():
        raise UsageError(f"{out} is a directory; name a file with --out.")
    if out.exists():
        with out.open("rb") as file:
            if file.read(len(begin.encode())) != begin.encode():
                raise UsageError(f"{out} exists and is no report; name another file with --out.")
