"""List the tasks that can be evaluated, where they come from, and the models there are."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from harness.commands.options import add_data_option, parse_data_paths
from harness.console.text import printable
from harness.errors import MissingData, UsageError
from harness.registry import all_tasks, all_versions, select_tasks, versioned_name
from harness.types import Task

HELP = "list tasks and models, and where they come from"
PATHS = (
    "A path to environment records or rows with `checks` (JSON, JSONL, Parquet), or to a Python file, is a task too."
)


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "pattern",
        nargs="?",
        default="*",
        metavar="GLOB|FILE",
        help="only the tasks that match, or those of a file; NAME@N is version N of a task",
    )
    add_data_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where nothing matches."""
    from tabulate import tabulate

    from harness.models import load_backends

    data = parse_data_paths(args.data)
    tasks = all_tasks(data)
    found = select_tasks([args.pattern], data)
    current = {task.name: task.version for task in found} | {name: task.version for name, task in tasks.items()}
    earlier = [task for task in all_versions(data) if task.version != current[task.name]]
    rows = [_row(task, task.version == current[task.name]) for task in found]
    print(printable(tabulate(rows, headers="keys", colalign=("left", "right", "left", "left", "left"))))
    if earlier:
        print(printable(f"\nEarlier versions: {', '.join(_globs(earlier))}."))
    print(f"\n{PATHS}\n\nModels:")
    for name, backend in load_backends().items():
        about = str(backend) if isinstance(backend, UsageError) else getattr(backend, "HELP", f"{name}/...")
        print(printable(f"  {about}"))
    return 0


def _row(task: Task, current: bool) -> dict[str, str]:
    mark = "" if current else f"@{task.version}"
    return {
        "task": task.name + mark,
        "samples": _size(task),
        "group": task.group + mark if task.group else "",
        "what": task.description,
        "source": task.source,
    }


def _globs(tasks: Sequence[Task]) -> list[str]:
    """Short names for tasks of earlier versions: one glob for those of a group that are named by it."""
    names = [
        (f"{task.group}_*" if task.name.startswith(f"{task.group}_") else task.name, task.version) for task in tasks
    ]
    return [versioned_name(name, version) for name, version in dict.fromkeys(names)]


def _size(task: Task) -> str:
    if task.size is not None:
        return str(task.size)
    try:
        return str(len(task.load()))
    except MissingData:
        return "needs data"
