"""What the same episodes say of two runs: differences of metrics, paired by task, sample and epoch."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.runs import Record
from harness.stats import Estimate, paired_difference


@dataclass(frozen=True, slots=True)
class Played:
    """A run as it is compared: its manifest and its records."""

    manifest: Mapping[str, Any]
    records: Sequence[Record]


def paired(a: Played, b: Played, metric: str) -> Estimate:
    """The mean of b - a over the episodes where both have the metric; every task weighs the same, and standard errors
    are clustered as in the summaries. `n` counts pairs of episodes."""
    keys = [(record["task"], record["sample"], record["epoch"]) for record in a.records]
    clusters: dict[Hashable, Hashable] = {key: a.manifest["tasks"][key[0]]["clusters"][key[1]] for key in keys}
    return paired_difference(_values(a, metric), _values(b, metric), clusters, {key: key[0] for key in keys})


def _values(played: Played, metric: str) -> dict[Hashable, float]:
    return {
        (record["task"], record["sample"], record["epoch"]): float(value)
        for record in played.records
        if (value := record["scores"].get(metric)) is not None
    }
