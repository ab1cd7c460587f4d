"""A plain Python function as a tool: the model sees its name, docstring and annotations, the sandbox gets its source.

    fare = tool(ferry_fare)      # fare.tool is what the model sees, fare.code what a worker runs
    Sample(..., tools=(fare.tool,), codes={fare.name: fare.code}, ...)

A worker has nothing but that text, and calls it with the model's JSON as it is. So whatever would not travel is
refused here, in one sentence, and not at the first call: closures, names of the module around it, defaults and types
that are no JSON. Left out: tools that work on a state (Task.state), whose first argument is not the model's.
"""

from __future__ import annotations

import ast
import builtins
import dis
import inspect
import json
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import CodeType, FunctionType, NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    Required,
    Union,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from docstring_parser import parse

from harness.errors import UsageError
from harness.types import JSONObject, Tool, ToolCall

FUTURE = "from __future__ import annotations\n\n\n"
"""In front of a tool's source: a worker has no names that annotations could mean."""
JSON_TYPES = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    NoneType: "null",
    list: "array",
    dict: "object",
}


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function as a tool: `tool` for Sample.tools, `code` for Sample.codes under its name."""

    tool: Tool
    code: str

    @property
    def name(self) -> str:
        return self.tool.name


def tool(function: Callable[..., Any]) -> FunctionTool:
    """The tool that a typed function with a docstring is. Its description is the docstring's text; those of its
    parameters are read in Google's, NumPy's or Sphinx's style.

    Types: str, int, float, bool, None, list, dict, Literal, TypedDict, unions of these, Annotated[..., "description"].
    Raises UsageError for a function that a worker could not run from its source alone, or that is not annotated.
    """
    where = f"{getattr(function, '__name__', function)} cannot be a tool"
    if not isinstance(function, FunctionType) or function.__name__ == "<lambda>":
        raise UsageError(f"{where}: it is no function that was defined by `def`.")
    code = _source(function, where)
    documented = parse(function.__doc__ or "")
    description = (documented.description or "").strip()
    if not description:
        raise UsageError(f"{where}: it has no docstring, which tells the model what it does.")
    described = {param.arg_name: " ".join((param.description or "").split()) for param in documented.params}
    parameters = _parameters(function, described, where)
    return FunctionTool(Tool(function.__name__, description, parameters), code)


def call(name: str, /, **arguments: Any) -> ToolCall:
    """A call as a model of one's own makes it. It has no id: the conversation gives it one."""
    return ToolCall("", name, arguments, json.dumps(arguments, ensure_ascii=False))


# --- the source --------------------------------------------------------------------------------------------------


def _source(function: FunctionType, where: str) -> str:
    """The text that a worker runs. Raises UsageError where it would not run there as it does here."""
    try:
        text = textwrap.dedent(inspect.getsource(function))
        (defined,) = ast.parse(text).body
    except (OSError, SyntaxError, ValueError):
        raise UsageError(f"{where}: its source cannot be found; define it in a file.") from None
    if not isinstance(defined, ast.FunctionDef):
        raise UsageError(f"{where}: it is async, and tools are run as plain functions.")
    if defined.decorator_list:
        raise UsageError(f"{where}: it is decorated, and only its own source would travel.")
    defaults = [node for node in (*defined.args.defaults, *defined.args.kw_defaults) if node]
    named = {node.id for default in defaults for node in ast.walk(default) if isinstance(node, ast.Name)}
    outer = named | set(function.__code__.co_freevars) | _outer_names(function.__code__)
    if names := sorted(outer - {function.__name__}):
        raise UsageError(f"{where}: it uses {', '.join(names)} from outside; a tool imports and defines all within.")
    return FUTURE + text


def _outer_names(code: CodeType) -> set[str]:
    """What a function and those within it take from their module, built-ins aside."""
    steps = list(dis.get_instructions(code))
    stored = {step.argval for step in steps if step.opname == "STORE_NAME"} | {"__name__"}
    loaded = {str(step.argval) for step in steps if step.opname == "LOAD_GLOBAL"}
    # The body of a class loads by name what is its own, and what is not.
    loaded |= {str(step.argval) for step in steps if step.opname.startswith("LOAD_NAME") and step.argval not in stored}
    inner = [_outer_names(constant) for constant in code.co_consts if isinstance(constant, CodeType)]
    return loaded.union(*inner) - set(vars(builtins))


# --- the schema --------------------------------------------------------------------------------------------------


def _parameters(function: FunctionType, described: dict[str, str], where: str) -> JSONObject:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise UsageError(f"{where}: an annotation cannot be read: {error}.") from None
    properties: JSONObject = {}
    required = []
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            raise UsageError(f"{where}: the parameter {name} cannot be given by its name.")
        if name not in hints:
            raise UsageError(f"{where}: the parameter {name} has no annotation.")
        schema = _schema(hints[name], f"{where}: the parameter {name}")
        properties[name] = {**schema, **({"description": described[name]} if described.get(name) else {})}
        if parameter.default is parameter.empty:
            required.append(name)
        else:
            properties[name]["default"] = _json(parameter.default, f"{where}: the default of {name}")
    if unknown := sorted(set(described) - set(properties)):
        raise UsageError(f"{where}: its docstring describes {', '.join(unknown)}, which it does not take.")
    return {"type": "object", "properties": properties, "required": required}


def _json(value: Any, where: str) -> Any:
    """A default as the model sees it; a copy."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise UsageError(f"{where} is no JSON.") from None


def _schema(annotation: Any, where: str) -> JSONObject:
    """The JSON Schema of a type whose values are what JSON gives: a dataclass would arrive as a dict."""
    origin, inside = get_origin(annotation), get_args(annotation)
    if annotation is Any:
        return {}
    if origin in (Required, NotRequired):
        return _schema(inside[0], where)
    if origin is Annotated:
        texts = [text for text in inside[1:] if isinstance(text, str)]
        return {**_schema(inside[0], where), **({"description": " ".join(texts)} if texts else {})}
    if annotation in JSON_TYPES:
        return {"type": JSON_TYPES[annotation]}
    if origin is Literal:
        kinds = dict.fromkeys(JSON_TYPES.get(type(value), "") for value in inside)
        if "" not in kinds:
            return {"type": [*kinds] if len(kinds) > 1 else next(iter(kinds)), "enum": list(inside)}
    if origin in (Union, UnionType):
        return {"anyOf": [_schema(one, where) for one in inside]}
    if origin is list:
        return {"type": "array", "items": _schema(inside[0], where)}
    if origin is dict and inside[0] is str:
        return {"type": "object", "additionalProperties": _schema(inside[1], where)}
    if is_typeddict(annotation):
        return _fields(annotation, where)
    raise UsageError(f"{where} is a {getattr(annotation, '__name__', annotation)}, which no JSON value is.")


def _fields(annotation: Any, where: str) -> JSONObject:
    hints = get_type_hints(annotation, include_extras=True)
    properties = {name: _schema(hint, f"{where}, {name},") for name, hint in hints.items()}
    left_out = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    required = [name for name in properties if name in annotation.__required_keys__ - left_out]
    return {"type": "object", "properties": properties, "required": required}
