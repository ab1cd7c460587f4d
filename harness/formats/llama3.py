"""Llama 3.1, 3.2 and 3.3: the whole message is {"name": ..., "parameters": {...}}, or several with `;` between them.

A call begins the message, or stands behind <|python_tag|> or another call; JSON in the middle of prose is prose. There
is no closing tag, so a call is complete when its object is. An object without a tag is a call if it has a name and
parameters: an answer in JSON is an answer. An array of calls, and a code fence around calls, are read as the calls.

Left out: the built-in tools' Python syntax behind <|python_tag|>, which is a malformed call here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.data.arguments import parse_json_object
from harness.formats.parsing import (
    ATTEMPT,
    FENCE_END,
    UNFINISHED,
    PartialMessage,
    compile_marks,
    find_value_end,
    make_call,
    make_malformed_call,
    parse_message,
    parse_object,
    read_joined,
    read_value,
    render_calls,
)
from harness.formats.plain import MANY, TOOLS, Wording
from harness.types import Message, Tool, ToolCall

TAG = "<|python_tag|>"
START = r"(?:\A|(?<=</think>)|(?<=\[/THINK\]))\s*(?P<fence>`{3}[\w+-]*\s*)?"
MARK = compile_marks(rf"{re.escape(TAG)}|{START}(?:\{{|(?=\[\s*\{{))")
"""The tag anywhere, or an object or an array that begins the message."""
NEXT = re.compile(rf"\s*+[,;]?\s*+(?:{re.escape(TAG)}\s*)?(?=\{{)")
SPACE = re.compile(r"\s*")

PROTOCOL = """To use tools, write nothing but the calls, each in exactly this form, with "; " between them:
{{"name": "the name of one tool", "parameters": {{its arguments as one JSON object}}}}
"""
WORDING = Wording(TOOLS + PROTOCOL + MANY, "Result: {content}")


@dataclass(frozen=True)
class Llama3:
    """The format of models whose template asks for a JSON object with name and parameters as the whole message."""

    name: str = "llama3"
    stop: tuple[str, ...] = ()
    wording: Wording = WORDING

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False, tools: Collection[str] = ()) -> Message:
        return parse_message(text, MARK, _calls, turn, thinking, tools)

    def render(self, calls: Sequence[ToolCall]) -> str:
        return "; ".join(render_calls(calls, "parameters"))

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        return None


def _calls(text: str, mark: re.Match[str], reading: PartialMessage) -> int | None:
    if mark[0] == TAG:
        return _tagged(text, mark.end(), reading)
    if not mark[0].endswith("{"):
        return _array(text, mark, reading)
    begin = mark.end() - 1
    end = find_value_end(text, begin)
    call = _untagged(text[begin:end], reading.call_id, end is not None)
    if call is None:
        return None
    reading.calls.append(call)
    return len(text) if end is None else _after_fence(text, _more(text, end, reading), mark)


def _array(text: str, mark: re.Match[str], reading: PartialMessage) -> int | None:
    """Reads the array of calls that begins a message; another array is an answer."""
    end = read_value(text, mark.end(), reading, lambda name: True)
    return None if end is None else _after_fence(text, read_joined(text, end, reading), mark)


def _after_fence(text: str, at: int, mark: re.Match[str]) -> int:
    """Where reading goes on behind the end of a code fence, if calls stood in one."""
    closing = FENCE_END.match(text, at) if mark["fence"] else None
    return closing.end() if closing else at


def _untagged(body: str, call_id: str, complete: bool) -> ToolCall | None:
    """The call that begins a message, None where it is an answer in JSON."""
    try:
        fields = parse_json_object(body)
    except ValueError as error:
        reason = str(error) if complete else UNFINISHED
        return make_malformed_call(body, call_id, reason) if ATTEMPT.match(body) else None
    return make_call(fields, body, call_id) if {"parameters", "arguments"} & fields.keys() else None


def _tagged(text: str, start: int, reading: PartialMessage) -> int:
    """What follows the tag is a call, whatever it looks like."""
    space = SPACE.match(text, start)
    begin = space.end() if space else start
    if text.startswith("{", begin):
        return _more(text, parse_object(text, begin, reading), reading)
    reading.calls.append(make_malformed_call(text[begin:], reading.call_id, "the call is not a JSON object"))
    return len(text)


def _more(text: str, at: int, reading: PartialMessage) -> int:
    """Objects that follow a call are calls; returns where they end."""
    while (following := NEXT.match(text, at)) is not None:
        at = parse_object(text, following.end(), reading)
    return at
