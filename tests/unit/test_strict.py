"""The strict verifier: the twelve verdicts that define it, then its edges."""

import json
from typing import Any

import pytest

from harness.scoring.leaves import leaf, leaves
from harness.scoring.strict import VERSION, is_empty, is_error, reject_reasons, solves, states
from harness.types import CallRecord, CallStatus, ToolCall


def call(
    output: str, arguments: dict[str, Any] | None = None, name: str = "f", status: CallStatus = "ok"
) -> CallRecord:
    arguments = {"q": "x"} if arguments is None else arguments
    return CallRecord(0, ToolCall("id", name, arguments, json.dumps(arguments)), status, output)


def solved_by(arguments: dict[str, Any], output: str, answer: str) -> bool:
    return solves([call(output, arguments)], {"f": [answer]}) == (0,)


def test_version() -> None:
    assert VERSION == 2


@pytest.mark.parametrize(
    ("arguments", "output", "answer", "expected"),
    [
        ({"q": "x"}, "70,000,000.00 USD", "70,000,000", True),
        ({"q": "x"}, "12 casualties", "2", False),
        ({"q": "x"}, "Built 1 May 2007", "2007-05-01", True),
        ({"q": "x"}, "opened 2007-05-01", "2007", True),
        ({"q": "x"}, "opened 2007-05-01", "5", False),
        ({"q": "x"}, '["China", "India", "Brazil"]', "Brazil, China", True),
        ({"q": "x"}, '{"v": -97}', "97", False),
        ({"q": "x"}, "COVID-19 at 10:30", "19", False),
        ({"q": "x"}, '{"error": "one of gin, bourbon"}', "Bourbon", False),
        ({"name": "Fuad Shukr"}, "No record of Fuad Shukr", "Fuad Shukr", False),
        ({"type": "academy", "location": "zundert"}, "Zundert Academy", "Zundert Academy", True),
    ],
)
def test_verdicts_of_the_method(arguments: dict[str, Any], output: str, answer: str, expected: bool) -> None:
    assert solved_by(arguments, output, answer) is expected


def test_verdict_of_the_method_on_a_repeat() -> None:
    calls = [call("1,024 GB"), call("1,024 GB")]
    assert solves(calls, {"f": ["1,024", "1,024"]}) == (0, None)
    assert reject_reasons(calls, {"f": ["1,024", "1,024"]}) == (None, "repeat")


# --- what an output states ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "answer", "expected"),
    [
        ("The Colosseum", "colosseum", True),
        ("colosseum in Rome", "The Colosseum", True),
        ("New York City", "New York", True),
        ("New old York", "New York", False),
        ("bourbons", "Bourbon", False),
        ('["New", "York"]', "New York", False),  # no match crosses leaves
        ('{"New York": 1}', "New York", True),
        ('{"open": true}', "true", True),
        ('{"data": "{\\"city\\": \\"Rome\\"}"}', "Rome", True),
        ("Rome", "Rome, Italy", False),
        ('{"city": "Rome", "country": "Italy"}', "Rome, Italy", True),
        ("Rome. Italy", "Rome, Italy", True),
        ("on May 1, 2007", "2007-5-1", True),
        ("on 2007-05-01", "May 1, 2007", True),
        ("on May 1, 2008 and 2007", "May 1, 2007", False),  # a date is not split at its comma
        ("2007", "2007-05-01", False),
        ("founded 1 May 2007", "founded 2007", True),
        ("12.750", "12.75", True),
        ("12.7500001", "12.75", True),
        ("12.751", "12.75", False),
        ("12.75", "13", False),
        ("7e7", "70000000", False),
        ("[7e7]", "70000000", True),
        ("-97 degrees", "-97", True),
        ("97 degrees", "-97", False),
        ("", "x", False),
        ("anything", "", False),
        ("anything", "  ", False),
        ("anything", ", ", False),
        ("$", "$", False),
        ("anything", "anything, ", True),
        ("a movie called It", "The", False),
        ("by The The", "The The", True),
        ("the end", "The", True),
    ],
)
def test_states(output: str, answer: str, expected: bool) -> None:
    assert states(leaves(output), answer) is expected


def test_states_takes_any_iterable() -> None:
    assert states(iter([leaf("Rome"), leaf("Italy")]), "Rome, Italy")


@pytest.mark.parametrize(("answer", "expected"), [("", True), (" , ", True), ("$", True), ("the", False), ("0", False)])
def test_is_empty(answer: str, expected: bool) -> None:
    assert is_empty(answer) is expected


