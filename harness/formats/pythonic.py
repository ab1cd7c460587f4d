"""Pythonic calls: [f(a=1), g(b="x")] as the whole message, as Llama 3.2 and 4, LFM2 and Olmo 3 write them.

A list begins the message, or a line if it names a tool that there is, or stands behind another call or behind
<|python_start|>, <|python_tag|>, <|tool_call_start|> or <function_calls>; a call without brackets is one behind a tag,
behind another call, and where it begins a line and names a tool that there is. A list is complete when its bracket is
closed. Arguments are literals by name; true, false and null are read as well, because models mix the languages up.

Left out: arguments by position, whose names nobody knows, and expressions: both are malformed.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.data.arguments import MAX_ARGUMENTS_CHARS
from harness.formats.parsing import (
    BEHIND_PROSE,
    BLOCKS,
    FENCE_END,
    LINE_START,
    NO_MORE,
    TRIES,
    PartialMessage,
    compile_marks,
    parse_message,
    read_value,
    with_arguments,
)
from harness.formats.plain import MANY, TOOLS, Wording
from harness.types import JSONObject, Message, Tool, ToolCall

NAME = r"[A-Za-z_][\w.\-]*"
OPENING = r"<\|python_start\|>|<\|python_tag\|>|<\|tool_call_start\|>|<function_calls>"
CLOSING = re.compile(r"\s*(?:<\|python_end\|>|<\|tool_call_end\|>|</function_calls>)")
MARK = compile_marks(
    rf"(?P<tag>{OPENING})\s*|(?P<line>(?:\A\s*|{LINE_START})(?P<fence>`{{3}}[\w+-]*\s*)?)(?=(?:\[\s*)?{NAME}\()"
    rf"|(?=\[\s*{NAME}\()"
)
"""A tag, what looks like a call at the beginning of a line, or a list of calls within one."""
HEAD = re.compile(rf"(?P<list>\[\s*)?(?P<name>{NAME})\(\s*")
CALL = re.compile(rf"\s*(?P<name>{NAME})\s*(?=\()")
BY_NAME = re.compile(r"[A-Za-z_]\w*\s*(?:=(?!=)|\Z)|\)|\*\*|\Z")
BY_PLACE = re.compile(r"[\"'\d\[{-]")
"""How arguments begin that can be read, and how an attempt begins whose arguments cannot."""
JOINT = re.compile(r"\s*+[,;]?\s*+")
QUOTED = (
    r'"""(?:[^\\]|\\.)*?(?:"""|\Z)'
    r"|'''(?:[^\\]|\\.)*?(?:'''|\Z)"
    r'|"(?:[^"\\]|\\.)*+(?:"|\\?\Z)'
    r"|'(?:[^'\\]|\\.)*+(?:'|\\?\Z)"
)
PART = re.compile(rf"{QUOTED}|[()\[\]{{}}]", re.DOTALL)
"""A string, also one that the text's end cut, or a bracket: all it takes to find where a call ends."""
NUMBER = r"\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?![\w.])"
ARGUMENTS = re.compile(rf"(?:{QUOTED}|{NUMBER}|[A-Za-z_]\w*(?![\w\"'])|[=,:\[\]{{}}*+\s-])*+", re.DOTALL)
"""What literals by name are made of. Python's own parser reads them; it warns of much that is none of this."""
ESCAPE = re.compile(r"\\(.)", re.DOTALL)
ESCAPES = "\\'\"abfnrtvxuUN\n0"
JSON_START = re.compile(r"\[?\s*\{")
REASONING_ENDS = tuple(BLOCKS.values())
CONSTANTS = {"true": True, "false": False, "null": None}
NOT_CLOSED = "the list of calls was not closed by ]"
UNFINISHED = "the call was not closed by )"
WANTED = 'the arguments are not literals by name, as in f(a=1, b="x")'

PROTOCOL = """To use tools, write nothing but the calls, as a list in exactly this form:
[name_of_a_tool(argument=1, other="text"), name_of_another(flag=True)]
"""
WORDING = Wording(TOOLS + PROTOCOL + MANY, "Result: {content}")


@dataclass(frozen=True)
class Pythonic:
    """The format of models that write calls as a list in Python's syntax."""

    name: str = "pythonic"
    stop: tuple[str, ...] = ()
    wording: Wording = WORDING

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False, tools: Collection[str] = ()) -> Message:
        return parse_message(text, MARK, _calls, turn, thinking, tools)

    def render(self, calls: Sequence[ToolCall]) -> str:
        """One list; malformed calls stand beside it, as they were written."""
        written = [_written(call) for call in calls if call.arguments is not None]
        torn = [call.raw for call in calls if call.arguments is None]
        return "\n".join([*([f"[{', '.join(written)}]"] if written else []), *torn])

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        return None


