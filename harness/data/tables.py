"""TOML that nobody vouches for: recipes and prices, which people send each other."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from harness.data import disk

LONGEST = 250_000
"""Bytes. A recipe has a thousand."""
MOST_DOTS = 100
"""In a line: what tomllib does for a dotted key grows with the square of its parts, to minutes for a few kilobytes."""


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a file. Raises OSError, UsageError for what is no file, and ValueError for what is no TOML."""
    content = disk.read_file(path, links=True)
    if len(content) > LONGEST:
        raise ValueError(f"it is longer than {LONGEST:,} bytes")
    if any(line.count(b".") > MOST_DOTS for line in content.splitlines()):
        raise ValueError(f"it has a line with more than {MOST_DOTS} dots")
    try:
        return tomllib.loads(content.decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None
