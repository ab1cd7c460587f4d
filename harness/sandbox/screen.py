"""Which tools may share a worker (to be written)."""

from __future__ import annotations


def is_plain(source: str) -> bool:
    return "eval" not in source
