"""What shows only between environments: questions, code, worlds and names that occur twice.

Why: a duplicate counts one problem twice, and what a training split shares with a test split is leaked. Environments
are added one by one, and each is compared with all before it in nearly constant time: equal questions by a hash,
near-equal ones by MinHash over five-word runs, confirmed by their exact overlap. Only hashes are kept.
Left out: paraphrases; and tools without facts of their own (a calculator may occur in every split).
"""

from __future__ import annotations

import random
import re
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Literal, NamedTuple

from envbuilder.audit.checks import Finding, make_finding
from envbuilder.worlds.names import COMMON_NAMES
from harness.data.messages import question_of
from harness.data.schema_values import declared_parameters, enum_values
from harness.types import Sample

NEAR = 0.8
"""From this share of common five-word runs (Jaccard) two questions are near-duplicates."""
RUN = 5
BANDS, ROWS = 20, 5
"""MinHash in bands: two questions that share 80 % of their runs meet in some band with probability 0.9996."""
WORD = re.compile(r"\w+(?:[-'.]\w+)*")
ASKS_FOR_LINE = re.compile(r"\n[^\n]*`?Answer: ?\.\.\..*\Z", re.DOTALL)
"""The end of a prompt that says in which form to answer: no part of the question."""
_PARTICLE = "of|the|and|de|da|del|la|le|du|van|von|&"
NAME = re.compile(rf"""["']([A-Z][\w'’.-]*(?: (?:{_PARTICLE}|[A-Z0-9][\w'’.-]*)){{0,5}})(?<!\.)["']""")
"""A whole string in code that is written like a name: a message has words in lower case."""
COMMON = frozenset(
    (
        *COMMON_NAMES,
        *("Error", "Unknown", "Missing", "Invalid", "True", "False", "None", "Yes", "No", "UTC"),
        *("Bq", "Gt", "GWh", "Hz", "Mha", "Mkm", "Mt", "MWh", "Nm", "Pa", "Wh"),
    )
)
MASK = (1 << 64) - 1
_source = random.Random(20)
_FACTORS = tuple(_source.getrandbits(64) | 1 for _ in range(BANDS * ROWS))
_SHIFTS = tuple(_source.getrandbits(64) for _ in range(BANDS * ROWS))


class _Place(NamedTuple):
    """Where something was seen first."""

    split: str
    label: str


class CorpusAudit:
    """Add samples, ask for findings. `names`: "disjoint" also looks for entity names that two splits share."""

    def __init__(self, names: Literal["disjoint", "shared"] = "shared") -> None:
        self._names_apart = names == "disjoint"
        self._found: list[tuple[str, Finding]] = []
        self._places: list[_Place] = []
        self._questions: dict[int, int] = {}
        self._runs: list[array[int]] = []
        self._bands: dict[int, list[int]] = {}
        self._worlds: dict[int, int] = {}
        self._codes: dict[int, int] = {}
        self._names: dict[int, int] = {}

    def add(self, sample: Sample, source: str = "") -> list[Finding]:
        """Takes a sample in, and says what it shares with those before it. `source`: its file or task, which also
        stands for its split where the record names none."""
        look = look_at(sample, source, self._names_apart)
        found = list(self._compared(look))
        self._keep(look)
        self._found += [(look.place.label, one) for one in found]
        return found

    def add_unless_duplicate(self, look: Look) -> bool:
        """Takes in what was seen of a sample if it repeats nothing fatal; else leaves everything as it was."""
        if any(one.fatal for one in self._compared(look)):
            return False
        self._keep(look)
        return True

    def findings(self) -> list[tuple[str, Finding]]:
        """All that `add` found, each with the label of the later environment."""
        return list(self._found)

    def _keep(self, look: Look) -> None:
        number = len(self._places)
        self._places.append(look.place)
        self._runs.append(look.runs)
        self._questions.setdefault(look.question, number)
        for band in look.bands:
            self._bands.setdefault(band, []).append(number)
        self._worlds.setdefault(look.world, number)
        for code in look.codes.values():
            self._codes.setdefault(code, number)
        for name in look.names:
            self._names.setdefault(_hash(name.casefold()), number)

    def _compared(self, look: Look) -> Iterator[Finding]:
        same = self._questions.get(look.question)
        if same is not None:
            yield make_finding("duplicate_question", self._places[same].label, _short(look.text))
        else:
            yield from self._near(look)
        world = self._worlds.get(look.world) if look.world else None
        if world is not None and self._places[world].split != look.place.split:
            yield make_finding("shared_world", self._of(world), f"world {look.world_name!r}")
        for name, code in look.codes.items():
            if (other := self._codes.get(code)) is not None:
                apart = self._places[other].split != look.place.split
                yield make_finding("shared_code" if apart else "duplicate_code", self._of(other), f"the tool {name}")
        yield from self._shared_names(look)

    def _near(self, look: Look) -> Iterator[Finding]:
        own = set(look.runs)
        for number in sorted({number for band in look.bands for number in self._bands.get(band, ())}):
            common = len(own.intersection(self._runs[number]))
            share = common / (len(own) + len(self._runs[number]) - common)
            if share >= NEAR:
                yield make_finding(
                    "near_duplicate", self._places[number].label, f"{share:.0%} in common: {_short(look.text)}"
                )
                return

    def _shared_names(self, look: Look) -> Iterator[Finding]:
        for name in sorted(look.names):
            other = self._names.get(_hash(name.casefold()))
            if other is not None and self._places[other].split != look.place.split:
                yield make_finding("shared_name", self._of(other), f"{name!r}")

    def _of(self, number: int) -> str:
        place = self._places[number]
        return f"{place.label} ({place.split})"


