"""Llama 3.1, 3.2 and 3.3: the whole message is {"name": ..., "parameters": {...}}, or several with `;` between them.

A call begins the message, or stands behind <|python_tag|>; JSON in the middle of prose is prose. There is no closing
tag, so a call is complete when its object is. An object without a tag is a call if it has a name and parameters: an
answer in JSON is an answer.

Left out: the built-in tools' Python syntax behind <|python_tag|>, which is a malformed call here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.data.arguments import parse_json_object
from harness.formats.parsing import (
    PartialMessage,
    compile_marks,
    find_value_end,
    make_call,
    make_malformed_call,
    parse_message,
    parse_object,
    render_calls,
)
from harness.types import Message, Tool, ToolCall

TAG = "<|python_tag|>"
MARK = compile_marks(rf"{re.escape(TAG)}|(?:\A|(?<=</think>)|(?<=\[/THINK\]))\s*\{{")
"""The tag anywhere, or an object that begins the message."""
NEXT = re.compile(rf"\s*+;?\s*+(?:{re.escape(TAG)}\s*)?(?=\{{)")
SPACE = re.compile(r"\s*")
ATTEMPT = re.compile(r'\{\s*"(?:type|name|function|parameters|arguments)"\s*:')
"""How a call begins that cannot be read: by the keys that these models write first."""


@dataclass(frozen=True)
class Llama3:
    """The format of models whose template asks for a JSON object with name and parameters as the whole message."""

    name: str = "llama3"
    stop: tuple[str, ...] = ()

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False) -> Message:
        return parse_message(text, MARK, _calls, turn, thinking)

    def render(self, calls: Sequence[ToolCall]) -> str:
        return "; ".join(render_calls(calls, "parameters"))

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        return None


def _calls(text: str, mark: re.Match[str], reading: PartialMessage) -> int:
    if mark[0] == TAG:
        return _tagged(text, mark.end(), reading)
    begin = mark.end() - 1
    end = find_value_end(text, begin)
    call = _untagged(text[begin:end], reading.call_id, end is not None)
    if call is None:
        reading.said.append(text[begin:])
        return len(text)
    reading.calls.append(call)
    return len(text) if end is None else _more(text, end, reading)


def _untagged(body: str, call_id: str, complete: bool) -> ToolCall | None:
    """The call that begins a message, None where it is an answer in JSON."""
    try:
        fields = parse_json_object(body)
    except ValueError as error:
        reason = str(error) if complete else "the call's JSON was not finished"
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
