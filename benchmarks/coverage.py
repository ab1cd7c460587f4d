"""How often the 95 % intervals hold the true mean, how wide they are, and how often the tests reject a true null.

    python -m benchmarks.coverage [--draws 20000] [--smoke]

Every cell is a shape of results (numbers of episodes, tasks, worlds) and a kind of score; runs are drawn from it with
a seed, and the interval of each is the shipped one (harness.stats.intervals.find_limits, over all draws at once). In
a world every episode has, with chance sqrt(ICC), the score that the world drew, and else its own: so two episodes of
a world correlate by ICC and scores are distributed as without worlds. Width: the median, over the range that holds 95
% of the simulated means. Left out: scores without bounds, and drawn numbers of episodes.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit
from tabulate import tabulate

from harness.stats import Observation, estimate_mean
from harness.stats.intervals import TAIL, Samples, find_limits
from results.comparison.significance import bootstrap_interval, permutation_p

Array = NDArray[np.float64]
DRAWS, SMOKE = 20_000, 100
BATCH = 1_000
BOUNDS = (0.0, 1.0)

EQUAL = {8: [2] * 4, 20: [2] * 10, 60: [5] * 12, 200: [5] * 40}
UNEQUAL = {
    8: [1, 1, 1, 2, 3],
    20: [1, 1, 1, 1, 1, 1, 2, 2, 4, 6],
    60: [5, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10],
    200: [*(size for size in range(1, 11) for _ in range(3)), 10, 9, 7, 5, 4],
}
"""Sizes of worlds, of one to ten episodes."""

Shape = Sequence[Sequence[int]]
"""For every task the sizes of its worlds."""


@cache
def scores(kind: str) -> Array:
    """The scores that a kind is drawn from. A kind that is a number is the rate of a binary score."""
    source = np.random.default_rng(1)
    if kind not in ("F1", "zeros"):
        return np.array([1.0, 0.0])
    answers = source.choice([1, 2, 3, 6, 8], 200_000)  # sub-answers of an environment
    found = source.binomial(answers, source.beta(1.5, 1.5, answers.size))
    f1: Array = 2 * found / (np.maximum(found, answers + source.poisson(2, answers.size) - 1) + answers)
    if kind == "F1":
        return f1
    return np.where(source.random(f1.size) < 0.1, source.choice(f1[f1 > 0], f1.size), 0.0)


def truth(kind: str) -> float:
    """The mean of a kind."""
    return float(scores(kind).mean()) if kind in ("F1", "zeros") else float(kind)


def draw(source: np.random.Generator, kind: str, shape: tuple[int, int]) -> Array:
    """Scores of a kind."""
    if kind not in ("F1", "zeros"):
        return (source.random(shape) < float(kind)).astype(float)
    values = scores(kind)
    found: Array = values[source.integers(0, len(values), shape)]
    return found


def draw_task(source: np.random.Generator, kind: str, sizes: Sequence[int], icc: float, draws: int) -> Array:
    """A row a run, a column an episode, the episodes of a world side by side."""
    worlds = np.repeat(np.arange(len(sizes)), sizes)
    own = draw(source, kind, (draws, len(worlds)))
    if not icc:
        return own
    common = draw(source, kind, (draws, len(sizes)))[:, worlds]
    return np.where(source.random(own.shape) < math.sqrt(icc), common, own)


def table_of(tasks: Sequence[Array], shape: Shape) -> Samples:
    """What harness.stats.estimate_mean tells harness.stats.intervals of each run."""
    rows = [_row(values, np.asarray(sizes), 1 / len(tasks)) for values, sizes in zip(tasks, shape, strict=True)]
    return Samples(*(np.stack(np.broadcast_arrays(*map(np.atleast_1d, field))) for field in zip(*rows, strict=True)))


def _row(values: Array, sizes: NDArray[np.int64], share: float) -> tuple[Array | float, ...]:
    n = values.shape[1]
    mean = values.mean(axis=1)
    residuals = share * (values - mean[:, np.newaxis]) / n
    of_worlds = np.add.reduceat(residuals, np.cumsum(sizes) - sizes, axis=1)
    return (
        share,
        mean,
        float(len(sizes)),
        share**2 / n,
        float((share * sizes / n) @ (share * sizes / n)),
        (residuals**2).sum(axis=1),
        (of_worlds**2).sum(axis=1),
        (of_worlds**4).sum(axis=1),
    )


def student(table: Samples) -> tuple[Array, Array]:
    """For comparison: Student's t with a degree of freedom for each cluster less one for each task, cut at the bounds,
    and the exact binomial limit of all clusters where every score is 0 or 1."""
    value = (table.share * table.mean).sum(0)
    freedom = (table.clusters - 1).sum(0)
    reach = stdtrit(freedom, TAIL) * np.sqrt((table.clusters / (table.clusters - 1) * table.squares).sum(0))
    exact = 1 - (1 - TAIL) ** (1 / table.clusters.sum(0))
    low = np.where(value == 1, 1 - exact, np.maximum(value - reach, 0))
    return low, np.where(value == 0, exact, np.minimum(value + reach, 1))


@dataclass(frozen=True, slots=True)
class Cell:
    """One shape of results and kind of score; its place in a table."""

    row: str
    column: str
    kind: str
    shape: Shape
    icc: float = 0.0

    @property
    def clusters(self) -> int:
        return sum(map(len, self.shape))


@dataclass(frozen=True, slots=True)
class Found:
    """Of one cell: how many intervals hold the truth, by the shipped rule and by Student's t, and how wide the first
    are, beside the range of the simulated means and beside Student's t."""

    cell: Cell
    covers: float
    student: float
    width: float
    to_student: float

    @property
    def least(self) -> float:
        """What coverage is asked for."""
        return 0.93 if self.cell.clusters >= 10 else 0.90

    def __str__(self) -> str:
        return f"{100 * self.covers:.1f} ({self.width:.2f})"


