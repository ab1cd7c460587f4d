"""List the tasks that can be evaluated, where they come from, and the models there are."""

from __future__ import annotations

import argparse
import fnmatch

from harness.commands.options import add_data_option, parse_data_paths
from harness.console.text import printable
from harness.errors import MissingData, UsageError
from harness.registry import all_tasks, suggest_names
from harness.types import Task

HELP = "list tasks and models, and where they come from"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("pattern", nargs="?", default="*", metavar="GLOB", help="only the tasks that match")
    add_data_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where nothing matches."""
    from tabulate import tabulate

    from harness.models import load_backends

    tasks = all_tasks(parse_data_paths(args.data))
    names = fnmatch.filter(tasks, args.pattern)
    if not names:
        raise UsageError(f"No task matches {args.pattern!r}.{suggest_names(args.pattern, tasks)}")
    rows = [
        {
            "task": name,
            "samples": _size(tasks[name]),
            "group": tasks[name].group or "",
            "what": tasks[name].description,
            "source": tasks[name].source,
        }
        for name in names
    ]
    print(printable(tabulate(rows, headers="keys", colalign=("left", "right", "left", "left", "left"))))
    print("\nA path to a JSONL or Parquet file of environment records is a task too.\n\nModels:")
    for name, backend in load_backends().items():
        about = str(backend) if isinstance(backend, UsageError) else getattr(backend, "HELP", f"{name}/...")
        print(printable(f"  {about}"))
    return 0


def _size(task: Task) -> str:
    try:
        return str(len(task.load()))
    except MissingData:
        return "needs data"
