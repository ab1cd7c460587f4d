"""What there is: commands, tasks and models are found by entry points, ours and a third party's alike.

A task may also be named by a path: a file of environment records, or a Python file with a function `tasks(data)`.
"""

from __future__ import annotations

import difflib
import fnmatch
import runpy
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness import datafiles
from harness.errors import MissingData, UsageError
from harness.terminal import printable
from harness.types import Sample, Task

TASK_FILE = ".py"


@cache
def find_entry_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; where two packages use one name, the first found counts."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, point)
    return found


@cache
def load_entry_points(group: str) -> dict[str, Any]:
    """The group's objects, imported."""
    return {name: point.load() for name, point in find_entry_points(group).items()}


def near(name: str, known: Iterable[str]) -> str:
    """` Did you mean a, b?`, to follow a sentence, or nothing where no known name is close."""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {', '.join(close)}?" if close else ""


def all_tasks(data: Mapping[str, Path]) -> dict[str, Task]:
    """Every registered task by name. `data` maps a data set's name to the path that --data gave for it."""
    providers = load_entry_points("harness.tasks")
    if unknown := [name for name in data if name not in providers]:
        raise UsageError(
            f"--data names {unknown[0]!r}, which no task reads; the data sets are {', '.join(sorted(providers))}."
        )
    return {task.name: task for provider in providers.values() for task in provider(data)}


def select_tasks(patterns: Sequence[str], data: Mapping[str, Path]) -> list[Task]:
    """The tasks that globs, names and paths (each also comma-separated) mean, in order, without repeats."""
    known = all_tasks(data)
    chosen: dict[str, Task] = {}
    for pattern in (part for text in patterns for part in text.split(",") if part):
        if (own := _tasks_of_file(Path(pattern), data)) is not None:
            for task in own:
                if task.name in known or task.name in chosen:
                    raise UsageError(f"{pattern} names its task {task.name!r}, as another task of this run does.")
                chosen[task.name] = task
            continue
        matches = fnmatch.filter(known, pattern)
        if not matches:
            hint = near(pattern.replace("*", ""), known) or " `harness list` shows what there is."
            raise UsageError(f"No task matches {pattern!r}.{hint}")
        chosen.update({name: known[name] for name in matches})
    return list(chosen.values())


def load_samples(tasks: Sequence[Task]) -> dict[str, list[Sample]]:
    """The samples of the tasks whose data is there; the others are named on stderr. All missing is an error."""
    samples: dict[str, list[Sample]] = {}
    missing: dict[str, MissingData] = {}
    for task in tasks:
        try:
            samples[task.name] = list(task.load())
        except MissingData as error:
            missing[task.name] = error
    if missing and not samples:
        raise next(iter(missing.values()))
    for name, why in missing.items():
        print(printable(f"Skipped {name}: {why}"), file=sys.stderr)
    return samples


def _tasks_of_file(path: Path, data: Mapping[str, Path]) -> list[Task] | None:
    """The tasks of a path to environment records or to a Python file; None for anything else."""
    from harness.task import file_task

    if datafiles.suffix(path):
        return [file_task(path)]
    if path.suffix != TASK_FILE:
        return None
    if not path.is_file():
        raise UsageError(f"There is no task file at {path}.")
    try:
        tasks = runpy.run_path(str(path))["tasks"](data)
    except UsageError:
        raise
    except Exception as error:
        raise UsageError(f"{path} gives no tasks: {type(error).__name__}: {error}.") from error
    return list(tasks)


def groups_of(tasks: Sequence[Task], data: Mapping[str, Path]) -> dict[str, list[str]]:
    """The groups whose every registered task is among `tasks`, with their members."""
    members: dict[str, list[str]] = {}
    for task in all_tasks(data).values():
        if task.group:
            members.setdefault(task.group, []).append(task.name)
    present = {task.name for task in tasks}
    return {group: names for group, names in members.items() if present.issuperset(names)}