def measure(cell: Cell, draws: int) -> Found:
    """Simulates a cell."""
    source, true = np.random.default_rng(7), truth(cell.kind)
    means, ends, theirs = [], [], []
    for start in range(0, draws, BATCH):
        size = min(BATCH, draws - start)
        table = table_of([draw_task(source, cell.kind, sizes, cell.icc, size) for sizes in cell.shape], cell.shape)
        means.append((table.share * table.mean).sum(0))
        ends.append(np.stack(find_limits(table, BOUNDS)))
        theirs.append(np.stack(student(table)))
    both = [np.concatenate(each, axis=1) for each in (ends, theirs)]
    width, of_student = (float(np.median(high - low)) for low, high in both)
    spread = float(np.subtract(*np.quantile(np.concatenate(means), (TAIL, 1 - TAIL))))
    covers, students = (_share_that_holds(each, true) for each in both)
    return Found(cell, covers, students, width / spread, width / of_student)


def _share_that_holds(ends: Array, true: float) -> float:
    slack = 1e-12
    return float(np.mean((ends[0] <= true + slack) & (true <= ends[1] + slack)))


def grid() -> Iterator[Cell]:
    """Episodes by kind of score, one task or two of which the first has a quarter of the worlds; worlds of one episode,
    of equal and of unequal sizes, by ICC."""
    for n in EQUAL:
        for kind in ("0.1", "F1", "zeros"):
            for worlds, sizes in (("alone", [1] * n), ("equal", EQUAL[n]), ("1-10", UNEQUAL[n])):
                first = max(3 if worlds == "alone" else 2, len(sizes) // 4)
                for icc in (0.0,) if worlds == "alone" else (0.0, 0.3, 0.8):
                    column = worlds if worlds == "alone" else f"{worlds}, {icc:g}"
                    yield Cell(f"{n} {kind}, one task", column, kind, [sizes], icc)
                    yield Cell(f"{n} {kind}, two tasks", column, kind, [sizes[:first], sizes[first:]], icc)


def tasks_of_unequal_size() -> Iterator[Cell]:
    """Tasks of very different sizes, whose means count the same."""
    for sizes in ((3, 200), (5, 200), (50, 115), (16, 24, 258, 258)):
        for kind in ("0.5", "0.1", "0.95", "F1", "zeros"):
            yield Cell(", ".join(map(str, sizes)), kind, kind, [[1] * size for size in sizes])


# --- tests of a true null ------------------------------------------------------------------------------------------


def nulls() -> Iterator[Cell]:
    """Paired runs of the same chances, whose scores differ."""
    for kind in ("0.3", "F1", "zeros"):
        for n in (20, 60):
            yield Cell(f"{n} alone", kind, kind, [[1] * n])
            yield Cell(f"{n} in worlds of 1-10", kind, kind, [UNEQUAL[n]], 0.5)
        yield Cell("60 in 12 worlds", kind, kind, [EQUAL[60]], 0.5)
        yield Cell("tasks of 8 and 52", kind, kind, [[1] * 8, [1] * 52])


def rejected(cell: Cell, draws: int) -> list[float]:
    """How often the interval excludes no difference, by harness.stats and by the bootstrap, and how often the
    permutation test is below .05."""
    source = np.random.default_rng(11)
    before, after = ([draw_task(source, cell.kind, sizes, cell.icc, draws) for sizes in cell.shape] for _ in range(2))
    changed = [second - first for first, second in zip(before, after, strict=True)]
    found, pairs = np.zeros(3), list(zip(changed, cell.shape, strict=True))
    for run in range(draws):
        strata = [_observations(task[run], sizes, place) for place, (task, sizes) in enumerate(pairs)]
        p = permutation_p(strata, resamples=399)
        ends = estimate_mean(strata, (-1.0, 1.0)).ci95, bootstrap_interval(strata, (-1.0, 1.0), resamples=399)
        found += [*(end is not None and not end[0] <= 0 <= end[1] for end in ends), p is not None and p < 0.05]
    return [float(share) for share in found / draws]


def _observations(values: Array, sizes: Sequence[int], task: int) -> list[Observation]:
    worlds = np.repeat(np.arange(len(sizes)), sizes)
    return [((task, int(world)), float(value)) for world, value in zip(worlds, values, strict=True)]


# --- tables --------------------------------------------------------------------------------------------------------


def show(found: Sequence[Found], draws: int) -> str:
    """Coverage and, in brackets, width; below, what falls short, also of Student's t."""
    by_row: dict[str, dict[str, str]] = {}
    for one in found:
        by_row.setdefault(one.cell.row, {})[one.cell.column] = str(one)
    columns = list(dict.fromkeys(one.cell.column for one in found))
    rows = [[row, *(cells.get(column, "") for column in columns)] for row, cells in by_row.items()]
    error = max(math.sqrt(one.covers * (1 - one.covers) / draws) for one in found)
    short, theirs = sum(one.covers < one.least for one in found), sum(one.student < one.least for one in found)
    return "\n\n".join(
        [
            tabulate(rows, headers=["", *columns], tablefmt="github", disable_numparse=True),
            f"The simulation's error is {100 * error:.1f} points at most. Too few cover in {short} of {len(found)} "
            f"cells; by Student's t in {theirs}, {100 * min(one.student for one in found):.0f} % at the least. "
            f"Wider than 1.5: {sum(one.width > 1.5 for one in found)}.\n",
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=DRAWS, help="simulated runs a cell (of tests a tenth)")
    parser.add_argument("--smoke", action="store_true", help=f"{SMOKE} draws: seconds")
    args = parser.parse_args()
    draws = SMOKE if args.smoke else args.draws
    print("95 % intervals: how many cover, in %, and how wide they are; by worlds and ICC\n")
    cells = [measure(cell, draws) for cell in grid()]
    print(show(cells, draws))
    near = [one for one in cells if one.cell.column == "alone" and one.cell.kind == "F1" and "one" in one.cell.row]
    print(
        "Beside Student's t, F1 alone:", ", ".join(f"{one.cell.clusters}: {one.to_student:.2f}" for one in near), "\n"
    )
    print("The mean of tasks with so many episodes, alone\n")
    print(show([measure(cell, draws) for cell in tasks_of_unequal_size()], draws))
    few = draws // 10
    print(f"Tests at .05 of a true null of paired runs: rejected, in % of {few}; error {22 / math.sqrt(few):.1f}\n")
    rows = [[cell.row, cell.kind, *(f"{100 * share:.1f}" for share in rejected(cell, few))] for cell in nulls()]
    print(tabulate(rows, headers=["", "scores", "interval", "bootstrap", "permutation"], tablefmt="github"))


if __name__ == "__main__":
    main()
