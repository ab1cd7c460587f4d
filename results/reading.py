"""Runs to read: which directories are meant, and whether what they say can be believed.

Values come from the episodes. A summary that says otherwise, a file that was cut and a run of another format are named
in one sentence each on stderr, or as the error where nothing else is left to show.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.display import mode
from harness.errors import UsageError
from harness.paired import Played
from harness.runs import Record, RunDirectory
from harness.summary import summarise
from harness.terminal import printable


@dataclass(frozen=True, slots=True)
class Run:
    """A run as results show it: `summary` was made from `records`."""

    path: Path
    manifest: Mapping[str, Any]
    records: Sequence[Record]
    summary: Mapping[str, Any]

    @property
    def label(self) -> str:
        """The model and, where it was asked for one, its reasoning mode."""
        shown = mode(self.summary)
        return str(self.summary["model"]) + ("" if shown == "default" else f" ({shown})")

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Group to its tasks."""
        groups: Mapping[str, Sequence[str]] = self.manifest["groups"]
        return groups

    @property
    def played(self) -> Played:
        """The run as harness.paired takes it."""
        return Played(self.manifest, self.records)


def found_runs(paths: Sequence[Path]) -> list[Path]:
    """The run directories among the paths and, for a folder that is none itself, the finished ones below it."""
    found: list[Path] = []
    for path in paths:
        below = [] if (path / "manifest.json").exists() else sorted(p.parent for p in path.rglob("manifest.json"))
        finished = [run for run in below if (run / "summary.json").exists()]
        for run in below:
            if run not in finished:
                warn(f"Left out {run}: it is not finished.")
        found += finished or [path]
    return found


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs that the paths mean, in order. Raises UsageError for a path that is no finished run of this format; one
    that was only found in a folder is left out aloud, unless nothing remains."""
    named = set(paths)
    runs: list[Run] = []
    reason: UsageError | None = None
    for path in found_runs(paths):
        try:
            runs.append(read_run(path))
        except UsageError as error:
            if path in named:
                raise
            reason = error
            warn(f"Left out {path}: {error}")
    if reason is not None and not runs:
        raise reason
    return runs


def read_run(path: Path) -> Run:
    """A finished run, summarised from its episodes. Raises UsageError where there is none."""
    directory = RunDirectory.open(path)
    stored = directory.summary()
    records = directory.records()
    if not records:
        raise UsageError(f"{path} has a summary but no episodes; its samples.jsonl is missing or empty.")
    try:
        _check_manifest(directory.manifest)
        _check_scores(records)
        summary = summarise(directory.manifest, records)
        planned = directory.planned
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        said = f"{type(error).__name__} {error}"
        raise UsageError(f"{path} cannot be summarised: its manifest or an episode is damaged ({said}).") from None
    if len(records) < planned:
        warn(f"{path} is cut: {len(records)} of its {planned} episodes are there; what is shown counts these alone.")
    elif not _agree(stored, summary):
        warn(f"{path}: its summary.json disagrees with its episodes; what is shown was computed from the episodes.")
    return Run(path, directory.manifest, records, summary)


def disagrees(path: Path) -> bool:
    """Whether a run is cut, or its summary.json says otherwise than its episodes. Raises UsageError where there is no
    finished run."""
    directory = RunDirectory.open(path)
    records = directory.records()
    return len(records) < directory.planned or not _agree(directory.summary(), summarise(directory.manifest, records))


def warn(text: str) -> None:
    """One line on stderr."""
    print(printable(text), file=sys.stderr)


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    if not isinstance(manifest["identity"]["tasks"], dict):
        raise ValueError("its fingerprints are no object")
    for name, task in manifest["tasks"].items():
        names = [task["headline"], *task.get("success", ())]
        if not all(isinstance(metric, str) for metric in names):
            raise ValueError(f"a metric of {name} has no name")


def _check_scores(records: Sequence[Record]) -> None:
    for record in records:
        for name, value in record["scores"].items():
            if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
                raise ValueError(f"{name} is no number")


def _agree(stored: Mapping[str, Any], summary: Mapping[str, Any]) -> bool:
    """Whether two summaries say the same of tasks and groups, but for the last digits of their numbers."""
    parts = ("tasks", "groups")
    return dict(_leaves([stored.get(part) for part in parts])) == dict(_leaves([summary[part] for part in parts]))


def _leaves(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list | tuple):
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in named:
            yield from _leaves(part, (*where, name))
    else:
        yield where, float(f"{value:.9g}") if _is_number(value) else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