@dataclass(frozen=True, slots=True)
class Look:
    """What is compared of a sample: texts of its own, and hashes. It is made wherever the sample is, once."""

    place: _Place
    text: str
    question: int
    runs: array[int]
    bands: tuple[int, ...]
    world: int
    world_name: str
    codes: Mapping[str, int]
    names: frozenset[str]
    """Those of its entities, where splits are to share none."""


def look_at(sample: Sample, source: str = "", with_names: bool = False) -> Look:
    """What a CorpusAudit keeps of a sample. `source`: as for its `add`."""
    text = bare_question(sample)
    words = WORD.findall(text.casefold())
    runs = {_hash(" ".join(words[start : start + RUN])) for start in range(max(1, len(words) - RUN + 1))}
    in_order = array("Q", sorted(runs))
    world = sample.metadata.get("world")
    return Look(
        place=_Place(str(sample.metadata.get("split") or source), f"{source}/{sample.id}" if source else sample.id),
        text=text,
        question=_hash(" ".join(words)),
        runs=in_order,
        bands=tuple(_bands(in_order)),
        world=_hash(str(world)) if world is not None else 0,
        world_name=str(world),
        codes={name: _hash(sample.codes[name]) for name in _with_facts(sample)},
        names=frozenset(entity_names(sample)) if with_names else frozenset(),
    )


def bare_question(sample: Sample) -> str:
    """The question alone: without the prompt around it."""
    return ASKS_FOR_LINE.sub("", question_of(sample)).strip()


def entity_names(sample: Sample) -> set[str]:
    """Capitalised texts of the code that no schema enumerates, and the capitalised sub-answers."""
    listed = {
        str(value)
        for tool in sample.tools
        for part in declared_parameters(tool).values()
        for value in enum_values(part)
    }
    found = {name for source in sample.codes.values() for name in NAME.findall(source)}
    answers = {answer for all_ in sample.gold.sub_answers.values() for answer in all_}
    found |= {answer for answer in answers if answer[:1].isupper() and len(answer) > 2}
    return {name for name in found - listed - COMMON if any(map(str.islower, name))}  # codes are no names


def _with_facts(sample: Sample) -> Iterator[str]:
    """The tools whose code holds a sub-answer as written."""
    for name, answers in sample.gold.sub_answers.items():
        source = sample.codes[name].casefold()
        if any(
            answer.casefold() in source or answer.replace(",", "") in source for answer in answers if len(answer) > 2
        ):
            yield name


def _bands(runs: array[int]) -> list[int]:
    """MinHash: the least of the run's hashes in each of many orders, a few orders to a band."""
    least = [
        min([(run * factor ^ shift) & MASK for run in runs]) for factor, shift in zip(_FACTORS, _SHIFTS, strict=True)
    ]
    return [hash((band, *least[band * ROWS : (band + 1) * ROWS])) for band in range(BANDS)]


def _hash(text: str) -> int:
    return int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def _short(text: str, limit: int = 100) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[: limit - 3]}..."
