"""Folders of files for other tools: all of them or none, and none in the place of something else."""

from __future__ import annotations

import filecmp
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from harness.data.jsonio import write_atomically
from harness.errors import UsageError

Content = str | Callable[[Path], None]
"""A text, or what writes the file at a path of the same name."""


def write_files(folder: Path, files: Mapping[str, Content]) -> None:
    """Writes files by their names below a folder, in that order. Raises UsageError where one of them is there already
    and holds something else; then, and when a file cannot be made, none is changed."""
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".export-", dir=folder) as made:
        for name, content in files.items():
            path = Path(made, name)
            path.parent.mkdir(parents=True, exist_ok=True)
            content(path) if callable(content) else write_atomically(path, content)
        for name in files:
            if (file := folder / name).exists() and not filecmp.cmp(Path(made, name), file, shallow=False):
                raise UsageError(f"{file} holds something else; move it away, or name another folder with --out.")
        for name in files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            Path(made, name).replace(folder / name)
