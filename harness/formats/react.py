"""ReAct: a plain-text protocol of our own, for models whose chat template takes no tools.

The system text lists the tools and describes the protocol; a turn is `Thought:`, `Action:` and `Action Input:`, or
`Thought:` and `Answer:`; what a tool gave comes back as a user message that begins with `Observation:`. One action a
turn is read. What follows it in the same turn, an invented observation above all, is not part of the conversation; the
raw text keeps it. The name of the method: Yao et al., ReAct (2022); the wording is this project's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from harness.data.arguments import parse_json_object
from harness.formats.parsing import PartialMessage, compile_marks, find_value_end, format_parse_error, parse_message
from harness.types import Message, Tool, ToolCall

MARK = compile_marks(r"(?:(?m:^)|(?<=</think>)|(?<=\[/THINK\]))[ \t]*(?:Action|Answer|Observation):")
INPUT = re.compile(r"([^\n]*)\n\s*Action Input:[ \t]*")
LINE = re.compile(r"[^\n]*")

PROTOCOL = """You can use tools. You have these, one JSON object a line, with the JSON Schema of their arguments:
{tools}

In each turn write either one action or the answer, in exactly this form.

To use a tool:
Thought: why you need it
Action: the name of one tool, nothing else
Action Input: its arguments as one JSON object, {{}} if it has none

Then stop. The next message begins with "Observation:" and holds what the tool gave; never write an observation \
yourself. Use as many turns as you need.

When you know the answer:
Thought: why you are done
Answer: the answer"""


@dataclass(frozen=True)
class ReAct:
    """The text protocol. Its stop string has a line break in front, which no JSON string can hold unescaped."""

    name: str = "react"
    stop: tuple[str, ...] = ("\nObservation:",)

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False) -> Message:
        return parse_message(text, MARK, _line, turn, thinking)

    def render(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(_written(call) for call in calls)

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        plain: list[Message] = []
        for message in messages:
            if message.role != "tool":
                plain.append(self._spoken(message))
            elif plain and plain[-1].role == "user" and plain[-1].content.startswith("Observation:"):
                plain[-1] = Message("user", f"{plain[-1].content}\nObservation: {message.content}")
            else:
                plain.append(Message("user", f"Observation: {message.content}"))
        return _instructed(plain, tools) if tools else plain

    def _spoken(self, message: Message) -> Message:
        """A message whose calls are part of its text."""
        if not message.tool_calls:
            return message
        parts = filter(None, (message.content, self.render(message.tool_calls)))
        return replace(message, content="\n".join(parts), tool_calls=())


def _instructed(messages: Sequence[Message], tools: Sequence[Tool]) -> list[Message]:
    """The conversation with the protocol at the end of its system message, which is made where there is none."""
    listed = "\n".join(
        json.dumps(
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}, ensure_ascii=False
        )
        for tool in tools
    )
    protocol = PROTOCOL.format(tools=listed)
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=f"{messages[0].content}\n\n{protocol}"), *messages[1:]]
    return [Message("system", protocol), *messages]


def _written(call: ToolCall) -> str:
    if call.arguments is None:
        return call.raw
    return f"Action: {call.name}\nAction Input: {json.dumps(call.arguments, ensure_ascii=False)}"


def _line(text: str, mark: re.Match[str], reading: PartialMessage) -> int:
    """A line of the protocol ends the turn: an answer is said, an action is a call, an observation is neither."""
    word = mark[0].strip()
    if word == "Answer:":
        reading.said.append(text[mark.start() :])
    elif word == "Action:":
        reading.calls.append(_action(text, mark, reading.call_id))
    return len(text)


def _action(text: str, mark: re.Match[str], call_id: str) -> ToolCall:
    """The call of an action line and the input line behind it."""
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
