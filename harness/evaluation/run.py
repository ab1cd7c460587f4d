"""A run that was played, read back: what the public functions return, and what `print` shows of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.console.tables import describe_failures, format_legend, format_reasoning, format_table
from harness.data.schema import Manifest, Record, Summary
from harness.errors import UsageError
from harness.evaluation.versions import name_manifest, name_records, name_summary
from harness.runs.directory import RunDirectory
from harness.runs.summary import summarise_run


@dataclass(frozen=True, slots=True)
class Run:
    """A run as results show it: `summary` was made from `records`; `remarks` are sentences about what could not be
    taken as it was. docs/runs.md has the fields of all three files. `print(run)` shows its table."""

    path: Path
    manifest: Manifest
    records: Sequence[Record]
    summary: Summary
    remarks: Sequence[str] = ()

    @property
    def label(self) -> str:
        """The model and, where it was asked for one, its reasoning mode."""
        shown = format_reasoning(self.summary)
        return str(self.summary["model"]) + ("" if shown == "default" else f" ({shown})")

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
        return "\n".join(
            [self.table(), "", format_legend([self.summary]), *describe_failures(self.records), *self.remarks]
        )


def read_run(path: Path | str) -> Run:
    """A finished run. Raises UsageError where there is none, or where episodes are missing."""
    directory = RunDirectory.open(Path(path))
    records = directory.read_records()
    if len(records) < directory.planned_episodes:
        raise UsageError(
            f"{path} is not complete: {len(records):,} of its {directory.planned_episodes:,} episodes are there; go on "
            "with it by `resume`."
        )
    return name_run(directory, records, summarise_run(directory.manifest, records))


def name_run(directory: RunDirectory, records: Sequence[Record], summary: Summary, remarks: Sequence[str] = ()) -> Run:
    """What was read of a directory, by the names that keep versions of a task apart (harness.evaluation.versions)."""
    manifest = directory.manifest
    return Run(
        directory.path,
        name_manifest(manifest),
        name_records(records, manifest),
        name_summary(summary, manifest),
        remarks,
    )
