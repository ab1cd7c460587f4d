"""What the arguments of a call state, and where there is too much of it to read."""

import json
from typing import Any

import pytest

from harness.scoring.readings import EACH, MAX_READ, argument_leaves
from harness.scoring.strict import reject_reasons, solves
from harness.types import CallRecord, ToolCall

ROOM = MAX_READ - 1000


def call(arguments: dict[str, Any], output: str, raw: str | None = None) -> CallRecord:
    return CallRecord(0, ToolCall("id", "f", arguments, raw or json.dumps(arguments)), "ok", output)


def nested(value: Any, depth: int) -> Any:
    return [nested(value, depth - 1)] if depth else value


def reasons(arguments: dict[str, Any], output: str, answer: str, raw: str | None = None) -> tuple[Any, ...]:
    return reject_reasons([call(arguments, output, raw)], {"f": [answer]})


@pytest.mark.parametrize("depth", [0, 1, 40, 60])
def test_depth_costs_nothing(depth: int) -> None:
    words = " ".join(["lorem"] * (ROOM // 25))
    arguments = {"note": nested(words, depth)}
    assert reasons(arguments, "Rome", "Rome") == (None,)
    assert reasons(arguments, "lorem lorem", "Lorem lorem") == ("in_arguments",)


@pytest.mark.parametrize("around", [[], ['"'], [{"k": 1}]])
@pytest.mark.parametrize(
    ("inner", "output", "answer"),
    [
        (["lima", "quito"], "['lima', 'quito']", "lima quito"),
        (["lima", "quito"], "lima quito", "lima quito"),
        (["1", "234"], "1,234", "1234"),
        (["-5", "-6"], "x=-5, -6", "-5 -6"),
        ({"-5": "a\nb"}, "{\"result\": \"{'-5': 'a\\nb'}\"}", "-5 a b"),
    ],
)
def test_what_is_inside_another_counts_as_if_it_were_alone(
    inner: Any, around: list[Any], output: str, answer: str
) -> None:
    assert reasons({"x": inner}, output, answer) == ("in_arguments",)
    for outer in ([inner, *around], {"k": [*around, {"j": inner}]}, nested([*around, inner], 20)):
        assert reasons({"x": outer}, output, answer) == ("in_arguments",)


def test_too_much_to_read_counts_as_stated() -> None:
    assert reasons({"note": "a " * (ROOM // 2)}, "Rome", "Rome") == (None,)
    assert reasons({"note": "a " * (MAX_READ // 2)}, "Rome", "Rome") == ("in_arguments",)
    assert reasons({"note": "é " * (ROOM // 2)}, "Rome", "Rome") == ("in_arguments",)  # read in several spellings
    assert argument_leaves({"note": "a" * MAX_READ}) is None


def test_the_limit_is_of_all_arguments_together() -> None:
    half = MAX_READ // 2 - 100
    assert argument_leaves({"x": "a" * half}) is not None
    assert argument_leaves({"x": "a" * half, "y": "b" * half}) is not None
    assert argument_leaves({"x": "a" * half, "y": "b" * half, "z": "c" * 300}) is None


def test_every_text_has_a_price_and_a_second_time_a_small_one() -> None:
    few = MAX_READ // (EACH * 10)
    assert argument_leaves({"x": ["a"] * few}) is not None
    assert argument_leaves({str(number): [] for number in range(MAX_READ)}) is None
    assert argument_leaves({"x": [{}] * MAX_READ}) is None


def test_arguments_that_are_long_only_as_written() -> None:
    padded = '{"q": ' + " " * MAX_READ + '"x"}'
    assert reasons({"q": "x"}, "Rome", "Rome", padded) == ("in_arguments",)
    twice = [call({"q": "x"}, "Rome and Paris", padded)] * 2
    assert reject_reasons(twice, {"f": ["Rome"]}) == ("in_arguments", "repeat")


def test_a_call_with_too_much_to_read_blocks_no_other() -> None:
    calls = [call({"q": "x " * MAX_READ}, "Rome"), call({"q": "x"}, "Rome")]
    assert solves(calls, {"f": ["Rome"]}) == (None, 0)
