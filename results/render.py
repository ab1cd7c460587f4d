"""A table in any format: for the terminal, markdown, LaTeX (booktabs), CSV, JSON, HTML.

A Table knows what is best and what rose; each format says it in its own way. Every text may come from outside (model
names, sample ids), so each format escapes all of them. A missing value is a dash, nothing in CSV and null in JSON.
"""

from __future__ import annotations

import csv
import html
import io
import json
import re
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal

from tabulate import SEPARATING_LINE, tabulate

from harness.console.tables import DASH, LENIENTLY
from harness.console.text import printable


@dataclass(frozen=True, slots=True)
class TableCell:
    """`text` for people, `value` for JSON; `mark` is its place in the column, `trend` its side of the base model.
    CSV has `exact`, or `value` where that is all there is, and the `interval` that the text has too."""

    text: str = DASH
    value: Any = None
    mark: Literal["", "best", "second"] = ""
    trend: Literal["", "up", "down"] = ""
    exact: float | None = None
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class TableColumn:
    """`over` is a heading that neighbouring columns share; `left`: a column of texts; `ends`: its cells are intervals,
    whose ends have these names in CSV."""

    heading: str
    over: str = ""
    left: bool = False
    ends: tuple[str, str] | None = None

    @property
    def name(self) -> str:
        return f"{self.over} {self.heading}".strip()


@dataclass(frozen=True, slots=True)
class TableRow:
    """Cells, as many as there are columns; a rule is drawn where `block` changes."""

    cells: Sequence[TableCell]
    block: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """A table and the sentences below it."""

    columns: Sequence[TableColumn]
    rows: Sequence[TableRow]
    notes: Sequence[str] = ()


def text_cell(value: object) -> TableCell:
    """A cell of a text, as it is in JSON too."""
    return TableCell(str(value), str(value))


def number_cell(value: float | None, form: str = ".3f") -> TableCell:
    """A cell of a number in this format, whole in JSON; None is missing."""
    return TableCell() if value is None else TableCell(format(value, form), value)


def _one_line(said: str) -> str:
    return " ".join(printable(said).split())


# --- terminal and markdown ---------------------------------------------------------------------------------------

_TRENDS = {"": "", "up": "↑", "down": "↓"}
_MARKS = {"": "", "best": "**", "second": "*"}
WIDTH = 118
MARKED = "** best of its column, * second; ↑ ↓ above and below its base model."


def simple(grid: Table) -> str:
    """For a terminal: stars in front of the best of a column and the second, so that digits stay in line."""
    body: list[Any] = []
    for index, row in enumerate(grid.rows):
        if index and row.block != grid.rows[index - 1].block:
            body.append(SEPARATING_LINE)
        body.append([_TRENDS[cell.trend] + _MARKS[cell.mark] + _one_line(cell.text) for cell in row.cells])
    marked = [MARKED] if any(cell.mark or cell.trend for row in grid.rows for cell in row.cells) else []
    notes = [_wrapped(note) for note in (*marked, *grid.notes)]
    return _tabulated(grid, body, "simple") + ("\n\n" + "\n".join(notes) if notes else "")


def _wrapped(note: str) -> str:
    """A sentence in lines for a terminal, under its own indentation."""
    indent = " " * (len(note) - len(note.lstrip(" ")))
    lines = textwrap.TextWrapper(WIDTH, indent, indent, break_long_words=False, break_on_hyphens=False)
    return lines.fill(_one_line(note))


def markdown(grid: Table) -> str:
    """Best in bold, second underlined."""
    marks = {"": "{}", "best": "**{}**", "second": "<u>{}</u>"}
    body = [
        [marks[cell.mark].format(_markdown_text(cell.text)) + _TRENDS[cell.trend] for cell in row.cells]
        for row in grid.rows
    ]
    notes = [_markdown_text(note) for note in grid.notes]
    return _tabulated(grid, body, "github") + "".join(f"\n\n{note}" for note in notes)


