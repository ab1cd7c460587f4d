"""From the wheel's possible answers to calls that a model could make: what policy/oracle plays.

A possible answer lists, for each parameter, the values that count; "" among them means that it may be left out, and
here it is unless it is required, because some of these are parameters that the function does not have. For Java and
JavaScript the values are spelled as source text, in the way that the wheel's checker reads it.
"""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import UsageError
from harness.types import GoldCall, JSONObject
from tasks.bfcl import schemas

LEFT_OUT = ""


def make_gold_calls(
    answer: Sequence[JSONObject], functions: Sequence[JSONObject], category: str
) -> tuple[GoldCall, ...]:
    """The calls of a single turn."""
    described = {function["name"]: function["parameters"] for function in functions}
    return tuple(
        GoldCall(schemas.tool_name(name), _arguments(allowed, described[name], schemas.language_of(category)))
        for possible in answer
        for name, allowed in possible.items()
    )


def _arguments(allowed: Mapping[str, Any], parameters: JSONObject, language: str) -> JSONObject:
    chosen: JSONObject = {}
    for name, values in allowed.items():
        given = [value for value in values if value != LEFT_OUT]
        if LEFT_OUT in values and (not given or name not in parameters["required"]):
            continue
        schema = parameters["properties"].get(name, {})
        value = _plain(given[0], schema) if given else []
        chosen[name] = value if language == "python" else _spelled(value, schema, language)
    return chosen


def _plain(value: Any, schema: JSONObject) -> Any:
    """The value itself. What is in an object, or in the objects of a list, is a list of values that count; where a text
    stands instead of that list, the checker looks for "" in the text and finds it."""
    if isinstance(value, dict):
        return {name: inner[0] for name, inner in value.items() if inner and LEFT_OUT not in inner}
    if isinstance(value, list) and (schema.get("items") or {}).get("type") == "dict":
        return [_plain(item, {}) for item in value]
    return value


# --- source text -------------------------------------------------------------------------------------------------


def _spelled(value: Any, schema: JSONObject, language: str) -> str:
    kind, inner = schema.get("type", "any"), (schema.get("items") or {}).get("type", "any")
    if isinstance(value, str):
        return value
    return _java(value, kind, inner) if language == "java" else _javascript(value, kind)


def _java(value: Any, kind: str, inner: str) -> str:
    if isinstance(value, dict):
        puts = " ".join(f"put({json.dumps(name)}, {json.dumps(item)});" for name, item in value.items())
        return f"new HashMap<>() {{{{ {puts} }}}}" if puts else "new HashMap<>()"
    if isinstance(value, list) and kind == "ArrayList":
        return f"new ArrayList<>(Arrays.asList({', '.join(_java(item, inner, '') for item in value)}))"
    if isinstance(value, list):
        # In an array, but not in an ArrayList, the checker takes the quotation marks of a String for a part of it.
        return f"new {inner}[]{{{', '.join(str(item) for item in value)}}}"
    text = json.dumps(value)
    return text + {"long": "L", "float": "f"}.get(kind, "")


def _javascript(value: Any, kind: str) -> str:
    return json.dumps(value) + ("n" if kind == "Bigint" else "")


# --- conversations -----------------------------------------------------------------------------------------------


def parse_gold_call(text: str, parameters: Mapping[str, Sequence[str]], where: str) -> GoldCall:
    """A call as a conversation's answer has it, name(value, name=value). `parameters`: function to names in order."""
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError("it is no call")
        placed = dict(zip(parameters[node.func.id], map(ast.literal_eval, node.args), strict=False))
        named = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (SyntaxError, ValueError, KeyError) as error:
        raise UsageError(f"{where}: the answer {text!r} cannot be read as a call: {error}.") from None
    return GoldCall(node.func.id, {**placed, **named})
