"""`harness train`: from a recipe to a trained model, in the regime that the recipe is for.

Whatever can be refused without torch is refused before it is imported, and where it is not installed: the regimes
import it themselves, when they train.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from harness.console.progress import ProgressBar
from harness.data.records import fingerprint
from harness.errors import UsageError
from harness.metrics import METRICS
from harness.models.local.adapter import list_adapters
from harness.models.local.folder import check_folder
from harness.models.local.hf import check_weights
from harness.models.local.packages import check_packages, set_library_defaults
from harness.registry import suggest_names
from harness.runs.claims import claim_directory
from harness.types import JSONObject
from trainer import bundled
from trainer.adapters import check_adapters
from trainer.analysis.weights import open_weights
from trainer.distributed import is_distributed, is_main_process, part_from_others, wait_for_everyone
from trainer.dpo.settings import DPORecipe
from trainer.dpo.train import (
    check_dpo_model,
    describe_dpo_result,
    identify_dpo_run,
    read_dpo_result,
    read_dpo_tasks,
    train_dpo,
)
from trainer.environments import check_recipe_kinds
from trainer.recipes.load import Recipe, is_said, load_recipe, recipe_to_toml
from trainer.rl.data import check_prompts, check_tasks
from trainer.rl.run import check_model, describe_result, identify_rl_run, read_rl_result, train_rl
from trainer.rl.settings import RLRecipe
from trainer.run_directory import ProgressCallback, begin_run, find_run
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import (
    InitialWeights,
    check_chat_model,
    describe_manifest,
    identify_named_data,
    identify_sft_run,
    read_sft_manifest,
    train_sft,
)
from trainer.templates import model_args
from trainer.trained_layers import find_trained

BUNDLED, FOLDER = "bundled/", "hf/"
LARGE = 50_000_000
"""Parameters above which nobody's default learning rate will do."""


@dataclass(frozen=True, slots=True)
class TrainingRequest:
    """What a person asked for, as the options of `harness train` name it.

    changes  values of the recipe that were said: --set, --algorithm, --reward
    command  the words that give this run again
    """

    recipe: str | None
    changes: Mapping[str, str]
    regime: str | None
    model: str | None
    tasks: Sequence[str]
    data: Mapping[str, Path]
    out: Path
    command: Sequence[str]
    resume: bool = False
    quiet: bool = False
    trust_code: bool = False


def train_by_recipe(request: TrainingRequest) -> str:
    """Trains what is left to train; returns what a person is told at the end, "" where this process does not lead.

    Raises UsageError before anything is built if the input is bad.
    """
    recipe = load_recipe(request.recipe, request.changes, request.regime)
    start = find_initial_weights(request.model, model_args(recipe.chat_template, recipe.format))
    refuse_default_rate(request, recipe, start)
    refuse_missing_layers(recipe, start)
    check_recipe_kinds(recipe)
    check_packages("training", ("torch", "transformers", "trl", "datasets", "accelerate"), "train")
    set_library_defaults()
    if isinstance(recipe, SFTRecipe):
        return imitate_demonstrations(request, recipe, start)
    if isinstance(recipe, DPORecipe):
        return prefer_attempts(request, recipe, start)
    return maximise_reward(request, recipe, start)


def imitate_demonstrations(request: TrainingRequest, recipe: SFTRecipe, start: InitialWeights) -> str:
    """The regime sft; returns what a person is told at the end."""
    refuse_launcher(recipe)
    check_sft_request(request, start)
    check_adapters(recipe.lora_rank)
    local = check_chat_model(recipe, start)
    named = identify_named_data(recipe, request.trust_code)
    out = request.out
    with hold_run(request, identify_sft_run(recipe, start) | named, recipe, start) as watch:
        manifest = read_sft_manifest(out) or train_sft(
            recipe, start, local, out, request.command, watch, request.trust_code
        )
    return describe_manifest(manifest, out)


def maximise_reward(request: TrainingRequest, recipe: RLRecipe, start: InitialWeights) -> str:
    """The regimes step and episode; returns what a person is told at the end, where this process leads."""
    name, path = require_model(start)
    out, tasks, data = request.out, request.tasks, request.data
    model = check_model(recipe, name, path)
    found = check_tasks(recipe, tasks, data)
    if found and not has_begun(request):
        check_prompts(recipe, model, found)
    identity = identify_rl_run(recipe, name, path, tasks) | (found.identity if found else {})
    with hold_run(request, identity, recipe, start) as watch:
        result = read_rl_result(out) or train_rl(recipe, model, tasks, data, out, request.command, watch)
        part_from_others()  # also where the run was complete
    return describe_result(result, out) if is_main_process() else ""


def prefer_attempts(request: TrainingRequest, recipe: DPORecipe, start: InitialWeights) -> str:
    """The regime dpo; returns what a person is told at the end."""
    refuse_launcher(recipe)
    name, path = require_model(start)
    if recipe.metric not in ("", *METRICS) and not request.tasks:
        hint = suggest_names(recipe.metric, METRICS)
        raise UsageError(f"Built environments have no metric {recipe.metric[:60]!r} to tell what is right by.{hint}")
    local = check_dpo_model(recipe, name, path)
    out, tasks, data = request.out, request.tasks, request.data
    identity = identify_dpo_run(recipe, name, path, tasks)
    if tasks:
        identity["data"] = fingerprint([sample for _, sample in read_dpo_tasks(tasks, data)])
    with hold_run(request, identity, recipe, start) as watch:
        result = read_dpo_result(out) or train_dpo(recipe, local, tasks, data, out, request.command, watch)
    return describe_dpo_result(result, out)


