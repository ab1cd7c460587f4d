"""What the APIs have in common on the wire, without I/O: names, ids and arguments out; calls, echoes and errors back.

Used by chat.py, responses.py and messages.py, each of which adds what is particular to its API. Nothing that a server
sends is trusted: a body becomes a value or a RequestFailure, never another exception.
"""

from __future__ import annotations

import itertools
import json
import re
import time
from collections import OrderedDict
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from harness.data.arguments import (
    MAX_ARGUMENTS_CHARS,
    MAX_ARGUMENTS_DEPTH,
    is_deeper_than,
    make_call_id,
    read_arguments,
    replace_surrogates,
)
from harness.models.api import temperatures
from harness.models.api.call_ids import IdRule
from harness.models.api.hidden_errors import asked_wait
from harness.models.api.refusals import CONTENT, PERHAPS_CONTENT
from harness.models.api.token_limits import TokenLimit
from harness.stops import StopReason, http_stop
from harness.types import JSONObject, Message, ToolCall

MAX_ERROR_CHARS = 300
"""Characters of a provider's message that are kept: enough for a sentence, too few for an HTML page. They are cut once
secrets are out of it (endpoint.py): half a secret would not be known for one."""


@dataclass(frozen=True, slots=True)
class WireRequest:
    """A request on the wire: the path below the base URL, and the JSON body."""

    path: str
    body: JSONObject


@dataclass(frozen=True, slots=True)
class RequestFailure:
    """A request without a usable reply: what it means for the episode, and whether to send it again."""

    stop: StopReason
    text: str
    outcome: Literal["model_error", "token_limit", "infrastructure_error"] = "infrastructure_error"
    retry: bool = True
    wait: float | None = None
    """Seconds the server asked us to wait."""
    refused: str | None = None
    """The parameter that the endpoint does not take."""
    limit: TokenLimit | None = None
    """What it says of the number of new tokens that were asked for."""
    ids: IdRule | None = None
    """What it asks of the ids of calls."""


# --- what is sent ------------------------------------------------------------------------------------------------

