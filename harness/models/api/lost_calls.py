"""Calls that a model wrote and its endpoint lost, without I/O: they are no silence of the model.

What came back in a place of its own is read there: another choice than the first, a part of the content. What the
endpoint only speaks of becomes a malformed call, which is counted and answered: a finish reason that says so, Groq's
`failed_generation`, the 500 by which llama.cpp, Ollama and transformers answer a call that they cannot parse. A call
that a server without a parser left in the content stays text, and the record notes it: text becomes a call by
`--model-arg format=NAME` alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from harness.data.arguments import MAX_ARGUMENTS_CHARS, replace_surrogates
from harness.formats import find_unread_calls
from harness.formats.foreign import find_foreign_call
from harness.formats.parsing import make_malformed_call
from harness.models.api.wire import RequestFailure, assign_call_ids, given_arguments, join_texts, read_call
from harness.runs.unread_calls import describe_unread_calls
from harness.types import JSONObject, Message, ModelRequest, Reply, ToolCall, Usage

# --- in another place --------------------------------------------------------------------------------------------

CALL_FIELDS = ("tool_calls", "function_call")
CALL_KINDS = frozenset({"tooluse", "toolcall", "functioncall", "function", "customtoolcall"})
INSIDE = ("function", "functionCall", "function_call", "tool_call", "toolUse", "tool_use")


def gather_choices(choices: Sequence[object]) -> JSONObject | None:
    """One reply from the choices of a completion that was asked for one: the first, with the texts and calls of all."""
    found = [choice for choice in choices if isinstance(choice, dict)]
    whole = [gather_calls(choice) for choice in found if isinstance(choice.get("message"), dict)]
    if len(whole) < 2:
        return next(iter(whole or found), None)
    said = _distinct(text for one in whole if (text := one["message"].get("content") or one["message"].get("refusal")))
    message = {
        **{name: value for choice in reversed(whole) for name, value in choice["message"].items() if value},
        "content": "\n".join(map(join_texts, said)) if len(said) > 1 else next(iter(said), None),
        "tool_calls": _distinct(call for choice in whole for call in _listed(choice["message"], "tool_calls")),
    }
    speaking = [choice for choice in whole if choice["message"].get("tool_calls")] or list(filter(says_called, whole))
    ends = {name: value for name, value in (*speaking, whole[0])[0].items() if name in REASONS}
    return {**whole[0], **ends, "message": message}


def gather_calls(choice: JSONObject) -> JSONObject:
    """A choice whose calls are all in its message's `tool_calls`: also the one call of old servers, those that stand
    beside the message, and those among the parts of its content."""
    message = choice["message"]
    calls = _listed(message, "tool_calls")
    others = [*_listed(message, "function_call"), *(call for field in CALL_FIELDS for call in _listed(choice, field))]
    others += find_part_calls(message.get("content"))
    if not others:
        return choice
    for call in others:
        if _meaning(call) not in map(_meaning, calls):  # some write the same call in two places
            calls.append(call)
    return {**choice, "message": {**message, "tool_calls": calls}}


def find_part_calls(parts: object) -> list[JSONObject]:
    """The calls among the parts of a content, as chat completions write calls."""
    return [call for part in (parts if isinstance(parts, list) else [parts]) if (call := read_part(part)) is not None]


def read_part(part: object) -> JSONObject | None:
    """A part, a block or an item of any API that is a call; None for another."""
    if not isinstance(part, dict):
        return None
    inside = next((part[name] for name in INSIDE if isinstance(part.get(name), dict)), None)
    if inside is None and _letters(part.get("type")) not in CALL_KINDS:
        return None
    fields = inside or part
    ids = [part["call_id"]] if "call_id" in part else [part.get("id"), fields.get("id"), fields.get("toolUseId")]
    function = {"name": fields.get("name"), "arguments": given_arguments(fields)}
    return {"id": next(filter(None, ids), None), "type": "function", "function": function}


def _listed(holder: JSONObject, field: str) -> list[object]:
    listed = holder.get(field)
    return list(listed) if isinstance(listed, list) else [listed] if listed else []


def _meaning(call: object) -> tuple[str, object]:
    read = read_call(call)
    return read.name, read.raw if read.arguments is None else read.arguments


def _letters(value: object) -> str:
    """A word without case, underscores and the like."""
    return re.sub(r"[^a-z]", "", value.lower()) if isinstance(value, str) else ""


def _distinct(items: Iterable[object]) -> list[object]:
    kept: list[object] = []
    for item in items:
        if item not in kept:
            kept.append(item)
    return kept


# --- spoken of, and nowhere to be seen -----------------------------------------------------------------------------

SAYS_CALLED = "the endpoint says that a tool was called and gives no call"
CALLED = frozenset({"toolcalls", "toolcall", "functioncall", "functioncalls", "tooluse"})
BROKEN = re.compile(
    r"malformed|(unexpected|invalid|too_?many|unparse?able|missing)_?(function|tool)_?(calls?|use)", re.IGNORECASE
)
"""How Gemini and Bedrock end a reply whose call could not be read, alone or behind words of a router's."""


REASONS = ("finish_reason", "native_finish_reason")


def says_lost(choice: JSONObject) -> str | None:
    """The reason that a choice gives for ending with a call that could not be read; None: it gives no such reason."""
    reasons = [choice.get(name) for name in REASONS]
    return next((reason for reason in reasons if isinstance(reason, str) and BROKEN.search(reason)), None)


def says_called(choice: JSONObject) -> str | None:
    """What is wrong with a call by the reason that a choice ends for, where it holds none; None: it ends otherwise."""
    if (broken := says_lost(choice)) is not None:
        return f"the endpoint could not read the call ({replace_surrogates(broken)})"
    return SAYS_CALLED if any(_letters(choice.get(name)) in CALLED for name in REASONS) else None


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

