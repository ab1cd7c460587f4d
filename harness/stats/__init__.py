"""The statistics of comparison: means with their uncertainty, paired differences, pass@k. docs/intervals.md"""

from harness.stats.estimates import (
    EMPTY,
    ROUNDING,
    Estimate,
    Observation,
    PairedObservation,
    difference_bounds,
    differences,
    estimate,
    mean,
    paired_difference,
    pass_at,
    pass_hat,
    weights_of,
)

__all__ = [
    "EMPTY",
    "ROUNDING",
    "Estimate",
    "Observation",
    "PairedObservation",
    "difference_bounds",
    "differences",
    "estimate",
    "mean",
    "paired_difference",
    "pass_at",
    "pass_hat",
    "weights_of",
]
