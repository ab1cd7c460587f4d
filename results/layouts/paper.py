"""The columns and blocks of the paper's Table 2, with its published rows beside one's own on request.

Percentages. Avg is the plain mean of the eight columns before it: so it is formed in all 27 published rows (their
digits agree with no other weighting tried), and so it is formed here from unrounded values; a dash where a part is
missing. Best and second are found among the values as they are shown, published ones included.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

from harness.console.tables import (
    UNHEEDED_NOTE,
    count_failed,
    failed_mark,
    headline_floors,
    verifier_marks,
    verifier_note,
)
from harness.data.schema import SummaryEntry
from harness.errors import UsageError
from harness.metrics import RULES
from harness.registry import suggest_names
from harness.runs.summary import heeded_reasoning
from harness.stats import mean
from results.layouts import ENVIRONMENT_GROUPS
from results.layouts.scenario import family_glob, metric_value
from results.render import Table, TableCell, TableColumn, TableRow, text_cell
from results.runs import Run

COLUMNS = (
    ("Solve-P", "", "", "solve_precision"),
    ("Solve-R", "", "", "solve_rate"),
    ("Solve-F1", "", "", "solve_f1"),
    ("AC", "ToolHop", "toolhop", "answer_accuracy"),
    ("pass^1", "tau-bench", "taubench", "success"),
    ("TS", "RoTBench", "rotbench", "ts"),
    ("PI", "RoTBench", "rotbench", "pi"),
    ("CF", "RoTBench", "rotbench", "cf"),
)
"""Heading, heading above it, group (empty: the environments'), metric."""


@dataclass(frozen=True, slots=True)
class PaperOptions:
    """What the command line says of the layout: `bases` are runs, folders of runs or models. From Python also which of
    the published rows are shown (none named: all), and what a model is called in the table."""

    rule: str = "paper"
    environments: str | None = None
    bases: Sequence[str] = ()
    published: bool = False
    rows: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Line:
    """A row before it is text: percentages, None where nothing was played, the average last. `mark` is shown behind the
    label and no part of it. `ranked`: the values that may be best or second, which none with failed episodes is."""

    label: str
    values: Sequence[float | None]
    ranked: Sequence[float | None]
    runs: Sequence[Run] = ()
    mark: str = ""

    @property
    def model(self) -> str:
        return str(self.runs[0].summary["model"])

    @property
    def reasoning(self) -> str:
        """The mode that was asked for."""
        return str(self.runs[0].summary["reasoning"])


@dataclass(frozen=True, slots=True)
class Block:
    """Rows that belong together; with `based`, the first is the base model of the others."""

    lines: Sequence[Line]
    based: bool


def paper_table(runs: Sequence[Run], choice: PaperOptions) -> Table:
    """Raises UsageError for a base that is none of the runs."""
    environments = _environments(runs, choice)
    rows = _by_model(runs)
    marks = verifier_marks([row[0].summary for row in rows])
    lines = [_line(row, environments, choice, mark) for row, mark in zip(rows, marks, strict=True)]
    blocks = _blocks(_distinct(lines), choice.bases) + (published(choice.rows) if choice.published else [])
    columns = [
        TableColumn("model", left=True),
        *(TableColumn(heading, over) for heading, over, *_ in COLUMNS),
        TableColumn("Avg"),
    ]
    unheeded = any(heeded_reasoning(run.summary) is False for run in runs)
    notes = [
        *_notes(environments, choice),
        *([UNHEEDED_NOTE] if unheeded else []),
        *_floors(runs),
        *verifier_note([run.summary for run in runs]),
    ]
    return Table(columns, _rows(blocks), notes)


def _environments(runs: Sequence[Run], choice: PaperOptions) -> str:
    """The group of the Solve columns. An earlier version, GROUP@N, is taken where no run has the current one."""
    wanted = [choice.environments] if choice.environments else ENVIRONMENT_GROUPS
    groups = sorted({group for run in runs for group in run.groups})
    return next((group for e in wanted for group in groups if group.partition("@")[0] == e), wanted[0])


def published(only: Sequence[str] = ()) -> list[Block]:
    """The rows of method.md's Table 2, or some of them, each marked as published."""
    table = tomllib.loads((files("results.layouts") / "table2.toml").read_text("utf-8"))
    blocks = [
        Block(
            [
                Line(f"{row['model']} (published)", *([row["values"]] * 2))
                for row in block["rows"]
                if not only or row["model"] in only
            ],
            block["base"],
        )
        for block in table["blocks"]
    ]
    return [block for block in blocks if block.lines]


def _notes(environments: str, choice: PaperOptions) -> list[str]:
    shown = family_glob(environments)
    notes = [
        f"Percentages by the {choice.rule} rule; Solve columns: {shown} environments, mean over scenarios; "
        "Avg: mean of the eight columns before it; -: not played, or not whole."
    ]
    if choice.published:
        notes.append("(published): figures of the paper's Table 2 (arXiv 2508.08791), not measured here.")
        if environments != "paper":
            notes.append(f"The published Solve columns are of paper_* environments, not of {shown}.")
    return notes


def _floors(runs: Sequence[Run]) -> list[str]:
    """What doing nothing reaches in the columns of groups; tasks have none here."""
    found = headline_floors([run.summary for run in runs])
    said = [f"{over} {100 * found[group]:.2f}" for _, over, group, _ in COLUMNS if group in found]
    return [f"Floor, what policy/silent reaches: {', '.join(said)}."] if said else []


# --- rows --------------------------------------------------------------------------------------------------------


def _by_model(runs: Sequence[Run]) -> list[list[Run]]:
    """Runs of one model in one mode that played different tasks are one row."""
    found: dict[tuple[Any, ...], list[list[Run]]] = {}
    order: list[list[Run]] = []
    for run in runs:
        identity = run.manifest["identity"]
        key = (identity["model"], identity.get("model_fingerprint"), run.label, identity["verifier"])
        rows = found.setdefault(key, [])
        row = next((row for row in rows if not _tasks(row) & _tasks([run])), None)
        if row is None:
            row = []
            rows.append(row)
            order.append(row)
        row.append(run)
    return order


def _tasks(runs: Sequence[Run]) -> set[str]:
    return {task for run in runs for task in run.summary["tasks"]}


def _line(runs: Sequence[Run], environments: str, choice: PaperOptions, mark: str) -> Line:
    groups = {name: entry for run in runs for name, entry in run.summary["groups"].items()}
    entries = [groups.get(group or environments) for _, _, group, _ in COLUMNS]
    values = [_percent(entry, metric, choice.rule) for entry, (*_, metric) in zip(entries, COLUMNS, strict=True)]
    sound = [None if entry is None or count_failed(entry) else v for entry, v in zip(entries, values, strict=True)]
    failed = failed_mark(
        groups[name] for name in dict.fromkeys(group or environments for *_, group, _ in COLUMNS) if name in groups
    )
    label = choice.labels.get(runs[0].summary["model"], runs[0].label)
    return Line(label, [*values, _average(values)], [*sound, _average(sound)], runs, mark + failed)


def _average(values: Sequence[float | None]) -> float | None:
    """The plain mean of the columns, where none is missing."""
    whole = [value for value in values if value is not None]
    return mean(whole) if len(whole) == len(values) else None


def _percent(entry: SummaryEntry | None, metric: str, rule: str) -> float | None:
    value = metric_value(entry, RULES[rule] + metric)
    return None if value is None else 100 * value


def _distinct(lines: Sequence[Line]) -> list[Line]:
    """Rows of one name say which run they are."""
    labels = [line.label for line in lines]
    return [
        replace(line, label=f"{line.label} in {line.runs[0].path}") if labels.count(line.label) > 1 else line
        for line in lines
    ]


# --- blocks ------------------------------------------------------------------------------------------------------


def _blocks(lines: Sequence[Line], bases: Sequence[str]) -> list[Block]:
    """Without bases runs of one model beside each other are a block. With them a base begins a block, and a row belongs
    to the last base before it in its own reasoning mode; rows that have none follow in a block of their own."""
    marked = _marked(lines, bases)
    if not bases:
        return [Block(list(some), based=False) for _, some in groupby(lines, key=lambda line: line.model)]
    blocks: list[list[Line]] = []
    current: dict[str, list[Line]] = {}
    alone: list[Line] = []
    for index, line in enumerate(lines):
        if index in marked:
            current[line.reasoning] = [line]
            blocks.append(current[line.reasoning])
        else:
            current.get(line.reasoning, alone).append(line)
    return [Block(block, based=True) for block in blocks] + ([Block(alone, based=False)] if alone else [])


def _marked(lines: Sequence[Line], bases: Sequence[str]) -> set[int]:
    """The places of the base models."""
    marked: set[int] = set()
    for base in bases:
        found = {index for index, line in enumerate(lines) if _means(base, line)}
        if not found:
            known = [name for line in lines for name in (line.label, *(str(run.path) for run in line.runs))]
            raise UsageError(f"--base {base} is none of these runs, nor the model of one.{suggest_names(base, known)}")
        marked |= found
    return marked


def _means(base: str, line: Line) -> bool:
    """Whether a base names this row: its model, its label, its run, or a folder that holds it."""
    names = {line.label, line.model}
    folder = Path(base).resolve()
    return base in names or any(folder in (path := run.path.resolve(), *path.parents) for run in line.runs)


# --- cells -------------------------------------------------------------------------------------------------------


def _rows(blocks: Sequence[Block]) -> list[TableRow]:
    lines = [line for block in blocks for line in block.lines]
    ranks = [_ranks([line.ranked[column] for line in lines]) for column in range(len(COLUMNS) + 1)]
    return [
        TableRow(
            [text_cell(line.label + line.mark), *_cells(line, block.lines[0] if block.based else line, ranks)], number
        )
        for number, block in enumerate(blocks)
        for line in block.lines
    ]


def _cells(line: Line, base: Line, ranks: Sequence[Sequence[str]]) -> list[TableCell]:
    cells = []
    for value, sound, before, rank in zip(line.values, line.ranked, base.values, ranks, strict=True):
        shown = None if value is None else f"{value:.2f}"
        mark: Literal["", "best", "second"] = ""
        if sound is not None and shown in rank:
            mark = "best" if shown == rank[0] else "second"
        cells.append(
            TableCell() if shown is None else TableCell(shown, float(shown), mark, _trend(value, before), value)
        )
    return cells


def _ranks(values: Sequence[float | None]) -> list[str]:
    """The highest two different values of a column, as they are shown."""
    shown = {f"{value:.2f}" for value in values if value is not None}
    return sorted(shown, key=float, reverse=True)[:2]


def _trend(value: float | None, before: float | None) -> Literal["", "up", "down"]:
    if value is None or before is None or f"{value:.2f}" == f"{before:.2f}":
        return ""
    return "up" if value > before else "down"
