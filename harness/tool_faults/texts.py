"""What a call that fails on purpose is answered, and how that is recognised again by whoever reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping

from harness.types import CallStatus, FaultKind

ANSWERS: Mapping[FaultKind, tuple[CallStatus, str]] = {
    "timeout": ("timeout", "timed out after 10 seconds"),
    "500": ("raised", "HTTP 500 Internal Server Error"),
    "429": ("raised", "HTTP 429 Too Many Requests; retry after {wait} seconds"),
    "malformed": ("truncated", '{{"status": "ok", "result": {{"val'),
    "permission": ("raised", "HTTP 403 Forbidden: you have no permission to use {tool}"),
}
"""Status and words of a call that is not run; a truncated one is run, and its output cut."""
CUT = "\n[cut off: {shown} of {all} items]"
_READ: Mapping[FaultKind, re.Pattern[str]] = {
    "timeout": re.compile(r"timed out after 10 seconds\Z"),
    "500": re.compile(r"HTTP 500 Internal Server Error\Z"),
    "429": re.compile(r"HTTP 429 Too Many Requests; retry after \d+ seconds\Z"),
    "malformed": re.compile(r'\A\{"status": "ok", "result": \{"val\Z'),
    "permission": re.compile(r"HTTP 403 Forbidden: you have no permission to use .*\Z"),
    "truncated": re.compile(r"\n\[cut off: \d+ of \d+ items\]\Z"),
}


def read_fault(output: str) -> FaultKind | None:
    """The fault that an output tells of; None where it tells of none."""
    return next((kind for kind, pattern in _READ.items() if pattern.search(output)), None)
