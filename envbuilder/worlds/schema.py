"""How a domain is written down: kinds of things, what can be asked about each, and what its tools call it all.

A domain is a TOML file with `providers` (who runs its tools), `contexts` (why somebody asks) and a table for each kind.
A kind has two vocabularies that share no stem (vocabulary.py): what people say (`said`, `refs`, `asks`, `phrases`, ...)
and what tools call it (`filed`, keys, `tools`, `about`, ...). Between them stands only the reader's understanding.
In texts `{}` stands for the thing and `{year}` for the year of a yearly fact. Alternatives are separated by "|".
docs/domains.md explains every key with an example.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

from harness.errors import UsageError

ValueType = Literal["integer", "decimal", "money", "date", "year", "choice"]


@dataclass(frozen=True, slots=True)
class Value:
    """What a value looks like: `low` and `high` bound numbers and years, `unit` is an abbreviation."""

    type: ValueType
    low: float = 0
    high: float = 0
    unit: str = ""
    choices: tuple[str, ...] = ()

    @property
    def is_number(self) -> bool:
        return self.type in ("integer", "decimal", "money")


@dataclass(frozen=True, slots=True)
class Lure:
    """A field of a decoy: its text uses the words of a question that it does not answer."""

    key: str
    filed: str
    value: Value


@dataclass(frozen=True, slots=True)
class Fact:
    """Something that can be asked about a thing of `kind`; `target` is the kind of the answer, or None for a value.

    `key` and `filed` are the tools' words. `asks` are whole questions, `phrases` noun phrases that can be nested,
    `compare` the predicates "is more" and "is less" of numbers and dates.
    """

    kind: str
    key: str
    filed: str
    target: str | None
    value: Value | None
    yearly: bool
    asks: tuple[str, ...]
    phrases: tuple[str, ...]
    compare: tuple[str, ...]
    lures: tuple[Lure, ...]

    @property
    def id(self) -> str:
        return f"{self.kind}.{self.key}"

    @property
    def is_number(self) -> bool:
        return self.value is not None and self.value.is_number


@dataclass(frozen=True, slots=True)
class Trait:
    """What tells two things of one name apart. `said` follows the name in a question."""

    key: str
    target: str | None
    value: Value | None
    filed: str
    said: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A code that rows of a listing carry: its meaning in the schema, and predicates of the question."""

    code: str
    filed: str
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Listing:
    """Rows that belong to a thing, each with a label (in a question: `called`), a measure (of all rows together: its
    `amount`) and a mark."""

    kind: str
    key: str
    filed: str
    tools: tuple[str, ...]
    rows: tuple[str, ...]
    of: tuple[str, ...]
    label_key: str
    label_names: str
    label_filed: str
    called: str
    measure_key: str
    measure: Value
    measure_filed: str
    total: str
    amount: str
    most: str
    least: str
    mark_key: str
    mark_filed: str
    marks: tuple[Mark, ...]

    @property
    def total_asked(self) -> str:
        """What a question of a total asks, with the unit that its answer is in."""
        unit = UNIT_NAMES.get(self.measure.unit, "")
        return self.total if not unit or unit in self.total else f"{self.total}, in {unit}"


@dataclass(frozen=True, slots=True)
class EntityKind:
    """A sort of thing: the pattern of its names and identifiers, and both vocabularies."""

    id: str
    domain: str
    names: str
    said: tuple[str, ...]
    refs: tuple[str, ...]
    filed: str
    filed_plural: str
    parameters: tuple[str, ...]
    tools: tuple[str, ...]
    about: tuple[str, ...]
    traits: tuple[Trait, ...]
    facts: tuple[Fact, ...]
    lists: tuple[Listing, ...]

    @property
    def is_person(self) -> bool:
        return self.names == PERSON_NAMES


UNIT_NAMES: Mapping[str, str] = {
    "t": "tonnes", "Mt": "megatonnes", "kg": "kilograms", "km": "kilometres", "m": "metres", "cm": "centimetres",
    "ha": "hectares", "sq m": "square metres", "sq cm": "square centimetres", "l": "litres",
    "l/min": "litres a minute", "h": "hours", "min": "minutes", "s": "seconds", "MB": "megabytes", "kW": "kilowatts",
}  # fmt: skip
"""What people call the units of lists, by abbreviation."""
PERSON_NAMES = "{first} {last}"
YEARS = (1956, 1994)
"""Of which years there are figures, where a domain does not say otherwise."""
_HEAD = ("providers", "contexts", "years")


