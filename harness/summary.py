"""From episode records to summary.json: metrics with intervals, outcomes counted by kind, groups as macro means.

Every record counts, whatever its outcome: an episode that failed keeps what it solved and stays in the denominator.
A metric that no episode has (the precision of a model that never calls) is null with n = 0, never 0 or 1.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from harness.runs import SCHEMA, Record, order
from harness.stats import Observation, estimate
from harness.types import Usage

UNBOUNDED = {"calls", "turns"}
"""Metrics that are counts; all others are fractions."""


def summarise(manifest: Mapping[str, Any], records: Sequence[Record]) -> dict[str, Any]:
    """The summary of a run: `manifest` names the tasks, their groups and every sample's cluster."""
    records = sorted(records, key=order)
    by_task: dict[str, list[Record]] = {name: [] for name in manifest["tasks"]}
    for record in records:
        by_task[record["task"]].append(record)
    identity = manifest["identity"]
    return {
        "schema": SCHEMA,
        "model": identity["model"],
        "reasoning": identity["reasoning"],
        "verifier": identity["verifier"],
        "tasks": {name: _entry(manifest, [name], by_task) for name in by_task},
        "groups": {
            group: _entry(manifest, names, by_task)
            for group, names in manifest["groups"].items()
            if all(len(by_task[name]) == _planned(manifest, name) for name in names)
        },
        "usage": total_usage(records),
        "sandbox": manifest["sandbox"],
    }


def _planned(manifest: Mapping[str, Any], task: str) -> int:
    return int(manifest["identity"]["epochs"]) * len(manifest["tasks"][task]["clusters"])


def _entry(
    manifest: Mapping[str, Any], names: Sequence[str], by_task: Mapping[str, Sequence[Record]]
) -> dict[str, Any]:
    records = [record for name in names for record in by_task[name]]
    metrics = dict.fromkeys(metric for record in records for metric in record["scores"])
    return {
        "n": len(records),
        "headline": manifest["tasks"][names[0]]["headline"],
        "metrics": {
            metric: estimate(
                [_observations(manifest["tasks"][name]["clusters"], by_task[name], metric) for name in names],
                bounds=None if metric in UNBOUNDED else (0.0, 1.0),
            ).as_json()
            for metric in metrics
        },
        "outcomes": dict(sorted(Counter(record["outcome"] for record in records).items())),
    }


def _observations(clusters: Mapping[str, str], records: Sequence[Record], metric: str) -> list[Observation]:
    """The values of a metric. A sample without a world is a cluster of its own, which its epochs share."""
    return [
        (clusters[record["sample"]], float(value))
        for record in records
        if (value := record["scores"].get(metric)) is not None
    ]


def total_usage(records: Sequence[Record]) -> dict[str, int]:
    """Tokens by kind, requests and retries over all records."""
    names = [field.name for field in fields(Usage)]
    return {**asdict(Usage()), **{name: sum(record["usage"].get(name, 0) for record in records) for name in names}}
