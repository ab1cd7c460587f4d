"""The gold behind a run on disk: its tasks found again, and checked to be the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.records import fingerprint
from harness.errors import UsageError
from harness.registry import all_versions, select_tasks
from harness.runs.directory import RunDirectory
from harness.types import Sample, Task


def load_run_tasks(run: RunDirectory, given: Sequence[Task] = ()) -> dict[str, tuple[Task, dict[str, Sample]]]:
    """The tasks of a run, in the versions that it played, with the samples it played, found again or among those
    `given`. Raises UsageError where a task is missing or has changed, and where none is given and the run does not say
    where its tasks came from: one that Python code played may not."""
    found: dict[str, tuple[Task, dict[str, Sample]]] = {}
    for versions in [[task] for task in given] or _versions(*sources_of(run)):
        if (name := versions[0].name) in run.manifest["tasks"]:
            found[name] = _find_played(run, versions)
    if lost := set(run.manifest["tasks"]) - set(found):
        raise UsageError(
            f"{run.path} was played on {', '.join(map(repr, sorted(lost)))}, which can no longer be found."
        )
    return found


def _versions(patterns: Sequence[str], data: Mapping[str, Path]) -> list[list[Task]]:
    """The tasks that patterns mean, each followed by its other versions."""
    everything = all_versions(data)
    return [
        [task, *(other for other in everything if other.name == task.name and other.version != task.version)]
        for task in select_tasks(patterns, data)
    ]


def _find_played(run: RunDirectory, versions: Sequence[Task]) -> tuple[Task, dict[str, Sample]]:
    """The version of a task whose samples have the run's fingerprint."""
    name = versions[0].name
    played = run.manifest["tasks"][name]["clusters"]
    for task in versions:
        samples = [sample for sample in task.load() if sample.id in played]
        if fingerprint(samples) == run.manifest["identity"]["tasks"].get(name):
            return task, {sample.id: sample for sample in samples}
    raise UsageError(f"The data of {name} is not what {run.path} was played on.")


def sources_of(run: RunDirectory) -> tuple[list[str], dict[str, Path]]:
    """The patterns and data paths that the run's tasks were named by. Raises UsageError where it names none."""
    sources: dict[str, Any] = run.manifest["sources"]
    patterns, data = sources.get("tasks"), sources.get("data", {})
    if not isinstance(patterns, list) or not isinstance(data, dict):
        raise UsageError(f"{run.path} does not say where its tasks and their data are.")
    if not all(isinstance(name, str) and "\0" not in name for name in (*patterns, *data.values())):
        raise UsageError(f"{run.path} names tasks or data by what is no path.")
    return patterns, {name: Path(path) for name, path in data.items()}
