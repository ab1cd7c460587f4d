"""verifiers 0.1: a ToolEnv with the tools of each row, which run in its process, and its evaluate(); no reward.

A ToolEnv has one set of tools, and each row here has its own, with schemas that are given: they stand in the rows'
`info`, and calls go to the row's functions. Making a ToolEnv of every row costs more, because it derives schemas anew.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import verifiers as vf
from datasets import Dataset
from job import MAX_TURNS, SAMPLING, Episode, Job, load_tool, read_job, to_text
from verifiers.types import ClientConfig, ToolMessage


class RowTools(vf.ToolEnv):  # type: ignore[misc]
    """A ToolEnv whose rows have tools of their own."""

    def __init__(self, functions: dict[str, dict[str, Callable[..., Any]]], **given: Any) -> None:
        super().__init__(**given)
        self.functions = functions

    async def env_response(self, messages: Any, state: Any, **given: Any) -> list[Any]:
        functions = self.functions[state["info"]["id"]]
        return [
            ToolMessage(
                role="tool",
                content=to_text(functions[call.name](**json.loads(call.arguments))),
                tool_call_id=call.id,
            )
            for call in messages[-1].tool_calls
        ]


def row_of(episode: Episode) -> dict[str, Any]:
    """A row of the data set; `info` as text, because rows of one data set have the same fields all the way down."""
    tools = [tool["function"] for tool in episode["tools"]]
    return {"prompt": episode["messages"], "info": json.dumps({"id": episode["id"], "tool_defs": tools})}


async def main(job: Job) -> None:
    episodes = job.load()
    functions = {one["id"]: {name: load_tool(one["codes"], name) for name in one["codes"]} for one in episodes}
    data = Dataset.from_list([row_of(one) for one in episodes])
    environment = RowTools(functions, eval_dataset=data, max_turns=MAX_TURNS, rubric=vf.Rubric())
    os.environ["PEERS_KEY"] = "none"
    found = await environment.evaluate(
        ClientConfig(
            client_type="openai_chat_completions",
            api_base_url=job.url,
            api_key_var="PEERS_KEY",
            max_connections=job.concurrency,
        ),
        "m",
        sampling_args=SAMPLING,
        rollouts_per_example=job.times,
        max_concurrent=job.concurrency,
        on_progress=lambda *told: None,
    )
    job.hand_in([handed_in(one) for one in found["outputs"] if not one.get("error")])


def handed_in(one: Any) -> list[Any]:
    said = one["completion"]
    outputs = [message["content"] for message in said if message["role"] == "tool"]
    return [one["info"]["id"], said[-1]["content"] if said else None, outputs]


if __name__ == "__main__":
    asyncio.run(main(read_job()))
