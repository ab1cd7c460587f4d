"""Why an episode failed: one cause for each, read off its record, and what else was seen as marks.

An episode fails when its strict Solve-F1 (or its task's headline metric) is below 1, or its final answer is wrong. The
cause is the first rule that fits, in this order: what ended the episode from outside; a wrong answer although
everything was found; what went wrong with the first sub-answer it could have found next; the first call it wasted.
docs/report.md has each rule in a line. Nothing here judges a text: only calls, their outcomes and what they solved
decide, so the same record always has the same cause.

Left out: why a model chose a wrong argument; that is for a reader of the transcript.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from harness.data import jsonio
from harness.data.schema import CallJSON, Record
from harness.metrics import ANSWERS, HEADLINE
from harness.scoring.strict import is_error
from harness.types import Sample

Cause = Literal[
    "infrastructure",
    "model_error",
    "token_limit",
    "out_of_turns",
    "wrong_answer",
    "stopped_early",
    "wrong_tool",
    "malformed_call",
    "refused",
    "ignored_error",
    "wrong_argument",
    "repeated",
    "unexplained",
]

CAUSE_LABELS: Mapping[Cause, str] = {
    "infrastructure": "infrastructure",
    "model_error": "model error",
    "token_limit": "token limit",
    "out_of_turns": "ran out of turns",
    "wrong_answer": "right outputs but wrong answer",
    "stopped_early": "stopped early",
    "wrong_tool": "wrong tool",
    "malformed_call": "malformed call",
    "refused": "went beyond a limit on tools",
    "ignored_error": "ignored an error",
    "wrong_argument": "wrong argument",
    "repeated": "repeated itself",
    "unexplained": "unexplained",
}
"""Causes in words, in the order in which they are listed."""

ENDED: Mapping[str, Cause] = {
    "infrastructure_error": "infrastructure",
    "model_error": "model_error",
    "token_limit": "token_limit",
    "turn_limit": "out_of_turns",
}


@dataclass(frozen=True, slots=True)
class SubAnswer:
    """One thing that an episode must find: `position` in the gold's list of its tool, `depends_on` indices of others.

    `question` is None where the data does not say it.
    """

    tool: str
    position: int
    answer: str
    question: str | None = None
    depends_on: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why an episode failed; `marks` are the other things that went wrong in it, in the order of LABELS."""

    cause: Cause
    marks: tuple[Cause, ...] = ()


def is_failed(record: Record, headline: str = HEADLINE) -> bool:
    """Whether an episode is short of perfect in its headline metric or in its answer."""
    return any(_below_one(record, metric) for metric in (headline, *ANSWERS))


def diagnose(record: Record, sample: Sample | None = None, headline: str = HEADLINE) -> Diagnosis | None:
    """The cause of a failed episode, None for one that did not fail.

    Without its sample, or where the sample has no sub-answers (a benchmark that judges whole episodes), what needs them
    (wrong tool, wrong argument, stopped early after a call) becomes `unexplained`.
    """
    if not is_failed(record, headline):
        return None
    episode = _FailedEpisode.of(record, sub_answers(sample) or None if sample is not None else None)
    cause = _cause(episode)
    seen = _seen(episode)
    return Diagnosis(cause, tuple(label for label in CAUSE_LABELS if label in seen and label != cause))


def sub_answers(sample: Sample) -> tuple[SubAnswer, ...]:
    """What the sample asks for: its sub-questions where they fit the gold, else the gold's sub-answers in order."""
    gold = [(tool, place, text) for tool, texts in sample.gold.sub_answers.items() for place, text in enumerate(texts)]
    plain = tuple(SubAnswer(*entry) for entry in gold)
    questions = sample.metadata.get("sub_questions")
    if not isinstance(questions, list) or len(questions) != len(gold):
        return plain
    found: list[SubAnswer] = []
    for index, question in enumerate(questions):
        if not isinstance(question, dict):
            return plain
        own = [e for e in gold if e[0] == question.get("tool") and e[2] == str(question.get("answer"))]
        if not own:
            return plain
        gold.remove(own[0])
        depends = question.get("depends_on")
        earlier = [i for i in depends if type(i) is int and 0 <= i < index] if isinstance(depends, list) else []
        found.append(SubAnswer(*own[0], str(question.get("question") or ""), tuple(earlier)))
    return tuple(found)


def count_causes(entries: Iterable[tuple[Hashable, Diagnosis | None]]) -> dict[Any, Counter[Cause | None]]:
    """How many episodes of each group have each cause; None counts those that did not fail."""
    found: dict[Any, Counter[Cause | None]] = {}
    for group, diagnosis in entries:
        found.setdefault(group, Counter())[None if diagnosis is None else diagnosis.cause] += 1
    return found


