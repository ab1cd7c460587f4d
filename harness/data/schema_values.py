"""Arguments made from a JSON Schema without understanding the tool: plain defaults, and random valid values.

Covers what tool schemas use: type (also a list), enum, const, default-less ranges and lengths, arrays, objects,
anyOf/oneOf/allOf. Patterns and references are left out: a string is then any string.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from harness.data.jsonio import LARGEST
from harness.types import JSONObject, Tool

MAX_DEPTH = 4
LONGEST = 1000
"""Items or characters that a schema can demand."""
MOST_ITEMS = 10_000
"""Items of all arrays together: arrays in arrays multiply."""
DATE = "2024-01-15"


def declared_parameters(tool: Tool) -> dict[str, JSONObject]:
    """The declared parameters of a tool: name to schema; anything malformed counts as no constraint."""
    declared = tool.parameters.get("properties")
    if not isinstance(declared, dict):
        return {}
    return {str(name): schema if isinstance(schema, dict) else {} for name, schema in declared.items()}


def required_parameters(tool: Tool) -> list[str]:
    """The names of the declared parameters that must be given, each once."""
    names, declared = tool.parameters.get("required"), declared_parameters(tool)
    if not isinstance(names, list):
        return []
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and name in declared))


def resolve_schema(schema: JSONObject) -> JSONObject:
    """A schema with its first alternative merged in."""
    for keyword in ("allOf", "anyOf", "oneOf"):
        options = schema.get(keyword)
        if isinstance(options, list) and options and isinstance(options[0], dict):
            rest = {key: value for key, value in schema.items() if key != keyword}
            return resolve_schema({**options[0], **rest})
    return schema


def schema_type(schema: JSONObject) -> str:
    """The JSON type of a schema; the first that is not null where it lists several, string where it names none."""
    declared = schema.get("type")
    if isinstance(declared, list):
        declared = next((name for name in declared if name != "null"), "null")
    if isinstance(declared, str):
        return declared
    return "object" if "properties" in schema else "array" if "items" in schema else "string"


def enum_values(schema: JSONObject) -> list[Any]:
    """The values that a schema enumerates."""
    if "const" in schema:
        return [schema["const"]]
    listed = schema.get("enum")
    return listed if isinstance(listed, list) else []


def plain_value(schema: JSONObject, text: str = "x", depth: int = 0) -> Any:
    """The dullest value: an enumeration's first, the smallest number allowed from 1, a date for a date, else `text`."""
    schema = resolve_schema(schema)
    if listed := enum_values(schema):
        return listed[0]
    match schema_type(schema):
        case "integer":
            return math.ceil(_low(schema, 1))
        case "number":
            return _low(schema, 1)
        case "boolean":
            return True
        case "null":
            return None
        case "array":
            items = schema.get("items")
            return [plain_value(items, text, depth + 1)] if isinstance(items, dict) and depth < MAX_DEPTH else []
        case "object":
            return _object(schema, lambda part: plain_value(part, text, depth + 1)) if depth < MAX_DEPTH else {}
        case _:
            return DATE if is_date(schema) else text


def is_date(schema: JSONObject) -> bool:
    """Whether a string schema asks for a date."""
    return schema.get("format") in ("date", "date-time")


def _low(schema: JSONObject, otherwise: float) -> float:
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float) and low > otherwise:
        return low
    return high if isinstance(high, int | float) and high < otherwise else otherwise


def _object(schema: JSONObject, value: Callable[[JSONObject], Any]) -> JSONObject:
    as_tool = Tool("", "", schema)
    declared = declared_parameters(as_tool)
    return {name: value(declared[name]) for name in required_parameters(as_tool)}


def _within_reason(value: Any) -> Any:
    """A limit that a schema sets, where one between the largest numbers of a run takes its place if it is beyond."""
    return max(-LARGEST, min(value, LARGEST)) if isinstance(value, int | float) else value


def _bounded(schema: JSONObject, keyword: str, otherwise: int) -> int:
    """A length that a schema asks for, within reason: schemas are data."""
    value = schema.get(keyword)
    return min(max(value, 0), LONGEST) if isinstance(value, int) else otherwise


class RandomValues:
    """Random values that a schema admits. `words` are what strings are made of; the same `random` gives the same."""

    def __init__(self, source: random.Random, words: Sequence[str]) -> None:
        self._random = source
        self._words = words or ["x"]
        self._left = MOST_ITEMS

    def arguments(self, tool: Tool) -> JSONObject:
        """Every required parameter and each optional one with probability a half."""
        needed = set(required_parameters(tool))
        return {
            name: self.value(schema)
            for name, schema in declared_parameters(tool).items()
            if name in needed or self._random.random() < 0.5
        }

    def value(self, schema: JSONObject, depth: int = 0) -> Any:
        schema = resolve_schema(schema)
        if listed := enum_values(schema):
            return self._random.choice(listed)
        match schema_type(schema):
            case "integer":
                low, high = self._range(schema)
                return self._random.randint(math.ceil(low), max(math.ceil(low), math.floor(high)))
            case "number":
                return round(self._random.uniform(*self._range(schema)), 2)
            case "boolean":
                return self._random.random() < 0.5
            case "null":
                return None
            case "array":
                return self._array(schema, depth)
            case "object":
                return _object(schema, lambda part: self.value(part, depth + 1)) if depth < MAX_DEPTH else {}
            case _:
                return self._string(schema)

    def _range(self, schema: JSONObject) -> tuple[float, float]:
        low, high = _within_reason(schema.get("minimum")), _within_reason(schema.get("maximum"))
        least = low if isinstance(low, int | float) else (high - 100 if isinstance(high, int | float) else 0)
        return least, high if isinstance(high, int | float) else least + 100

    def _array(self, schema: JSONObject, depth: int) -> list[Any]:
        items = schema.get("items")
        if depth >= MAX_DEPTH:
            return []
        fewest, most = _bounded(schema, "minItems", 0), _bounded(schema, "maxItems", 3)
        size = min(self._random.randint(fewest, max(fewest, most)), self._left)
        self._left -= size
        return [self.value(items if isinstance(items, dict) else {}, depth + 1) for _ in range(size)]

    def _string(self, schema: JSONObject) -> str:
        if is_date(schema):
            year, month, day = (self._random.randint(*ends) for ends in ((1900, 2030), (1, 12), (1, 28)))
            return f"{year}-{month:02}-{day:02}"
        text = " ".join(self._random.choices(self._words, k=self._random.randint(1, 3)))
        shortest, longest = _bounded(schema, "minLength", 0), _bounded(schema, "maxLength", len(text) + 100)
        return text.ljust(shortest, "x")[:longest]
