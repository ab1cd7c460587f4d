"""The report as a file: read, drawn, and written where it overwrites nothing but a report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from harness.data import disk, jsonio
from harness.errors import UsageError
from results.report.data import Report, read_report
from results.report.page import PAGE_START, build_lines


def write_report(
    paths: Sequence[Path], training: Sequence[Path], out: Path, title: str, trust_code: bool = False
) -> Report:
    """What was written. Raises UsageError where no run can be read, or where `out` is something else than a report."""
    _refuse_others(out)
    report = read_report(paths, training, trust_code)
    with jsonio.replace_file(out) as file:
        for number, part in enumerate(build_lines(report, title)):
            file.write(("\n" * (number > 0) + part).encode("utf-8", "replace"))
    return report


def _refuse_others(out: Path) -> None:
    """Raises UsageError where `out` cannot be written or holds something that is no report."""
    if not out.parent.is_dir():
        raise UsageError(f"{out} cannot be written: {out.parent} is no directory.")
    if out.is_dir():
        raise UsageError(f"{out} is a directory; name a file with --out.")
    if out.exists():
        with disk.open_file(out, links=True) as file:
            if file.read(len(PAGE_START.encode())) != PAGE_START.encode():
                raise UsageError(f"{out} exists and is no report; name another file with --out.")
