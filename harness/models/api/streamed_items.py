"""Streams of Responses and of Anthropic's messages put together: the body that the same reply has without streaming."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field

from harness.types import JSONObject

FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


@dataclass
class ResponsesReply:
    """A stream of Responses ends with the whole response; the items stand in where that leaves them out."""

    whole: bool = False
    last: bool = False
    _response: JSONObject = field(default_factory=dict)
    _items: list[object] = field(default_factory=list)

    def add(self, event: JSONObject) -> None:
        kind, response = event.get("type"), event.get("response")
        if kind == "response.output_item.done":
            self._items.append(event.get("item"))
        elif kind in FINAL and isinstance(response, dict):
            self.whole = self.last = True
            self._response = response

    def body(self) -> JSONObject:
        return {**self._response, "output": self._response.get("output") or self._items}


GROWING = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
"""The field of a block that a kind of delta adds to."""


@dataclass
class ClaudeReply:
    """A message, whose blocks grow by deltas; the input of a tool comes as pieces of JSON."""

    whole: bool = False
    last: bool = False
    _message: JSONObject = field(default_factory=dict)
    _usage: JSONObject = field(default_factory=dict)
    _blocks: dict[object, JSONObject] = field(default_factory=dict)
    _inputs: dict[object, list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, event: JSONObject) -> None:
        at = event.get("index")
        match event:
            case {"type": "message_start", "message": dict(message)}:
                self._message |= message
                self._count(message.get("usage"))
            case {"type": "content_block_start", "content_block": dict(block)}:
                self._blocks[at] = dict(block)
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": str(piece)}}:
                self._inputs[at].append(piece)
            case {"type": "content_block_delta", "delta": dict(delta)} if at in self._blocks:
                self._grow(self._blocks[at], delta)
            case {"type": "message_delta", "delta": dict(delta)}:
                self._message |= delta
                self._count(event.get("usage"))
            case {"type": "message_stop"}:
                self.whole = self.last = True

    def _grow(self, block: JSONObject, delta: JSONObject) -> None:
        name = GROWING.get(str(delta.get("type")))
        if name is not None and isinstance(delta.get(name), str):
            block[name] = f"{block.get(name) or ''}{delta[name]}"

    def _count(self, usage: object) -> None:
        self._usage |= usage if isinstance(usage, dict) else {}

    def body(self) -> JSONObject:
        for at, pieces in self._inputs.items():
            if at in self._blocks and "".join(pieces).strip():
                self._blocks[at]["input"] = _read("".join(pieces))
        return {**self._message, "content": list(self._blocks.values()), "usage": self._usage}


def _read(text: str) -> object:
    """JSON as a value; what was torn stays text, and is a malformed call."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
