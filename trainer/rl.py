"""Reinforcement learning: TRL's GRPOTrainer on the harness's rollout, environments and verifier.

    DIR/run.json, recipe.toml   what this run is, with everything resolved
    DIR/environments/           what the recipe built: train, validation, test
    DIR/prefixes/               the step regime's prompts, a file each time they were collected afresh
    DIR/checkpoints/            what --resume goes on from: weights, optimiser, schedule, random states
    DIR/metrics.jsonl           a line a step and a line a validation
    DIR/validation/STEP/        the run directory of each validation
    DIR/model/                  the result: the weights that were best in validation
    DIR/test/{before,after}/    the run directories of the test at the end

The trainer is TRL's; what is replaced is who generates (`Episodes`, `Steps`), which draws the same samples whatever the
batch, and what the advantages are (trainer.advantages). A reward is the evaluation's: episodes are scored by their
task, turns by the same verifier.

The best weights are those with the most strict Solve-F1 + 0.3 x right answers in validation: by F1 alone a model that
stops before it answers would be chosen.

Left out: FSDP in regimes that play episodes, because processes would have to take equally many turns; a learning rate
that differs by layer.
"""

from __future__ import annotations

import json
import math
import os
import random
import resource
import shutil
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from harness import jsonio
from harness.datafiles import write_rows
from harness.errors import HarnessError, UsageError
from harness.models.hf import HFModel, continue_rows
from harness.models.local import Local, Row, cut, quietly_imported, to_row
from harness.types import ModelRequest, Sampling, Trajectory
from trainer import checkpoints
from trainer.advantages import advantages, local, on_tokens, returns_to_go
from trainer.course import Course, Watch, first_request, fitting, longest
from trainer.policy import NOT_OURS, Job, Manner, Policy, Track, play
from trainer.prefixes import Prefix, distinct, read_prefixes, to_record
from trainer.prefixes import cut as cut_prefixes
from trainer.rewards import ANSWER_BONUS, Turn
from trainer.settings import Training
from trainer.validation import WIDTH, validate
from trainer.verify import shared_sandbox

transformers: Any = quietly_imported("transformers")
trl: Any = quietly_imported("trl")

METRICS = ("solve_f1", "solve_precision", "solve_rate", "answer_accuracy", "calls", "turns", "malformed_call_rate")
"""What is logged of the episodes that are trained on, by the evaluation's names."""


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


# --- who generates -----------------------------------------------------------------------------------------------


