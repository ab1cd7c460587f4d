"""The runs in a folder."""

from __future__ import annotations

from pathlib import Path

from harness.runs.claims import LOCK_FILE

MARKS = ("samples.jsonl", "samples.jsonl.xz", "summary.json", LOCK_FILE)


def find_runs_below(folder: Path) -> list[Path]:
    """The run directories in a folder, in order of their paths. Model directories have a manifest.json too, but nothing
    of a run beside it."""
    beside = sorted(path.parent for path in folder.rglob("manifest.json"))
    return [path for path in beside if any((path / mark).exists() for mark in MARKS)]
