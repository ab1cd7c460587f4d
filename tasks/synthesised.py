"""ftrl_* and micro_*: synthesised environments that ship with the package, 50 a scenario and level.

Their facts are fictional and their seed is reserved: `harness build` refuses it for other splits than test. The files
are what the commands of BUILDS give (their decompressed bytes; a test builds them anew):

    harness build --n 200 --level paper --split test --seed 20250811 --out ftrl@2.jsonl.xz
    harness build --n 200 --level micro --split test --seed 20250811 --out micro@2.jsonl.xz
    harness build --n 200 --level paper --split test --seed 20250811 --generation 1 --out ftrl@1.jsonl.xz
    harness build --n 200 --level micro --split test --seed 20250811 --generation 1 --out micro@1.jsonl.xz

Another file and its line in BUILDS are another version: the highest is what a name means, and the ones before are
NAME@N, so that runs of them can be read, scored anew and compared among themselves. `python -m tasks.look_at_sources`
follows, so that nobody who plays them has to look at their tools.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from harness.data.records import read_samples
from harness.task import environment_task
from harness.types import Sample, Task

FOLDER = Path(__file__).parent / "data"
SCENARIOS = ("single_hop", "parallel_single_hop", "multi_hop", "parallel_multi_hop")
GENERATION = 2
"""The generation of worlds that `harness build` makes where --generation says nothing."""
SEED = 20250811
SIZE = 200


@dataclass(frozen=True, slots=True)
class BundledSet:
    """One version of a family of tasks: its file, and the options of the `harness build` that gives it."""

    family: str
    version: int
    level: str
    generation: int
    sha256: str
    """Of the file as it is bundled, whose code was parsed when it was made."""
    scenario: str = ""
    """Where it is not all four of the paper."""

    @property
    def path(self) -> Path:
        return FOLDER / f"{self.family}@{self.version}.jsonl.xz"

    @property
    def options(self) -> tuple[str, ...]:
        """All of them but --n and --out."""
        other = ("--generation", str(self.generation)) if self.generation != GENERATION else ()
        first = ("--scenario", self.scenario) if self.scenario else ()
        return (*first, "--level", self.level, "--split", "test", "--seed", str(SEED), *other)


BUILDS = (
    BundledSet("ftrl", 2, "paper", 2, "42960907469c85510dc72bc5bc8b5b8c46865074b0234e7ec5901d0156403821"),
    BundledSet("micro", 2, "micro", 2, "7c85d8a1f26f7a9d0fea60c8bf91c69f41debc7536a8139cf27b33822f7cbd23"),
    BundledSet("ftrl", 1, "paper", 1, "b7ca77310b24d12aa40651934b4a4564c1718c9a552331d826f8af18398bceb9"),
    BundledSet("micro", 1, "micro", 1, "40f1075804879a49c2a13f2a2351839577a94cae0ffcc0ff8d4dc21fba125294"),
)


def ftrl(data: Mapping[str, Path]) -> list[Task]:
    """Environments as large as the paper's released ones."""
    return _tasks("ftrl", "synthesised environments at the paper's level")


def micro(data: Mapping[str, Path]) -> list[Task]:
    """Environments for models of a few million parameters."""
    return _tasks("micro", "small synthesised environments, for models of a few million parameters")


def _tasks(family: str, description: str) -> list[Task]:
    return [
        replace(
            environment_task(
                f"{family}_{scenario}",
                partial(_load, bundled, scenario),
                group=family,
                description=f"{description}, {scenario.replace('_', ' ')}",
                source=f"harness build {' '.join(bundled.options)}, bundled",
                size=SIZE // len(SCENARIOS),
            ),
            version=bundled.version,
        )
        for bundled in BUILDS
        if bundled.family == family
        for scenario in SCENARIOS
    ]


def _load(bundled: BundledSet, scenario: str) -> list[Sample]:
    return [sample for sample in _everything(bundled) if sample.metadata["data_source"] == f"self/{scenario}"]


@cache
def _everything(bundled: BundledSet) -> list[Sample]:
    return read_samples(bundled.path, bundled.family, known=bundled.sha256)
