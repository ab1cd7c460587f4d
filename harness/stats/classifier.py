"""A linear classifier of yes and no, judged on clusters that it has not seen: logistic regression, AUROC, folds.

The regression has an L2 penalty, and both kinds weigh the same. An AUROC is the mean over folds; its interval is by the
placement values of DeLong et al. (1988), summed within clusters (Obuchowski, 1997). It takes the classifiers as they
are: what other training data would have made of them is not in it.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.special import expit
from scipy.stats import rankdata

from harness.stats.estimates import Estimate, Observation, PairedObservation, estimate_mean, paired_difference

Array = NDArray[np.float64]
Table: TypeAlias = csr_matrix | Array
"""A row of numbers for each thing to classify."""
Learn = Callable[[Table, Array, float], Array]
"""Weights by a table, its labels (1 or 0) and a penalty; the last is the constant."""

RARE = 3
"""A word of fewer texts is not learnt."""
WORD = re.compile(r"[a-z]+|\d+|[^\w\s]")
CONSTANT = 1e-9
"""A column that spreads by less than this part of its mean says nothing."""
SCALE = (0.0, 1.0)


# --- texts -------------------------------------------------------------------------------------------------------


def words(text: str) -> Iterator[str]:
    return iter(WORD.findall(text.casefold()))


def bag(texts: Sequence[str], split: Callable[[str], Iterator[str]]) -> csr_matrix:
    """Texts by the logarithm of how often each word is there; rows have length 1."""
    counts = [Counter(split(text)) for text in texts]
    seen = Counter(word for count in counts for word in count)
    place = {word: number for number, word in enumerate(word for word, n in seen.items() if n >= RARE)}
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for number, count in enumerate(counts):
        kept = {place[word]: np.log1p(n) for word, n in count.items() if word in place}
        length = np.sqrt(sum(value * value for value in kept.values())) or 1.0
        rows += [number] * len(kept)
        columns += kept.keys()
        values += [value / length for value in kept.values()]
    return csr_matrix((values, (rows, columns)), shape=(len(texts), len(place)))


# --- learning ----------------------------------------------------------------------------------------------------


def learn(table: Table, labels: Array, penalty: float) -> Array:
    """The weights of a logistic regression; the last is the constant."""
    weight = np.where(labels == 1, 0.5 / labels.sum(), 0.5 / (1 - labels).sum())

    def loss(weights: Array) -> tuple[float, Array]:
        score = table @ weights[:-1] + weights[-1]
        error = weight * (expit(score) - labels)
        value = float(weight @ np.logaddexp(0, np.where(labels == 1, -score, score)))
        slope = np.append(table.T @ error + penalty * weights[:-1] / len(labels), error.sum())
        return value + penalty * float(weights[:-1] @ weights[:-1]) / (2 * len(labels)), slope

    found = minimize(loss, np.zeros(table.shape[1] + 1), jac=True, method="L-BFGS-B", options={"maxiter": 200})
    return np.asarray(found.x, dtype=np.float64)


def spread_of(table: Array) -> tuple[Array, Array]:
    """The mean and the standard deviation of every column; 1 for a column that does not differ."""
    mean, scale = table.mean(0), table.std(0)
    return mean, np.where(scale > CONSTANT * np.maximum(1.0, abs(mean)), scale, 1.0)


def learn_standardised(table: Table, labels: Array, penalty: float) -> Array:
    """The same on columns of mean 0 and spread 1; the weights are those of the table as it is."""
    dense = np.asarray(table, dtype=np.float64)
    mean, scale = spread_of(dense)
    found = learn((dense - mean) / scale, labels, penalty)
    weights = found[:-1] / scale
    return np.append(weights, found[-1] - weights @ mean)


def apply(weights: Array, table: Table) -> Array:
    """The score of every row."""
    scores: Array = table @ weights[:-1] + weights[-1]
    return scores


# --- judging -----------------------------------------------------------------------------------------------------


def auroc(scores: Array, labels: Array) -> float:
    """The chance that a row of label 1 has a higher score than one of label 0; ties count half."""
    ranks, n = rankdata(scores), labels.sum()
    return float((ranks[labels == 1].sum() - n * (n + 1) / 2) / (n * (len(labels) - n)))


def fold_clusters(clusters: Sequence[Hashable], folds: int, seed: int | None = None) -> NDArray[np.intp]:
    """The fold of every row: clusters in turn, as they come or in an order by `seed`. No two folds share one."""
    different = list(dict.fromkeys(clusters))
    if seed is not None:
        random.Random(seed).shuffle(different)
    place = {cluster: number % folds for number, cluster in enumerate(different)}
    return np.array([place[cluster] for cluster in clusters])


@dataclass(frozen=True, slots=True)
class Unseen:
    """What classifiers say of folds that they have not seen: `scores` of every row; `inner`, for every fold, the mean
    AUROC within the others by which its penalty was chosen; `penalty`, the best one over all."""

    scores: Array
    inner: Array
    penalty: float


def score_unseen(table: Table, labels: Array, fold: NDArray[np.intp], penalties: Sequence[float], fit: Learn) -> Unseen:
    """Every row scored by what was learnt on the other folds. Needs three folds, with both labels in each.

    A fold's penalty is chosen without it: by what is learnt on all folds but two and judged on the other of the two.
    """
    folds = range(int(fold.max()) + 1)
    inner = np.zeros((len(penalties), len(folds)))
    for one, other in combinations(folds, 2):
        kept = (fold != one) & (fold != other)
        for number, penalty in enumerate(penalties):
            weights = fit(table[kept], labels[kept], penalty)
            for held, judged in ((one, other), (other, one)):
                seen = fold == judged
                inner[number, held] += auroc(apply(weights, table[seen]), labels[seen]) / (len(folds) - 1)
    scores = np.zeros(len(labels))
    for held, number in enumerate(inner.argmax(0)):
        rest = fold != held
        scores[~rest] = apply(fit(table[rest], labels[rest], penalties[number]), table[~rest])
    return Unseen(scores, inner.max(0), penalties[int(inner.mean(1).argmax())])


def estimate_auroc(scores: Array, labels: Array, clusters: Sequence[Hashable], fold: NDArray[np.intp]) -> Estimate:
    """The mean AUROC over folds, with its interval; none for scores that order nothing, of which it is a half."""
    if all(np.ptp(scores[rows]) == 0 for rows in _rows_of(fold)):
        return Estimate(0.5, None, None, len(scores))
    values = placements(scores, labels, fold)
    strata: list[list[Observation]] = [[(clusters[row], values[row]) for row in rows] for rows in _rows_of(fold)]
    return estimate_mean(strata, SCALE)


def compare_aurocs(
    before: Array, after: Array, labels: Array, clusters: Sequence[Hashable], fold: NDArray[np.intp]
) -> Estimate:
    """How much higher the AUROC of the scores `after` is, paired."""
    one, two = (placements(scores, labels, fold) for scores in (before, after))
    strata: list[list[PairedObservation]] = [
        [(clusters[row], one[row], two[row]) for row in rows] for rows in _rows_of(fold)
    ]
    return paired_difference(strata, SCALE)


def placements(scores: Array, labels: Array, fold: NDArray[np.intp]) -> Array:
    """A number a row, whose mean over a fold is its AUROC and whose deviations are what the row moves it by."""
    found = np.zeros(len(scores))
    for rows in _rows_of(fold):
        found[rows] = _placed(scores[rows], labels[rows])
    return found


def _placed(scores: Array, labels: Array) -> Array:
    area, found = auroc(scores, labels), np.zeros(len(scores))
    for label, sign in ((1, 1), (0, -1)):
        own, others = scores[labels == label], scores[labels != label]
        share = (np.sign(sign * (own[:, np.newaxis] - others)).mean(1) + 1) / 2  # of the others, on the right side
        found[labels == label] = area + len(scores) / len(own) * (share - area)
    return found


def _rows_of(fold: NDArray[np.intp]) -> list[list[int]]:
    """The rows of each fold."""
    return [np.flatnonzero(fold == number).tolist() for number in np.unique(fold)]
