"""What the documents hold: their fenced blocks, by the markers before them."""

from __future__ import annotations

import re
import shlex
from itertools import dropwhile, groupby

from builders import ROOT


def page(name: str) -> str:
    """A document's text, by its path in the repository."""
    return (ROOT / name).read_text(encoding="utf-8")


def block(text: str, marker: str) -> str:
    """The fenced block after `<!-- marker -->`."""
    found = re.search(rf"<!-- {marker} -->\n```\w+\n(.*?)```", text, re.DOTALL)
    assert found, marker
    return found[1]


SHELL = ("sh", "bash", "console", "")
"""What a block of commands is marked as; one without a mark may hold anything, and has commands of `PROGRAMS` alone."""
PROGRAMS = ("harness", "pip", "python", "python3.11", "inspect", "lm_eval", "pytest", "cd", "export")


def commands(name: str) -> list[list[str]]:
    """Every command of a document's blocks, as words: lines that go on, chains and substitutions taken apart."""
    found: list[list[str]] = []
    for mark, body in re.findall(r"^```(\w*)\n(.*?)^```", page(name), re.DOTALL | re.MULTILINE):
        if mark in SHELL:
            for line in body.replace("\\\n", " ").splitlines():
                found += [words for words in _chained(line) if words[0].rpartition("/")[2] in PROGRAMS or mark]
    return found


def _chained(line: str) -> list[list[str]]:
    """The commands of a line, without what is set or redirected around them."""
    inner = [one.split() for one in re.findall(r"\$\(([^)]*)\)", line)]
    try:
        words = shlex.split(line, comments=True)
    except ValueError:  # no shell's
        return inner
    parts = [list(part) for ends, part in groupby(words, key=lambda word: word in ("&&", "|")) if not ends]
    plain = [part[: part.index(">")] if ">" in part else part for part in parts]
    plain = [list(dropwhile(lambda word: re.match(r"[A-Z_]+=", word), part)) for part in plain]
    return [*filter(None, plain), *inner]
