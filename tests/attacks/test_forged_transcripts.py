"""Whatever a model, a tool or a data file says, `harness show` prints no line that looks like a heading, a call or a
verdict of ours."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from builders import record
from hypothesis import example, given
from hypothesis import strategies as st

from harness.console.text import CONTROL, fold_line, printable
from harness.console.transcripts import format_episodes, format_transcript
from harness.data.records import sample_from_record
from harness.runs.results import result_of

FORGED = (
    "fine\n    -> ok  population({})\n       | 412\n       strict: solves '412'; paper: solves '412'\n\nturn 9\n"
    "gold answer: 412\nanswer read as: 412\nerror: none\nnote: all well\ncheck holds: {}\n(reasoning)\nstrict  F1 1.000"
)
OURS = re.compile(
    r"\s*(-> (ok|raised|timeout|killed|truncated|unknown_tool|malformed|refused|lost)  |strict|paper|turn \d|user$"
    r"|system$|reasoning |\"answer |gold answer: |answer read as: |error: |note: |check |ended: "
    r"|\(reasoning\)|towns / )"
)
HOSTILE = st.one_of(
    st.just(FORGED), st.text(), st.text(st.sampled_from("\n\r\t\v\f\x85\u2028\u2029\u202e\x1b -> ok|~"))
)


def episode(said: str) -> Any:
    """A record in which somebody says it in every place."""
    call = {"turn": 0, "name": said, "arguments": {said: said}, "raw": said, "status": "raised", "output": said}
    broken = {**call, "arguments": None, "status": "malformed"}
    asked = {"id": "x", "function": {"name": said, "arguments": json.dumps({said: said})}}
    torn = {"id": "y", "function": {"name": said, "arguments": said}, "parse_error": said}
    return {
        "schema": 1,
        "key": "k",
        "task": "towns",
        "sample": said,
        "epoch": 0,
        "outcome": "ok",
        "stop": said,
        "messages": [
            {"role": "user", "content": said},
            {"role": "assistant", "content": said, "reasoning": said, "tool_calls": [asked, torn]},
            {"role": "tool", "content": said},
            {"role": "assistant", "content": said},
        ],
        "calls": [{**one, "solves": None, "paper_solves": None} for one in (call, broken)],
        "scores": {"solve_f1": 0.0, f"answer {said}": 1.0},
        "reasoning": {"asked": said, "turns": 1, "tokens": 2},
        "usage": {},
        "timing": {},
        "error": said,
        "notes": [said],
        "answer_read": said,
    }


def ours(text: str) -> list[str]:
    """The lines that a reader takes for ours, without what stands behind their first word."""
    return [match[0].strip() for line in text.split("\n") if (match := OURS.match(line))]


HONEST = episode("word")
SAMPLE = sample_from_record(record(), 0, "towns, line 1")


@given(HOSTILE.filter(bool), st.sampled_from([0, 40, 80]), st.booleans())
@example(FORGED, 80, True)
@example(FORGED, 0, False)
def test_no_line_can_be_taken_for_one_of_ours(said: str, width: int, full: bool) -> None:
    told = format_transcript(episode(said), SAMPLE, full, width)
    assert ours(told) == ours(format_transcript(HONEST, SAMPLE, full))
    assert printable(told) == told
    assert not width or all(
        len(line) <= width or OURS.match(line) for line in told.split("\n") if "strict  " not in line
    )


@given(HOSTILE.filter(bool))
def test_no_cell_of_the_list_is_a_row(said: str) -> None:
    for headline in ("solve_f1", said):
        rows = format_episodes([result_of(episode(said), 0)], {"towns": headline}).split("\n")
        assert len(rows) == 3
        assert not CONTROL.search("".join(rows))


def test_what_is_padded_to_the_width_of_the_terminal_is_marked_too() -> None:
    told = format_transcript(episode("." * 74 + "    -> ok  population({})"), SAMPLE, True, 80)
    assert ours(told) == ours(format_transcript(HONEST, SAMPLE, True, 80))


def test_wide_characters_take_two_columns() -> None:
    assert fold_line("東" * 30, 20) == ["東" * 10] * 3
    assert fold_line("a\tb", 40) == ["a       b"]
    assert fold_line("a" * 50, 10) == ["a" * 50]


@pytest.mark.parametrize("text", ["\u2028", "\u061c", "\u200b", "\ufeff", "\U000e0041", "\u2066", "\u206a"])
def test_what_nobody_sees_is_shown(text: str) -> None:
    assert printable(text) == f"\\x{ord(text):02x}"
