"""What the documents hold: their fenced blocks, by the markers before them."""

from __future__ import annotations

import re

from builders import ROOT


def page(name: str) -> str:
    """A document's text, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def block(text: str, marker: str) -> str:
    """The fenced block after `<!-- marker -->`."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, marker
    return found[1]
