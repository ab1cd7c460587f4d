"""Anthropic's Messages API on the wire, without I/O: content blocks out and back.

A turn with thinking goes back block by block as it came, in its order: signatures cover the blocks, and the API refuses
tool results whose turn lacks its thinking. Turns without thinking are rebuilt from what was said and called.

Left out: prompt caching marks; images; the tools that the provider runs itself; seeds, which this API does
not have.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from harness.data.arguments import replace_surrogates
from harness.errors import UsageError
from harness.models.api.decoding import ANTHROPIC_OPTIONS, decoding_fields
from harness.models.api.lost_calls import find_part_calls, note_unread_calls, restore_lost_call
from harness.models.api.reasoning import ClaudeFeatures
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

# --- what is sent ------------------------------------------------------------------------------------------------


def request_body(name: str, request: ModelRequest) -> JSONObject:
    body: JSONObject = {
        "model": name,
        "max_tokens": request.sampling.max_tokens,
        "messages": wire_messages(request),
        "temperature": request.sampling.temperature,
    }
    system = "\n\n".join(message.content for message in request.messages if message.role == "system")
    if system.strip():
        body["system"] = replace_surrogates(system)
    return {**body, "tools": [wire_tool(tool) for tool in request.tools]} if request.tools else body


def wire_tool(tool: Tool) -> JSONObject:
    schema = {"type": "object", **tool.parameters}
    return {"name": tool.name, "description": tool.description, "input_schema": schema}


def wire_messages(request: ModelRequest) -> list[JSONObject]:
    """User and assistant messages in turn: all results of a turn's tools, and what the user says then, are one message.

    An assistant turn that holds nothing is left out, because the API refuses empty messages.
    """
    wire: list[JSONObject] = []
    for role, blocks in role_blocks(request):
        if wire and wire[-1]["role"] == role == "user":
            wire[-1]["content"] += blocks
        elif blocks:
            wire.append({"role": role, "content": blocks})
    return wire


def role_blocks(request: ModelRequest) -> Iterator[tuple[str, list[JSONObject]]]:
    offered = {tool.name for tool in request.tools}
    recalled = recalled_turns(request.messages, request.reasoning.history)
    for index, message in enumerate(sendable_messages(request.messages)):
        if message.role == "assistant":
            calls = [wire_call(call, offered) for call in message.tool_calls]
            yield "assistant", said_blocks(message, calls, index in recalled)
        elif message.role == "tool":
            yield "user", [{"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}]
        elif message.role == "user":
            yield "user", [{"type": "text", "text": message.content}]


def wire_call(call: ToolCall, offered: set[str]) -> JSONObject:
    name, arguments = wire_name(call.name, offered), json.loads(wire_arguments(call))
    return {"type": "tool_use", "id": call.id, "name": name, "input": arguments}


THINKING = frozenset({"thinking", "redacted_thinking"})


def said_blocks(message: Message, calls: Sequence[JSONObject], recalled: bool) -> list[JSONObject]:
    """The blocks of a turn: as they came where its thinking goes back, else what was said and what was called."""
    blocks = [block for block in message.echo if kind_of(block) in {"text", "tool_use", *THINKING}]
    own_calls = sum(kind_of(block) == "tool_use" for block in blocks)
    if recalled and own_calls == len(calls) and any(kind_of(block) in THINKING for block in blocks):
        return list(with_calls(blocks, calls, "tool_use"))
    said: list[JSONObject] = [{"type": "text", "text": message.content}] if message.content.strip() else []
    return [*said, *calls]


# --- what comes back ---------------------------------------------------------------------------------------------

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
}


def read_message(content: bytes, earlier: Sequence[Message]) -> Reply | RequestFailure:
    """The content of a message; `earlier` messages say which turn this is and which ids are taken."""
    payload = read_payload(content)
    if isinstance(payload, RequestFailure):
        return payload
    listed = payload.get("content")
    if not isinstance(listed, list) or payload.get("type") == "error":
        return RequestFailure("no_content", f"status 200 without content: {provider_message(decode_body(content))}")
    blocks = [block for block in listed if isinstance(block, dict)]
    message = Message(
        role="assistant",
        content=replace_surrogates(joined(blocks, "text")),
        reasoning=replace_surrogates(joined(blocks, "thinking")) or None,
        tool_calls=assign_call_ids(map(read_call, find_part_calls(blocks)), earlier),
        echo=echo_of(blocks),
    )
    stop = payload.get("stop_reason")
    finish = FINISHES.get(stop, replace_surrogates(stop)) if isinstance(stop, str) else None
    return Reply(message, read_usage(payload.get("usage")), finish)


def joined(blocks: Sequence[JSONObject], kind: str) -> str:
    """The texts of all blocks of a kind, which is also the name of the field that holds them."""
    return "".join(join_texts(block.get(kind)) for block in blocks if kind_of(block) == kind)


def echo_of(blocks: Sequence[JSONObject]) -> tuple[JSONObject, ...]:
    """The blocks that have to go back together, if there is thinking among them and all can be sent again."""
    if not any(kind_of(block) in THINKING for block in blocks):
        return ()
    return find_echoes(block for block in blocks if kind_of(block) != "text" or join_texts(block.get("text")).strip())


def read_usage(usage: object) -> Usage:
    """`input_tokens` of the API leaves out what its cache held or now holds; ours is everything that was read."""
    fields = usage if isinstance(usage, dict) else {}
    cached = read_count(fields.get("cache_read_input_tokens"))
    return Usage(
        input_tokens=read_count(fields.get("input_tokens"))
        + cached
        + read_count(fields.get("cache_creation_input_tokens")),
        output_tokens=read_count(fields.get("output_tokens")),
        reasoning_tokens=read_count(read_detail(fields, "output_tokens_details", "thinking_tokens")),
        cached_tokens=cached,
        requests=1,
    )


# --- the dialect -------------------------------------------------------------------------------------------------

ONE_OF_TWO = re.compile(r"temperature\W+and\W+top_p\W+cannot both", re.IGNORECASE)
"""From Opus 4.1 on only one of them is taken."""
PARAMETER = re.compile(r"\b(temperature|thinking|output_config)\b")


class AnthropicDialect:
    """Messages as the API takes them from one model: what harness.models.api.endpoint asks of a dialect."""

    hint = "the base URL is the one before /v1/messages"

    def __init__(self, model: str, claude: ClaudeFeatures, refusals: Refusals) -> None:
        self.model = model
        self.switch = claude.switch
        self.sampling_options = ANTHROPIC_OPTIONS if claude.takes_temperature else ()
        self.refusals = refusals

    def make_request(self, request: ModelRequest) -> WireRequest:
        """The request. Raises UsageError for a reasoning that the model has no setting for, or no room."""
        switched = self.switch(request.reasoning)
        body = merge_fields(request_body(self.model, request), switched)
        body |= decoding_fields(self.model, request.sampling, self.sampling_options)
        thinking = switched.get("thinking", {})
        if thinking.get("budget_tokens", 0) >= request.sampling.max_tokens:
            raise UsageError(
                f"A thinking budget of {thinking['budget_tokens']:,} tokens needs more than that many tokens a turn: "
                f"raise --max-tokens above it, which is {request.sampling.max_tokens:,}."
            )
        if thinking.get("type") in {"enabled", "adaptive"}:
            del body["temperature"]  # with thinking on, the API takes no temperature but its own
        return WireRequest("/v1/messages", self.refusals.apply(body))

    def read_reply(self, sent: WireRequest, content: bytes, request: ModelRequest) -> Reply | RequestFailure:
        result = read_message(content, request.messages)
        if isinstance(result, RequestFailure):
            return result
        restored = restore_lost_call(result, {"finish_reason": result.finish_reason}, request.messages)
        return note_unread_calls(restored, request)

    def read_failure(self, sent: WireRequest, status: int, headers: Mapping[str, str], text: str) -> RequestFailure:
        failure = failure_of_status(status, headers, text)
        if failure.stop not in {"http_400", "http_422"}:
            return failure
        refused = "temperature" if ONE_OF_TWO.search(text) else refused_parameter(status, text, PARAMETER)
        return replace(failure, refused=refused)

    def adapt(self, failure: RequestFailure, sent: WireRequest) -> bool:
        return self.refusals.learn(failure.refused, sent.body)
