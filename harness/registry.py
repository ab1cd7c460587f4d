"""What there is: commands, tasks and models are found by entry points, ours and a third party's alike.

A task may also be named by a path: a file of environment records, or a Python file with a function `tasks(data)`.
"""

from __future__ import annotations

import difflib
import fnmatch
import runpy
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from harness.console.text import printable
from harness.data import disk, jsonio
from harness.data.files import file_suffix
from harness.errors import HarnessError, MissingData, UsageError
from harness.types import Sample, Task

TASK_FILE_SUFFIX = ".py"
Admit = Callable[[Path], None]
"""Told of a Python file before it is run; raises UsageError where it shall not be."""


@cache
def find_entry_points(group: str) -> dict[str, EntryPoint]:
    """The entry points of a group by name; where two packages use one name, the first found counts."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        found.setdefault(point.name, point)
    return found


@cache
def load_entry_point(group: str, name: str) -> Any:
    """One object of a group, imported. Raises UsageError where that fails."""
    point = find_entry_points(group)[name]
    try:
        return point.load()
    except Exception as error:
        package = point.dist.name if point.dist else point.value
        raise UsageError(f"The package {package} offers {name!r} but cannot be imported: {error}.") from error


@cache
def load_entry_points(group: str) -> dict[str, Any]:
    """The group's objects, imported. One whose package is broken is left out, and said so once on stderr."""
    found: dict[str, Any] = {}
    for name in find_entry_points(group):
        try:
            found[name] = load_entry_point(group, name)
        except UsageError as error:
            print(printable(f"Left out: {error}"), file=sys.stderr)
    return found


LONGEST_NAME = 200
"""Characters of a name that others are compared with, which takes time with the square of them."""


def suggest_names(name: str, known: Iterable[str]) -> str:
    """` Did you mean a, b?`, to follow a sentence, or nothing where no known name is close."""
    if len(name) > LONGEST_NAME:
        return ""
    close = difflib.get_close_matches(name, list(known), n=3, cutoff=0.5)
    return f" Did you mean {', '.join(close)}?" if close else ""


def all_versions(data: Mapping[str, Path]) -> list[Task]:
    """Every registered task in every version. `data` maps a data set's name to the path that --data gave for it."""
    providers = load_entry_points("harness.tasks")
    if unknown := [name for name in data if name not in providers]:
        raise UsageError(
            f"--data names {unknown[0]!r}, which no task reads; the data sets are {', '.join(sorted(providers))}."
        )
    return [task for name, provider in providers.items() for task in _offered(name, provider, data)]


def all_tasks(data: Mapping[str, Path]) -> dict[str, Task]:
    """Every registered task by name, in its current version."""
    return current_tasks(all_versions(data))


def current_tasks(tasks: Iterable[Task]) -> dict[str, Task]:
    """The tasks by name: of several versions the highest."""
    found: dict[str, Task] = {}
    for task in tasks:
        if task.version >= found.get(task.name, task).version:
            found[task.name] = task
    return found


def current_versions() -> dict[str, int]:
    """The current version of every registered task that can be listed."""
    found: list[Task] = []
    for name, provider in load_entry_points("harness.tasks").items():
        with suppress(HarnessError, OSError):  # a run of one package is told without what another has to say
            found += _offered(name, provider, {})
    return {name: task.version for name, task in current_tasks(found).items()}


def versioned_name(name: str, version: int) -> str:
    """What names one version of a task, whichever is current."""
    return f"{name}@{version}"


def match_tasks(pattern: str, data: Mapping[str, Path]) -> list[Task]:
    """The current tasks whose names match a glob or, where it ends in @N, the tasks of that version. A name that no
    task has may be that of a group, or the first word of the names of several: `demo` is `demo_*`."""
    versions = all_versions(data)
    group, at, version = pattern.partition("@")
    return (
        _match_names(pattern, versions)
        or [task for task in _match_names(f"*{at}{version}", versions) if task.group == group]
        or ([] if "_" in group else _match_names(f"{group}_*{at}{version}", versions))
    )


def _match_names(pattern: str, versions: Sequence[Task]) -> list[Task]:
    known = current_tasks(versions)
    if found := [known[name] for name in fnmatch.filter(known, pattern)]:
        return found
    return [
        task
        for task in versions
        if "@" in pattern and fnmatch.fnmatch(versioned_name(task.name, task.version), pattern)
    ]


def _offered(name: str, provider: Callable[..., Iterable[Task]], data: Mapping[str, Path]) -> list[Task]:
    """The tasks of one entry point. Raises UsageError where its code fails."""
    try:
        return list(provider(data))
    except (HarnessError, OSError):
        raise
    except Exception as error:
        raise UsageError(f"The tasks of {name!r} cannot be listed: {type(error).__name__}: {error}.") from error


def split_patterns(patterns: Sequence[str]) -> list[str]:
    """--tasks takes several, also separated by commas."""
    return [part.strip() for text in patterns for part in text.split(",") if part.strip()]


def is_path(pattern: str) -> bool:
    """Whether a task is named by the path of its data or of a Python file."""
    return file_suffix(Path(pattern)) is not None or Path(pattern).suffix == TASK_FILE_SUFFIX


def code_digest(path: Path) -> str:
    """What tells one version of a Python file from another, in a run's identity."""
    text = disk.read_file(path, links=True).decode("utf-8", "surrogateescape")
    return jsonio.digest(text.replace("\r\n", "\n").replace("\r", "\n"))


