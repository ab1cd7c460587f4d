"""`harness train` in the regimes step and episode: checks, the run, and the table of before and after.

The test environments at the end are played once, by the model that training began with and by the best one, from their
directories, as `harness eval` would.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import harness
from harness.data import jsonio
from harness.errors import UsageError
from harness.models.local.adapter import is_adapter
from harness.models.local.folder import check_folder, digest_model
from harness.models.local.hf import load_weights
from harness.models.local.packages import find_missing_packages
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.types import JSONObject
from trainer.adapters import check_adapters, count_own_parameters
from trainer.distributed import is_main_process, main_process_first, part_from_others, refuse_other_shards
from trainer.precision import report_slow_bfloat16
from trainer.rl.actor import with_stable_template
from trainer.rl.data import TrainingSetup, prepare_training, reasoning_of
from trainer.rl.settings import RLRecipe
from trainer.rl.validation import (
    MetricDifference,
    compare_metrics,
    format_differences,
    load_trained,
    load_untrained,
    run_test,
)
from trainer.run_directory import ProgressCallback, describe_model, read_result, recipe_values
from trainer.templates import model_args, template_identity
from trainer.tool_runner import shared_sandbox
from trainer.trained_layers import freeze_others

SCHEMA = 1
RESULT = "result.json"
TOLD = ("recipe", "seed", "from", "parameters", "best_step", "test", "cpu_seconds")
"""What of a result is told to a person."""
PACKAGES = ("torch", "transformers", "trl", "datasets", "accelerate", "tokenizers")


def identify_rl_run(settings: RLRecipe, name: str, path: Path, patterns: Sequence[str]) -> JSONObject:
    """What makes a run this one and no other."""
    return {
        "schema": SCHEMA,
        "recipe": recipe_values(settings),
        "model": name,
        "weights": digest_model(path),
        "tasks": list(patterns),
    } | template_identity(settings.chat_template)


def check_model(settings: RLRecipe, name: str, path: Path) -> ModelTokenizer:
    """The model's tokenizer and template, fit for the regime. Raises UsageError in one sentence where they are not."""
    check_vllm(settings)
    check_extras(settings)
    settings.share_of_update(int(os.environ.get("WORLD_SIZE", "1")))
    refuse_other_shards(os.environ, bool(settings.lora_rank))
    args = model_args(settings.chat_template, settings.format)
    model = open_tokenizer(check_folder(name, path, args), args)
    refuse_file_reference(settings, path)
    return fit_template(settings, model)


def check_extras(settings: RLRecipe) -> None:
    """Raises UsageError where a package is missing that this recipe alone asks for."""
    check_adapters(settings.lora_rank)
    for name in ("tensorboard", "wandb"):
        if getattr(settings, name) and find_spec(name) is None:
            raise UsageError(f"{name} = true needs {name}, which is not installed: pip install {name}.")


def refuse_file_reference(settings: RLRecipe, path: Path) -> None:
    """Raises UsageError where a reference, or vLLM's weights, would have to be read from a GGUF file or an adapter."""
    if not (path.is_file() or is_adapter(path)):
        return
    if settings.vllm == "colocate":
        raise UsageError("vLLM reads the weights at the beginning from a model's folder here: set vllm=off.")
    if settings.kl and not settings.lora_rank:
        raise UsageError(
            "kl compares with the weights at the beginning, which are read from a model's folder here: set kl=0."
        )


def fit_template(settings: RLRecipe, model: ModelTokenizer) -> ModelTokenizer:
    """The model with a template that the regime can train on. Raises UsageError where there is none."""
    if settings.thinking != "default":
        model.prompter.switch(reasoning_of(settings))
    if settings.regime == "episode" or settings.credit == "return":
        return with_stable_template(model, reasoning_of(settings))
    return model


