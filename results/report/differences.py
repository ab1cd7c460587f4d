"""Every model's run beside the first one's, on the episodes of both: the figures of `harness compare`, in a report.

Left out: Holm's adjustment, whose family a report's reader chooses, and which episodes flipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.errors import UsageError
from harness.metrics import ANSWERS, METRICS, RULES, find_metric, shown_in
from results.comparison.changes import MetricChange, measure_changes, select_scopes
from results.comparison.pairs import pair_episodes
from results.report.data import ReportedRun


@dataclass(frozen=True, slots=True)
class RunDifference:
    """A run against the first: what changed, by name, or why the two cannot be paired."""

    base: ReportedRun
    run: ReportedRun
    changes: Mapping[str, MetricChange]
    refused: str = ""


def compare_with_first(runs: Sequence[ReportedRun]) -> list[RunDifference]:
    """One for every model's run but the first; policies are floors, and compared with nothing."""
    models = [run for run in runs if not run.is_policy]
    return [_difference(models[0], other) for other in models[1:]]


def _difference(base: ReportedRun, run: ReportedRun) -> RunDifference:
    try:
        pairs = pair_episodes(base.source, run.source, shared=True)
    except UsageError as error:
        return RunDifference(base, run, {}, str(error))
    parts = select_scopes(base.source, run.source, by_task=False)
    headlines = [str(base.manifest["tasks"][task]["headline"]) for tasks in parts.values() for task in tasks]
    found = measure_changes(pairs, parts, list(dict.fromkeys([*_usual(), *headlines])))
    return RunDifference(base, run, {_name(change, len(parts) > 1): change for change in found})


def _usual() -> list[str]:
    """What is compared whatever the tasks' headlines: metrics of tool use, then answers."""
    return sorted((row.name for row in shown_in("report")), key=lambda name: name in ANSWERS)


def _name(change: MetricChange, several: bool) -> str:
    """A metric that the paper's rule gives too says that it is the strict one."""
    strict = "strict " if f"{RULES['paper']}{change.metric}" in METRICS else ""
    name = strict + find_metric(change.metric).heading
    return f"{name} on {change.scope}" if several else name
