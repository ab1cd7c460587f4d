"""replay/FILE: plays recorded assistant turns against the tools as they are now.

Two formats: our own samples.jsonl, found by task, sample and epoch; and lines {line, policy, turns, final}, where
`line` is the 0-based row of the task's file. Where a line was recorded under several policies, --model-arg policy=NAME
says which. A sample without a recording is an infrastructure error.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any

from harness.data import disk, jsonio
from harness.data.messages import message_from_json
from harness.errors import ModelFailure, UsageError
from harness.models import ModelOptions
from harness.runs.faults import find_record_fault
from harness.types import Message, Model, ModelRequest, Reply, Sample, ToolCall, Usage

HELP = "replay/FILE plays recorded turns: a run's samples.jsonl, or lines {line, policy, turns, final}"
ARGS = ("policy",)
FREE = True


def load(name: str, options: ModelOptions) -> Replay:
    """Raises UsageError for a file that is missing or holds no recording, and for several recordings of one line."""
    path, policy = Path(name), options.args.get("policy")
    try:
        with disk.open_file(path, links=True) as file:
            data = file.read()
    except FileNotFoundError:
        raise UsageError(f"There is no recording at {path}.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    recordings: dict[Hashable, Sequence[Message]] = {}
    policies: set[str] = set()
    for number, record in _lines(path, data):
        try:
            policies.add(str(record.get("policy")))
            _add(recordings, record, policy)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UsageError(f"{path}, line {number} is no recording: {type(error).__name__} {error}.") from None
    if not recordings:
        raise UsageError(f"{path} holds no recording{f' of {policy!r}; it has {sorted(policies)}' if policy else ''}.")
    return Replay(f"replay/{name}", hashlib.sha256(data).hexdigest()[:16], policy, recordings)


def _lines(path: Path, data: bytes) -> Iterator[tuple[int, Any]]:
    """The lines that hold something, with their 1-based numbers. One that a crash cut, which only the last can be, is
    dropped: it has no newline and is no JSON."""
    lines = data.split(b"\n")
    for number, text in enumerate(lines, start=1):
        try:
            if text.strip():
                yield number, jsonio.parse_json(text)
        except ValueError as error:
            if number < len(lines):
                raise UsageError(f"{path}, line {number} cannot be read as JSON: {error}.") from None


def _add(recordings: dict[Hashable, Sequence[Message]], record: Any, policy: str | None) -> None:
    if "turns" not in record:
        if fault := find_record_fault(record):
            raise ValueError(fault)
        key: Hashable = (record["task"], record["sample"], record["epoch"])
        said = [message for message in record["messages"] if message["role"] == "assistant"]
        recordings[key] = [message_from_json(message) for message in said]
        return
    if policy is not None and record["policy"] != policy:
        return
    if (line := int(record["line"])) in recordings:
        raise UsageError(f"Line {line} was recorded more than once; say which with --model-arg policy=NAME.")
    recordings[line] = _turns(record["turns"], record["final"])


def _turns(turns: list[list[dict[str, Any]]], final: str) -> list[Message]:
    said = [
        Message("assistant", tool_calls=tuple(_call(call, turn, index) for index, call in enumerate(calls)))
        for turn, calls in enumerate(turns)
    ]
    return [*said, Message("assistant", str(final))]


def _call(call: dict[str, Any], turn: int, index: int) -> ToolCall:
    arguments = call["arguments"]
    if not isinstance(arguments, dict):
        raise ValueError("arguments must be an object")
    return ToolCall(f"call_{turn}_{index}", str(call["name"]), arguments, json.dumps(arguments, ensure_ascii=False))


class Replay(Model):
    """A model that says what was recorded, turn by turn."""

    def __init__(
        self, name: str, sha256: str, policy: str | None, recordings: dict[Hashable, Sequence[Message]]
    ) -> None:
        self.name = name if policy is None else f"{name}:{policy}"
        self.fingerprint = {"backend": "replay", "sha256": sha256, "policy": policy}
        self._recordings = recordings

    def check(self, samples: Sequence[Sample]) -> None:
        """Raises UsageError where what was recorded of these lines or samples was so on others, such as an earlier
        version of a task: none of their tools is there."""
        known: dict[Hashable, Sample] = {sample.metadata.get("line"): sample for sample in samples}
        known |= {sample.id: sample for sample in samples if sample.codes}
        named = [(key[1] if isinstance(key, tuple) else key, said) for key, said in self._recordings.items()]
        pairs = [(said, known[key]) for key, said in named if key in known]
        called = [(call.name, sample) for said, sample in pairs for turn in said for call in turn.tool_calls]
        if called and not any(name in sample.codes for name, sample in called):
            raise UsageError(f"{self.name} was recorded on other tasks: none of its tools is in these.")

    def __call__(self, request: ModelRequest) -> Reply:
        sample = request.sample
        said = self._recordings.get((request.task, sample.id, request.epoch))
        if said is None:
            said = self._recordings.get(sample.metadata.get("line"))
        if said is None:
            raise ModelFailure("no recording of this sample", outcome="infrastructure_error", stop="no_recording")
        if request.turn >= len(said):
            raise ModelFailure("the recording ends here", outcome="infrastructure_error", stop="recording_ended")
        return Reply(said[request.turn], Usage(requests=1))
