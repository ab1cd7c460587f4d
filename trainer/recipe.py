"""Recipes: everything that decides a training run, in one small TOML file and one frozen dataclass.

`--recipe` takes the name of a file in trainer/recipes or a path; `--set` replaces single values. What results is
written into the run directory, so that a run can be repeated from what it left.
"""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.registry import near
from trainer.settings import REWARD_OPTIONS, Training

FOLDER = Path(__file__).parent / "recipes"
SUFFIX = ".toml"


@dataclass(frozen=True, slots=True)
class Recipe:
    """A supervised warm-up. All seeds come from `seed`.

    environments     training environments that are built; `level` is their preset (`harness build --level`)
    train_file       a file of environment records to use instead of building; "" builds
    trajectories     a run directory whose successful episodes are imitated instead of the demonstrator ("" for none)
    draws            how many times each environment is demonstrated, every time with flaws drawn anew
    repeat           probability that an episode makes its first call twice
    skip_last        probability that an episode of two or more calls leaves the last one out
    thinking         share of episodes with a line of reasoning a turn
    vocabulary       entries of the tokenizer
    width, inner, layers, heads, head    the network's size (trainer.network.Shape)
    steps            optimiser steps of `batch` episodes each
    learning_rate    its peak, after `warmup` steps; a cosine takes it to 0
    save_every       steps between checkpoints that --resume goes on from
    log_every        steps between lines of metrics.jsonl
    """

    regime: str
    seed: int = 1
    level: str = "micro"
    environments: int = 8000
    train_file: str = ""
    trajectories: str = ""
    draws: int = 1
    repeat: float = 0.7
    skip_last: float = 0.7
    thinking: float = 0.33
    vocabulary: int = 2048
    width: int = 128
    inner: int = 320
    layers: int = 4
    heads: int = 2
    head: int = 64
    steps: int = 1000
    batch: int = 16
    learning_rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 0.1
    save_every: int = 200
    log_every: int = 20

    def __post_init__(self) -> None:
        for name in (
            "environments",
            "draws",
            "width",
            "inner",
            "layers",
            "heads",
            "head",
            "steps",
            "batch",
            "save_every",
        ):
            _require(getattr(self, name) >= 1, name, "at least 1")
        for name in ("repeat", "skip_last", "thinking"):
            _require(0 <= getattr(self, name) <= 1, name, "from 0 to 1")
        _require(self.regime == "sft", "regime", "sft, the only one there is")
        _require(self.level in ("micro", "easy", "paper", "hard"), "level", "micro, easy, paper or hard")
        _require(0 < self.learning_rate < math.inf, "learning_rate", "above 0")
        _require(0 <= self.weight_decay < math.inf, "weight_decay", "0 or more")
        _require(not (self.train_file and self.trajectories), "trajectories", "left out where there is a train_file")
        _require(self.warmup >= 0, "warmup", "0 or more")
        _require(self.log_every >= 1, "log_every", "at least 1")
        _require(self.vocabulary >= 400, "vocabulary", "at least 400, for bytes and scaffolding")
        _require(self.layers >= 2, "layers", "at least 2")
        _require(self.head >= 32 and self.head % 2 == 0, "head", "even and at least 32")
        _require(self.heads >= 2 and self.heads % 2 == 0, "heads", "even and at least 2")
        _require(self.width > 3 * self.head // 2, "width", "more than one and a half times head")


def _require(fits: bool, name: str, what: str) -> None:
    if not fits:
        raise UsageError(f"The recipe's {name} must be {what}.")


KINDS: Mapping[str, type[Recipe] | type[Training]] = {"sft": Recipe, "step": Training, "episode": Training}
"""What the recipes of each regime are."""
WORDS = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
SWITCH = {"true": True, "false": False}


def names() -> list[str]:
    """The recipes that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def text(recipe: Recipe | Training) -> str:
    """A recipe as the TOML file that gives it again."""
    said = {name: value for name, value in asdict(recipe).items() if value is not None}
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in said.items())


def load(name: str | None, changes: Mapping[str, str], regime: str | None = None) -> Recipe | Training:
    """The recipe of a name or path, with `changes` (--set) applied; without a name, the regime's defaults.

    Raises UsageError for anything wrong in either, and for a recipe of another regime than `regime`.
    """
    where = "--set" if name is None else f"The recipe {_path(name)}"
    values = {} if name is None else _read(_path(name), name)
    found = values.setdefault("regime", regime)
    if regime not in (None, found):
        raise UsageError(f"{where} is one for --regime {str(found)[:60]}, not {regime}.")
    if not isinstance(found, str) or found not in KINDS:
        raise UsageError(f"--regime is missing: one of {', '.join(KINDS)}, or a recipe that names one.")
    if changes.get("reward", values.get("reward")) != values.get("reward"):
        values = {key: value for key, value in values.items() if key not in REWARD_OPTIONS}  # they were the other's
    kind = KINDS[found]
    types = {field.name: str(field.type).removesuffix(" | None") for field in fields(kind)}
    values |= {key: _parsed(types, key, text) for key, text in changes.items()}
    checked = {key: _checked(types, key, value, "--set" if key in changes else where) for key, value in values.items()}
    return kind(**checked)


def _path(name: str) -> Path:
    return Path(name) if name.endswith(SUFFIX) else FOLDER / f"{name}{SUFFIX}"


def _read(path: Path, name: str) -> dict[str, Any]:
    if not path.is_file():
        if name.endswith(SUFFIX):
            raise UsageError(f"There is no recipe at {path}.")
        raise UsageError(f"There is no recipe {name!r}; there is {', '.join(names())}.{near(name, names())}")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise UsageError(f"The recipe {path} cannot be read: {error}.") from None


def _parsed(types: Mapping[str, str], key: str, text: str) -> Any:
    """A text of the command line as what its key wants, where it can be that."""
    kind = types.get(key, "")
    if kind == "bool":
        return SWITCH.get(text, text)
    try:
        return {"int": int, "float": float}.get(kind, str)(text)
    except ValueError:
        return text


def _checked(types: Mapping[str, str], key: str, value: Any, where: str) -> Any:
    if key not in types:
        raise UsageError(f"{where} knows no {key!r}.{near(key, types)}")
    kind = types[key]
    if kind == "float" and type(value) is int:
        return float(value)
    if type(value).__name__ != kind:
        raise UsageError(f"{where} gives {key} = {str(value)[:60]!r}, which is not {WORDS[kind]}.")
    return value
