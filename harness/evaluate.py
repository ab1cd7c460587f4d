"""Playing a model against tasks, into a run directory: the plan, the identity of a run, and the loop.

An episode is written the moment it ends, so an interrupted run loses only the episodes that were being played.
"""

from __future__ import annotations

import asyncio
import platform
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import product, takewhile
from pathlib import Path
from typing import Any

import harness
from harness import jsonio, records
from harness.episodes import key_of, to_record
from harness.errors import HarnessError, UsageError
from harness.identity import identity_json
from harness.lockstep import BatchModel, Lockstep, play_all
from harness.models import is_free
from harness.prices import Budget, Price
from harness.redaction import Redactor
from harness.registry import TASK_FILE, near
from harness.rollout import Episode, adrive
from harness.runs import SCHEMA, Appender, RunDirectory, counting
from harness.sandbox import Sandbox
from harness.schema import Identity, Manifest, Record, Summary
from harness.scoring import strict
from harness.soundness import record_fault
from harness.stops import REFUSED_AT_THE_DOOR
from harness.summary import summarise
from harness.types import (
    Limits,
    Model,
    Reasoning,
    RunKey,
    Sample,
    Sampling,
    SimulatedUser,
    Task,
    Trajectory,
    Usage,
)
from harness.verdicts import blamed, verdict_of

PACKAGES = ("openai", "anthropic", "scipy", "time-machine", "tabulate", "torch", "tqdm", "transformers", "vllm")


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

    def user_of(self, task: Task) -> SimulatedUser | None:
        """Who is the other side in this task; None where it simulates nobody."""
        if task.scripted_user is None:
            return None
        return self.user or SimulatedUser(task.scripted_user)


def switch_of(model: Model, reasoning: Reasoning) -> dict[str, Any]:
    """What is sent so that a model reasons as asked. Raises UsageError where the model has no such switch."""
    if reasoning.mode == "default":
        return {}
    if (switch := model.switch(reasoning)) is None:
        raise UsageError(f"{model.name} has no reasoning to switch: leave --reasoning out for it.")
    return dict(switch)


def choose(samples: Sequence[Sample], task: str, limit: int | None, seed: int) -> list[Sample]:
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


def pick(samples: dict[str, list[Sample]], ids: Sequence[str]) -> dict[str, list[Sample]]:
    """Only the samples of these ids. Raises UsageError for an id that no task has."""
    known = {sample.id for chosen in samples.values() for sample in chosen}
    for name in ids:
        if name not in known:
            raise UsageError(f"No sample of these tasks has the id {name!r}.{near(name, known)}")
    wanted = set(ids)
    return {task: [sample for sample in chosen if sample.id in wanted] for task, chosen in samples.items()}


def manifest_of(plan: Plan, player: Player) -> Manifest:
    """manifest.json: `identity` is what makes it this run, the rest is for the reader and for summaries."""
    manifest: Manifest = player.redact.within(_manifest(plan, player))
    return manifest


def _manifest(plan: Plan, player: Player) -> dict[str, Any]:
    fingerprints = {name: records.fingerprint(samples) for name, samples in plan.samples.items()}
    code = _code_of(plan)
    users = {task.name: found for task in plan.tasks if (found := _user_entry(player.user_of(task))) is not None}
    return {
        "schema": SCHEMA,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "identity": {
            "model": player.model.name,
            "model_fingerprint": jsonio.digest(player.model.fingerprint),
            "reasoning": plan.reasoning.label,
            "reasoning_history": plan.reasoning.history,
            "tasks": fingerprints,
            "epochs": plan.epochs,
            "seed": plan.seed,
            "sampling": identity_json(plan.sampling),
            "limits": identity_json(plan.limits),
            "sandbox": player.sandbox.layers["mode"],
            "verifier": strict.VERSION,
            **({"code": code} if code else {}),
            **({"turns": plan.turns} if plan.turns else {}),
            **({"users": users} if users else {}),
        },
        "model": dict(player.model.fingerprint),
        "reasoning_switch": switch_of(player.model, plan.reasoning),
        "price": player.price.as_json() if player.price else None,
        **({"user": dict(player.user.model.fingerprint)} if player.user else {}),
        **({"user_price": player.user_price.as_json() if player.user_price else None} if users else {}),
        "tasks": {task.name: _task_entry(task, plan.samples[task.name]) for task in plan.tasks},
        "groups": plan.groups,
        **({"tables": plan.tables} if plan.tables else {}),
        "sources": plan.sources,
        "sandbox": dict(player.sandbox.layers),
        "versions": _versions(),
    }


def _code_of(plan: Plan) -> dict[str, str]:
    """A digest of every Python file that tasks came from: its environment and score are part of what a run is."""
    files = (Path(source) for source in plan.sources.get("tasks", ()) if Path(source).suffix == TASK_FILE)
    return {path.name: jsonio.digest(path.read_text("utf-8", "surrogateescape")) for path in files}


def _user_entry(user: SimulatedUser | None) -> dict[str, Any] | None:
    if user is None:
        return None
    fingerprint = jsonio.digest(user.model.fingerprint)
    return {"model": user.model.name, "model_fingerprint": fingerprint, "sampling": identity_json(user.sampling)}


def _task_entry(task: Task, samples: Sequence[Sample]) -> dict[str, Any]:
    return {
        "headline": task.headline,
        "success": task.success,
        "source": task.source,
        **({"weight": task.weight} if task.weight != 1.0 else {}),
        **({"floor": task.floor} if task.floor else {}),
        "clusters": {sample.id: str(sample.metadata.get("world") or f"{task.name}/{sample.id}") for sample in samples},
    }