@dataclass(frozen=True, slots=True)
class Domain:
    """A field of the world: who runs its tools, why people ask, of which years there are figures, and its kinds."""

    name: str
    providers: tuple[str, ...]
    contexts: tuple[str, ...]
    years: tuple[int, int]
    kinds: tuple[EntityKind, ...]


def read_domain(path: Path) -> Domain:
    """The domain of a TOML file, named by its stem. Raises UsageError that says where it is malformed."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
        kinds = tuple(_kind(name, path.stem, fields) for name, fields in table.items() if name not in _HEAD)
        first, last = table.get("years", YEARS)
        providers = split_alternatives(table["providers"])
        return Domain(path.stem, providers, tuple(table["contexts"]), (first, last), kinds)
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(f"{path}: {error!r}; see docs/domains.md for what a domain holds.") from error


def _kind(name: str, domain: str, fields: Mapping[str, Any]) -> EntityKind:
    try:
        return EntityKind(
            id=name,
            domain=domain,
            names=fields["names"],
            said=split_alternatives(fields["said"]),
            refs=split_alternatives(fields["refs"]),
            filed=fields["filed"],
            filed_plural=fields["filed_plural"],
            parameters=split_alternatives(fields["parameters"]),
            tools=split_alternatives(fields["tools"]),
            about=tuple(fields["about"]),
            traits=tuple(_trait(row) for row in fields["traits"]),
            facts=tuple(_fact(name, row) for row in fields["facts"]),
            lists=tuple(_listing(name, row) for row in fields.get("lists", ())),
        )
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"in [{name}]: {error!r}") from error


def _fact(kind: str, row: Mapping[str, Any]) -> Fact:
    value = _value(row["answer"])
    lures = tuple(_lure(lure) for lure in row["lures"])
    return Fact(
        kind=kind,
        key=row["key"],
        filed=row["filed"],
        target=row["answer"] if value is None else None,
        value=value,
        yearly=row.get("year", False),
        asks=tuple(row["asks"]),
        phrases=tuple(row["phrases"]),
        compare=tuple(row.get("compare", ())),
        lures=lures,
    )


def _lure(row: Sequence[str]) -> Lure:
    value = _value(row[2])
    if value is None:
        raise ValueError(f"the lure {row[0]!r} needs a type of value, not {row[2]!r}")
    return Lure(row[0], row[1], value)


def _trait(row: Sequence[str]) -> Trait:
    key, answer, filed, said = row
    value = _value(answer)
    return Trait(key, answer if value is None else None, value, filed, said)


def _listing(kind: str, row: Mapping[str, Any]) -> Listing:
    measure = _value(row["measure"][1])
    if measure is None or not measure.is_number:
        raise ValueError(f"the measure of {row['key']!r} is a number, not {row['measure'][1]!r}")
    return Listing(
        kind=kind,
        key=row["key"],
        filed=row["filed"],
        tools=split_alternatives(row["tools"]),
        rows=split_alternatives(row["rows"]),
        of=split_alternatives(row["of"]),
        label_key=row["label"][0],
        label_names=row["label"][1],
        label_filed=row["label"][2],
        called=f"the {row['called']}" if "called" in row else "it",
        measure_key=row["measure"][0],
        measure=measure,
        measure_filed=row["measure"][2],
        total=row["total"],
        amount=row["amount"],
        most=row["most"],
        least=row["least"],
        mark_key=row["mark"][0],
        mark_filed=row["mark"][1],
        marks=tuple(Mark(code, filed, split_alternatives(said)) for code, filed, said in row["marks"]),
    )


def _value(text: str) -> Value | None:
    """The value that "decimal 38 1900 km" and the like describe; None for a single word, which is a kind."""
    name, _, rest = text.partition(" ")
    if name not in get_args(ValueType):
        return None
    type_ = cast(ValueType, name)
    if type_ == "choice":
        return Value(type_, choices=split_alternatives(rest))
    low, high, *unit = rest.split(" ", 2)
    return Value(type_, float(low), float(high), unit[0] if unit else "florins" if type_ == "money" else "")


def split_alternatives(text: str) -> tuple[str, ...]:
    """The texts that "|" separates, without the space around them."""
    return tuple(part.strip() for part in text.split("|") if part.strip())