MODEL_WROTE = (
    r"model (output|produced|generated|response).{0,60}(tool.?call|does not match|could not be parsed)"
    r"|tool call validation failed|failed to call a function"
)
HARMONY = r"unexpected token \d+ while expecting|unexpected tokens remaining in message header|HarmonyError"
TORN_REQUEST = re.compile(rf"{MODEL_WROTE}|{HARMONY}", re.IGNORECASE)
TORN = re.compile(
    r"failed to parse (the )?(input at pos|(tool|function).?calls?)"
    r"|(error|failed|unable) (while |to )?pars(e|ing) (the )?(tool|function).?calls?"
    r"|(cannot|could not|can't|unable to) parse (the )?(tool|function).?calls?"
    rf"|XML syntax error on line|invalid diff: |missing closing </|{MODEL_WROTE}|{HARMONY}",
    re.IGNORECASE,
)
"""How servers answer where the model wrote a call that they cannot parse: llama.cpp, Ollama, transformers, vLLM. With a
status that blames the request, only what cannot be about the calls that were sent."""
TORN_STOPS = frozenset({"http_500", "http_502", "http_503"})
REQUEST_STOPS = frozenset({"http_400", "http_422", "http_424"})


def read_failed_generation(status: int, content: bytes, request: ModelRequest) -> Reply | None:
    """The reply in an error of Groq's, which holds what the model wrote, also inside the error of a router; None for
    another body."""
    if b"failed_generation" not in content or not request.tools:
        return None
    payload = _decode(content.decode("utf-8", "replace"))
    if 200 <= status < 300:  # a model may write the word
        payload = payload.get("error") if isinstance(payload, dict) else None
    fields = _find_failed(payload, 8)
    if fields is None:
        return None
    said = join_texts(fields.get("message")).partition("See 'failed_generation'")[0].strip()
    written = fields["failed_generation"]
    written = written if isinstance(written, str) else json.dumps(written) if written else ""
    return _lost_reply(f"the endpoint could not read the call: {said}", written, request)


def _find_failed(value: object, depth: int) -> JSONObject | None:
    """The object that has a failed generation, also where it is text inside another error."""
    if isinstance(value, dict) and "failed_generation" in value:
        return value
    if isinstance(value, str) and "failed_generation" in value and "{" in value:
        value = [_decode(value[value.index("{") :])]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return next((found for item in inner if depth and (found := _find_failed(item, depth - 1)) is not None), None)


def _decode(text: str) -> object:
    """The JSON value that a text begins with; None where it is none."""
    try:
        value: object = json.JSONDecoder().raw_decode(text.lstrip())[0]
    except (ValueError, RecursionError):
        return None
    return value


def read_torn_call(failure: RequestFailure, request: ModelRequest) -> Reply | None:
    """The reply behind an error that only says that a call cannot be parsed; None for another failure."""
    if not request.tools or failure.stop not in TORN_STOPS | REQUEST_STOPS:
        return None
    found = (TORN if failure.stop in TORN_STOPS else TORN_REQUEST).search(failure.text)
    if found is None:
        return None
    return _lost_reply("the endpoint could not parse the call", failure.text[found.start() :], request)


def _lost_reply(error: str, written: str, request: ModelRequest) -> Reply:
    reply = Reply(Message("assistant"), Usage(requests=1), "tool_calls")
    return with_lost_call(reply, error, request.messages, written)


NO_TOOLS = re.compile(
    r"(\bnot|n't|\bno endpoints found that) support (for )?(the )?(use of )?(tools?\b|function)"
    r"|\b(tools?|functions?)['\"`]?( use| calls?| calling| choice)? (is|are) not (supported|available|enabled)"
    r"|--enable-auto-tool-choice|tools? param requires",
    re.IGNORECASE,
)
"""How endpoints refuse tools: OpenRouter, Ollama, vLLM and llama.cpp without the flags that they need."""
AS_TEXT = "openai/ with --model-arg format=hermes tells tools and reads calls as text"

# --- left in the content -----------------------------------------------------------------------------------------


def note_unread_calls(reply: Reply, request: ModelRequest) -> Reply:
    """The reply, with a note where its text holds calls that the endpoint did not read, or where nothing came but
    reasoning that holds some."""
    message, tools = reply.message, [tool.name for tool in request.tools]
    found, place = _find_unread(message.content, message.tool_calls, tools), "text"
    if found is None and not (message.content.strip() or message.tool_calls or reply.finish_reason == "length"):
        found, place = _find_unread(message.reasoning or "", (), tools), "reasoning"
    if found is None:
        return reply
    note = describe_unread_calls(found[0], place, found[1])
    return replace(reply, note=f"{reply.note}; {note}" if reply.note else note)


def _find_unread(text: str, read: Sequence[ToolCall], tools: Sequence[str]) -> tuple[int | None, str] | None:
    """How many calls a text holds (None: some) and in which format; None: none but those that were `read`."""
    if not tools or not text.strip():
        return None
    unread = find_unread_calls(text, tools)
    if unread is not None and not all(_is_among(call, read) for call in unread.calls):
        return len(unread.calls), unread.format
    names = {call.name for call in read}
    foreign = None if unread else find_foreign_call(text, [name for name in tools if name not in names])
    return None if foreign is None else (None, foreign)


def _is_among(call: ToolCall, read: Sequence[ToolCall]) -> bool:
    """Whether a call of the text is one that the endpoint read: some leave what they parsed in the content."""
    return call.arguments is not None and any(
        other.name == call.name and other.arguments == call.arguments for other in read
    )
