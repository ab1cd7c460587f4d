"""Text for a terminal: model output, tool output and data files may hold escapes that move a cursor or forge a line."""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

CONTROL = re.compile(
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u206f\\ufeff\\ufff9-\\ufffb"
    "\\U000e0000-\\U000e007f]"
)
"""What moves a cursor, turns text around, breaks a line or is seen by nobody. Joiners stay: scripts need them."""
PLAIN_NAME = re.compile(r"[\w.@:/+-]+")
TAB = 8


def printable(text: str) -> str:
    """The text with control, direction and invisible characters shown as escapes; newline and tab stay."""
    return CONTROL.sub(lambda match: f"\\x{ord(match.group()):02x}", text.encode("utf-8", "replace").decode())


def printable_json(value: Any) -> str:
    """Indented JSON for a terminal or a program: what moves a cursor or is seen by nobody stands as an escape."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return CONTROL.sub(lambda match: json.dumps(match.group())[1:-1], text.encode("utf-8", "replace").decode())


def shorten_text(text: str, limit: int) -> str:
    """A printable text of at most `limit` characters, saying how much was left out."""
    text = printable(text)
    return text if len(text) <= limit else f"{text[:limit]} ... ({len(text) - limit:,} more characters)"


def one_line(text: str) -> str:
    """A printable text whose lines and tabs are escapes."""
    return printable(text).replace("\n", "\\n").replace("\t", "\\t")


def quote_name(name: str) -> str:
    """A name that somebody else chose: as it is where it is a word, otherwise in quotes, so that it ends where it
    ends."""
    return name if PLAIN_NAME.fullmatch(name) else one_line(json.dumps(name, ensure_ascii=False))


def mark_lines(text: str, first: str, rest: str, width: int = 0) -> str:
    """Each line of a text behind a mark, `first` or `rest`, so that none can be taken for a line of ours. With a width,
    longer lines are folded here: where a terminal folds them there is no mark."""
    room = width - max(len(first), len(rest))
    lines = [part for line in printable(text).split("\n") for part in fold_line(line, room)]
    return "\n".join((rest if number else first) + line for number, line in enumerate(lines))


def fold_line(line: str, width: int) -> list[str]:
    """The line in parts of at most `width` columns; whole where there is room for fewer than 20."""
    if width < 20:
        return [line]
    parts, used = [""], 0
    for character in line.expandtabs(TAB):
        takes = 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used + takes > width:
            parts.append("")
            used = 0
        parts[-1] += character
        used += takes
    return parts
