"""What a training run keeps in its directory: what it is, the environments it builds, checkpoints, metrics, its result.

All of it is what the same command goes on from.
"""

from __future__ import annotations

import importlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from harness.data import disk, jsonio
from harness.errors import HarnessError, UsageError
from harness.models.local.hf import is_out_of_memory
from harness.models.local.packages import first_line
from harness.models.local.prompting import THINKING, has_variable
from harness.runs.claims import is_free
from harness.runs.directory import read_json_object
from harness.types import JSONObject

ProgressCallback = Callable[[str, int, int], None]
"""Told what is being done, how many steps of it are done, and of how many."""
LONGEST_TEMPLATE = 1_000_000
"""Characters of a chat template that are looked through."""


def describe_model(out: Path, thinking: str = "") -> str:
    """Where a run's model lies and how it is evaluated: in the mode of reasoning that it was trained in, where its
    template has a switch. `thinking`: on, off; any other is none in particular."""
    model, mode = out / "model", ""
    template = model / "chat_template.jinja"
    if thinking in ("on", "off") and template.is_file():
        with template.open(encoding="utf-8", errors="replace") as file:
            mode = f" --reasoning {thinking}" if has_variable(file.read(LONGEST_TEMPLATE), THINKING) else ""
    return f"{model} is the model; `harness eval --model hf/{model}{mode}` evaluates it."


# --- what it is --------------------------------------------------------------------------------------------------


def find_run(out: Path, identity: JSONObject, resume: bool) -> JSONObject | None:
    """The identity of this run where `out` holds it; None where it can begin there. Raises UsageError where `out` holds
    anything else, or this run and --resume is not given."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is no directory; name another.")
    if not (out / "run.json").is_file():
        if not is_free(out, "recipe.toml", "run.json"):
            raise UsageError(f"--out {out} holds something else than a training run; name another directory.")
        return None
    try:
        there = jsonio.read_json(out / "run.json", links=False)
    except (OSError, ValueError):
        there = None
    if there != _known_to(there, identity):
        another = _describe_difference(there, identity)
        raise UsageError(f"--out {out} holds another training run{another}; name another directory.")
    if not resume:
        raise UsageError(f"--out {out} holds this training run already; go on with it by --resume, or name another.")
    return identity


def _known_to(there: Any, identity: JSONObject) -> JSONObject:
    """An identity without what runs did not have from the beginning, as a run.json of then has it."""
    named = isinstance(there, dict) and "data" in there
    return identity if named else {name: value for name, value in identity.items() if name != "data"}


def _describe_difference(there: Any, identity: JSONObject) -> str:
    """In which values of the recipe two runs differ, in brackets."""
    recipe = there.get("recipe") if isinstance(there, dict) else None
    if not isinstance(recipe, dict):
        return ""
    differing = [name for name, value in identity["recipe"].items() if recipe.get(name) != value]
    parts = ("template", "order", "tasks", "data")
    differing = differing or [name for name in parts if there.get(name) != identity.get(name)][:1]
    return f" (another {', '.join(differing or ['model'])})"


def begin_run(out: Path, identity: JSONObject, recipe: str) -> JSONObject:
    """Writes what the run is, once; `recipe` is its TOML."""
    jsonio.write_atomically(out / "recipe.toml", recipe)
    jsonio.write_json(out / "run.json", identity)
    return identity


def recipe_values(recipe: Any) -> JSONObject:
    """The values of a recipe as a run's identity holds them: without the first generation and its LATER ones that say
    nothing, which older runs do not name."""
    values = asdict(recipe)
    if values["generation"] == 1:
        del values["generation"]
    for one in fields(recipe):
        if one.name in recipe.LATER and values[one.name] == one.default:
            del values[one.name]
    return values


ZIPPED = (".pt", ".pth")
"""Files of a checkpoint that torch writes as zip archives, with checksums."""
PARTS = {
    "weights": ("*.safetensors", "pytorch_model_fsdp*"),
    "optimizer": ("optimizer*",),
    "schedule": ("scheduler.pt",),
    "random states": ("rng_state*.pth",),
}
"""What of a checkpoint a training would go on without, and be another one; in shards they are folders."""

# --- what it goes on from ----------------------------------------------------------------------------------------


def find_last_checkpoint(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end: trainer_state.json is what the Trainer writes last.

    Those without it are deleted. Raises HarnessError where a part of the last one is damaged or missing.
    """
    found = [path for path in checkpoints.glob("checkpoint-*") if path.name[11:].isdigit()]
    for path in sorted(found, key=checkpoint_step, reverse=True):
        try:
            state = jsonio.read_json(path / "trainer_state.json", links=False)
        except (OSError, ValueError, UsageError):
            shutil.rmtree(path)
        else:
            _check_parts(path, state)
            return path
    return None


