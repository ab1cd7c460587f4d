"""The runs in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from harness.runs.claims import LOCK_FILE

MARKS = ("samples.jsonl", "samples.jsonl.xz", "summary.json", LOCK_FILE)


def find_runs_below(folder: Path) -> list[Path]:
    """The run directories in a folder, in order of their paths. Model directories have a manifest.json too, but nothing
    of a run beside it."""
    beside = sorted(path for path in _folders_below(folder) if os.path.exists(path / "manifest.json"))
    return [path for path in beside if any((path / mark).exists() for mark in MARKS)]


def _folders_below(folder: Path) -> Iterator[Path]:
    """A folder and those in it, however deep; none through a link, and none in one that cannot be listed."""
    waiting = [folder]
    while waiting:
        yield (here := waiting.pop())
        with suppress(OSError), os.scandir(here) as entries:
            waiting += [Path(entry.path) for entry in entries if entry.is_dir(follow_symlinks=False)]