class Episodes:
    """Whole episodes: the episode regime, and the step regime where turns earn their returns."""

    def __init__(self, course: Course, model: Local) -> None:
        self._course = course
        self._model = model
        self._thinking = False

    def rows(self) -> list[str]:
        """The prompts of the data set: names of environments."""
        requests = {
            name: first_request(task, sample, self._course.reasoning)
            for name, (task, sample) in self._course.items.items()
        }
        return fitting(self._model, self._course.settings, requests)

    def generate(self, prompts: Sequence[str], trainer: Trainer) -> list[Scored]:
        """Plays one episode a prompt with the network as it is. Equal prompts are told apart by their places."""
        settings, course = self._course.settings, self._course
        jobs = [Job(*course.items[name], place % settings.samples) for place, name in trainer.places(prompts)]
        manner = Manner(trainer.sampling(), course.limits, course.reasoning)
        with trainer.generating() as network:
            policy = Policy(self._model, network, WIDTH)
            played = play(policy, jobs, manner, shared_sandbox())
        return self._scored(policy, jobs, played)

    def _scored(self, policy: Policy, jobs: Sequence[Job], played: Sequence[Trajectory]) -> list[Scored]:
        verdicts = [job.task.score(job.sample, done) for job, done in zip(jobs, played, strict=True)]
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
            Scored(track, earned, {**_numbers(verdict.scores), "rewritten_turns": float(track.rewritten)})
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
            prefixes = list(cut_prefixes(job.task.name, job.sample, done, job.epoch))[: len(said)]
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

    def generate(self, prompts: Sequence[str], trainer: Trainer) -> list[Scored]:
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

    def _refresh(self, trainer: Trainer) -> None:
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

    def _collect(self, trainer: Trainer, step: int) -> list[Prefix]:
        """Episodes by the network as it is, cut after every turn, and mixed as the recipe asks."""
        settings, course = self._course.settings, self._course
        draw = random.Random(f"{settings.seed}:{step}:players")
        names = draw.sample(sorted(course.items), min(settings.players, len(course.items)))
        jobs = [Job(*course.items[name], 0) for name in names]
        manner = Manner(trainer.sampling(), course.limits, course.reasoning)
        with trainer.generating() as network:
            player = HFModel("collecting", self._model, WIDTH, {}, lambda rows: self._generated(network, rows))
            played = play(player, jobs, manner, shared_sandbox())
        rule = "paper" if settings.reward.startswith("paper_") else "strict"
        states = [
            prefix
            for job, done in zip(jobs, played, strict=True)
            for prefix in cut_prefixes(job.task.name, job.sample, done, 0, rule)  # type: ignore[arg-type]
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


def _numbers(scores: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name in METRICS if (value := scores.get(name)) is not None}


# --- the trainer -------------------------------------------------------------------------------------------------


class Trainer(trl.GRPOTrainer):  # type: ignore[misc]
    """TRL's, with advantages of our own where the algorithm is not its own, batches sorted by length, and a stop at a
    loss that is no number."""

    _buffered_inputs: Any

    def __init__(self, course: Course, source: Episodes | Steps, **more: Any) -> None:
        self.course = course
        self.source = source
        self.scored: list[Scored] = []
        super().__init__(**more)

    def sampling(self) -> Sampling:
        """How this generation is drawn: its seed is the recipe's and the step's."""
        settings = self.course.settings
        seed = int(jsonio.digest([settings.seed, self.state.global_step])[:7], 16)
        return Sampling(settings.temperature, settings.max_tokens, seed)

    def places(self, prompts: Sequence[str]) -> Iterator[tuple[int, str]]:
        """This process's prompts with their places among those of all processes."""
        return enumerate(prompts, self.accelerator.process_index * len(prompts))

    @contextmanager
    def generating(self) -> Iterator[Any]:
        """The network, unwrapped and set to generate."""
        network = self.accelerator.unwrap_model(self.model_wrapped)
        training = network.training
        network.eval()
        try:
            yield network
        finally:
            network.train(training)

    def create_model_card(self, *given: Any, **more: Any) -> None:
        """None is written: run.json and recipe.toml say what a run is."""

    def training_step(self, *given: Any, **more: Any) -> Any:
        loss = super().training_step(*given, **more)
        if not torch.isfinite(loss):
            raise HarnessError(
                f"The loss of step {self.state.global_step + 1} is {loss.item()}, so training has stopped; lower "
                "learning_rate or raise kl and train anew, or go on from the last checkpoint with --resume."
            )
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        checkpoints.require_space(Path(self.args.output_dir), bytes_of(model))
        super()._save_checkpoint(model, trial)

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        if self.course.settings.algorithm != "grpo" or self.course.settings.credit == "return":
            output["advantages"] = self._advantages(output["completion_ids"].shape[1])
        return output

    def _advantages(self, width: int) -> torch.Tensor:
        """(B,) where a sequence has one reward; (B, T) on tokens where turns have their own."""
        settings = self.course.settings
        by_turn = settings.credit == "return"
        rewards, tokens = tables(self.scored, settings.max_turns if by_turn else 1)
        everybody = [self.accelerator.gather(table.to(self.accelerator.device)) for table in (rewards, tokens)]
        if by_turn:
            everybody[0] = returns_to_go(everybody[0])
        found = advantages(settings.algorithm, everybody[0], everybody[1], settings.samples)
        ours = local(found, self.accelerator.process_index, len(self.scored))
        if not by_turn:
            return ours[:, 0]
        turns = torch.full((len(self.scored), width), NOT_OURS)
        for row, scored in enumerate(self.scored):
            turns[row, : len(scored.track.turns)] = torch.tensor(scored.track.turns)
        return on_tokens(ours, turns.to(ours.device))

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        """Pieces of one update are sorted by length, so that a piece is padded to its own longest."""
        before = self._buffered_inputs
        inputs = super()._prepare_inputs(generation_batch)
        if not self.model.training or self._buffered_inputs is before:
            return inputs
        pieces, each = self._buffered_inputs, self.args.gradient_accumulation_steps
        self._buffered_inputs = [
            piece for start in range(0, len(pieces), each) for piece in by_length(pieces[start : start + each])
        ]
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _compute_loss(self, model: Any, inputs: Mapping[str, Any]) -> Any:
        return super()._compute_loss(model, trimmed(inputs))


def tables(scored: Sequence[Scored], turns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, turns) rewards, NaN where there is none, and generated tokens of each; with `turns` 1, of the whole."""
    rewards = torch.full((len(scored), turns), math.nan)
    tokens = torch.zeros(len(scored), turns)
    for row, one in enumerate(scored):
        for turn in one.track.turns:
            if turn != NOT_OURS:
                tokens[row, min(turn, turns - 1)] += 1
        for turn, value in enumerate(one.rewards[:turns]):
            rewards[row, turn] = math.nan if value is None else value
    return rewards, tokens


def by_length(pieces: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The same rows in as many pieces of the same size, the shortest sequences first."""
    whole = {
        name: torch.cat([piece[name] for piece in pieces]) if is_rows(value) else value
        for name, value in pieces[0].items()
    }
    order = (whole["prompt_mask"].sum(1) + whole["completion_mask"].sum(1)).argsort(stable=True)
    parts = order.chunk(len(pieces))
    return [{name: value[part] if is_rows(value) else value for name, value in whole.items()} for part in parts]


def trimmed(piece: Mapping[str, Any]) -> dict[str, Any]:
    """A piece without the columns that are padding in all of its rows: on the prompts' left and on the right."""
    left = piece["prompt_mask"].shape[1] - int(piece["prompt_mask"].sum(1).max())
    wide = piece["completion_mask"].shape[1]
    right = max(1, int(piece["completion_mask"].sum(1).max()))
    short = {}
    for name, value in piece.items():
        if name in ("prompt_ids", "prompt_mask"):
            short[name] = value[:, left:]
        elif is_rows(value) and value.ndim == 2 and value.shape[1] == wide:
            short[name] = value[:, :right]
        else:
            short[name] = value
    return short


def is_rows(value: Any) -> bool:
    """Whether a part of a batch has a row a sequence."""
    return isinstance(value, torch.Tensor) and value.ndim > 0


def bytes_of(model: Any) -> int:
    """What a checkpoint takes: weights, and two moments of every weight that is trained."""
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    moments = sum(2 * one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    return int(1.1 * (weights + moments)) + (1 << 20)


# --- while it trains ---------------------------------------------------------------------------------------------


class Diary(transformers.TrainerCallback):  # type: ignore[misc]
    """Metrics, validation, the best weights, progress: what a person sees of a run."""

    def __init__(
        self, course: Course, model: Local, out: Path, lines: Sequence[Mapping[str, Any]], watch: Watch
    ) -> None:
        self._course = course
        self._model = model
        self._out = out
        self._watch = watch
        self._began = time.monotonic()
        self._before = max((line.get("cpu_seconds", 0.0) for line in lines), default=0.0)
        self._cpu = cpu_seconds()
        self._validated = {line["step"]: line["validation"] for line in lines if "validation" in line}
        self.trainer: Trainer | None = None

    @property
    def cpu(self) -> float:
        """CPU seconds of this run, those before an interruption included."""
        return self._before + cpu_seconds() - self._cpu

    @property
    def best(self) -> tuple[int, float] | None:
        """The step with the best validation, and its mark."""
        marks = [(step, mark(scores)) for step, scores in self._validated.items()]
        return max(marks, key=lambda one: (one[1], -one[0]), default=None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._validate(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        if step % self._course.settings.validate_every == 0 or step == self._course.settings.steps:
            self._validate(step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs and state.is_world_process_zero:
            self._write({"step": state.global_step, **{name: _short(value) for name, value in logs.items()}})
            self._watch(f"train, reward {logs.get('reward') or 0:.3f}", state.global_step, self._course.settings.steps)

    def _validate(self, step: int) -> None:
        trainer, exam = self.trainer, self._course.validation
        if trainer is None or exam is None or step in self._validated:
            return
        if trainer.accelerator.is_main_process:
            with trainer.generating() as network:
                folder = self._out / "validation" / f"{step:06d}"
                scores = validate(exam, self._model, network, step, shared_sandbox(), folder)
            self._validated[step] = scores
            self._write(
                {"step": step, "validation": {name: _short(scores[name]) for name in METRICS if name in scores}}
            )
            if self.best is not None and self.best[0] == step:
                self.keep(trainer)
        trainer.accelerator.wait_for_everyone()

    def keep(self, trainer: Trainer) -> None:
        """Writes the weights as they are to DIR/model, whole or not at all."""
        save(trainer.accelerator.unwrap_model(trainer.model), self._model, self._out / "model")

    def _write(self, line: Mapping[str, Any]) -> None:
        timed = {**line, "seconds": round(time.monotonic() - self._began, 1), "cpu_seconds": round(self.cpu, 1)}
        with (self._out / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(timed) + "\n")


def mark(scores: Mapping[str, float]) -> float:
    """By which validations are compared: strict Solve-F1 + 0.3 x right answers."""
    return scores.get("solve_f1", 0.0) + ANSWER_BONUS * scores.get("answer_accuracy", 0.0)


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def save(network: Any, model: Local, folder: Path) -> None:
    """A model directory with these weights, adapters merged in, and the tokenizer that training began with."""
    partial = folder.with_name(f".{folder.name}")
    shutil.rmtree(partial, ignore_errors=True)
    checkpoints.require_space(folder.parent, bytes_of(network))
    if hasattr(network, "merge_adapter"):
        import copy

        network = copy.deepcopy(network).merge_and_unload()
    network.save_pretrained(partial)
    model.tokenizer.save_pretrained(partial)
    for file in partial.iterdir():
        file.chmod(0o644)
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def _short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) and math.isfinite(value) else value


# --- a run -------------------------------------------------------------------------------------------------------


def fit(course: Course, model: Local, network: Any, out: Path, watch: Watch) -> Diary:
    """Trains from the last checkpoint in `out`, or from `network`; DIR/model is the best of it.

    Raises HarnessError with one sentence where it must stop early: no room on the disk, a loss that is no number.
    """
    settings = course.settings
    source: Episodes | Steps
    if settings.regime == "episode" or settings.credit == "return":
        source = Episodes(course, model)
    else:
        source = Steps(course, model, out)
    resumed = checkpoints.last(out / "checkpoints")
    lines = checkpoints.keep_lines(out / "metrics.jsonl", 0 if resumed is None else checkpoints.step_of(resumed))
    if resumed is None:
        lines = checkpoints.keep_lines(out / "metrics.jsonl", -1)
    checkpoints.require_space(out, 2 * bytes_of(network))
    diary = Diary(course, model, out, lines, watch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries', which are for their authors
        trainer = build(course, source, model, network, out / "checkpoints", [diary])
        diary.trainer = trainer
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    if course.validation is None:
        diary.keep(trainer)
    return diary


def build(
    course: Course, source: Episodes | Steps, model: Local, network: Any, folder: Path, callbacks: Sequence[Any]
) -> Trainer:
    """The trainer of a course."""
    settings = course.settings
    vllm = settings.vllm != "off"
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    rows = source.rows()
    if len(rows) < settings.prompts:
        raise UsageError(f"A generation takes {settings.prompts} prompts, and there are {len(rows)}; lower prompts.")
    order = passes(rows, settings)
    texts = [source.texts()[int(place)] for place in order] if vllm and isinstance(source, Steps) else order
    trainer = Trainer(
        course,
        source,
        model=network,
        reward_funcs=[earned if not vllm else earned_elsewhere(source, model)],
        args=config(settings, folder),
        train_dataset=Dataset.from_dict({"prompt": texts, "place": order}),
        processing_class=model.tokenizer,
        peft_config=adapters(settings),
        callbacks=list(callbacks),
        rollout_func=None if vllm else rollout,
    )
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def passes(rows: Sequence[str], settings: Training) -> list[str]:
    """The prompts of all generations in order: passes through the rows, each shuffled, as one long data set.

    One epoch of the Trainer's, because it does not resume the order of a later one. What a pass leaves over for less
    than a generation is left out, so that no prompt comes twice in one.
    """
    whole = len(rows) // settings.prompts * settings.prompts
    wanted = math.ceil(settings.steps / settings.updates) * settings.prompts
    order: list[str] = []
    while len(order) < wanted:
        order += random.Random(f"{settings.seed}:{len(order)}:order").sample(rows, len(rows))[:whole]
    return order[:wanted]


def rollout(prompts: list[str], trainer: Trainer) -> dict[str, Any]:
    """TRL's rollout_func: what was generated for each prompt, and what it earned."""
    trainer.scored = trainer.source.generate(prompts, trainer)
    padding = trainer.processing_class.pad_token_id
    ids = [one.track.ids or [padding] for one in trainer.scored]
    return {
        "prompt_ids": [one.track.prompt for one in trainer.scored],
        "completion_ids": ids,
        "logprobs": None,
        "env_mask": [one.track.mask or [0] for one in trainer.scored],
        "earned": [one.total for one in trainer.scored],
        "scores": [dict(one.scores) for one in trainer.scored],
    }


def earned(
    prompts: Sequence[str], earned: Sequence[float | None], scores: Sequence[Mapping[str, float]], **more: Any
) -> list[float | None]:
    """TRL's reward function: the rewards that came with the rollout. The episodes' own metrics are logged."""
    for name in sorted({name for one in scores for name in one}):
        values = [one[name] for one in scores if name in one]
        more["log_metric"](name, sum(values) / len(values))
    return list(earned)


def earned_elsewhere(source: Episodes | Steps, model: Local) -> Any:
    """TRL's reward function where a server generated the turns."""

    def judge(
        prompts: Sequence[str], completion_ids: Sequence[Sequence[int]], place: Sequence[str], **more: Any
    ) -> list[float | None]:
        assert isinstance(source, Steps)
        tracks = []
        for text, ids in zip(prompts, completion_ids, strict=True):
            track = Track(model.encode(text))
            track.add(list(ids), 0)
            tracks.append(track)
        scored = source.scored([source.prefix(int(name)) for name in place], tracks)
        return [one.total for one in scored]

    judge.__name__ = "earned"
    return judge


def config(settings: Training, folder: Path) -> Any:
    """The recipe in TRL's words."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    size, pieces = settings.pieces(processes)
    gpu = torch.cuda.is_available()
    return trl.GRPOConfig(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=pieces,
        steps_per_generation=pieces * settings.updates,
        num_generations=settings.samples,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        loss_type=settings.loss,
        beta=settings.kl,
        use_bias_correction_kl=False,
        entropy_coef=settings.entropy,
        epsilon=settings.clip,
        epsilon_high=settings.clip_high or None,
        temperature=settings.temperature,
        top_p=1.0,
        top_k=0,
        max_completion_length=settings.max_tokens,
        bf16=settings.dtype == "bfloat16" and gpu,
        gradient_checkpointing=settings.checkpointing,
        use_cpu=not gpu,
        seed=settings.seed,
        shuffle_dataset=False,
        data_seed=settings.seed,
        save_steps=settings.save_every,
        save_total_limit=settings.keep,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[name for name in ("tensorboard", "wandb") if getattr(settings, name)] or "none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_vllm=settings.vllm != "off",
        vllm_mode="server" if settings.vllm == "server" else "colocate",
        vllm_server_base_url=settings.vllm_server or None,
        vllm_gpu_memory_utilization=settings.vllm_memory,
    )


def adapters(settings: Training) -> Any:
    """LoRA's configuration; None where all weights are trained. Raises UsageError where peft is missing."""
    if not settings.lora_rank:
        return None
    try:
        from peft import LoraConfig
    except ImportError:
        raise UsageError("lora_rank needs peft: pip install peft.") from None
    return LoraConfig(
        r=settings.lora_rank, lora_alpha=settings.lora_alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )
