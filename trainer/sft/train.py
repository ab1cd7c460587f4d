"""Supervised warm-up: from a recipe to a model directory, in stages that each leave a file behind.

    DIR/run.json            what this run is; another recipe or model in the same directory is refused
    DIR/recipe.toml         the recipe with everything resolved
    DIR/environments.jsonl  the training environments, where the recipe builds them
    DIR/tokenizer/          the tokenizer, where the network is new
    DIR/checkpoints/        what --resume goes on from
    DIR/metrics.jsonl       a line every `log_every` steps
    DIR/model/              the result: weights, tokenizer, chat template, manifest.json
    DIR/adapter/            with lora_rank: what was trained of it, alone

TRL's SFTTrainer trains on token ids made here: its own preparation goes through a data set whose columns must have one
type, which tools with different schemas have not. Loss is taken on what the assistant says, the end of its turn
included, and on nothing else. Networks made here have a template of their own (network.py); any other chat model is
shown what its own template makes of an episode (spoken.py). Left out: several devices, packing, evaluation on the way.
"""

from __future__ import annotations

import json
import platform
import random
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

from tabulate import tabulate

import harness
from harness.data import disk, jsonio
from harness.data.messages import message_to_json
from harness.data.records import fingerprint, read_samples
from harness.errors import UsageError
from harness.evaluation.run_tasks import load_run_tasks
from harness.metrics import ANSWERS, HEADLINE
from harness.models.local.folder import check_folder, digest_model
from harness.models.local.hf import load_weights
from harness.models.local.packages import import_quietly
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.runs.directory import RunDirectory
from harness.runs.record import to_trajectory
from harness.sandbox import Sandbox
from harness.types import JSONObject, Sample, Trajectory
from results.runs import report_incomplete
from trainer.adapters import FOLDER as ADAPTER
from trainer.adapters import count_own_parameters, has_adapters, save_adapter, surround_with_adapters
from trainer.environments import build_environments
from trainer.precision import report_slow_bfloat16, save_model
from trainer.prefixes import refuse_test_data
from trainer.run_directory import (
    ProgressCallback,
    checkpoint_step,
    describe_model,
    find_last_checkpoint,
    read_result,
    recipe_values,
    truncate_metrics,
)
from trainer.sft import network
from trainer.sft.demonstrator import Flaws, is_demonstrable, play_demonstrations
from trainer.sft.settings import SFTRecipe
from trainer.sft.spoken import SpokenTurns
from trainer.templates import model_args, template_identity
from trainer.trained_layers import freeze_others

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerFast

Written = TypeVar("Written")

SCHEMA = 1
MODEL, MANIFEST = "model", "manifest.json"
PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate")
TOLD = ("recipe", "from", "parameters", "data", "metrics")
"""What of a manifest is told to a person."""
HELD_OUT = "test"
SORTED = 16
"""Batches whose rows are sorted by length together."""


@dataclass(frozen=True, slots=True)
class InitialWeights:
    """Where the weights come from: a directory and its name, or neither for a new network."""

    path: Path | None = None
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SFTDataset:
    """What is trained on: token ids and labels by episode, and where they come from."""

    rows: list[JSONObject]
    episodes: int
    fingerprint: str

    @property
    def tokens(self) -> tuple[int, int]:
        """All tokens, and those that loss is taken on."""
        said = sum(label != network.IGNORE_INDEX for row in self.rows for label in row["labels"])
        return sum(len(row["input_ids"]) for row in self.rows), said


def identify_sft_run(recipe: SFTRecipe, start: InitialWeights) -> JSONObject:
    """What makes a run this one and no other."""
    weights = None if start.path is None else digest_model(start.path)
    identity = {"schema": SCHEMA, "recipe": recipe_values(recipe), "model": start.name, "weights": weights}
    order_of_rows = {"order": "pieces"} if 0 < recipe.micro_batch < recipe.batch else {}  # it was another one once
    return identity | template_identity(recipe.chat_template) | order_of_rows


def read_sft_manifest(out: Path) -> JSONObject | None:
    """The manifest of a run that is complete. Raises UsageError for one that cannot be read."""
    path = out / MODEL / MANIFEST
    return read_result(path, TOLD) if path.is_file() else None


