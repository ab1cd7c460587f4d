"""Means that say how sure they are: clustered standard errors, intervals, paired differences.

Episodes that share a world (or a question, played in several epochs) are not independent, so standard errors are
clustered: residuals are summed within a cluster before they are squared (the sandwich estimator with the G/(G-1)
correction; Cameron and Miller, 2015, section II). Intervals of values with bounds are by harness.stats.intervals,
which says how; those of counts are Student's t, with the degrees of freedom of Welch (1947) and Satterthwaite (1946).
How often they cover: benchmarks/coverage.py. Bootstrap and significance tests belong to `results`.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import lru_cache
from itertools import chain

from harness.data.schema import MetricJSON

Observation = tuple[Hashable, float]
"""A cluster and a value."""
PairedObservation = tuple[Hashable, float, float]
"""A cluster and two values of the same sample, before and after."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n values: `stderr` and `ci95` are None with fewer than two clusters, `value` too when n is 0.
    `degrees_of_freedom`: those of the standard error, where there is one above 0."""

    value: float | None
    stderr: float | None
    ci95: tuple[float, float] | None
    n: int
    degrees_of_freedom: float | None = None

    def to_json(self) -> MetricJSON:
        return {
            "value": self.value,
            "stderr": self.stderr,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n": self.n,
        }


ROUNDING_ERROR = 1e-12
"""A standard error below it is what adding up leaves of values that do not differ."""
ENOUGH = 5
"""Clusters with which there is an interval although some task has a single one."""
NO_ESTIMATE = Estimate(None, None, None, 0)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean, summed exactly. Raises ZeroDivisionError when there is none."""
    return math.fsum(values) / len(values)


def estimate_mean(
    strata: Sequence[Sequence[Observation]],
    bounds: tuple[float, float] | None = None,
    weights: Sequence[float] | None = None,
) -> Estimate:
    """The macro mean over strata: every stratum weighs the same, or as `weights` say, however many values it has.

    One stratum gives the plain mean. An empty stratum makes the macro mean undefined (n = 0). `bounds` are those of a
    quantity that cannot leave them. No interval where nothing is known of the spread: a single cluster, or a stratum
    with one where there are fewer than five in all; without bounds also any stratum with a single cluster, and values
    that do not differ.
    """
    if not strata or not all(strata):
        return NO_ESTIMATE
    centres = [mean([value for _, value in stratum]) for stratum in strata]
    shares = _shares(strata, weights)
    value = mean(centres) if weights is None else math.fsum(map(operator.mul, shares, centres))
    n = sum(len(stratum) for stratum in strata)
    parts = [_part(*given) for given in zip(strata, centres, shares, strict=True)]
    clusters = len({cluster for part in parts for cluster in part.residuals})
    samples = _samples(parts)
    stderr, freedom = _error(samples)
    if stderr is None and bounds and value in bounds and clusters > 1:
        stderr = 0.0
    if stderr is None and clusters < ENOUGH:
        return Estimate(value, None, None, n)
    found = _limits(samples, bounds) if bounds else _students(value, stderr, freedom)
    return Estimate(value, stderr, found, n, freedom)


def _shares(strata: Sequence[Sequence[Observation]], weights: Sequence[float] | None) -> list[float]:
    """What each stratum counts; they add up to 1."""
    given = [1.0] * len(strata) if weights is None else weights
    return [weight / math.fsum(given) for weight in given]


@dataclass(frozen=True, slots=True)
class Sample:
    """What clusters that share none with others tell of a macro mean: those of one stratum, or of several that have
    clusters in common.

    A value's weight is its part of the macro mean; a residual is a deviation from the stratum's mean, weighed so.
    `values` and `weights` sum the squared weights of values and of clusters; `apart`, `squares` and `fourths` sum the
    squared residuals of values, and the squares and fourth powers of those of clusters.
    """

    share: float
    mean: float
    clusters: int
    values: float
    weights: float
    apart: float
    squares: float
    fourths: float

    @property
    def variance(self) -> float:
        """Of what this adds to the macro mean, with the correction for few clusters. Needs two of them."""
        return self.clusters / (self.clusters - 1) * self.squares


@dataclass(frozen=True, slots=True)
class _Part:
    """A stratum's share in the macro mean, its mean, and of every cluster its weight and its values' residuals; or of
    several strata together."""

    share: float
    mean: float
    values: float
    weights: Mapping[Hashable, float]
    residuals: Mapping[Hashable, Sequence[float]]


def _part(stratum: Sequence[Observation], centre: float, share: float) -> _Part:
    residuals: dict[Hashable, list[float]] = defaultdict(list)
    n = len(stratum)
    for cluster, value in stratum:
        residuals[cluster].append(share * (value - centre) / n)
    weights = {cluster: share * len(own) / n for cluster, own in residuals.items()}
    return _Part(share, centre, share**2 / n, weights, residuals)


