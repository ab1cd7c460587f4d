"""The simulated user: a second model that knows what a customer wants, and what can be wrong with how it plays.

What a user is told is worded here, after the rules of tau-bench (Yao et al., arXiv 2406.12045): the wording is this
project's. A user that breaks its role does not end an episode, because the benchmark's own rule does not either; it is
noted, and counted apart from what the agent did. Left out: users that plan, reflect or are checked by another model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from harness.errors import ModelFailure
from harness.types import Message, Model, ModelRequest, Reply, Usage

USER_STOP = "###STOP###"
GREETING = "Hi! How can I help you today?"
"""What a user answers first; the agent never sees it."""

INSTRUCTIONS = """\
You play a customer who writes to a service agent. This is who you are and what you want:

{instruction}

How to play:
- Write the customer's next message and nothing else: one line, no quotation marks, no remarks about it.
- Tell only what the conversation needs now, not everything at once, and use words of your own.
- Never make anything up. What the description does not say, you do not know or do not have at hand.
- You are the customer to the end, with the manner that the description gives you. You never act for the agent.
- When everything you want is settled, or the agent has handed you on, write {stop} alone."""

AGENT_SPEAKS = re.compile(
    r"\bhow (?:can|may) i (?:help|assist) you|\banything else i can (?:help|assist|do)\b(?! for myself)"
    r"|\bas an ai\b|\bi(?: a|')m an ai\b|\bas a language model\b|\bthank you for (?:contacting|reaching out)"
    r"|\bas your (?:service |support )?agent\b|<tool_call>|^action input:",
    re.IGNORECASE | re.MULTILINE,
)
"""What no customer says."""


def begin_conversation(instruction: str) -> list[Message]:
    """How the conversation begins for the user."""
    return [Message("system", INSTRUCTIONS.format(instruction=instruction, stop=USER_STOP)), Message("user", GREETING)]


def read_user_message(reply: Reply) -> str:
    """The user's message without its reasoning. Raises ModelFailure where there is none: nobody could go on."""
    text = reply.message.content.rpartition("</think>")[2].strip()
    if not text:
        raise ModelFailure("the simulated user said nothing", outcome="infrastructure_error", stop="user_silent")
    return text


def find_role_fault(reply: Reply, text: str) -> str | None:
    """How a reply breaks the role, in words; None where it does not."""
    if reply.message.tool_calls:
        return "the simulated user called a tool"
    if reply.finish_reason == "length":
        return "the simulated user was cut off at its token cap"
    if (found := AGENT_SPEAKS.search(text)) is not None:
        return f"the simulated user spoke as the agent ({found[0].strip()!r})"
    return None


class ScriptedUser(Model):
    """Says the whole instruction, then stops: the user that reference policies talk to."""

    name = "scripted"
    fingerprint: Mapping[str, Any] = {"backend": "scripted", "version": 1}

    def __call__(self, request: ModelRequest) -> Reply:
        text = USER_STOP if request.turn else str(request.sample.metadata["instruction"])
        return Reply(Message("assistant", text), Usage(requests=1))


def count_talk_only(messages: Sequence[Message]) -> int:
    """How many messages in a row, at the end of an episode, the agent wrote to the user without doing anything."""
    count = 0
    for message in reversed([message for message in messages if message.role in ("assistant", "tool")]):
        if message.role == "tool" or message.tool_calls:
            break
        count += 1
    return count
