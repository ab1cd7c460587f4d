"""Chat completions on the wire, without I/O: what is sent for a request, and what is made of what comes back.

Shared by every backend that speaks this format. Nothing that a server sends is trusted: a reply becomes a Reply or a
Trouble, never another exception.

Left out: streaming; more than one choice; fields a provider wants echoed with a call (Gemini's thought signatures).
"""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from harness.types import JSONObject, Message, ModelRequest, Reply, Tool, ToolCall, Usage

SHOWN_ERROR = 300
"""Characters of a provider's message that are kept: enough for a sentence, too few for an HTML page."""


# --- what is sent ------------------------------------------------------------------------------------------------

FIXED_TEMPERATURE = re.compile(r"o\d|gpt-5(?!.*chat)")
"""Names whose API takes max_completion_tokens for max_tokens and no temperature."""
REPLACEMENTS: Mapping[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
    "seed": None,
}
"""What is sent for a parameter that an endpoint refuses; None: nothing."""
WIRE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def known_replacements(name: str) -> dict[str, str | None]:
    """What has to be replaced for a model of this name, before any endpoint was asked."""
    fixed = FIXED_TEMPERATURE.match(name.rpartition("/")[2])
    return {"max_tokens": "max_completion_tokens", "temperature": None} if fixed else {}


def request_body(
    name: str, request: ModelRequest, extra_body: JSONObject, replaced: Mapping[str, str | None]
) -> JSONObject:
    sampling = request.sampling
    parameters = {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, "seed": sampling.seed}
    body: JSONObject = {"model": name, "messages": wire_messages(request.messages, request.tools)}
    if request.tools:
        body["tools"] = [wire_tool(tool) for tool in request.tools]
    for key, value in parameters.items():
        sent_as = replaced.get(key, key)
        if sent_as is not None and value is not None:
            body[sent_as] = value
    return {**body, **extra_body}


def wire_tool(tool: Tool) -> JSONObject:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def wire_messages(messages: Sequence[Message], tools: Sequence[Tool]) -> list[JSONObject]:
    """Our messages in theirs. A missing id is made up from its turn, and its tool messages follow in order."""
    offered = {tool.name for tool in tools}
    wire: list[JSONObject] = []
    turn, unanswered = 0, list[str]()
    for message in messages:
        if message.role == "assistant":
            calls = [wire_call(call, turn, index, offered) for index, call in enumerate(message.tool_calls)]
            unanswered = [call["id"] for call in calls]
            turn += 1
            # With calls an empty content is sent as the null that servers themselves give.
            said = {"role": "assistant", "content": well_encoded(message.content) or (None if calls else "")}
            wire.append({**said, "tool_calls": calls} if calls else said)
        elif message.role == "tool":
            answers = message.tool_call_id or (unanswered[0] if unanswered else made_up_id(turn, 0))
            unanswered = [call_id for call_id in unanswered if call_id != answers]
            wire.append({"role": "tool", "tool_call_id": answers, "content": well_encoded(message.content)})
        else:
            wire.append({"role": message.role, "content": well_encoded(message.content)})
    return wire


def wire_call(call: ToolCall, turn: int, index: int, offered: set[str]) -> JSONObject:
    """A call as it was written, except where a server would refuse the whole conversation for it.

    Arguments that are no JSON object become {} and impossible names lose their characters; the model has its error in
    the tool message.
    """
    name = call.name if call.name in offered else wire_name(call.name)
    if call.arguments is None:
        arguments = "{}"
    else:
        arguments = call.raw if call.raw.strip() else json.dumps(call.arguments, ensure_ascii=False)
    function = {"name": name, "arguments": well_encoded(arguments)}
    return {"id": call.id or made_up_id(turn, index), "type": "function", "function": function}


def wire_name(name: str) -> str:
    return name if WIRE_NAME.fullmatch(name) else re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


def made_up_id(turn: int, index: int) -> str:
    return f"call_{turn}_{index}"


