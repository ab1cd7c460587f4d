"""No text of others becomes markup, in any format; no value is lost or made up on the way."""

import csv
import io
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.console.text import printable
from results.render import TABLE_FORMATS, Table, TableCell, TableColumn, TableRow, number_cell, text_cell

anything = st.text(st.characters(codec="utf-8"), max_size=30)
nasty = st.text(st.sampled_from("\\{}$&#%_~^<>|[]*`'\"!-=+@\n\r\t\x1b /abc1;\u202e"), max_size=20)
texts = anything | nasty


def shown(said):
    """A text as a cell shows it."""
    return " ".join(printable(said).split())


def grid(names, notes=()):
    return Table(
        [TableColumn("model", left=True), TableColumn("value")],
        [TableRow([text_cell(n), number_cell(0.5)]) for n in names],
        notes,
    )


class Reader(HTMLParser):
    """Cells and tags of a page."""

    def __init__(self):
        super().__init__()
        self.tags, self.cells = set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data):
        if self.cells:
            self.cells[-1] += data


@given(st.lists(texts, max_size=4), texts)
def test_html_says_the_same_and_has_no_tag_of_theirs(names, note):
    reader = Reader()
    page = TABLE_FORMATS["html"](grid(names, [note]))
    reader.feed(page.partition("</table>")[0])
    assert [cell.strip("\n") for cell in reader.cells[::2]] == [shown(name) for name in names]
    reader.feed("</table>" + page.partition("</table>")[2])
    assert reader.tags <= {"table", "thead", "tbody", "tr", "th", "td", "p"}


def unescaped(latex):
    """What LaTeX would read as its own once our escapes are taken away."""
    latex = re.sub(r"\\text[a-z]+\{\}|\\[{}$&#%_]|\{[\[\]*]\}|-\{\}(?=-)", "", latex)
    latex = re.sub(r"\$[+-][0-9.]+\$|\$\[[+-][0-9.]+, [+-][0-9.]+\]\$|\$\\(up|down)arrow\$", "", latex)
    return set(latex) & set("\\{}$&#%_~^[]*")


@given(st.lists(texts, min_size=1, max_size=4), texts)
def test_latex_holds_no_command_of_theirs(names, note):
    lines = TABLE_FORMATS["latex"](grid(names, [note])).split("\n")
    body = lines[lines.index(r"\midrule") + 1 : lines.index(r"\bottomrule")]
    assert len(body) == len(names)
    for line in body:
        cell, _, value = line.rpartition(" & ")
        assert value == r"0.500 \\"
        assert not unescaped(cell)
    assert all(line.startswith("%") for line in lines[lines.index(r"\end{tabular}") + 1 :])


@given(st.lists(texts, max_size=4))
def test_csv_is_read_back_and_is_no_formula(names):
    rows = list(csv.reader(io.StringIO(TABLE_FORMATS["csv"](grid(names)))))[1:]
    assert [row[1] for row in rows] == ["0.5"] * len(names)
    for row, name in zip(rows, names, strict=True):
        assert row[0].removeprefix("'") == shown(name).removeprefix("'")
        assert row[0][:1] not in ("=", "+", "-", "@") or re.fullmatch(r"-|[+-][0-9.]+", row[0])


@given(st.lists(texts, max_size=4), texts)
def test_json_keeps_texts_and_numbers_whole(names, note):
    found = json.loads(TABLE_FORMATS["json"](grid(names, [note])))
    assert [row["values"] for row in found["rows"]] == [{"model": name, "value": 0.5} for name in names]
    assert found["notes"] == [note]


@given(st.lists(texts, min_size=1, max_size=4))
def test_markdown_has_as_many_cells_as_it_should(names):
    for line in TABLE_FORMATS["markdown"](grid(names)).split("\n")[2:]:
        assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", line)) == 3
        assert not re.search(r"(?<!\\)(?:\\\\)*[<`*]", line)


@given(st.lists(texts, max_size=4), texts)
def test_a_terminal_gets_no_control_characters(names, note):
    assert "\x1b" not in TABLE_FORMATS["simple"](grid(names, [note]))


@pytest.mark.parametrize("form", sorted(set(TABLE_FORMATS) - {"json", "csv"}))
def test_a_missing_value_is_a_dash_and_never_zero(form):
    missing = Table(
        [TableColumn("model", left=True), TableColumn("value")], [TableRow([text_cell("m"), number_cell(None)])]
    )
    printed = TABLE_FORMATS[form](missing)
    assert re.search(r"-", printed.split("m", 1)[1])
    assert "0.0" not in printed and "None" not in printed
    assert json.loads(TABLE_FORMATS["json"](missing))["rows"][0]["values"]["value"] is None


@given(
    st.lists(
        st.tuples(st.floats(-1, 1), st.none() | st.tuples(st.floats(-1, 1), st.floats(-1, 1))) | st.none(), min_size=1
    )
)
def test_csv_has_numbers_whole_and_intervals_in_columns(figures):
    cells = [TableCell() if f is None else TableCell(f"{f[0]:.3f} [..]", f[0], interval=f[1]) for f in figures]
    table = Table([TableColumn("m", left=True), TableColumn("F1")], [TableRow([text_cell("x"), c]) for c in cells])
    for row, figure in zip(csv.DictReader(io.StringIO(TABLE_FORMATS["csv"](table))), figures, strict=True):
        value, interval = figure or (None, None)
        assert row["F1"] == ("" if value is None else str(value))
        ends = ("", "") if interval is None else tuple(map(str, interval))
        assert (row.get("F1 low", ""), row.get("F1 high", "")) == ends


def test_csv_keeps_what_was_judged_leniently_apart():
    cells = [TableCell("0.250", 0.25), TableCell("~0.500", 0.5), TableCell()]
    said = TABLE_FORMATS["csv"](Table([TableColumn("answer")], [TableRow([cell]) for cell in cells]))
    assert said.split("\n") == ["answer,answer (lenient)", "0.25,", ",0.5", ","]


@pytest.mark.parametrize(
    ("form", "best", "second"),
    [
        ("simple", "↑**2.00", "*1.00"),
        ("markdown", "**2.00**↑", "<u>1.00</u>"),
        ("latex", r"\textbf{2.00}\rlap{$\uparrow$}", r"\underline{1.00}"),
        ("html", "<strong>2.00</strong>↑", "<u>1.00</u>"),
        ("csv", "\n2.0\n", "\n1.0"),
    ],
)
def test_each_format_has_its_marks(form, best, second):
    cells = [TableCell("2.00", 2.0, "best", "up"), TableCell("1.00", 1.0, "second"), TableCell("0.50", 0.5)]
    printed = TABLE_FORMATS[form](Table([TableColumn("v")], [TableRow([cell]) for cell in cells]))
    assert best in printed and second in printed and "*0.50" not in printed
