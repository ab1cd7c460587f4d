"""From an episode to its metrics: denominators, and what has no value."""

import json

import pytest

from harness.scoring import score
from harness.types import CallRecord, CallStatus, Gold, Message, Sample, ToolCall, Trajectory, Usage

KEYS = {
    "solve_precision",
    "solve_rate",
    "solve_f1",
    "paper_solve_precision",
    "paper_solve_rate",
    "paper_solve_f1",
    "calls",
    "turns",
    "malformed_call_rate",
    "tool_error_rate",
}


def call(output: str, number: int = 0, name: str = "f", status: CallStatus = "ok") -> CallRecord:
    arguments = None if status == "malformed" else {"q": f"question {number}"}
    return CallRecord(0, ToolCall("id", name, arguments, json.dumps(arguments)), status, output)


def sample(sub_answers: dict[str, tuple[str, ...]], answer: str | None = None) -> Sample:
    return Sample("0", (Message("user", "Question: ?"),), (), {}, Gold(sub_answers, answer=answer))


def episode(*calls: CallRecord, turns: int = 1, final: str = "done") -> Trajectory:
    return Trajectory((Message("assistant", final),), calls, turns, "ok", "stop", Usage(), {})


def test_every_metric() -> None:
    calls = (
        call("Rome"),
        call("12 dead", 1),
        call("no", 2, status="malformed"),
        call("unknown tool", 3, name="g", status="unknown_tool"),
        call("Error: busy", 4),
    )
    verdict = score(sample({"f": ("Rome", "2"), "h": ("x",)}), episode(*calls, turns=4))
    assert verdict.solves == (0, None, None, None, None)
    assert verdict.paper_solves == (0, 1, None, None, None)
    assert verdict.scores == {
        "solve_precision": 1 / 5,
        "solve_rate": 1 / 3,
        "solve_f1": 2 / 8,
        "paper_solve_precision": 2 / 4,
        "paper_solve_rate": 2 / 3,
        "paper_solve_f1": 4 / 7,
        "calls": 5,
        "turns": 4,
        "malformed_call_rate": 1 / 5,
        "tool_error_rate": 3 / 5,
    }


def test_a_silent_episode() -> None:
    scores = score(sample({"f": ("Rome",)}), episode()).scores
    assert set(scores) == KEYS
    assert scores["solve_precision"] is None
    assert scores["paper_solve_precision"] == 1.0
    assert scores["solve_rate"] == scores["solve_f1"] == scores["paper_solve_rate"] == scores["paper_solve_f1"] == 0.0
    assert scores["malformed_call_rate"] is scores["tool_error_rate"] is None
    assert scores["calls"] == 0.0


def test_only_malformed_calls_are_silence_to_the_paper() -> None:
    scores = score(sample({"f": ("Rome",)}), episode(call("x", status="malformed"))).scores
    assert (scores["solve_precision"], scores["paper_solve_precision"]) == (0.0, 1.0)
    assert scores["malformed_call_rate"] == scores["tool_error_rate"] == 1.0


def test_nothing_to_solve() -> None:
    scores = score(sample({}), episode()).scores
    assert scores["solve_rate"] is scores["solve_f1"] is scores["paper_solve_rate"] is scores["paper_solve_f1"] is None
    scores = score(sample({}), episode(call("Rome"))).scores
    assert (scores["solve_precision"], scores["solve_rate"], scores["solve_f1"]) == (0.0, None, 0.0)


def test_values_are_floats() -> None:
    scores = score(sample({"f": ("Rome",)}, "Rome"), episode(call("Rome"))).scores
    assert all(type(value) is float for value in scores.values())


@pytest.mark.parametrize(("answer", "key"), [("Rome", True), (None, False), ("", False)])
def test_the_answer_has_a_key_only_with_a_gold_answer(answer: str | None, key: bool) -> None:
    assert ("answer_accuracy_lenient" in score(sample({}, answer), episode()).scores) is key