def _versions() -> dict[str, str]:
    found = {"harness": harness.__version__, "python": platform.python_version(), "platform": sys.platform}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


def evaluate(
    plan: Plan, player: Player, out: Path, resume: bool = False, watch: Callable[[Record], None] = lambda record: None
) -> Summary:
    """Plays what is missing in `out` and returns the summary, which is written if the run is complete. `watch` sees
    each record, old ones first.

    Raises UsageError for a directory that holds something else, KeyboardInterrupt when interrupted: what was played
    is kept, and the same call with `resume` goes on. A run that reached its budget ends incomplete.
    """
    manifest = manifest_of(plan, player)
    with RunDirectory.claim(out, manifest, resume) as run:
        if player.price is not None and run.manifest.get("price") != manifest["price"]:
            run.update(price=manifest["price"])  # what is known now, also of the episodes before
        attempts = run.attempts()
        for attempt in attempts:  # what failed and is played again was paid for too
            player.budget.add(Usage(**attempt["usage"]), player.price)
            player.budget.add(Usage(**attempt.get("user_usage", {})), player.user_price)
        kept = {record["key"]: record for record in counting(attempts) if not _played_again(record)}
        pending = []
        for task, sample, epoch in plan:
            key = _run_key(plan, run.manifest["identity"], task, sample.id, epoch)
            if (record := kept.get(key_of(key))) is None:
                pending.append((task, sample, key))
            else:
                watch(record)
        if pending:
            run.summary_path.unlink(missing_ok=True)
            with Appender(run.samples_path) as appender:
                asyncio.run(_play_pending(pending, player, appender, watch))
        records = run.records()
        summary = summarise(run.manifest, records)
        if len(records) == run.planned:
            run.write_summary(summary)
    return summary


def _played_again(record: Record) -> bool:
    """What --resume plays once more: failures that say nothing about the model."""
    return record["outcome"] == "infrastructure_error" or record["stop"] in REFUSED_AT_THE_DOOR


def _run_key(plan: Plan, identity: Identity, task: Task, sample: str, epoch: int) -> RunKey:
    """`identity` is the run's, which says what its models were called when it began."""
    user = identity.get("users", {}).get(task.name)
    return RunKey(
        task=task.name,
        task_fingerprint=identity["tasks"][task.name],
        sample=sample,
        epoch=epoch,
        model=identity["model"],
        model_fingerprint=identity["model_fingerprint"],
        reasoning=plan.reasoning,
        sampling=plan.sampling,
        limits=replace(plan.limits, max_turns=plan.turns.get(task.name, plan.limits.max_turns)),
        user=jsonio.digest(user) if user else None,
    )


async def _play_pending(
    pending: Sequence[tuple[Task, Sample, RunKey]],
    player: Player,
    appender: Appender,
    watch: Callable[[Record], None],
) -> None:
    """Plays and records episodes until there are none left, or the budget is spent."""
    shared = replace(player, user=_side_by_side(player.user))
    free = is_free(player.model.name)

    async def play(item: tuple[Task, Sample, RunKey], model: Model) -> None:
        task, sample, key = item
        trajectory = await _play(task, sample, key, shared, model)
        record = _redacted(to_record(key, trajectory, verdict_of(task, sample, trajectory)), player.redact)
        if fault := record_fault(record):
            raise HarnessError(f"{task.name}: the episode of {sample.id!r} cannot be recorded: {fault}.")
        appender.append(record)
        player.budget.add(trajectory.usage, player.price, 0 if free else trajectory.turns)
        player.budget.add(trajectory.user_usage or Usage(), player.user_price)
        watch(record)

    affordable = takewhile(lambda _: not player.budget.spent, pending)
    users = [shared.user] if shared.user is player.user else [shared.user, player.user]
    others = [user.model for user in users if user is not None]
    await play_all(affordable, player.model, play, min(player.concurrency, len(pending)), others)


async def _play(task: Task, sample: Sample, key: RunKey, player: Player, model: Model) -> Trajectory:
    """One episode, with a simulated user and a state where the task has them."""
    user = player.user_of(task)
    if user is not None:
        user = replace(user, sampling=_seeded(user.sampling, "user", key))
    episode = Episode(
        sample, _seeded(key.sampling, None, key), key.limits, key.epoch, task.name, key.reasoning, user=user
    )
    with blamed(f"The task {task.name} cannot play {sample.id!r}"):
        state = None if task.state is None else player.sandbox.preload(task.state(sample))
        with player.sandbox.episode(state) as tools:
            return await adrive(episode, task.environment(sample), model, tools)


def _side_by_side(user: SimulatedUser | None) -> SimulatedUser | None:
    """The user as many episodes share it: a model that answers in batches gets whatever waits when it is free."""
    if user is None or not isinstance(user.model, BatchModel):
        return user
    return replace(user, model=Lockstep(user.model))


def _redacted(record: Record, redact: Redactor) -> Record:
    """The record without secrets; arguments hold keys that a model chose."""
    calls = [{**call, "arguments": redact.within(call["arguments"], keys=True)} for call in record["calls"]]
    free: Record = redact.within({**record, "calls": calls})
    return free


def _seeded(sampling: Sampling, side: str | None, key: RunKey) -> Sampling:
    """Decoding for one episode: where the person gave a seed, each sample, epoch and side has its own, from that."""
    if sampling.seed is None:
        return sampling
    parts = [sampling.seed, key.sample, key.epoch, *([side] if side else [])]
    return replace(sampling, seed=int(jsonio.digest(parts)[:7], 16))
