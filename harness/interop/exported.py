"""The set that an exported folder plays, found again: a file of environments beside it, or a task of a Python file."""

from __future__ import annotations

from functools import cache

from harness.interop.inspect_files import SEPARATOR
from harness.registry import select_tasks
from harness.types import Sample, Task


@cache
def task_of(path: str) -> Task:
    """The task of an exported file, or of PATH::NAME that of a Python file. Raises UsageError where there is none."""
    file, _, name = path.partition(SEPARATOR)
    return next(task for task in select_tasks([file], {}) if not name or task.name == name)


@cache
def environments(path: str) -> dict[str, Sample]:
    """The samples of an exported task by id. Raises UsageError where it cannot be used."""
    return {sample.id: sample for sample in task_of(path).load()}
