"""What is kept of an episode's record: its scores, its usage, how it ended, and where its text stands.

A record is nearly all text: messages, arguments, outputs. Summaries, tables, comparisons and a resumed run need none of
it, so whoever reads a run keeps a result for each record, a twentieth of it, and reads a record again only where a
person is to see it (`RunDirectory.open_records`). Strings that many episodes share are one object.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from harness.data.schema import Record
from harness.types import Outcome, Usage

EpisodeOrder = tuple[str, str, int]
"""Task, sample, epoch: the order in which episodes are counted."""

NOWHERE = -1
"""The place of what was not read from a file."""


class ScoreRow(Mapping[str, float | None]):
    """The scores of an episode. Rows of the same metrics share their names, so that a row is little more than its
    values."""

    __slots__ = ("_places", "_values")

    def __init__(self, scores: Mapping[str, float | None]) -> None:
        self._places = _places_of(tuple(scores))
        self._values = tuple(map(_shared_number, scores.values()))

    def __getitem__(self, metric: str) -> float | None:
        return self._values[self._places[metric]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return repr(dict(self))


@lru_cache(1024)
def _places_of(metrics: tuple[str, ...]) -> dict[str, int]:
    return {sys.intern(str(metric)): place for place, metric in enumerate(metrics)}


@lru_cache(4096, typed=True)
def _shared_number(value: float | None) -> float | None:
    """The one object with this value, of those seen last: most scores are fractions of small numbers."""
    return value


@dataclass(frozen=True, slots=True)
class ReasoningCounts:
    """What was seen of reasoning in an episode, as a record's `reasoning` has it."""

    turns: int = 0
    characters: int = 0
    tokens: int = 0


NO_REASONING = ReasoningCounts()


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """An episode without its text: fields of its record as they are, `spoke` (whether the model said anything),
    `calls` (their number) and `place` (where its line begins in samples.jsonl, unpacked, in bytes)."""

    key: str
    order: EpisodeOrder
    outcome: Outcome
    stop: str
    error: str | None
    scores: ScoreRow
    usage: Usage
    user_usage: Usage | None
    reasoning: ReasoningCounts
    notes: tuple[str, ...]
    spoke: bool
    calls: int
    place: int

    @property
    def task(self) -> str:
        return self.order[0]

    @property
    def sample(self) -> str:
        return self.order[1]

    @property
    def epoch(self) -> int:
        return self.order[2]


def result_of(record: Record, place: int = NOWHERE) -> EpisodeResult:
    """What is kept of a record."""
    users = record.get("user_usage")
    error = record["error"]
    return EpisodeResult(
        key=record["key"],
        order=(_shared(record["task"]), _shared(record["sample"]), record["epoch"]),
        outcome=record["outcome"],
        stop=_shared(record["stop"]),
        error=None if error is None else _shared(error),
        scores=ScoreRow(record["scores"]),
        usage=Usage(**record["usage"]),
        user_usage=None if users is None else Usage(**users),
        reasoning=_reasoning(record),
        notes=tuple(map(_shared, record.get("notes", ()))),
        spoke=any(message["role"] == "assistant" for message in record["messages"]),
        calls=len(record["calls"]),
        place=place,
    )


def _reasoning(record: Record) -> ReasoningCounts:
    seen = record.get("reasoning", {})
    found = seen.get("turns", 0), seen.get("characters", 0), seen.get("tokens", 0)
    return ReasoningCounts(*found) if any(found) else NO_REASONING


def _shared(text: str) -> str:
    """The one string with this text."""
    return sys.intern(str(text))


def counted_results(attempts: Iterable[EpisodeResult]) -> list[EpisodeResult]:
    """The episodes that count, in order: of several attempts with one key the last."""
    return sorted({result.key: result for result in attempts}.values(), key=lambda result: result.order)
