"""Scoring the episodes of a run on disk anew, with the current verifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from harness.console.tables import format_legend, format_table
from harness.console.text import printable
from harness.data.schema import Identity, Manifest, Record, Summary
from harness.errors import UsageError
from harness.evaluation.economy import Economy
from harness.evaluation.run_tasks import load_run_tasks
from harness.evaluation.versions import name_manifest, name_summary, name_tasks
from harness.runs.claims import lock_directory
from harness.runs.directory import RunDirectory
from harness.runs.record import to_trajectory, with_verdict
from harness.runs.results import EpisodeResult, result_of
from harness.runs.summary import summarise_results
from harness.sandbox import Sandbox
from harness.scoring import strict
from harness.scoring.verdict import score_trajectory
from harness.types import Sample, Scores, Task, Trajectory, Verdict

Measure = Callable[[Task, Sample, Trajectory, Verdict], Scores]
"""Gives metrics beside those of an episode's verdict."""


def no_more(task: Task, sample: Sample, trajectory: Trajectory, verdict: Verdict) -> Scores:
    """The verdict's metrics alone."""
    return {}


def rescore_runs(paths: Sequence[Path], trust_code: bool = False, economy: bool = False) -> None:
    """Scores runs anew and prints each before and after, and what their columns mean; `economy`: with the metrics of
    harness.evaluation.economy.

    Raises UsageError for a directory that is no run or has no episodes, or whose task data is gone or changed.
    """
    shown: list[Summary] = []
    with Sandbox() as sandbox:  # starts with the first tool
        for directory in [RunDirectory.open(path) for path in paths]:
            with lock_directory(directory.path):
                shown += _rescore(directory, trust_code, Economy(sandbox) if economy else no_more)
    print(f"\n{printable(format_legend(shown))}")


def _rescore(directory: RunDirectory, trust_code: bool, measure: Measure) -> list[Summary]:
    """The run's summaries before and after, as they are shown."""
    results = directory.read_results()
    before = summarise_results(directory.manifest, results)
    after, rescored = score_anew(directory, trust_code=trust_code, measure=measure)
    complete = len(results) == directory.planned_episodes
    changed = sum(old.scores != new.scores for old, new in zip(results, rescored, strict=True))
    labelled: list[Summary] = [
        {**before, "model": f"{before['model']} before"},
        {**after, "model": f"{after['model']} after"},
    ]
    names = name_tasks(directory.manifest)
    shown = [name_summary(summary, directory.manifest, names) for summary in labelled]
    print(printable(format_table(shown, [name_manifest(directory.manifest, names)["groups"]] * 2, by_task=False)))
    says = (
        f"{directory.path}: {len(results)} episodes rescored with verifier version {strict.VERSION}; {changed} changed."
    )
    if not complete:
        says += f" The run is not complete ({len(results)} of {directory.planned_episodes} episodes): "
        says += "finish it with --resume."
    print(f"\n{printable(says)}")
    return shown


def score_anew(
    directory: RunDirectory, tasks: Sequence[Task] = (), trust_code: bool = False, measure: Measure = no_more
) -> tuple[Summary, list[EpisodeResult]]:
    """Replaces the records of a run, and its summary where it is complete, inside `lock_directory`; returns the summary
    and what is kept of the records. `tasks`: those that the run itself does not say where to find. Raises UsageError as
    `load_run_tasks` does, and where nothing has been played: nothing is written then."""
    if not (results := directory.read_results()):
        raise UsageError(f"Nothing of {directory.path} has been played yet; there is nothing to score anew.")
    found = load_run_tasks(directory, tasks, trust_code)
    rescored: list[EpisodeResult] = []

    def records() -> Iterator[Record]:
        for record in directory.stream_records(results):
            task, samples = found[record["task"]]
            played = samples[record["sample"]], to_trajectory(record)
            verdict = score_trajectory(task, *played)
            scores = {**verdict.scores, **measure(task, *played, verdict)}
            scored = with_verdict(record, replace(verdict, scores=scores))
            rescored.append(result_of(scored))
            yield scored

    identity: Identity = {**directory.manifest["identity"], "verifier": strict.VERSION}
    manifest: Manifest = {**directory.manifest, "identity": identity}
    directory.replace_records(manifest, records())
    summary = summarise_results(manifest, rescored)
    if len(rescored) == directory.planned_episodes:
        directory.write_summary(summary)
    return summary, rescored
