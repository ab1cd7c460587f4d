"""Playing a model against tasks, into a run directory: the loop, and which episodes are left to play.

An episode is written the moment it ends, so an interrupted run loses only the episodes that were being played.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import cast

from harness.batching import BatchModel, FarModel, Lockstep, play_all
from harness.data import jsonio
from harness.data.schema import Identity, Learnt, Record, Summary
from harness.errors import HarnessError
from harness.evaluation.cost import estimate_run
from harness.evaluation.first_reply import FirstReply
from harness.evaluation.manifest import make_manifest
from harness.evaluation.plan import Plan, Player
from harness.evaluation.scoring_thread import giving_way, off_the_loop
from harness.evaluation.spending import SpendingGate
from harness.models import is_free
from harness.models.api.lessons import ALWAYS_SENT
from harness.redaction import Redactor
from harness.rollout import Episode, play_episode_async
from harness.runs.directory import RecordAppender, RunDirectory
from harness.runs.faults import find_record_fault
from harness.runs.record import key_of, to_record
from harness.runs.results import EpisodeResult, counted_results, result_of
from harness.runs.summary import summarise_results
from harness.scoring.verdict import blame_task, score_trajectory
from harness.stops import REFUSED_AT_THE_DOOR
from harness.tool_faults.faulty_tools import put_faults_before
from harness.types import (
    FAILED_OUTCOMES,
    JSONObject,
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

PlannedEpisode = tuple[Task, Sample, RunKey]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PlayedRun:
    """What a run holds when it ends: the results of its episodes, in order, and their summary."""

    directory: RunDirectory
    results: Sequence[EpisodeResult]
    summary: Summary

    @property
    def is_complete(self) -> bool:
        return len(self.results) == self.directory.planned_episodes


def evaluate(
    plan: Plan, player: Player, out: Path, resume: bool = False, watch: Callable[[Record], None] = lambda record: None
) -> Summary:
    """The summary of `play_run`, which raises the same."""
    return play_run(plan, player, out, resume, watch).summary


def play_run(
    plan: Plan, player: Player, out: Path, resume: bool = False, watch: Callable[[Record], None] = lambda record: None
) -> PlayedRun:
    """Plays what is missing in `out`, and writes the summary if the run is complete. `watch` sees each record, old ones
    first.

    Raises UsageError for a directory that holds something else, KeyboardInterrupt when interrupted: what was played
    is kept, and the same call with `resume` goes on. A run that reached its budget ends incomplete. Raises
    NothingAccepted where the endpoint never accepted a request: such episodes are not recorded.
    """
    manifest = make_manifest(plan, player)
    with RunDirectory.claim(out, manifest, resume) as run:
        if player.price is not None and run.manifest.get("price") != manifest["price"]:
            run.update_manifest(price=manifest["price"])  # what is known now, also of the episodes before
        found: dict[str, EpisodeResult] = {}
        spent: list[float] = []
        for attempt in run.stream_attempts():  # what failed and is played again was paid for too
            user_usage = attempt.user_usage or Usage()
            player.budget.add(attempt.usage, player.price)
            player.budget.add(user_usage, player.user_price)
            spent.append(_cost(player, attempt.usage, user_usage))
            found[attempt.key] = attempt
        answered = [
            result.order for result in found.values() if result.scores.get("turns") and not _played_again(result)
        ]
        player.model.recall(cast("list[JSONObject]", run.manifest.get("learnt", [])), plan.reasoning, answered)
        playing = _Playing(run, plan, player, found, watch, spent, bool(answered))
        playing.play(_find_pending(plan, run, found, watch))
        return playing.finish()


def play_unlike(plan: Plan, player: Player, played: PlayedRun, watch: Callable[[Record], None]) -> PlayedRun:
    """A run that is over, after the episodes were played again that the model would answer otherwise now, as it does
    in another mode of reasoning. Raises KeyboardInterrupt as `play_run` does."""
    with RunDirectory.claim(played.directory.path, make_manifest(plan, player), resume=True) as run:
        found = {result.key: result for result in played.results}
        spent = [_cost(player, result.usage, result.user_usage or Usage()) for result in played.results]
        playing = _Playing(run, plan, player, found, watch, spent, accepted=True)
        note_learnt(run, player.model, plan.reasoning, over=True)
        playing.play_unlike()
        return playing.finish()


@dataclass(frozen=True, slots=True)
class _Playing:
    """A run being played: what was found in it and what is added; `spent` is what each attempt has cost."""

    run: RunDirectory
    plan: Plan
    player: Player
    found: dict[str, EpisodeResult]
    watch: Callable[[Record], None]
    spent: list[float]
    accepted: bool

    def play(self, pending: Sequence[PlannedEpisode]) -> None:
        """Plays these, and again those that came before something was learnt which holds for all."""
        if pending:
            self._play(pending, self.accepted, lambda: note_learnt(self.run, self.player.model, self.plan.reasoning))
        self.play_unlike()

    def play_unlike(self) -> None:
        """Until a round is over the manifest stands: whoever goes on after an interruption plays it again."""
        while (unlike := self._find_unlike()) and not self.player.budget.limit_reached:
            log.warning(
                "%s: %d episodes are played again: its endpoint refused later what they had asked for",
                self.player.model.name,
                len(unlike),
            )
            self._play(unlike, True, lambda: None)
            note_learnt(self.run, self.player.model, self.plan.reasoning)

    def finish(self) -> PlayedRun:
        note_learnt(self.run, self.player.model, self.plan.reasoning)
        results = counted_results(self.found.values())
        played = PlayedRun(self.run, results, summarise_results(self.run.manifest, results))
        if played.is_complete:
            self.run.write_summary(played.summary)
        return played

    def _play(self, pending: Sequence[PlannedEpisode], accepted: bool, note: Callable[[], None]) -> None:
        self.run.summary_path.unlink(missing_ok=True)
        gate = _spending_gate(self.plan, self.player, self.spent)
        with RecordAppender(self.run.samples_path) as appender:

            def keep(record: Record) -> None:
                note()
                result = self.found[record["key"]] = result_of(record, appender.append(record))
                self.spent.append(_cost(self.player, result.usage, result.user_usage or Usage()))
                self.watch(record)

            with giving_way(self.player.others_wait):
                asyncio.run(_play_pending(pending, self.player, keep, accepted, gate))

    def _find_unlike(self) -> list[PlannedEpisode]:
        identity = self.run.manifest["identity"]
        return [
            (task, sample, _run_key(self.plan, identity, task, sample.id, epoch))
            for task, sample, epoch in find_unlike(self.plan, self.player.model)
        ]


def find_unlike(plan: Plan, model: Model) -> list[tuple[Task, Sample, int]]:
    """The episodes of a plan that the model has answered otherwise than it would now, after what it has learnt."""
    unlike = model.unlike(plan.reasoning)
    return [episode for episode in plan if (episode[0].name, episode[1].id, episode[2]) in unlike] if unlike else []


def note_learnt(run: RunDirectory, model: Model, reasoning: Reasoning, over: bool = False) -> None:
    """Keeps the manifest up to date with what the model has learnt of its endpoint. Of a run that is over, what every
    mode is sent and what it was played otherwise than."""
    known = run.manifest.get("learnt", [])
    learnt = cast("list[Learnt]", model.learnt(reasoning))
    if over:
        named = {*ALWAYS_SENT, *(item["field"] for item in known)}
        learnt = [item for item in learnt if item["field"] in named or item["episodes_before"]]
    if learnt != known:
        run.update_manifest(learnt=learnt)


def _find_pending(
    plan: Plan, run: RunDirectory, found: Mapping[str, EpisodeResult], watch: Callable[[Record], None]
) -> list[PlannedEpisode]:
    """What of the plan is to be played; `watch` sees the record of what is not."""
    pending = []
    with run.open_records() as read:
        for task, sample, epoch in plan:
            key = _run_key(plan, run.manifest["identity"], task, sample.id, epoch)
            result = found.get(key_of(key)) if found else None
            if result is None or _played_again(result):
                pending.append((task, sample, key))
            else:
                watch(read(result))
    return pending


def _spending_gate(plan: Plan, player: Player, spent: Sequence[float]) -> SpendingGate | None:
    """What holds episodes back before --max-cost; None where there is no such limit, and of a local network, whose
    batches cannot wait for an episode. `spent`: what episodes played before have cost."""
    if player.budget.max_cost is None or player.price is None or isinstance(player.model, BatchModel):
        return None
    guess = player.price.cost_of(estimate_run(plan).usage) / max(1, plan.episodes)
    return SpendingGate(player.budget, guess, spent)


def _cost(player: Player, usage: Usage, user_usage: Usage) -> float:
    """What an episode cost, in US dollars, its simulated user included."""
    sides = ((usage, player.price), (user_usage, player.user_price))
    return sum(price.cost_of(used) for used, price in sides if price is not None)


def _played_again(result: EpisodeResult) -> bool:
    """What --resume plays once more: failures that say nothing about the model."""
    return result.outcome == "infrastructure_error" or result.stop in REFUSED_AT_THE_DOOR


def _run_key(plan: Plan, identity: Identity, task: Task, sample: str, epoch: int) -> RunKey:
    """`identity` is the run's, which says what its models were called when it began."""
    user = identity.get("users", {}).get(task.name)
    faults = identity.get("tool_faults")
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
        faults=jsonio.digest(faults) if faults else None,
    )


