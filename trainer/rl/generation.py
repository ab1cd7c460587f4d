"""What a step is trained on: whole episodes, or single turns that answer a prefix, played by the network as it is.

Both draw the same samples whatever the batch or the number of processes: a sequence's seed is that of its step, its
environment and its place among the samples of one prompt. Rewards are the evaluation's: episodes are scored by their
task, turns by the same verifier.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from harness.data.files import write_rows
from harness.errors import HarnessError
from harness.metrics import shown_in
from harness.models.local.hf import HFModel, continue_rows
from harness.models.local.rows import Row, to_row
from harness.models.local.tokenizer import Local, cut
from harness.scoring.verdict import verdict_of
from harness.types import ModelRequest, Sampling, Trajectory
from trainer.prefixes import Prefix, distinct, read_prefixes, to_record
from trainer.prefixes import cut as cut_prefixes
from trainer.rewards import Turn
from trainer.rl.actor import Job, Manner, Policy, Track, play
from trainer.rl.data import Course, first_request, fitting, longest
from trainer.rl.validation import WIDTH
from trainer.tool_runner import shared_sandbox


class Asker(Protocol):
    """What is known here of the trainer. `state.global_step` counts optimiser steps."""

    state: Any
    accelerator: Any
    model: Any
    model_wrapped: Any
    is_fsdp_enabled: bool

    def places(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]: ...

    def sampling(self) -> Sampling: ...

    def generating(self) -> AbstractContextManager[Any]: ...


@dataclass(frozen=True, slots=True)
class Scored:
    """A generated sequence and what it earned: one reward, or one a turn. None: nothing can be said."""

    track: Track
    rewards: tuple[float | None, ...]
    scores: Mapping[str, float]

    @property
    def total(self) -> float | None:
        known = [value for value in self.rewards if value is not None]
        return sum(known) if known else None


class Episodes:
    """Whole episodes: the episode regime, and the step regime where turns earn their returns."""

    def __init__(self, course: Course, model: Local) -> None:
        self._course = course
        self._model = model

    def rows(self) -> list[str]:
        """The prompts of the data set: names of environments."""
        requests = {
            name: first_request(task, sample, self._course.reasoning)
            for name, (task, sample) in self._course.items.items()
        }
        return fitting(self._model, self._course.settings, requests)

    def generate(self, prompts: Sequence[str], trainer: Asker) -> list[Scored]:
        """Plays one episode a prompt with the network as it is. Equal prompts are told apart by their places."""
        settings, course = self._course.settings, self._course
        jobs = [Job(*course.items[name], place % settings.samples) for place, name in trainer.places(prompts)]
        manner = Manner(trainer.sampling(), course.limits, course.reasoning)
        with trainer.generating() as network:
            policy = Policy(self._model, network, WIDTH)
            played = play(policy, jobs, manner, shared_sandbox())
        return self._scored(policy, jobs, played)

    def _scored(self, policy: Policy, jobs: Sequence[Job], played: Sequence[Trajectory]) -> list[Scored]:
        verdicts = [verdict_of(job.task, job.sample, done) for job, done in zip(jobs, played, strict=True)]
        tracks = [policy.take(job.key) for job in jobs]
        if self._course.settings.credit == "return":
            rewards = self._by_turn(jobs, played, tracks)
        else:
            rewards = [
                (None,)
                if done.outcome == "infrastructure_error"
                else (self._course.reward.episode(job.sample, done, verdict),)
                for job, done, verdict in zip(jobs, played, verdicts, strict=True)
            ]
        return [
            Scored(track, earned, {**logged(verdict.scores), "rewritten_turns": float(track.rewritten)})
            for track, earned, verdict in zip(tracks, rewards, verdicts, strict=True)
        ]

    def _by_turn(
        self, jobs: Sequence[Job], played: Sequence[Trajectory], tracks: Sequence[Track]
    ) -> list[tuple[float | None, ...]]:
        """The step reward of every turn of every episode."""
        turns: list[Turn] = []
        counts: list[int] = []
        for job, done in zip(jobs, played, strict=True):
            said = [message for message in done.messages if message.role == "assistant"]
            if done.outcome == "infrastructure_error":
                said = []  # what it was worth is not known: it counts in no mean
            prefixes = list(cut_prefixes(job.task.name, job.sample, done, job.epoch, self._course.rule))[: len(said)]
            name = self._model.format.name
            turns += [
                prefix.answered(message.raw or "", name, tracks[len(counts)].thinking)
                for prefix, message in zip(prefixes, said, strict=False)
            ]
            counts.append(len(prefixes))
        earned = iter(self._course.reward.steps(turns))
        return [tuple(next(earned) for _ in range(count)) or (None,) for count in counts]


class Steps:
    """One turn that answers a prefix: the paper's regime. Prefixes are given, or made afresh by the network itself."""

    def __init__(self, course: Course, model: Local, out: Path) -> None:
        self._course = course
        self._model = model
        self._folder = out / "prefixes"
        self._made = -1
        self._pool: list[Prefix] = []
        if course.prefixes:
            requests = {str(place): self._request(one, 0) for place, one in enumerate(course.prefixes)}
            kept = fitting(model, course.settings, requests)
            self._pool = [course.prefixes[int(place)] for place in kept]

    def rows(self) -> list[str]:
        """The prompts of the data set: places in the pool. A pass goes through fresh prefixes once."""
        return [str(place) for place in range(len(self._pool) or self._size)]

    def texts(self) -> list[str]:
        """The prompts rendered, for a server that generates."""
        return [self._model.prompter.prompt(self._request(prefix, 0)).text for prefix in self._pool]

    def generate(self, prompts: Sequence[str], trainer: Asker) -> list[Scored]:
        """One turn a prompt by the network as it is; equal prompts are told apart by their places."""
        settings = self._course.settings
        if not self._course.prefixes:
            self._refresh(trainer)
        prefixes = [self._pool[int(name) % len(self._pool)] for name in prompts]
        requests = [
            replace(
                self._request(prefix, place % settings.samples + int(name) * settings.samples),
                sampling=trainer.sampling(),
            )
            for (place, name), prefix in zip(trainer.places(prompts), prefixes, strict=True)
        ]
        rows = [row for request in requests if isinstance(row := to_row(self._model, request), Row)]
        with trainer.generating() as network:
            generated = [
                ids for start in range(0, len(rows), WIDTH) for ids in self._generated(network, rows[start:][:WIDTH])
            ]
        tracks = []
        for row, ids in zip(rows, generated, strict=True):
            track = Track(list(row.ids), thinking=row.prompt.thinking)
            track.add(cut(self._model, ids[: row.room])[0], 0)
            tracks.append(track)
        return self.scored(prefixes, tracks)

    def scored(self, prefixes: Sequence[Prefix], tracks: Sequence[Track]) -> list[Scored]:
        """Generated turns with their rewards."""
        turns = [
            prefix.answered(cut(self._model, track.ids)[1], self._model.format.name, track.thinking)
            for prefix, track in zip(prefixes, tracks, strict=True)
        ]
        earned = self._course.reward.steps(turns)
        return [Scored(track, (value,), {}) for track, value in zip(tracks, earned, strict=True)]

    def prefix(self, place: int) -> Prefix:
        """A given prefix by its place."""
        return self._pool[place]

    def _generated(self, network: Any, rows: Sequence[Row]) -> list[list[int]]:
        return continue_rows(network, self._model, rows)

    def _request(self, prefix: Prefix, epoch: int) -> ModelRequest:
        return ModelRequest(
            prefix.messages,
            prefix.sample.tools,
            Sampling(),
            prefix.sample,
            epoch,
            prefix.turn,
            prefix.task,
            self._course.reasoning,
        )

    def _refresh(self, trainer: Asker) -> None:
        """Fresh prefixes where it is time for them; those of a run that is gone on with are read."""
        due = trainer.state.global_step // self._course.settings.refresh * self._course.settings.refresh
        if due == self._made:
            return
        path = self._folder / f"step-{due:06d}.jsonl"
        if trainer.accelerator.is_main_process and not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_rows(path, map(to_record, self._collect(trainer, due)))
        trainer.accelerator.wait_for_everyone()
        self._pool, self._made = read_prefixes(path), due

    def _collect(self, trainer: Asker, step: int) -> list[Prefix]:
        """Episodes by the network as it is, cut after every turn, and mixed as the recipe asks."""
        settings, course = self._course.settings, self._course
        draw = random.Random(f"{settings.seed}:{step}:players")
        names = draw.sample(sorted(course.items), min(settings.players, len(course.items)))
        jobs = [Job(*course.items[name], 0) for name in names]
        manner = Manner(trainer.sampling(), course.limits, course.reasoning)
        with trainer.generating() as network:
            player = HFModel("collecting", self._model, WIDTH, {}, lambda rows: self._generated(network, rows))
            played = play(player, jobs, manner, shared_sandbox())
        states = [
            prefix
            for job, done in zip(jobs, played, strict=True)
            for prefix in cut_prefixes(job.task.name, job.sample, done, 0, course.rule)
        ]
        return mixed(list(distinct(filter(self._fits, states))), self._size, settings.solved, draw)

    @property
    def _size(self) -> int:
        """How many fresh prefixes there are at a time: as many as are used until the next."""
        settings = self._course.settings
        return settings.refresh // settings.updates * settings.prompts

    def _fits(self, prefix: Prefix) -> bool:
        text = self._model.prompter.prompt(self._request(prefix, 0)).text
        return len(self._model.encode(text)) <= longest(self._model, self._course.settings)