WIRE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def sendable_messages(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages with every id, and contents that can be encoded.

    A missing id of a call is made up from its turn; tool messages without one answer the calls in their order.
    """
    turn, unanswered = 0, OrderedDict[str, None]()  # whose first key is found at once, however many were taken out
    for message in messages:
        message = with_content(message, replace_surrogates(message.content))
        if message.role == "assistant":
            message = with_call_ids(message, turn)
            unanswered = OrderedDict.fromkeys(call.id for call in message.tool_calls)
            turn += 1
        elif message.role == "tool":
            answers = message.tool_call_id or next(iter(unanswered), make_call_id(turn, 0))
            unanswered.pop(answers, None)
            message = message if message.tool_call_id == answers else replace(message, tool_call_id=answers)
        yield message


def with_content(message: Message, content: str) -> Message:
    """The message itself where it says that already, as nearly all do: every turn sends every message again."""
    return message if message.content == content else replace(message, content=content)


def with_call_ids(message: Message, turn: int) -> Message:
    if all(call.id for call in message.tool_calls):
        return message
    calls = [replace(call, id=call.id or make_call_id(turn, n)) for n, call in enumerate(message.tool_calls)]
    return replace(message, tool_calls=tuple(calls))


def recalled_turns(messages: Sequence[Message], history: Literal["none", "last", "all"]) -> set[int]:
    """The places of the assistant turns whose reasoning goes back to the model."""
    spoken = [index for index, message in enumerate(messages) if message.role == "assistant"]
    return set({"none": [], "last": spoken[-1:], "all": spoken}[history])


def wire_arguments(call: ToolCall) -> str:
    if call.arguments is None:
        return "{}"
    return replace_surrogates(call.raw if call.raw.strip() else json.dumps(call.arguments, ensure_ascii=False))


def wire_name(name: str, offered: Container[str]) -> str:
    if name in offered or WIRE_NAME.fullmatch(name):
        return name
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


def with_calls(items: Iterable[JSONObject], calls: Iterable[JSONObject], kind: str) -> Iterator[JSONObject]:
    """Items of an earlier turn as they came, those of the kind that calls a tool brought up to date from `calls`."""
    left = iter(calls)
    for item in items:
        yield {**item, **next(left)} if kind_of(item) == kind else item


# --- what comes back: replies ------------------------------------------------------------------------------------


def read_payload(content: bytes) -> JSONObject | RequestFailure:
    """The JSON object of a body, {} for other JSON, a RequestFailure where it is none."""
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return RequestFailure("not_json", f"status 200 without JSON: {decode_body(content)}")
    return payload if isinstance(payload, dict) else {}


def decode_body(content: bytes) -> str:
    return content.decode("utf-8", "replace")


ESCAPED = re.compile(r"(?<!\\)\\{1,2}u(?!00[01]|0022|005c|d[89a-f])([0-9a-f]{4})", re.IGNORECASE)


def without_escapes(text: str) -> str:
    """JSON with the letters that its writer escaped, as Go's does with < and > and Python's with Chinese."""
    return ESCAPED.sub(lambda found: chr(int(found[1], 16)), text)


def join_texts(value: object) -> str:
    """A string as it is, the texts of a list of parts or of one part, "" for anything else."""
    if isinstance(value, str):
        return value
    value = [value] if isinstance(value, dict) else value
    parts = [part.get("text") if isinstance(part, dict) else part for part in value] if isinstance(value, list) else []
    return "".join(part for part in parts if isinstance(part, str))


def kind_of(item: object) -> str:
    """The type of an item or a block; "" where it has none."""
    kind = item.get("type") if isinstance(item, dict) else None
    return kind if isinstance(kind, str) else ""


def assign_call_ids(calls: Iterable[ToolCall], earlier: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The same calls, each with an id of its own in the whole conversation."""
    taken = {call.id for old in earlier for call in old.tool_calls}
    turn = sum(old.role == "assistant" for old in earlier)
    numbered: list[ToolCall] = []
    for index, call in enumerate(calls):
        call_id = call.id
        if not call_id or call_id in taken:
            spare = (f"{make_call_id(turn, index)}_{count}" for count in itertools.count(2))
            ids = itertools.chain([make_call_id(turn, index)], spare)
            call_id = next(made_up for made_up in ids if made_up not in taken)
        taken.add(call_id)
        numbered.append(replace(call, id=call_id))
    return tuple(numbered)


def read_call(item: object) -> ToolCall:
    """One call; without a usable name it is malformed, whatever its arguments are."""
    fields = item if isinstance(item, dict) else {}
    function = fields.get("function")
    function = function if isinstance(function, dict) else fields
    call_id, name = fields.get("id"), function.get("name")
    arguments, raw, error = read_arguments(_decoded(given_arguments(function)) if fields else item)
    if not isinstance(name, str) or not name.strip():
        name, arguments, error = "", None, "the call names no tool"
    extra = find_echo(fields.get("extra_content"))
    return ToolCall(
        id=replace_surrogates(call_id) if isinstance(call_id, str) else "",
        name=replace_surrogates(name),
        arguments=arguments,
        raw=raw,
        parse_error=error,
        echo={"extra_content": extra} if extra else None,
    )


GIVEN = ("arguments", "input", "parameters", "args")


def given_arguments(function: JSONObject) -> object:
    """The arguments of a call, by whatever name a server gives to them."""
    return next((function[name] for name in GIVEN if name in function), None)


def _decoded(value: object) -> object:
    """Arguments that a server encoded twice, as vLLM's parser does with a string, are decoded once more."""
    try:
        inner = json.loads(value) if isinstance(value, str) and value.lstrip()[:1] == '"' else value
    except (ValueError, RecursionError):
        return value
    return inner if isinstance(inner, str) else value


def find_echo(value: object) -> JSONObject | None:
    """An object of the provider's as it came, if it can be sent again: bounded, finite, without lone surrogates."""
    if not isinstance(value, dict) or is_deeper_than(value, MAX_ARGUMENTS_DEPTH):
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    if len(text) > MAX_ARGUMENTS_CHARS:
        return None
    clean = replace_surrogates(text)
    return value if clean == text else dict(json.loads(clean))


def find_echoes(items: Iterable[JSONObject]) -> tuple[JSONObject, ...]:
    """Objects that only go back together, as they came: none where one of them cannot be sent again."""
    kept = [find_echo(item) for item in items]
    return tuple(item for item in kept if item is not None) if None not in kept else ()


def read_count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


def read_detail(usage: JSONObject, part: str, name: str) -> object:
    """A figure inside a part of a usage; None where either is missing."""
    details = usage.get(part)
    return details.get(name) if isinstance(details, dict) else None


# --- what comes back: errors -------------------------------------------------------------------------------------

REPEATED = frozenset({408, 409, 429})
EXHAUSTED = frozenset({"insufficient_quota", "billing_hard_limit_reached", "Arrearage", "billing_not_active"})
OUT_OF_MONEY = re.compile(
    r"credit balance is too low|insufficient[ _](account )?(balance|funds|credits?)|used all available credits"
    r"|(monthly|your) spending limit|余额不足|欠费",
    re.IGNORECASE,
)
"""How Anthropic (400), DeepSeek, xAI, Zhipu and others say that an account is used up. A quota may be one a minute."""
TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window)|maximum (context|prompt|model|input) length|(prompt|input|request) is too long"
    r"|input token count|too many (input )?tokens|tokens exceed|exceed(s|ed)? (the )?context"
    r"|reduce the length of the|max_new_tokens.{0,9} must be|inputs.{0,3} must have less than \d+ tokens"
    r"|range of input length|sum of prompt length|exceeded model token limit"
    r"|could not finish the message because max_tokens",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, SGLang, llama.cpp, TGI, Anthropic, Gemini and Mistral say that a prompt does not fit."""
REFUSAL = re.compile(rf"{temperatures.NONE.pattern}|may only be set|must be verified", re.IGNORECASE)
PARAMETER = re.compile(
    r"\b(max_completion_tokens|max_tokens|temperature|seed|reasoning_effort|chat_template_kwargs|enable_thinking"
    r"|reasoning_content|reasoning)\b"
)
PLACES = {
    "enable_thinking": "chat_template_kwargs",
    "reasoning": "messages.reasoning",
    "reasoning_content": "messages.reasoning_content",
}
"""Where a parameter is in a body, if not at its top."""


def failure_of_status(status: int, headers: Mapping[str, str], text: str) -> RequestFailure:
    """What an HTTP error means. Wrong keys and refused requests are final; limits and server errors are not."""
    stop, sentence = http_stop(status), f"HTTP {status}: {provider_message(text)}"
    fields = error_fields(text)
    kinds = {kind for kind in (fields.get("code"), fields.get("type")) if isinstance(kind, str)}
    if status == 402 or kinds & EXHAUSTED or (status < 500 and OUT_OF_MONEY.search(sentence)):
        return RequestFailure("insufficient_quota", sentence, retry=False)
    if status in REPEATED or status >= 500:
        asked = retry_after(headers, time.time())
        return RequestFailure(stop, sentence, wait=asked_wait(fields) if asked is None else asked)
    if status in {400, 413, 422} and ("context_length_exceeded" in kinds or TOO_LONG.search(sentence)):
        return RequestFailure("context_length", sentence, "token_limit", retry=False)
    named = refused_parameter(status, text, PARAMETER)
    return RequestFailure(
        stop, sentence, "model_error", retry=False, refused=PLACES.get(named, named) if named else None
    )


def refused_parameter(status: int, text: str, parameters: re.Pattern[str]) -> str | None:
    """The one of `parameters` that an endpoint says it does not take; the first it names is the one it means."""
    if status not in {400, 422} or not REFUSAL.search(text):
        return None
    named = parameters.search(join_texts(error_fields(text).get("param"))) or parameters.search(text)
    return named[0] if named else None


EMPTY_CONTENT = re.compile(
    r"content\b.{0,120}?\b(?:null|none|empty|missing|required|non-?empty|string|str|blank)\b"
    r"|\b(?:null|none|missing|empty|required|must (?:have|contain)|non-?empty)\b.{0,80}?content\b"
    r"|NoneType|NullValue|invalid type: null|\bnull\b.{0,30}\bstring\b|\bstring\b.{0,30}\bnull\b",
    re.IGNORECASE | re.DOTALL,
)


ABOUT_MESSAGES = re.compile(
    r"bad request|unprocessable|malformed|validation|deserial|\bparse|\bschema\b|\btemplate\b"
    r"|\bassistant\b|\bcontents?\b|\bnull\b|\bstr(?:ing)?\b"
    r"|\bmessages?\W{0,2}(?:\d|field|format|list|array)"
    r"|invalid (?:request|message|body|input|json|format|type|payload)",
    re.IGNORECASE,
)
"""Refusals that may mean anything in a conversation."""


def refused_content(status: int, text: str) -> str | None:
    """Whether an endpoint refuses the empty content that stands beside calls, or may do so."""
    if status not in {400, 422, 500}:
        return None
    if EMPTY_CONTENT.search(text):
        return CONTENT
    return PERHAPS_CONTENT if status == 500 or ABOUT_MESSAGES.search(provider_message(text)) else None


def refused_zero(status: int, text: str) -> str | None:
    """What of a temperature of 0 an endpoint refuses; see find_refusal."""
    blamed = "temperature: " if error_fields(text).get("param") == "temperature" else ""
    return temperatures.find_refusal(status, blamed + provider_message(text))


def error_fields(text: str) -> JSONObject:
    """The error object of a body: {"error": {...}} by OpenAI, the body itself by others, {} if there is none."""
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if isinstance(payload, list) and payload:
        payload = payload[0]  # Gemini's compatible endpoint wraps its error in a list
    fields = payload.get("error", payload) if isinstance(payload, dict) else {}
    return fields if isinstance(fields, dict) else {"message": fields}


def provider_message(text: str) -> str:
    fields = error_fields(text)
    said = fields.get("message") or fields.get("detail")
    if not isinstance(said, str):
        return text.strip() or "no message"
    behind = _upstream_message(fields.get("metadata"))
    return f"{said}: {behind}" if behind and behind not in said else said


def _upstream_message(metadata: object) -> str:
    """What the provider behind a router said, which the router's own sentence leaves out."""
    raw = metadata.get("raw") if isinstance(metadata, dict) else None
    text = json.dumps(raw) if isinstance(raw, dict) else raw if isinstance(raw, str) else ""
    said = error_fields(text).get("message")
    return said if isinstance(said, str) else text.strip()


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds the server wants us to wait, by retry-after-ms, or retry-after as seconds or as a date."""
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None
