"""The demo: twelve hand-written environments, three a scenario, each in a small world of its own.

What a newcomer runs first and what the tests run always: no key, no download, facts that no model can know.
The environments are the TOML files in data/demo, made to be read; here each becomes an environment record.

    harness eval --model policy/oracle --tasks 'demo_*'
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import partial
from importlib.resources import files
from pathlib import Path

from harness.data.records import sample_from_record
from harness.task import environment_task
from harness.types import JSONObject, Sample, Task

SCENARIOS = {
    "single_hop": "one fact, one call, among tools that tempt",
    "parallel_single_hop": "two or three facts that do not need each other, compared or added up",
    "multi_hop": "a chain of four or five calls, each of which needs what the one before it found",
    "parallel_multi_hop": "two chains whose ends meet in a last, computing call",
}

EACH = 3
"""Environments a scenario."""

PROMPT = """\
Every fact here is invented: look everything up with the tools, and take nothing from memory. If a call fails, read \
what it says, correct the call and try again.

Question: {question}

When you know the answer, end with one last line `Answer: ...` that holds nothing but the answer: a number in digits \
without a unit, a date as YYYY-MM-DD, a name in full as the tools write it."""


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """One task a scenario. The environments are bundled, so nothing is read from `data`."""
    return [
        environment_task(
            f"demo_{scenario}",
            partial(samples, scenario),
            group="demo",
            description=description,
            source="hand-written, bundled",
            size=EACH,
        )
        for scenario, description in SCENARIOS.items()
    ]


def samples(scenario: str) -> list[Sample]:
    """The three environments of a scenario, by id."""
    found = [record for record in records() if record["data_source"] == f"demo/{scenario}"]
    return [sample_from_record(record, line, f"the demo {record['id']}") for line, record in enumerate(found)]


def records() -> list[JSONObject]:
    """All twelve as environment records, by id."""
    folder = files("tasks") / "data" / "demo"
    texts = [file.read_text(encoding="utf-8") for file in folder.iterdir() if file.name.endswith(".toml")]
    return sorted((_record(tomllib.loads(text)) for text in texts), key=lambda record: str(record["id"]))


def _record(written: JSONObject) -> JSONObject:
    unsolved: dict[str, list[str]] = {}
    for part in written["sub_questions"]:
        unsolved.setdefault(part["tool"], []).append(part["answer"])
    return {
        "id": written["id"],
        "world": written["world"],
        "data_source": f"demo/{written['scenario']}",
        "split": "test",
        "messages": [{"role": "user", "content": PROMPT.format(question=written["question"])}],
        "tools": [{"type": "function", "function": _schema(tool)} for tool in written["tools"]],
        "codes": {tool["name"]: tool["code"] for tool in written["tools"]},
        "unsolved_set": unsolved,
        "sub_questions": written["sub_questions"],
        "gold_calls": written["gold_calls"],
        "answer": written["answer"],
        "solve_rate": 0.0,
    }


def _schema(tool: JSONObject) -> JSONObject:
    return {name: tool[name] for name in ("name", "description", "parameters")}
