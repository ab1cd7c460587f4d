"""The table of `harness eval`: a row for every group and model, or for every task."""

from __future__ import annotations

from collections.abc import Sequence

from harness.console.tables import (
    Shown,
    figure_rows,
    format_legend,
    format_reasoning,
    order_headings,
    table_rows,
    verifier_marks,
)
from results.render import Table, TableCell, TableColumn, TableRow, dump_json
from results.runs import Run, mark_runs

TEXTS = ("model", "reasoning", "tasks")


def default_table(runs: Sequence[Run], by_task: bool) -> Table:
    """The cells of harness.console.tables.figure_rows."""
    found = [
        row
        for run, mark in zip(runs, mark_runs(runs), strict=True)
        for row in figure_rows(run.summary, run.groups, by_task, mark)
    ]
    plain = all(row["reasoning"].text == "default" for row in found)
    headings = [name for name in order_headings(found) if not (plain and name == "reasoning")]
    place = {row["tasks"].text: index for index, row in reversed(list(enumerate(found)))}
    found.sort(key=lambda row: place[row["tasks"].text])
    return Table(
        [TableColumn(name, left=name in TEXTS) for name in headings],
        [TableRow([_cell(row.get(name, Shown()), name in TEXTS) for name in headings]) for row in found],
        [format_legend([run.summary for run in runs]).replace("\n", " ")],
    )


def _cell(shown: Shown, text: bool) -> TableCell:
    return TableCell(shown.text, shown.text if text else shown.value, interval=shown.interval)


def default_json(runs: Sequence[Run], by_task: bool) -> str:
    """The rows of `default_table` with all that the summaries hold of them: every metric as {value, stderr, ci95, n};
    and the verifier, where not all runs have the same."""
    found = []
    several = any(verifier_marks([run.summary for run in runs]))
    for run in runs:
        entries = {**run.summary["groups"], **run.summary["tasks"]}
        for row in table_rows(run.summary, run.groups, by_task):
            name = row["tasks"].removeprefix("mean of ")
            about: dict[str, object] = {
                "model": run.summary["model"],
                "reasoning": run.summary["reasoning"],
                "tasks": name,
            }
            about |= {"verifier": run.summary["verifier"]} if several else {}
            found.append(
                {**about, "heeded": format_reasoning(run.summary) == run.summary["reasoning"], **entries[name]}
            )
    return dump_json(found)
