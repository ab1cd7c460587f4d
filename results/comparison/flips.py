"""Which episodes turned right, and which turned wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.schema import TaskEntry
from results.comparison.pairs import EpisodePair
from results.comparison.significance import mcnemar_p, rate_interval


@dataclass(frozen=True, slots=True)
class Flips:
    """Episodes that turned right and that turned wrong, of `n` pairs; right is value 1 of the task's metric.

    `p` is McNemar's, None where episodes share a cluster; so are the rates' intervals.
    """

    metrics: Sequence[str]
    n: int
    gained: Sequence[EpisodePair]
    lost: Sequence[EpisodePair]
    p: float | None
    gained95: tuple[float, float] | None
    lost95: tuple[float, float] | None

    def to_json(self) -> dict[str, Any]:
        def side(pairs: Sequence[EpisodePair], interval: tuple[float, float] | None) -> dict[str, Any]:
            episodes = [dict(zip(("task", "sample", "epoch"), pair.where, strict=True)) for pair in pairs]
            return {"count": len(pairs), "rate95": interval and list(interval), "episodes": episodes}

        return {
            "right": list(self.metrics),
            "n": self.n,
            "p_mcnemar": self.p,
            "wrong_to_right": side(self.gained, self.gained95),
            "right_to_wrong": side(self.lost, self.lost95),
        }


def count_flips(pairs: Sequence[EpisodePair], tasks: Mapping[str, TaskEntry]) -> Flips:
    """Right by the first of a task's success metrics that both episodes have (the answer), else by its headline."""
    judged = []
    for pair in pairs:
        entry = tasks[pair.task]
        names = (*entry.get("success", ()), entry["headline"])
        both = [name for name in names if all(one.scores.get(name) is not None for one in (pair.before, pair.after))]
        if both:
            right = [one.scores[both[0]] == 1 for one in (pair.before, pair.after)]
            judged.append((pair, both[0], right))
    gained = [pair for pair, _, right in judged if right == [False, True]]
    lost = [pair for pair, _, right in judged if right == [True, False]]
    n = len(judged)
    alone = len({pair.cluster for pair, *_ in judged}) == n
    return Flips(
        metrics=list(dict.fromkeys(metric for _, metric, _ in judged)),
        n=n,
        gained=gained,
        lost=lost,
        p=mcnemar_p(len(gained), len(lost)) if alone else None,
        gained95=rate_interval(len(gained), n) if alone else None,
        lost95=rate_interval(len(lost), n) if alone else None,
    )
