"""A run on disk, read by a person: which episodes are shown, and the gold beside them."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.console.text import printable
from harness.console.transcripts import format_episodes, format_transcript
from harness.errors import UsageError
from harness.evaluation.run_tasks import load_run_tasks
from harness.registry import suggest_names
from harness.runs.directory import RunDirectory
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


def show_run(path: Path, wanted: EpisodeFilter, full: bool) -> None:
    """Prints the transcripts of the samples that are named, or a list where none is.

    Raises UsageError where the run has no such episode.
    """
    directory = RunDirectory.open(path)
    results = _select_results(path, directory.read_results(), wanted)
    if wanted.samples:
        samples = _load_samples(directory)
        for record in directory.stream_records(results):
            transcript = format_transcript(record, samples.get((record["task"], record["sample"])), full)
            print(printable(transcript), end="\n\n")
    else:
        headlines = {name: str(task["headline"]) for name, task in directory.manifest["tasks"].items()}
        print(printable(format_episodes(results, headlines)))


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


def _load_samples(directory: RunDirectory) -> dict[tuple[str, str], Sample]:
    """Every sample, where the task's data can still be found; the transcript is readable without."""
    try:
        tasks = load_run_tasks(directory)
    except UsageError as error:
        print(printable(f"Without gold: {error}"), file=sys.stderr)
        return {}
    return {(name, sample.id): sample for name, (_, samples) in tasks.items() for sample in samples.values()}
