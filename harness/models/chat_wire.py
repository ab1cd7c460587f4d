"""Chat completions on the wire, without I/O: what is sent for a request, and what is made of what comes back.

Shared by every backend that speaks this format; `ChatDialect` puts it together for the endpoint. Nothing that a server
sends is trusted: a reply becomes a Reply or a Trouble, never another exception.

Left out: streaming; more than one choice; sending back thoughts that came as parts of a content, as Mistral gives them.
"""

from __future__ import annotations

import itertools
import json
import math
import re
import time
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Literal

from harness.models.switches import Refusals, Switch, merged
from harness.types import JSONObject, Message, ModelRequest, Reply, Tool, ToolCall, Usage

SHOWN_ERROR = 300
"""Characters of a provider's message that are kept: enough for a sentence, too few for an HTML page."""


# --- what is sent ------------------------------------------------------------------------------------------------

FIXED_TEMPERATURE = re.compile(r"o\d|gpt-[5-9](?!.*chat)")
"""Names whose API takes max_completion_tokens for max_tokens and no temperature."""
WIRE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
REASONING_FIELDS = ("reasoning", "reasoning_content")
"""Where servers put what was thought: vLLM and OpenRouter the one, DeepSeek, SGLang and llama.cpp the other."""


def known_replacements(name: str) -> dict[str, str | None]:
    """What has to be replaced for a model of this name, before any endpoint was asked; None: it is left out."""
    fixed = FIXED_TEMPERATURE.match(name.rpartition("/")[2])
    return {"max_tokens": "max_completion_tokens", "temperature": None} if fixed else {}


def request_body(name: str, request: ModelRequest) -> JSONObject:
    """A request as the format has it, before anything that one endpoint takes or refuses."""
    sampling = request.sampling
    body: JSONObject = {
        "model": name,
        "messages": wire_messages(request.messages, request.tools, request.reasoning.history),
    }
    if request.tools:
        body["tools"] = [wire_tool(tool) for tool in request.tools]
    body |= {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens}
    return body if sampling.seed is None else {**body, "seed": sampling.seed}


def wire_tool(tool: Tool) -> JSONObject:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def wire_messages(
    messages: Sequence[Message], tools: Sequence[Tool], history: Literal["none", "last", "all"] = "all"
) -> list[JSONObject]:
    """Our messages in theirs. A missing id is made up from its turn, and its tool messages follow in order."""
    offered = {tool.name for tool in tools}
    recalled = recalled_turns(messages, history)
    wire: list[JSONObject] = []
    turn, unanswered = 0, list[str]()
    for index, message in enumerate(messages):
        if message.role == "assistant":
            calls = [wire_call(call, turn, place, offered) for place, call in enumerate(message.tool_calls)]
            unanswered = [call["id"] for call in calls]
            turn += 1
            wire.append(wire_said(message, calls, index in recalled))
        elif message.role == "tool":
            answers = message.tool_call_id or (unanswered[0] if unanswered else made_up_id(turn, 0))
            unanswered = [call_id for call_id in unanswered if call_id != answers]
            wire.append({"role": "tool", "tool_call_id": answers, "content": well_encoded(message.content)})
        else:
            wire.append({"role": message.role, "content": well_encoded(message.content)})
    return wire


def wire_said(message: Message, calls: list[JSONObject], recalled: bool) -> JSONObject:
    """An assistant turn, with what it thought in the field that it came in, where it is to go back."""
    said: JSONObject = {"role": "assistant", "content": well_encoded(message.content)}
    came = next((item for item in message.echo if "field" in item), None)
    if recalled and came and message.reasoning:
        thoughts = well_encoded(message.reasoning)
        if came["field"] in REASONING_FIELDS:
            said[came["field"]] = thoughts
        elif came["field"] == "content":
            said["content"] = f"{came.get('open', '')}{thoughts}{came.get('close', '')}{said['content']}"
    # With calls an empty content is sent as the null that servers themselves give.
    said["content"] = said["content"] or (None if calls else "")
    return {**said, "tool_calls": calls} if calls else said


def recalled_turns(messages: Sequence[Message], history: Literal["none", "last", "all"]) -> set[int]:
    """The places of the assistant turns whose reasoning goes back to the model."""
    spoken = [index for index, message in enumerate(messages) if message.role == "assistant"]
    return set({"none": [], "last": spoken[-1:], "all": spoken}[history])


def wire_call(call: ToolCall, turn: int, index: int, offered: set[str]) -> JSONObject:
    """A call as it was written, except where a server would refuse the whole conversation for it, and with it what
    the provider wants back.

    Arguments that are no JSON object become {} and impossible names lose their characters; the model has its error in
    the tool message.
    """
    function = {"name": wire_name(call.name, offered), "arguments": wire_arguments(call)}
    return {**(call.echo or {}), "id": call.id or made_up_id(turn, index), "type": "function", "function": function}


