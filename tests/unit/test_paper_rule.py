"""The paper's rule, with the faults that make it the paper's."""

import json
from typing import Any

import pytest

from harness.scoring.paper import contains, solves
from harness.types import CallRecord, CallStatus, ToolCall


def call(
    output: str, arguments: dict[str, Any] | None = None, name: str = "f", status: CallStatus = "ok"
) -> CallRecord:
    return CallRecord(0, ToolCall("id", name, arguments or {}, json.dumps(arguments)), status, output)


@pytest.mark.parametrize(
    ("output", "answer", "expected"),
    [
        ("Rome", "rome", True),
        ("  ROME  ", " Rome ", True),
        ("70000000", "70,000,000", True),
        ("70,000,000", "70000000", True),
        ("70000000.00", "70,000,000", True),
        ('["China", "India", "Brazil"]', "Brazil, China", True),
        ('["China", "India"]', "Brazil, China", False),
        ("12 casualties", "2", True),
        ("opened in 2017", "1", True),
        ("2007-05-01", "1 May 2007", False),
        ("May 1 2007", "May 1, 2007", True),
        ("2007 in May 1", "May 1, 2007", True),  # a date is split at its comma
        ("anything", "", True),
        ("", "", True),
        ("Rome", "Rome, ", True),
        ("Dürer", "Durer", False),
    ],
)
def test_contains(output: str, answer: str, expected: bool) -> None:
    assert contains(output, answer) is expected


def test_a_call_solves_at_most_one_open_sub_answer_the_first_in_list_order() -> None:
    calls = [call("Rome and Paris"), call("Rome and Paris"), call("Rome and Paris")]
    assert solves(calls, {"f": ["Paris", "Rome"]}) == (0, 1, None)


def test_it_is_greedy() -> None:
    assert solves([call("Rome and Paris"), call("Rome")], {"f": ["Rome", "Paris"]}) == (0, None)


def test_it_reads_error_texts_and_repeats() -> None:
    echo = "an error occured when call f: f() got an unexpected keyword argument 'Rome'"
    assert solves([call(echo, {"Rome": 1}, status="raised")], {"f": ["Rome"]}) == (0,)
    assert solves([call('{"error": "no Rome"}'), call("Error: Rome")], {"f": ["Rome", "Rome"]}) == (0, 1)


def test_it_accepts_echoed_arguments() -> None:
    assert solves([call("nothing about Rome", {"q": "Rome"})], {"f": ["Rome"]}) == (0,)


def test_malformed_calls_solve_nothing_and_take_nothing() -> None:
    calls = [call("Rome", status="malformed"), call("Rome")]
    assert solves(calls, {"f": ["Rome"]}) == (None, 0)


def test_a_tool_solves_only_its_own_sub_answers() -> None:
    assert solves([call("Rome", name="g"), call("Rome", name="h")], {"f": ["Rome"], "h": ["Rome"]}) == (None, 0)


def test_sub_answers_stay_as_they_were() -> None:
    wanted = {"f": ["Rome", "Rome"]}
    assert solves([call("Rome"), call("Rome"), call("Rome")], wanted) == (0, 1, None)
    assert wanted == {"f": ["Rome", "Rome"]}
