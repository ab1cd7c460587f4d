"""Chat completions on the wire, without I/O: what is sent for a request, and what is made of what comes back.

Shared by every backend that speaks this format; `ChatDialect` puts it together for the endpoint. What other APIs need
as well is in wire.py.

Left out: choices of which one is to be taken; sending back thoughts that came as parts of a content, as
Mistral gives them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from harness.data.arguments import replace_surrogates
from harness.models.api.decoding import decoding_fields
from harness.models.api.lost_calls import gather_choices, note_unread_calls, restore_lost_call, says_lost
from harness.models.api.reasoning import Switch
from harness.models.api.refusals import Refusals, merge_fields
from harness.models.api.wire import (
    RequestFailure,
    WireRequest,
    assign_call_ids,
    decode_body,
    failure_of_status,
    join_texts,
    provider_message,
    read_call,
    read_count,
    read_detail,
    read_payload,
    recalled_turns,
    sendable_messages,
    wire_arguments,
    wire_name,
)
from harness.types import SAMPLING_OPTIONS, JSONObject, Message, ModelRequest, Reply, Tool, ToolCall, Usage

# --- what is sent ------------------------------------------------------------------------------------------------

FIXED_TEMPERATURE = re.compile(r"o\d|gpt-[5-9](?!.*chat)")
"""Names whose API takes max_completion_tokens for max_tokens and no temperature."""
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
    """Our messages in theirs."""
    offered = {tool.name for tool in tools}
    recalled = recalled_turns(messages, history)
    wire: list[JSONObject] = []
    for index, message in enumerate(sendable_messages(messages)):
        if message.role == "assistant":
            calls = [wire_call(call, offered) for call in message.tool_calls]
            wire.append(wire_said(message, calls, index in recalled))
        elif message.role == "tool":
            wire.append({"role": "tool", "tool_call_id": message.tool_call_id, "content": message.content})
        else:
            wire.append({"role": message.role, "content": message.content})
    return wire


def wire_said(message: Message, calls: list[JSONObject], recalled: bool) -> JSONObject:
    """An assistant turn, with what it thought in the field that it came in, where it is to go back."""
    said: JSONObject = {"role": "assistant", "content": message.content}
    came = next((item for item in message.echo if "field" in item), None)
    if recalled and came and message.reasoning:
        thoughts = replace_surrogates(message.reasoning)
        if came["field"] in REASONING_FIELDS:
            said[came["field"]] = thoughts
        elif came["field"] == "content":
            said["content"] = f"{came.get('open', '')}{thoughts}{came.get('close', '')}{said['content']}"
    # With calls an empty content is sent as the null that servers themselves give.
    said["content"] = said["content"] or (None if calls else "")
    return {**said, "tool_calls": calls} if calls else said


def wire_call(call: ToolCall, offered: set[str]) -> JSONObject:
    """A call as it was written, except where a server would refuse the whole conversation for it, and with it what
    the provider wants back.

    Arguments that are no JSON object become {} and impossible names lose their characters; the model has its error in
    the tool message.
    """
    function = {"name": wire_name(call.name, offered), "arguments": wire_arguments(call)}
    return {**(call.echo or {}), "id": call.id, "type": "function", "function": function}


# --- what comes back ---------------------------------------------------------------------------------------------


FAILED = ("error", "abort")
"""Reasons to end by which OpenRouter, Mistral, vLLM and SGLang say that a reply was not finished."""


def as_it_is(reply: Reply, choice: JSONObject) -> Reply:
    return reply


def read_reply(
    content: bytes,
    earlier: Sequence[Message] = (),
    finish: Callable[[Reply, JSONObject], Reply] = as_it_is,
    asked: int = 1,
) -> Reply | RequestFailure:
    """The reply of a chat completion; `earlier` messages say which turn this is and which ids are taken.

    `finish` completes the reply from the choice as it came. Of several choices that were `asked` for, the first.
    """
    payload = read_payload(content)
    if isinstance(payload, RequestFailure):
        return payload
    choice = first_choice(payload, asked)
    message = choice.get("message") if choice is not None else None
    # A router reports an upstream failure as status 200 with an error, beside the choices or in one.
    if choice is None or not isinstance(message, dict) or payload.get("error") or ends_in_error(choice):
        return RequestFailure("no_choices", f"status 200 without a message: {provider_message(decode_body(content))}")
    reason = choice.get("finish_reason")
    finish_reason = replace_surrogates(reason) if isinstance(reason, str) else None
    reply = Reply(read_message(message, earlier), read_usage(payload.get("usage")), finish_reason)
    return finish(restore_lost_call(reply, choice, earlier), choice)


def first_choice(payload: JSONObject, asked: int = 1) -> JSONObject | None:
    """The choice that is the reply. Where a call could not be read, some give no message at all."""
    choices = payload.get("choices")
    choice = gather_choices(choices[: None if asked == 1 else 1]) if isinstance(choices, list) else None
    if choice is not None and choice.get("message") is None and says_lost(choice):
        return {**choice, "message": {}}
    return choice


def ends_in_error(choice: JSONObject) -> bool:
    """Whether a choice broke off on the provider's side, where no call is what broke."""
    return not says_lost(choice) and bool(choice.get("error") or choice.get("finish_reason") in FAILED)


