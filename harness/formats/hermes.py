"""Hermes, Qwen2.5 and Qwen3: <tool_call>{"name": ..., "arguments": {...}}</tool_call>, as many as the model likes.

A call is complete when its closing tag was written; the tag inside a JSON string does not count. Complete JSON behind
an opening tag alone is malformed: nobody knows whether the model was done. Several objects between two tags are several
calls. A closing tag that nobody opened closes the object in front of it. Reasoning stands in <think>...</think>.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.formats.parsing import (
    ATTEMPT,
    FENCE_END,
    JOINT,
    NAME,
    PartialMessage,
    compile_marks,
    find_value_end,
    make_malformed_call,
    object_texts,
    parse_call,
    parse_message,
    render_calls,
)
from harness.formats.plain import MANY, TOOLS, Wording
from harness.types import Message, Tool, ToolCall

MARK = compile_marks("</?tool_call>")
FENCE = re.compile(r"(?:`{3}[\w+-]*)?\s*")
STRAY_END = re.compile(r"[\s\]},;`]*\Z")
CALL_TAG = re.compile(r"<tool_call>|</tool_call>")
SPACE = re.compile(r"\s*")
CLOSING = "</tool_call>"

PROTOCOL = """To use tools, write each call in exactly this form:
<tool_call>
{{"name": "the name of one tool", "arguments": {{its arguments as one JSON object}}}}
</tool_call>
"""
WORDING = Wording(TOOLS + PROTOCOL + MANY, "<tool_response>\n{content}\n</tool_response>")


@dataclass(frozen=True)
class Hermes:
    """The format of models whose template writes calls as JSON between <tool_call> tags."""

    name: str = "hermes"
    stop: tuple[str, ...] = ()
    wording: Wording = WORDING

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False, tools: Collection[str] = ()) -> Message:
        return parse_message(text, MARK, _tag, turn, thinking, tools)

    def render(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(f"<tool_call>\n{call}\n{CLOSING}" for call in render_calls(calls, "arguments"))

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        return None


def _tag(text: str, mark: re.Match[str], reading: PartialMessage) -> int | None:
    """Reads what a tag opens, or what it closes that nobody opened; returns where reading goes on."""
    return _orphan(mark, reading) if mark[0] == CLOSING else _call(text, mark, reading)


def _orphan(mark: re.Match[str], reading: PartialMessage) -> int | None:
    """A closing tag alone: it closes the object in front of it; behind prose it is prose, behind a call nothing."""
    said = reading.said[-1]
    begin = _last_attempt(said)
    if begin is None:
        return None if said.strip() or not reading.calls else mark.end()
    reading.said[-1] = said[:begin]
    reading.calls.append(parse_call(said[begin:].strip(), reading.call_id))
    return mark.end()


def _last_attempt(said: str) -> int | None:
    """Where the object begins that ends a text, complete or torn; None: the text ends in something else."""
    at = 0
    while (attempt := ATTEMPT.search(said, at)) is not None:
        end = find_value_end(said, attempt.start())
        if end is None or STRAY_END.match(said, end):
            return attempt.start()
        at = end
    headless = NAME.search(said, at)
    return said.rfind("\n", 0, headless.start()) + 1 if headless and said.rstrip().endswith("}") else None


def _call(text: str, mark: re.Match[str], reading: PartialMessage) -> int:
    """Reads the call after an opening tag, or the calls that stand together there."""
    begin = _skip_space(text, mark.end())
    end = _json_end(text, begin)
    if end is not None and text[begin] == "{" and text.startswith(CLOSING, closing := _skip_space(text, end)):
        reading.calls.append(parse_call(text[begin:end], reading.call_id))
        return closing + len(CLOSING)
    if (closed := _several(text, begin, reading)) is not None:
        return closed
    # Invalid JSON, or something behind it: the next tag of either kind ends the attempt.
    tag = CALL_TAG.search(text, begin if end is None else end)
    body = text[begin : tag.start() if tag else len(text)].strip()
    if tag is not None and tag[0] == CLOSING:
        reading.calls.append(parse_call(body, reading.call_id))
        return tag.end()
    reading.calls.append(make_malformed_call(body, reading.call_id, f"the call was not closed by {CLOSING}"))
    return tag.start() if tag else len(text)


def _several(text: str, begin: int, reading: PartialMessage) -> int | None:
    """Reads several objects, an array of them, or a fence around them, up to the closing tag; None: it is neither."""
    opening = FENCE.match(text, begin)
    at, bodies = opening.end() if opening else begin, list[str]()
    while (joint := JOINT.match(text, at)) is not None and (end := find_value_end(text, joint.end())) is not None:
        bodies += (found := object_texts(text[joint.end() : end]))
        if not found or any(_json_end(body, 0) != len(body) for body in found):
            return None
        at = end
    fence = FENCE_END.match(text, at)
    at = _skip_space(text, fence.end() if fence else at)
    if not bodies or not text.startswith(CLOSING, at):
        return None
    for body in bodies:
        reading.calls.append(parse_call(body, reading.call_id))
    return at + len(CLOSING)


def _json_end(text: str, start: int) -> int | None:
    """Where the valid JSON value at `start` ends. Python's decoder takes NaN as well; the reader refuses it."""
    try:
        return json.JSONDecoder().raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return None


def _skip_space(text: str, start: int) -> int:
    match = SPACE.match(text, start)
    return match.end() if match else start
