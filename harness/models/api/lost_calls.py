"""Calls that a model wrote and its endpoint lost, without I/O: they are no silence of the model.

What came back in a place of its own is read there (another choice than the first). What the endpoint only speaks of
becomes a malformed call, which is counted and answered: a finish reason that says so, Groq's `failed_generation`, the
500 by which llama.cpp, Ollama and transformers answer a call that they cannot parse. A call that a server without a
parser left in the content stays text, and the record notes it: text becomes a call by `--model-arg format=NAME` alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.data.arguments import MAX_ARGUMENTS_CHARS, replace_surrogates
from harness.formats import find_unread_calls
from harness.formats.parsing import make_malformed_call
from harness.models.api.wire import RequestFailure, assign_call_ids, error_fields, join_texts
from harness.runs.summary import UNREAD_CALLS
from harness.types import JSONObject, Message, ModelRequest, Reply, ToolCall, Usage

# --- in another choice -------------------------------------------------------------------------------------------

CALL_FIELDS = ("tool_calls", "function_call")


def gather_choices(choices: Sequence[object]) -> JSONObject | None:
    """One reply from the choices of a completion that was asked for one: the first, with the texts and calls of all."""
    found = [choice for choice in choices if isinstance(choice, dict)]
    whole = [choice for choice in found if isinstance(choice.get("message"), dict)]
    if len(whole) < 2:
        return next(iter(whole or found), None)
    said = _distinct(text for choice in whole if (text := choice["message"].get("content")))
    message = {
        **whole[0]["message"],
        "content": "\n".join(map(join_texts, said)) if len(said) > 1 else next(iter(said), None),
        "tool_calls": _distinct(call for choice in whole for call in _written_calls(choice["message"])),
    }
    speaking = [choice for choice in whole if _written_calls(choice["message"])] or list(filter(says_called, whole))
    ends = {name: value for name, value in (*speaking, whole[0])[0].items() if name in REASONS}
    return {**whole[0], **ends, "message": message}


def _distinct(items: Iterable[object]) -> list[object]:
    kept: list[object] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept


def _written_calls(message: JSONObject) -> list[object]:
    listed: object = next(filter(None, (message.get(field) for field in CALL_FIELDS)), [])
    return listed if isinstance(listed, list) else [listed]


# --- spoken of, and nowhere to be seen -----------------------------------------------------------------------------

SAYS_CALLED = "the endpoint says that a tool was called and gives no call"
CALLED = frozenset({"tool_calls", "tool_call", "function_call", "tool_use"})
BROKEN = re.compile(r"malformed_?(function|tool)_?call|unexpected_?tool_?call|too_?many_?tool_?calls", re.IGNORECASE)
"""How Gemini ends a reply whose call it could not read, alone or behind words of a router's."""


REASONS = ("finish_reason", "native_finish_reason")


def says_lost(choice: JSONObject) -> str | None:
    """The reason that a choice gives for ending with a call that could not be read; None: it gives no such reason."""
    reasons = [choice.get(name) for name in REASONS]
    return next((reason for reason in reasons if isinstance(reason, str) and BROKEN.search(reason)), None)


def says_called(choice: JSONObject) -> str | None:
    """What is wrong with a call by the reason that a choice ends for, where it holds none; None: it ends otherwise."""
    if (broken := says_lost(choice)) is not None:
        return f"the endpoint could not read the call ({replace_surrogates(broken)})"
    reason = choice.get("finish_reason")
    return SAYS_CALLED if isinstance(reason, str) and reason in CALLED else None


def restore_lost_call(reply: Reply, choice: JSONObject, earlier: Sequence[Message]) -> Reply:
    """A reply that ended with a call and holds none gets a malformed one."""
    error = None if reply.message.tool_calls else says_called(choice)
    return reply if error is None else with_lost_call(reply, error, earlier)


def with_lost_call(reply: Reply, error: str, earlier: Sequence[Message], written: str = "") -> Reply:
    """The reply with a malformed call: what is `written` of it, or the text that came."""
    raw = (written or reply.message.content)[:MAX_ARGUMENTS_CHARS]
    calls = assign_call_ids([make_malformed_call(replace_surrogates(raw), "", error)], earlier)
    return replace(reply, message=replace(reply.message, tool_calls=calls))


# --- in an error -------------------------------------------------------------------------------------------------

TORN = re.compile(
    r"failed to parse (the )?(input at pos|tool.?calls?)|(error|failed|unable) (while )?parsing (the )?tool.?calls?"
    r"|(cannot|could not|unable to) parse (the )?tool.?calls?"
    r"|model (output|produced).{0,40}(tool.?call|does not match)",
    re.IGNORECASE,
)
"""How servers answer 500 where the model wrote a call that they cannot parse: llama.cpp, Ollama, transformers."""


def read_failed_generation(content: bytes, request: ModelRequest) -> Reply | None:
    """The reply in an error of Groq's, which holds what the model wrote; None for another body."""
    if b"failed_generation" not in content:
        return None
    fields = error_fields(content.decode("utf-8", "replace"))
    written = join_texts(fields.get("failed_generation"))
    if fields.get("code") != "tool_use_failed" and not written:
        return None
    said = join_texts(fields.get("message")).partition("See 'failed_generation'")[0].strip()
    return _lost_reply(f"the endpoint could not read the call: {said}", written, request)


def read_torn_call(failure: RequestFailure, request: ModelRequest) -> Reply | None:
    """The reply behind a status 500 that only says that a call cannot be parsed; None for another failure."""
    if failure.stop not in {"http_500", "http_502"} or not request.tools:
        return None
    found = TORN.search(failure.text)
    if found is None:
        return None
    return _lost_reply("the endpoint could not parse the call", failure.text[found.start() :], request)


def _lost_reply(error: str, written: str, request: ModelRequest) -> Reply:
    reply = Reply(Message("assistant"), Usage(requests=1), "tool_calls")
    return with_lost_call(reply, error, request.messages, written)


# --- left in the content -----------------------------------------------------------------------------------------


def note_unread_calls(reply: Reply, request: ModelRequest) -> Reply:
    """The reply, with a note where its text holds calls that the endpoint did not read."""
    content = reply.message.content
    if not request.tools or not content.strip():
        return reply
    unread = find_unread_calls(content, [tool.name for tool in request.tools])
    if unread is None or all(_is_among(call, reply.message.tool_calls) for call in unread.calls):
        return reply
    count = f"{len(unread.calls)} call{'' if len(unread.calls) == 1 else 's'}"
    said = f"{UNREAD_CALLS}{count} in the text, by the format {unread.format}, that the endpoint did not read"
    return replace(reply, note=f"{reply.note}; {said}" if reply.note else said)


def _is_among(call: ToolCall, read: Sequence[ToolCall]) -> bool:
    """Whether a call of the text is one that the endpoint read: some leave what they parsed in the content."""
    return call.arguments is not None and any(
        other.name == call.name and other.arguments == call.arguments for other in read
    )
