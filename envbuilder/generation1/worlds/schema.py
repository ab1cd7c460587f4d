"""How a domain is written down: kinds of things, and what can be asked about each of them.

A domain is a TOML file: `offices` that may keep its records, and a table for each kind. A kind has the pattern of its
names, the words that tools use for it, sentences for descriptions, and its facts. A fact is a row

    [key, answer, noun phrases, questions, second key]

whose answer is another kind ("town") or a value ("date 1890 1985", "decimal 38 1900 km", "choice oak|elm", "list
explorer"). In texts `{}` stands for the thing and `{also}` for the second key of a fact that needs one: "year", or a
kind, when two things are named. Alternatives are separated by "|".
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast, get_args

ValueType = Literal["integer", "decimal", "date", "year", "choice", "money", "list"]


@dataclass(frozen=True, slots=True)
class Value:
    """What a value looks like: `low` and `high` bound numbers and years; `of` is the kind of a list's members."""

    type: ValueType
    low: float = 0
    high: float = 0
    unit: str = ""
    choices: tuple[str, ...] = ()
    of: str = ""

    @property
    def is_number(self) -> bool:
        return self.type in ("integer", "decimal", "money")


@dataclass(frozen=True, slots=True)
class Relation:
    """Something that can be asked about a thing of `kind`; `target` is the kind of the answer, or None for a value.

    `phrases` are noun phrases that can be nested, `asks` whole questions. `also` is "year", a kind, or None.
    """

    id: str
    kind: str
    key: str
    target: str | None
    value: Value | None
    phrases: tuple[str, ...]
    asks: tuple[str, ...]
    also: str | None = None

    @property
    def label(self) -> str:
        return self.key.replace("_", " ")

    @property
    def is_number(self) -> bool:
        return self.value is not None and self.value.is_number


@dataclass(frozen=True, slots=True)
class EntityKind:
    """A sort of thing: the pattern of its names, and the words that tools and questions use for it."""

    id: str
    noun: str
    domain: str
    pattern: str
    parent: str | None
    parameters: tuple[str, ...]
    registers: tuple[str, ...]
    refs: tuple[str, ...]
    about: tuple[str, ...]
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class Domain:
    """A field of the world: who keeps its records, and its kinds."""

    name: str
    offices: tuple[str, ...]
    kinds: tuple[EntityKind, ...]


def read_domain(path: Path) -> Domain:
    """The domain of a TOML file, named by its stem. Raises KeyError or ValueError where it is malformed."""
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    kinds = tuple(_kind(name, path.stem, fields) for name, fields in table.items() if name != "offices")
    return Domain(path.stem, split_alternatives(table["offices"]), kinds)


def _kind(name: str, domain: str, fields: Mapping[str, Any]) -> EntityKind:
    return EntityKind(
        id=name,
        noun=fields.get("noun", name.replace("_", " ")),
        domain=domain,
        pattern=fields["names"],
        parent=fields.get("parent"),
        parameters=split_alternatives(fields["parameters"]),
        registers=split_alternatives(fields["registers"]),
        refs=split_alternatives(fields.get("refs", "{}")),
        about=tuple(fields["about"]),
        relations=tuple(_relation(name, *row) for row in fields["facts"]),
    )


def _relation(kind: str, key: str, answer: str, phrases: str, asks: str, also: str | None = None) -> Relation:
    value = _value(answer)
    target = answer if value is None else None
    return Relation(
        f"{kind}.{key}", kind, key, target, value, split_alternatives(phrases), split_alternatives(asks), also
    )


def _value(text: str) -> Value | None:
    """The value that "decimal 38 1900 km" and the like describe; None for a single word, which is a kind."""
    name, _, rest = text.partition(" ")
    if name not in get_args(ValueType):
        return None
    type_ = cast(ValueType, name)
    if type_ == "choice":
        return Value(type_, choices=split_alternatives(rest))
    if type_ == "list":
        return Value(type_, of=rest)
    low, high, *unit = rest.split(" ", 2)
    return Value(type_, float(low), float(high), unit[0] if unit else "florins" if type_ == "money" else "")


def split_alternatives(text: str) -> tuple[str, ...]:
    """The texts that "|" separates, without the space around them."""
    return tuple(part.strip() for part in text.split("|") if part.strip())
