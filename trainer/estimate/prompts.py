"""The prompts that a recipe trains on, measured: those of --tasks or of the recipe's files, or of a few environments
that are built to be measured, in a folder that is gone afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from harness.data.records import read_samples
from harness.errors import UsageError
from harness.task import file_task
from harness.types import ModelRequest, Reasoning, Sample, Task
from trainer.dpo.train import read_dpo_tasks
from trainer.environments import build_environments, count_twins
from trainer.estimate.lengths import EpisodeLength, Lengths, cut_anywhere, measure_episode, measure_turn
from trainer.estimate.lengths import summarise_lengths as summarise
from trainer.estimate.model import EstimatedModel
from trainer.estimate.step import Recipe, is_single_turn
from trainer.rl.data import (
    CheckedData,
    check_tasks,
    first_request,
    prefix_request,
    reasoning_of,
    select_fitting_prompts,
)
from trainer.rl.settings import RLRecipe
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import read_successes, training_samples

MEASURED = 200
"""Prompts that are measured at most, evenly over all there are."""
BUILT = 8
"""Worlds that are built to be measured."""

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Prompts:
    """What a recipe trains on: requests to measure, how many environments there are, and whether these are built."""

    requests: Sequence[ModelRequest]
    environments: int
    built: bool = False


def find_prompts(
    recipe: Recipe, patterns: Sequence[str], data: Mapping[str, Path], trust_code: bool = False
) -> Prompts:
    """What a recipe would train on. Raises UsageError for what cannot be trained on."""
    if isinstance(recipe, RLRecipe):
        if found := check_tasks(recipe, patterns, data):
            return _checked_prompts(found, reasoning_of(recipe))
        return _built_prompts(recipe, recipe.data_seed, reasoning_of(recipe))
    if isinstance(recipe, SFTRecipe):
        return _demonstrated_prompts(recipe, trust_code)
    reasoning = Reasoning("on" if recipe.thinking == "on" else "off")
    if patterns:
        return _item_prompts(read_dpo_tasks(patterns, data), reasoning)
    return _built_prompts(recipe, recipe.data_seed, reasoning)


def _checked_prompts(found: CheckedData, reasoning: Reasoning) -> Prompts:
    if not found.given:
        return _item_prompts(list(found.items.values()), reasoning)
    return Prompts([prefix_request(one, reasoning) for one in spread(found.given)], len(found.given))


def _item_prompts(items: Sequence[tuple[Task, Sample]], reasoning: Reasoning) -> Prompts:
    return Prompts([first_request(task, sample, reasoning) for task, sample in spread(items)], len(items))


def _demonstrated_prompts(recipe: SFTRecipe, trust_code: bool) -> Prompts:
    reasoning = Reasoning()  # the template is not asked to think or not to: it may have no switch
    if recipe.trajectories:
        _, found = read_successes(Path(recipe.trajectories), lambda sample, trajectory: sample, trust_code)
    elif recipe.train_file:
        found = training_samples(recipe, Path(), lambda what, done, of: None)
    else:
        return _built_prompts(recipe, recipe.seed, reasoning)
    return _sample_prompts(found, reasoning, len(found))


def _built_prompts(recipe: Recipe, seed: int, reasoning: Reasoning) -> Prompts:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.jsonl"
        n = min(BUILT * count_twins(recipe), recipe.environments)
        build_environments(path, n, recipe, seed, "train", lambda done, of: None)
        return _sample_prompts(read_samples(path), reasoning, recipe.environments, built=True)


def _sample_prompts(samples: Sequence[Sample], reasoning: Reasoning, n: int, built: bool = False) -> Prompts:
    task = file_task(Path("train.jsonl"))
    return Prompts([first_request(task, sample, reasoning) for sample in spread(samples)], n, built)


def spread(items: Sequence[Item]) -> Sequence[Item]:
    """Items at even distances, MEASURED at most."""
    if len(items) <= MEASURED:
        return items
    return [items[place * len(items) // MEASURED] for place in range(MEASURED)]


# --- measuring ---------------------------------------------------------------------------------------------------


def measure_prompts(recipe: Recipe, prompts: Prompts, model: EstimatedModel) -> Lengths:
    """Lengths of those prompts that the recipe takes. Raises UsageError where it takes none, or refuses one."""
    requests = prompts.requests
    if not requests:
        raise UsageError("There is nothing to train on: --tasks names no environment.")
    if isinstance(recipe, RLRecipe) and model.local is not None:
        named = {_name(place, request): request for place, request in enumerate(requests)}
        requests = [named[name] for name in select_fitting_prompts(model.local, recipe, named)]
    lengths = [_measure(recipe, request, model) for request in requests]
    found = summarise(lengths)
    if is_single_turn(recipe) and isinstance(recipe, RLRecipe) and recipe.prefixes == "fresh":
        return summarise([cut_anywhere(one) for one in lengths], longest_prompt=found.longest)
    return found


def _measure(recipe: Recipe, request: ModelRequest, model: EstimatedModel) -> EpisodeLength:
    given = isinstance(recipe, RLRecipe) and is_single_turn(recipe) and recipe.prefixes == "given"
    return (measure_turn if given else measure_episode)(request, model.local)


def _name(place: int, request: ModelRequest) -> str:
    return f"{request.task}/{request.sample.id}" if not request.turn else f"prompt {place} of {request.task}"
