"""Whether the final message gives the right answer: exactly, where the prompt asks for an "Answer:" line.

Built prompts ask for a last line "Answer: ..."; released ones do not, so there the answer only has to be stated
somewhere, which is easier to get by chance: the two have different names and are never averaged together.
Left out: units. "5 km" is not "5", and a judge that thinks otherwise is not this one.
"""

from __future__ import annotations

import re

from harness.scoring.normalise import Tokens, leaf, parts, tokens, without_articles
from harness.scoring.strict import is_empty, states
from harness.types import Sample, Scores, Trajectory

# Any case, and markdown around the word (**Answer:** 5, > answer: 5), because neither says anything about the answer.
_ANSWER_LINE = re.compile(r"^[*_#>` \t]*answer[*_` \t]*:(.*)$", re.IGNORECASE | re.MULTILINE)


def answer_scores(sample: Sample, trajectory: Trajectory) -> Scores:
    """{answer_accuracy: 0 or 1} or {answer_accuracy_lenient: 0 or 1}; empty when there is no gold answer."""
    gold = sample.gold.answer
    if gold is None or is_empty(gold):
        return {}
    text = final_text(trajectory)
    if asks_for_answer_line(sample):
        return {"answer_accuracy": float(text is not None and _right_line(text, gold))}
    return {"answer_accuracy_lenient": float(text is not None and states([leaf(text)], gold))}


def asks_for_answer_line(sample: Sample) -> bool:
    return any(message.role in ("user", "system") and "Answer:" in message.content for message in sample.messages)


def final_text(trajectory: Trajectory) -> str | None:
    """The last message without its reasoning, if the model ended by speaking; None if it ended otherwise."""
    last = trajectory.messages[-1] if trajectory.messages else None
    if last is None or last.role != "assistant" or last.tool_calls:
        return None
    spoken = last.content.rpartition("</think>")[2]
    return spoken.partition("<think>")[0]  # reasoning that was never closed


def _right_line(text: str, gold: str) -> bool:
    lines = _ANSWER_LINE.findall(text)
    return bool(lines) and same_answer(lines[-1], gold)


def same_answer(text: str, gold: str) -> bool:
    """Equal after normalisation, articles aside; the parts of a list in any order."""
    return _content(text) == _content(gold) or _content_of_parts(text) == _content_of_parts(gold)


def _content(text: str) -> Tokens:
    raw = tokens(text)
    return without_articles(raw) or raw


def _content_of_parts(text: str) -> list[Tokens]:
    """The parts of a list answer in an order of their own, so that "A, B" equals "B, A"."""
    return sorted(content for part in parts(text) if (content := _content(part)))
