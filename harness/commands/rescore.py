"""Score a run anew with the current verifier, from its stored outputs: no model is called, no tool runs.

samples.jsonl (or samples.jsonl.xz) and summary.json are replaced; the table shows the run before and after.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.runs import RunDirectory
    from harness.schema import Identity, Manifest, Summary

HELP = "score a run anew with the current verifier, without calling a model"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, nargs="+", metavar="RUN", help="run directories")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for a directory that is no run or has no episodes, or whose task data is gone or changed."""
    from harness.claims import locked
    from harness.runs import RunDirectory

    for directory in [RunDirectory.open(path) for path in args.run]:
        with locked(directory.path):
            _rescore(directory)
    return 0


def _rescore(directory: RunDirectory) -> None:
    from harness.display import table
    from harness.episodes import to_trajectory, with_verdict
    from harness.gold import tasks_of
    from harness.scoring import strict
    from harness.summary import summarise
    from harness.terminal import printable
    from harness.verdicts import verdict_of

    if not (records := directory.records()):
        raise UsageError(f"Nothing of {directory.path} has been played yet; there is nothing to score anew.")
    tasks = tasks_of(directory)
    rescored = []
    for record in records:
        task, samples = tasks[record["task"]]
        rescored.append(with_verdict(record, verdict_of(task, samples[record["sample"]], to_trajectory(record))))
    before = summarise(directory.manifest, records)
    identity: Identity = {**directory.manifest["identity"], "verifier": strict.VERSION}
    manifest: Manifest = {**directory.manifest, "identity": identity}
    directory.summary_path.unlink(missing_ok=True)
    directory.rewrite(manifest, rescored)
    after = summarise(manifest, rescored)
    complete = len(records) == directory.planned
    if complete:
        directory.write_summary(after)
    changed = sum(old["scores"] != new["scores"] for old, new in zip(records, rescored, strict=True))
    labelled: list[Summary] = [
        {**before, "model": f"{before['model']} before"},
        {**after, "model": f"{after['model']} after"},
    ]
    print(printable(table(labelled, [manifest["groups"]] * 2, by_task=False)))
    says = (
        f"{directory.path}: {len(records)} episodes rescored with verifier version {strict.VERSION}; {changed} changed."
    )
    if not complete:
        says += f" The run is not complete ({len(records)} of {directory.planned} episodes): finish it with --resume."
    print(f"\n{printable(says)}")
