"""A conversation with tools as plain text, for a model whose template or endpoint takes no tools.

What is left are messages of system, user and assistant: the system message ends with the tools and how to call them,
a call stands in the text of its turn as the format writes it, and what the tools gave comes back as the user's turn.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from harness.types import Message, Tool, ToolCall

Render = Callable[[Sequence[ToolCall]], str]
TOOLS = """You can use tools. You have these, one JSON object a line, with the JSON Schema of their arguments:
{tools}

"""
"""How the instructions of every format begin."""
MANY = """
Write as many calls as you need and then stop. The next message holds what the tools gave, in the order of the calls; \
never write it yourself. When you know the answer, write it without any call."""
"""How the instructions end of the formats that take several calls a turn."""


@dataclass(frozen=True, slots=True)
class Wording:
    """What a format says where no template does: `instructions` has a place for {tools}, `result` one for {content}."""

    instructions: str
    result: str


def write_plainly(
    messages: Sequence[Message], tools: Sequence[Tool], wording: Wording, render: Render
) -> list[Message]:
    """The conversation without calls and tool messages. Results that follow each other are one turn of the user's."""
    plain: list[Message] = []
    for message, before in zip(messages, [None, *messages], strict=False):
        if message.role != "tool":
            plain.append(write_turn(message, render))
            continue
        result = wording.result.format(content=message.content)
        if before is not None and before.role == "tool":
            plain[-1] = Message("user", f"{plain[-1].content}\n{result}")
        else:
            plain.append(Message("user", result))
    return _instructed(plain, wording.instructions.format(tools=_listed(tools))) if tools else plain


def write_turn(message: Message, render: Render) -> Message:
    """A message whose calls are part of its text."""
    if not message.tool_calls:
        return message
    parts = filter(None, (message.content, render(message.tool_calls)))
    return replace(message, content="\n".join(parts), tool_calls=())


def _listed(tools: Sequence[Tool]) -> str:
    return "\n".join(
        json.dumps(
            {"name": tool.name, "description": tool.description, "parameters": tool.parameters}, ensure_ascii=False
        )
        for tool in tools
    )


def _instructed(messages: Sequence[Message], instructions: str) -> list[Message]:
    """The conversation with the instructions at the end of its system message, which is made where there is none."""
    if messages and messages[0].role == "system":
        return [replace(messages[0], content=f"{messages[0].content}\n\n{instructions}"), *messages[1:]]
    return [Message("system", instructions), *messages]
