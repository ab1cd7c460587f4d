"""OpenAI's Responses API on the wire, without I/O: input items and function calls out, output items back.

Nothing is kept on the provider's side (`store` false): every turn is sent whole, and reasoning travels encrypted in
items that are sent back as they came. An item that follows a reasoning item carries an id which the API resolves
together with it; where the reasoning is left out, the ids are left out too.

Left out: the tools that the provider runs itself; seeds, which this API does not have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.data.arguments import replace_surrogates
from harness.models.api.decoding import RESPONSES_OPTIONS, decoding_fields
from harness.models.api.lost_calls import find_part_calls, note_unread_calls, restore_lost_call
from harness.models.api.reasoning import Switch
from harness.models.api.refusals import Refusals, merge_fields
from harness.models.api.wire import (
    RequestFailure,
    WireRequest,
    assign_call_ids,
    decode_body,
    failure_of_status,
    find_echoes,
    join_texts,
    kind_of,
    provider_message,
    read_call,
    read_count,
    read_detail,
    read_payload,
    recalled_turns,
    refused_parameter,
    sendable_messages,
    wire_arguments,
    wire_name,
    with_calls,
)
from harness.types import JSONObject, Message, ModelRequest, Reply, Tool, ToolCall, Usage

LEAST_OUTPUT = 16
"""The API refuses a smaller max_output_tokens."""

# --- what is sent ------------------------------------------------------------------------------------------------


def request_body(name: str, request: ModelRequest) -> JSONObject:
    body: JSONObject = {
        "model": name,
        "input": input_items(request),
        "max_output_tokens": max(LEAST_OUTPUT, request.sampling.max_tokens),
        "temperature": request.sampling.temperature,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    return {**body, "tools": [wire_tool(tool) for tool in request.tools]} if request.tools else body


def wire_tool(tool: Tool) -> JSONObject:
    """A function, flat; not strict, because strict mode refuses schemas with optional parameters."""
    fields = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", **fields, "strict": False}


def input_items(request: ModelRequest) -> list[JSONObject]:
    offered = {tool.name for tool in request.tools}
    recalled = recalled_turns(request.messages, request.reasoning.history)
    items: list[JSONObject] = []
    for index, message in enumerate(sendable_messages(request.messages)):
        if message.role == "assistant":
            calls = [wire_call(call, offered) for call in message.tool_calls]
            items += said_items(message, calls) if index in recalled else rebuilt(message.content, calls)
        elif message.role == "tool":
            output = {"call_id": message.tool_call_id, "output": message.content}
            items.append({"type": "function_call_output", **output})
        else:
            items.append({"role": message.role, "content": message.content})
    return items


def wire_call(call: ToolCall, offered: set[str]) -> JSONObject:
    name, arguments = wire_name(call.name, offered), wire_arguments(call)
    return {"type": "function_call", "call_id": call.id, "name": name, "arguments": arguments}


def rebuilt(text: str, calls: Sequence[JSONObject]) -> list[JSONObject]:
    """A turn without its reasoning, and so without ids."""
    said: list[JSONObject] = [{"role": "assistant", "content": text}] if text else []
    return [*said, *calls]


def said_items(message: Message, calls: Sequence[JSONObject]) -> list[JSONObject]:
    """The output items of a turn as they came; calls are those of the message, whose ids and arguments are sound.

    Items without a usable reasoning item, such as those of another API, are rebuilt.
    """
    items = [item for item in message.echo if kind_of(item) in {"reasoning", "message", "function_call"}]
    own_calls = sum(kind_of(item) == "function_call" for item in items)
    if own_calls != len(calls) or not any(map(carries_reasoning, items)):
        return rebuilt(message.content, calls)
    kept = (item for item in items if kind_of(item) != "reasoning" or carries_reasoning(item))
    return list(with_calls(kept, calls, "function_call"))


def carries_reasoning(item: JSONObject) -> bool:
    """Whether a reasoning item can be sent back: an id alone points at what nobody has stored."""
    return kind_of(item) == "reasoning" and bool(item.get("encrypted_content") or item.get("content"))


# --- what comes back ---------------------------------------------------------------------------------------------

FINISHES = {"max_output_tokens": "length", "content_filter": "content_filter"}


def read_response(content: bytes, earlier: Sequence[Message]) -> Reply | RequestFailure:
    """The output of a response; `earlier` messages say which turn this is and which ids are taken."""
    payload = read_payload(content)
    if isinstance(payload, RequestFailure):
        return payload
    output = payload.get("output")
    if payload.get("status") in ("failed", "cancelled") or payload.get("error"):
        return failed_response(payload)
    if not isinstance(output, list):
        return RequestFailure("no_output", f"status 200 without output: {provider_message(decode_body(content))}")
    items = [item for item in output if isinstance(item, dict)]
    calls = assign_call_ids(map(read_item, listed_calls(items)), earlier)
    message = Message(
        role="assistant",
        content=replace_surrogates(parts(items, "message", "output_text") or parts(items, "message", "refusal")),
        reasoning=replace_surrogates(thoughts(items)) or None,
        tool_calls=calls,
        echo=echo_of(items),
    )
    return Reply(message, read_usage(payload.get("usage")), finish_of(payload, calls))


def failed_response(payload: JSONObject) -> RequestFailure:
    """A response that was accepted and then failed on the provider's side."""
    error = payload.get("error")
    fields = error if isinstance(error, dict) else {}
    said = join_texts(fields.get("message")) or str(payload.get("status"))
    if fields.get("code") == "insufficient_quota":
        return RequestFailure("insufficient_quota", f"the response failed: {said}", retry=False)
    return RequestFailure("response_failed", f"the response failed: {said}")


