"""Means that say how sure they are: clustered standard errors, intervals, paired differences.

Episodes that share a world (or a question, played in several epochs) are not independent, so standard errors are
clustered: residuals are summed within a cluster before they are squared (the sandwich estimator with the G/(G-1)
correction; Cameron and Miller, 2015, section II), and intervals use Student's t with G-1 degrees of freedom; a mean at
the end of its scale, where no value differs, gets the exact binomial limit instead of an interval without width.
Bootstrap and significance tests belong to `results`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

Observation = tuple[Hashable, float]
"""A cluster and a value."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n values: `stderr` and `ci95` are None with fewer than two clusters, `value` too when n is 0."""

    value: float | None
    stderr: float | None
    ci95: tuple[float, float] | None
    n: int

    def as_json(self) -> dict[str, object]:
        return {
            "value": self.value,
            "stderr": self.stderr,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n": self.n,
        }


EMPTY = Estimate(None, None, None, 0)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean, summed exactly. Raises ZeroDivisionError when there is none."""
    return math.fsum(values) / len(values)


def estimate(strata: Sequence[Sequence[Observation]], bounds: tuple[float, float] | None = None) -> Estimate:
    """The macro mean over strata: every stratum weighs the same, however many values it has.

    One stratum gives the plain mean. A cluster may reach into several strata. An empty stratum makes the macro mean
    undefined (n = 0). `bounds` clips the interval of a quantity that cannot leave them.
    """
    if not strata or not all(strata):
        return EMPTY
    centres = [mean([value for _, value in stratum]) for stratum in strata]
    residuals: dict[Hashable, list[float]] = defaultdict(list)
    for stratum, centre in zip(strata, centres, strict=True):
        weight = 1.0 / (len(strata) * len(stratum))
        for cluster, value in stratum:
            residuals[cluster].append(weight * (value - centre))
    value, n = mean(centres), sum(len(stratum) for stratum in strata)
    clusters = len(residuals)
    if clusters < 2:
        return Estimate(value, None, None, n)
    squares = math.fsum(math.fsum(parts) ** 2 for parts in residuals.values())
    stderr = math.sqrt(squares * clusters / (clusters - 1))
    return Estimate(value, stderr, _interval(value, stderr, clusters - 1, bounds), n)


def _interval(value: float, stderr: float, freedom: int, bounds: tuple[float, float] | None) -> tuple[float, float]:
    from scipy.special import stdtrit

    if bounds and stderr == 0.0 and value in bounds:
        return _at_a_bound(value, freedom + 1, bounds)
    reach = float(stdtrit(freedom, 0.975)) * stderr
    low, high = value - reach, value + reach
    return (max(low, bounds[0]), min(high, bounds[1])) if bounds else (low, high)


def _at_a_bound(value: float, clusters: int, bounds: tuple[float, float]) -> tuple[float, float]:
    """Where every value is the best or the worst possible, spread says nothing and the exact limit of Clopper and
    Pearson (1934) does: 12 of 12 leaves room down to 0.025 ** (1 / 12) = 0.74."""
    low, high = bounds
    reach = (high - low) * (1.0 - 0.025 ** (1.0 / clusters))
    return (low, low + reach) if value == low else (high - reach, high)


def paired_difference(
    a: Mapping[Hashable, float], b: Mapping[Hashable, float], clusters: Mapping[Hashable, Hashable]
) -> Estimate:
    """The mean of b - a over the keys (samples, or samples and epochs) that both have, clustered like the means."""
    shared = [key for key in a if key in b]
    return estimate([[(clusters.get(key, key), b[key] - a[key]) for key in shared]])
