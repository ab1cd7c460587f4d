"""From episode records to summary.json: metrics with intervals, outcomes counted by kind, groups as macro means.

Every record counts, whatever its outcome: an episode that failed keeps what it solved and stays in the denominator.
A metric that no episode has (the precision of a model that never calls) is null with n = 0, never 0 or 1.
"""

from __future__ import annotations

import math
import operator
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence

from harness.data.schema import (
    Floor,
    Manifest,
    MetricJSON,
    PriceJSON,
    ReasoningSeen,
    Record,
    Summary,
    SummaryEntry,
    UsageJSON,
    UserIdentity,
    UserSummary,
    Version,
)
from harness.metrics import FRACTION, bounds_of, find_metric
from harness.runs.averages import column_tasks, metric_observations, table_entry, task_weights
from harness.runs.directory import RUN_SCHEMA
from harness.runs.identity import version_of
from harness.runs.prices import Price
from harness.runs.record import usage_to_json
from harness.runs.results import EpisodeResult, result_of
from harness.stats import Estimate, estimate_mean, pass_at, pass_hat
from harness.tool_faults import ToolFaults
from harness.types import Usage

NOT_SWITCHED = "not switched: "
"""How a record's note begins where an endpoint refused what switches reasoning."""

PASS_METRIC = re.compile(r"(pass[@^])(\d+)")
"""A metric over the epochs of a sample, and its k."""


def summarise_run(manifest: Manifest, records: Iterable[Record]) -> Summary:
    """The summary of a run: `manifest` names the tasks, their groups and every sample's cluster."""
    return summarise_results(manifest, map(result_of, records))


def summarise_results(manifest: Manifest, results: Iterable[EpisodeResult]) -> Summary:
    """`summarise_run`, of what is kept of its records."""
    results = sorted(results, key=lambda result: result.order)
    by_task: dict[str, list[EpisodeResult]] = {name: [] for name in manifest["tasks"]}
    for result in results:
        by_task[result.task].append(result)
    identity = manifest["identity"]
    used = [result.usage for result in results]
    summary: Summary = {
        "schema": RUN_SCHEMA,
        "model": identity["model"],
        "reasoning": identity["reasoning"],
        "verifier": identity["verifier"],
        "tasks": {name: _entry(manifest, [name], by_task) for name in by_task},
        "groups": {
            group: _entry(manifest, names, by_task)
            for group, names in manifest["groups"].items()
            if _whole(manifest, names, by_task)
        }
        | {
            table: table_entry(manifest, columns, by_task)
            for table, columns in manifest.get("tables", {}).items()
            if _whole(manifest, column_tasks(columns), by_task)
        },
        "usage": total_usage(used),
        "cost": _cost(manifest.get("price"), used),
        "reasoning_seen": reasoning_seen(results),
        "sandbox": manifest["sandbox"],
    }
    if users := manifest["identity"].get("users"):
        summary["user"] = _users(manifest, users, results)
    if faults := manifest["identity"].get("tool_faults"):
        summary["tool_faults"] = ToolFaults(faults["probability"], tuple(faults["kinds"])).label
    return summary


def _users(manifest: Manifest, users: Mapping[str, UserIdentity], results: Sequence[EpisodeResult]) -> UserSummary:
    """What simulated users took, apart from the model's own."""
    used = [result.user_usage for result in results if result.user_usage is not None]
    return {
        "model": sorted({user["model"] for user in users.values()}),
        "usage": total_usage(used),
        "cost": _cost(manifest.get("user_price"), used),
    }


def _whole(manifest: Manifest, names: Sequence[str], by_task: Mapping[str, Sequence[EpisodeResult]]) -> bool:
    """Whether every planned episode of these tasks is there."""
    epochs = int(manifest["identity"]["epochs"])
    return all(len(by_task[name]) == epochs * len(manifest["tasks"][name]["clusters"]) for name in names)


def _entry(manifest: Manifest, names: Sequence[str], by_task: Mapping[str, Sequence[EpisodeResult]]) -> SummaryEntry:
    results = [result for name in names for result in by_task[name]]
    metrics = dict.fromkeys(metric for result in results for metric in result.scores)
    epochs = int(manifest["identity"]["epochs"])
    weights = task_weights(manifest, names)
    passes = _passes(manifest, names, by_task, epochs) if epochs > 1 else {}
    return {
        "n": len(results),
        "headline": manifest["tasks"][names[0]]["headline"],
        **_version(manifest, names),
        **_floor(manifest, names, weights),
        "metrics": {metric: _estimate(manifest, names, by_task, metric).to_json() for metric in metrics} | passes,
        "outcomes": dict(sorted(Counter(result.outcome for result in results).items())),
    }


