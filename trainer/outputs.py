"""Files that commands write: never one that is read, and refused before anything is."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.errors import UsageError
from harness.models.local.folder import IDENTITY


def check_output(out: Path, inputs: Iterable[Path]) -> None:
    """Raises UsageError where --out names a folder, or a file that is an input or lies in one that is a folder."""
    if out.is_dir():
        raise UsageError(f"--out names {out}, which is a folder; name a file.")
    for path in inputs:
        if out.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"--out {out} would write into {path}, which is read; name a file elsewhere.")


def list_model_files(model: Path) -> list[Path]:
    """The files of a model's folder, which hold other files too; a file is its own."""
    return [file for pattern in IDENTITY for file in model.glob(pattern)] if model.is_dir() else [model]
