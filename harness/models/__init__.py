"""Models by name: `prefix/rest`, where the prefix names a backend and anything without a known prefix means openai/.

A backend is a module (entry point group `harness.models`) with `load(name, options) -> Model`, optionally `NAMES`
(what a glob such as `policy/*` matches) and `HELP` (one line for `harness list`). A model may have two more methods:
`check(samples)` raises UsageError before anything runs; `aclose()` is awaited when the run ends.
"""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import ModuleType

from harness.errors import UsageError
from harness.redaction import Redactor
from harness.registry import load_entry_points, near
from harness.types import Model

DEFAULT_BACKEND = "openai"


@dataclass(frozen=True)
class ModelOptions:
    """What a backend may need: `args` from --model-arg, where requests go, how many at once, and the environment."""

    args: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None
    concurrency: int = 16
    seed: int | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    redact: Redactor = field(default_factory=Redactor)


def backends() -> dict[str, ModuleType]:
    """Every backend that is installed, by prefix."""
    return load_entry_points("harness.models")


def expand(patterns: Sequence[str]) -> list[str]:
    """Full model names: globs over the names that backends declare, everything else as it stands, without repeats."""
    known = backends()
    names: list[str] = []
    for pattern in patterns:
        prefix, slash, rest = pattern.partition("/")
        if not pattern or (slash and prefix in known and not rest):
            raise UsageError(f"The model {pattern!r} lacks a name: {prefix or 'openai'}/NAME.")
        listed = getattr(known.get(prefix), "NAMES", ())
        if any(character in rest for character in "*?[") and listed:
            found = [f"{prefix}/{name}" for name in listed if fnmatch.fnmatchcase(name, rest)]
            if not found:
                raise UsageError(f"No model matches {pattern!r}; {prefix}/ has {', '.join(listed)}.")
            names += found
        else:
            names.append(pattern if prefix in known and rest else f"{DEFAULT_BACKEND}/{pattern}")
    return list(dict.fromkeys(names))


def load(name: str, options: ModelOptions) -> Model:
    """The model of a full name. Raises UsageError for a name that its backend does not know."""
    prefix, _, rest = name.partition("/")
    backend = backends()[prefix]
    listed = getattr(backend, "NAMES", ())
    if listed and rest not in listed:
        raise UsageError(f"No model is called {name!r}.{near(name, [f'{prefix}/{n}' for n in listed])}")
    model: Model = backend.load(rest, options)
    return model