def select_tasks(patterns: Sequence[str], data: Mapping[str, Path], admit: Admit = lambda path: None) -> list[Task]:
    """The tasks that globs, names and paths mean, in order, without repeats. Raises UsageError where one means none.
    A Python file is code, which is run here: whoever has its path from a file asks in `admit`."""
    known = all_tasks(data)
    chosen: dict[str, Task] = {}
    paths: dict[Path, str] = {}
    for pattern in split_patterns(patterns):
        if not is_path(pattern):
            matches = match_tasks(pattern, data)
            if not matches:
                hint = suggest_names(pattern.replace("*", ""), known) or " `harness list` shows what there is."
                raise UsageError(f"No task matches {pattern!r}.{hint}")
            for task in matches:
                _add_version(chosen, task)
        elif paths.setdefault(Path(pattern).resolve(), pattern) == pattern:
            for task in _tasks_of_file(Path(pattern), data, admit):
                if task.name in known or task.name in chosen:
                    raise UsageError(f"{pattern} names its task {task.name!r}, as another task of this run does.")
                chosen[task.name] = task
    if not chosen:
        raise UsageError("No task was named; `harness list` shows what there is.")
    return list(chosen.values())


def _add_version(chosen: dict[str, Task], task: Task) -> None:
    """Adds a task to those by name. Raises UsageError where another version of it is there."""
    if (other := chosen.setdefault(task.name, task)).version != task.version:
        names = " and ".join(versioned_name(task.name, number) for number in sorted((other.version, task.version)))
        raise UsageError(f"{names} are versions of one task, which go apart: name one of them.")


def load_samples(tasks: Sequence[Task]) -> dict[str, list[Sample]]:
    """The samples of the tasks whose data is there; the others are named on stderr. All missing is an error."""
    samples: dict[str, list[Sample]] = {}
    missing: dict[str, MissingData] = {}
    for task in tasks:
        try:
            samples[task.name] = _checked(task.name, list(task.load()))
        except MissingData as error:
            missing[task.name] = error
        except (HarnessError, OSError):
            raise
        except Exception as error:
            raise UsageError(f"The task {task.name} cannot be loaded: {type(error).__name__}: {error}.") from error
    if missing and not samples:
        raise next(iter(missing.values()))
    for name, why in missing.items():
        print(printable(f"Skipped {name}: {why}"), file=sys.stderr)
    return samples


def _checked(name: str, samples: list[Sample]) -> list[Sample]:
    """What a task loads, of which there must be some, and no two under one name."""
    if not samples or not all(isinstance(sample, Sample) for sample in samples):
        raise UsageError(f"The task {name} loads no samples: its `load` must return harness.types.Sample objects.")
    ids = Counter(sample.id for sample in samples)
    if repeated := [each for each, count in ids.items() if count > 1]:
        raise UsageError(f"The task {name} has {ids[repeated[0]]} samples with the id {repeated[0]!r}.")
    return samples


def _tasks_of_file(path: Path, data: Mapping[str, Path], admit: Admit) -> list[Task]:
    """The tasks of a path to environment records or to a Python file."""
    from harness.task import file_task  # with checks and scoring, which `harness --help` does without

    if path.suffix != TASK_FILE_SUFFIX:
        return [file_task(path)]
    if not path.is_file():
        raise UsageError(f"There is no task file at {path}.")
    admit(path)
    try:
        made = runpy.run_path(str(path))
        if "tasks" not in made:
            raise UsageError(f"{path} has no function tasks(data), which gives its list of tasks.")
        tasks = list(made["tasks"](data))
    except UsageError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{path} gives no tasks: {type(error).__name__}: {error}.") from error
    if not tasks or not all(isinstance(task, Task) for task in tasks):
        raise UsageError(f"{path} gives no tasks: its function tasks(data) must return a list of harness.types.Task.")
    return tasks


def groups_of(tasks: Sequence[Task], data: Mapping[str, Path]) -> dict[str, list[str]]:
    """The groups whose every registered task is among `tasks`, with their members: the current ones, or all of an
    earlier version."""
    versions = all_versions(data)
    current = {task.name: task.version for task in current_tasks(versions).values()}
    members: dict[tuple[str, int | None], list[Task]] = {}
    for task in versions:
        if task.group:
            earlier = task.version if task.version < current[task.name] else None
            members.setdefault((task.group, earlier), []).append(task)
    present = _editions(tasks)
    return {
        group: [task.name for task in found]
        for (group, _), found in members.items()
        if present.issuperset(_editions(found))
    }


def _editions(tasks: Iterable[Task]) -> set[tuple[str, int]]:
    return {(task.name, task.version) for task in tasks}


def tables_of(tasks: Sequence[Task], data: Mapping[str, Path]) -> dict[str, dict[str, list[str]]]:
    """The tables over several benchmarks of which every registered task, in its current version, is among `tasks`:
    column to its tasks."""
    tables: dict[str, dict[str, list[str]]] = {}
    known = all_tasks(data)
    for task in known.values():
        for table, metrics in task.columns.items():
            for metric in metrics:
                tables.setdefault(table, {}).setdefault(metric, []).append(task.name)
    present = _editions(tasks)
    return {
        table: columns
        for table, columns in tables.items()
        if all((name, known[name].version) in present for names in columns.values() for name in names)
    }
