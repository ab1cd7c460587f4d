"""Runs to read: which directories are meant, and whether what they say can be believed.

Values come from the episodes. A summary that says otherwise, a file that was cut and a run of another format are named
in one sentence each: as a remark, which tables print on stderr and the report shows at its top, or as the error where
nothing else is left to show.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.console.tables import verifier_marks
from harness.console.text import printable
from harness.data.schema import Summary
from harness.errors import UsageError
from harness.evaluation.run import Run, name_run
from harness.runs.directory import RUN_SCHEMA, RunDirectory
from harness.runs.folders import find_runs_below
from harness.runs.learnt import describe_mixture
from harness.runs.summary import summarise_results

__all__ = ["Run", "find_runs", "mark_runs", "read_run", "read_runs"]

ANEW = "what is shown was computed anew from its episodes"
COMPARED = ("tasks", "groups")
"""The parts of a summary that must be what the episodes give."""


def find_runs(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The run directories among the paths and, for a folder that is none itself, the finished ones below it; and a
    sentence for each that was left out."""
    found: list[Path] = []
    remarks: list[str] = []
    for path in paths:
        below = [] if (path / "manifest.json").exists() else find_runs_below(path)
        finished = [run for run in below if (run / "summary.json").exists()]
        remarks += [f"Left out {run}: it is not finished." for run in below if run not in finished]
        found += finished or [path]
    return found, remarks


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The runs that the paths mean, in order; remarks go to stderr. Raises UsageError for a path that is no finished
    run of this format; one that was only found in a folder is left out aloud, unless nothing remains."""
    found, remarks = find_runs(paths)
    _say(remarks)
    runs: list[Run] = []
    reason: UsageError | None = None
    for path in found:
        try:
            runs.append(read_run(path))
        except UsageError as error:
            if path in paths:
                raise
            reason = error
            _say([f"Left out {path}: {error}"])
        else:
            _say(runs[-1].remarks)
            _say([f"{path}: {said}" for said in describe_mixture(runs[-1].manifest, len(runs[-1].results))])
    if reason is not None and not runs:
        raise reason
    return runs


def _say(remarks: Sequence[str]) -> None:
    for remark in remarks:
        print(printable(remark), file=sys.stderr)


def read_run(path: Path, unfinished: bool = False) -> Run:
    """A run, summarised from its episodes. Raises UsageError where there is none, or no finished one: `unfinished`
    takes a run without a summary.json that can be read too, and says so in its remarks."""
    directory = RunDirectory.open(path)
    stored = _stored(directory, unfinished)
    results = directory.read_results()
    summary = summarise_results(directory.manifest, results)
    if not results:
        raise UsageError(f"nothing of {path} has been played yet; go on with the run by --resume.")
    incomplete = _incomplete(path, stored, len(results), directory.planned_episodes)
    remark = incomplete or _disagreement(directory, stored, summary)
    return name_run(directory, results, summary, [remark] if remark else [])


def report_incomplete(directory: RunDirectory, episodes: int) -> None:
    """Says on stderr where a run has fewer episodes than it was planned with."""
    said = _incomplete(directory.path, _stored(directory, True), episodes, directory.planned_episodes)
    _say([said] if said else [])


def _stored(directory: RunDirectory, unfinished: bool) -> Summary | str:
    """What summary.json holds, or a sentence why that cannot be said."""
    try:
        return directory.read_summary()
    except UsageError as error:
        if not unfinished:
            raise
        return str(error)


# --- what a run says of itself -----------------------------------------------------------------------------------


def _incomplete(path: Path, stored: Summary | str, episodes: int, planned: int) -> str | None:
    """A summary is only written of a complete run: where there is one, episodes were lost."""
    if episodes >= planned:
        return None
    how = "not complete" if isinstance(stored, str) else "cut"
    return f"{path} is {how}: {episodes:,} of its {planned:,} episodes are there; what is shown counts these alone."


def _disagreement(directory: RunDirectory, stored: Summary | str, summary: Summary) -> str | None:
    """How summary.json is not what the episodes give, in one sentence."""
    if isinstance(stored, str):
        return f"{stored.rstrip('.')}; {ANEW}."
    if stored.get("schema") != RUN_SCHEMA:
        return f"{directory.summary_path} was written in another format than this version's ({RUN_SCHEMA}); {ANEW}."
    if (difference := _first_difference(stored, summary)) is not None:
        return f"{directory.path}: its summary.json disagrees with its episodes ({difference}); {ANEW}."
    return None


def _first_difference(stored: Summary, summary: Summary) -> str | None:
    """What two summaries say otherwise of tasks and groups, but for the last digits of their numbers, and for
    intervals, which another version may have computed in another way from the same episodes."""
    theirs, ours = (dict(_leaves({part: said.get(part) for part in COMPARED})) for said in (stored, summary))
    for where in {**ours, **theirs}:
        there, counted = (said.get(where, "nothing") for said in (theirs, ours))
        if there != counted and "ci95" not in where:
            name = ", ".join(str(part) for part in where[1:] if part not in ("metrics", "value"))
            return f"{name}: {there!s:.40} there, {counted!s:.40} counted"
    return None


def _leaves(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list | tuple):
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for name, part in named:
            yield from _leaves(part, (*where, name))
    else:
        yield where, float(f"{value:.9g}") if isinstance(value, float) else value


def mark_runs(runs: Sequence[Run]) -> list[str]:
    """What follows the model of each run in a table: where the run lies, if another of the same label played one of its
    tasks too; and the verifier that scored it, if not all have the same."""
    played = Counter((run.label, task) for run in runs for task in run.summary["tasks"])
    twins = [any(played[run.label, task] > 1 for task in run.summary["tasks"]) for run in runs]
    verifiers = verifier_marks([run.summary for run in runs])
    return [
        (f" in {run.path}" if twin else "") + verifier
        for run, twin, verifier in zip(runs, twins, verifiers, strict=True)
    ]
