"""An episode as a line of samples.jsonl, and back again.

The line is enough to score the episode anew and to replay it: every message, every call with the exact text that was
fed back, and the verdicts. Messages are in the chat-completions format; a malformed call also carries its parse_error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

from harness.data import jsonio
from harness.data.messages import message_from_json, message_to_json
from harness.data.schema import CallJSON, ReasoningJSON, Record, UsageJSON
from harness.errors import UsageError
from harness.runs.directory import RUN_SCHEMA
from harness.runs.identity import identity_json
from harness.types import CallRecord, Message, RunKey, ToolCall, Trajectory, Usage, Verdict


def key_of(key: RunKey) -> str:
    """The digest that identifies an episode across resumes. Where no user is simulated, none is mentioned."""
    return jsonio.digest(identity_json(key))


def to_record(key: RunKey, trajectory: Trajectory, verdict: Verdict) -> Record:
    """The episode's line in samples.jsonl."""
    record: Record = {
        "schema": RUN_SCHEMA,
        "key": key_of(key),
        "task": key.task,
        "sample": key.sample,
        "epoch": key.epoch,
        "outcome": trajectory.outcome,
        "stop": trajectory.stop,
        "messages": [message_to_json(message) for message in trajectory.messages],
        "calls": [
            _call_to_json(record, solves, paper_solves)
            for record, solves, paper_solves in zip(trajectory.calls, verdict.solves, verdict.paper_solves, strict=True)
        ],
        "scores": verdict.scores,
        "usage": usage_to_json(trajectory.usage),
        "timing": {name: round(seconds, 6) for name, seconds in trajectory.seconds.items()},
        "error": trajectory.error,
        "reasoning": {"asked": key.reasoning.label, **reasoning_seen(trajectory.messages, trajectory.usage)},
        "notes": list(trajectory.notes),
    }
    if trajectory.user_usage is not None:
        record["user_usage"] = usage_to_json(trajectory.user_usage)
    if trajectory.facts:
        record["facts"] = dict(trajectory.facts)
    return _with_answer(record, verdict)


def _call_to_json(record: CallRecord, solves: int | None, paper_solves: int | None) -> CallJSON:
    call: CallJSON = {
        "turn": record.turn,
        "name": record.call.name,
        "arguments": record.call.arguments,
        "raw": record.call.raw,
        "status": record.status,
        "output": record.output,
        "solves": solves,
        "paper_solves": paper_solves,
    }
    if record.fault is not None:
        call["fault"] = record.fault
    return call


def usage_to_json(usage: Usage) -> UsageJSON:
    """Every field of it, zeros too."""
    return cast(UsageJSON, asdict(usage))


def reasoning_seen(messages: Sequence[Message], usage: Usage) -> ReasoningJSON:
    """What there was of reasoning, whatever was asked: turns with a text of it, its characters, and the tokens that the
    provider counted."""
    texts = [
        message.reasoning or ""
        for message in messages
        if message.role == "assistant" and (message.reasoning or "").strip()
    ]
    return {"turns": len(texts), "characters": sum(map(len, texts)), "tokens": usage.reasoning_tokens}


def with_verdict(record: Record, verdict: Verdict) -> Record:
    """The same episode under another verdict."""
    pairs = zip(record["calls"], verdict.solves, verdict.paper_solves, strict=True)
    calls: list[CallJSON] = [{**call, "solves": solves, "paper_solves": paper} for call, solves, paper in pairs]
    scored: Record = {**record, "calls": calls, "scores": verdict.scores}
    scored.pop("answer_read", None)
    return _with_answer(scored, verdict)


def _with_answer(record: Record, verdict: Verdict) -> Record:
    """The record with what was taken for the final answer, where anything was."""
    if verdict.answer_read is not None:
        record["answer_read"] = verdict.answer_read
    return record


def to_trajectory(record: Record) -> Trajectory:
    """The episode as it was played. Raises UsageError where the record is not one of ours."""
    try:
        messages = tuple(message_from_json(message) for message in record["messages"])
        return Trajectory(
            messages=messages,
            calls=calls_of(record),
            turns=int(record["scores"].get("turns") or 0),
            outcome=record["outcome"],
            stop=record["stop"],
            usage=Usage(**record["usage"]),
            seconds=record["timing"],
            error=record["error"],
            notes=tuple(record.get("notes", ())),
            user_usage=Usage(**record["user_usage"]) if "user_usage" in record else None,
            facts=dict(record.get("facts", {})),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"An episode record cannot be read: {type(error).__name__} {error}.") from None


def calls_of(record: Record) -> tuple[CallRecord, ...]:
    """The calls of an episode, as they were made."""
    return tuple(_call_record(call) for call in record["calls"])


def _call_record(value: CallJSON) -> CallRecord:
    call = ToolCall("", value["name"], value["arguments"], value["raw"])
    return CallRecord(value["turn"], call, value["status"], value["output"], value.get("fault"))
