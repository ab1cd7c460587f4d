"""The strict verifier: which call of an episode solves which sub-answer (rule version 2).

What: a call solves a sub-answer of its own tool when it ended ok, is no repeat, its output is no error, the output
states the sub-answer, and the arguments did not state it before. Calls and sub-answers are then matched one to one.
Why: a substring check also rewards echoed guesses, error texts and accidents ("2" in "12").
Left out: tools that combine several arguments into an answer, or choose one of them: see docs/scoring.md.

The verifier sees only what the model saw: the calls and the exact texts that were fed back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from harness.scoring.leaves import Leaf, is_failure, leaves
from harness.scoring.phrases import is_empty, mentions, mentions_halves, states
from harness.scoring.readings import MAX_READ, argument_leaves
from harness.types import CallRecord, CallStatus, ToolCall

__all__ = ["VERSION", "Reason", "is_empty", "is_error", "reject_reasons", "solves", "states"]

VERSION = 2

Reason = Literal[
    "status",  # it did not end ok
    "refused",  # a limit on tools had been met
    "no_sub_answer",  # its tool has nothing to surface
    "repeat",  # the same call ended ok before
    "error_output",  # the output is an error that the tool reported itself
    "not_in_output",  # the output states no sub-answer of its tool
    "in_arguments",  # the output states one, but so do the call's own arguments, or there is too much of them to read
    "taken",  # what it surfaced is matched to another call
]


def solves(calls: Sequence[CallRecord], sub_answers: Mapping[str, Sequence[str]]) -> tuple[int | None, ...]:
    """For each call, in order, the position in `sub_answers[its tool]` of the sub-answer that it solves, or None."""
    return _match(calls, [_candidates(finding) for finding in _findings(calls, sub_answers)], sub_answers)


def reject_reasons(calls: Sequence[CallRecord], sub_answers: Mapping[str, Sequence[str]]) -> tuple[Reason | None, ...]:
    """For each call, why it solves nothing, or None where it solves. With several sub-answers: the nearest miss."""
    return solves_and_reasons(calls, sub_answers)[1]


def solves_and_reasons(
    calls: Sequence[CallRecord], sub_answers: Mapping[str, Sequence[str]]
) -> tuple[tuple[int | None, ...], tuple[Reason | None, ...]]:
    """Both at once, for whoever wants both."""
    findings = _findings(calls, sub_answers)
    solved = _match(calls, [_candidates(finding) for finding in findings], sub_answers)
    reasons = tuple(
        None if position is not None else ("taken" if isinstance(finding, tuple) else finding)
        for finding, position in zip(findings, solved, strict=True)
    )
    return solved, reasons


# --- one call ----------------------------------------------------------------------------------------------------

# What was found about a call: the positions that it may solve (never empty), or why there are none.
_Finding = tuple[int, ...] | Reason


def _candidates(finding: _Finding) -> tuple[int, ...]:
    return finding if isinstance(finding, tuple) else ()


def _findings(calls: Sequence[CallRecord], sub_answers: Mapping[str, Sequence[str]]) -> list[_Finding]:
    answered: set[Any] = set()
    findings: list[_Finding] = []
    for record in calls:
        if record.status != "ok":
            findings.append("refused" if record.status == "refused" else "status")
            continue
        failed = is_error(record.status, record.output)
        key = call_key(record.call)
        findings.append(_finding(record, sub_answers.get(record.call.name, ()), failed, key in answered))
        if not failed:
            answered.add(key)
    return findings


def _finding(record: CallRecord, answers: Sequence[str], failed: bool, repeated: bool) -> _Finding:
    if not answers:
        return "no_sub_answer"
    if repeated:
        return "repeat"
    if failed:
        return "error_output"
    output = leaves(record.output)
    stated = [position for position, answer in enumerate(answers) if states(output, answer)]
    if not stated:
        return "not_in_output"
    known = None if _is_long(record.call) else argument_leaves(record.call.arguments or {})
    if known is None:
        return "in_arguments"
    return tuple(position for position in stated if not _is_told(known, output, answers[position])) or "in_arguments"


def _is_told(known: Sequence[Leaf], output: Sequence[Leaf], answer: str) -> bool:
    """Whether the arguments mention the answer; or both halves of it, where the output has them in two fields."""
    if mentions(known, answer):
        return True
    return mentions_halves(known, answer) and not states((one for one in output if not one.is_joined), answer)


def is_error(status: CallStatus, output: str) -> bool:
    """Any status but ok; an output that reports a failure and states nothing else (harness.scoring.failures)."""
    return status != "ok" or is_failure(output)


def _is_long(call: ToolCall) -> bool:
    """Longer as written than what is read of any arguments: such a call never solves."""
    return len(call.raw) > MAX_READ


def call_key(call: ToolCall) -> Any:
    """Equal for calls of one name with JSON-equal arguments (as written, where they are deep or long); hashable."""
    if _is_long(call):
        return call.name, call.raw
    try:
        return call.name, _json_key(call.arguments)
    except RecursionError:
        return call.name, call.raw


def _json_key(value: Any) -> Any:
    """Equal for equal JSON: key order does not count, 1 equals 1.0 (one number, two spellings), true is not 1."""
    if isinstance(value, dict):
        return "object", frozenset((key, _json_key(item)) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return "array", tuple(_json_key(item) for item in value)
    if isinstance(value, float) and value != value:  # NaN, which does not equal itself
        return "number", "nan"
    kind = "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    return kind, value


# --- calls to sub-answers, one to one ----------------------------------------------------------------------------


def _match(
    calls: Sequence[CallRecord], candidates: Sequence[tuple[int, ...]], sub_answers: Mapping[str, Sequence[str]]
) -> tuple[int | None, ...]:
    """A maximum matching for each tool: calls in order, each takes the first sub-answer that keeps it maximum."""
    solved: list[int | None] = [None] * len(calls)
    for name in sub_answers:
        own = [index for index, record in enumerate(calls) if record.call.name == name and candidates[index]]
        for index, position in zip(own, _assign([candidates[index] for index in own]), strict=True):
            solved[index] = position
    return tuple(solved)


def _assign(wishes: Sequence[tuple[int, ...]]) -> list[int | None]:
    """Call i may take a position in `wishes[i]`; a call with an open wish can always be part of a maximum matching."""
    taken: set[int] = set()
    assigned: list[int | None] = []
    for index, wish in enumerate(wishes):
        free = [position for position in wish if position not in taken]
        later = wishes[index + 1 :]
        choice = free[0] if free else None
        if len(free) > 1:
            reachable = _size([wish, *later], taken) - 1
            choice = next(position for position in free if _size(later, {*taken, position}) == reachable)
        if choice is not None:
            taken.add(choice)
        assigned.append(choice)
    return assigned


def _size(wishes: Sequence[tuple[int, ...]], taken: set[int]) -> int:
    """The size of a maximum matching between calls and the positions that are not taken (augmenting paths)."""
    holder: dict[int, int] = {}

    def place(index: int, tried: set[int]) -> bool:
        for position in wishes[index]:
            if position in taken or position in tried:
                continue
            tried.add(position)
            if position not in holder or place(holder[position], tried):
                holder[position] = index
                return True
        return False

    most = len({position for wish in wishes for position in wish} - taken)
    for index in range(len(wishes)):
        if len(holder) == most:  # thousands of calls may ask for the same few positions
            break
        place(index, set())
    return len(holder)
