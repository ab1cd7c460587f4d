"""What the model generator is asked for: one request an environment, from topics or from a user's questions.

The same topic twice would get the same answer from a model that decodes greedily, so a request's topic is a pair: a
field, and something about it that the question should turn on. Left out: anything about how requests are answered.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from envbuilder.records import QUESTION_KINDS, QuestionKind
from envbuilder.spec import DISTRACTOR_SHARE, PAPER, Levels, Size
from harness.data import jsonio
from harness.data.disk import read_file
from harness.errors import UsageError

LONGEST_QUESTION = 2000
"""Characters; the schema of the scenario stage has the same limit."""

TOPICS = (
    *(
        "mountain railways",
        "deep-sea biology",
        "a regional film festival",
        "medieval trade guilds",
        "airport logistics",
    ),
    *("pharmaceutical trials", "an amateur football league", "public libraries", "wind farms", "a stock exchange"),
    *("volcano observatories", "opera houses", "patent law", "space probes", "cheese making", "city council elections"),
    *("open-source software releases", "river shipping", "archaeological digs", "national parks", "textile mills"),
    *("chess tournaments", "emergency hospitals", "telescope networks", "wine regions", "postal services", "bridges"),
    *("weather stations", "university rankings", "language archives", "mining companies", "marathon records"),
    *("museum collections", "electric grids", "migratory birds", "video game studios", "court cases", "ferry lines"),
    *("perfume chemistry", "insurance claims"),
)
ASPECTS = (
    *("who founded or designed something", "a date and what followed from it", "an amount of money", "a distance"),
    *("the staff of an institution", "an award", "a technical specification", "a place and its neighbours"),
    *("a record that was broken", "a schedule", "a measurement and its unit", "an accident and its inquiry"),
    *("a merger or a change of name", "a catalogue number", "a count", "a contract and its terms"),
)
SYLLABLES = tuple(first + second for first in "BDFGHKLMNPRSTVW" for second in "aeiou")
STRIDE = 7919
"""Shares no factor with the number of syllables, so that no two uses of a topic meet."""


@dataclass(frozen=True, slots=True)
class EnvironmentRequest:
    """One environment to make. `index` is its number in the build; either `topic` or `question` is there.

    A `kind` of None leaves the kind to the model, `hops` of None the number of sub-questions. `answer` is what a user
    says that the question's answer is.
    """

    index: int
    kind: QuestionKind | None = None
    topic: str | None = None
    question: str | None = None
    answer: str | None = None
    hops: int | None = None


@dataclass(frozen=True, slots=True)
class ScalingTargets:
    """How far the four strategies go, in numbers that a reply can be held to; the preset's size and its levels."""

    levels: Levels = PAPER.levels
    size: Size = PAPER.size

    @property
    def is_active(self) -> bool:
        return any(asdict(self.levels).values())

    @property
    def added_parameters(self) -> int:
        """Optional parameters that every document gains."""
        return (0, 1, 2, 4)[self.levels.parameters]

    @property
    def typed_parameters(self) -> int:
        """Parameters of every document that are more than a plain string."""
        return (0, 1, 2, 3)[self.levels.types]

    def distractor_count(self, kind: QuestionKind) -> int:
        """Tools that answer nothing: the share of the level of what the size has on average."""
        weights = self.size.distractors[kind]
        mean = sum(number * weight for number, weight in weights) / sum(weight for _, weight in weights)
        return round(DISTRACTOR_SHARE[self.levels.distractors] * mean)


def requests_from_topics(
    n: int,
    kinds: Sequence[QuestionKind] = QUESTION_KINDS,
    topics: Sequence[str] = TOPICS,
    size: Size = PAPER.size,
    seed: int = 0,
    start: int = 0,
) -> tuple[EnvironmentRequest, ...]:
    """`n` requests: kinds in turn, topics shuffled by the seed and used equally often, with changing aspects.

    The requests of one seed are one endless sequence without repeats, taken from `start` on: splits take other parts.
    """
    if not topics or not kinds:
        raise UsageError("A build from topics needs at least one topic and one kind of question.")
    pairs = [(topic, aspect) for aspect in ASPECTS for topic in topics]
    random.Random(seed).shuffle(pairs)
    made = ((index, kinds[index % len(kinds)], start + index) for index in range(n))
    return tuple(
        EnvironmentRequest(index, kind, _topic(pairs, position), hops=_hops(size, kind, f"{seed}:{position}"))
        for index, kind, position in made
    )


def _hops(size: Size, kind: QuestionKind, seed: str) -> int:
    numbers, weights = zip(*size.hops[kind], strict=True)
    drawn: int = random.Random(seed).choices(numbers, weights)[0]
    return drawn


def _topic(pairs: Sequence[tuple[str, str]], position: int) -> str:
    topic, aspect = pairs[position % len(pairs)]
    variant = position // len(pairs)
    return f"{topic}, and {aspect}" + (f"; {_names(topic, aspect, variant)}" if variant else "")


def _names(topic: str, aspect: str, variant: int) -> str:
    """How three names begin, otherwise for each use of a topic: what sets the uses apart can be part of the story."""
    number = (zlib.crc32(f"{topic}, {aspect}".encode()) + variant * STRIDE) % len(SYLLABLES) ** 3
    first, second, third = (SYLLABLES[number // len(SYLLABLES) ** n % len(SYLLABLES)] for n in range(3))
    return f"three of the names begin with {first}, {second} and {third}"


def read_questions(path: Path, kind: QuestionKind | None = None) -> tuple[EnvironmentRequest, ...]:
    """A user's questions: one a line, or a JSON object {question, answer?, kind?} a line.

    Raises UsageError where there is no such file, or a line is not one of those.
    """
    try:
        lines = read_file(path, links=True).decode("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"The questions in {path} cannot be read: {error}.") from None
    found = list(_questions(lines, path))
    if not found:
        raise UsageError(f"{path} holds no questions.")
    return tuple(
        EnvironmentRequest(index, fields.get("kind") or kind, None, fields["question"], fields.get("answer"))
        for index, fields in enumerate(found)
    )


def _questions(lines: Sequence[str], path: Path) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if not text:
            continue
        found = _from_json(text, f"{path}, line {number}") if text.startswith("{") else {"question": text}
        if len(found["question"]) > LONGEST_QUESTION:
            raise UsageError(f"{path}, line {number} is longer than {LONGEST_QUESTION:,} characters.")
        yield found


def _from_json(text: str, where: str) -> Mapping[str, Any]:
    try:
        value = jsonio.parse_json(text)
    except ValueError as error:
        raise UsageError(f"{where} is not JSON: {error}.") from None
    if not isinstance(value, dict) or not isinstance(value.get("question"), str) or not value["question"].strip():
        raise UsageError(f"{where} needs a text in the field 'question'.")
    if value.get("answer") is not None and not isinstance(value["answer"], str):
        raise UsageError(f"{where}: the field 'answer' must be a text.")
    if value.get("kind") not in (None, *QUESTION_KINDS):
        raise UsageError(f"{where}: the field 'kind' must be one of {', '.join(QUESTION_KINDS)}.")
    return value
