"""Two runs of the same samples: what changed, by how much, and whether chance would do as well.

Weights of tasks and clusters are those of the base's manifest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from harness.errors import UsageError
from harness.metrics import bounds_of, shown_in
from harness.stats import (
    Estimate,
    PairedObservation,
    change_of_pairs,
    difference_bounds,
    estimate_mean,
    paired_difference,
    weights_of,
)
from results.comparison.pairs import EpisodePair
from results.comparison.significance import bootstrap_interval, detectable_difference, holm_p, mcnemar_p, permutation_p
from results.runs import Run

DETECTABLE_NOTE = "detectable: the smallest true difference that a test at .05 would have found in 80 % of such runs."


@dataclass(frozen=True, slots=True)
class MetricChange:
    """One metric over one group or task: means of both runs over the pairs that have it, and their difference.

    `n` counts pairs; `mcnemar` is there for metrics of 0 and 1 whose episodes are all independent.
    """

    scope: str
    metric: str
    before: float
    after: float
    difference: Estimate
    bootstrap: tuple[float, float] | None
    p: float
    p_holm: float
    mcnemar: float | None
    detectable: float | None

    @property
    def n(self) -> int:
        return self.difference.n

    @property
    def value(self) -> float:
        """after - before."""
        return self.after - self.before

    def to_json(self) -> dict[str, Any]:
        return {
            "tasks": self.scope,
            "metric": self.metric,
            "base": self.before,
            "run": self.after,
            "difference": {**self.difference.to_json(), "bootstrap95": self.bootstrap and list(self.bootstrap)},
            "p": self.p,
            "p_holm": self.p_holm,
            "p_mcnemar": self.mcnemar,
            "detectable": self.detectable,
        }


def format_p(p: float) -> str:
    """A p for people."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def select_scopes(base: Run, run: Run, by_task: bool) -> dict[str, list[str]]:
    """What is shown: groups that both runs have with the same tasks, then tasks in none of them, or all tasks."""
    tasks = [task for task in base.manifest["tasks"] if task in run.manifest["tasks"]]
    groups = {name: list(members) for name, members in base.groups.items() if members == run.groups.get(name)}
    grouped = {task for members in groups.values() for task in members}
    return groups | {task: [task] for task in tasks if by_task or task not in grouped}


def select_metrics(pairs: Sequence[EpisodePair], wanted: Sequence[str], headlines: Sequence[str]) -> list[str]:
    """The metrics to show: those that both runs have and a glob of `wanted` means, or the usual ones and the headlines.
    Raises UsageError for a glob that means none."""
    before = {name for pair in pairs for name in pair.before.scores}
    after = {name for pair in pairs for name in pair.after.scores}
    known = sorted(before & after)
    if not wanted:
        usual = [metric.name for metric in shown_in("compare")]
        return [name for name in dict.fromkeys([*usual, *headlines]) if name in known]
    for glob in wanted:
        if not any(fnmatchcase(name, glob) for name in known):
            raise UsageError(f"No metric of both runs matches {glob!r}; they have {', '.join(known)}.")
    return list(dict.fromkeys(name for glob in wanted for name in known if fnmatchcase(name, glob)))


def measure_changes(
    pairs: Sequence[EpisodePair], parts: Mapping[str, Sequence[str]], metrics: Sequence[str]
) -> list[MetricChange]:
    """A Change for every part and metric that it has; Holm's family is the metrics of one part."""
    found: list[MetricChange] = []
    for scope, tasks in parts.items():
        measured = [change for metric in metrics if (change := _change(pairs, scope, tasks, metric)) is not None]
        adjusted = holm_p([change.p for change in measured])
        found += [replace(change, p_holm=p) for change, p in zip(measured, adjusted, strict=True)]
    return found


@dataclass(frozen=True, slots=True)
class _Strata:
    """For every task the pairs that have a metric in both runs, and what the tasks count (None: all the same)."""

    pairs: Sequence[Sequence[PairedObservation]]
    weights: Sequence[float] | None

    def mean(self, place: Literal[1, 2]) -> float:
        """The macro mean of the values before or after."""
        values = [[(pair[0], pair[place]) for pair in found] for found in self.pairs]
        return estimate_mean(values, weights=self.weights).value or 0.0

    def difference(self, metric: str) -> Estimate:
        return paired_difference(self.pairs, self.bounds(metric), self.weights)

    def bootstrap(self, metric: str) -> tuple[float, float] | None:
        """The other interval of the difference."""
        bounds = self.bounds(metric)
        return bootstrap_interval(change_of_pairs(self.pairs), difference_bounds(bounds), self.weights)

    def bounds(self, metric: str) -> tuple[float, float] | None:
        """Those of the values."""
        return bounds_of(metric, (value for found in self.pairs for _, *both in found for value in both))


def _strata(pairs: Sequence[EpisodePair], tasks: Sequence[str], metric: str) -> _Strata:
    found: dict[str, list[PairedObservation]] = {task: [] for task in tasks}
    given = dict.fromkeys(tasks, 1.0) | {pair.task: pair.weight for pair in pairs if pair.task in found}
    for pair in pairs:
        before, after = pair.before.scores.get(metric), pair.after.scores.get(metric)
        if pair.task in found and before is not None and after is not None:
            found[pair.task].append((pair.cluster, float(before), float(after)))
    return _Strata(list(found.values()), weights_of([given[task] for task in found]))


def _change(pairs: Sequence[EpisodePair], scope: str, tasks: Sequence[str], metric: str) -> MetricChange | None:
    """None where a task has no pair with the metric."""
    strata = _strata(pairs, tasks, metric)
    p = permutation_p(change_of_pairs(strata.pairs), weights=strata.weights)
    if p is None:
        return None
    difference = strata.difference(metric)
    return MetricChange(
        scope=scope,
        metric=metric,
        before=strata.mean(1),
        after=strata.mean(2),
        difference=difference,
        bootstrap=strata.bootstrap(metric),
        p=p,
        p_holm=p,
        mcnemar=_mcnemar([pair for found in strata.pairs for pair in found]),
        detectable=detectable_difference(difference),
    )


def _mcnemar(triples: Sequence[PairedObservation]) -> float | None:
    """None where values are not all 0 and 1, or episodes share a cluster."""
    alone = len({cluster for cluster, *_ in triples}) == len(triples)
    if not alone or any(value not in (0.0, 1.0) for _, *both in triples for value in both):
        return None
    return mcnemar_p(sum(b > a for _, a, b in triples), sum(b < a for _, a, b in triples))


@dataclass(frozen=True, slots=True)
class ContraryTask:
    """A task in which a metric went the other way than in its group."""

    task: str
    metric: str
    difference: Estimate

    def to_json(self) -> dict[str, Any]:
        return {"task": self.task, "metric": self.metric, "difference": self.difference.to_json()}


def find_contrary_tasks(
    pairs: Sequence[EpisodePair], parts: Mapping[str, Sequence[str]], found: Sequence[MetricChange]
) -> list[ContraryTask]:
    """The tasks of each changed group whose difference has the other sign."""
    single = [
        (change, ContraryTask(task, change.metric, _strata(pairs, [task], change.metric).difference(change.metric)))
        for change in found
        for task in parts[change.scope]
    ]
    return [one for change, one in single if (one.difference.value or 0.0) * change.value < 0]