def _samples(parts: Sequence[_Part]) -> list[Sample]:
    """The strata, those that share clusters put together, however many lie between them.

    Where no cluster reaches into several strata, each stratum estimates a mean of its own and is corrected by itself
    (stratified sampling of clusters; Cochran, 1977, chapter 5); strata that share clusters are one sample. A stratum
    with a single cluster says nothing of its spread even where others share it.
    """
    joined: list[list[_Part]] = []
    for part in (part for part in parts if len(part.weights) > 1):
        shared = [one for one in joined if not all(other.weights.keys().isdisjoint(part.weights) for other in one)]
        apart = [one for one in joined if one not in shared]
        joined = [*apart, [*chain.from_iterable(shared), part]]
    single = [[part] for part in parts if len(part.weights) == 1]
    return [_sample(_together(strata)) for strata in (*joined, *single)]


def _together(parts: Sequence[_Part]) -> _Part:
    if len(parts) == 1:
        return parts[0]
    weights: dict[Hashable, float] = defaultdict(float)
    residuals: dict[Hashable, list[float]] = defaultdict(list)
    for part in parts:
        for cluster, own in part.residuals.items():
            weights[cluster] += part.weights[cluster]
            residuals[cluster] += own
    share = math.fsum(part.share for part in parts)
    mean = math.fsum(part.share * part.mean for part in parts) / (share or 1.0)
    return _Part(share, mean, math.fsum(part.values for part in parts), weights, residuals)


def _sample(part: _Part) -> Sample:
    squares = [math.fsum(own) ** 2 for own in part.residuals.values()]
    return Sample(
        share=part.share,
        mean=part.mean,
        clusters=len(squares),
        values=part.values,
        weights=math.fsum(weight * weight for weight in part.weights.values()),
        apart=math.fsum(residual * residual for residual in chain.from_iterable(part.residuals.values())),
        squares=math.fsum(squares),
        fourths=math.fsum(square * square for square in squares),
    )


def _error(samples: Sequence[Sample]) -> tuple[float | None, float | None]:
    """Standard error and degrees of freedom of the macro mean: None where a stratum has one cluster, and no degrees of
    freedom where nothing differs."""
    if any(sample.clusters < 2 for sample in samples):
        return None, None
    variances = [sample.variance for sample in samples]
    freedoms = [sample.clusters - 1 for sample in samples]
    stderr = math.sqrt(math.fsum(variances))
    if stderr < ROUNDING_ERROR:
        return 0.0, None
    return stderr, _freedom(variances, freedoms)


def _freedom(variances: Sequence[float], freedoms: Sequence[int]) -> float:
    """Degrees of freedom of a sum of variances, in the form that stays near the truth where they have few (Welch, 1947;
    those of one sample as they are)."""
    largest = float(sum(freedoms))
    if len(freedoms) == 1:
        return largest
    parts = math.fsum(one**2 / (freedom + 2) for one, freedom in zip(variances, freedoms, strict=True))
    return min(largest, math.fsum(variances) ** 2 / parts - 2)


def _limits(samples: Sequence[Sample], bounds: tuple[float, float]) -> tuple[float, float]:
    return _limits_of(tuple(sample for sample in samples if sample.share), bounds)


@lru_cache(1024)
def _limits_of(samples: tuple[Sample, ...], bounds: tuple[float, float]) -> tuple[float, float]:
    """Metrics of a run often have the same values, and a group those of its only task."""
    from harness.stats.intervals import find_limits, table_of

    low, high = find_limits(table_of([astuple(sample) for sample in samples]), bounds)
    return float(low[0]), float(high[0])


def _students(value: float, stderr: float | None, freedom: float | None) -> tuple[float, float] | None:
    if stderr is None or freedom is None:
        return None
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, 0.975)) * stderr
    return value - reach, value + reach


def pass_at(n: int, c: int, k: int) -> float:
    """pass@k: the chance that at least one of k attempts succeeds, where c of n did; unbiased (Chen et al., 2021,
    arXiv 2107.03374, equation 1). Needs k <= n."""
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def pass_hat(n: int, c: int, k: int) -> float:
    """pass^k: the chance that all of k attempts succeed, where c of n did; unbiased (Yao et al., 2024, arXiv
    2406.12045, section 3). Needs k <= n."""
    return math.comb(c, k) / math.comb(n, k)


def paired_difference(
    strata: Sequence[Sequence[PairedObservation]],
    bounds: tuple[float, float] | None = None,
    weights: Sequence[float] | None = None,
) -> Estimate:
    """The macro mean of after - before over strata of pairs, weighed and clustered like the means; `bounds` are those
    of the values."""
    return estimate_mean(change_of_pairs(strata), difference_bounds(bounds), weights)


def difference_bounds(bounds: tuple[float, float] | None) -> tuple[float, float] | None:
    """What a difference of two values cannot leave."""
    return bounds and (bounds[0] - bounds[1], bounds[1] - bounds[0])


def change_of_pairs(strata: Sequence[Sequence[PairedObservation]]) -> list[list[Observation]]:
    """after - before of every pair."""
    return [[(cluster, after - before) for cluster, before, after in pairs] for pairs in strata]


def weights_of(given: Sequence[float]) -> list[float] | None:
    """What strata count, as `estimate` takes it: None where all count the same."""
    return list(given) if len(given) > 1 and set(given) != {1.0} and any(given) else None