# --- what is an error --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("Error: no such city", True),
        ("  \nErrors were made", True),
        ("error: lower case too", True),
        ("Error margin: 5 %; the mean is 12.5", False),
        ("No record of Lund. Did you mean Turku?", True),
        ("Traceback (most recent call last): ...", True),
        ("Founded in 1229. No record of its mayors.", False),
        ("No museum found, but Lund has a gallery.", False),
        ('{"reply": "No such town: Lund"}', True),
        ('{"status": "error", "message": "busy"}', True),
        ('{"status": "ok", "message": "busy"}', False),
        ('{"value": 12, "error": 0.2}', False),
        ('{"error": "none", "value": 12}', False),
        ('[{"error": "x"}, {"value": 12}]', False),
        ("No Error", False),
        ('{"error": "x"}', True),
        (' {"error": {"code": 1}}', True),
        ('{"error": 1}', True),
        ('{"error": true}', True),
        ('{"error": NaN}', True),
        ('{"error": ""}', False),
        ('{"error": null}', False),
        ('{"error": false}', False),
        ('{"error": 0}', False),
        ('{"error": 0.0}', False),
        ('{"error": []}', False),
        ('{"Error": "x"}', True),
        ('{"data": {"error": "x"}}', True),
        ('[{"error": "x"}]', True),
        ("{'error': 'x'}", True),
        ("", False),
    ],
)
def test_is_error(output: str, expected: bool) -> None:
    assert is_error("ok", output) is expected


@pytest.mark.parametrize("status", ["raised", "timeout", "killed", "truncated", "unknown_tool", "malformed"])
def test_any_other_status_is_an_error_and_solves_nothing(status: CallStatus) -> None:
    assert is_error(status, "Rome")
    assert solves([call("Rome", status=status)], {"f": ["Rome"]}) == (None,)
    assert reject_reasons([call("Rome", status=status)], {"f": ["Rome"]}) == ("status",)


# --- repeats -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second", "repeat"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, True),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": True}, {"a": 1}, False),
        ({"a": False}, {"a": 0.0}, False),
        ({"a": None}, {}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
        ({"a": [{"x": 1}]}, {"a": [{"x": 1.0}]}, True),
        ({"a": float("nan")}, {"a": float("nan")}, True),
        ({"a": 2**53 + 1}, {"a": float(2**53)}, False),
        ({"a": []}, {"a": {}}, False),
        ({}, {}, True),
    ],
)
def test_a_repeat_has_json_equal_arguments(first: dict[str, Any], second: dict[str, Any], repeat: bool) -> None:
    calls = [call("Rome and Paris", first), call("Rome and Paris", second)]
    assert (solves(calls, {"f": ["Rome", "Paris"]}) == (0, None)) is repeat


def test_only_calls_that_succeeded_make_a_repeat() -> None:
    wanted = {"f": ["Rome"]}
    for before in (call("x", status="raised"), call("Error: busy"), call('{"error": "busy"}')):
        assert solves([before, call("Rome")], wanted) == (None, 0)
    assert solves([call("nothing"), call("Rome")], wanted) == (None, None)
    assert solves([call("Rome", name="g"), call("Rome")], wanted) == (None, 0)


def test_arguments_too_deep_for_recursion_are_compared_as_written() -> None:
    deep: Any = "x"
    for _ in range(20_000):
        deep = [deep]
    record = CallRecord(0, ToolCall("id", "f", {"q": deep}, "[[...]]"), "ok", "Rome and Paris")
    assert solves([record, record], {"f": ["Rome", "Paris"]}) == (0, None)


