"""The committed results: `python -m results --check`, `--write`, or `--add RUN NAME --command "harness eval ..."`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from harness.errors import HarnessError
from results import published_runs


def main() -> int:
    """0 where every committed run is sound and every table in README, docs and lab books is what its runs give; else 1,
    or 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m results", description=published_runs.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    one = parser.add_mutually_exclusive_group(required=True)
    one.add_argument("--check", action="store_true", help="compare tables with the committed runs")
    one.add_argument("--write", action="store_true", help="replace the tables that differ")
    one.add_argument("--add", nargs=2, metavar=("RUN", "NAME"), help="take a finished run in")
    parser.add_argument("--command", help="what made the run of --add")
    args = parser.parse_args()
    if args.add and not args.command:
        parser.error("--add needs --command: what made the run.")
    try:
        if args.add:
            published_runs.add_run(Path(args.add[0]), args.add[1], args.command)
            return 0
        return _check() if args.check else _write()
    except HarnessError as error:
        print(f"python -m results: {error}", file=sys.stderr)
        return 2


def _check() -> int:
    found = published_runs.find_faults()
    tables = published_runs.read_tables()
    found += [block.difference for block in tables if block.difference]
    for fault in found:
        print(fault, file=sys.stderr)
    if not found:
        print(f"{len(published_runs.list_runs())} committed runs, {len(tables)} tables made from them: all agree.")
    return 1 if found else 0


def _write() -> int:
    for block in published_runs.update_pages():
        print(f"{block.page.name}: {block.command}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
