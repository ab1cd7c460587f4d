"""Names of directories that hold what a model's name says, on any file system and in any shell."""

from __future__ import annotations

import hashlib
import re

LONGEST = 100
"""Bytes of a model's name; what is longer ends in a digest, so that two names stay two."""
UNSAFE = re.compile(r"[^\w.,@=+-]")
DIGEST = 8


def directory_name(model: str) -> str:
    """A model's name as part of a path: `/`, `:` and whatever else a path, a shell or another system reads its own
    way is `-`."""
    name = UNSAFE.sub("-", model)
    encoded = name.encode("utf-8", "replace")
    if len(encoded) <= LONGEST:
        return name
    digest = hashlib.sha256(model.encode("utf-8", "replace")).hexdigest()[:DIGEST]
    return encoded[: LONGEST - DIGEST - 1].decode("utf-8", "ignore") + "-" + digest