def train_sft(
    recipe: SFTRecipe,
    start: InitialWeights,
    local: ModelTokenizer | None,
    out: Path,
    command: Sequence[str],
    watch: ProgressCallback,
    trust_code: bool = False,
) -> JSONObject:
    """Runs what is left of a run in `out`, and returns its manifest; `local` is what check_chat_model gave.
    `trust_code`: run the Python files that the run of `trajectories` names as its tasks.

    Raises UsageError for data that cannot be used."""
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]
    began = time.monotonic()
    report_slow_bfloat16(recipe.dtype, "cuda" if torch.cuda.is_available() else "cpu")
    if local is None:
        samples, texts = _episodes(recipe, out, watch, _render, trust_code)
        tokenizer = _tokenizer(recipe, start, out, texts)
        data = SFTDataset([network.encode_episode(tokenizer, text) for text in texts], len(texts), fingerprint(samples))
        model = _model(recipe, start, tokenizer)
        write_tokenizer: Callable[[Path], object] = tokenizer.save_pretrained
    else:
        samples, played = _episodes(recipe, out, watch, SpokenTurns(local).encode_episode, trust_code)
        rows = fitting_rows([row for one in played for row in one], local)
        data = SFTDataset(rows, len(played), fingerprint(samples))
        tokenizer, write_tokenizer = local.tokenizer, local.save_tokenizer
        model = load_weights(local, recipe.dtype if recipe.lora_rank else "float32", "cpu")
    freeze_others(model, recipe.train_layers)
    model = surround_with_adapters(model, recipe.lora_rank, recipe.lora_alpha, recipe.seed)
    metrics = _fit(recipe, model, tokenizer, data, out, watch)
    manifest = {
        "schema": SCHEMA,
        "recipe": recipe_values(recipe),
        "seed": recipe.seed,
        "from": start.name,
        "command": list(command),
        "data": {"episodes": data.episodes, "tokens": data.tokens[0], "said": data.tokens[1]}
        | {"fingerprint": data.fingerprint},
        "parameters": count_own_parameters(model),
        "metrics": {**metrics, "seconds": round(time.monotonic() - began, 1)},
        "versions": {"harness": harness.__version__, "python": platform.python_version(), "platform": sys.platform}
        | {package: version(package) for package in (*PACKAGES, "tokenizers")},
    }

    def write_rest(folder: Path) -> None:
        write_tokenizer(folder)
        jsonio.write_json(folder / MANIFEST, manifest)

    if has_adapters(model):  # before the model, which says that the run is complete
        base = check_folder(start.name or "", start.path or Path(), model_args(recipe.chat_template, recipe.format))
        save_adapter(model, out / ADAPTER, base, recipe.save_dtype, write_tokenizer)
    save_model(model, out / MODEL, recipe.save_dtype, write_rest)
    return manifest


def check_chat_model(recipe: SFTRecipe, start: InitialWeights) -> ModelTokenizer | None:
    """What opens a chat model, of any family that hf/ plays; None for a new network, and for those that were made here.

    Raises UsageError, before anything is built, where demonstrations cannot be rendered for it, and for a new network
    that this machine has no memory for.
    """
    if start.path is None or start.name is None:
        network.require_memory(_shape(recipe))
        return None
    args = model_args(recipe.chat_template, recipe.format)
    return fit_chat_model(recipe, open_tokenizer(check_folder(start.name, start.path, args), args), args)


def fit_chat_model(recipe: SFTRecipe, local: ModelTokenizer, args: Mapping[str, str]) -> ModelTokenizer | None:
    """The model, where demonstrations can be rendered for it, or None; as check_chat_model. Raises UsageError."""
    if local.prompter.template == network.CHAT_TEMPLATE and local.format.name == "hermes" and not args:
        return None
    SpokenTurns(local).check(recipe.thinking > 0 and not recipe.trajectories)
    return local


def fitting_rows(rows: Sequence[JSONObject], local: ModelTokenizer) -> list[JSONObject]:
    """The rows that fit into the model's context. Raises UsageError where none does."""
    context = local.folder.context or 10**9
    kept = [row for row in rows if len(row["input_ids"]) <= context]
    if not kept:
        raise UsageError(f"No demonstration fits into the {context} tokens that {local.folder.name} can read.")
    return kept


def describe_manifest(manifest: JSONObject, out: Path) -> str:
    """What a person is told at the end."""
    data, metrics = manifest["data"], manifest["metrics"]
    rows = [
        ("from", manifest["from"] or "a new network"),
        ("parameters", f"{manifest['parameters']:,}"),
        ("episodes", f"{data['episodes']:,}"),
        ("tokens", f"{data['tokens']:,}, of them said by the assistant {data['said']:,}"),
        ("steps", f"{manifest['recipe']['steps']:,} of {manifest['recipe']['batch']} episodes"),
        *([("last loss", f"{metrics['loss']:.4f}")] if "loss" in metrics else []),
        *([("token accuracy", f"{metrics['token_accuracy']:.4f}")] if "token_accuracy" in metrics else []),
        ("seconds", f"{metrics['seconds']:.0f}"),
    ]
    return f"{tabulate(rows)}\n\n{describe_model(out)}"