# --- writing -----------------------------------------------------------------------------------------------------


def _written(call: ToolCall) -> str:
    """A call in Python's syntax; arguments that are no names of Python's stand in **{...}."""
    fields = call.arguments or {}
    named = {key: value for key, value in fields.items() if _is_name(key)}
    rest = {key: value for key, value in fields.items() if key not in named}
    parts = [f"{key}={_literal(value)}" for key, value in named.items()]
    return f"{call.name}({', '.join([*parts, *([f'**{_literal(rest)}'] if rest else [])])})"


def _is_name(key: str) -> bool:
    return key.isascii() and key.isidentifier() and not keyword.iskeyword(key)


def _literal(value: object) -> str:
    """A JSON value as a literal of Python's; strings are written as JSON writes them, which Python reads alike."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


# --- reading -----------------------------------------------------------------------------------------------------


def _calls(text: str, mark: re.Match[str], reading: PartialMessage) -> int | None:
    """Reads what a tag, the beginning of a line, or a bracket may open; returns where reading goes on."""
    if mark["tag"]:
        return _tagged(text, mark.end(), reading)
    begin, fence = mark.end(), mark["fence"] or ""
    before = text[: begin - len(fence)].rstrip()
    end = _head(text, begin, reading, mark["line"] is None, not before or before.endswith(REASONING_ENDS))
    if end is None:
        return None
    end = _joined(text, end, reading)
    closing = FENCE_END.match(text, end) if fence else None
    return closing.end() if closing else end


def _head(text: str, begin: int, reading: PartialMessage, within: bool, starts: bool) -> int | None:
    """Reads the first call or list of calls where it is one; None: it is prose.

    Behind prose on its line a list is read only behind another call; as the last thing of a reply it is counted.
    """
    head = HEAD.match(text, begin)
    if head is None:
        return None
    known, by_name = head["name"] in reading.tools, BY_NAME.match(text, head.end()) is not None
    if within and not reading.calls:
        end = _end(text, begin) if known and reading.tried <= TRIES * len(text) else None
        reading.tried += (end or len(text)) - begin if known else 0
        if end is None or not NO_MORE.match(text, end):
            return None
        reading.calls.append(ToolCall(reading.call_id, head["name"], None, text[begin:end], BEHIND_PROSE))
        return end
    if known and (by_name or BY_PLACE.match(text, head.end())):
        return _read(text, begin, reading)
    return _read(text, begin, reading) if by_name and (reading.calls or (starts and head["list"])) else None


def _tagged(text: str, begin: int, reading: PartialMessage) -> int:
    """What follows a tag is a call, whatever it looks like."""
    if HEAD.match(text, begin):
        end = _joined(text, _read(text, begin, reading), reading)
    elif JSON_START.match(text, begin) and (after := read_value(text, begin, reading, lambda name: True)) is not None:
        end = after
    else:
        closing = CLOSING.search(text, begin)
        end = closing.start() if closing else len(text)
        reading.calls.append(ToolCall(reading.call_id, "", None, text[begin:end].strip(), "no call follows the tag"))
    closing = CLOSING.match(text, end)
    return closing.end() if closing else end


def _joined(text: str, at: int, reading: PartialMessage) -> int:
    """Reads the calls and lists that follow a call, with a comma, a semicolon or nothing between."""
    while (joint := JOINT.match(text, at)) is not None and (head := HEAD.match(text, joint.end())) is not None:
        if not BY_NAME.match(text, head.end()) and head["name"] not in reading.tools:
            break
        at = _read(text, joint.end(), reading)
    return at


def _read(text: str, begin: int, reading: PartialMessage) -> int:
    """Reads a call, or a list of them, which is complete when its bracket is closed; returns where it ends."""
    if not text.startswith("[", begin):
        return _call(text, begin, len(text), reading)
    end = _end(text, begin)
    if end is None:
        head = HEAD.match(text, begin)
        name = head["name"] if head else ""
        reading.calls.append(ToolCall(reading.call_id, name, None, text[begin:], NOT_CLOSED))
        return len(text)
    at = begin + 1
    while CALL.match(text, at):
        joint = JOINT.match(text, _call(text, at, end - 1, reading))
        at = joint.end() if joint else end
    if rest := text[at : end - 1].strip():
        reading.calls.append(ToolCall(reading.call_id, "", None, rest, "the list holds something that is no call"))
    return end


def _call(text: str, begin: int, limit: int, reading: PartialMessage) -> int:
    """Reads one call; returns where it ends."""
    head = CALL.match(text, begin)
    name, opening = (head["name"], head.end()) if head else ("", begin)
    end = _end(text, opening)
    if end is None or end > limit:
        raw = text[begin:limit].strip()
        reading.calls.append(ToolCall(reading.call_id, name, None, raw, UNFINISHED))
        return limit
    raw = text[begin:end].strip()
    fields = read_literals(text[opening + 1 : end - 1])
    if fields is None:
        reading.calls.append(ToolCall(reading.call_id, name, None, raw, WANTED))
    else:
        reading.calls.append(with_arguments(name, fields, raw, reading.call_id))
    return end


def _end(text: str, start: int) -> int | None:
    """Where the bracket that opens at a place is closed, brackets in strings apart; None: the text ends first."""
    depth = 0
    for part in PART.finditer(text, start):
        depth += 1 if part[0] in "([{" else -1 if part[0] in ")]}" else 0
        if depth == 0:
            return part.end()
    return None


# --- literals ----------------------------------------------------------------------------------------------------


def read_literals(text: str) -> JSONObject | None:
    """The arguments of a call by name; None: there is anything else among them."""
    if len(text) > MAX_ARGUMENTS_CHARS or not ARGUMENTS.fullmatch(text):
        return None
    lenient = ESCAPE.sub(lambda found: found[0] if found[1] in ESCAPES else f"\\{found[0]}", text)
    try:
        call = ast.parse(f"f({lenient})", mode="eval").body
        return _fields(call) if isinstance(call, ast.Call) and not call.args else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _fields(call: ast.Call) -> JSONObject:
    """Argument by argument; ValueError for one that comes twice or is no literal."""
    fields: JSONObject = {}
    for argument in call.keywords:
        value = _value(argument.value)
        more = {argument.arg: value} if argument.arg is not None else value
        if not isinstance(more, dict) or more.keys() & fields.keys():
            raise ValueError("an argument comes twice, or ** stands before no object")
        fields.update(more)
    return fields


def _value(node: ast.expr) -> object:
    """The JSON value of a literal; ValueError for anything else."""
    match node:
        case ast.Constant(value=str() | bool() | int() | float() | None as value):
            return value
        case ast.Name(id="true" | "false" | "null" as name):
            return CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
        case ast.List(elts=items):
            return [_value(item) for item in items]
        case ast.Dict(keys=keys, values=values):
            return {_key(key): _value(value) for key, value in zip(keys, values, strict=True)}
    raise ValueError("no literal")


def _key(node: ast.expr | None) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise ValueError("a key is no string")