def well_encoded(text: str) -> str:
    """The text with every lone surrogate replaced: JSON can spell them, UTF-8 files and requests cannot hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# --- what comes back: replies ------------------------------------------------------------------------------------

DEEPEST_ARGUMENTS = 64
LONGEST_ARGUMENTS = 1_000_000
"""Characters. Beyond either limit arguments count as malformed: what handles them later recurses and copies."""
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A request without a usable reply: what it means for the episode, and whether to send it again."""

    stop: str
    text: str
    outcome: Literal["model_error", "token_limit", "infrastructure_error"] = "infrastructure_error"
    retry: bool = True
    wait: float | None = None
    """Seconds the server asked us to wait."""
    refused: str | None = None
    """The parameter that the endpoint does not take."""


def read_reply(content: bytes, earlier: Sequence[Message] = ()) -> Reply | Trouble:
    """The first choice of a chat completion; `earlier` messages say which turn this is and which ids are taken."""
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return Trouble("not_json", f"status 200 without JSON: {text_of(content[:SHOWN_ERROR])}")
    choices = payload.get("choices") if isinstance(payload, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    # A router reports an upstream failure as status 200 with an error, beside the choices or in one.
    if not isinstance(choice, dict) or not isinstance(message, dict) or isinstance(choice.get("error"), dict):
        return Trouble("no_choices", f"status 200 without a message: {provider_message(text_of(content))}")
    finish = choice.get("finish_reason")
    finish_reason = well_encoded(finish) if isinstance(finish, str) else None
    return Reply(read_message(message, earlier), read_usage(payload.get("usage")), finish_reason)


def text_of(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def read_message(message: JSONObject, earlier: Sequence[Message]) -> Message:
    """What was said, thought and called; a refusal is what was said where nothing else was."""
    content = texts(message.get("content"))
    told = (texts(message.get("reasoning")), texts(message.get("reasoning_content")), thinking(message.get("content")))
    thoughts = next(filter(None, told), "")
    if not thoughts:
        thoughts, content = split_thoughts(content)
    return Message(
        role="assistant",
        content=well_encoded(content or texts(message.get("refusal"))),
        reasoning=well_encoded(thoughts) or None,
        tool_calls=tuple(read_calls(message, earlier)),
    )


def texts(value: object) -> str:
    """A string as it is, the texts of a list of parts, "" for anything else."""
    if isinstance(value, str):
        return value
    parts = [part.get("text") if isinstance(part, dict) else part for part in value] if isinstance(value, list) else []
    return "".join(part for part in parts if isinstance(part, str))


def thinking(content: object) -> str:
    """The thoughts among the parts of a content, where Mistral puts them."""
    parts = content if isinstance(content, list) else []
    return "".join(texts(part.get("thinking")) for part in parts if isinstance(part, dict))


def split_thoughts(content: str) -> tuple[str, str]:
    """The thoughts of an inline <think> block, and the rest; a block that was never closed is all thoughts.

    Templates that open the block in the prompt leave only its end in the reply.
    """
    opened = content.lstrip().startswith("<think>")
    if not opened and ("<think>" in content or "</think>" not in content):
        return "", content
    thoughts, _, rest = content.lstrip().removeprefix("<think>").partition("</think>")
    return thoughts.strip(), rest.lstrip()


def read_calls(message: JSONObject, earlier: Sequence[Message]) -> Iterator[ToolCall]:
    """The calls of a reply, each with an id of its own; `function_call` is what old servers write for one call."""
    listed = message.get("tool_calls") or message.get("function_call") or []
    taken = {call.id for old in earlier for call in old.tool_calls}
    turn = sum(old.role == "assistant" for old in earlier)
    for index, item in enumerate(listed if isinstance(listed, list) else [listed]):
        call = read_call(item)
        if not call.id or call.id in taken:
            spare = (f"{made_up_id(turn, index)}_{number}" for number in itertools.count(2))
            ids = itertools.chain([made_up_id(turn, index)], spare)
            call = replace(call, id=next(made_up for made_up in ids if made_up not in taken))
        taken.add(call.id)
        yield call


def read_call(item: object) -> ToolCall:
    """One call; without a usable name it is malformed, whatever its arguments are."""
    fields = item if isinstance(item, dict) else {}
    function = fields.get("function")
    function = function if isinstance(function, dict) else fields
    call_id, name = fields.get("id"), function.get("name")
    arguments, raw, error = read_arguments(function.get("arguments") if fields else item)
    if not isinstance(name, str) or not name.strip():
        name, arguments, error = "", None, "the call names no tool"
    return ToolCall(
        well_encoded(call_id) if isinstance(call_id, str) else "", well_encoded(name), arguments, raw, error
    )


def read_arguments(value: object) -> tuple[JSONObject | None, str, str | None]:
    """Arguments, their text, and why it is malformed. "" and null are {}: that is how a call without any is written."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}, value or "", None
    if not isinstance(value, str) and deeper_than(value, DEEPEST_ARGUMENTS):
        return None, "", "nested too deeply"
    raw = well_encoded(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    try:
        return json_object(raw), raw, None
    except ValueError as error:
        return None, raw, str(error)


def json_object(text: str) -> JSONObject:
    """A JSON object that can be written again: no NaN, no infinity, bounded. ValueError says what it is instead."""
    if len(text) > LONGEST_ARGUMENTS:
        raise ValueError(f"longer than {LONGEST_ARGUMENTS} characters")
    try:
        value = json.loads(text, parse_constant=finite, parse_float=finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if deeper_than(value, DEEPEST_ARGUMENTS):
        raise ValueError("nested too deeply")
    if ESCAPED_SURROGATE.search(text):
        value = json.loads(well_encoded(json.dumps(value, ensure_ascii=False)))
    return dict(value)


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no JSON number")
    return number


def deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
    return bool(level)


def read_usage(usage: object) -> Usage:
    """Tokens of one request; a server that does not count gives zeros."""
    fields = usage if isinstance(usage, dict) else {}
    details = fields.get("completion_tokens_details")
    return Usage(
        input_tokens=count(fields.get("prompt_tokens")),
        output_tokens=count(fields.get("completion_tokens")),
        reasoning_tokens=count(details.get("reasoning_tokens") if isinstance(details, dict) else None),
        requests=1,
    )


def count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


# --- what comes back: errors -------------------------------------------------------------------------------------

REPEATED = frozenset({408, 409, 429})
EXHAUSTED = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window)|maximum (context|prompt|model|input) length|(prompt|input|request) is too long"
    r"|input token count|too many (input )?tokens|tokens exceed|reduce the length of the|max_new_tokens.{0,9} must be",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, SGLang, llama.cpp, TGI, Anthropic, Gemini and Mistral say that a prompt does not fit."""
REFUSAL = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not permitted|not allowed|forbidden", re.IGNORECASE
)
PARAMETER = re.compile(r"\b(max_completion_tokens|max_tokens|temperature|seed)\b")


def status_trouble(status: int, headers: Mapping[str, str], text: str) -> Trouble:
    """What an HTTP error means. Wrong keys and refused requests are final; limits and server errors are not."""
    stop, sentence = f"http_{status}", f"HTTP {status}: {provider_message(text)}"
    fields = error_fields(text)
    kinds = {kind for kind in (fields.get("code"), fields.get("type")) if isinstance(kind, str)}
    if status == 402 or kinds & EXHAUSTED:
        return Trouble("insufficient_quota", sentence, retry=False)
    if status in REPEATED or status >= 500:
        return Trouble(stop, sentence, wait=retry_after(headers, time.time()))
    if status in {400, 413, 422} and ("context_length_exceeded" in kinds or TOO_LONG.search(sentence)):
        return Trouble("context_length", sentence, "token_limit", retry=False)
    refused = refused_parameter(fields, text) if status in {400, 422} else None
    return Trouble(stop, sentence, "model_error", retry=False, refused=refused)


def refused_parameter(fields: JSONObject, text: str) -> str | None:
    """The one of our parameters that an endpoint says it does not take; the first it names is the one it means."""
    if not REFUSAL.search(text):
        return None
    named = PARAMETER.search(texts(fields.get("param"))) or PARAMETER.search(text)
    return named[1] if named else None


def error_fields(text: str) -> JSONObject:
    """The error object of a body: {"error": {...}} by OpenAI, the body itself by others, {} if there is none."""
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    fields = payload.get("error", payload) if isinstance(payload, dict) else {}
    return fields if isinstance(fields, dict) else {"message": fields}


def provider_message(text: str) -> str:
    fields = error_fields(text)
    said = fields.get("message") or fields.get("detail")
    return said if isinstance(said, str) else text.strip() or "no message"


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
