"""Other valid values for one parameter of a call: code that gives the same output for all of them ignores it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from envbuilder.model.checks import schema_trouble
from envbuilder.records import Document
from harness.types import JSONObject

MOST_VALUES = 24
UNKNOWN_NAME = "Quillon Vasterby"
DATES = ("1850-01-01", "1999-06-15", "2100-12-31")
TIMES = ("00:00", "23:59")
EXTRAS = ("include_", "with_", "show_", "add_", "return_")
"""How parameters begin that promise something more in the result."""


def is_extra(name: str, schema: JSONObject) -> bool:
    """Whether a parameter only adds to the result, so that no value of it may give an error."""
    return schema["type"] == "boolean" and name.startswith(EXTRAS)


def base_calls(document: Document, calls: Sequence[JSONObject]) -> list[JSONObject]:
    """The calls, and each with every other switch on: a parameter may matter only beside one (how many runners-up)."""
    switches = {
        name: not schema.get("default", False)
        for name, schema in document.parameters["properties"].items()
        if schema["type"] == "boolean"
    }
    return [*calls, *({**call, **switches} for call in calls if switches)]


def changed_calls(document: Document, call: JSONObject, name: str) -> list[JSONObject]:
    """The call with other valid values for one parameter."""
    schema = document.parameters["properties"][name]
    now = call.get(name, schema.get("default"))
    found: list[JSONObject] = []
    for value in other_values(schema, now):
        changed = {**call, name: value}
        if value != now and changed not in found and schema_trouble(document.parameters, changed) is None:
            found.append(changed)
    return found[:MOST_VALUES]


def other_values(schema: JSONObject, now: Any) -> Iterator[Any]:
    if "enum" in schema:
        yield from schema["enum"]
        return
    match schema["type"]:
        case "boolean":
            yield from (True, False)
        case "integer" | "number":
            yield from other_numbers(schema, now)
        case "array":
            yield from other_lists(schema.get("items") or {"type": "string"}, now)
        case "object":
            yield from other_objects(schema.get("properties") or {}, now)
        case _:
            yield from other_texts(schema.get("format"))


def other_numbers(schema: JSONObject, now: Any) -> Iterator[float]:
    limits = [schema[limit] for limit in ("minimum", "maximum") if limit in schema]
    near = [now - 1, now + 1, now * 2] if isinstance(now, int | float) else []
    numbers = (*limits, *near, 0, 1, 2, 3, 5, 10, 50, 100, 1900, 1950, 2000, 2020)
    yield from (int(number) if schema["type"] == "integer" else number for number in numbers)


def other_texts(form: str | None) -> Iterator[str]:
    """No text of another form: what is no valid value proves nothing."""
    known = {None: (UNKNOWN_NAME, "qv-1907"), "date": DATES, "time": TIMES}
    yield from known.get(form, ())


def other_lists(items: JSONObject, now: Any) -> Iterator[list[Any]]:
    yield from ([item] for item in other_values(items, None))
    if isinstance(now, list) and now:
        yield from (now[:-1], now[::-1], now + now[-1:])


def other_objects(properties: JSONObject, now: Any) -> Iterator[JSONObject]:
    base = now if isinstance(now, dict) else {}
    for key, inner in properties.items():
        yield from ({**base, key: value} for value in other_values(inner, base.get(key)))