# --- data --------------------------------------------------------------------------------------------------------


def training_samples(recipe: SFTRecipe, out: Path, watch: ProgressCallback) -> list[Sample]:
    """The recipe's environments, built where they are not there yet. Raises UsageError for held-out ones."""
    if not recipe.train_file:
        path = out / "environments.jsonl"
        if not path.exists():
            told = partial(watch, "build")
            build_environments(path, recipe.environments, recipe, recipe.seed, "train", told)
        return read_samples(path)
    samples = read_samples(Path(recipe.train_file))
    for sample in samples:
        if sample.metadata.get("split") == HELD_OUT:
            raise UsageError(f"{recipe.train_file} holds {sample.id!r} of the test split, which nothing is trained on.")
        if not is_demonstrable(sample):
            raise UsageError(f"{recipe.train_file}: {sample.id!r} has no gold calls with an answer to demonstrate.")
    return samples


def _render(sample: Sample, trajectory: Trajectory) -> str:
    return network.render_episode(sample.tools, trajectory)


def _episodes(
    recipe: SFTRecipe,
    out: Path,
    watch: ProgressCallback,
    write: Callable[[Sample, Trajectory], Written],
    trust_code: bool,
) -> tuple[list[Sample], list[Written]]:
    """What is imitated, each episode as `write` gives it, and the environments that it is of."""
    if recipe.trajectories:
        return read_successes(Path(recipe.trajectories), write, trust_code, quiet=True)
    return _demonstrated(recipe, out, watch, write)


def _demonstrated(
    recipe: SFTRecipe, out: Path, watch: ProgressCallback, write: Callable[[Sample, Trajectory], Written]
) -> tuple[list[Sample], list[Written]]:
    """The recipe's environments, and what the demonstrator played on them."""
    samples = training_samples(recipe, out, watch)
    flaws = Flaws(recipe.repeat, recipe.skip_last, recipe.needless)
    texts: list[Written] = []
    with Sandbox() as sandbox:
        for sample, trajectory in play_demonstrations(
            samples, flaws, recipe.seed, recipe.thinking, sandbox, recipe.draws, recipe.thoughts
        ):
            texts.append(write(sample, trajectory))
            watch("play", len(texts), recipe.draws * len(samples))
    return samples, texts


def identify_named_data(recipe: SFTRecipe, trust_code: bool) -> JSONObject:
    """What of the data that a recipe names makes a run this one: their digest.

    Raises UsageError where they cannot be used."""
    if recipe.train_file:
        return {"data": fingerprint(training_samples(recipe, Path(), lambda *told: None))}
    if recipe.trajectories:
        samples, said = read_successes(Path(recipe.trajectories), _said, trust_code)
        return {"data": jsonio.digest([fingerprint(samples), said])}
    return {}


def _said(sample: Sample, trajectory: Trajectory) -> list[Any]:
    return [sample.id, *map(message_to_json, trajectory.messages)]


def read_successes(
    path: Path, write: Callable[[Sample, Trajectory], Written], trust_code: bool, quiet: bool = False
) -> tuple[list[Sample], list[Written]]:
    """The samples of a run and its successful episodes: every sub-answer solved, no call in vain, and the
    right answer. Imitating one's own is rejection sampling, a better model's is distillation. A run that lacks
    episodes is told on stderr, but for `quiet`.

    Raises UsageError for test data, and where no episode succeeded.
    """
    directory = RunDirectory.open(path)
    tasks = load_run_tasks(directory, trust_code=trust_code)
    refuse_test_data(
        [task for task, _ in tasks.values()], {n: list(found.values()) for n, (_, found) in tasks.items()}, {}
    )
    samples = {(name, sample.id): sample for name, (_, found) in tasks.items() for sample in found.values()}
    results = directory.read_results()
    if not quiet:
        report_incomplete(directory, len(results))
    texts = [
        write(samples[record["task"], record["sample"]], to_trajectory(record))
        for record in directory.stream_records(one for one in results if succeeded(one.scores))
    ]
    if not texts:
        raise UsageError(f"{path} has no successful episode to imitate; collect more, or train on the reward.")
    return list(samples.values()), texts


def succeeded(scores: Mapping[str, float | None]) -> bool:
    """Whether an episode is one to imitate: strict Solve-F1 of 1 and the right answer."""
    return scores.get(HEADLINE) == 1 and 1 in map(scores.get, ANSWERS)


# --- network -----------------------------------------------------------------------------------------------------


