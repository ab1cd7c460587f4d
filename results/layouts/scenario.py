"""The four scenarios side by side: a row for every model and family of environments (paper_*, ftrl_*, micro_*, ...)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from harness.console.tables import failed_mark, verifier_note
from harness.data.schema import Summary, SummaryEntry
from harness.metrics import RULES, shown_by_rule
from results.render import Table, TableCell, TableColumn, TableRow, number_cell, text_cell
from results.runs import Run, mark_runs

SCENARIOS = {
    "single_hop": "single-hop",
    "parallel_single_hop": "parallel single-hop",
    "multi_hop": "multi-hop",
    "parallel_multi_hop": "parallel multi-hop",
}
NOTE = (
    "P, R, F1: precision, recall and F1 of tool use by the {} rule, as fractions; mean: over the four scenarios, where "
    "all of them were played whole; -: no value."
)


def scenario_table(runs: Sequence[Run], rule: str) -> Table:
    """Fractions; the mean over scenarios is the group's."""
    headings = [row.heading for row in shown_by_rule()]
    columns = [TableColumn("model", left=True), TableColumn("tasks", left=True)]
    columns += [TableColumn(metric, over) for over in (*SCENARIOS.values(), "mean") for metric in headings]
    summaries = [run.summary for run in runs]
    rows = [
        TableRow(
            [
                text_cell(run.label + mark + failed_mark(_tasks(run.summary, family))),
                text_cell(family_glob(family)),
                *_cells(run.summary, family, RULES[rule]),
            ]
        )
        for run, mark in zip(runs, mark_runs(runs), strict=True)
        for family in _families(run.summary["tasks"])
    ]
    return Table(columns, rows, [NOTE.format(rule), *verifier_note(summaries)])


def _families(tasks: Iterable[str]) -> list[str]:
    """The families of which the tasks hold a scenario, in order."""
    return [family for family in dict.fromkeys(map(_family, tasks)) if family]


def _family(task: str) -> str | None:
    """`micro` of `micro_parallel_single_hop`, `micro@1` of its version 1; None for what is no scenario of a family."""
    name, at, version = task.partition("@")
    kind = max((kind for kind in SCENARIOS if name.endswith(f"_{kind}")), key=len, default=None)
    return None if kind is None else name.removesuffix(f"_{kind}") + at + version


def family_glob(family: str, scenario: str = "*") -> str:
    """The names of a family's tasks, or that of one scenario: `micro_*`, `micro_*@1`."""
    name, at, version = family.partition("@")
    return f"{name}_{scenario}{at}{version}"


def _tasks(summary: Summary, family: str) -> list[SummaryEntry | None]:
    """The family's four scenarios, None for one that was not played."""
    return [summary["tasks"].get(family_glob(family, kind)) for kind in SCENARIOS]


def _cells(summary: Summary, family: str, prefix: str) -> list[TableCell]:
    entries = [*_tasks(summary, family), summary["groups"].get(family)]
    return [number_cell(metric_value(entry, prefix + row.name)) for entry in entries for row in shown_by_rule()]


def metric_value(entry: SummaryEntry | None, metric: str) -> float | None:
    """The value of a metric of a summary's task or group; None where there is none."""
    found = None if entry is None else entry["metrics"].get(metric)
    return None if found is None else found["value"]
