"""written_*: environments that a strong model wrote through the five stages, 10 a scenario (docs/benchmarks.md).

Ten a scenario were written by `harness build --generator` at level paper; questions were edited afterwards where two
readers found them clumsy. They are proven and audited like any build. data/written@1.stages.json holds the requests and
tokens of each stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from harness.data.records import read_samples
from harness.task import environment_task
from harness.types import Sample, Task
from tasks.synthesised import FOLDER, SCENARIOS

FAMILY = "written"
PATH = FOLDER / "written@1.jsonl.xz"
SHA256 = "ed6676c2bb7fdf71110215dc38bf91b67f8b5f0e92c128edf2c5647c013afebc"
EACH = 10
"""Environments a scenario."""


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """Environments written by a strong model."""
    return [
        environment_task(
            f"{FAMILY}_{scenario}",
            partial(_load, scenario),
            group=FAMILY,
            description=f"environments written by a strong model, {scenario.replace('_', ' ')}",
            source="harness build --generator MODEL --level paper, edited, bundled",
            size=EACH,
        )
        for scenario in SCENARIOS
    ]


def _load(scenario: str) -> list[Sample]:
    return [sample for sample in _everything() if sample.metadata["data_source"] == f"self/{scenario}"]


@cache
def _everything() -> list[Sample]:
    return read_samples(PATH, FAMILY, known=SHA256)
