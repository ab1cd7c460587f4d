"""Whether a model calls tools when they are needed, stops when they are not, and says what it cannot know.

For twins of `harness build --scenario when`: SITUATIONS has what is right in each. Everything is counted from calls and
the last message; docs/decisions.md says what the metrics mean and shows this table.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from harness.errors import UsageError
from harness.scoring import metrics
from harness.scoring.answer import same_answer
from harness.scoring.normalise import Tokens, tokens
from harness.scoring.phrases import parts
from harness.scoring.strict import call_key
from harness.types import CallRecord, Sample, Scores, Trajectory, Verdict

FAMILY = "when"
"""What the data_source of twins begins with: when/no_tool."""
HEADLINE = "decision_accuracy"
JUDGED = (HEADLINE, "answer_accuracy", "decision_f1")
"""Metrics by which one episode of a twin is better than another."""
ABSTENTION = "Cannot be answered with these tools"


@dataclass(frozen=True, slots=True)
class Situation:
    """What is right in one kind of twin. `due`: whether the first action is a call; `needed`: how many calls in all, of
    which those that `looks` find that there is no record; `abstains`: whether some answer cannot be given."""

    due: bool
    needed: int
    abstains: bool
    looks: bool = False


SITUATIONS: Mapping[str, Situation] = MappingProxyType(
    {
        "answerable": Situation(True, 2, False),
        "partial": Situation(True, 1, True),
        "missing_record": Situation(True, 1, True, looks=True),
        "no_tool": Situation(False, 0, False),
        "tool_gone": Situation(False, 0, True),
    }
)
AT_ONCE = 2
"""Look-ups of a missing record that may share a turn: one for each of the two things asked."""


def is_twin(row: Any) -> bool:
    """Whether a row of a file, which may be anything, says that it is a twin."""
    return isinstance(row, dict) and str(row.get("data_source")).startswith(f"{FAMILY}/")


def situation_of(sample: Sample) -> Situation:
    """Raises KeyError for a sample that is no twin."""
    return SITUATIONS[str(sample.metadata["data_source"]).removeprefix(f"{FAMILY}/")]


def find_situation(sample: Sample) -> Situation | None:
    """None for a sample that is no twin."""
    family, _, name = str(sample.metadata.get("data_source")).partition("/")
    return SITUATIONS.get(name) if family == FAMILY else None


def check_twin(sample: Sample) -> Sample:
    """The sample. Raises UsageError where its situation, its answer or the look-up that shows it is not there: it could
    be played and not scored."""
    situation = find_situation(sample)
    if situation is None:
        raise UsageError(
            f"{sample.id!r} stands among twins, whose data_source is {FAMILY}/ and {', '.join(SITUATIONS)}."
        )
    if not _read(sample.gold.answer):
        raise UsageError(f"{sample.id!r} has no answer, without which no twin can be scored.")
    calls = sample.gold.calls
    if situation.looks and not (calls and any(_texts(calls[0].arguments))):
        raise UsageError(f"{sample.id!r} has no gold call that names what is looked up.")
    return sample


def score(sample: Sample, trajectory: Trajectory) -> Verdict:
    """The verdict on one episode of a twin: see docs/decisions.md."""
    base, situation = metrics.score(sample, trajectory), situation_of(sample)
    called = any(record.turn == 0 for record in trajectory.calls)
    decided = trajectory.turns > 0 and called is situation.due
    useful = _count_useful(sample, situation, trajectory.calls, base.solves)
    given, wanted = _read(base.answer_read), _read(sample.gold.answer)
    right = given == wanted or bool(base.scores["answer_accuracy"])
    matches = len(wanted) if right else sum(map(same_answer, given, wanted))
    answers = len(wanted) if right else len(given)  # the right one may be written as one part: A and B
    done = 2 * (useful + matches) / (max(situation.needed, useful) + len(wanted) + len(trajectory.calls) + answers)
    abstained = _abstains(base.answer_read)
    scores: Scores = {
        "decision_accuracy": float(decided),
        "answer_accuracy": float(right),
        "abstention_precision": float(situation.abstains) if abstained else None,
        "abstention_recall": float(abstained) if situation.abstains else None,
        "abstention_f1": None,
        "needless_calls": float(len(trajectory.calls) - useful),
        "decision_f1": done if decided else 0.0,
        **metrics.call_counts(trajectory),
        **metrics.call_rates(trajectory),
    }
    return replace(base, scores=scores)


def finds_no_record(record: CallRecord) -> bool:
    """Whether a look-up of these tools said nothing but what was wrong."""
    try:
        output = json.loads(record.output)
    except ValueError:
        return False
    return record.status == "ok" and isinstance(output, dict) and [*output] == ["error"]


# --- what was called for, and what was answered ------------------------------------------------------------------


def _count_useful(
    sample: Sample, situation: Situation, calls: Sequence[CallRecord], solves: Sequence[int | None]
) -> int:
    """The calls that the question needed: that gave a sub-answer, or showed first that there is no record."""
    if not situation.looks:
        return sum(place is not None for place in solves)
    looks = [record for record in calls if _looks_up(sample, record)]
    first = [record for record in looks if record.turn == looks[0].turn]
    return min(AT_ONCE, len({call_key(record.call) for record in first}))


def _looks_up(sample: Sample, record: CallRecord) -> bool:
    """Whether a call asks the tool that should know about the thing, and learns that it has no record."""
    gold = (sample.gold.calls or ())[0]
    subject = next(_texts(gold.arguments))
    return record.call.name == gold.name and finds_no_record(record) and subject in _texts(record.call.arguments)


def _texts(value: Any) -> Iterator[str]:
    """The texts among arguments, as tools compare them."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, str):
        yield " ".join(value.casefold().split()).removeprefix("the ")


def _abstains(answer: str | None) -> bool:
    """Whether an answer has the abstention in it, also beside other answers, and however `cannot` is written."""
    said, sought = tokens(answer or ""), _abstention()[1:]
    return any(said[place : place + len(sought)] == sought for place in range(len(said)))


def _read(answer: str | None) -> list[str]:
    """The parts of an answer, each abstention as the prompt has it; once where there is nothing else."""
    found = [ABSTENTION if tokens(part) == _abstention() else part for part in parts(answer or "") if tokens(part)]
    return found[:1] if {*found} == {ABSTENTION} else found


@cache
def _abstention() -> Tokens:
    return tokens(ABSTENTION)
