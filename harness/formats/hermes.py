"""Hermes, Qwen2.5 and Qwen3: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as many as the model likes.

A call is complete when its closing tag was written; the tag inside a JSON string does not count. Complete JSON without
the tag is malformed: nobody knows whether the model was done. Reasoning stands in <think>...</think>.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from harness.formats.parsing import (
    PartialMessage,
    compile_marks,
    make_malformed_call,
    parse_call,
    parse_message,
    render_calls,
)
from harness.types import Message, Tool, ToolCall

MARK = compile_marks("<tool_call>")
CALL_TAG = re.compile(r"<tool_call>|</tool_call>")
SPACE = re.compile(r"\s*")
CLOSING = "</tool_call>"


@dataclass(frozen=True)
class Hermes:
    """The format of models whose template writes calls as JSON between <tool_call> tags."""

    name: str = "hermes"
    stop: tuple[str, ...] = ()

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False) -> Message:
        return parse_message(text, MARK, _call, turn, thinking)

    def render(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"<tool_call>\n{call}\n{CLOSING}" for call in render_calls(calls, "arguments"))

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        return None


def _call(text: str, mark: re.Match[str], reading: PartialMessage) -> int:
    """Reads one call after its opening tag; returns where reading goes on."""
    begin = _skip_space(text, mark.end())
    end = _json_end(text, begin)
    if end is not None and text.startswith(CLOSING, closing := _skip_space(text, end)):
        reading.calls.append(parse_call(text[begin:end], reading.call_id))
        return closing + len(CLOSING)
    # Invalid JSON, or something behind it: the next tag of either kind ends the attempt.
    tag = CALL_TAG.search(text, begin if end is None else end)
    body = text[begin : tag.start() if tag else len(text)].strip()
    if tag is not None and tag[0] == CLOSING:
        reading.calls.append(parse_call(body, reading.call_id))
        return tag.end()
    reading.calls.append(make_malformed_call(body, reading.call_id, f"the call was not closed by {CLOSING}"))
    return tag.start() if tag else len(text)


def _json_end(text: str, start: int) -> int | None:
    """Where the valid JSON value at `start` ends. Python's decoder takes NaN as well; the reader refuses it."""
    try:
        return json.JSONDecoder().raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _skip_space(text: str, start: int) -> int:
    match = SPACE.match(text, start)
    return match.end() if match else start
