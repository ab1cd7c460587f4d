"""How much is read of a file that somebody else may have written, before a sentence says that it is too much.

One set for the whole process, because readers are called from everywhere: `--read-limit NAME=VALUE` of any command, or
`set_read_limits`, sets them once, before anything is read. What is written here is never longer than it may be read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace

from harness.errors import UsageError

LEAST_BYTES = 16 * 1024 * 1024
EXPANSION, EXPANSION_OF_RUNS = 50, 500
"""What a compressed file may become: so many bytes, or so many times its own size where that is more. Files of records
become 5 to 30 times their size; a thousand bytes of xz can become seven million. Runs are read one episode at a time,
and the epochs of a policy are the same text again and again."""


@dataclass(frozen=True, slots=True)
class ReadLimits:
    """What a file may hold; by these names on the command line."""

    bytes: int = 0
    """Of a compressed file, unpacked. 0: by the size of the file."""
    line: int = 64 * 1024 * 1024
    """Bytes of a line, and of a file that is read as a whole; a longer one is no environment."""
    rows: int = 2_000_000
    """Lines of a file."""
    values: int = 3_000_000
    """Values of one JSON text: each takes up to eighty bytes of memory, and three of the file."""
    depth: int = 500
    """Levels of lists and objects in one JSON text: an episode has 70. What handles them later recurses."""
    code: int = 300_000
    """Characters of a tool's source: its tree takes five hundred times as much memory."""
    items: int = 250
    """Tools, parameters of one, sub-answers, gold calls, sub-questions or checks of one environment, which has 20: what
    compares each with each is squared."""
    template: int = 10
    """Seconds that a chat template may take for a prompt."""


NAMES = tuple(field.name for field in fields(ReadLimits))
_limits = ReadLimits()


def read_limits() -> ReadLimits:
    """Those that hold now."""
    return _limits


def set_read_limits(values: Mapping[str, str | int]) -> None:
    """Replaces those that are named. Raises UsageError for a name that there is not, or a value that is no number."""
    global _limits
    for name, value in values.items():
        if name not in NAMES:
            raise UsageError(f"--read-limit knows no {name!r}; there are {', '.join(NAMES)}.")
        if not str(value).isascii() or not str(value).isdecimal() or not 0 < len(str(value)) < 19 or int(value) < 1:
            raise UsageError(f"--read-limit {name} takes a whole number above 0.")
    _limits = replace(_limits, **{name: int(value) for name, value in values.items()})


@contextmanager
def reading_within(values: Mapping[str, str | int]) -> Iterator[None]:
    """These limits for as long as the context lasts."""
    global _limits
    before = _limits
    try:
        set_read_limits(values)
        yield
    finally:
        _limits = before


def unpacked_limit(size: int, expansion: int = EXPANSION) -> int:
    """The bytes that a compressed file of so many may become."""
    return _limits.bytes or max(LEAST_BYTES, expansion * size)


def raise_by(name: str) -> str:
    """What to do about a limit that was met, to end a sentence."""
    return f"--read-limit {name}=N sets another limit, for a file that you trust"
