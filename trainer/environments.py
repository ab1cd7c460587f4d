"""The environments that a recipe has built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from envbuilder.pipeline import build_file, check_kinds
from envbuilder.plan import BuildPlan
from envbuilder.records import QUESTION_KINDS
from envbuilder.spec import scale_levels
from envbuilder.worlds.catalogue import read_kinds


class RecipeOfBuilds(Protocol):
    """What a recipe says of the environments that it builds."""

    @property
    def environments(self) -> int: ...

    @property
    def level(self) -> str: ...

    @property
    def generation(self) -> int: ...

    @property
    def scale(self) -> str: ...

    @property
    def about(self) -> str: ...


def check_recipe_kinds(recipe: RecipeOfBuilds) -> None:
    """Raises UsageError where nothing can be asked about the kinds of things that a recipe names."""
    check_kinds(_plan(recipe, recipe.environments, 0, "train"))


def build_environments(
    path: Path, n: int, recipe: RecipeOfBuilds, seed: int, split: str, watch: Callable[[int, int], None]
) -> None:
    """Builds `n` environments as a recipe has them into a file; `watch` is told how many are done, and of how many."""
    done = 0

    def count(refused: object) -> None:
        nonlocal done
        done += 1
        watch(done, n)

    build_file(_plan(recipe, n, seed, split), path, watch=count)


def _plan(recipe: RecipeOfBuilds, n: int, seed: int, split: str) -> BuildPlan:
    return BuildPlan(
        QUESTION_KINDS,
        n,
        recipe.level,  # type: ignore[arg-type]
        scale_levels(recipe.level, recipe.generation, recipe.scale.split()),  # type: ignore[arg-type]
        seed,
        split,  # type: ignore[arg-type]
        generation=recipe.generation,  # type: ignore[arg-type]
        about=read_kinds(recipe.about.split()),
    )
