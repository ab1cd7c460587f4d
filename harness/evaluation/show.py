"""A run on disk, read by a person: which episodes are shown, and the gold beside them."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from harness.console.text import one_line, printable, shorten_text
from harness.console.transcripts import format_episodes, format_transcript
from harness.errors import UsageError
from harness.evaluation.run_tasks import load_run_tasks
from harness.registry import suggest_names
from harness.runs.directory import RunDirectory
from harness.runs.folders import find_runs_below
from harness.runs.results import EpisodeResult
from harness.types import Sample


@dataclass(frozen=True)
class EpisodeFilter:
    """Which episodes are meant; what is None or empty leaves out none."""

    samples: Sequence[str] = ()
    task: str | None = None
    epoch: int | None = None
    outcome: str | None = None

    def __call__(self, result: EpisodeResult) -> bool:
        return (
            (not self.samples or result.sample in self.samples)
            and self.task in (None, result.task)
            and self.epoch in (None, result.epoch)
            and self.outcome in (None, result.outcome)
        )


def show_run(path: Path, wanted: EpisodeFilter, full: bool, trust_code: bool = False) -> None:
    """Prints the transcripts of the samples that are named, or a list where none is; of a folder of runs, a list of
    these.

    Raises UsageError where the run has no such episode.
    """
    if not (path / "manifest.json").exists() and (below := find_runs_below(path)):
        _show_folder(path, below, wanted)
        return
    directory = RunDirectory.open(path)
    results = _select_results(path, directory.read_results(), wanted)
    if wanted.samples:
        samples = _load_samples(directory, trust_code)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
        for record in directory.stream_records(results):
            transcript = format_transcript(record, samples.get((record["task"], record["sample"])), full, width)
            print(printable(transcript), end="\n\n")
    else:
        headlines = {name: str(task["headline"]) for name, task in directory.manifest["tasks"].items()}
        print(printable(format_episodes(results, headlines)))


def _show_folder(folder: Path, runs: Sequence[Path], wanted: EpisodeFilter) -> None:
    """Prints a line a run. Raises UsageError where episodes were asked for: the same sample stands in several."""
    if wanted != EpisodeFilter():
        raise UsageError(f"{folder} holds {len(runs)} runs; name one of them, such as {runs[0]}.")
    print(printable(tabulate([_run_row(path) for path in runs], headers="keys", disable_numparse=True)))
    print(printable(f"\n`harness show {runs[0]}` lists the episodes of one of them."))


def _run_row(path: Path) -> dict[str, object]:
    try:
        manifest = (directory := RunDirectory.open(path)).manifest
    except UsageError as error:
        return {"run": path, "model": one_line(str(error))}
    return {
        "run": path,
        "model": one_line(manifest["identity"]["model"]),
        "reasoning": manifest["identity"]["reasoning"],
        "tasks": shorten_text(", ".join(manifest["tasks"]), 60),
        "episodes": directory.planned_episodes,
        "state": "complete" if directory.summary_path.exists() else "not finished",
    }


def _select_results(path: Path, everything: Sequence[EpisodeResult], wanted: EpisodeFilter) -> list[EpisodeResult]:
    known = {result.sample for result in everything}
    for sample in wanted.samples:
        if sample not in known:
            raise UsageError(f"{path} has no episode of {sample!r}.{suggest_names(sample, known)}")
    if not everything:
        raise UsageError(f"Nothing of {path} has been played yet; go on with the run by --resume.")
    results = [result for result in everything if wanted(result)]
    if not results:
        kinds = ", ".join(sorted({result.outcome for result in everything} | {one.task for one in everything}))
        raise UsageError(f"No episode of {path} is of that kind; there are {kinds}.")
    return results


def _load_samples(directory: RunDirectory, trust_code: bool) -> dict[tuple[str, str], Sample]:
    """Every sample, where the task's data can still be found; the transcript is readable without."""
    try:
        tasks = load_run_tasks(directory, trust_code=trust_code)
    except UsageError as error:
        print(printable(f"Without gold: {error}"), file=sys.stderr)
        return {}
    return {(name, sample.id): sample for name, (_, samples) in tasks.items() for sample in samples.values()}