@contextmanager
def hold_run(
    request: TrainingRequest, identity: JSONObject, recipe: Recipe, start: InitialWeights
) -> Iterator[ProgressCallback]:
    """Around a run: its directory is claimed, and whoever interrupts it is told how to go on.

    Raises UsageError, before that, for weights that cannot be loaded.
    """
    if start.path is not None and start.name is not None and not has_begun(request):
        check_weights(check_folder(start.name, start.path, model_args(recipe.chat_template, recipe.format)))
    leads = is_main_process()
    find = partial(find_run, request.out, identity, request.resume)
    begin = partial(begin_run, request.out, identity, recipe_to_toml(recipe))
    claim = claim_directory(request.out, find, begin) if leads else nullcontext()
    with claim, ProgressBar(quiet=request.quiet or not leads) as progress:
        wait_for_everyone()
        try:
            yield progress.watch
        except KeyboardInterrupt:
            print(
                "Interrupted. What was done is kept; the same command with --resume goes on from the last checkpoint.",
                file=sys.stderr,
            )
            raise


def has_begun(request: TrainingRequest) -> bool:
    """Whether --out holds a run, which was checked when it began."""
    return (request.out / "run.json").exists()


def refuse_launcher(recipe: Recipe) -> None:
    """Raises UsageError where a launcher started several processes of a regime that trains in one."""
    if is_distributed():
        raise UsageError(f"--regime {recipe.regime} trains in one process; start it without a launcher.")


def check_sft_request(request: TrainingRequest, start: InitialWeights) -> None:
    """Raises UsageError for what the regime sft does not take, and where it has nothing to begin with."""
    if request.tasks:
        raise UsageError("--regime sft takes its environments from the recipe (train_file), not from --tasks.")
    if request.recipe is None and start.path is None:
        raise UsageError("--recipe is missing: a new network needs one, such as tiny-base.")


def require_model(start: InitialWeights) -> tuple[str, Path]:
    """The model's name and path. Raises UsageError where none was named."""
    if start.path is None or start.name is None:
        raise UsageError("--model is missing: a model directory or bundled/NAME to go on from.")
    return start.name, start.path


def find_initial_weights(
    model: str | None, args: Mapping[str, str], check: Callable[[str, Path, Mapping[str, str]], object] = check_folder
) -> InitialWeights:
    """Where the weights come from. Raises UsageError where there is no usable model, as `check` says."""
    if model is None:
        return InitialWeights()
    path = Path(model)
    if not path.exists() and model.startswith(BUNDLED):
        name = model.removeprefix(BUNDLED)
        if name not in (known := (*bundled.NAMES, *bundled.MORE)):
            raise UsageError(f"No model is called {model!r}.{suggest_names(model, [BUNDLED + name for name in known])}")
        path = bundled.model_path(name)
    elif not path.exists() and model.startswith(FOLDER):
        path = Path(model.removeprefix(FOLDER))
    check(f"--model {model}", path, args)
    return InitialWeights(path, model)


def refuse_default_rate(
    request: TrainingRequest, recipe: Recipe, start: InitialWeights, known: int | None = None
) -> None:
    """Raises UsageError where nobody said a learning rate for a model that is large: the default is for small ones.
    `known`: how many parameters it has, where that need not be counted."""
    if start.path is None or is_said("learning_rate", request.recipe, request.changes):
        return
    if (parameters := known or count_parameters(start.path)) > LARGE:
        raise UsageError(
            f"{start.name} has {parameters / 1e6:,.0f} million parameters, and the default learning_rate of "
            f"{recipe.learning_rate:g} is for networks below {LARGE / 1e6:.0f} million: name one, such as --set "
            "learning_rate=1e-5 (the paper's is 1e-6)."
        )


def refuse_missing_layers(
    recipe: SFTRecipe | RLRecipe | DPORecipe, start: InitialWeights, known: Iterable[str] | None = None
) -> None:
    """Raises UsageError where the model has none of the layers that are to be trained. `known`: its tensors' names."""
    if isinstance(recipe, DPORecipe) or not (recipe.train_layers or recipe.lora_rank):
        return
    if start.path is None:
        value = "lora_rank" if recipe.lora_rank else "train_layers"
        raise UsageError(f"{value} needs a --model to go on from: a new network is trained whole.")
    if recipe.train_layers:
        find_trained(recipe.train_layers, read_sizes(start.path) if known is None else known)


def count_parameters(path: Path) -> int:
    """How many numbers a folder or a GGUF file holds."""
    return sum(read_sizes(path).values())


def read_sizes(path: Path) -> dict[str, int]:
    """How many numbers each tensor of a folder, of an adapter's model or of a GGUF file has, by their headers."""
    path, _ = list_adapters(f"--model {path}", path)
    if path.is_file():
        tensors = importlib.import_module("gguf").GGUFReader(path).tensors
        return {tensor.name: int(tensor.n_elements) for tensor in tensors}
    return {name: tensor.size for name, tensor in open_weights(path).tensors.items()}
