"""The gold behind a run on disk: its tasks found again, and checked to be the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness.data.records import fingerprint
from harness.errors import UsageError
from harness.registry import select_tasks
from harness.runs.directory import RunDirectory
from harness.types import Sample, Task


def load_run_tasks(run: RunDirectory, given: Sequence[Task] = ()) -> dict[str, tuple[Task, dict[str, Sample]]]:
    """The tasks of a run with the samples it played, found again or among those `given`. Raises UsageError where a
    task is missing or has changed, and where none is given and the run does not say where its tasks came from: one
    that Python code played may not."""
    found: dict[str, tuple[Task, dict[str, Sample]]] = {}
    for task in given or select_tasks(*_sources(run)):
        if task.name not in run.manifest["tasks"]:
            continue
        played = run.manifest["tasks"][task.name]["clusters"]
        samples = [sample for sample in task.load() if sample.id in played]
        if fingerprint(samples) != run.manifest["identity"]["tasks"].get(task.name):
            raise UsageError(f"The data of {task.name} is not what {run.path} was played on.")
        found[task.name] = task, {sample.id: sample for sample in samples}
    if lost := set(run.manifest["tasks"]) - set(found):
        raise UsageError(
            f"{run.path} was played on {', '.join(map(repr, sorted(lost)))}, which can no longer be found."
        )
    return found


def _sources(run: RunDirectory) -> tuple[list[str], dict[str, Path]]:
    """The patterns and data paths that the run's tasks were named by."""
    sources: dict[str, Any] = run.manifest["sources"]
    patterns, data = sources.get("tasks"), sources.get("data", {})
    if not isinstance(patterns, list) or not isinstance(data, dict):
        raise UsageError(f"{run.path} does not say where its tasks and their data are.")
    if not all(isinstance(name, str) and "\0" not in name for name in (*patterns, *data.values())):
        raise UsageError(f"{run.path} names tasks or data by what is no path.")
    return patterns, {name: Path(path) for name, path in data.items()}