def wire_arguments(call: ToolCall) -> str:
    if call.arguments is None:
        return "{}"
    return well_encoded(call.raw if call.raw.strip() else json.dumps(call.arguments, ensure_ascii=False))


def wire_name(name: str, offered: Container[str]) -> str:
    if name in offered or WIRE_NAME.fullmatch(name):
        return name
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


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


def as_it_is(reply: Reply, choice: JSONObject) -> Reply:
    return reply


def read_reply(
    content: bytes, earlier: Sequence[Message] = (), finish: Callable[[Reply, JSONObject], Reply] = as_it_is
) -> Reply | Trouble:
    """The first choice of a chat completion; `earlier` messages say which turn this is and which ids are taken.

    `finish` completes the reply from the choice as it came.
    """
    payload = payload_of(content)
    if isinstance(payload, Trouble):
        return payload
    choice = first_choice(payload)
    message = choice.get("message") if choice is not None else None
    # A router reports an upstream failure as status 200 with an error, beside the choices or in one.
    if choice is None or not isinstance(message, dict) or isinstance(choice.get("error"), dict):
        return Trouble("no_choices", f"status 200 without a message: {provider_message(text_of(content))}")
    reason = choice.get("finish_reason")
    finish_reason = well_encoded(reason) if isinstance(reason, str) else None
    reply = Reply(read_message(message, earlier), read_usage(payload.get("usage")), finish_reason)
    return finish(reply, choice)


def payload_of(content: bytes) -> JSONObject | Trouble:
    """The JSON object of a body, {} for other JSON, Trouble where it is none."""
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return Trouble("not_json", f"status 200 without JSON: {text_of(content[:SHOWN_ERROR])}")
    return payload if isinstance(payload, dict) else {}


def first_choice(payload: JSONObject) -> JSONObject | None:
    choices = payload.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    return choice if isinstance(choice, dict) else None


