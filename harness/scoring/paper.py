"""The paper's rule for which call solves which sub-answer, as published, faults included.

Why: numbers that can be compared with the paper's (method: FTRL, arXiv 2508.08791, section "Interaction and score").
It looks for substrings, and it looks for them in error texts too: docs/scoring.md lists what that lets through.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.types import CallRecord


def contains(output: str, answer: str) -> bool:
    """Whether every ", "-separated part of `answer` is a substring of `output`, commas and case aside.

    An empty part is a substring of everything, so an empty answer is always contained.
    """
    text = _plain(output)
    return all(_plain(part) in text for part in answer.split(", "))


def _plain(text: str) -> str:
    return text.lower().replace(",", "").strip()


def solves(calls: Sequence[CallRecord], sub_answers: Mapping[str, Sequence[str]]) -> tuple[int | None, ...]:
    """For each call the position it solves: the first open sub-answer of its tool that its output contains.

    Malformed calls do not exist for this rule, and what was refused or failed on purpose has no output of a tool's;
    every other call is read, whatever its status.
    """
    still_open = {name: list(range(len(answers))) for name, answers in sub_answers.items()}
    solved: list[int | None] = []
    for record in calls:
        read = record.status not in ("malformed", "refused") and record.fault is None
        positions = still_open.get(record.call.name, []) if read else []
        answers = sub_answers.get(record.call.name, ())
        found = next((position for position in positions if contains(record.output, answers[position])), None)
        if found is not None:
            positions.remove(found)
        solved.append(found)
    return tuple(solved)
