"""What an export for verl calls."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from commands import environment


def launched(folder: Path, tmp_path: Path, *arguments: str) -> list[str]:
    """What launch.sh calls, played with a python3 that writes its arguments down."""
    (tmp_path / "python3").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "python3").chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    return subprocess.check_output(
        [folder / "launch.sh", *arguments], env=environment(PATH=path), text=True
    ).splitlines()


def overrides(folder: Path, tmp_path: Path, *arguments: str) -> list[str]:
    """Those of them that verl takes for its configuration."""
    return launched(folder, tmp_path, *arguments)[2:]