def read_message(message: JSONObject, earlier: Sequence[Message]) -> Message:
    """What was said, thought and called; a refusal is what was said where nothing else was.

    `echo` notes where the thoughts came from, so that they can go back in the same place.
    """
    content = join_texts(message.get("content"))
    field = next((name for name in REASONING_FIELDS if join_texts(message.get(name)).strip()), None)
    thoughts = join_texts(message.get(field)) if field else thinking(message.get("content"))
    came: JSONObject = {"field": field} if field else {}
    if not thoughts:
        thoughts, content, came = inline_thoughts(content)
    return Message(
        role="assistant",
        content=replace_surrogates(content or join_texts(message.get("refusal"))),
        reasoning=replace_surrogates(thoughts) or None,
        tool_calls=assign_call_ids(listed_calls(message), earlier),
        echo=(came,) if came else (),
    )


def inline_thoughts(content: str) -> tuple[str, str, JSONObject]:
    """The thoughts that a content begins with, the rest, and what surrounds them."""
    thoughts, rest = split_thoughts(content)
    if not thoughts:
        return "", rest, {}
    opening, _, closing = content.removesuffix(rest).partition(thoughts)
    return (
        thoughts,
        rest,
        {"field": "content", "open": replace_surrogates(opening), "close": replace_surrogates(closing)},
    )


def thinking(content: object) -> str:
    """The thoughts among the parts of a content, where Mistral puts them."""
    parts = content if isinstance(content, list) else []
    return "".join(join_texts(part.get("thinking")) for part in parts if isinstance(part, dict))


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
    """The calls of a reply as they were written."""
    listed = message.get("tool_calls") or []
    return [read_call(item) for item in (listed if isinstance(listed, list) else [listed])]


def read_usage(usage: object) -> Usage:
    """Tokens of one request; a server that does not count gives zeros."""
    fields = usage if isinstance(usage, dict) else {}
    return Usage(
        input_tokens=read_count(fields.get("prompt_tokens")),
        output_tokens=read_count(fields.get("completion_tokens")),
        reasoning_tokens=read_count(read_detail(fields, "completion_tokens_details", "reasoning_tokens")),
        cached_tokens=read_count(read_detail(fields, "prompt_tokens_details", "cached_tokens")),
        requests=1,
    )


# --- the dialect -------------------------------------------------------------------------------------------------


class ChatDialect:
    """Chat completions as an endpoint takes them: what harness.models.api.endpoint asks of a dialect.

    A server with more overrides `extra_fields` (what else is sent) and `complete_reply` (what else a choice says).
    """

    path = "/chat/completions"
    hint = "does the base URL end in /v1?"
    """What a person should look at when the path is not there."""
    sampling_options: Sequence[str] = SAMPLING_OPTIONS

    def __init__(self, model: str, switch: Switch, refusals: Refusals) -> None:
        self.model = model
        self.switch = switch
        self.refusals = refusals

    def make_request(self, request: ModelRequest) -> WireRequest:
        """The request. Raises UsageError for a reasoning or a sampling that the provider has no setting for."""
        body = merge_fields(request_body(self.model, request), self.switch(request.reasoning))
        body |= decoding_fields(self.model, request.sampling, self.sampling_options)
        return WireRequest(self.path, self.refusals.apply(merge_fields(body, self.extra_fields(request))))

    def read_reply(self, sent: WireRequest, content: bytes, request: ModelRequest) -> Reply | RequestFailure:
        """What a body with status 200 says."""
        asked = sent.body.get("n") or 1
        return read_reply(content, request.messages, partial(self._finish, request), asked)

    def _finish(self, request: ModelRequest, reply: Reply, choice: JSONObject) -> Reply:
        return note_unread_calls(self.complete_reply(reply, choice, request), request)

    def read_failure(self, sent: WireRequest, status: int, headers: Mapping[str, str], text: str) -> RequestFailure:
        """What a body with another status says."""
        failure = failure_of_status(status, headers, text)
        if status not in {400, 422}:
            return failure
        return replace(failure, refused=self.refusals.find_plain(failure.text, failure.refused, sent.body))

    def adapt(self, failure: RequestFailure, sent: WireRequest) -> bool:
        """Learns from a refusal, for the rest of the run. False if there is nothing new to try."""
        return self.refusals.learn(failure.refused, sent.body)

    def extra_fields(self, request: ModelRequest) -> JSONObject:
        """Further fields of the body."""
        return {}

    def complete_reply(self, reply: Reply, choice: JSONObject, request: ModelRequest) -> Reply:
        """The reply, completed from the choice as it came (untrusted)."""
        return reply
