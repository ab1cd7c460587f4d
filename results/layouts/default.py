"""The table of `harness eval`: a row for every group and model, or for every task."""

from __future__ import annotations

from collections.abc import Sequence

from harness.console.tables import DASH, format_legend, format_reasoning, table_rows, verifier_marks
from results.render import Table, TableCell, TableColumn, TableRow, dump_json
from results.runs import Run

TEXTS = ("model", "reasoning", "tasks")


def default_table(runs: Sequence[Run], by_task: bool) -> Table:
    """The cells of harness.console.tables.table_rows."""
    marks = verifier_marks([run.summary for run in runs])
    found = [
        row for run, mark in zip(runs, marks, strict=True) for row in table_rows(run.summary, run.groups, by_task, mark)
    ]
    plain = all(row["reasoning"] == "default" for row in found)
    headings = [
        name for name in dict.fromkeys(name for row in found for name in row) if not (plain and name == "reasoning")
    ]
    place = {row["tasks"]: index for index, row in reversed(list(enumerate(found)))}
    found.sort(key=lambda row: place[row["tasks"]])
    return Table(
        [TableColumn(name, left=name in TEXTS) for name in headings],
        [TableRow([TableCell(row.get(name, DASH)) for name in headings]) for row in found],
        [format_legend([run.summary for run in runs]).replace("\n", " ")],
    )


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
