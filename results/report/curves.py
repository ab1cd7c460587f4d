"""The curves of a training run, read from its metrics.jsonl: what each line says of which step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import disk, jsonio
from harness.errors import UsageError
from harness.metrics import shown_in

Points = tuple[tuple[float, float], ...]
TRAINED = ("reward", "loss")


@dataclass(frozen=True, slots=True)
class TrainingCurves:
    """Name to points (step, value): what was logged while training, and what validations found."""

    label: str
    trained: Mapping[str, Points]
    validated: Mapping[str, Points]


def read_curves(folder: Path, needed: bool = False) -> TrainingCurves | None:
    """The curves in a folder; None where it has none. Raises UsageError where they are needed. A line that cannot be
    read (the last one of a killed run) is left out."""
    path = folder / "metrics.jsonl"
    if not path.is_file():
        if needed:
            raise UsageError(f"{folder} is no training directory: it has no metrics.jsonl.")
        return None
    with disk.open_file(path, links=False) as file:
        texts = filter(bytes.strip, disk.read_lines(file, path))
        lines = [line for text in texts if (line := _line(text)) is not None]
    validations = [{"step": line["step"], **v} for line in lines if isinstance(v := line.get("validation"), dict)]
    label = folder.resolve().name
    return TrainingCurves(
        label, _curves(lines, TRAINED), _curves(validations, [row.name for row in shown_in("curves")])
    )


def _line(text: bytes) -> dict[str, Any] | None:
    try:
        line = jsonio.parse_json(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and _is_number(line.get("step")) else None


def _curves(lines: list[dict[str, Any]], names: Sequence[str]) -> dict[str, Points]:
    return {name: points for name in names if (points := _points(lines, name))}


def _points(lines: list[dict[str, Any]], name: str) -> Points:
    return tuple((float(line["step"]), float(line[name])) for line in lines if _is_number(line.get(name)))


def _is_number(value: object) -> bool:
    return jsonio.is_number(value) and not isinstance(value, bool)