def _tokenizer(recipe: SFTRecipe, start: InitialWeights, out: Path, texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """The tokenizer of the model to go on with, the run's own, or a new one."""
    from transformers import AutoTokenizer

    if start.path is not None and start.name is not None:
        opened = open_tokenizer(check_folder(start.name, start.path, {}), {}).tokenizer
        return cast("PreTrainedTokenizerFast", opened)
    path = out / "tokenizer"
    if not path.exists():
        unfinished = out / ".tokenizer"
        network.train_tokenizer(texts, recipe.vocabulary).save_pretrained(unfinished)
        unfinished.replace(path)
    return cast("PreTrainedTokenizerFast", AutoTokenizer.from_pretrained(path, local_files_only=True))


def _shape(recipe: SFTRecipe) -> network.NetworkShape:
    return network.NetworkShape(recipe.width, recipe.inner, recipe.layers, recipe.heads, recipe.head)


def _model(recipe: SFTRecipe, start: InitialWeights, tokenizer: PreTrainedTokenizerFast) -> Any:
    if start.path is None or start.name is None:
        return network.new_model(_shape(recipe), tokenizer, recipe.seed)
    return load_weights(open_tokenizer(check_folder(start.name, start.path, {}), {}), "float32", "cpu")


# --- training ----------------------------------------------------------------------------------------------------


def _fit(
    recipe: SFTRecipe,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    data: SFTDataset,
    out: Path,
    watch: ProgressCallback,
) -> JSONObject:
    """Trains `model` in place, from the last whole checkpoint where there is one; returns the last line of metrics."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback, set_seed

    import_quietly("transformers")
    from trainer.heap import HeapCallback
    from trainer.sft.loss import AssistantLossTrainer  # imports torch and TRL

    checkpoints, lines = out / "checkpoints", out / "metrics.jsonl"
    resumed = find_last_checkpoint(checkpoints)
    if resumed is None:
        disk.remove_folder(checkpoints)
    done = 0 if resumed is None else checkpoint_step(resumed)
    truncate_metrics(lines, done)

    class Metrics(TrainerCallback):
        """Writes a line of metrics and moves the progress bar."""

        def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
            if logs and "loss" in logs:
                row = {
                    "step": state.global_step,
                    "loss": logs["loss"],
                    "token_accuracy": logs["mean_token_accuracy"],
                    "learning_rate": logs["learning_rate"],
                }
                with disk.open_to_append(lines) as file:
                    file.write(f"{json.dumps(row)}\n".encode())

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch("train", state.global_step, recipe.steps)

    set_seed(recipe.seed)
    trainer = AssistantLossTrainer(
        model=model,
        args=_settings(recipe, checkpoints),
        train_dataset=Dataset.from_list(data.rows).select(order(data.rows, recipe)),
        processing_class=tokenizer,
        callbacks=[Metrics(), HeapCallback()],
    )
    trainer.computed = recipe.dtype
    trainer.remove_callback(PrinterCallback)
    trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    written = disk.read_file(lines, links=False).splitlines() if lines.exists() else []
    return jsonio.parse_json(written[-1]) if written else {"step": recipe.steps}


def order(rows: Sequence[Mapping[str, Any]], recipe: SFTRecipe) -> list[int]:
    """Which rows the steps train on, batch after batch: all of them shuffled anew for every pass.

    Rows that go through the network at once are of similar length, because padding costs as much as text; a step's
    pieces are drawn at random, because episodes of one length have as many calls, and steps of one kind each pull the
    network to and fro between calling and answering. The order is decided here and not by the Trainer's sampler, whose
    grouping by length draws another order when a run is resumed within a pass.
    """
    source, needed = random.Random(recipe.seed), recipe.steps * recipe.batch
    piece = recipe.micro_batch or recipe.batch
    chosen: list[int] = []
    while len(chosen) < needed:
        shuffled = source.sample(range(len(rows)), len(rows))
        for at in range(0, len(rows), SORTED * recipe.batch):
            near = sorted(shuffled[at : at + SORTED * recipe.batch], key=lambda row: len(rows[row]["input_ids"]))
            pieces = [near[first : first + piece] for first in range(0, len(near), piece)]
            source.shuffle(pieces)
            chosen += (row for rows_at_once in pieces for row in rows_at_once)
    return chosen[:needed]


def _settings(recipe: SFTRecipe, checkpoints: Path) -> Any:
    return import_quietly("trl").SFTConfig(
        output_dir=str(checkpoints),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.micro_batch or recipe.batch,
        gradient_accumulation_steps=recipe.batch // (recipe.micro_batch or recipe.batch),
        gradient_checkpointing=recipe.checkpointing,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        weight_decay=recipe.weight_decay,
        adam_beta2=0.95,
        max_grad_norm=1.0,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        max_length=None,
        activation_checkpointing=False,
        bf16=False,
        logging_steps=recipe.log_every,
        logging_nan_inf_filter=False,
        save_steps=recipe.save_every,
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )
