"""The strict verifier: which call of an episode solves which sub-answer (rule version 1).

What: a call solves a sub-answer of its own tool when it ended ok, is no repeat, its output is no error, the output
states the sub-answer, and the arguments did not state it before. Calls and sub-answers are then matched one to one.
Why: a substring check also rewards echoed guesses, error texts and accidents ("2" in "12").
Left out: tools that combine several arguments into an answer, or choose one of them: see docs/scoring.md.

The verifier sees only what the model saw: the calls and the exact texts that were fed back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal, NamedTuple

from harness.scoring.normalise import (
    Leaf,
    NumberText,
    Tokens,
    decode,
    is_year,
    leaves,
    number,
    parts,
    same,
    tokens,
    without_articles,
)
from harness.scoring.readings import MAX_READ, argument_leaves
from harness.types import CallRecord, CallStatus, ToolCall

VERSION = 1

Reason = Literal[
    "status",  # it did not end ok
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
    findings = _findings(calls, sub_answers)
    solved = _match(calls, [_candidates(finding) for finding in findings], sub_answers)
    return tuple(
        None if position is not None else ("taken" if isinstance(finding, tuple) else finding)
        for finding, position in zip(findings, solved, strict=True)
    )


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
            findings.append("status")
            continue
        failed = is_error(record.status, record.output)
        key = _call_key(record.call)
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
    return tuple(position for position in stated if not states(known, answers[position])) or "in_arguments"


def is_error(status: CallStatus, output: str) -> bool:
    """Any status but ok; a top-level object with a truthy `error`; a text that begins with "Error" (as spelled)."""
    if status != "ok" or output.lstrip().startswith("Error"):
        return True
    value = decode(output)
    error = value.get("error") if isinstance(value, dict) else None
    return number(error) != "#0" if isinstance(error, NumberText) else bool(error)


def _is_long(call: ToolCall) -> bool:
    """Longer as written than what is read of any arguments: such a call never solves."""
    return len(call.raw) > MAX_READ


def _call_key(call: ToolCall) -> Any:
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


# --- an answer in a text -----------------------------------------------------------------------------------------


class _Phrase(NamedTuple):
    """A run of tokens to look for. `with_articles`: it has nothing but articles, so the text keeps its own too."""

    tokens: Tokens
    with_articles: bool


def states(where: Iterable[Leaf], answer: str) -> bool:
    """Whether the answer's tokens are a run in one leaf; or, for "A, B", whether each part is a run in some leaf."""
    found = list(where)
    return any(all(any(_within(phrase, leaf_) for leaf_ in found) for phrase in way) for way in _ways(answer))


def is_empty(answer: str) -> bool:
    """Whether there is nothing to state, so that no output ever solves it: no letter and no digit."""
    return not _ways(answer)


@lru_cache(maxsize=16_384)
def _ways(answer: str) -> tuple[tuple[_Phrase, ...], ...]:
    """The ways to state an answer, each a set of phrases; none for an empty answer."""
    whole = _phrase(answer)
    if whole is None:
        return ()
    pieces = parts(answer)
    split = tuple(phrase for phrase in map(_phrase, pieces) if phrase) if len(pieces) > 1 else ()
    return ((whole,), split) if split else ((whole,),)


def _phrase(text: str) -> _Phrase | None:
    raw = tokens(text)
    kept = without_articles(raw)
    return _Phrase(kept or raw, not kept) if raw else None


def _within(phrase: _Phrase, leaf_: Leaf) -> bool:
    wanted, found = phrase.tokens, leaf_.raw if phrase.with_articles else leaf_.tokens
    first, size = wanted[0], len(wanted)
    if first not in found and not is_year(first):  # only a year can also match something unequal: a date
        return False
    return any(
        same(first, found[start]) and all(map(same, wanted, found[start : start + size]))
        for start in range(len(found) - size + 1)
    )


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