def check_vllm(settings: RLRecipe, plays: bool = True) -> None:
    """Raises UsageError where vLLM cannot generate what the recipe asks; `plays`: it is to do so here and now."""
    if settings.vllm == "off":
        return
    if plays and device() == "cpu":
        raise UsageError(f"vllm = {settings.vllm} needs a GPU, and there is none here; set vllm=off.")
    if plays and (missing := find_missing_packages(("vllm",), "vllm")):
        raise UsageError(f"vllm = {settings.vllm}: {missing}")
    if settings.vllm == "server" and not settings.vllm_server:
        raise UsageError("vllm = server needs the server's address in vllm_server.")


def train_rl(
    settings: RLRecipe,
    model: ModelTokenizer,
    patterns: Sequence[str],
    data: Mapping[str, Path],
    out: Path,
    command: Sequence[str],
    watch: ProgressCallback,
) -> JSONObject:
    """Runs what is left of a run in `out`, and returns its result."""
    from trainer.rl.trl_trainer import train_network  # imports torch and TRL

    with main_process_first():
        setup = prepare_training(settings, patterns, data, out, watch)
    report_slow_bfloat16(settings.dtype, device())
    # Master weights are whole; what is frozen below adapters is only read.
    network = load_weights(model, settings.dtype if settings.lora_rank else "float32", device())
    freeze_others(network, settings.train_layers)
    callback = train_network(setup, model, network, out, watch)
    part_from_others()  # before the leader plays the test alone, for as long as that takes
    best = callback.best_validation
    result: JSONObject = {
        "schema": SCHEMA,
        "recipe": recipe_values(setup.settings),
        "seed": settings.seed,
        "from": model.folder.name,
        "command": list(command),
        "parameters": count_own_parameters(network),
        "best_step": setup.settings.steps if best is None else best[0],
        "versions": {"harness": harness.__version__, "python": platform.python_version(), "platform": sys.platform}
        | {package: version(package) for package in PACKAGES},
    }
    if is_main_process():
        jsonio.write_json(
            out / "model" / "manifest.json", {**result, "metrics": {"cpu_seconds": round(callback.cpu_time, 1)}}
        )
        result["test"] = [asdict(one) for one in run_tests(setup, model, out, watch)]
        result["cpu_seconds"] = round(callback.cpu_time, 1)
        jsonio.write_json(out / RESULT, result)
    return result


def device() -> str:
    """Where this process's weights go: its own GPU under accelerate, else the first, else the CPU."""
    import torch

    return f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"


def run_tests(
    setup: TrainingSetup, model: ModelTokenizer, out: Path, watch: ProgressCallback
) -> list[MetricDifference]:
    """The test environments before and after; nothing where the recipe has none."""
    if setup.test is None:
        return []
    trained = out / "model"
    for run in ("before", "after"):
        player = load_untrained(model) if run == "before" else load_trained(f"hf/{trained}", trained)
        run_test(setup.test, player, shared_sandbox(), out / "test" / run, partial(watch, f"test {run}"))
    return compare_metrics(out / "test" / "before", out / "test" / "after")


def read_rl_result(out: Path) -> JSONObject | None:
    """The result of a run that is complete. Raises UsageError for one that cannot be read."""
    path = out / RESULT
    return read_result(path, TOLD) if path.is_file() else None


def describe_result(result: JSONObject, out: Path) -> str:
    """What a person is told at the end."""
    test = [MetricDifference(**{**one, "ci95": one["ci95"] and tuple(one["ci95"])}) for one in result["test"]]
    recipe = result["recipe"]
    lines = [format_differences(test, recipe["test"]), ""] if test else []
    lines += [
        f"from {result['from']}, {result['parameters']:,} parameters; {recipe['regime']} regime, "
        f"{recipe['algorithm']}, seed {recipe['seed']}; best at step {result['best_step']} of {recipe['steps']}; "
        f"{result['cpu_seconds']:.0f} CPU seconds",
        describe_model(out, recipe.get("thinking", "")),
    ]
    return "\n".join(lines)
