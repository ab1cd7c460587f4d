"""Read a run: its episodes in a list, or whole transcripts with what every call solved and why the others did not."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from harness.commands.options import add_trust_option
from harness.types import Outcome

HELP = "read a run's episodes: what was said, which call solved what, and why not"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run directory, or a folder of several")
    add("sample", nargs="*", default=(), metavar="SAMPLE", help="ids of samples to read; without one, all are listed")
    add("--task", metavar="NAME", help="only episodes of this task")
    add("--epoch", type=int, metavar="K", help="only this epoch")
    add("--outcome", choices=get_args(Outcome), help="only episodes that ended so")
    add("--full", action="store_true", help="long texts in full")
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError where the run has no such episode."""
    from harness.evaluation.show import EpisodeFilter, show_run

    wanted = EpisodeFilter(args.sample, args.task, args.epoch, args.outcome)
    show_run(args.run, wanted, args.full, args.trust_code)
    return 0
