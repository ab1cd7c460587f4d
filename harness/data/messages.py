"""Messages in the chat-completions format, to JSON and back, and the question that they ask.

A malformed call also carries its parse_error.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

from harness.data import jsonio
from harness.data.schema import MessageJSON, ToolCallJSON
from harness.types import JSONObject, Message, Sample, ToolCall


def message_to_json(message: Message) -> MessageJSON:
    """A message in the chat-completions format; what is empty is left out, content excepted."""
    value: MessageJSON = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        value["reasoning"] = message.reasoning
    if message.tool_calls:
        value["tool_calls"] = [_tool_call_to_json(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        value["tool_call_id"] = message.tool_call_id
    if message.raw is not None:
        value["raw"] = message.raw
    if message.echo:
        value["echo"] = list(message.echo)
    return value


def _tool_call_to_json(call: ToolCall) -> ToolCallJSON:
    value: ToolCallJSON = {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.raw}}
    if call.arguments is None:
        value["parse_error"] = call.parse_error or ""
    if call.echo:
        value["echo"] = call.echo
    return value


def message_from_json(value: MessageJSON) -> Message:
    """The inverse of message_to_json."""
    return Message(
        role=value["role"],
        content=value["content"],
        reasoning=value.get("reasoning"),
        tool_calls=tuple(_tool_call_from_json(call) for call in value.get("tool_calls", ())),
        tool_call_id=value.get("tool_call_id"),
        raw=value.get("raw"),
        echo=tuple(value.get("echo", ())),
    )


def _tool_call_from_json(value: ToolCallJSON) -> ToolCall:
    function = value["function"]
    raw, parse_error = function["arguments"], value.get("parse_error")
    arguments: Any = None if parse_error is not None else jsonio.parse_json(raw) if raw.strip() else {}
    call = ToolCall(value["id"], function["name"], cast("JSONObject | None", arguments), raw, parse_error)
    return replace(call, echo=value["echo"]) if value.get("echo") else call


def question_of(sample: Sample) -> str:
    """What is asked: the last user message, after its last `Question:` where it has one."""
    text = next((message.content for message in reversed(sample.messages) if message.role == "user"), "")
    return text.rpartition("Question:")[2].strip()
