"""Write our tasks as files that lm-eval reads, and print the directory they are in.

  lm_eval --include_path "$(harness lm-eval-path)" --model hf --model_args pretrained=PATH --tasks step_micro_single_hop
  python -m tasks.lmeval --model harness --model_args name=openai/NAME --tasks micro

Tasks, groups and metrics have the names they have here. Tasks of one turn (step_*, rotbench_*) run with any model of
lm-eval; the others with the model `harness`, which `python -m tasks.lmeval` adds to lm-eval's command line.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.options import add_data_option, parse_data_paths

HELP = "write our tasks as files for lm-eval, and print where"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "tasks", nargs="*", default=(), metavar="TASKS|FILE", help="only these: names, globs, paths (default: all)"
    )
    add_data_option(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (default: in the user's cache)")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a data set that no task reads, and for tasks that are not there."""
    from tasks.lmeval.task_files import write_task_files

    print(write_task_files(parse_data_paths(args.data), args.out, args.tasks))
    return 0