def listed_calls(items: Sequence[JSONObject]) -> list[JSONObject]:
    """The calls among the items, and among the parts of messages, where some servers put them."""
    parts = [item.get("content") if kind_of(item) == "message" else item for item in items]
    return [call for part in parts for call in find_part_calls(part)]


def read_item(item: JSONObject) -> ToolCall:
    return replace(read_call(item), echo=None)


def parts(items: Sequence[JSONObject], kind: str, part_type: str) -> str:
    """The texts of one type of part in all items of one type."""
    contents = [item.get("content") for item in items if kind_of(item) == kind]
    texts = [{"type": part_type, "text": content} if isinstance(content, str) else content for content in contents]
    listed = [part for content in texts for part in (content if isinstance(content, list) else [content])]
    types, field = ({part_type}, "refusal") if part_type == "refusal" else ({part_type, "text"}, "text")
    return "".join(join_texts(part.get(field)) for part in listed if isinstance(part, dict) and kind_of(part) in types)


def thoughts(items: Sequence[JSONObject]) -> str:
    """What was thought: its text where a server gives it, else the summaries."""
    told = parts(items, "reasoning", "reasoning_text")
    summaries = [join_texts(item.get("summary")) for item in items if kind_of(item) == "reasoning"]
    return told or "\n\n".join(filter(None, summaries))


def echo_of(items: Sequence[JSONObject]) -> tuple[JSONObject, ...]:
    """The items that have to go back together, if there is any reasoning among them and all can be sent again."""
    return find_echoes(items) if any(map(carries_reasoning, items)) else ()


def finish_of(payload: JSONObject, calls: Sequence[ToolCall]) -> str:
    details = payload.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, dict) else None
    if isinstance(reason, str) and payload.get("status") == "incomplete":
        return FINISHES.get(reason, replace_surrogates(reason))
    return "tool_calls" if calls else "stop"


def read_usage(usage: object) -> Usage:
    fields = usage if isinstance(usage, dict) else {}
    return Usage(
        input_tokens=read_count(fields.get("input_tokens")),
        output_tokens=read_count(fields.get("output_tokens")),
        reasoning_tokens=read_count(read_detail(fields, "output_tokens_details", "reasoning_tokens")),
        cached_tokens=read_count(read_detail(fields, "input_tokens_details", "cached_tokens")),
        requests=1,
    )


# --- the dialect -------------------------------------------------------------------------------------------------

PARAMETER = re.compile(r"\b(temperature|reasoning\.summary|reasoning\.encrypted_content|include|reasoning)\b")
NO_ENCRYPTION = re.compile(r"encrypted content is not supported", re.IGNORECASE)
NO_SUMMARY = re.compile(r"verified to (generate|use) reasoning summar", re.IGNORECASE)


class ResponsesDialect:
    """Responses as an endpoint takes them: what harness.models.api.endpoint asks of a dialect."""

    hint = "does the base URL end in /v1?"
    sampling_options = RESPONSES_OPTIONS

    def __init__(self, model: str, switch: Switch, refusals: Refusals) -> None:
        self.model = model
        self.switch = switch
        self.refusals = refusals

    def make_request(self, request: ModelRequest) -> WireRequest:
        """The request. Raises UsageError for a reasoning or a sampling that the provider has no setting for."""
        body = merge_fields(request_body(self.model, request), self.switch(request.reasoning))
        body |= decoding_fields(self.model, request.sampling, self.sampling_options)
        return WireRequest("/responses", self.refusals.apply(body))

    def read_reply(self, sent: WireRequest, content: bytes, request: ModelRequest) -> Reply | RequestFailure:
        result = read_response(content, request.messages)
        if isinstance(result, RequestFailure):
            return result
        restored = restore_lost_call(result, {"finish_reason": result.finish_reason}, request.messages)
        return note_unread_calls(restored, request)

    def read_failure(self, sent: WireRequest, status: int, headers: Mapping[str, str], text: str) -> RequestFailure:
        failure = failure_of_status(status, headers, text)
        return replace(failure, refused=refused(status, text)) if failure.stop in {"http_400", "http_422"} else failure

    def adapt(self, failure: RequestFailure, sent: WireRequest) -> bool:
        return self.refusals.learn(failure.refused, sent.body)


def refused(status: int, text: str) -> str | None:
    """The field of a body that an endpoint says it does not take."""
    if NO_ENCRYPTION.search(text):
        return "include"
    if NO_SUMMARY.search(text):
        return "reasoning.summary"
    named = refused_parameter(status, text, PARAMETER)
    return "include" if named == "reasoning.encrypted_content" else named
