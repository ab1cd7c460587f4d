"""The final answer: an exact "Answer:" line where the prompt asks for one, else stated anywhere."""

import pytest

from harness.scoring.answer import answer_scores
from harness.types import Gold, Message, Sample, ToolCall, Trajectory, Usage

ASKS = "Finish with a last line 'Answer: ...'."


def scores(final: str | Message | None, gold: str | None, prompt: str = ASKS, role: str = "user") -> dict[str, float]:
    sample = Sample("0", (Message(role, prompt),), (), {}, Gold({}, answer=gold))  # type: ignore[arg-type]
    last = Message("assistant", final) if isinstance(final, str) else final
    messages = (Message("user", prompt), *([last] if last else []))
    return answer_scores(sample, Trajectory(messages, (), 1, "ok", "stop", Usage(), {}))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("final", "gold", "expected"),
    [
        ("Answer: Rome", "Rome", 1.0),
        ("Some words.\n  Answer: the ROME.", "Rome", 1.0),
        ("**Answer:** Rome", "Rome", 1.0),
        ("**Answer: Rome**", "Rome", 1.0),
        ("> answer : `Rome`", "Rome", 1.0),
        ("Answer: Paris\nAnswer: Rome", "Rome", 1.0),
        ("Answer: Rome\nAnswer: Paris", "Rome", 0.0),
        ("Answer: Rome\nand so on", "Rome", 1.0),
        ("The Answer: Rome", "Rome", 0.0),
        ("Rome", "Rome", 0.0),
        ("Answer:\nRome", "Rome", 0.0),
        ("Answer: Rome, Italy", "Rome", 0.0),
        ("Answer: it is Rome", "Rome", 0.0),
        ("Answer: 70,000,000.00", "70000000", 1.0),
        ("Answer: 70000000 USD", "70000000", 0.0),
        ("Answer: 5", "5 km", 0.0),
        ("Answer: May 1, 2007", "2007-05-01", 1.0),
        ("Answer: 2007-05-01", "2007", 0.0),
        ("Answer: Brazil, China", "China, Brazil", 1.0),
        ("Answer: Brazil,China", "Brazil, China", 1.0),
        ("Answer: Brazil", "China, Brazil", 0.0),
        ("Answer: Brazil, Brazil", "China, Brazil", 0.0),
        ("Answer: Brazil, China, China", "China, Brazil", 0.0),
        ("Answer: -5", "5", 0.0),
        ("Answer: The", "The", 1.0),
        ("<think>Answer: Paris</think>\nAnswer: Rome", "Rome", 1.0),
        ("<think>Answer: Rome</think>\nI give up", "Rome", 0.0),
        ("<think>\nAnswer: Rome", "Rome", 0.0),
        ("", "Rome", 0.0),
    ],
)
def test_answer_line(final: str, gold: str, expected: float) -> None:
    assert scores(final, gold) == {"answer_accuracy": expected}


@pytest.mark.parametrize(
    ("final", "gold", "expected"),
    [
        ("The answer is Rome, of course", "Rome", 1.0),
        ("opened 2007-05-01", "2007", 1.0),
        ("12 casualties", "2", 0.0),
        ('["New", "York"]', "New York", 1.0),  # prose, not a tool's output: one leaf
        ("<think>Rome</think>Paris", "Rome", 0.0),
    ],
)
def test_lenient(final: str, gold: str, expected: float) -> None:
    assert scores(final, gold, prompt="Question: where?") == {"answer_accuracy_lenient": expected}


@pytest.mark.parametrize("role", ["user", "system"])
def test_who_asks(role: str) -> None:
    assert list(scores("x", "Rome", role=role)) == ["answer_accuracy"]


def test_an_assistant_does_not_ask() -> None:
    assert list(scores("x", "Rome", role="assistant")) == ["answer_accuracy_lenient"]


@pytest.mark.parametrize("gold", [None, "", "  "])
def test_no_gold_no_key(gold: str | None) -> None:
    assert scores("Answer: Rome", gold) == {}


@pytest.mark.parametrize(
    "last",
    [
        None,
        Message("tool", "Answer: Rome"),
        Message("assistant", "Answer: Rome", tool_calls=(ToolCall("1", "f", {}, "{}"),)),
    ],
)
def test_an_episode_that_ended_otherwise_has_no_final_message(last: Message | None) -> None:
    assert scores(last, "Rome") == {"answer_accuracy": 0.0}


def test_many_lines_are_read_in_linear_time() -> None:
    assert scores("\n" * 100_000 + " " * 100_000 + "* " * 100_000, "Rome") == {"answer_accuracy": 0.0}
