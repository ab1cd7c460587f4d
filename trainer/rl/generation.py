"""What a step is trained on: whole episodes, or single turns that answer a prefix, played by the network as it is.

Both draw the same samples whatever the batch or the number of processes: a sequence's seed is that of its step, its
environment and its place among the samples of one prompt. Rewards are the evaluation's: episodes are scored by their
task, turns by the same verifier.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from harness.data.files import write_rows
from harness.errors import HarnessError
from harness.metrics import shown_in
from harness.models.local.hf import HFModel
from harness.models.local.rows import PromptRow, to_row
from harness.models.local.tokenizer import ModelTokenizer, cut_at_turn_end
from harness.scoring.verdict import score_trajectory
from harness.types import Sampling, Trajectory
from trainer.prefixes import Prefix, cut_prefixes, drop_duplicates, prefix_to_record, read_prefixes
from trainer.rewards import Turn
from trainer.rl.actor import (
    Actor,
    EpisodeRequest,
    EpisodeTokens,
    RolloutSettings,
    only_ids,
    play_episodes,
)
from trainer.rl.data import (
    TrainingSetup,
    first_request,
    max_prompt_tokens,
    prefix_request,
    select_fitting_prompts,
)
from trainer.rl.players import Player
from trainer.rl.validation import EPISODE_BATCH_SIZE
from trainer.tool_runner import shared_sandbox


class TrainerView(Protocol):
    """What is known here of the trainer. `state.global_step` counts optimiser steps."""

    state: Any
    accelerator: Any
    model: Any
    model_wrapped: Any
    is_fsdp_enabled: bool
    player: Player

    def places(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]: ...

    def sampling(self) -> Sampling: ...


@dataclass(frozen=True, slots=True)
class ScoredCompletion:
    """A generated sequence and what it earned: one reward, or one a turn. None: nothing can be said."""

    tokens: EpisodeTokens
    rewards: tuple[float | None, ...]
    scores: Mapping[str, float]

    @property
    def total(self) -> float | None:
        known = [value for value in self.rewards if value is not None]
        return sum(known) if known else None


class EpisodeGenerator:
    """Whole episodes: the episode regime, and the step regime where turns earn their returns."""

    def __init__(self, setup: TrainingSetup, model: ModelTokenizer) -> None:
        self._setup = setup
        self._model = model

    def dataset_rows(self) -> list[str]:
        """The prompts of the data set: names of environments."""
        requests = {
            name: first_request(task, sample, self._setup.reasoning)
            for name, (task, sample) in self._setup.items.items()
        }
        return select_fitting_prompts(self._model, self._setup.settings, requests)

    def generate(
        self, prompts: Sequence[str], trainer: TrainerView, places: Sequence[int] | None = None
    ) -> list[ScoredCompletion]:
        """Plays one episode a prompt with the network as it is. Equal prompts are told apart by their places: the
        trainer's, where none are given."""
        setup, samples = self._setup, self._setup.settings.samples
        requests = [
            EpisodeRequest(*setup.items[name], place % samples) for place, name in _placed(prompts, trainer, places)
        ]
        rollout_settings = RolloutSettings(trainer.sampling(), setup.limits, setup.reasoning)
        with trainer.player.generator(kept=EPISODE_BATCH_SIZE) as continue_rows:
            actor = Actor(self._model, continue_rows, EPISODE_BATCH_SIZE)
            played = play_episodes(actor, requests, rollout_settings, shared_sandbox())
        return self._scored(actor, requests, played)

    def _scored(
        self, actor: Actor, requests: Sequence[EpisodeRequest], played: Sequence[Trajectory]
    ) -> list[ScoredCompletion]:
        verdicts = [
            score_trajectory(request.task, request.sample, done) for request, done in zip(requests, played, strict=True)
        ]
        sequences = [actor.pop_tokens(request.key) for request in requests]
        if self._setup.settings.credit == "return":
            rewards = self._by_turn(requests, played, sequences)
        else:
            rewards = [
                (None,)
                if done.outcome == "infrastructure_error"
                else (self._setup.reward.episode(request.sample, done, verdict),)
                for request, done, verdict in zip(requests, played, verdicts, strict=True)
            ]
        scores = [
            {**select_logged_metrics(verdict.scores), "rewritten_turns": float(episode_tokens.rewritten)}
            for episode_tokens, verdict in zip(sequences, verdicts, strict=True)
        ]
        return list(map(ScoredCompletion, sequences, rewards, scores))

    def _by_turn(
        self, requests: Sequence[EpisodeRequest], played: Sequence[Trajectory], sequences: Sequence[EpisodeTokens]
    ) -> list[tuple[float | None, ...]]:
        """The step reward of every turn of every episode."""
        turns: list[Turn] = []
        counts: list[int] = []
        for request, done in zip(requests, played, strict=True):
            said = [message for message in done.messages if message.role == "assistant"]
            if done.outcome == "infrastructure_error":
                said = []  # what it was worth is not known: it counts in no mean
            cut = cut_prefixes(request.task.name, request.sample, done, request.epoch, self._setup.rule)
            prefixes = list(cut)[: len(said)]
            name = self._model.format.name
            turns += [
                prefix.to_turn(message.raw or "", name, sequences[len(counts)].thinking)
                for prefix, message in zip(prefixes, said, strict=False)
            ]
            counts.append(len(prefixes))
        earned = iter(self._setup.reward.steps(turns))
        return [tuple(next(earned) for _ in range(count)) or (None,) for count in counts]


