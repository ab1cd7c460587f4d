"""What a report is made of: runs read from disk, their samples found again, and what is wrong with either, in words.

Runs are read as tables read them (results.runs), finished or not. A run that cannot be read is left out and named.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.console.tables import faults_mark, verifier_note
from harness.data.schema import Manifest, Summary
from harness.errors import UsageError
from harness.evaluation.run_tasks import load_run_tasks
from harness.evaluation.versions import name_tasks
from harness.metrics import HEADLINE
from harness.runs.directory import RunDirectory
from harness.runs.learnt import describe_learnt
from harness.runs.record import to_trajectory
from harness.runs.results import EpisodeResult
from harness.types import Sample
from results import runs as reading
from results.causes import Diagnosis, diagnose
from results.report.curves import TrainingCurves, read_curves


@dataclass(frozen=True, slots=True)
class ReportedRun:
    """One run as it is told of: `label` names it in this report, `diagnoses` has one entry a result."""

    label: str
    source: reading.Run
    samples: Mapping[tuple[str, str], Sample]
    diagnoses: Sequence[Diagnosis | None]

    @property
    def path(self) -> Path:
        return self.source.path

    @property
    def manifest(self) -> Manifest:
        return self.source.manifest

    @property
    def summary(self) -> Summary:
        return self.source.summary

    @property
    def results(self) -> Sequence[EpisodeResult]:
        return self.source.results

    @property
    def is_policy(self) -> bool:
        model = self.manifest.get("model")
        return isinstance(model, dict) and model.get("backend") == "policy"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that is shown; `remarks` are sentences about what could not be taken as it was."""

    runs: Sequence[ReportedRun]
    curves: Sequence[TrainingCurves]
    remarks: Sequence[str]


def read_report(paths: Sequence[Path], training: Sequence[Path] = (), trust_code: bool = False) -> Report:
    """The runs at or below the paths. Raises UsageError where a path is no run, or where no run can be read."""
    found, remarks = reading.find_runs(paths)
    runs: list[ReportedRun] = []
    for path in dict.fromkeys(found):
        if not (path / "manifest.json").exists():
            raise UsageError(" ".join([*remarks, f"{path} is no run directory: it has no manifest.json."]))
        try:
            run, said = _read(path, trust_code)
        except UsageError as error:
            remarks.append(f"Left out: {error}")
            continue
        runs.append(run)
        remarks += said
    if not runs:
        raise UsageError(" ".join(remarks) or "There is no run to report.")
    curves = [drawn for path in (*training, *paths) if (drawn := read_curves(path, needed=path in training))]
    return Report(_labelled(runs), curves, [*remarks, *verifier_note([run.summary for run in runs])])


def _read(path: Path, trust_code: bool) -> tuple[ReportedRun, list[str]]:
    run = reading.read_run(path, unfinished=True)
    samples, without = find_samples(run.directory, trust_code)
    diagnoses = list(_diagnoses(run, samples))
    learnt = [f"{path}: {said}" for said in describe_learnt(run.manifest, len(run.results))]
    remarks = [*_torn(run.directory), *run.remarks, *learnt, *without]
    return ReportedRun(_label(run.summary), run, samples, diagnoses), remarks


def _diagnoses(run: reading.Run, samples: Mapping[tuple[str, str], Sample]) -> Iterator[Diagnosis | None]:
    """Raises UsageError where a record is not one of ours."""
    headlines = {name: str(task["headline"]) for name, task in run.manifest["tasks"].items()}
    for record in run.stream_records():
        to_trajectory(record)
        task = record["task"]
        yield diagnose(record, samples.get((task, record["sample"])), headlines.get(task, HEADLINE))


def find_samples(directory: RunDirectory, trust_code: bool = False) -> tuple[dict[tuple[str, str], Sample], list[str]]:
    """The samples by task and id; none, and a sentence, where they cannot be found again."""
    try:
        tasks = load_run_tasks(directory, trust_code=trust_code)
    except UsageError as error:
        return {}, [f"Without gold, so without the causes and graphs that need it: {error}"]
    shown = name_tasks(directory.manifest)
    named = {shown.get(name, name): samples for name, (_, samples) in tasks.items()}
    return {(name, sample): found for name, samples in named.items() for sample, found in samples.items()}, []


def _torn(directory: RunDirectory) -> Iterator[str]:
    if directory.is_torn():
        yield f"{directory.episodes_path()} is cut in its last line, which was dropped."


def _label(summary: Summary) -> str:
    mode = str(summary["reasoning"])
    return str(summary["model"]) + ("" if mode == "default" else f" ({mode})") + faults_mark(summary)


def _labelled(runs: Sequence[ReportedRun]) -> list[ReportedRun]:
    """The runs with labels that differ: where two would be the same, the folder's name is added, or a number."""
    twice = {label for label, count in Counter(run.label for run in runs).items() if count > 1}
    found: list[ReportedRun] = []
    for run in runs:
        label = f"{run.label}, {run.path.resolve().name}" if run.label in twice else run.label
        taken = {other.label for other in found}
        number = 2
        while label in taken:
            label, number = f"{run.label}, {run.path.resolve().name} {number}", number + 1
        found.append(replace(run, label=label))
    return found
