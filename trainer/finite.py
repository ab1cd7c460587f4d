"""A training stops at what is no number: behind it every weight would be none, and nothing would say so."""

from __future__ import annotations

import math

from harness.errors import HarnessError

ADVICE = "lower learning_rate and train anew"


def require_finite(what: str, value: float, step: int, advice: str) -> None:
    """Raises HarnessError where the loss or the gradient of a step is no number; `advice` is what to do."""
    if not math.isfinite(value):
        raise HarnessError(f"The {what} of step {step} is {value}, so training has stopped; {advice}.")
