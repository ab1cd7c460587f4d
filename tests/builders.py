"""Small things that tests are made of: records, samples, calls, and the folder of shared data."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from harness.data.records import sample_from_record
from harness.types import Message, Sample, ToolCall

ROOT = Path(__file__).parents[1]
SHARED = ROOT.parent / "shared"
RELEASED = SHARED / "data" / "ftrl_released" / "test-60.jsonl"
ROLLOUTS = SHARED / "golden" / "ftrl_rollouts.jsonl"

COUNTER = '''
def population(town):
    """Inhabitants of a town."""
    table = {"arden": 1204, "brill": 998, "corrie": 45210}
    name = town.strip().lower()
    if name not in table:
        return {"error": "no such town"}
    return {"inhabitants": table[name]}
'''


def needs(path: Path) -> Path:
    """The path, or a loud skip of the test where the shared data is not there."""
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the project")
    return path


def record(**changes: Any) -> dict[str, Any]:
    """A small environment record: one question, one tool, with gold."""
    fields: dict[str, Any] = {
        "id": "towns",
        "world": "shire",
        "data_source": "test/single_hop",
        "messages": [{"role": "user", "content": "How many people live in Corrie? End with a line `Answer: ...`."}],
        "tools": [tool("population", {"town": {"type": "string"}}, ["town"])],
        "codes": {"population": COUNTER},
        "unsolved_set": {"population": ["45,210"]},
        "answer": "45210",
        "gold_calls": [{"name": "population", "arguments": {"town": "Corrie"}, "solves": 0}],
    }
    return {name: value for name, value in {**fields, **changes}.items() if value is not ...}


def tool(name: str, properties: dict[str, Any], required: Sequence[str] = ()) -> dict[str, Any]:
    """A tool in the OpenAI function format."""
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def sample(**changes: Any) -> Sample:
    """The sample of `record`."""
    return sample_from_record(record(**changes), 0, "record 1")


def write_records(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    """A JSONL file of records."""
    path.write_text("".join(json.dumps(fields) + "\n" for fields in records), encoding="utf-8")
    return path


def call(name: str, arguments: dict[str, Any] | None, number: int = 0) -> ToolCall:
    """A call, malformed where there are no arguments."""
    if arguments is None:
        return ToolCall(f"call_{number}", name, None, "{oops", "the arguments are not JSON")
    return ToolCall(f"call_{number}", name, arguments, json.dumps(arguments))


def says(text: str = "", *calls: ToolCall) -> Message:
    """An assistant message."""
    return Message("assistant", text, tool_calls=calls)
