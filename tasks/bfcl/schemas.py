"""The wheel's descriptions of functions as tools: OpenAI's names and JSON Schema's types.

Function-calling endpoints refuse dots in names, so they become underscores, as in the benchmark's own runs. Arguments
of Java and JavaScript functions are asked for as source text, because the checker reads them as such.
"""

from __future__ import annotations

import json
from typing import Any

from harness.types import JSONObject, Tool

TYPES = {
    **dict.fromkeys(("integer", "byte", "short", "long", "Bigint"), "integer"),
    **dict.fromkeys(("number", "float", "double"), "number"),
    **dict.fromkeys(("boolean", "bool", "Boolean"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple", "Array", "ArrayList", "Queue", "Stack", "Set"), "array"),
    **dict.fromkeys(("dict", "object", "HashMap", "Hashtable"), "object"),
}
"""All others, "any" too, are strings, as in the benchmark's own runs."""

LANGUAGES = {"simple_java": "java", "simple_javascript": "javascript"}
SPELLED = {"python": "Python 3", "java": "Java 8", "javascript": "JavaScript"}


def language_of(category: str) -> str:
    return LANGUAGES.get(category, "python")


def make_tool(function: JSONObject, category: str) -> Tool:
    """A tool as the model sees it."""
    spoken = language_of(category)
    parameters = function["parameters"]
    properties = {
        name: _value(value) if spoken == "python" else _source_text(value, SPELLED[spoken])
        for name, value in parameters["properties"].items()
    }
    return Tool(
        tool_name(function["name"]),
        f"{function['description']} (A {SPELLED[spoken]} function.)",
        {"type": "object", "properties": properties, "required": list(parameters.get("required", ()))},
    )


def tool_name(name: str) -> str:
    return name.replace(".", "_")


def _value(value: JSONObject) -> JSONObject:
    """A parameter's schema, whatever is nested in it."""
    kind = TYPES.get(value.get("type", ""), "string")
    schema: JSONObject = {**value, "type": kind}
    if kind == "number" and value["type"] == "float":
        schema["format"] = "float"
    if isinstance(value.get("items"), dict):
        schema["items"] = _value(value["items"])
    if isinstance(value.get("properties"), dict):
        schema["properties"] = {name: _value(inner) for name, inner in value["properties"].items()}
    return schema


def _source_text(value: JSONObject, spoken: str) -> JSONObject:
    kind = value["type"]
    hint = f"As text: {spoken} source of " + ("any object" if kind == "any" else f"type {kind}")
    if isinstance(items := value.get("items"), dict):
        hint += f" with elements of type {items.get('type', 'any')}"
    if properties := value.get("properties"):
        hint += f" with the entries {json.dumps(properties)}"
    kept: dict[str, Any] = {name: value[name] for name in ("enum", "default") if name in value}
    return {"type": "string", "description": f"{value.get('description', '')} {hint}.".strip(), **kept}