def mixed(prefixes: Sequence[Prefix], size: int, solved: float, draw: random.Random) -> list[Prefix]:
    """`size` prefixes, at least a share of `solved` with nothing unsolved if there are any such; some come again where
    there are too few. Raises HarnessError where there are none at all."""
    if not prefixes:
        raise HarnessError("The network's own episodes gave no prompt that fits; raise max_prompt or max_turns.")
    done = [prefix for prefix in prefixes if not prefix.still_open]
    others = [prefix for prefix in prefixes if prefix.still_open]
    share = max(solved, len(done) / len(prefixes)) if done and others else float(bool(done))
    wanted = round(share * size)
    chosen = _so_many(done, wanted, draw) + _so_many(others, size - wanted, draw)
    draw.shuffle(chosen)
    return chosen


def _so_many(prefixes: Sequence[Prefix], n: int, draw: random.Random) -> list[Prefix]:
    """`n` of them, each as often as the others, give or take one."""
    chosen: list[Prefix] = []
    while len(chosen) < n:
        chosen += draw.sample(prefixes, min(len(prefixes), n - len(chosen)))
    return chosen


def logged(scores: Mapping[str, float | None]) -> dict[str, float]:
    """What is logged of episodes, by the evaluation's names."""
    return {row.name: value for row in shown_in("log") if (value := scores.get(row.name)) is not None}
