"""Streams of Responses and of Anthropic's messages put together: the body that the same reply has without streaming."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field

from harness.models.api.lost_calls import find_part_calls
from harness.models.api.wire import join_texts
from harness.types import JSONObject

FINAL = frozenset({"response.completed", "response.incomplete", "response.failed"})


@dataclass
class ResponsesReply:
    """A stream of Responses ends with the whole response; its items stand in where that leaves them out."""

    last: bool = False
    _response: JSONObject = field(default_factory=dict)
    _items: dict[object, JSONObject] = field(default_factory=dict)

    @property
    def whole(self) -> bool:
        return self.last

    @property
    def closed(self) -> bool:
        return self.last

    def add(self, event: JSONObject) -> None:
        item = event.get("item")
        ids = (item.get("id"), item.get("call_id")) if isinstance(item, dict) else (event.get("item_id"),)
        at = next((_key(one) for one in (event.get("output_index"), *ids) if _key(one) is not None), len(self._items))
        match event:
            case {"type": "response.output_item.added" | "response.output_item.done", "item": dict(item)}:
                self._items[at] = dict(item)
            case {"type": "response.function_call_arguments.delta", "delta": str(piece)} if at in self._items:
                self._items[at]["arguments"] = f"{self._items[at].get('arguments') or ''}{piece}"
            case {"type": "response.function_call_arguments.done", "arguments": str(given)} if at in self._items:
                self._items[at]["arguments"] = given
            case {"type": str(kind), "response": dict(response)} if kind in FINAL:
                self.last = True
                self._response = response

    def body(self) -> JSONObject:
        """The response; where it leaves out what came before, its items as they came."""
        output, items = self._response.get("output"), list(self._items.values())
        lost = bool(find_part_calls(items)) and not find_part_calls(output)
        return {**self._response, "output": items if lost or not output else output}


GROWING = {"text_delta": "text", "thinking_delta": "thinking", "signature_delta": "signature"}
"""The field of a block that a kind of delta adds to."""


@dataclass
class ClaudeReply:
    """A message, whose blocks grow by deltas; the input of a tool comes as pieces of JSON."""

    last: bool = False
    _message: JSONObject = field(default_factory=dict)
    _usage: JSONObject = field(default_factory=dict)
    _blocks: list[JSONObject] = field(default_factory=list)
    _places: dict[object, int] = field(default_factory=dict)  # of an index: the latest block that has it
    _inputs: dict[int, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def whole(self) -> bool:
        return bool(self._message.get("stop_reason"))

    @property
    def closed(self) -> bool:
        return self.whole

    def add(self, event: JSONObject) -> None:
        index = event.get("index")
        match event:
            case {"type": "message_start", "message": dict(message)}:
                self._begin(message)
            case {"type": "content_block_start", "content_block": dict(block)}:
                self._add_block(index, block)
            case {"type": "content_block_delta", "delta": {"type": "input_json_delta", "partial_json": str(piece)}}:
                self._inputs[self._place(index, "tool_use")].append(piece)
            case {"type": "content_block_delta", "delta": dict(delta)}:
                self._grow(index, delta)
            case {"type": "message_delta", "delta": dict(delta)}:
                self._message |= {name: value for name, value in delta.items() if value is not None}
                self._count(event.get("usage"))
            case {"type": "message_stop"}:
                self.last = True

    def _begin(self, message: JSONObject) -> None:
        """A message, which some servers send with content already. Why it ends is said later."""
        self._message |= {**message, "stop_reason": None}
        self._count(message.get("usage"))
        content = message.get("content")
        for block in content if isinstance(content, list) else []:
            if isinstance(block, dict):
                self._blocks.append(dict(block))

    def _grow(self, index: object, delta: JSONObject) -> None:
        if (name := GROWING.get(str(delta.get("type")))) is not None:
            block = self._blocks[self._place(index, "text" if name == "text" else "thinking")]
            block[name] = join_texts(block.get(name)) + join_texts(delta.get(name))

    def _add_block(self, index: object, block: JSONObject) -> None:
        self._places[_key(index)] = len(self._blocks)
        self._blocks.append(dict(block))

    def _place(self, index: object, kind: str) -> int:
        """The block that a delta adds to; one of this kind where none was begun."""
        if _key(index) not in self._places:
            self._add_block(index, {"type": kind})
        return self._places[_key(index)]

    def _count(self, usage: object) -> None:
        self._usage |= {name: value for name, value in usage.items() if value} if isinstance(usage, dict) else {}

    def body(self) -> JSONObject:
        for at, pieces in self._inputs.items():
            if "".join(pieces).strip():
                self._blocks[at]["input"] = _read("".join(pieces))
        return {**self._message, "content": self._blocks, "usage": self._usage}


def _key(index: object) -> object:
    return index if isinstance(index, int | str) else None


def _read(text: str) -> object:
    """JSON as a value; what was torn stays text, and is a malformed call."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return value
