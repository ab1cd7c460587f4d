"""What the players share: what they are asked to do, the rows' tools in process, and what they hand in.

A player is a script that plays the same episodes as every other one by its own library, in an interpreter that holds
it: `PYTHON play_NAME.py JOB`. It knows nothing of the harness, which need not be installed there.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Episode = dict[str, Any]
"""id, messages and tools as an endpoint takes them, codes: the tools' sources by name."""

SAMPLING: dict[str, Any] = {"temperature": 0.0, "max_tokens": 8192}
MAX_TURNS = 20


@dataclass(frozen=True)
class Job:
    """Play the episodes of a file so many times, so many at once; write what became of them to `out`."""

    episodes: str
    url: str
    concurrency: int
    times: int
    out: str

    def load(self) -> list[Episode]:
        found: list[Episode] = json.loads(Path(self.episodes).read_text(encoding="utf-8"))
        return found

    def hand_in(self, played: list[list[Any]]) -> None:
        """Of every episode that was finished: id, the final text, and the tools' outputs."""
        Path(self.out).write_text(json.dumps(played), encoding="utf-8")


def read_job() -> Job:
    return Job(**json.loads(sys.argv[1]))


# --- tools in process ----------------------------------------------------------------------------------------------


def load_tool(codes: dict[str, str], name: str) -> Callable[..., Any]:
    """The function of this name. Some sources print when they are run."""
    namespace: dict[str, Any] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        exec(codes[name], namespace)
    found: Callable[..., Any] = namespace[name]
    return found


def to_text(output: Any) -> str:
    return json.dumps(output, ensure_ascii=False) if isinstance(output, (dict, list)) else str(output)


# --- a bare loop ---------------------------------------------------------------------------------------------------

Ask = Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
"""From a request's body to the reply's message."""


async def play_all(job: Job, ask: Ask) -> None:
    """Every episode, in order, by so many workers. An episode whose request fails is lost."""
    played: list[list[Any]] = []
    episodes = job.load()
    waiting = iter(episode for _ in range(job.times) for episode in episodes)

    async def work(waiting: Iterator[Episode]) -> None:
        for episode in waiting:
            with contextlib.suppress(Exception):
                played.append([episode["id"], *await play(episode, ask)])

    await asyncio.gather(*(work(waiting) for _ in range(job.concurrency)))
    job.hand_in(played)


async def play(episode: Episode, ask: Ask) -> tuple[str, list[str]]:
    """The final text and the tools' outputs."""
    messages, outputs = list(episode["messages"]), list[str]()
    while True:
        said = await ask({"model": "m", "messages": messages, "tools": episode["tools"], **SAMPLING})
        messages.append(said)
        if not said.get("tool_calls"):
            return said["content"], outputs
        for call in said["tool_calls"]:
            wanted = call["function"]
            output = load_tool(episode["codes"], wanted["name"])(**json.loads(wanted["arguments"]))
            outputs.append(to_text(output))
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": outputs[-1]})
