"""JSON as this project writes and reads it: canonical text and digests, and files that nobody vouches for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from harness.data import disk
from harness.data.arguments import is_deeper_than
from harness.data.limits import raise_by, read_limits

LARGEST = 1e100
"""No number of a run is beyond it, so that sums of squares stay finite."""


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def canonical_json(value: Any) -> str:
    """One text for equal values: sorted keys, no spaces, no escapes beyond what JSON needs."""
    return _CANONICAL.encode(value)


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def parse_json(text: str | bytes) -> Any:
    """json.loads for untrusted text: whatever is wrong with it is a ValueError, more values or levels than are read
    (harness.data.limits) included."""
    limits = read_limits()
    if len(text) > 2 * limits.values and _count(text, ",[{") > limits.values:
        raise ValueError(f"it holds more than {limits.values:,} values; {raise_by('values')}")
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        if "int_max_str_digits" in str(error):
            raise ValueError("it holds a number of thousands of digits") from None
        raise
    if _count(text, "[{") > limits.depth and is_deeper_than(value, limits.depth):
        raise ValueError(f"nested more than {limits.depth} levels deep; {raise_by('depth')}")
    return value


def _count(text: str | bytes, signs: str) -> int:
    """How often any of these signs is in a text: no fewer than there are values or levels that begin with one."""
    return sum(text.count(sign) if isinstance(text, str) else text.count(sign.encode()) for sign in signs)


def read_json(path: Path, *, links: bool) -> Any:
    """The value in a file (`links`: also through a link). Raises OSError, ValueError for what is no JSON, and
    UsageError for what is no file or too long."""
    return parse_json(disk.read_file(path, links=links))


def write_atomically(path: Path, content: str | bytes) -> None:
    """The whole new file or the old one, also when the process is killed in between."""
    with replace_file(path) as file:
        # what others wrote may hold half a surrogate pair
        file.write(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))


@contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write in parts; it takes the place of `path` at the end, and leaves nothing behind on an error."""
    file, temporary = disk.open_beside(path)
    try:
        with file:
            yield file
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """A value as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def is_number(value: Any) -> bool:
    """Whether a value is a number that may stand in a run."""
    return isinstance(value, int | float) and -LARGEST < value < LARGEST  # never true of NaN
