"""Memory that a training on a CPU would keep: what glibc's heap holds between tensors of changing length."""

from __future__ import annotations

from typing import Any

from harness.models.local.bounded import resident_memory
from harness.models.local.hf import release_memory
from harness.models.local.packages import import_quietly

transformers: Any = import_quietly("transformers")

GROWTH = 1.25
"""Giving back costs seconds, because pages are fetched anew; a quarter more than one step needs is kept."""


class HeapCallback(transformers.TrainerCallback):  # type: ignore[misc]
    """Gives the heap back after a step that leaves a quarter more memory than the first one did, and where a
    checkpoint is saved (docs/performance.md)."""

    def __init__(self) -> None:
        self._first = 0

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._first = self._first or resident_memory()
        if resident_memory() > GROWTH * self._first:
            release_memory()

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        release_memory()
