"""Score a run anew with the current verifier, from its stored outputs: no model is called, no tool runs.

samples.jsonl (or samples.jsonl.xz) and summary.json are replaced; the table shows the run before and after.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness.data.schema import Summary
    from harness.runs.directory import RunDirectory

HELP = "score a run anew with the current verifier, without calling a model"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="run directories")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that is no run or has no episodes, or whose task data is gone or changed."""
    from harness.runs.claims import lock_directory
    from harness.runs.directory import RunDirectory

    for directory in [RunDirectory.open(path) for path in args.run]:
        with lock_directory(directory.path):
            _rescore(directory)
    return 0


def _rescore(directory: RunDirectory) -> None:
    from harness.console.tables import format_table
    from harness.console.text import printable
    from harness.evaluation.run_tasks import score_anew
    from harness.runs.summary import summarise_run
    from harness.scoring import strict

    records = directory.read_records()
    before = summarise_run(directory.manifest, records)
    after, rescored = score_anew(directory)
    complete = len(records) == directory.planned_episodes
    changed = sum(old["scores"] != new["scores"] for old, new in zip(records, rescored, strict=True))
    labelled: list[Summary] = [
        {**before, "model": f"{before['model']} before"},
        {**after, "model": f"{after['model']} after"},
    ]
    print(printable(format_table(labelled, [directory.manifest["groups"]] * 2, by_task=False)))
    says = (
        f"{directory.path}: {len(records)} episodes rescored with verifier version {strict.VERSION}; {changed} changed."
    )
    if not complete:
        says += f" The run is not complete ({len(records)} of {directory.planned_episodes} episodes): "
        says += "finish it with --resume."
    print(f"\n{printable(says)}")
