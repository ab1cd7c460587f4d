"""What models write into calls: arguments read as JSON objects, bounded and without what cannot be written again.

Shared by the text formats and by the models behind endpoints, so that arguments are malformed by the same rule wherever
they came from. Nothing here raises anything but ValueError, whatever a model wrote.

Left out: repair of broken JSON, because a score says what the model wrote.
"""

from __future__ import annotations

import json
import math
import re

from harness.types import JSONObject

MAX_ARGUMENTS_DEPTH = 64
MAX_ARGUMENTS_CHARS = 1_000_000
"""Characters. Beyond either limit arguments count as malformed: what handles them later recurses and copies."""
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_arguments(value: object) -> tuple[JSONObject | None, str, str | None]:
    """Arguments, their text, and why it is malformed. "" and null are {}: that is how a call without any is written."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}, value or "", None
    if not isinstance(value, str) and is_deeper_than(value, MAX_ARGUMENTS_DEPTH):
        return None, "", "nested too deeply"
    raw = replace_surrogates(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    try:
        return parse_json_object(raw), raw, None
    except ValueError as error:
        return None, raw, str(error)


def parse_json_object(text: str) -> JSONObject:
    """A JSON object that can be written again: no NaN, no infinity, bounded. ValueError says what it is instead."""
    if len(text) > MAX_ARGUMENTS_CHARS:
        raise ValueError(f"longer than {MAX_ARGUMENTS_CHARS} characters")
    try:
        value = json.loads(text, parse_constant=finite, parse_float=finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if is_deeper_than(value, MAX_ARGUMENTS_DEPTH):
        raise ValueError("nested too deeply")
    if ESCAPED_SURROGATE.search(text):
        value = json.loads(replace_surrogates(json.dumps(value, ensure_ascii=False)))
    return dict(value)


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no JSON number")
    return number


def is_deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        if not level:
            return False
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list | tuple) else ())
        ]
    return bool(level)


def count_values(value: object) -> int:
    """How many values a value of JSON holds, itself included."""
    waiting, found = [value], 0
    while waiting:
        item = waiting.pop()
        found += 1
        waiting += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return found


def replace_surrogates(text: str) -> str:
    """The text with every lone surrogate replaced: JSON can spell them, UTF-8 files and requests cannot hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def make_call_id(turn: int, index: int) -> str:
    return f"call_{turn}_{index}"
