"""The model of an estimate: its shape, and its tokenizer where that is at hand. Weights are not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.models.local.adapter import list_adapters
from harness.models.local.folder import (
    PICKLED,
    TOKENIZERS,
    ModelFolder,
    check_config,
    check_folder,
    check_tokenizer_files,
    read_given_template,
)
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from trainer import bundled
from trainer.dpo.settings import DPORecipe
from trainer.dpo.train import fit_dpo_template
from trainer.estimate.shape import ModelShape, new_shape, read_gguf_config, read_shape
from trainer.estimate.step import Recipe
from trainer.rl.run import fit_template
from trainer.rl.settings import RLRecipe
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import InitialWeights, fit_chat_model
from trainer.templates import model_args

NEW = "a new network"
LIKE_NEW = "tiny-base"
"""The bundled network whose tokenizer stands for that of a new one, which is trained on what it is to read."""


@dataclass(frozen=True, slots=True)
class EstimatedModel:
    """A model that need not have weights; `local` is None where no tokenizer can be opened."""

    name: str
    shape: ModelShape
    local: ModelTokenizer | None
    context: int | None


def check_files(name: str, path: Path, args: Mapping[str, str]) -> object:
    """As check_folder, but a directory without any weights needs nothing else than its config.json."""
    return check_folder(name, path, args) if has_weights(path) else check_config(name, path)


def has_weights(path: Path) -> bool:
    """Whether a file, or a directory that has any weights, of whatever kind."""
    return path.is_file() or any(file for pattern in ("*.safetensors", *PICKLED) for file in path.glob(pattern))


def read_model_shape(recipe: Recipe, start: InitialWeights) -> ModelShape:
    """The shape of the model that training begins with. Raises UsageError where it cannot be told."""
    if start.path is None:
        assert isinstance(recipe, SFTRecipe)
        return new_shape(recipe)
    name = f"--model {start.name}"
    path, _ = list_adapters(name, start.path)
    config = read_gguf_config(path) if path.is_file() else check_config(name, path)
    return read_shape(name, config)


def open_estimated(recipe: Recipe, start: InitialWeights, shape: ModelShape) -> EstimatedModel:
    """The model with a tokenizer that is fit for the recipe. Raises UsageError where there is one that is not."""
    if start.path is None or start.name is None:
        return EstimatedModel(NEW, shape, _open(bundled.model_path(LIKE_NEW), LIKE_NEW, {}), None)
    args = model_args(recipe.chat_template, recipe.format)
    local = _open(start.path, start.name, args)
    if local is not None and find_spec("trl"):
        local = fit_recipe(recipe, local, args)
    context = _find_folder(start.path, start.name, args).context if local is None else local.folder.context
    return EstimatedModel(start.name, shape, local, context)


def fit_recipe(recipe: Recipe, local: ModelTokenizer, args: Mapping[str, str]) -> ModelTokenizer:
    """The model with the template that it would be trained with. Raises UsageError where there is none."""
    if isinstance(recipe, RLRecipe):
        return fit_template(recipe, local)
    if isinstance(recipe, DPORecipe):
        return fit_dpo_template(recipe, local)
    return fit_chat_model(recipe, local, args) or local


def _open(path: Path, name: str, args: Mapping[str, str]) -> ModelTokenizer | None:
    complete = has_weights(path) or any((path / file).is_file() for file in TOKENIZERS)
    if not complete or not find_spec("transformers"):
        return None
    if has_weights(path):
        return open_tokenizer(check_folder(name, path, args), args)
    return open_tokenizer(check_tokenizer_files(name, path, check_config(name, path), read_given_template(args)), args)


def _find_folder(path: Path, name: str, args: Mapping[str, Any]) -> ModelFolder:
    return check_folder(name, path, args) if has_weights(path) else ModelFolder(name, path, check_config(name, path))
