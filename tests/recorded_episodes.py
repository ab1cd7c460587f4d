"""Episodes as `harness eval` records them: good, random and shotgun players on the bundled tasks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import harness
from harness.data.messages import message_from_json
from harness.interop.inspect_files import to_record
from harness.types import Message

PLAYERS = ("policy/oracle", "policy/random", "policy/shotgun", "policy/keyword", "policy/silent")
TASKS = ("ftrl_*", "micro_*")


def record_episodes(folder: Path, a_task: int) -> list[dict[str, Any]]:
    """`a_task` episodes of every player on each of the eight tasks."""
    return [
        record
        for player in PLAYERS
        for record in harness.evaluate(player, TASKS, folder / player.replace("/", "-"), limit=a_task).records
    ]


def record_file(folder: Path, a_task: int) -> tuple[Path, list[dict[str, Any]]]:
    """The same episodes on one file, in which every player has samples of its own, and their records."""
    samples = [(task.name, sample) for task in harness.load_tasks(*TASKS) for sample in task.load()[:a_task]]
    lines, records = [], []
    for player in PLAYERS:
        marked = {"role": "system", "content": f"You are {player}."}
        rows = [(to_record(sample), f"{player}/{name}/{sample.id}") for name, sample in samples]
        part = [{**row, "id": own, "messages": [marked, *row["messages"]]} for row, own in rows]
        path = folder / f"{player.replace('/', '-')}.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in part), encoding="utf-8")
        records += harness.evaluate(player, str(path), folder / path.stem).records
        lines.append(path.read_text(encoding="utf-8"))
    (folder / "all.jsonl").write_text("".join(lines), encoding="utf-8")
    return folder / "all.jsonl", records


def said(record: dict[str, Any]) -> list[Message]:
    """The turns of the model, as they were recorded."""
    return [message_from_json(message) for message in record["messages"] if message["role"] == "assistant"]