async def _play_pending(
    pending: Sequence[PlannedEpisode],
    player: Player,
    keep: Callable[[Record], None],
    accepted: bool,
    gate: SpendingGate | None,
) -> None:
    """Plays episodes until there are none left, or the budget is spent; each is given to `keep` when it ends.
    `accepted`: the model's endpoint has replied before; until it has, failures are held back."""
    shared = replace(player, user=side_by_side(player.user))
    free = is_free(player.model.name)
    far = player.model if isinstance(player.model, FarModel) else None
    if far is not None:
        far.begin(accepted)
    near = FirstReply(player.model, player.max_wait, accepted) if player.model.remote else None
    first = far or near
    held: list[Record] = []

    async def play(item: PlannedEpisode, model: Model) -> None:
        if gate is None:
            await play_one(item, model)
        elif await gate.begin():
            record = await play_one(item, model)
            await gate.end(_cost(player, Usage(**record["usage"]), Usage(**record.get("user_usage", {}))))

    async def play_one(item: PlannedEpisode, model: Model) -> Record:
        task, sample, key = item
        player.model.forget((task.name, sample.id, key.epoch), key.reasoning)
        record = await (far.play(*item) if far is not None else play_record(task, sample, key, shared, model))
        turns = int(record["scores"].get("turns") or 0)
        player.budget.add(Usage(**record["usage"]), player.price, 0 if free else turns)
        player.budget.add(Usage(**record.get("user_usage", {})), player.user_price)
        if first is not None and first.undecided and record["outcome"] in FAILED_OUTCOMES:
            held.append(record)
        else:
            for one in (*held, record):
                keep(one)
            held.clear()
        return record

    affordable = takewhile(lambda _: not player.budget.limit_reached, pending)
    users = [shared.user] if shared.user is player.user else [shared.user, player.user]
    others = [user.model for user in users if user is not None]
    at_once = min(far.at_once if far is not None else player.concurrency, len(pending))
    await play_all(affordable, near or player.model, play, at_once, others)
    if first is not None and held:
        first.check_accepted()
        for record in held:
            keep(record)


