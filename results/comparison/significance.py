"""Is a difference real? Bootstrap intervals, permutation and McNemar tests, Holm's correction, what a run could see.

Means and their intervals are in harness.stats; here is what comparisons need besides. Episodes of one world, and
epochs of one question, are no independent evidence, so what is resampled and what changes its sign is always a whole
cluster. Everything random is seeded: the same values give the same digits. scipy does the statistics; this file says
what goes in. Left out: Bayesian intervals, and tests of unpaired runs (play the same samples instead).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.stats import ROUNDING_ERROR, Estimate, Observation

RESAMPLES = 9_999
"""Of the bootstrap and of the permutation test, whose smallest p is then 2 / 10,000: two sides, 1 / 10,000 each."""
LEAST = 8
"""Clusters, counted as if of equal size (Kish, 1965), that a bootstrap needs in every stratum to reject a true null no
more often than it says (benchmarks/coverage.py)."""
CELLS = 2_000_000
"""Numbers that one batch of resamples may hold: 16 MB."""

Strata = Sequence[Sequence[Observation]]
Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Sums:
    """Sums and numbers of values, a row a stratum and a column a cluster; what each row counts, 1 in all."""

    values: Array
    counts: Array
    shares: Array

    @property
    def nested(self) -> bool:
        """Whether no cluster reaches into several strata: then every stratum is a sample of its own."""
        return bool(((self.counts > 0).sum(axis=0) == 1).all())

    @property
    def macro_parts(self) -> Array:
        """What each cluster adds to the macro mean."""
        parts: Array = self.shares @ (self.values / self.counts.sum(axis=1, keepdims=True))
        return parts


def _sums(strata: Strata, weights: Sequence[float] | None) -> _Sums:
    place: dict[Hashable, int] = {}
    for stratum in strata:
        for cluster, _ in stratum:
            place.setdefault(cluster, len(place))
    shape = len(strata), len(place)
    given = np.asarray([1.0] * len(strata) if weights is None else weights)
    found = _Sums(np.zeros(shape), np.zeros(shape), given / given.sum())
    for row, stratum in enumerate(strata):
        columns = [place[cluster] for cluster, _ in stratum]
        np.add.at(found.values[row], columns, [value for _, value in stratum])
        np.add.at(found.counts[row], columns, 1.0)
    return found


def bootstrap_interval(
    strata: Strata,
    bounds: tuple[float, float] | None = None,
    weights: Sequence[float] | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> tuple[float, float] | None:
    """The 95 % interval of the macro mean over strata (`bounds` and `weights` as in harness.stats.estimate_mean), by
    resampling clusters: within each stratum, or all together where some reach into several strata. Studentised and
    symmetric (Hall, 1988): where few episodes change, its ends by themselves would reject a true null in 10 %.

    None where a stratum has too few clusters, where nothing differs, and where resamples often leave a stratum without
    values or without spread.
    """
    from scipy.stats import DegenerateDataWarning, bootstrap

    if not strata or not all(strata):
        return None
    sums = _sums(strata, weights)
    samples = [np.flatnonzero(row) for row in sums.counts] if sums.nested else [np.arange(sums.counts.shape[1])]
    if min(_effective(sums.counts[:, columns].sum(0)) for columns in samples) < LEAST:
        return None
    repeats = 1 if sums.nested else len(strata)
    value, stderr = _macro(sums, samples * repeats)
    if not stderr > ROUNDING_ERROR:
        return None

    def pivot(*drawn: NDArray[np.intp], axis: int = -1) -> Array:
        means, errors = _macro(sums, drawn * repeats)
        return (means - value) / errors

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", DegenerateDataWarning)  # of resamples without spread; they are counted below
        found: Array = bootstrap(
            samples,
            pivot,
            n_resamples=resamples,
            batch=max(1, CELLS // max(map(len, samples))),
            vectorized=True,
            method="percentile",
            rng=np.random.default_rng(seed),
        ).bootstrap_distribution
    found = found[~np.isnan(found)]
    if len(found) < 0.99 * resamples:
        return None
    reach = float(np.quantile(np.abs(found), 0.95, method="inverted_cdf") * stderr)
    if not math.isfinite(reach):
        return None
    low, high = bounds or (-math.inf, math.inf)
    return max(float(value) - reach, low), min(float(value) + reach, high)


def _effective(sizes: Array) -> float:
    """So many clusters of equal size weigh as unevenly."""
    return float(sizes.sum() ** 2 / (sizes**2).sum())


def _macro(sums: _Sums, drawn: Sequence[NDArray[np.intp]]) -> tuple[Array, Array]:
    """Macro mean and clustered standard error (as harness.stats has them) of resampled clusters: for every stratum the
    columns that were drawn, along the last axis."""
    means, residuals = [], []
    for values, counts, share, columns in zip(sums.values, sums.counts, sums.shares, drawn, strict=True):
        v, n = values[columns], counts[columns]
        total = n.sum(-1, keepdims=True)
        mean = v.sum(-1, keepdims=True) / total
        means.append(share * mean[..., 0])
        residuals.append(share * (v - mean * n) / total)
    parts = residuals if sums.nested else [sum(residuals[1:], residuals[0])]
    variance = sum(part.shape[-1] / (part.shape[-1] - 1) * (part**2).sum(-1) for part in parts)
    return sum(means[1:], means[0]), np.sqrt(variance)


def permutation_p(
    strata: Strata, seed: int = 0, resamples: int = RESAMPLES, weights: Sequence[float] | None = None
) -> float | None:
    """Two-sided p of a macro mean (`weights`: harness.stats.estimate_mean) of paired differences, if swapping the runs
    changed nothing but the sign: the signs of whole clusters are flipped (Fisher's randomisation test).

    All flips are tried where there are at most `resamples` of them, else as many at random. The data as they are count
    as one, so p is never 0, and flips of the very same sum count as large: a true null is never rejected in more than
    5 %, and for binary metrics, whose sums are often the same, in fewer. None without values.
    """
    from scipy.stats import permutation_test

    if not strata or not all(strata):
        return None
    parts = _sums(strata, weights).macro_parts
    parts = parts[np.abs(parts) > ROUNDING_ERROR]  # a zero has no sign
    if len(parts) < 2:
        return 1.0

    def total(values: Array, axis: int = -1) -> Array:
        summed: Array = values.sum(axis)
        return summed

    flipped: Array = permutation_test(
        (parts,),
        total,
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        batch=max(1, CELLS // len(parts)),
        rng=np.random.default_rng(seed),
    ).null_distribution
    found = abs(total(parts))
    beyond = np.count_nonzero(flipped >= found - (ROUNDING_ERROR + 1e-9 * found))
    complete = 2 ** len(parts) == len(flipped)  # then the data themselves are among the flips
    return float(min(1.0, 2 * (beyond + (not complete)) / (len(flipped) + (not complete))))


def mcnemar_p(gained: int, lost: int) -> float:
    """Exact two-sided p of McNemar's test: episodes that turned right and that turned wrong, against a fair coin
    (McNemar, 1947, by the binomial distribution). For episodes that are independent: one a cluster."""
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def rate_interval(successes: int, n: int) -> tuple[float, float] | None:
    """Wilson's 95 % interval of a rate (Wilson, 1927), for independent trials. None without trials."""
    from scipy.stats import binomtest

    if n == 0:
        return None
    found = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    return float(found.low), float(found.high)


def holm_p(ps: Sequence[float]) -> list[float]:
    """Adjusted p of a family of tests, in the order given: below .05 for one of them means that the chance of any false
    alarm in the family is at most 5 % (Holm, 1979)."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def detectable_difference(difference: Estimate, power: float = 0.8) -> float | None:
    """The smallest true difference that a two-sided test at .05 would have found with this power, given the standard
    error that was seen (Bloom, 1995). None where there is none."""
    from scipy.special import stdtrit

    if not difference.stderr or difference.degrees_of_freedom is None:
        return None
    reach: Any = stdtrit(difference.degrees_of_freedom, 0.975) + stdtrit(difference.degrees_of_freedom, power)
    return float(reach) * difference.stderr