# --- arguments that already state it -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "output", "answer"),
    [
        ({"x": -5}, "x_5", "5"),
        ({"x": -5}, '{"x": -5}', "-5"),
        ({"x": "-5"}, "-'5'", "5"),
        ({"x": [1, -5]}, "[1,-5] it is", "1 -5"),
        ({"x": ["-5", "-6"]}, "(-5, -6)", "-5 -6"),
        ({"x": 2**53 + 1}, "9007199254740992.0", "9007199254740992"),
        ({"x": '{"d": [1e3, NaN]}'}, "{'d': [1000.0, nan]}", "1000 nan"),
        ({"x": {"0\n": "7"}}, "[\"{'0\\n': '7'}\"]", "0 7"),
        ({"x": "ıstanbul"}, "ISTANBUL", "Istanbul"),
        ({"x": [1, 234]}, "values [1,234]", "1,234"),
        ({"x": ["1", "234"]}, "1,234", "1,234"),
        ({"x": "1,234"}, "[1,234]", "234"),
        ({"x": ["New", "York"]}, "New, York", "New York"),
        ({"x": {"a": "New", "b": "York"}}, "New York", "New York"),
        ({"x": {"New": 1, "York": 2}}, "New York", "New York"),
        ({"x": {"New": "York"}}, "{'New': 'York'}", "New York"),
        ({"x": True}, "it is true", "True"),
        ({"x": None}, "null and None", "null"),
        ({"x": None}, "null and None", "None"),
        ({"x": 1e22}, "got 1e+22", "10000000000000000000000"),
        ({"x": 1e22}, "10000000000000000000000", "10,000,000,000,000,000,000,000"),
        ({"x": "7e7"}, "70000000.0", "70,000,000"),
        ({"x": "1_000"}, "1000", "1000"),
        ({"x": "٥"}, "5", "5"),
        ({"x": 5012}, "5_012", "5012"),
        ({"x": "a\nb"}, "got 'a\\nb'", "nb"),
        ({"x": "é"}, 'got "\\u00e9"', "u00e9"),
        ({"x": "a\\u0042c"}, '{"result": "a\\u0042c"}', "aBc"),
        ({"x": '["Rome", 1e3]'}, '{"data": ["Rome", 1e3]}', "1000"),
        ({"x": "2007-05-01"}, "May 1, 2007", "2007"),
        ({"x": "May 1, 2007"}, "2007-05-01", "2007-5-1"),
        ({"Bourbon": 1}, "keyword argument 'Bourbon'", "Bourbon"),
        ({"x": 1100}, "[1,100]", "1, 100"),
        ({"x": "1.5 million"}, "1500000", "1.5 million"),
        ({"x": "12 345"}, "345", "345"),
        ({"x": "12.5%"}, "12.5", "12.5"),
        ({"x": 12}, "12 km", "12 km"),
        ({"x": "12b"}, "12B", "12,000,000,000"),
        ({"x": "twelve"}, "12", "12"),
        ({"x": "05/31/2007"}, "31 May 2007", "2007-05-31"),
        ({"x": "66.666667"}, "66.666667", "66.67"),
        ({"x": "Byron, Ada"}, "Ada Byron", "Ada Byron"),
        ({"x": "data base"}, "database", "Database"),
        ({"a": "Ada", "b": "Byron"}, '{"first_name": "Ada", "last_name": "Byron"}', "Ada Byron"),
        ({"value": 12, "unit": "km"}, '{"value": 12, "unit": "km"}', "12 km"),
        ({"x": "not Rome"}, "Rome", "Rome"),
        ({"x": "No such town: Rome"}, "Rome", "Rome"),
        ({"x": ["China", "Brazil"]}, "China and Brazil", "Brazil, China"),
        ({"x": "China", "y": "Brazil"}, "China and Brazil", "Brazil, China"),
        ({"place_name": "x"}, "the place name", "place name"),
    ],
)
def test_an_echo_solves_nothing(arguments: dict[str, Any], output: str, answer: str) -> None:
    assert states(leaves(output), answer)
    assert reject_reasons([call(output, arguments)], {"f": [answer]}) == ("in_arguments",)


@pytest.mark.parametrize(
    ("arguments", "output", "answer"),
    [
        ({"year": 2007}, "2007-05-01", "2007-05-01"),
        ({"verbose": True}, "1 result", "1"),
        ({"x": 5}, "-5", "-5"),
        ({"x": "bourbons"}, "Bourbon", "Bourbon"),
        ({"x": 12}, "2", "2"),
    ],
)
def test_what_the_arguments_do_not_state_is_found(arguments: dict[str, Any], output: str, answer: str) -> None:
    assert solved_by(arguments, output, answer)


def test_arguments_of_5000_digits_have_no_text_and_raise_nothing() -> None:
    record = CallRecord(0, ToolCall("id", "f", {"x": 10**5000, "y": [10**5000]}, "{...}"), "ok", "Rome")
    assert solves([record], {"f": ["Rome"]}) == (0,)


# --- matching ----------------------------------------------------------------------------------------------------


def test_matching_is_maximum_not_greedy() -> None:
    calls = [call("Rome and Paris", {"q": 1}), call("Rome", {"q": 2})]
    assert solves(calls, {"f": ["Rome", "Paris"]}) == (1, 0)


def test_first_in_list_order_where_it_costs_nothing() -> None:
    calls = [call("Paris and Rome", {"q": 1}), call("Paris", {"q": 2}), call("Rome", {"q": 3})]
    assert solves(calls, {"f": ["Rome", "Paris"]}) == (0, 1, None)
    assert reject_reasons(calls, {"f": ["Rome", "Paris"]}) == (None, None, "taken")


def test_equal_sub_answers_need_two_different_calls() -> None:
    calls = [call("Rome", {"q": 1}), call("Rome", {"q": 2}), call("Rome", {"q": 3})]
    assert solves(calls, {"f": ["Rome", "Rome"]}) == (0, 1, None)


def test_a_tool_solves_only_its_own_sub_answers() -> None:
    calls = [call("Rome", name="g"), call("Rome", name="h"), call("Rome")]
    assert solves(calls, {"f": ["Rome"], "g": ["Paris"]}) == (None, None, 0)
    assert reject_reasons(calls, {"f": ["Rome"], "g": ["Paris"]}) == ("not_in_output", "no_sub_answer", None)


def test_no_calls_and_no_sub_answers() -> None:
    assert solves([], {"f": ["Rome"]}) == ()
    assert solves([call("Rome")], {}) == (None,)
    assert solves([call("Rome")], {"f": []}) == (None,)


def test_error_output_is_named_as_the_reason() -> None:
    assert reject_reasons([call("Error: Rome")], {"f": ["Rome"]}) == ("error_output",)