def _check_parts(checkpoint: Path, state: Any) -> None:
    """Raises HarnessError for a file that is missing or was cut short, as a full disk or a lost machine leaves them."""
    if not isinstance(state, dict) or state.get("global_step") != checkpoint_step(checkpoint):
        raise _damaged(checkpoint / "trainer_state.json", checkpoint)
    for file in sorted(checkpoint.iterdir()):
        if not _is_whole(file):
            raise _damaged(file, checkpoint)
    for part, names in PARTS.items():
        if not any(found for name in names for found in checkpoint.glob(name)):
            raise _damaged(checkpoint, checkpoint, f"has no {part}")


def _is_whole(file: Path) -> bool:
    """Whether an archive of torch holds what its checksums say, and safetensors all that their header does."""
    try:
        if file.suffix in ZIPPED:
            with ZipFile(file) as parts:
                return parts.testzip() is None
        if file.suffix == ".safetensors":
            importlib.import_module("safetensors").safe_open(file, "numpy")
        if file.name.endswith(".index.json"):
            shards = jsonio.read_json(file, links=False)["weight_map"].values()
            return all((file.parent / shard).is_file() for shard in set(shards))
    except Exception:  # whatever is wrong with a file: each library has exceptions of its own
        return False
    return True


@contextmanager
def told_as_damage(checkpoint: str | None) -> Iterator[None]:
    """Around what loads a checkpoint. Raises HarnessError where it cannot."""
    try:
        yield
    except Exception as error:
        if is_out_of_memory(error):
            raise
        path = Path(checkpoint or "")
        raise _damaged(path, path, f"cannot be loaded ({first_line(error)})") from error


def _damaged(file: Path, checkpoint: Path, how: str = "is damaged") -> HarnessError:
    return HarnessError(
        f"{file} {how}, so nothing can go on from it; delete {checkpoint}, and --resume goes on from the checkpoint "
        "before it, or from the beginning."
    )


def checkpoint_step(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint was written after."""
    return int(checkpoint.name.rpartition("-")[2])


def truncate_metrics(path: Path, done: int) -> list[dict[str, Any]]:
    """Drops lines of metrics of steps after `done`, which run again, and returns the rest."""
    kept: list[dict[str, Any]] = []
    if not path.exists():
        return kept
    with disk.open_file(path, links=False) as file:
        for line in disk.read_lines(file, path):
            try:
                row = jsonio.parse_json(line)
                if row["step"] <= done:
                    kept.append(row)
            except (ValueError, KeyError, TypeError):
                break
    jsonio.write_atomically(path, "".join(json.dumps(row) + "\n" for row in kept))
    return kept


def read_result(path: Path, parts: Sequence[str]) -> dict[str, Any]:
    """What a finished run wrote last. Raises UsageError where it is no JSON object with these parts."""
    advice = f"{path} is damaged; delete it and go on with --resume"
    result = read_json_object(path, f"{advice}.")
    if missing := [part for part in parts if part not in result]:
        raise UsageError(f"{advice}: it has no {missing[0]}.")
    return result


def require_space(folder: Path, wanted: int) -> None:
    """Raises HarnessError where the disk has not `wanted` bytes left for what is to be written into `folder`."""
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise HarnessError(
            f"{folder} has {free / 1e9:.1f} GB of disk left and the next checkpoint takes {wanted / 1e9:.1f} GB; make "
            "room and go on with --resume."
        )
