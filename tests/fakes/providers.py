"""Providers, each with its own wire format and its own reasons to answer 400: scripts for ChatServer.

A provider plays a plot, the same for all: what the model thinks, says and calls in each turn. Its formats and error
texts are those of the provider's documentation and of issues about it; what it gave out it wants back as it was.

    with ChatServer(Responses(PLOT)) as server: ...

Left out: everything that the harness does not use.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fakes.chat_server import Asked, Step, call, error, message


@dataclass(frozen=True)
class Turn:
    """One turn of the model: its thought, its words, its calls as (name, arguments)."""

    thought: str
    says: str = ""
    calls: Sequence[tuple[str, dict[str, Any]]] = ()


class Refused(Exception):
    """What is wrong with a request, for status 400."""


def seal(text: str) -> str:
    """What nobody but the provider can make of a thought."""
    return hashlib.sha256(f"secret:{text}".encode()).hexdigest()[:24]


def turns_spoken(spoken: Iterator[bool]) -> int:
    """How many turns a conversation holds, where each item of it is the model's or not: its runs."""
    runs, before = 0, False
    for own in spoken:
        runs, before = runs + (own and not before), own
    return runs


# --- OpenAI: chat completions --------------------------------------------------------------------------------------


class Chat:
    """Chat completions with reasoning in `field`; what a request must not hold is in `refuses`."""

    def __init__(
        self,
        plot: Sequence[Turn],
        field: str = "reasoning_content",
        refuses: Sequence[str] = (),
        thinks: Callable[[dict[str, Any]], bool] = lambda body: True,
    ) -> None:
        self._plot = plot
        self._field = field
        self._refuses = refuses
        self._thinks = thinks

    def __call__(self, asked: Asked) -> Step:
        for name in self._refuses:
            if name in asked.body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                return error(400, said, code="unsupported_parameter", param=name)
        turn = self._plot[asked.turn]
        fields: dict[str, Any] = {"content": turn.says or None}
        if self._thinks(asked.body):
            fields[self._field] = turn.thought
        listed = [call(name, given, f"call_{asked.turn}_{index}") for index, (name, given) in enumerate(turn.calls)]
        return message({**fields, "tool_calls": listed} if listed else fields, "tool_calls" if listed else "stop")


def obeys(body: dict[str, Any]) -> bool:
    """A server whose template knows enable_thinking."""
    return bool(body.get("chat_template_kwargs", {}).get("enable_thinking", True))


# --- OpenAI: Responses ---------------------------------------------------------------------------------------------


