"""Means that say how sure they are: clustered standard errors, intervals, paired differences.

Episodes that share a world (or a question, played in several epochs) are not independent, so standard errors are
clustered: residuals are summed within a cluster before they are squared (the sandwich estimator with the G/(G-1)
correction; Cameron and Miller, 2015, section II), and intervals use Student's t with as many degrees of freedom as
there are clusters, less one for every mean that was estimated; a mean at the end of its scale, where no value differs,
gets the exact binomial limit instead of an interval without width.
Bootstrap and significance tests belong to `results`.
"""

from __future__ import annotations

import math
import operator
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

from harness.data.schema import MetricJSON

Observation = tuple[Hashable, float]
"""A cluster and a value."""
PairedObservation = tuple[Hashable, float, float]
"""A cluster and two values of the same sample, before and after."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over n values: `stderr` and `ci95` are None with fewer than two clusters, `value` too when n is 0.
    `freedom`: the degrees of freedom of Student's t, where the interval is by it."""

    value: float | None
    stderr: float | None
    ci95: tuple[float, float] | None
    n: int
    freedom: int | None = None

    def as_json(self) -> MetricJSON:
        return {
            "value": self.value,
            "stderr": self.stderr,
            "ci95": None if self.ci95 is None else list(self.ci95),
            "n": self.n,
        }


ROUNDING = 1e-12
"""A standard error below it is what adding up leaves of values that do not differ."""
EMPTY = Estimate(None, None, None, 0)


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean, summed exactly. Raises ZeroDivisionError when there is none."""
    return math.fsum(values) / len(values)


def estimate(
    strata: Sequence[Sequence[Observation]],
    bounds: tuple[float, float] | None = None,
    weights: Sequence[float] | None = None,
) -> Estimate:
    """The macro mean over strata: every stratum weighs the same, or as `weights` say, however many values it has.

    One stratum gives the plain mean. An empty stratum makes the macro mean undefined (n = 0). `bounds` clips the
    interval of a quantity that cannot leave them. No interval where nothing is known of the spread: a stratum with a
    single cluster, or values that do not differ although they could.
    """
    if not strata or not all(strata):
        return EMPTY
    centres = [mean([value for _, value in stratum]) for stratum in strata]
    shares = _shares(strata, weights)
    value = mean(centres) if weights is None else math.fsum(map(operator.mul, shares, centres))
    n = sum(len(stratum) for stratum in strata)
    clusters = len({cluster for stratum in strata for cluster, _ in stratum})
    if bounds and value in bounds and clusters > 1:
        return Estimate(value, 0.0, _at_a_bound(value, clusters, bounds), n)
    spread = _spread(strata, centres, shares)
    if spread is None:
        return Estimate(value, None, None, n)
    stderr, freedom = spread
    if stderr < ROUNDING:
        return Estimate(value, 0.0, None, n)
    return Estimate(value, stderr, _interval(value, stderr, freedom, bounds), n, freedom)


def _shares(strata: Sequence[Sequence[Observation]], weights: Sequence[float] | None) -> list[float]:
    """What each stratum counts; they add up to 1."""
    given = [1.0] * len(strata) if weights is None else weights
    return [weight / math.fsum(given) for weight in given]


def _spread(
    strata: Sequence[Sequence[Observation]], centres: Sequence[float], shares: Sequence[float]
) -> tuple[float, int] | None:
    """Standard error and degrees of freedom of the macro mean; None where a stratum has one cluster.

    Where no cluster reaches into several strata, each stratum estimates a mean of its own and is corrected by itself
    (stratified sampling of clusters; Cochran, 1977, chapter 5); strata that share clusters are one sample.
    """
    residuals: list[dict[Hashable, list[float]]] = []
    for stratum, centre, share in zip(strata, centres, shares, strict=True):
        own: dict[Hashable, list[float]] = defaultdict(list)
        for cluster, value in stratum:
            own[cluster].append(share * (value - centre) / len(stratum))
        residuals.append(own)
    if any(len(own) < 2 for own in residuals):
        return None
    samples = _joined(residuals)
    variance = math.fsum(
        len(own) / (len(own) - 1) * math.fsum(math.fsum(parts) ** 2 for parts in own.values()) for own in samples
    )
    return math.sqrt(variance), sum(len(own) - 1 for own in samples)


def _joined(strata: Sequence[Mapping[Hashable, list[float]]]) -> list[dict[Hashable, list[float]]]:
    """The strata, those that share clusters put together, however many lie between them."""
    samples: list[dict[Hashable, list[float]]] = []
    for own in strata:
        apart = [sample for sample in samples if sample.keys().isdisjoint(own)]
        together: dict[Hashable, list[float]] = defaultdict(list)
        for part in (*(sample for sample in samples if not sample.keys().isdisjoint(own)), own):
            for cluster, values in part.items():
                together[cluster] += values
        samples = [*apart, together]
    return samples


def _interval(value: float, stderr: float, freedom: int, bounds: tuple[float, float] | None) -> tuple[float, float]:
    from scipy.special import stdtrit

    reach = float(stdtrit(freedom, 0.975)) * stderr
    low, high = value - reach, value + reach
    return (max(low, bounds[0]), min(high, bounds[1])) if bounds else (low, high)


def _at_a_bound(value: float, clusters: int, bounds: tuple[float, float]) -> tuple[float, float]:
    """Where every value is the best or the worst possible, spread says nothing and the exact limit of Clopper and
    Pearson (1934) does: 12 of 12 leaves room down to 0.025 ** (1 / 12) = 0.74."""
    low, high = bounds
    reach = (high - low) * (1.0 - 0.025 ** (1.0 / clusters))
    return (low, low + reach) if value == low else (high - reach, high)


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
    reach = None if bounds is None else bounds[1] - bounds[0]
    return estimate(differences(strata), None if reach is None else (-reach, reach), weights)


def differences(strata: Sequence[Sequence[PairedObservation]]) -> list[list[Observation]]:
    """after - before of every pair."""
    return [[(cluster, after - before) for cluster, before, after in pairs] for pairs in strata]


def weights_of(given: Sequence[float]) -> list[float] | None:
    """What strata count, as `estimate` takes it: None where all count the same."""
    return list(given) if len(given) > 1 and set(given) != {1.0} and any(given) else None
