"""ftrl_* and micro_*: synthesised environments that ship with the package, 50 a scenario and level.

Their facts are fictional and their seed is reserved: `harness build` refuses it for other splits than test. The files
are what these commands give (their decompressed bytes; a test builds them anew):

    harness build --n 200 --level paper --split test --seed 20250811 --out ftrl.jsonl.xz
    harness build --n 200 --level micro --split test --seed 20250811 --out micro.jsonl.xz
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path

from harness.data.records import read_samples
from harness.task import environment_task
from harness.types import Sample, Task

FOLDER = Path(__file__).parent / "data"
SCENARIOS = ("single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop")
LEVELS = {"ftrl": "paper", "micro": "micro"}
SEED = 20250811
SIZE = 200


def ftrl(data: Mapping[str, Path]) -> list[Task]:
    """Environments as large as the paper's released ones."""
    return _tasks("ftrl", "synthesised environments at the paper's level")


def micro(data: Mapping[str, Path]) -> list[Task]:
    """Environments for models of a few million parameters."""
    return _tasks("micro", "small synthesised environments, for models of a few million parameters")


def _tasks(name: str, description: str) -> list[Task]:
    return [
        environment_task(
            f"{name}_{scenario}",
            partial(_load, name, scenario),
            group=name,
            description=f"{description}, {scenario.replace('_', ' ')}",
            source=f"harness build --level {LEVELS[name]} --split test --seed {SEED}, bundled",
        )
        for scenario in SCENARIOS
    ]


def _load(name: str, scenario: str) -> list[Sample]:
    return [sample for sample in _everything(name) if sample.metadata["data_source"] == f"self/{scenario}"]


@cache
def _everything(name: str) -> list[Sample]:
    return read_samples(FOLDER / f"{name}.jsonl.xz", name)