class Responses:
    """The Responses API of a reasoning model; chat completions with tools are refused."""

    def __init__(self, plot: Sequence[Turn]) -> None:
        self._plot = plot

    def __call__(self, asked: Asked) -> Step:
        if asked.path.endswith("/chat/completions"):
            model = asked.body["model"]
            said = (
                f"Function tools with reasoning_effort are not supported for {model} in /v1/chat/completions. "
                "To use function tools, use /v1/responses or set reasoning_effort to 'none'."
            )
            return error(400, said, code=None, param="reasoning_effort")
        try:
            return self._answer(asked.body)
        except Refused as refused:
            return error(400, str(refused), code=None, param="input")

    def _answer(self, body: dict[str, Any]) -> Step:
        items = body["input"]
        if body.get("store") is not False or body["include"] != ["reasoning.encrypted_content"]:
            raise Refused("Items are not persisted when store is false.")
        if "temperature" in body or "seed" in body or "max_tokens" in body:
            raise Refused("Unsupported parameter")
        self._check(items)
        number = turns_spoken(item.get("type") in {"reasoning", "function_call", "message"} for item in items)
        output = list(self._items(number, body.get("reasoning", {})))
        usage = {
            "input_tokens": 20,
            "input_tokens_details": {"cached_tokens": 4},
            "output_tokens": 9,
            "output_tokens_details": {"reasoning_tokens": 5},
        }
        return Step({"id": f"resp_{number}", "status": "completed", "error": None, "output": output, "usage": usage})

    def _items(self, number: int, reasoning: dict[str, Any]) -> Iterator[dict[str, Any]]:
        turn = self._plot[number]
        if reasoning.get("effort") != "none":
            told = [{"type": "summary_text", "text": turn.thought}] if "summary" in reasoning else []
            yield {"type": "reasoning", "id": f"rs_{number}", "summary": told, "encrypted_content": seal(turn.thought)}
        if turn.says:
            part = {"type": "output_text", "text": turn.says, "annotations": []}
            yield {
                "type": "message",
                "id": f"msg_{number}",
                "role": "assistant",
                "status": "completed",
                "content": [part],
            }
        for index, (name, given) in enumerate(turn.calls):
            ids = {"id": f"fc_{number}_{index}", "call_id": f"call_{number}_{index}"}
            yield {"type": "function_call", **ids, "name": name, "arguments": json.dumps(given), "status": "completed"}

    def _check(self, items: Sequence[dict[str, Any]]) -> None:
        called, reasons = set[str](), set[str]()
        for item, follows in zip(items, [*items[1:], {}], strict=True):
            kind, own_id = item.get("type"), str(item.get("id", ""))
            if kind == "reasoning":
                self._check_reasoning(item, follows)
                reasons.add(own_id)
            elif kind in {"function_call", "message"} and own_id:
                needed = f"rs_{own_id.split('_')[1]}"
                if needed not in reasons:
                    said = f"Item '{own_id}' of type '{kind}' was provided without its required 'reasoning' item"
                    raise Refused(f"{said}: '{needed}'.")
            if kind == "function_call":
                json.loads(item["arguments"])
                called.add(item["call_id"])
            if kind == "function_call_output" and item["call_id"] not in called:
                raise Refused(f"No tool call found for function call output with call_id {item['call_id']}.")

    def _check_reasoning(self, item: dict[str, Any], follows: dict[str, Any]) -> None:
        number = int(item["id"].removeprefix("rs_"))
        if item["encrypted_content"] != seal(self._plot[number].thought):
            raise Refused("The encrypted content for item could not be verified.")
        if follows.get("type") not in {"function_call", "message"} or "id" not in follows:
            raise Refused(f"Item '{item['id']}' of type 'reasoning' was provided without its required following item.")


# --- Gemini --------------------------------------------------------------------------------------------------------


class Gemini:
    """Google's compatible endpoint: empty ids, a signature on a turn's first call, thoughts in tags when asked for."""

    def __init__(self, plot: Sequence[Turn]) -> None:
        self._plot = plot

    def __call__(self, asked: Asked) -> Step:
        spoken = [said for said in asked.messages if said["role"] == "assistant"]
        for number, said in enumerate(spoken):
            for call_made in said.get("tool_calls", [])[:1]:
                extra = call_made.get("extra_content", {}).get("google", {})
                if extra.get("thought_signature") != seal(self._plot[number].thought):
                    return self._refuse("Function call is missing a thought_signature in functionCall parts.")
        ids = [call_made["id"] for said in spoken for call_made in said.get("tool_calls", [])]
        answered = [said["tool_call_id"] for said in asked.messages if said["role"] == "tool"]
        if "" in ids or len(set(ids)) != len(ids) or answered != ids:
            return self._refuse("The number of function response parts must equal that of function call parts.")
        return self._speak(len(spoken), asked.body.get("extra_body", {}).get("google", {}).get("thinking_config", {}))

    def _speak(self, number: int, config: dict[str, Any]) -> Step:
        turn = self._plot[number]
        shown = f"<thought>{turn.thought}</thought>" if config.get("include_thoughts") else ""
        listed = [call(name, given) for name, given in turn.calls]
        for first in listed[:1]:
            first["extra_content"] = {"google": {"thought_signature": seal(turn.thought)}}
        fields = {"content": f"{shown}{turn.says}" or None}
        return message({**fields, "tool_calls": listed} if listed else fields, "tool_calls" if listed else "stop")

    def _refuse(self, said: str) -> Step:
        return Step([{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}], 400)


# --- Anthropic -----------------------------------------------------------------------------------------------------


