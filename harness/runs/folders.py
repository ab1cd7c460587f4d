"""The runs in a folder."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from harness.runs.claims import LOCK_FILE

MARKS = ("samples.jsonl", "samples.jsonl.xz", "summary.json", LOCK_FILE)


def find_runs_below(folder: Path) -> list[Path]:
    """The run directories in a folder, however deep, in order of their paths; none behind links, and none where nothing
    can be listed. Model directories have a manifest.json too, but nothing of a run beside it."""
    found, waiting = [], [os.fspath(folder)]
    while waiting:
        here = waiting.pop()
        with suppress(OSError), os.scandir(here) as listed:
            entries = list(listed)
            names = {entry.name for entry in entries}
            if "manifest.json" in names and not names.isdisjoint(MARKS):
                found.append(Path(here))
            waiting += [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    return sorted(found)
