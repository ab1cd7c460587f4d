"""Tools of the bundled environments, known by digest, so that nobody looks at them again, whatever file they are in.

bundled_sources.bin lies beside this: SHA-256 digests, cut to 16 bytes and in order, of a tool's name and source, for
every tool of tasks/data that parses, defines the function it is named after, may share a worker and draws nothing at
random. `python -m tasks.look_at_sources` writes it, and a test does the same work again. A digest is only ever read
from the package: no data file, run or manifest can add one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from hashlib import sha256
from pathlib import Path

FILE = Path(__file__).with_name("bundled_sources.bin")
SIZE = 16
"""Bytes of a digest: nobody can write another source with one of a few thousand given digests."""


def is_bundled(name: str, source: str) -> bool:
    """Whether a tool was found plain when it was bundled."""
    return digest_tool(name, source) in _digests()


def digest_tool(name: str, source: str) -> bytes:
    """Of both, with the length that tells where the name ends."""
    both = f"{len(name)}\0{name}{source}"
    return sha256(both.encode("utf-8", "surrogatepass")).digest()[:SIZE]


def to_bytes(digests: Iterable[bytes]) -> bytes:
    """As the file has them."""
    return b"".join(sorted(set(digests)))


@cache
def _digests() -> frozenset[bytes]:
    kept = FILE.read_bytes()
    return frozenset(kept[start : start + SIZE] for start in range(0, len(kept), SIZE))
