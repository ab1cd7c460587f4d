"""`harness train --dry-run`: what a training would take. Nothing that has weights is loaded, and nothing is made.

Whatever `harness train` refuses before it begins is refused here too, but for what an estimate can do without: weights,
a GPU, the packages that train, a run directory.
"""

from __future__ import annotations

import os

from harness.errors import UsageError
from harness.models.local.packages import set_library_defaults
from trainer.distributed import is_main_process
from trainer.estimate.model import check_files, open_estimated, read_model_shape
from trainer.estimate.prompts import find_prompts, measure_prompts
from trainer.estimate.shape import ModelShape, list_tensors
from trainer.estimate.show import Estimate, describe_estimate
from trainer.estimate.step import Recipe
from trainer.recipes.load import load_recipe
from trainer.recipes.run import (
    TrainingRequest,
    check_sft_request,
    find_initial_weights,
    refuse_default_rate,
    refuse_launcher,
    refuse_missing_layers,
    require_model,
)
from trainer.rl.run import check_vllm, refuse_file_reference
from trainer.rl.settings import RLRecipe
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import InitialWeights
from trainer.templates import model_args


def estimate_training(request: TrainingRequest, processes: int | None, operations: float | None) -> str:
    """What a person is told; "" where this process does not lead. `processes`: None is as a launcher started them;
    `operations`: what each makes in a second.

    Raises UsageError for bad input, and for a model whose arithmetic is not known.
    """
    set_library_defaults()
    recipe = load_recipe(request.recipe, request.changes, request.regime)
    start = find_initial_weights(request.model, model_args(recipe.chat_template, recipe.format), check_files)
    refuse_request(request, recipe, start, processes)
    shape = read_model_shape(recipe, start)
    refuse_default_rate(request, recipe, start, shape.parameters)
    refuse_missing_layers(recipe, start, list_tensors(shape))
    return _tell(request, recipe, start, shape, processes or int(os.environ.get("WORLD_SIZE", "1")), operations)


def refuse_request(request: TrainingRequest, recipe: Recipe, start: InitialWeights, processes: int | None) -> None:
    """Raises UsageError for what the regime does not take."""
    if isinstance(recipe, SFTRecipe):
        check_sft_request(request, start)
    else:
        _, path = require_model(start)
        if isinstance(recipe, RLRecipe):
            check_vllm(recipe, plays=False)
            refuse_file_reference(recipe, path)
            return
    refuse_launcher(recipe)
    if processes is not None and processes > 1:
        raise UsageError(f"--regime {recipe.regime} trains in one process; leave --processes out.")


def _tell(
    request: TrainingRequest,
    recipe: Recipe,
    start: InitialWeights,
    shape: ModelShape,
    processes: int,
    operations: float | None,
) -> str:
    if isinstance(recipe, RLRecipe):
        recipe.share_of_update(processes)
    model = open_estimated(recipe, start, shape)
    prompts = find_prompts(recipe, request.tasks, request.data, request.trust_code)
    lengths = measure_prompts(recipe, prompts, model)
    told = Estimate(recipe, model, lengths, prompts.environments, prompts.built, processes, operations)
    return describe_estimate(told) if is_main_process() else ""
