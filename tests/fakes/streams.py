"""Replies as server-sent events: steps of ChatServer for requests that ask for a stream, in each API's wire format.

    with ChatServer(streamed(script)) as server: ...

plays a function script; where a request says `stream`, a chat completion goes out in pieces.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from fakes.chat_server import Asked, Step

EVENTS = {"Content-Type": "text/event-stream; charset=utf-8"}
DONE = b"data: [DONE]\n\n"


def event(data: Any, name: str = "", end: str = "\n") -> bytes:
    """One event, with its name where the API has names."""
    head = f"event: {name}{end}" if name else ""
    return f"{head}data: {json.dumps(data)}{end}{end}".encode()


def events(parts: Iterable[bytes], **fields: Any) -> Step:
    """An answer of these events."""
    return Step(b"".join(parts), headers=EVENTS, **fields)


def streamed(script: Callable[[Asked], Step], cut: int = 4) -> Callable[[Asked], Step]:
    """The same script, whose completions are streamed where that is asked for."""

    def play(asked: Asked) -> Step:
        step = script(asked)
        if not asked.body.get("stream") or step.status != 200 or not isinstance(step.body, Mapping):
            return step
        counts = bool(asked.body.get("stream_options", {}).get("include_usage"))
        return replace(step, body=b"".join([*chunks(step.body, cut, counts), DONE]), headers=EVENTS)

    return play


def pieces(text: str, cut: int) -> list[str]:
    return [text[at : at + cut] for at in range(0, len(text), cut)]


def chunks(body: Mapping[str, Any], cut: int, counts: bool) -> Iterator[bytes]:
    """A completion in chunks, as OpenAI and vLLM send it: texts and arguments in pieces, the usage last."""
    head = {"id": body.get("id"), "object": "chat.completion.chunk"}

    def delta(index: int, fields: Any, end: Any = None) -> bytes:
        choice = {"index": index, "delta": fields, "finish_reason": end}
        return event({**head, "choices": [choice], "usage": None})

    for index, choice in enumerate(body["choices"]):
        yield delta(index, {"role": "assistant", "content": ""})
        for name, value in choice["message"].items():
            if name in ("content", "reasoning", "reasoning_content"):
                yield from (delta(index, {name: piece}) for piece in pieces(value or "", cut))
        for at, call in enumerate(choice["message"].get("tool_calls") or []):
            name, written = call["function"]["name"], call["function"]["arguments"]
            begun = {**call, "index": at, "function": {"name": name, "arguments": ""}}
            yield delta(index, {"tool_calls": [begun]})
            for piece in pieces(written, cut):
                yield delta(index, {"tool_calls": [{"index": at, "function": {"arguments": piece}}]})
        yield delta(index, {}, choice["finish_reason"])
    if counts:
        yield event({**head, "choices": [], "usage": body["usage"]})


def response_events(body: Mapping[str, Any]) -> list[bytes]:
    """A response of the Responses API: its items one by one, then the whole."""
    kinds = [("response.created", {"response": {**body, "output": [], "status": "in_progress"}})]
    kinds += [
        ("response.output_item.done", {"output_index": at, "item": item}) for at, item in enumerate(body["output"])
    ]
    kinds += [("response.completed", {"response": dict(body)})]
    return [event({"type": kind, **fields}, kind) for kind, fields in kinds]


def message_events(body: Mapping[str, Any], cut: int = 4) -> list[bytes]:
    """A message of Anthropic's: blocks that begin empty and grow."""
    usage = body["usage"]
    begun = {**body, "content": [], "stop_reason": None, "usage": {**usage, "output_tokens": 1}}
    sent: list[dict[str, Any]] = [{"type": "message_start", "message": begun}, {"type": "ping"}]
    for index, block in enumerate(body["content"]):
        empty = {**block, **{name: "" for name in ("text", "thinking", "signature") if name in block}}
        if block["type"] == "tool_use":
            empty["input"] = {}
        sent.append({"type": "content_block_start", "index": index, "content_block": empty})
        deltas = block_deltas(block, cut)
        sent += [{"type": "content_block_delta", "index": index, "delta": delta} for delta in deltas]
        sent.append({"type": "content_block_stop", "index": index})
    ended = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    last = {"type": "message_delta", "delta": ended, "usage": {"output_tokens": usage["output_tokens"]}}
    return [event(one, one["type"]) for one in [*sent, last, {"type": "message_stop"}]]


def block_deltas(block: Mapping[str, Any], cut: int) -> Iterator[dict[str, Any]]:
    if block["type"] == "tool_use":
        yield from ({"type": "input_json_delta", "partial_json": p} for p in pieces(json.dumps(block["input"]), cut))
    for name in ("text", "thinking"):
        yield from ({"type": f"{name}_delta", name: piece} for piece in pieces(block.get(name, ""), cut))
    if "signature" in block:
        yield {"type": "signature_delta", "signature": block["signature"]}