def text_of(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def read_message(message: JSONObject, earlier: Sequence[Message]) -> Message:
    """What was said, thought and called; a refusal is what was said where nothing else was.

    `echo` notes where the thoughts came from, so that they can go back in the same place.
    """
    content = texts(message.get("content"))
    field = next((name for name in REASONING_FIELDS if texts(message.get(name)).strip()), None)
    thoughts = texts(message.get(field)) if field else thinking(message.get("content"))
    came: JSONObject = {"field": field} if field else {}
    if not thoughts:
        thoughts, content, came = inline_thoughts(content)
    return Message(
        role="assistant",
        content=well_encoded(content or texts(message.get("refusal"))),
        reasoning=well_encoded(thoughts) or None,
        tool_calls=number(listed_calls(message), earlier),
        echo=(came,) if came else (),
    )


def inline_thoughts(content: str) -> tuple[str, str, JSONObject]:
    """The thoughts that a content begins with, the rest, and what surrounds them."""
    thoughts, rest = split_thoughts(content)
    if not thoughts:
        return "", rest, {}
    opening, _, closing = content.removesuffix(rest).partition(thoughts)
    return thoughts, rest, {"field": "content", "open": well_encoded(opening), "close": well_encoded(closing)}


def texts(value: object) -> str:
    """A string as it is, the texts of a list of parts, "" for anything else."""
    if isinstance(value, str):
        return value
    parts = [part.get("text") if isinstance(part, dict) else part for part in value] if isinstance(value, list) else []
    return "".join(part for part in parts if isinstance(part, str))


def kind_of(item: object) -> str:
    """The type of an item or a block; "" where it has none."""
    kind = item.get("type") if isinstance(item, dict) else None
    return kind if isinstance(kind, str) else ""


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


def listed_calls(message: JSONObject) -> list[ToolCall]:
    """The calls of a reply as they were written; `function_call` is what old servers write for one call."""
    listed = message.get("tool_calls") or message.get("function_call") or []
    return [read_call(item) for item in (listed if isinstance(listed, list) else [listed])]


def number(calls: Iterable[ToolCall], earlier: Sequence[Message]) -> tuple[ToolCall, ...]:
    """The same calls, each with an id of its own in the whole conversation."""
    taken = {call.id for old in earlier for call in old.tool_calls}
    turn = sum(old.role == "assistant" for old in earlier)
    numbered: list[ToolCall] = []
    for index, call in enumerate(calls):
        call_id = call.id
        if not call_id or call_id in taken:
            spare = (f"{made_up_id(turn, index)}_{count}" for count in itertools.count(2))
            ids = itertools.chain([made_up_id(turn, index)], spare)
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
    arguments, raw, error = read_arguments(function.get("arguments") if fields else item)
    if not isinstance(name, str) or not name.strip():
        name, arguments, error = "", None, "the call names no tool"
    extra = echoed(fields.get("extra_content"))
    return ToolCall(
        id=well_encoded(call_id) if isinstance(call_id, str) else "",
        name=well_encoded(name),
        arguments=arguments,
        raw=raw,
        parse_error=error,
        echo={"extra_content": extra} if extra else None,
    )


def echoed(value: object) -> JSONObject | None:
    """An object of the provider's as it came, if it can be sent again: bounded, finite, without lone surrogates."""
    if not isinstance(value, dict) or deeper_than(value, DEEPEST_ARGUMENTS):
        return None
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except (ValueError, RecursionError):
        return None
    if len(text) > LONGEST_ARGUMENTS:
        return None
    clean = well_encoded(text)
    return value if clean == text else dict(json.loads(clean))


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
    return Usage(
        input_tokens=count(fields.get("prompt_tokens")),
        output_tokens=count(fields.get("completion_tokens")),
        reasoning_tokens=count(detail(fields, "completion_tokens_details", "reasoning_tokens")),
        cached_tokens=count(detail(fields, "prompt_tokens_details", "cached_tokens")),
        requests=1,
    )


def detail(usage: JSONObject, part: str, name: str) -> object:
    """A figure inside a part of a usage; None where either is missing."""
    details = usage.get(part)
    return details.get(name) if isinstance(details, dict) else None


def count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


# --- what comes back: errors -------------------------------------------------------------------------------------

REPEATED = frozenset({408, 409, 429})
EXHAUSTED = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window)|maximum (context|prompt|model|input) length|(prompt|input|request) is too long"
    r"|input token count|too many (input )?tokens|tokens exceed|exceed(s|ed)? (the )?context"
    r"|reduce the length of the|max_new_tokens.{0,9} must be",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, SGLang, llama.cpp, TGI, Anthropic, Gemini and Mistral say that a prompt does not fit."""
REFUSAL = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not permitted|not allowed|forbidden|deprecated"
    r"|may only be set|must be verified",
    re.IGNORECASE,
)
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
    named = refused_parameter(status, text, PARAMETER)
    return Trouble(stop, sentence, "model_error", retry=False, refused=PLACES.get(named, named) if named else None)


def refused_parameter(status: int, text: str, parameters: re.Pattern[str]) -> str | None:
    """The one of `parameters` that an endpoint says it does not take; the first it names is the one it means."""
    if status not in {400, 422} or not REFUSAL.search(text):
        return None
    named = parameters.search(texts(error_fields(text).get("param"))) or parameters.search(text)
    return named[0] if named else None


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


# --- the dialect -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Sent:
    """A request on the wire: the path below the base URL, and the JSON body."""

    path: str
    body: JSONObject


class ChatDialect:
    """Chat completions as an endpoint takes them: what harness.models.endpoint asks of a dialect.

    A server with more to it overrides `fields` (what else is sent) and `finish` (what else its choice says).
    """

    path = "/chat/completions"
    hint = "does the base URL end in /v1?"
    """What a person should look at when the path is not there."""

    def __init__(self, model: str, switch: Switch, refusals: Refusals) -> None:
        self.model = model
        self.switch = switch
        self.refusals = refusals

    def write(self, request: ModelRequest) -> Sent:
        """The request. Raises UsageError for a reasoning that the provider has no setting for."""
        body = merged(request_body(self.model, request), self.switch(request.reasoning))
        return Sent(self.path, self.refusals.settle(merged(body, self.fields(request))))

    def read(self, sent: Sent, content: bytes, request: ModelRequest) -> Reply | Trouble:
        """What a body with status 200 says."""
        return read_reply(content, request.messages, lambda reply, choice: self.finish(reply, choice, request))

    def trouble(self, sent: Sent, status: int, headers: Mapping[str, str], text: str) -> Trouble:
        """What a body with another status says."""
        return status_trouble(status, headers, text)

    def adapt(self, trouble: Trouble, sent: Sent) -> bool:
        """Learns from a refusal, for the rest of the run. False if there is nothing new to try."""
        return self.refusals.learn(trouble.refused, sent.body)

    def fields(self, request: ModelRequest) -> JSONObject:
        """Further fields of the body."""
        return {}

    def finish(self, reply: Reply, choice: JSONObject, request: ModelRequest) -> Reply:
        """The reply, completed from the choice as it came (untrusted)."""
        return reply
