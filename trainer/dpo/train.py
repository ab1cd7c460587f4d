"""`harness train --regime dpo`: a model plays, its attempts are paired, and it learns which of them to prefer.

    DIR/run.json, recipe.toml        what this run is
    DIR/environments/                what it plays, where the recipe builds it
    DIR/loops/0/validation           the model as it began, on the validation environments: an ordinary run
    DIR/loops/N/run, pairs.jsonl     loop N: its attempts, and the pairs among them
    DIR/loops/N/model, validation    the weights after it, and what they reach
    DIR/model                        those of the best loop, by trainer.rewards.validation_score
    DIR/result.json                  the loops' figures

A loop whose model is no better than the best before ends the run. An interrupted run goes on with what is not there
yet; a loop's training begins anew. Left out: several devices, adapters, and pairs of other models.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.data import jsonio
from harness.data.files import read_rows, write_rows
from harness.errors import HarnessError
from harness.evaluation.plan import Player, plan_tasks, sources_of
from harness.metrics import HEADLINE, find_metric
from harness.models.local.folder import check_folder, digest_model
from harness.models.local.hf import load_weights
from harness.models.local.packages import import_quietly
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.registry import load_samples, select_tasks
from harness.types import JSONObject, Limits, Reasoning, Sample, Sampling, Task
from trainer.dpo.encode import encode_pairs
from trainer.dpo.settings import DPORecipe
from trainer.environments import build_environments
from trainer.pairs import read_paired_runs
from trainer.precision import save_model
from trainer.prefixes import refuse_test_data
from trainer.rewards import validation_score
from trainer.rl.actor import with_stable_template
from trainer.rl.validation import (
    EvaluationSet,
    MetricDifference,
    compare_metrics,
    format_differences,
    load_trained,
    load_untrained,
    means,
    play_watched,
    run_test,
)
from trainer.run_directory import ProgressCallback, describe_model, read_result, recipe_values
from trainer.templates import model_args, template_identity
from trainer.tool_runner import shared_sandbox

SCHEMA = 1
RESULT, MANIFEST = "result.json", "manifest.json"
TOLD = ("recipe", "from", "loops", "best_loop", "test")
SHOWN = (HEADLINE, "decision_accuracy", "decision_f1", "answer_accuracy", "calls")
SPLITS = {"train": 0, "validation": 1, "test": 2}
"""What is added to the recipe's data_seed for each split, as in trainer.rl.data."""


def identify_dpo_run(recipe: DPORecipe, name: str, path: Path, patterns: Sequence[str]) -> JSONObject:
    """What makes a run this one and no other."""
    weights = digest_model(path)
    return {
        "schema": SCHEMA,
        "recipe": recipe_values(recipe),
        "model": name,
        "weights": weights,
        "tasks": list(patterns),
    } | template_identity(recipe.chat_template)


def check_dpo_model(recipe: DPORecipe, name: str, path: Path) -> ModelTokenizer:
    """The model's tokenizer and a template that keeps earlier turns. Raises UsageError where there is none."""
    args = model_args(recipe.chat_template, recipe.format)
    return fit_dpo_template(recipe, open_tokenizer(check_folder(name, path, args), args))


def fit_dpo_template(recipe: DPORecipe, local: ModelTokenizer) -> ModelTokenizer:
    """The model with a template that keeps earlier turns. Raises UsageError where there is none."""
    reasoning = Reasoning("on" if recipe.thinking == "on" else "off")
    local.prompter.switch(reasoning)
    return with_stable_template(local, reasoning)


def read_dpo_tasks(patterns: Sequence[str], data: Mapping[str, Path]) -> list[tuple[Task, Sample]]:
    """The environments of --tasks. Raises UsageError for test data, and where there are none."""
    tasks = select_tasks(patterns, data)
    samples = load_samples(tasks)
    tasks = [task for task in tasks if task.name in samples]
    refuse_test_data(tasks, samples, data)
    return [(task, sample) for task in tasks for sample in samples[task.name]]


def read_dpo_result(out: Path) -> JSONObject | None:
    """The result of a run that is complete."""
    return read_result(out / RESULT, TOLD) if (out / RESULT).is_file() else None