async def play_record(task: Task, sample: Sample, key: RunKey, player: Player, model: Model) -> Record:
    """One episode, as its line in samples.jsonl, free of what the player keeps secret. Raises HarnessError where the
    task's own code fails."""
    trajectory = await _play(task, sample, key, player, model)
    make = partial(_recorded, task, sample, key, trajectory, player.redact)
    return await off_the_loop(trajectory, make, player.others_wait)


def _recorded(task: Task, sample: Sample, key: RunKey, trajectory: Trajectory, redact: Redactor) -> Record:
    record: Record = redact.redact_json(to_record(key, trajectory, score_trajectory(task, sample, trajectory)))
    if fault := find_record_fault(record):
        raise HarnessError(f"{task.name}: the episode of {sample.id!r} cannot be recorded: {fault}.")
    return record


async def _play(task: Task, sample: Sample, key: RunKey, player: Player, model: Model) -> Trajectory:
    """One episode, with a simulated user and a state where the task has them."""
    user = player.user_of(task)
    if user is not None:
        user = replace(user, sampling=_seeded(user.sampling, "user", key))
    episode = Episode(
        sample, _seeded(key.sampling, None, key), key.limits, key.epoch, task.name, key.reasoning, user=user
    )
    with blame_task(f"The task {task.name} cannot play {sample.id!r}"):
        state = None if task.state is None else player.sandbox.preload(task.state(sample))
        with player.sandbox.episode(state) as tools:
            faulty = put_faults_before(tools, player.faults, sample, key.epoch)
            return await play_episode_async(episode, task.environment(sample), model, faulty)


def side_by_side(user: SimulatedUser | None) -> SimulatedUser | None:
    """The user as many episodes share it: a model that answers in batches gets whatever waits when it is free."""
    if user is None or not isinstance(user.model, BatchModel):
        return user
    return replace(user, model=Lockstep(user.model))


def _seeded(sampling: Sampling, side: str | None, key: RunKey) -> Sampling:
    """Decoding for one episode: where the person gave a seed, each sample, epoch and side has its own, from that."""
    if sampling.seed is None:
        return sampling
    parts = [sampling.seed, key.sample, key.epoch, *([side] if side else [])]
    return replace(sampling, seed=int(jsonio.digest(parts)[:7], 16))