class TurnGenerator:
    """One turn that answers a prefix: the paper's regime. Prefixes are given, or made afresh by the network itself."""

    def __init__(self, setup: TrainingSetup, model: ModelTokenizer, out: Path) -> None:
        self._setup = setup
        self._model = model
        self._folder = out / "prefixes"
        self._made = -1
        self._pool: list[Prefix] = []
        if setup.prefixes:
            requests = {str(place): prefix_request(one, setup.reasoning) for place, one in enumerate(setup.prefixes)}
            kept = select_fitting_prompts(model, setup.settings, requests)
            self._pool = [setup.prefixes[int(place)] for place in kept]

    def dataset_rows(self) -> list[str]:
        """The prompts of the data set: places in the pool. A pass goes through fresh prefixes once."""
        return [str(place) for place in range(len(self._pool) or self._size)]

    def generate(
        self, prompts: Sequence[str], trainer: TrainerView, places: Sequence[int] | None = None
    ) -> list[ScoredCompletion]:
        """One turn a prompt by the network as it is; equal prompts are told apart by their places."""
        settings = self._setup.settings
        if not self._setup.prefixes:
            self._refresh(trainer)
        prefixes = [self._pool[int(name) % len(self._pool)] for name in prompts]
        requests = [
            replace(
                prefix_request(prefix, self._setup.reasoning, place % settings.samples + int(name) * settings.samples),
                sampling=trainer.sampling(),
            )
            for (place, name), prefix in zip(_placed(prompts, trainer, places), prefixes, strict=True)
        ]
        rows = [row for request in requests if isinstance(row := to_row(self._model, request), PromptRow)]
        with trainer.player.generator(kept=0) as continue_rows:
            generated = continue_rows(rows)
        sequences = []
        for row, said in zip(rows, generated, strict=True):
            episode_tokens = EpisodeTokens(list(row.ids), thinking=row.prompt.thinking)
            episode_tokens.add(cut_at_turn_end(self._model, said.ids[: row.max_new_tokens])[0], 0, said.logprobs)
            sequences.append(episode_tokens)
        return self.score_turns(prefixes, sequences)

    def score_turns(self, prefixes: Sequence[Prefix], sequences: Sequence[EpisodeTokens]) -> list[ScoredCompletion]:
        """Generated turns with their rewards."""
        turns = [
            prefix.to_turn(
                cut_at_turn_end(self._model, episode_tokens.ids)[1], self._model.format.name, episode_tokens.thinking
            )
            for prefix, episode_tokens in zip(prefixes, sequences, strict=True)
        ]
        earned = self._setup.reward.steps(turns)
        return [
            ScoredCompletion(episode_tokens, (value,), {})
            for episode_tokens, value in zip(sequences, earned, strict=True)
        ]

    def prefix_at(self, place: int) -> Prefix:
        """A given prefix by its place."""
        return self._pool[place]

    def _refresh(self, trainer: TrainerView) -> None:
        """Fresh prefixes where it is time for them; those of a run that is gone on with are read."""
        due = trainer.state.global_step // self._setup.settings.refresh * self._setup.settings.refresh
        if due == self._made:
            return
        path = self._folder / f"step-{due:06d}.jsonl"
        if trainer.accelerator.is_main_process and not path.exists():
            self._folder.mkdir(parents=True, exist_ok=True)
            write_rows(path, map(prefix_to_record, self._collect(trainer, due)))
        trainer.accelerator.wait_for_everyone()
        self._pool, self._made = read_prefixes(path), due

    def _collect(self, trainer: TrainerView, step: int) -> list[Prefix]:
        """Episodes by the network as it is, cut after every turn, and mixed as the recipe asks."""
        settings, setup = self._setup.settings, self._setup
        draw = random.Random(f"{settings.seed}:{step}:players")
        names = draw.sample(sorted(setup.items), min(settings.players, len(setup.items)))
        requests = [EpisodeRequest(*setup.items[name], 0) for name in names]
        rollout_settings = RolloutSettings(trainer.sampling(), setup.limits, setup.reasoning)
        with trainer.player.generator(kept=EPISODE_BATCH_SIZE) as continue_rows:
            player = HFModel("collecting", self._model, EPISODE_BATCH_SIZE, {}, only_ids(continue_rows))
            played = play_episodes(player, requests, rollout_settings, shared_sandbox())
        states = [
            prefix
            for request, done in zip(requests, played, strict=True)
            for prefix in cut_prefixes(request.task.name, request.sample, done, 0, setup.rule)
        ]
        return mixed(list(drop_duplicates(filter(self._fits, states))), self._size, settings.solved, draw)

    @property
    def _size(self) -> int:
        """How many fresh prefixes there are at a time: as many as are used until the next."""
        settings = self._setup.settings
        return settings.refresh // settings.updates * settings.prompts

    def _fits(self, prefix: Prefix) -> bool:
        text = self._model.prompter.prompt(prefix_request(prefix, self._setup.reasoning)).text
        return len(self._model.encode(text)) <= max_prompt_tokens(self._model, self._setup.settings)


def _placed(prompts: Sequence[str], trainer: TrainerView, places: Sequence[int] | None) -> Iterator[tuple[int, str]]:
    return trainer.places(prompts) if places is None else zip(places, prompts, strict=True)


def mixed(prefixes: Sequence[Prefix], size: int, solved: float, draw: random.Random) -> list[Prefix]:
    """`size` prefixes, at least a share of `solved` with nothing unsolved if there are any such; some come again where
    there are too few. Raises HarnessError where there are none at all."""
    if not prefixes:
        raise HarnessError("The network's own episodes gave no prompt that fits; raise max_prompt or max_turns.")
    done = [prefix for prefix in prefixes if not prefix.unsolved_count]
    others = [prefix for prefix in prefixes if prefix.unsolved_count]
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


def select_logged_metrics(scores: Mapping[str, float | None]) -> dict[str, float]:
    """What is logged of episodes, by the evaluation's names."""
    return {row.name: value for row in shown_in("log") if (value := scores.get(row.name)) is not None}
