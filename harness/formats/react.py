"""ReAct: a plain-text protocol of our own, for models whose chat template takes no tools.

The system text lists the tools and describes the protocol; a turn is `Thought:`, `Action:` and `Action Input:`, or
`Thought:` and `Answer:`; what a tool gave comes back as a user message that begins with `Observation:`. One action a
turn is read; its input may begin on the next line or stand in a code fence. What follows it in the same turn, an
invented observation above all, is not part of the conversation; the raw text keeps it. The name of the method: Yao et
al., ReAct (2022); the wording is this project's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from harness.data.arguments import parse_json_object
from harness.formats.parsing import (
    LINE_START,
    PartialMessage,
    compile_marks,
    find_value_end,
    format_parse_error,
    parse_call,
    parse_message,
)
from harness.formats.plain import TOOLS, Wording, write_plainly
from harness.types import Message, Tool, ToolCall

BOLD = r"\*{0,2}"
MARK = compile_marks(rf"{LINE_START}{BOLD}(?P<word>Action Input|Action|Answer|Observation){BOLD}:{BOLD}")
"""A line of the protocol; some models write its word in bold."""
INPUT = re.compile(
    rf"[ \t]*+\n?+((?:(?!{BOLD}Action Input)[^\n])*+)\s*+{BOLD}Action Input{BOLD}:{BOLD}\s*(?:`{{3}}[\w+-]*\s*)?"
)
LINE = re.compile(r"[^\n]*")
OBJECT = re.compile(r"[ \t]*(?=\{)")

PROTOCOL = """In each turn write either one action or the answer, in exactly this form.

To use a tool:
Thought: why you need it
Action: the name of one tool, nothing else
Action Input: its arguments as one JSON object, {{}} if it has none

Then stop. The next message begins with "Observation:" and holds what the tool gave; never write an observation \
yourself. Use as many turns as you need.

When you know the answer:
Thought: why you are done
Answer: the answer"""
WORDING = Wording(TOOLS + PROTOCOL, "Observation: {content}")


@dataclass(frozen=True)
class ReAct:
    """The text protocol. Its stop string has a line break in front, which no JSON string can hold unescaped."""

    name: str = "react"
    stop: tuple[str, ...] = ("\nObservation:",)
    wording: Wording = WORDING

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False, tools: Collection[str] = ()) -> Message:
        return parse_message(text, MARK, _line, turn, thinking, tools)

    def render(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(_written(call) for call in calls)

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        return write_plainly(messages, tools, self.wording, self.render)


def _written(call: ToolCall) -> str:
    if call.arguments is None:
        return call.raw
    return f"Action: {call.name}\nAction Input: {json.dumps(call.arguments, ensure_ascii=False)}"


def _line(text: str, mark: re.Match[str], reading: PartialMessage) -> int:
    """A line of the protocol ends the turn: an answer is said, an action is a call, an observation is neither."""
    word = mark["word"]
    if word == "Answer":
        reading.said.append(text[mark.start() :])
    elif word == "Action":
        reading.calls.append(_action(text, mark, reading.call_id))
    elif word == "Action Input":
        whole = text[mark.start() :].strip()
        reading.calls.append(ToolCall(reading.call_id, "", None, whole, "no line `Action:` comes before the input"))
    return len(text)


def _action(text: str, mark: re.Match[str], call_id: str) -> ToolCall:
    """The call of an action line and the input behind it; or of a JSON object on the action line."""
    if (single := OBJECT.match(text, mark.end())) is not None:
        return parse_call(text[single.end() : find_value_end(text, single.end())], call_id)
    found = INPUT.match(text, mark.end())
    line = LINE.match(text, mark.end())
    name = (found[1] if found else line[0] if line else "").strip()
    begin = found.end() if found else len(text)
    end = find_value_end(text, begin) if text.startswith("{", begin) else None
    whole = text[mark.start() : end].strip()
    if not name:
        return ToolCall(call_id, "", None, whole, "the call names no tool")
    if found is None:
        return ToolCall(call_id, name, None, whole, "no line `Action Input:` follows the action")
    if not text.startswith("{", begin):
        return ToolCall(call_id, name, None, whole, "the action input is not a JSON object")
    if end is None:
        return ToolCall(call_id, name, None, whole, "the action input's JSON was not finished")
    try:
        return ToolCall(call_id, name, parse_json_object(text[begin:end]), text[begin:end])
    except ValueError as error:
        return ToolCall(call_id, name, None, whole, f"the action input is {format_parse_error(str(error))}")