def _estimate(
    manifest: Manifest, names: Sequence[str], by_task: Mapping[str, Sequence[EpisodeResult]], metric: str
) -> Estimate:
    """The macro mean of a metric over tasks; of a pooled one, the mean over their episodes."""
    results = [result for name in names for result in by_task[name]]
    pooled = find_metric(metric).pooled
    strata = [
        metric_observations(manifest["tasks"][name]["clusters"], by_task[name], part)
        for name in names
        for part in pooled or (metric,)
    ]
    if pooled:
        return estimate_mean([[one for stratum in strata for one in stratum]], bounds=FRACTION)
    return estimate_mean(strata, bounds=_bounds(metric, results), weights=task_weights(manifest, names))


def _bounds(metric: str, results: Sequence[EpisodeResult]) -> tuple[float, float] | None:
    return bounds_of(metric, (value for result in results if (value := result.scores.get(metric)) is not None))


def _version(manifest: Manifest, names: Sequence[str]) -> Version:
    """Nothing where it is the first, as in manifests."""
    version = version_of(manifest["tasks"][names[0]])
    return {"version": version} if version != 1 else {}


def _floor(manifest: Manifest, names: Sequence[str], weights: Sequence[float] | None) -> Floor:
    """What the silent policy reaches, by the tasks' own account; nothing where that is 0."""
    floors = [float(manifest["tasks"][name].get("floor", 0.0)) for name in names]
    shares = weights or [1.0] * len(names)
    reached = math.fsum(map(operator.mul, shares, floors)) / math.fsum(shares) if any(floors) else 0.0
    return {"floor": reached} if reached else {}


def _passes(
    manifest: Manifest, names: Sequence[str], by_task: Mapping[str, Sequence[EpisodeResult]], epochs: int
) -> dict[str, MetricJSON]:
    """pass@k and pass^k for k = 1, 2, 4 ... and the number of epochs, over the samples that have all their epochs."""
    played: list[tuple[Mapping[str, str], dict[str, list[bool]]]] = []
    for name in names:
        entry = manifest["tasks"][name]
        metric = next((m for m in entry.get("success", ()) if any(m in r.scores for r in by_task[name])), None)
        successes: dict[str, list[bool]] = defaultdict(list)
        for result in by_task[name]:
            if metric and (value := result.scores.get(metric)) is not None:
                successes[result.sample].append(value == 1)
        played.append((entry["clusters"], {s: found for s, found in successes.items() if len(found) == epochs}))
    passes: dict[str, MetricJSON] = {}
    for k in sorted({*(2**power for power in range(epochs.bit_length())), epochs}):
        for metric, estimator in ((f"pass@{k}", pass_at), (f"pass^{k}", pass_hat)):
            passes[metric] = estimate_mean(
                [
                    [(clusters[sample], estimator(epochs, sum(found), k)) for sample, found in successes.items()]
                    for clusters, successes in played
                ],
                bounds=(0.0, 1.0),
                weights=task_weights(manifest, names),
            ).to_json()
    return passes


def _cost(price: PriceJSON | None, used: Sequence[Usage]) -> float | None:
    """US dollars; None where the model's price is not known."""
    if price is None:
        return None
    return Price(**price).cost_of(Usage(**total_usage(used)))


def reasoning_seen(results: Sequence[EpisodeResult]) -> ReasoningSeen:
    """In how many episodes the model reasoned, by its texts or by the provider's count, of those in which it spoke."""
    spoke = [result for result in results if result.spoke]
    seen = [result.reasoning for result in spoke]
    refused = sum(any(NOT_SWITCHED in note for note in result.notes) for result in spoke)
    found: ReasoningSeen = {
        "episodes": sum(bool(counts.turns or counts.tokens) for counts in seen),
        "of": len(spoke),
        "characters": sum(counts.characters for counts in seen),
        "tokens": sum(counts.tokens for counts in seen),
    }
    if refused:
        found["refused"] = refused
    return found


def heeded_reasoning(summary: Summary) -> bool | None:
    """Whether the model reasoned as it was asked: never where it was switched off, and at all where it was switched
    on. Not where its endpoint refused the switch, whatever was seen. None where nothing was asked or nothing was said.
    """
    seen = summary.get("reasoning_seen", {"episodes": 0, "of": 0})
    if summary["reasoning"] == "default" or not seen["of"]:
        return None
    return not seen.get("refused") and (seen["episodes"] > 0) is not (summary["reasoning"] == "off")


def total_usage(used: Iterable[Usage]) -> UsageJSON:
    """Tokens by kind, requests and retries over several episodes."""
    return usage_to_json(sum(used, Usage()))
