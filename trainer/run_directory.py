"""The checkpoints of a training run, the lines of its metrics.jsonl and its result: what a command goes on from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.errors import HarnessError, UsageError
from harness.runs.directory import read_json_object


def find_last_checkpoint(checkpoints: Path) -> Path | None:
    """The last checkpoint that was written to its end: trainer_state.json is what the Trainer writes last.

    Torn ones are deleted.
    """
    found = [path for path in checkpoints.glob("checkpoint-*") if path.name[11:].isdigit()]
    for path in sorted(found, key=checkpoint_step, reverse=True):
        try:
            jsonio.parse_json((path / "trainer_state.json").read_bytes())
            return path
        except (OSError, ValueError):
            shutil.rmtree(path)
    return None


def checkpoint_step(checkpoint: Path) -> int:
    """The optimiser step that a checkpoint was written after."""
    return int(checkpoint.name.rpartition("-")[2])


def truncate_metrics(path: Path, done: int) -> list[dict[str, Any]]:
    """Drops lines of metrics of steps after `done`, which run again, and returns the rest."""
    kept: list[dict[str, Any]] = []
    if not path.exists():
        return kept
    for line in path.read_text(encoding="utf-8").splitlines():
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
