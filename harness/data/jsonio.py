"""JSON as this project writes and reads it: canonical text and digests, and files that nobody vouches for."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

LARGEST = 1e100
"""No number of a run is beyond it, so that sums of squares stay finite."""


def canonical_json(value: Any) -> str:
    """One text for equal values: sorted keys, no spaces, no escapes beyond what JSON needs."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any) -> str:
    """The first 16 hexadecimal digits of the SHA-256 of a value's canonical text."""
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def parse_json(text: str | bytes) -> Any:
    """json.loads for untrusted text: whatever is wrong with it, depth included, is a ValueError."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        if "int_max_str_digits" in str(error):
            raise ValueError("it holds a number of thousands of digits") from None
        raise


def write_atomically(path: Path, content: str | bytes) -> None:
    """The whole new file or the old one, also when the process is killed in between."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    # what others wrote may hold half a surrogate pair
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "replace"))
    temporary.replace(path)


def write_json(path: Path, value: Any) -> None:
    """A value as indented JSON, atomically."""
    write_atomically(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def is_number(value: Any) -> bool:
    """Whether a value is a number that may stand in a run."""
    return isinstance(value, int | float) and -LARGEST < value < LARGEST  # never true of NaN