def train_dpo(
    recipe: DPORecipe,
    local: ModelTokenizer,
    patterns: Sequence[str],
    data: Mapping[str, Path],
    out: Path,
    command: Sequence[str],
    watch: ProgressCallback,
) -> JSONObject:
    """Runs what is left of a run in `out`, and returns its result."""

    run = _Loops(recipe, local, patterns, data, out, watch)
    figures = [run.validate(0)]
    for loop in range(1, recipe.loops + 1):
        pairs = run.play(loop)
        run.train(loop)
        figures.append({**run.validate(loop), "pairs": pairs})
        if validation_score(figures[-1]) <= max(map(validation_score, figures[:-1])):
            break
    best = max(range(len(figures)), key=lambda loop: (validation_score(figures[loop]), -loop))
    run.keep(best, {"schema": SCHEMA, "recipe": recipe_values(recipe), "from": local.folder.name})
    result: JSONObject = {
        "schema": SCHEMA,
        "recipe": recipe_values(recipe),
        "from": local.folder.name,
        "command": list(command),
        "loops": figures,
        "best_loop": best,
        "test": [asdict(one) for one in run.test()],
    }
    jsonio.write_json(out / RESULT, result)
    return result


@dataclass(frozen=True, slots=True)
class _Loops:
    """The parts of a run, each of which leaves what it made in `out`."""

    recipe: DPORecipe
    local: ModelTokenizer
    patterns: Sequence[str]
    data: Mapping[str, Path]
    out: Path
    watch: ProgressCallback

    @property
    def reasoning(self) -> Reasoning:
        return Reasoning("on" if self.recipe.thinking == "on" else "off")

    def folder(self, loop: int) -> Path:
        return self.out / "loops" / str(loop)

    def model(self, loop: int) -> ModelTokenizer:
        """The model after a loop."""
        if loop == 0:
            return self.local
        path = self.folder(loop) / "model"
        return open_tokenizer(check_folder(f"{self.local.folder.name}@{loop}", path, {}), {})

    def play(self, loop: int) -> int:
        """The attempts of the model as the loop finds it, and their pairs; how many these are."""
        recipe, folder = self.recipe, self.folder(loop)
        patterns = self.patterns or [str(self.split("train"))]
        plan = replace(
            plan_tasks(select_tasks(patterns, self.data), self.data),
            sampling=Sampling(recipe.temperature, recipe.max_tokens, recipe.seed + loop),
            limits=Limits(max_turns=recipe.max_turns),
            epochs=recipe.attempts,
            reasoning=self.reasoning,
            sources=sources_of(patterns, self.data),
        )
        player = Player(load_untrained(self.model(loop - 1)), shared_sandbox())
        play_watched(plan, player, folder / "run", partial(self.watch, f"play loop {loop}"))
        found = read_paired_runs([folder / "run"], recipe.rules)
        if not (choices := found.choose(recipe.rules)):
            raise HarnessError("No environment gives a pair by these rules; other thresholds, or more attempts, may.")
        write_rows(folder / "pairs.jsonl", found.rows(choices))
        return len(choices)

    def train(self, loop: int) -> None:
        """The weights after the loop, where they are not there yet."""
        path = self.folder(loop) / "model"
        if (path / MANIFEST).is_file():
            return
        local = self.model(loop - 1)
        pairs = encode_pairs(list(read_rows(self.folder(loop) / "pairs.jsonl")), local, self.reasoning)
        network = load_weights(local, "float32", "cpu")
        log = fit_pairs(
            self.recipe, network, local, pairs, self.folder(loop), partial(self.watch, f"train loop {loop}")
        )

        def write_rest(folder: Path) -> None:
            self.local.save_tokenizer(folder)
            jsonio.write_json(folder / MANIFEST, {"loop": loop, "pairs": len(pairs), **log})

        save_model(network, path, self.recipe.save_dtype, write_rest)

    def validate(self, loop: int) -> JSONObject:
        """What the model after a loop reaches, greedy, on the validation environments."""
        out = self.folder(loop) / "validation"
        watch = partial(self.watch, f"validate loop {loop}")
        run_test(self._set("validation"), load_untrained(self.model(loop)), shared_sandbox(), out, watch)
        summary = jsonio.read_json(out / "summary.json", links=False)
        return {name: value for name, value in means(summary).items() if name in SHOWN}

    def keep(self, best: int, manifest: JSONObject) -> None:
        """The best loop's weights as the result."""
        network = load_weights(self.model(best), "float32", "cpu")

        def write_rest(folder: Path) -> None:
            self.local.save_tokenizer(folder)
            jsonio.write_json(folder / MANIFEST, {**manifest, "loop": best})

        save_model(network, self.out / "model", self.recipe.save_dtype, write_rest)

    def test(self) -> list[MetricDifference]:
        if not self.recipe.test:
            return []
        folders = [self.out / "test" / name for name in ("before", "after")]
        trained = load_trained(f"hf/{self.out / 'model'}", self.out / "model")
        for folder, model in zip(folders, (load_untrained(self.local), trained), strict=True):
            run_test(self._set("test"), model, shared_sandbox(), folder, partial(self.watch, f"test {folder.name}"))
        return compare_metrics(*folders)

    def _set(self, split: str) -> EvaluationSet:
        limits = Limits(max_turns=self.recipe.max_turns)
        return EvaluationSet(self.split(split), limits, self.reasoning, self.recipe.max_tokens)

    def split(self, split: str) -> Path:
        """Environments of a split, built where they are not there yet."""
        path = self.out / "environments" / f"{split}.jsonl"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            n = {"train": self.recipe.environments, "validation": self.recipe.validation, "test": self.recipe.test}
            seed = self.recipe.data_seed + SPLITS[split]
            build_environments(path, n[split], self.recipe, seed, split, partial(self.watch, f"build {split}"))
        return path