class Anthropic:
    """The Messages API: signed thinking that must come back, tool results in the message after their calls.

    `hidden` gives thinking redacted; `types` are the thinking types that the model takes.
    """

    def __init__(
        self, plot: Sequence[Turn], hidden: bool = False, types: Sequence[str] = ("enabled", "disabled", "adaptive")
    ) -> None:
        self._plot = plot
        self._hidden = hidden
        self._types = types

    def __call__(self, asked: Asked) -> Step:
        try:
            return self._answer(asked)
        except Refused as refused:
            fields = {"type": "invalid_request_error", "message": str(refused)}
            return Step({"type": "error", "error": fields, "request_id": "req_0"}, 400)

    def _answer(self, asked: Asked) -> Step:
        body = asked.body
        if not asked.path.endswith("/v1/messages") or "anthropic-version" not in asked.headers:
            raise Refused("anthropic-version: header is required")
        thinking = self._check_parameters(body)
        self._check_messages(body["messages"], thinking)
        number = sum(said["role"] == "assistant" for said in body["messages"])
        turn = self._plot[number]
        content = [*self._thoughts(turn, thinking), *self._spoken(turn, number)]
        usage = {
            "input_tokens": 10,
            "cache_read_input_tokens": 6,
            "cache_creation_input_tokens": 2,
            "output_tokens": 8,
            "output_tokens_details": {"thinking_tokens": 3},
        }
        stop = "tool_use" if turn.calls else "end_turn"
        fields = {"id": f"msg_{number}", "type": "message", "role": "assistant", "model": body["model"]}
        return Step({**fields, "content": content, "stop_reason": stop, "usage": usage})

    def _check_parameters(self, body: dict[str, Any]) -> bool:
        kind = body.get("thinking", {}).get("type", "disabled")
        if "thinking" in body and kind not in self._types:
            raise Refused(f'"thinking.type.{kind}" is not supported for this model. Use "thinking.type.adaptive".')
        thinking = kind in {"enabled", "adaptive"}
        if thinking and body.get("temperature", 1) != 1:
            raise Refused("`temperature` may only be set to 1 when thinking is enabled or in adaptive mode.")
        if kind == "enabled" and not 1024 <= body["thinking"]["budget_tokens"] < body["max_tokens"]:
            raise Refused("`max_tokens` must be greater than `thinking.budget_tokens`.")
        if any(said["role"] == "system" for said in body["messages"]):
            raise Refused('messages: Unexpected role "system".')
        return thinking

    def _check_messages(self, messages: Sequence[dict[str, Any]], thinking: bool) -> None:
        for said, follows in zip(messages, [*messages[1:], None], strict=True):
            if not said["content"] or any(block.get("text") == "" for block in said["content"]):
                raise Refused("text content blocks must be non-empty")
            uses = [block["id"] for block in said["content"] if block["type"] == "tool_use"]
            results = [block.get("tool_use_id") for block in (follows or {"content": []})["content"][: len(uses)]]
            if follows is not None and uses != results:
                raise Refused(f"`tool_use` ids were found without `tool_result` blocks immediately after: {uses}.")
            for block in said["content"]:
                self._check_thought(block)
        last = [said for said in messages if said["role"] == "assistant"][-1:]
        for said in last if thinking else []:
            kind = said["content"][0]["type"]
            if kind not in {"thinking", "redacted_thinking"}:
                raise Refused(f"Expected `thinking` or `redacted_thinking`, but found `{kind}`.")

    def _check_thought(self, block: dict[str, Any]) -> None:
        if block["type"] == "thinking" and block["signature"] != seal(block["thinking"]):
            raise Refused("Invalid `signature` in `thinking` block")
        if block["type"] == "redacted_thinking" and block["data"] not in {seal(turn.thought) for turn in self._plot}:
            raise Refused("Invalid `data` in `redacted_thinking` block")

    def _thoughts(self, turn: Turn, thinking: bool) -> Iterator[dict[str, Any]]:
        if thinking and self._hidden:
            yield {"type": "redacted_thinking", "data": seal(turn.thought)}
        elif thinking:
            yield {"type": "thinking", "thinking": turn.thought, "signature": seal(turn.thought)}

    def _spoken(self, turn: Turn, number: int) -> Iterator[dict[str, Any]]:
        if turn.says:
            yield {"type": "text", "text": turn.says}
        for index, (name, given) in enumerate(turn.calls):
            yield {"type": "tool_use", "id": f"toolu_{number}_{index}", "name": name, "input": given}
