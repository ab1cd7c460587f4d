"""What a report is made of: runs read from disk, their samples found again, and what is wrong with either, in words.

Numbers are always computed from the episodes; a summary.json is only compared with them. A run that cannot be read is
left out and named.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness import jsonio
from harness.episodes import to_trajectory
from harness.errors import UsageError
from harness.gold import tasks_of
from harness.runs import SCHEMA, Record, RunDirectory
from harness.summary import summarise
from harness.types import CallStatus, Outcome, Sample
from results.causes import HEADLINE, Diagnosis, diagnose
from results.report.curves import Curves, read_curves
from results.table import found_runs

TOLERANCE = 1e-9
"""Two computations of one mean may differ by their rounding."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run as it is told of: `label` names it in this report, `diagnoses` has one entry a record."""

    label: str
    path: Path
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]
    records: Sequence[Record]
    samples: Mapping[tuple[str, str], Sample]
    diagnoses: Sequence[Diagnosis | None]

    @property
    def is_policy(self) -> bool:
        return str(self.summary["model"]).startswith("policy/")


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown; `remarks` are sentences about what could not be taken as it was."""

    runs: Sequence[Run]
    curves: Sequence[Curves]
    remarks: Sequence[str]


def read(paths: Sequence[Path], training: Sequence[Path] = ()) -> Report:
    """The runs at or below the paths. Raises UsageError where a path is no run, or where no run can be read."""
    runs: list[Run] = []
    remarks: list[str] = []
    for path in dict.fromkeys(found_runs(list(paths))):
        if not (path / "manifest.json").exists():
            raise UsageError(f"{path} is no run directory: it has no manifest.json.")
        try:
            run, said = _read(path)
        except UsageError as error:
            remarks.append(f"Left out: {error}")
            continue
        runs.append(run)
        remarks += said
    if not runs:
        raise UsageError(" ".join(remarks) or "There is no run to report.")
    curves = [found for path in (*training, *paths) if (found := read_curves(path, needed=path in training))]
    return Report(_labelled(runs), curves, remarks)


def _read(path: Path) -> tuple[Run, list[str]]:
    directory = RunDirectory.open(path)
    records = directory.records()
    if not records:
        raise UsageError(f"nothing of {path} has been played yet; go on with the run by --resume.")
    for record in records:
        _check(record, path)
    try:
        summary = summarise(directory.manifest, records)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{path} cannot be summarised: {type(error).__name__} {error}.") from None
    samples, without = _samples(directory)
    headlines = {name: str(task["headline"]) for name, task in directory.manifest["tasks"].items()}
    diagnoses = [
        diagnose(record, samples.get((record["task"], record["sample"])), headlines.get(record["task"], HEADLINE))
        for record in records
    ]
    run = Run(_label(summary), path, directory.manifest, summary, records, samples, diagnoses)
    return run, [*_cut(directory), *_disagreement(directory, summary, len(records)), *without]


def _check(record: Record, path: Path) -> None:
    """Raises UsageError where a record lacks what a report shows of it."""
    from typing import get_args

    to_trajectory(record)
    texts = [record["task"], record["sample"], record["stop"]]
    for message in record["messages"]:
        texts += [message["role"], message["content"], message.get("reasoning") or ""]
    for call in record["calls"]:
        texts += [call["name"], call["raw"], call["output"]]
    fits = all(isinstance(text, str) for text in texts) and record["outcome"] in get_args(Outcome)
    fits = fits and isinstance(record["epoch"], int) and isinstance(record["error"], str | None)
    fits = fits and all(call["status"] in get_args(CallStatus) and _placed(call) for call in record["calls"])
    if not fits or not all(_is_score(value) for value in record["scores"].values()):
        raise UsageError(f"{path / 'samples.jsonl'} holds an episode of {record['sample']!r} that cannot be read.")


def _placed(call: Mapping[str, Any]) -> bool:
    """Turn and verdicts are what they should be."""
    verdicts = (call.get("solves", ""), call.get("paper_solves", ""))
    return isinstance(call["turn"], int) and all(isinstance(verdict, int | None) for verdict in verdicts)


def _is_score(value: object) -> bool:
    return value is None or (isinstance(value, int | float) and math.isfinite(value))


def _samples(directory: RunDirectory) -> tuple[dict[tuple[str, str], Sample], list[str]]:
    """The samples by task and id; none, and a sentence, where they cannot be found again."""
    try:
        tasks = tasks_of(directory)
    except UsageError as error:
        return {}, [f"Without gold, so without the causes and graphs that need it: {error}"]
    except (KeyError, TypeError, AttributeError):
        return {}, [f"Without gold, so without the causes and graphs that need it: {directory.path} names no data."]
    return {(name, sample): found for name, (_, samples) in tasks.items() for sample, found in samples.items()}, []


def _cut(directory: RunDirectory) -> Iterator[str]:
    with directory.samples_path.open("rb") as file:
        file.seek(-1, 2)
        if file.read(1) != b"\n":
            yield f"{directory.samples_path} is cut in its last line, which was dropped."


def _disagreement(directory: RunDirectory, summary: Mapping[str, Any], episodes: int) -> Iterator[str]:
    """How summary.json differs from what the episodes say, in one sentence; nothing where it does not."""
    if episodes < directory.planned:
        part = f"{episodes:,} of its {directory.planned:,} episodes"
        yield f"{directory.path} is not complete: {part} are there, and the numbers are theirs."
        return
    anew = "the numbers here were computed anew from its episodes."
    try:
        told = directory.summary()
    except UsageError as error:
        yield f"{str(error).rstrip('.')}; {anew}"
        return
    if told.get("schema") != SCHEMA:
        yield f"{directory.summary_path} was written in another format than this version's ({SCHEMA}); {anew}"
    elif (difference := _first_difference(told["tasks"], summary["tasks"])) is not None:
        yield f"{directory.summary_path} disagrees with samples.jsonl ({difference}); {anew}"


def _first_difference(told: Mapping[str, Any], found: Mapping[str, Any]) -> str | None:
    for task, entry in found.items():
        other = told.get(task)
        if not isinstance(other, dict) or not isinstance(other.get("metrics"), dict):
            return f"it lacks {task}"
        if other.get("n") != entry["n"]:
            return f"{task}: n {jsonio.canonical(other.get('n'))} there, {entry['n']} counted"
        for metric, estimate in entry["metrics"].items():
            cell = other["metrics"].get(metric)
            value = cell.get("value") if isinstance(cell, dict) else None
            if not _same(value, estimate["value"]):
                return f"{task}, {metric}: {value} there, {estimate['value']} counted"
        if other.get("outcomes") != entry["outcomes"]:
            return f"{task}: other outcomes"
    return None


def _same(a: object, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return isinstance(a, int | float) and math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def _label(summary: Mapping[str, Any]) -> str:
    mode = str(summary["reasoning"])
    return str(summary["model"]) + ("" if mode == "default" else f" ({mode})")


def _labelled(runs: Sequence[Run]) -> list[Run]:
    """The runs with labels that differ: where two would be the same, the folder's name is added, or a number."""
    twice = {label for label, count in Counter(run.label for run in runs).items() if count > 1}
    found: list[Run] = []
    for run in runs:
        label = f"{run.label}, {run.path.resolve().name}" if run.label in twice else run.label
        taken = {other.label for other in found}
        number = 2
        while label in taken:
            label, number = f"{run.label}, {run.path.resolve().name} {number}", number + 1
        found.append(replace(run, label=label))
    return found
