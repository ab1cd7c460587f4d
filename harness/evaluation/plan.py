"""What is played and by whom: the plan of a run, which tasks and samples are in it, and the player."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.evaluation.first_reply import MAX_WAIT
from harness.models import is_policy
from harness.models.api.decoding import check_options
from harness.redaction import Redactor
from harness.registry import groups_of, is_path, load_samples, split_patterns, suggest_names, tables_of
from harness.runs.prices import Budget, Price
from harness.sandbox import Sandbox
from harness.tool_faults import ToolFaults
from harness.types import (
    Limits,
    Model,
    Reasoning,
    Sample,
    Sampling,
    SimulatedUser,
    Task,
)


@dataclass(frozen=True)
class Plan:
    """What is played and how: everything that decides a run's numbers, except the model."""

    tasks: Sequence[Task]
    samples: dict[str, list[Sample]]
    groups: dict[str, list[str]]
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    epochs: int = 1
    seed: int = 0
    reasoning: Reasoning = Reasoning()
    sources: dict[str, Any] = field(default_factory=dict)
    """How to find the tasks again: the patterns and data paths of the command line."""
    turns: dict[str, int] = field(default_factory=dict)
    """Tasks that are played with another number of turns than `limits` says."""
    tables: dict[str, dict[str, list[str]]] = field(default_factory=dict)

    @property
    def episodes(self) -> int:
        return self.epochs * sum(len(samples) for samples in self.samples.values())

    def __iter__(self) -> Iterator[tuple[Task, Sample, int]]:
        for task in self.tasks:
            for sample, epoch in product(self.samples[task.name], range(self.epochs)):
                yield task, sample, epoch


@dataclass(frozen=True)
class Player:
    """What plays: a model, the sandbox its calls run in, how many episodes at once, and what they may use up."""

    model: Model
    sandbox: Sandbox
    concurrency: int = 16
    redact: Redactor = field(default_factory=Redactor)
    budget: Budget = field(default_factory=Budget)
    price: Price | None = None
    user: SimulatedUser | None = None
    """Who plays simulated users; without one, each task's scripted one does."""
    user_price: Price | None = None
    max_wait: float = MAX_WAIT
    """Seconds after which a run ends whose endpoint has accepted nothing."""
    faults: ToolFaults | None = None
    """What stands in front of the tools; None: nothing fails on purpose."""

    @property
    def others_wait(self) -> bool:
        """Whether episodes wait for an endpoint while another is scored."""
        return self.model.remote and self.concurrency > 1

    def user_of(self, task: Task) -> SimulatedUser | None:
        """Who is the other side in this task; None where it simulates nobody."""
        if task.scripted_user is None:
            return None
        return self.user or SimulatedUser(task.scripted_user)


def switch_of(model: Model, reasoning: Reasoning) -> dict[str, Any]:
    """What is sent so that a model reasons as asked. Raises UsageError where it cannot, or has no such switch."""
    model.check_reasoning(reasoning)
    if reasoning.mode == "default":
        return {}
    if (switch := model.switch(reasoning)) is None:
        raise UsageError(f"{model.name} has no reasoning to switch: leave --reasoning out for it.")
    return dict(switch)


def check_sampling(model: Model, sampling: Sampling) -> None:
    """Raises UsageError for a setting that a model would not heed; policies draw nothing, by whatever setting."""
    if not is_policy(model.name):
        check_options(model.name, sampling, model.sampling_options)


def plan_tasks(
    tasks: Sequence[Task], data: Mapping[str, Path], ids: Sequence[str] = (), limit: int | None = None, seed: int = 0
) -> Plan:
    """Those of the tasks whose data is there, each with its own number of turns, and the rest of a plan at its
    defaults. With `ids` only these samples; `limit` and `seed` as for `select_subset`. Raises UsageError."""
    samples = load_samples(tasks)
    if ids:
        samples = {name: chosen for name, chosen in select_samples(samples, ids).items() if chosen}
    planned = [task for task in tasks if task.name in samples]
    return Plan(
        tasks=planned,
        samples={name: select_subset(chosen, name, limit, seed) for name, chosen in samples.items()},
        groups=groups_of(planned, data),
        tables=tables_of(planned, data),
        seed=seed,
        turns={task.name: task.max_turns for task in planned if task.max_turns},
    )


def sources_of(patterns: Sequence[str], data: Mapping[str, Path]) -> dict[str, Any]:
    """A plan's `sources`, with paths that hold in every directory."""
    return {
        "tasks": [str(Path(part).resolve()) if is_path(part) else part for part in split_patterns(patterns)],
        "data": {name: str(path.resolve()) for name, path in data.items()},
    }


def select_subset(samples: Sequence[Sample], task: str, limit: int | None, seed: int) -> list[Sample]:
    """At most `limit` samples: a seeded subset, every data source in its proportion, in the original order."""
    if limit is None or limit >= len(samples):
        return list(samples)
    strata: dict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples):
        strata[str(sample.metadata.get("data_source"))].append(index)
    shuffled = random.Random(f"{seed}:{task}")
    places: list[tuple[float, float, int]] = []
    for indices in strata.values():
        shuffled.shuffle(indices)
        places += [((rank + 0.5) / len(indices), shuffled.random(), index) for rank, index in enumerate(indices)]
    return [samples[index] for index in sorted(index for _, _, index in sorted(places)[:limit])]


def select_samples(samples: dict[str, list[Sample]], ids: Sequence[str]) -> dict[str, list[Sample]]:
    """Only the samples of these ids. Raises UsageError for an id that no task has."""
    known = {sample.id for chosen in samples.values() for sample in chosen}
    for name in ids:
        if name not in known:
            raise UsageError(f"No sample of these tasks has the id {name!r}.{suggest_names(name, known)}")
    wanted = set(ids)
    return {task: [sample for sample in chosen if sample.id in wanted] for task, chosen in samples.items()}