def fit_pairs(
    recipe: DPORecipe,
    network: Any,
    local: ModelTokenizer,
    pairs: Sequence[JSONObject],
    folder: Path,
    watch: Any,
) -> JSONObject:
    """Trains the network in place, against a frozen copy of itself; what TRL said last, and CPU seconds."""
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback, set_seed

    import_quietly("transformers")
    from trainer.dpo.loss import EpisodePairTrainer, PairCollator  # imports torch and TRL
    from trainer.heap import HeapCallback

    class Progress(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            watch(state.global_step, recipe.steps)

    set_seed(recipe.seed)
    began = time.process_time()
    trainer = EpisodePairTrainer(
        model=network,
        ref_model=copy.deepcopy(network),
        args=_settings(recipe, folder),
        data_collator=PairCollator(local.tokenizer.pad_token_id or 0),
        train_dataset=Dataset.from_list(list(pairs)),
        processing_class=local.tokenizer,
        callbacks=[Progress(), HeapCallback()],
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    lines = [line for line in trainer.state.log_history if "loss" in line]
    jsonio.write_atomically(folder / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    return {"metrics": lines[-1] if lines else {}, "cpu_seconds": round(time.process_time() - began, 1)}


def _settings(recipe: DPORecipe, folder: Path) -> Any:
    return import_quietly("trl").DPOConfig(
        output_dir=str(folder / "trainer"),
        max_steps=recipe.steps,
        per_device_train_batch_size=recipe.batch,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=recipe.warmup,
        beta=recipe.beta,
        max_length=None,
        max_grad_norm=1.0,
        activation_checkpointing=False,
        remove_unused_columns=False,
        bf16=False,
        use_cpu=True,
        logging_steps=max(1, recipe.steps // 20),
        save_strategy="no",
        seed=recipe.seed,
        data_seed=recipe.seed,
        report_to="none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


def describe_dpo_result(result: JSONObject, out: Path) -> str:
    """What a person is told at the end."""
    rows = [
        {"loop": loop, "pairs": figures.get("pairs", "-")}
        | {find_metric(name).heading: f"{figures[name]:.3f}" for name in SHOWN if name in figures}
        for loop, figures in enumerate(result["loops"])
    ]
    recipe = result["recipe"]
    test = [MetricDifference(**{**one, "ci95": one["ci95"] and tuple(one["ci95"])}) for one in result["test"]]
    return "\n".join(
        [
            *([format_differences(test, recipe["test"]), ""] if test else []),
            f"{recipe['validation']} validation environments, greedy, strict",
            tabulate(rows, headers="keys", disable_numparse=True),
            "",
            f"from {result['from']}, seed {recipe['seed']}; the best is loop {result['best_loop']}",
            describe_model(out, recipe.get("thinking", "")),
        ]
    )
