"""Text for a terminal: model output, tool output and data files may hold escapes that move a cursor or forge a line."""

from __future__ import annotations

import re

CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """The text with control and direction characters shown as escapes; newline and tab stay."""
    return CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text.encode("utf-8", "replace").decode())


def shorten_text(text: str, limit: int) -> str:
    """A printable text of at most `limit` characters, saying how much was left out."""
    text = printable(text)
    return text if len(text) <= limit else f"{text[:limit]} ... ({len(text) - limit:,} more characters)"
