"""Recipes: everything that decides a training run, in one small TOML file and one frozen dataclass.

`--recipe` takes the name of a file in trainer/recipes or a path; a recipe may be `like` another, whose values it has
where it says none of its own; `--set` replaces single values. What results is written into the run directory, so that
a run can be repeated from what it left.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from harness.data.jsonio import is_number
from harness.data.tables import read_toml
from harness.errors import UsageError
from harness.registry import suggest_names
from trainer.dpo.settings import DPORecipe
from trainer.recipes import FOLDER, OPTIONS, SUFFIX, names
from trainer.rl.settings import REWARD_OPTIONS, RLRecipe
from trainer.sft.settings import SFTRecipe

Recipe = SFTRecipe | RLRecipe | DPORecipe
KINDS: Mapping[str, type[SFTRecipe] | type[RLRecipe] | type[DPORecipe]] = {
    "sft": SFTRecipe,
    "step": RLRecipe,
    "episode": RLRecipe,
    "dpo": DPORecipe,
}
"""What the recipes of each regime are."""
WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
SWITCH = {"true": True, "false": False}


def recipe_to_toml(recipe: Recipe) -> str:
    """A recipe as the TOML file that gives it again."""
    said = {name: value for name, value in asdict(recipe).items() if value is not None}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())


def load_recipe(name: str | None, changes: Mapping[str, str], regime: str | None = None) -> Recipe:
    """The recipe of a name or path, with `changes` (--set) applied; without a name, the regime's defaults.

    Raises UsageError for anything wrong in either, and for a recipe of another regime than `regime`.
    """
    where = "--set" if name is None else f"The recipe {_path(name)}"
    values = {} if name is None else _read(_path(name), name)
    found = values.setdefault("regime", regime)
    if regime not in (None, found):
        raise UsageError(f"{where} is one for --regime {str(found)[:60]}, not {regime}.")
    if found is None:
        raise UsageError(f"--regime is missing: one of {', '.join(KINDS)}, or a recipe that names one.")
    if not isinstance(found, str) or found not in KINDS:
        raise UsageError(f"{where} gives regime = {str(found)[:60]!r}, which is none of {', '.join(KINDS)}.")
    if changes.get("reward", values.get("reward")) != values.get("reward"):
        values = {key: value for key, value in values.items() if key not in REWARD_OPTIONS}  # they were the other's
    kind = KINDS[found]
    types = {field.name: str(field.type).removesuffix(" | None") for field in fields(kind)}
    values |= {key: _parsed(types, key, text) for key, text in changes.items()}
    return kind(
        **{
            key: _checked(types, key, value, "--set" if key in changes else where, found)
            for key, value in values.items()
        }
    )


def is_said(key: str, name: str | None, changes: Mapping[str, str]) -> bool:
    """Whether a value is a recipe's own, or that of --set, and not the regime's default."""
    return key in changes or (name is not None and key in _read(_path(name), name))


def _path(name: str) -> Path:
    return Path(name) if name.endswith(SUFFIX) else FOLDER / f"{name}{SUFFIX}"


def _read(path: Path, name: str, likes: Sequence[Path] = ()) -> dict[str, Any]:
    if not path.is_file():
        if name.endswith(SUFFIX):
            raise UsageError(f"There is no recipe at {path}.")
        raise UsageError(f"There is no recipe {name!r}; there is {', '.join(names())}.{suggest_names(name, names())}")
    try:
        values = read_toml(path)
    except (ValueError, OSError) as error:
        raise UsageError(f"The recipe {path} cannot be read: {error}.") from None
    if "like" not in values:
        return values
    other = str(values.pop("like"))
    if _path(other) in {*likes, path}:
        raise UsageError(f"The recipe {path} is like itself.")
    return {**_read(_path(other), other, [*likes, path]), **values}


def _parsed(types: Mapping[str, str], key: str, text: str) -> Any:
    """A text of the command line as what its key wants, where it can be that."""
    kind = types.get(key, "")
    if kind == "bool":
        return SWITCH.get(text, text)
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text


def _checked(types: Mapping[str, str], key: str, value: Any, where: str, regime: str) -> Any:
    if key not in types and key in OPTIONS:
        raise UsageError(f"--regime {regime} knows no {key!r}: leave it out.")
    if key not in types:
        raise UsageError(f"{where} knows no {key!r}.{suggest_names(key, types)}")
    kind = types[key]
    if kind == "float" and type(value) is int and is_number(value):
        return float(value)
    if type(value).__name__ != kind or (kind == "int" and not is_number(value)):
        raise UsageError(f"{where} gives {key} = {str(value)[:60]!r}, which is not {WORDS[kind]}.")
    return value
