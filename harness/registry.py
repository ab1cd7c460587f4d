"""What is installed: commands, tasks and models are found by entry points, ours and a third party's alike."""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.types import Task

DATA_FILES = {".jsonl", ".parquet"}


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
    from harness.task import file_task

    known = all_tasks(data)
    chosen: dict[str, Task] = {}
    for pattern in (part for text in patterns for part in text.split(",") if part):
        path = Path(pattern)
        if path.suffix in DATA_FILES:
            task = file_task(path)
            if task.name in known or task.name in chosen:
                raise UsageError(f"The name of {pattern} is taken by another task of this run; rename the file.")
            chosen[task.name] = task
            continue
        matches = fnmatch.filter(known, pattern)
        if not matches:
            hint = near(pattern.replace("*", ""), known) or " `harness list` shows what there is."
            raise UsageError(f"No task matches {pattern!r}.{hint}")
        chosen.update({name: known[name] for name in matches})
    return list(chosen.values())


def groups_of(tasks: Sequence[Task], data: Mapping[str, Path]) -> dict[str, list[str]]:
    """The groups whose every registered task is among `tasks`, with their members."""
    members: dict[str, list[str]] = {}
    for task in all_tasks(data).values():
        if task.group:
            members.setdefault(task.group, []).append(task.name)
    present = {task.name for task in tasks}
    return {group: names for group, names in members.items() if present.issuperset(names)}
