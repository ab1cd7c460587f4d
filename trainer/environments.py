"""The environments that a recipe has built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from envbuilder.pipeline import build_file, check_kinds
from envbuilder.plan import BuildPlan
from envbuilder.records import QUESTION_KINDS, TWINS
from envbuilder.spec import GENERATION, scale_levels
from envbuilder.worlds.catalogue import read_kinds
from harness.scoring.decisions import SITUATIONS
from trainer.values import require_value


class RecipeOfBuilds(Protocol):
    """What a recipe says of the environments that it builds."""

    @property
    def regime(self) -> str: ...

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

    @property
    def scenario(self) -> str: ...


def require_scenario(recipe: RecipeOfBuilds) -> None:
    """Raises UsageError, in the recipe's words, for a scenario that there is not or that its regime cannot train on,
    and where so many twins cannot be built."""
    require_value(recipe.scenario in ("all", TWINS), "scenario", f"all or {TWINS}")
    if recipe.scenario == TWINS:
        require_value(recipe.regime != "step", "scenario", "all in the step regime")
        require_value(recipe.generation == GENERATION, "generation", f"{GENERATION} where the scenario is {TWINS}")
        twins = len(SITUATIONS)
        for name in ("environments", "validation", "test"):
            require_value(getattr(recipe, name, 0) % twins == 0, name, f"a multiple of {twins}, the twins of a world")


def check_recipe_kinds(recipe: RecipeOfBuilds) -> None:
    """Raises UsageError where nothing can be asked about the kinds of things that a recipe names."""
    check_kinds(_plan(recipe, recipe.environments, 0, "train"))


def count_twins(recipe: RecipeOfBuilds) -> int:
    """How many environments a world has."""
    return _plan(recipe, recipe.environments, 0, "train").twins


def build_environments(
    path: Path, n: int, recipe: RecipeOfBuilds, seed: int, split: str, watch: Callable[[int, int], None]
) -> None:
    """Builds `n` environments as a recipe has them into a file; `watch` is told how many are done, and of how many."""
    plan, done = _plan(recipe, n, seed, split), 0

    def count(refused: object) -> None:
        nonlocal done
        done += plan.twins
        watch(done, n)

    build_file(plan, path, watch=count)


def _plan(recipe: RecipeOfBuilds, n: int, seed: int, split: str) -> BuildPlan:
    return BuildPlan(
        QUESTION_KINDS if recipe.scenario == "all" else (TWINS,),
        n,
        recipe.level,  # type: ignore[arg-type]
        scale_levels(recipe.level, recipe.generation, recipe.scale.split()),  # type: ignore[arg-type]
        seed,
        split,  # type: ignore[arg-type]
        generation=recipe.generation,  # type: ignore[arg-type]
        about=read_kinds(recipe.about.split()),
    )
