"""The two kinds of episodes: one turn whose calls are compared and not run, and a conversation whose calls are.

The other side of a conversation is scripted: the user's next message comes when the model stops calling tools. What a
turn's calls come to is the verdict of the wheel's checker, in the sandbox, which the record keeps (`facts`).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.environment import make_call_record, malformed_result
from harness.types import (
    EnvironmentWish,
    JSONObject,
    Message,
    RunTools,
    Sample,
    Step,
    ToolCall,
    ToolResult,
)

INSIDE = (Path(__file__).parent / "inside.py").read_text(encoding="utf-8")
CODES = dict.fromkeys(("check_calls", "play", "check_conversation"), INSIDE)
STEPS = 20
"""More steps with calls than this, in one turn of the user's, end the episode, as officially."""
MORE_TOOLS = "There are more functions now than before. Can you do it with these?"
UNKNOWN = ["no_such_function", {}]
"""Stands for a call of a tool that there is not: a step with it is not empty, and has no effect."""


class SingleTurn:
    """One turn. Its calls are written down and not run; where the sample has an answer, they are checked against it."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.tools = sample.tools
        self._calls: Sequence[ToolCall] = ()

    def reset(self) -> Sequence[Message]:
        return self.sample.messages

    def step(self, message: Message, turn: int) -> Generator[EnvironmentWish, Any, Step]:
        yield from ()
        self._calls = message.tool_calls
        results = [
            ToolResult("ok", "") if call.arguments is not None else malformed_result(call) for call in self._calls
        ]
        records = tuple(make_call_record(turn, call, result) for call, result in zip(self._calls, results, strict=True))
        return Step(calls=records, done=True)

    def closing(self) -> Generator[EnvironmentWish, Any, JSONObject]:
        """Officially, one call that cannot be read makes the whole turn unreadable."""
        answer = self.sample.metadata.get("answer")
        if answer is None:
            return {}
        if not self._calls or any(call.arguments is None for call in self._calls):
            return {"valid": False, "error_type": "ast_decoder:decoder_failed"}
        arguments = {
            "functions": self.sample.metadata["functions"],
            "calls": [{call.name: call.arguments} for call in self._calls],
            "answer": answer,
            "language": self.sample.metadata["language"],
            "category": self.sample.metadata["category"],
        }
        return (yield from _verdict("check_calls", arguments))


class Conversation:
    """A conversation: the user's messages are fixed, and tools may be added on the way."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.tools = sample.tools
        self._offered = frozenset(sample.metadata["known"])
        self._turns: list[list[list[Any]]] = [[]]

    def reset(self) -> Sequence[Message]:
        return self.sample.messages

    def step(self, message: Message, turn: int) -> Generator[EnvironmentWish, Any, Step]:
        if not message.tool_calls:
            return self._user_speaks()
        known = [call.arguments is not None and call.name in self._offered for call in message.tool_calls]
        wish = tuple(
            ("play", {"entry": self.sample.metadata["entry"], "call": _pair(call)})
            for call in compress(message.tool_calls, known)
        )
        results = iter((yield RunTools(CODES, wish)) if wish else ())
        records = tuple(
            make_call_record(turn, call, next(results) if runs else _refused(call))
            for call, runs in zip(message.tool_calls, known, strict=True)
        )
        self._remember(message.tool_calls)
        over = len(self._turns[-1]) > STEPS
        messages = tuple(Message("tool", record.output, tool_call_id=record.call.id) for record in records)
        return Step(messages, records, done=over, stop="step_limit" if over else None)

    def closing(self) -> Generator[EnvironmentWish, Any, JSONObject]:
        arguments = {
            "entry": self.sample.metadata["entry"],
            "turns": self._turns,
            "gold": self.sample.metadata["answer"],
        }
        return {"user_turns": len(self._turns), **(yield from _verdict("check_conversation", arguments))}

    def _user_speaks(self) -> Step:
        later: Sequence[str | None] = self.sample.metadata["user"]
        if len(self._turns) > len(later):
            return Step(done=True)
        text = later[len(self._turns) - 1]
        added = self.sample.metadata["added"].get(len(self._turns), ())
        self.tools = (*self.tools, *added)
        self._turns.append([])
        return Step((Message("user", MORE_TOOLS if text is None else text),))

    def _remember(self, calls: Sequence[ToolCall]) -> None:
        """A step for the checker: the calls that could be read."""
        readable = [call for call in calls if call.arguments is not None]
        if readable:
            self._turns[-1].append([_pair(call) if call.name in self._offered else UNKNOWN for call in readable])


def _pair(call: ToolCall) -> list[Any]:
    return [call.name, call.arguments]


def _refused(call: ToolCall) -> ToolResult:
    if call.arguments is None:
        return malformed_result(call)
    return ToolResult("unknown_tool", repr(call.name))


def _verdict(name: str, arguments: JSONObject) -> Generator[EnvironmentWish, Any, JSONObject]:
    """What the checker says. One that fails over what the model wrote has not found it right."""
    (result,) = yield RunTools(CODES, ((name, arguments),))
    if result.status != "ok":
        return {"valid": False, "error_type": f"checker:{result.status}", "error": result.output}
    found: JSONObject = jsonio.parse_json(result.output)
    return found
