"""Ten times the calls cost about ten times the work, wherever the harness itself handles the calls of a turn."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.console.transcripts import format_transcript
from harness.environment import ToolEnvironment
from harness.models.api import chat, messages, responses
from harness.models.api.wire import assign_call_ids, sendable_messages
from harness.runs.faults import find_record_fault
from harness.runs.record import to_record
from harness.scoring.metrics import score
from harness.types import (
    CallRecord,
    Environment,
    Gold,
    Limits,
    Message,
    ModelRequest,
    Reasoning,
    RunKey,
    RunTools,
    Sample,
    Sampling,
    Tool,
    ToolCall,
    ToolResult,
    Trajectory,
    Usage,
)
from results.causes import diagnose
from tasks.bfcl.environments import Conversation

FEW, MANY = 400, 4_000
QUADRATIC = 50.0
"""Ten times as many cost 10 times where the work is linear, and 100 times where it is quadratic."""
TOOLS = (Tool("f", "f", {"type": "object"}),)
SAMPLE = Sample(
    "s",
    (Message("user", "?"),),
    TOOLS,
    {"f": "def f(x):\n    return x\n"},
    Gold({"f": ("out", "5")}, answer="5"),
    {"known": ["f"], "entry": {}, "user": [], "added": {}, "answer": []},
)


def calls_of(number: int, ids: bool = True) -> tuple[ToolCall, ...]:
    told = [{"x": n} for n in range(number)]
    return tuple(ToolCall(f"c{n}" if ids else "", "f", one, json.dumps(one)) for n, one in enumerate(told))


def conversation(number: int, ids: bool = True) -> list[Message]:
    calls = calls_of(number, ids)
    return [
        Message("user", "?"),
        Message("assistant", tool_calls=calls),
        *(Message("tool", "out", tool_call_id=call.id or None) for call in calls),
    ]


def step(environment: Environment, number: int) -> None:
    steps = environment.step(Message("assistant", tool_calls=calls_of(number)), 0)
    assert isinstance(next(steps), RunTools)
    with pytest.raises(StopIteration):
        steps.send([ToolResult("ok", "out")] * number)


def episode(number: int) -> Trajectory:
    records = tuple(CallRecord(0, call, "ok", "out") for call in calls_of(number))
    return Trajectory(tuple(conversation(number)), records, 1, "ok", "done", Usage(), {"total": 1.0})


def read_back(number: int) -> None:
    played = episode(number)
    key = RunKey("t", "f", "s", 0, "m", "f", Reasoning(), Sampling(), Limits())
    record = to_record(key, played, replace(score(SAMPLE, played)))
    assert find_record_fault(record) is None
    diagnose(record, SAMPLE)
    format_transcript(record, SAMPLE, False)


def body(make: Callable[[str, ModelRequest], object], number: int) -> None:
    for ids in (True, False):
        make("m", ModelRequest(conversation(number, ids), TOOLS, Sampling(), SAMPLE))


WORK: dict[str, Callable[[int], object]] = {
    "ids made up": lambda n: assign_call_ids(calls_of(n, ids=False), []),
    "ids that are all the same": lambda n: assign_call_ids([ToolCall("x", "f", {}, "{}")] * n, []),
    "messages sent again": lambda n: list(sendable_messages(conversation(n))),
    "messages without ids": lambda n: list(sendable_messages(conversation(n, ids=False))),
    "chat completions": lambda n: body(chat.request_body, n),
    "responses": lambda n: body(responses.request_body, n),
    "messages": lambda n: body(messages.request_body, n),
    "tools": lambda n: step(ToolEnvironment(SAMPLE), n),
    "bfcl": lambda n: step(Conversation(SAMPLE), n),
    "scores, records, causes, transcripts": lambda n: read_back(n // 4),
}


def seconds(work: Callable[[int], object], number: int) -> float:
    """The least CPU time of three tries, without collections of garbage, which take what all tests before left."""
    gc.disable()
    try:
        return min(_timed(work, number) for _ in range(3))
    finally:
        gc.enable()


def _timed(work: Callable[[int], object], number: int) -> float:
    began = time.process_time()
    work(number)
    return time.process_time() - began


@pytest.mark.parametrize("name", WORK)
def test_work_is_linear_in_the_number_of_calls(name: str) -> None:
    work = WORK[name]
    assert seconds(work, MANY) < QUADRATIC * max(seconds(work, FEW), 0.0005)
