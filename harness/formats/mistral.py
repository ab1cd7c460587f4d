"""Mistral: [TOOL_CALLS][{"name": ..., "arguments": {...}}, ...], and newer [TOOL_CALLS]name[ARGS]{...} for each call.

A call is complete when its object is: what follows a torn one is part of it. An array whose later element is torn
keeps its earlier ones. What follows a call directly, or behind a comma, is one too: models leave out the later tags. A
name with [ARGS] and an object is a call also where the tag in front of it was left out. Between name and [ARGS] an id
may stand behind [CALL_ID]; it is not kept. Reasoning stands in [THINK]...[/THINK], in older models in
<think>...</think>.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.data.arguments import parse_json_object
from harness.formats.parsing import (
    PartialMessage,
    compile_marks,
    find_value_end,
    format_parse_error,
    make_malformed_call,
    parse_message,
    parse_object,
)
from harness.formats.plain import MANY, TOOLS, Wording
from harness.types import Message, Tool, ToolCall

TAG = "[TOOL_CALLS]"
MARK = compile_marks(rf"(?:{re.escape(TAG)}\s*)*{re.escape(TAG)}|(?<![\w.\-])(?=[\w.\-]+\[ARGS\]\s*\{{)")
"""The tag, which some models repeat, or a name and its arguments without one."""
NEXT_NAMED = re.compile(r"\s*+[,;]?\s*+(?=[\w.\-]+(?:\[CALL_ID\][^\[\]{}]*)?\[ARGS\]\s*\{)")
NEXT_ARRAY = re.compile(r"\s*+[,;]?\s*+\[(?=\s*\{)")
NEXT_OBJECT = re.compile(r"\s*+[,;]?\s*+(?=\{)")
NAMED = re.compile(r"([^\[\]{}]+)(?:\[CALL_ID\][^\[\]{}]*)?(?:\[ARGS\]\s*)?(?=\{)")
ARRAY = re.compile(r"\s*\[")
OBJECT = re.compile(r"\s*(?=\{)")
COMMA = re.compile(r"\s*,")
CLOSE = re.compile(r"\s*\]")

PROTOCOL = """To use tools, write each call in exactly this form:
[TOOL_CALLS]the name of one tool[ARGS]{{its arguments as one JSON object}}
"""
WORDING = Wording(TOOLS + PROTOCOL + MANY, "[TOOL_RESULTS]{content}[/TOOL_RESULTS]")


@dataclass(frozen=True)
class Mistral:
    """The format of models whose template writes calls behind [TOOL_CALLS]. It renders the newer of the two forms."""

    name: str = "mistral"
    stop: tuple[str, ...] = ()
    wording: Wording = WORDING

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False, tools: Collection[str] = ()) -> Message:
        return parse_message(text, MARK, _calls, turn, thinking, tools)

    def render(self, calls: Sequence[ToolCall]) -> str:
        return "".join(f"{TAG}{_written(call)}" for call in calls)

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        return None


def _written(call: ToolCall) -> str:
    if call.arguments is None:
        return call.raw
    return f"{call.name}[ARGS]{json.dumps(call.arguments, ensure_ascii=False)}"


def _calls(text: str, mark: re.Match[str], reading: PartialMessage) -> int:
    """Reads the calls behind a tag, and those that follow them without one."""
    at = _first(text, mark.end(), reading)
    while True:
        if (named := NEXT_NAMED.match(text, at)) is not None and (call := NAMED.match(text, named.end())) is not None:
            at = _named(text, call, reading)
        elif (array := NEXT_ARRAY.match(text, at)) is not None:
            at = _array(text, array.end(), reading)
        elif (single := NEXT_OBJECT.match(text, at)) is not None:
            at = parse_object(text, single.end(), reading)
        else:
            return at


def _first(text: str, start: int, reading: PartialMessage) -> int:
    """Reads what stands directly behind a tag, which is a call whatever it looks like; returns where it ends."""
    named = NAMED.match(text, start)
    if named is not None and named[1].strip():
        return _named(text, named, reading)
    array = ARRAY.match(text, start)
    single = OBJECT.match(text, start)
    if array is not None and not text.startswith(TAG, array.end() - 1):
        return _array(text, array.end(), reading)
    if single is not None:
        return parse_object(text, single.end(), reading)
    # Neither a name nor JSON: no string is open, so the next tag begins something new.
    end = text.find(TAG, start)
    end = len(text) if end < 0 else end
    reading.calls.append(make_malformed_call(text[start:end].strip(), reading.call_id, f"no call follows {TAG}"))
    return end


def _named(text: str, named: re.Match[str], reading: PartialMessage) -> int:
    begin, name = named.end(), named[1].strip()
    end = find_value_end(text, begin)
    raw = text[begin:end]
    whole = text[named.start() : end].strip()
    if end is None:
        reading.calls.append(ToolCall(reading.call_id, name, None, whole, "the arguments' JSON was not finished"))
        return len(text)
    try:
        reading.calls.append(ToolCall(reading.call_id, name, parse_json_object(raw), raw))
    except ValueError as error:
        reading.calls.append(
            ToolCall(reading.call_id, name, None, whole, f"the arguments are {format_parse_error(str(error))}")
        )
    return end


def _array(text: str, at: int, reading: PartialMessage) -> int:
    """Reads the calls of an array from behind its bracket; what is no object ends it."""
    while (element := OBJECT.match(text, at)) is not None:
        at = parse_object(text, element.end(), reading)
        comma = COMMA.match(text, at)
        if comma is None:
            break
        at = comma.end()
    closing = CLOSE.match(text, at)
    if closing is not None:
        return closing.end()
    if text[at:].strip():
        reading.calls.append(
            make_malformed_call(text[at:].strip(), reading.call_id, "the array of calls is not valid JSON")
        )
    return len(text)