def _tabulated(grid: Table, body: list[Any], style: str) -> str:
    return tabulate(
        body,
        headers=[column.name for column in grid.columns],
        tablefmt=style,
        disable_numparse=True,
        colalign=["left" if column.left else "right" for column in grid.columns] if body else None,
    )


def _markdown_text(said: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>|~&])", r"\\\1", _one_line(said))


# --- LaTeX -------------------------------------------------------------------------------------------------------

_LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # after \\ a bracket would be its argument, and so would a star
    "]": "{]}",
    "*": "{*}",
    "`": r"\textasciigrave{}",
    "'": r"\textquotesingle{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
}
_LATEX_MARKS = {"": "{}", "best": r"\textbf{{{}}}", "second": r"\underline{{{}}}"}
_LATEX_TRENDS = {"": "", "up": r"\rlap{$\uparrow$}", "down": r"\rlap{$\downarrow$}"}  # so that digits stay in line


def latex(grid: Table) -> str:
    """A tabular with booktabs' rules; the sentences follow as comments."""
    lines = [rf"\begin{{tabular}}{{{''.join('l' if column.left else 'r' for column in grid.columns)}}}", r"\toprule"]
    if any(column.over for column in grid.columns):
        lines += _latex_over(grid.columns)
    lines += [_latex_row([_latex_text(column.heading) for column in grid.columns]), r"\midrule"]
    for index, row in enumerate(grid.rows):
        if index and row.block != grid.rows[index - 1].block:
            lines.append(r"\midrule")
        lines.append(_latex_row([_latex_cell(cell) for cell in row.cells]))
    lines += [r"\bottomrule", r"\end{tabular}", r"% needs \usepackage{booktabs,textcomp}"]
    return "\n".join([*lines, *(f"% {_one_line(note)}" for note in grid.notes)])


def _latex_over(columns: Sequence[TableColumn]) -> list[str]:
    """The row of shared headings, and the rules under them."""
    cells, rules, first = [], [], 1
    for over, members in groupby(columns, key=lambda column: column.over):
        width = len(list(members))
        cells.append(rf"\multicolumn{{{width}}}{{c}}{{{_latex_text(over)}}}")
        if over:
            rules.append(rf"\cmidrule(lr){{{first}-{first + width - 1}}}")
        first += width
    return [_latex_row(cells), " ".join(rules)]


def _latex_row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + r" \\"


def _latex_cell(cell: TableCell) -> str:
    said = "--" if cell.text == DASH else _latex_text(cell.text)
    return _LATEX_MARKS[cell.mark].format(said) + _LATEX_TRENDS[cell.trend]


def _latex_text(said: str) -> str:
    said = _one_line(said)
    if re.fullmatch(r"[+-][0-9.]+|\[[+-][0-9.]+, [+-][0-9.]+\]", said):
        return f"${said}$"  # a minus, not a hyphen
    escaped = "".join(_LATEX.get(character, character) for character in said)
    return escaped.replace("--", "-{}-").replace("--", "-{}-")  # two in a row would become a dash


# --- HTML --------------------------------------------------------------------------------------------------------

_HTML_MARKS = {"": "{}", "best": "<strong>{}</strong>", "second": "<u>{}</u>"}


def as_html(grid: Table) -> str:
    """A table element, a body for every block, and a paragraph for every sentence; no styles, no scripts."""
    lines = ["<table>", "<thead>"]
    if any(column.over for column in grid.columns):
        over = [(name, len(list(members))) for name, members in groupby(grid.columns, key=lambda column: column.over)]
        cells = [f'<th colspan="{width}" scope="colgroup">{_html_text(name)}</th>' for name, width in over]
        lines.append(f"<tr>{''.join(cells)}</tr>")
    headings = "".join(f'<th scope="col">{_html_text(column.heading)}</th>' for column in grid.columns)
    lines += [f"<tr>{headings}</tr>", "</thead>"]
    for _, rows in groupby(grid.rows, key=lambda row: row.block):
        lines += ["<tbody>", *(_html_row(row, grid.columns) for row in rows), "</tbody>"]
    return "\n".join([*lines, "</table>", *(f"<p>{_html_text(note)}</p>" for note in grid.notes)])


