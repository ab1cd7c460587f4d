"""A live episode of a sample: what the model's calls become, and what it is told; or one turn in words.

It does no I/O: `step` yields the calls that must run and is sent their results. Arguments go to the tool as they are,
without validation against the schema: the tools answer for themselves, as in the paper.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

from harness.types import CallRecord, Message, RunTools, Sample, Step, ToolCall, ToolResult


class ToolEnvironment:
    """One episode: prompt first, then tool outputs for as long as the model calls tools."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.tools = sample.tools

    def reset(self) -> Sequence[Message]:
        return self.sample.messages

    def step(self, message: Message, turn: int) -> Generator[RunTools, list[ToolResult], Step]:
        """Runs the well-formed calls in order; malformed ones are answered without running anything."""
        if not message.tool_calls:
            return Step(done=True)
        runnable = tuple((call.name, call.arguments) for call in message.tool_calls if call.arguments is not None)
        results = iter((yield RunTools(self.sample.codes, runnable)) if runnable else ())
        records = tuple(
            make_call_record(turn, call, next(results) if call.arguments is not None else malformed_result(call))
            for call in message.tool_calls
        )
        return Step(
            messages=tuple(Message("tool", record.output, tool_call_id=record.call.id) for record in records),
            calls=records,
        )


class TextEnvironment:
    """One episode of one turn in words: whatever the model says ends it, and nothing is run."""

    def __init__(self, sample: Sample) -> None:
        self.sample = sample
        self.tools = sample.tools

    def reset(self) -> Sequence[Message]:
        return self.sample.messages

    def step(self, message: Message, turn: int) -> Generator[RunTools, list[ToolResult], Step]:
        yield from ()
        return Step(done=True)


def malformed_result(call: ToolCall) -> ToolResult:
    """The result of a call that is no JSON object: nothing was run."""
    return ToolResult("malformed", call.parse_error or "the arguments are not a JSON object")


def make_call_record(turn: int, call: ToolCall, result: ToolResult) -> CallRecord:
    """A call with what is fed back. The sentence about errors is the paper's, with its spelling (method: interaction
    and score)."""
    output = result.output
    if result.status not in ("ok", "truncated"):
        output = f"an error occured when call {call.name}: {output}"
    return CallRecord(turn, call, result.status, output, result.fault)
