"""The door for models: whatever a backend's `load` gave becomes a harness.types.Model here, and nowhere else.

A backend's own class inherits Model. One that does not (a function with a name and a fingerprint, an object that calls
another library) is wrapped: those optional parts that it has are used, the others are Model's defaults.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any

from harness.batching import BatchModel, Unfinished
from harness.errors import ModelFailure, UsageError
from harness.types import Model, ModelRequest, Reply

REQUIRED = ("name", "fingerprint", "__call__")
OPTIONAL = ("check", "sampling_options", "switch", "aclose", "close")


def adapt_model(found: Any, name: str) -> Model:
    """What was loaded as `name`, as a Model. Raises UsageError where it lacks what a model must have."""
    if isinstance(found, Model):
        return found
    if lacking := [part for part in REQUIRED if not hasattr(found, part)]:
        kind = type(found).__name__
        raise UsageError(f"{name} cannot be loaded: its backend gave no model ({kind} has no {', '.join(lacking)}).")
    batches = hasattr(found, "batch") and hasattr(found, "width")
    return AdaptedBatchModel(found) if batches else AdaptedModel(found)


class AdaptedModel(Model):
    """Somebody's model that does not inherit Model."""

    def __init__(self, theirs: Any) -> None:
        self.name = theirs.name
        self.fingerprint = theirs.fingerprint
        self._theirs = theirs
        for part in OPTIONAL:
            if (own := getattr(theirs, part, None)) is not None:
                setattr(self, part, own)

    def __call__(self, request: ModelRequest) -> Reply | Awaitable[Reply]:
        said: Reply | Awaitable[Reply] = self._theirs(request)
        return said


class AdaptedBatchModel(AdaptedModel, BatchModel):
    """One that answers many requests at once."""

    def __init__(self, theirs: Any) -> None:
        super().__init__(theirs)
        self.width = theirs.width
        self.patience = getattr(theirs, "patience", None)

    def batch(self, requests: Sequence[ModelRequest]) -> list[Reply | ModelFailure]:
        said: list[Reply | ModelFailure] = self._theirs.batch(requests)
        return said

    def advance(self, requests: Sequence[ModelRequest]) -> Sequence[Reply | ModelFailure | Unfinished]:
        said: Sequence[Reply | ModelFailure | Unfinished]
        said = self._theirs.advance(requests) if hasattr(self._theirs, "advance") else self.batch(requests)
        return said
