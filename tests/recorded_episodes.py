"""Episodes as `harness eval` records them: good, random and shotgun players on the bundled tasks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import harness
from harness.data.messages import message_from_json
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


def said(record: dict[str, Any]) -> list[Message]:
    """The turns of the model, as they were recorded."""
    return [message_from_json(message) for message in record["messages"] if message["role"] == "assistant"]
