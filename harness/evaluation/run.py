"""A run that was played, read back: what the public functions return, and what `print` shows of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from harness.console.tables import describe_failures, faults_mark, format_legend, format_reasoning, format_table
from harness.data.schema import Manifest, Record, Summary
from harness.errors import UsageError
from harness.evaluation.versions import name_manifest, name_results, name_summary, name_tasks
from harness.runs.directory import RunDirectory
from harness.runs.learnt import describe_learnt
from harness.runs.results import EpisodeResult
from harness.runs.summary import summarise_results
from harness.runs.unread_calls import warn_unread_calls


@dataclass(frozen=True)
class Run:
    """A run as results show it: `summary` was made from `results`, what is kept of its records; `remarks` are sentences
    about what could not be taken as it was. docs/runs.md has the fields of all three files. `print(run)` shows its
    table."""

    directory: RunDirectory
    manifest: Manifest
    results: Sequence[EpisodeResult]
    summary: Summary
    remarks: Sequence[str] = ()

    @property
    def path(self) -> Path:
        return self.directory.path

    @cached_property
    def records(self) -> list[Record]:
        """Every episode that counts, whole; read when they are first asked for, and kept."""
        return list(self.stream_records())

    def stream_records(self) -> Iterator[Record]:
        """The same one by one, for runs that are larger than memory."""
        with self.open_records() as read:
            yield from map(read, self.results)

    @contextmanager
    def open_records(self) -> Iterator[Callable[[EpisodeResult], Record]]:
        """Reads the record of a result. Raises UsageError as `RunDirectory.open_records` does."""
        names = name_tasks(self.directory.manifest)
        with self.directory.open_records() as read:

            def read_named(result: EpisodeResult) -> Record:
                record = read(result)
                return {**record, "task": names[record["task"]]} if record["task"] in names else record

            yield read_named

    @property
    def label(self) -> str:
        """The model and, where it was asked for one, its reasoning mode; and how its tools failed on purpose."""
        shown = format_reasoning(self.summary)
        return str(self.summary["model"]) + ("" if shown == "default" else f" ({shown})") + faults_mark(self.summary)

    @property
    def groups(self) -> Mapping[str, Sequence[str]]:
        """Group to its tasks."""
        groups: Mapping[str, Sequence[str]] = self.manifest["groups"]
        return groups

    def table(self, by_task: bool = True) -> str:
        """The table that `harness eval` prints; with `by_task` a row for every task and not only for groups."""
        return format_table([self.summary], [self.groups], by_task)

    def __str__(self) -> str:
        """The table, what its columns mean, and how episodes ended that ended badly."""
        told = (*warn_unread_calls(self.results), *describe_failures(self.results))
        said = [*told, *describe_learnt(self.manifest, len(self.results)), *self.remarks]
        return "\n".join([self.table(), "", format_legend([self.summary]), *said])


def read_run(path: Path | str) -> Run:
    """A finished run. Raises UsageError where there is none, or where episodes are missing."""
    directory = RunDirectory.open(Path(path))
    results = directory.read_results()
    return finished_run(directory, results, summarise_results(directory.manifest, results))


def finished_run(directory: RunDirectory, results: Sequence[EpisodeResult], summary: Summary) -> Run:
    """What was read or played, as a run. Raises UsageError where episodes are missing."""
    if len(results) < directory.planned_episodes:
        raise UsageError(
            f"{directory.path} is not complete: {len(results):,} of its {directory.planned_episodes:,} episodes are "
            "there; go on with it by `resume`."
        )
    return name_run(directory, results, summary)


def name_run(
    directory: RunDirectory, results: Sequence[EpisodeResult], summary: Summary, remarks: Sequence[str] = ()
) -> Run:
    """What was read of a directory, by the names that keep versions of a task apart (harness.evaluation.versions)."""
    manifest = directory.manifest
    names = name_tasks(manifest)
    shown = name_results(results, names), name_summary(summary, manifest, names)
    return Run(directory, name_manifest(manifest, names), *shown, remarks)
