"""Arguments that prove something: sentinels that a tool can only have from its caller, and wrong values.

A sentinel is a word, a number or a date that occurs in no table. A wrong value has the type and the look of a right
one, so that a tool answers it as it would answer a mistaken model. Left out: sentinels in a range so narrow that any
number in it could occur by chance.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from harness.data.jsonio import is_number
from harness.data.schema_values import (
    declared_parameters,
    enum_values,
    is_date,
    plain_value,
    required_parameters,
    resolve_schema,
    schema_type,
)
from harness.types import JSONObject, Tool

MAX_DEPTH = 4
WORD = "Quorvex"
NUMBER = 73_901_000
FRACTION = 0.25
DAY = date(1801, 1, 3)
ALPHABET = "bcdfghjklmnpqrst"


@dataclass
class Sentinels:
    """Values that are unique among all that one instance made; `texts` are what an output must not state."""

    texts: list[str] = field(default_factory=list)

    def make_value(self, schema: JSONObject, depth: int = 0) -> Any:
        """A sentinel of the schema's type, its parts sentinels too; the plain value where a type has none."""
        schema = resolve_schema(schema)
        match schema_type(schema):
            case "integer":
                return self._kept(NUMBER + 7 * len(self.texts))
            case "number":
                return self._kept(NUMBER + 7 * len(self.texts) + FRACTION)
            case "array":
                items = schema.get("items")
                return (
                    [self.make_value(items if isinstance(items, dict) else {}, depth + 1)] if depth < MAX_DEPTH else []
                )
            case "object":
                return self._object(schema, depth) if depth < MAX_DEPTH else {}
            case "boolean" | "null":
                return plain_value(schema)
        if is_date(schema):
            return self._kept((DAY + timedelta(days=37 * len(self.texts))).isoformat())
        return self.make_word()

    def make_word(self) -> str:
        """A sentinel word."""
        number = len(self.texts)
        return str(self._kept(WORD + ALPHABET[number // 16 % 16] + ALPHABET[number % 16]))

    def _object(self, schema: JSONObject, depth: int) -> JSONObject:
        parts = declared_parameters(Tool("", "", schema))
        if not parts:
            return {"value": self.make_word()}
        return {name: self.make_value(part, depth + 1) for name, part in parts.items()}

    def _kept(self, value: Any) -> Any:
        self.texts.append(str(value))
        return value


def sentinel_core(text: str) -> str:
    """What survives of a sentinel in any usual spelling: a substring of the folded output without commas."""
    return "1801" if text.startswith("1801-") else text.casefold().removesuffix(".25")


def default_arguments(tool: Tool) -> JSONObject:
    """The dullest call: every required parameter with the plainest valid value."""
    declared = declared_parameters(tool)
    return {name: plain_value(declared[name]) for name in required_parameters(tool)}


def make_wrong_value(value: Any, schema: JSONObject, salt: int = 0, depth: int = 0) -> Any:
    """Another value like `value`: an enumeration's next, a number further on, a later date, an unknown name. Another
    `salt` changes by another amount, so that two dates do not keep their distance."""
    schema = resolve_schema(schema)
    if listed := enum_values(schema):
        return listed[(listed.index(value) + 1) % len(listed)] if value in listed else listed[0]
    if isinstance(value, bool) or value is None:
        return not value
    if isinstance(value, int | float) and not is_number(value):
        return 17 + salt
    if isinstance(value, int):
        return value * 3 + 17 + salt
    if isinstance(value, float):
        return round(value * 1.7 + 13.31 + salt, 2)
    if isinstance(value, str):
        return _wrong_text(value, salt)
    if depth < MAX_DEPTH and isinstance(value, list):
        items = schema.get("items")
        inner = items if isinstance(items, dict) else {}
        return [make_wrong_value(item, inner, salt + place, depth + 1) for place, item in enumerate(value)]
    if depth < MAX_DEPTH and isinstance(value, dict):
        parts = declared_parameters(Tool("", "", schema))
        return {
            name: make_wrong_value(item, parts.get(name, {}), salt + place, depth + 1)
            for place, (name, item) in enumerate(value.items())
        }
    return None


def _wrong_text(value: str, salt: int) -> str:
    try:
        return (date.fromisoformat(value) + timedelta(days=401 + 397 * salt)).isoformat()
    except (ValueError, OverflowError):
        return str(int(value) * 3 + 17 + salt) if value.isdecimal() and len(value) < 19 else WORD + ALPHABET[salt % 16]


def iter_scalars(value: Any, depth: int = 0) -> Iterator[str]:
    """The texts and numbers in a call's arguments, as text; booleans and null say nothing."""
    if isinstance(value, dict | list) and depth <= MAX_DEPTH:
        parts = value.values() if isinstance(value, dict) else value
        yield from itertools.chain.from_iterable(iter_scalars(part, depth + 1) for part in parts)
    elif isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield str(value)
