"""paper_*: the released test set of FTRL (arXiv 2508.08791), one task a scenario.

The file is not shipped: --data paper=PATH names it (JSONL or Parquet; bytedance/FTRL, Apache-2.0), --data ftrl=FOLDER
its repository. Scored strictly and by the paper's rule; its rows have no gold calls, so policy/oracle does not play.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

from harness.data.records import read_samples
from harness.errors import MissingData, UsageError
from harness.task import environment_task
from harness.types import Sample, Task
from tasks.released import find_data

SCENARIOS = ("single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop")


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """The four tasks; loading one without --data paper=PATH raises MissingData."""
    path = find_data("paper", data)

    @cache
    def everything() -> list[Sample]:
        if path is None:
            raise MissingData("The paper_* tasks need the released test set: --data paper=PATH (JSONL or Parquet).")
        return read_samples(path, "paper")

    def load(scenario: str) -> list[Sample]:
        chosen = [sample for sample in everything() if sample.metadata.get("data_source") == f"self/{scenario}"]
        if not chosen:
            raise UsageError(f"{path} has no rows whose data_source is self/{scenario}.")
        return chosen

    def task(scenario: str) -> Task:
        return environment_task(
            f"paper_{scenario}",
            lambda: load(scenario),
            group="paper",
            columns={"paper_table": ("solve_precision", "solve_rate", "solve_f1")},
            description=f"FTRL's released test set, {scenario.replace('_', ' ')}",
            source=str(path) if path else "--data paper=PATH",
        )

    return [task(scenario) for scenario in SCENARIOS]