def _html_row(row: TableRow, columns: Sequence[TableColumn]) -> str:
    cells = []
    for cell, column in zip(row.cells, columns, strict=True):
        said = _HTML_MARKS[cell.mark].format(_html_text(cell.text)) + _TRENDS[cell.trend]
        cells.append(f"<td>{said}</td>" if column.left else f'<td align="right">{said}</td>')
    return f"<tr>{''.join(cells)}</tr>"


def _html_text(said: str) -> str:
    return html.escape(_one_line(said))


# --- for machines ------------------------------------------------------------------------------------------------


def as_csv(grid: Table) -> str:
    """Texts without marks, and numbers whole; the ends of an interval are columns of their own, and so is what was
    judged leniently; no value is an empty cell. What a spreadsheet would take for a formula gets an apostrophe."""
    columns: list[list[str]] = []
    for place, column in enumerate(grid.columns):
        columns += _csv_columns(column, [row.cells[place] for row in grid.rows])
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows(zip(*columns, strict=True))
    return file.getvalue().rstrip("\n")


def _csv_columns(column: TableColumn, cells: Sequence[TableCell]) -> list[list[str]]:
    """What one column is in CSV, each with its heading first."""
    name = _csv_text(column.name)
    if column.left:
        return [[name, *(_csv_text(cell.text) for cell in cells)]]
    if column.ends:
        return [[_csv_text(end), *(_csv_end(cell.value, i) for cell in cells)] for i, end in enumerate(column.ends)]
    lenient = [cell.text.startswith(LENIENTLY) for cell in cells]
    found = [[name, *("" if loose else _csv_value(cell) for cell, loose in zip(cells, lenient, strict=True))]]
    if any(cell.interval for cell in cells):
        ends = ("low", "high")
        found += [[f"{name} {end}", *(_csv_end(cell.interval, i) for cell in cells)] for i, end in enumerate(ends)]
    if any(lenient):
        values = (_csv_value(cell) if loose else "" for cell, loose in zip(cells, lenient, strict=True))
        found.append([f"{name} (lenient)", *values])
    return found


def _csv_value(cell: TableCell) -> str:
    value = cell.value if cell.exact is None else cell.exact
    return "" if value is None else _csv_text(str(value))


def _csv_end(interval: Sequence[float] | None, end: int) -> str:
    return "" if interval is None else str(interval[end])


def _csv_text(said: str) -> str:
    said = _one_line(said)
    formula = said[:1] in ("=", "+", "-", "@") and said != DASH and not re.fullmatch(r"[+-][0-9.]+(e[+-]\d+)?", said)
    return f"'{said}" if formula else said


def as_json(grid: Table) -> str:
    """Columns and rows of values; `marks` and `trends` by column where there are any."""
    names = [column.name for column in grid.columns]
    rows: list[dict[str, Any]] = []
    for row in grid.rows:
        named = dict(zip(names, row.cells, strict=True))
        rows.append(
            {
                "block": row.block,
                "values": {name: cell.value for name, cell in named.items()},
                "marks": {name: cell.mark for name, cell in named.items() if cell.mark},
                "trends": {name: cell.trend for name, cell in named.items() if cell.trend},
            }
        )
    return dump_json({"columns": names, "rows": rows, "notes": list(grid.notes)})


def dump_json(value: Any) -> str:
    """JSON for people and machines; control characters are escaped by JSON itself."""
    return json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False)


TABLE_FORMATS: dict[str, Callable[[Table], str]] = {
    "simple": simple,
    "markdown": markdown,
    "latex": latex,
    "csv": as_csv,
    "json": as_json,
    "html": as_html,
}
