"""The statistics of comparison: means with their uncertainty, paired differences, pass@k. docs/intervals.md"""

from harness.stats.estimates import (
    NO_ESTIMATE,
    ROUNDING_ERROR,
    Estimate,
    Observation,
    PairedObservation,
    change_of_pairs,
    difference_bounds,
    estimate_mean,
    mean,
    paired_difference,
    pass_at,
    pass_hat,
    weights_of,
)

__all__ = [
    "NO_ESTIMATE",
    "ROUNDING_ERROR",
    "Estimate",
    "Observation",
    "PairedObservation",
    "change_of_pairs",
    "difference_bounds",
    "estimate_mean",
    "mean",
    "paired_difference",
    "pass_at",
    "pass_hat",
    "weights_of",
]
