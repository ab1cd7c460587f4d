"""95 % limits of a mean whose values have bounds, where Student's t alone falls short: few clusters, rare events, small
tasks.

Student's t takes the spread that was seen for the spread there is. Where nearly every value is the same, or a task has
three, it is not: what was not seen may yet happen. So each limit supposes one more cluster, not seen, whose values are
at that end of the scale. It weighs 2 / sqrt(df) of a cluster and 0.7 at most, df being the degrees of freedom of the
variance by the kurtosis of what clusters add (Satterthwaite, 1946): next to nothing where many clusters differ in the
usual way, most of a cluster where hardly any differs. The limit is the quantile of the beta distribution with the mean
and the variance that come of it, which stays within the bounds and leans as a rate does. The same idea for rates of
events is by Fay and Feuer (1997), that of an effective number of values by Korn and Graubard (1998).

Why 0.7: with it the interval of a rate of independent trials covers in 93 % whatever the rate (with 0.6 in 91.7 %).
With 1 the limit would be that of Clopper and Pearson (1934) where all trials are alike; but there only one end can be
missed, and with 0.7 it is about their limit of 95 % on one side (12 of 12: .775 here, .779 there).

`find_limits` takes one run, or thousands of simulated ones at once (benchmarks/coverage.py). Left out: values without
bounds, for which harness.stats has Student's t.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, ndtri, stdtrit

Array = NDArray[np.float64]

TAIL = 0.975
MOST = 0.7
"""Of a cluster, that is supposed unseen."""
NOTHING = 1e-24
"""A variance below it is what adding up leaves of values that do not differ."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Each field of harness.stats.estimates.Sample as an array: a row a sample, a column a run."""

    share: Array
    mean: Array
    clusters: Array
    values: Array
    weights: Array
    apart: Array
    squares: Array
    fourths: Array

    @property
    def known(self) -> NDArray[np.bool_]:
        """Whether every sample has several clusters."""
        found: NDArray[np.bool_] = np.all(self.clusters > 1, axis=0)
        return found

    @property
    def unseen(self) -> Array:
        """How much of a cluster is supposed unseen in each sample, by how well its variance is known."""
        kurtosis = self.clusters * self.fourths / np.maximum(self.squares, NOTHING) ** 2
        freedom = np.minimum(self.clusters - 1, 2 * self.clusters / np.maximum(kurtosis - 1, NOTHING))
        return np.where(self.squares > NOTHING, np.minimum(MOST, 2 / np.sqrt(np.maximum(freedom, 1.0))), MOST)

    def seen(self, bounds: tuple[float, float]) -> Array:
        """The variance of the macro mean as wide as Student's t makes it; of a sample with one cluster, the largest
        that there can be."""
        inflation = (stdtrit(np.maximum((self.clusters - 1).sum(0), 1), TAIL) / ndtri(TAIL)) ** 2
        several = self.clusters / np.maximum(self.clusters - 1, 1) * self.squares * inflation
        single = self.share**2 * (self.mean - bounds[0]) * (bounds[1] - self.mean)
        found: Array = np.where(self.clusters > 1, several, single).sum(0)
        return found


def table_of(samples: Sequence[Sequence[float]]) -> Samples:
    """The samples of one run, each as its fields in their order."""
    return Samples(*np.array(samples, dtype=float).T[:, :, np.newaxis])


def find_limits(table: Samples, bounds: tuple[float, float]) -> tuple[Array, Array]:
    """The 95 % limits of the macro mean, which is the sum of share times mean, of each run."""
    known = table.unseen, table.seen(bounds)
    low, high = (_limit(table, bounds, end, *known) for end in bounds)
    return low, high


def _limit(table: Samples, bounds: tuple[float, float], end: float, unseen: Array, seen: Array) -> Array:
    """The limit on the side of `end`, one of `bounds`, by what is not seen of samples and seen of the macro mean."""
    distance = end - table.mean
    squared = _squared_weights(table, unseen, distance)
    n = 1 / squared.sum(0)  # as many values of the same weight are as good
    # The unseen cluster is one of the sample where it moves the mean most, and of others as far as they weigh as much.
    part = table.share / (n * squared)
    size = part**2 * n
    shift = part * unseen * distance / (size + unseen)
    spread = part**2 * unseen * size * distance**2 / ((size + unseen) ** 2 * (size + unseen + 1))
    worst = np.abs(shift).argmax(0)[np.newaxis]
    unseen, shift, spread = (np.take_along_axis(each, worst, 0)[0] for each in (unseen, shift, spread))
    seen = np.where(table.known, seen * n * (n - 1) / ((n + unseen) * (n + unseen + 1)), seen)
    return _beta_quantile((table.share * table.mean).sum(0) + shift, seen + spread, bounds, end)


def _squared_weights(table: Samples, unseen: Array, distance: Array) -> Array:
    """The sum of squared weights of as many independent values as the clusters are worth: between that of the values
    and that of the clusters, by the design effect, with the unseen cluster among them."""
    extra = unseen * distance**2 * table.weights / table.share**2
    together = table.squares + extra * table.weights
    apart = np.maximum(table.apart + extra * table.values, NOTHING**2)
    return np.clip(table.values * together / apart, table.values, table.weights)


def _beta_quantile(mean: Array, variance: Array, bounds: tuple[float, float], end: float) -> Array:
    """The outer quantile, on the side of `end`, of the beta distribution over `bounds` with this mean and variance; the
    mean where that is at the end."""
    width = bounds[1] - bounds[0]
    at = (mean - bounds[0]) / width
    inside = (at > 0) & (at < 1)
    room = np.where(inside, at * (1 - at), 0.25)
    size = np.maximum(room / np.maximum(variance / width**2, NOTHING) - 1, 1e-9)
    share = np.where(inside, at, 0.5)
    found = betaincinv(share * size, (1 - share) * size, TAIL if end == bounds[1] else 1 - TAIL)
    return np.where(inside, bounds[0] + width * found, np.clip(mean, *bounds))