# --- one cause ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _FailedEpisode:
    """A record and what the rules ask of it: which calls repeat an earlier one, and each tool's last turn."""

    record: Record
    wanted: tuple[SubAnswer, ...] | None
    calls: Sequence[CallJSON]
    repeats: tuple[bool, ...]
    last_turn: Mapping[str, int]

    @classmethod
    def of(cls, record: Record, wanted: tuple[SubAnswer, ...] | None) -> _FailedEpisode:
        calls = record["calls"]
        keys = [_key(call) for call in calls]
        first = {key: index for index, key in reversed(list(enumerate(keys)))}
        repeats = tuple(first[key] < index for index, key in enumerate(keys))
        return cls(record, wanted, calls, repeats, {call["name"]: call["turn"] for call in calls})

    def dropped(self, index: int) -> bool:
        """Whether a call ended in an error and no later turn called its tool again."""
        call = self.calls[index]
        return is_error(call["status"], call["output"]) and self.last_turn[call["name"]] <= call["turn"]


def _cause(episode: _FailedEpisode) -> Cause:
    record, wanted = episode.record, episode.wanted
    if record["outcome"] in ENDED:
        return ENDED[record["outcome"]]
    if record["scores"].get("solve_rate") == 1:
        return "wrong_answer" if any(_below_one(record, metric) for metric in ANSWERS) else _waste(episode)
    if not episode.calls:
        return "stopped_early" if _below_one(record, "solve_rate") else "unexplained"
    return _without_gold(episode) if wanted is None else _missing(episode, wanted)


def _missing(episode: _FailedEpisode, wanted: Sequence[SubAnswer]) -> Cause:
    """What went wrong with the next sub-answer: the first unsolved one whose dependencies are solved, one that was
    tried before one that was not."""
    calls = episode.calls
    solved = {(call["name"], call["solves"]) for call in calls if call["solves"] is not None}
    got = [(sub.tool, sub.position) in solved for sub in wanted]
    unsolved = [sub for sub, have in zip(wanted, got, strict=True) if not have]
    ready = [sub for sub in unsolved if all(got[index] for index in sub.depends_on)]
    for sub in ready:
        if tries := [i for i, call in enumerate(calls) if call["name"] == sub.tool and call["solves"] is None]:
            return _tried(episode, tries)
    return _untried(episode)


def _tried(episode: _FailedEpisode, tries: Sequence[int]) -> Cause:
    """Its tool was called, and no such call solved it: the last that is no repeat says why."""
    fresh = [index for index in tries if not episode.repeats[index]]
    if not fresh:
        return "repeated"
    if episode.calls[fresh[-1]]["status"] == "malformed":
        return "malformed_call"
    if episode.calls[fresh[-1]]["status"] == "refused":
        return "refused"
    once = len({episode.calls[index]["turn"] for index in fresh}) == 1
    return "ignored_error" if once and episode.dropped(fresh[-1]) else "wrong_argument"


def _untried(episode: _FailedEpisode) -> Cause:
    """Its tool was never called: what was called after the last call that solved something says what came instead."""
    last = max((i for i, call in enumerate(episode.calls) if call["solves"] is not None), default=-1)
    rest = [i for i in range(last + 1, len(episode.calls)) if not episode.repeats[i]]
    if rest and episode.calls[rest[-1]]["status"] == "refused":
        return "refused"
    if any(episode.calls[index]["status"] != "malformed" for index in rest):
        return "wrong_tool"
    return "malformed_call" if rest else "stopped_early"


def _waste(episode: _FailedEpisode) -> Cause:
    """Everything was found, with calls besides: the first of those."""
    spare = next((index for index, call in enumerate(episode.calls) if call["solves"] is None), None)
    return "unexplained" if spare is None else _fault(episode, spare) or "unexplained"


def _without_gold(episode: _FailedEpisode) -> Cause:
    """What the last call alone tells."""
    last = len(episode.calls) - 1
    return _fault(episode, last) or ("ignored_error" if episode.dropped(last) else "unexplained")


def _fault(episode: _FailedEpisode, index: int) -> Cause | None:
    """What is wrong with one call that solves nothing; None where only gold could tell."""
    call = episode.calls[index]
    if call["status"] == "malformed":
        return "malformed_call"
    if call["status"] == "refused":
        return "refused"
    if episode.repeats[index]:
        return "repeated"
    if call["status"] == "unknown_tool":
        return "wrong_tool"
    if episode.wanted is None or call["solves"] is not None:
        return None
    return "wrong_argument" if any(sub.tool == call["name"] for sub in episode.wanted) else "wrong_tool"


def _seen(episode: _FailedEpisode) -> set[Cause]:
    """Everything that went wrong with a call, whether or not it decided."""
    faults = {_fault(episode, index) for index in range(len(episode.calls))}
    ignored = any(episode.dropped(i) for i, call in enumerate(episode.calls) if call["status"] != "malformed")
    return {fault for fault in faults if fault} | ({"ignored_error"} if ignored else set())


def _below_one(record: Record, metric: str) -> bool:
    value = record["scores"].get(metric)
    return value is not None and value < 1


def _key(call: CallJSON) -> tuple[str, str]:
    """Equal for calls of one name with the same arguments, whatever the order of their keys."""
    if call["arguments"] is None:
        return call["name"], f"malformed {call['raw']}"
    try:
        return call["name"], jsonio.canonical_json(call["arguments"])
    except (RecursionError, TypeError, ValueError):
        return call["name"], call["raw"]
