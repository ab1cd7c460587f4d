"""verifiers since 0.2: a task a row, and an evaluation as its command runs one, with its records; no reward.

There an agent is a program, every request of which goes through a local server that records it and passes it on. Its
own chat program is a process an episode, and tools are servers; the cheapest that its interface allows is a loop in
its process, which is what plays here, with the rows' tools beside it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import verifiers.v1 as vf
from job import SAMPLING, Job, play, read_job
from openai import AsyncOpenAI
from verifiers.v1.cli.eval.runner import run_eval
from verifiers.v1.configs.cli.eval import EvalConfig
from verifiers.v1.runtimes import ProgramResult

__all__ = ["InProcess", "Rows"]
NAME = Path(__file__).stem


class RowData(vf.TaskData):  # type: ignore[misc]
    """An episode of the job; the id leads to the rest."""


class Row(vf.Task[RowData]):  # type: ignore[misc]
    """A row without rewards."""


class Rows(vf.Taskset[Row]):  # type: ignore[misc]
    """The episodes of the job."""

    def load(self) -> Iterator[Row]:
        for episode in read_job().load():
            yield Row(RowData(id=episode["id"], prompt=episode["messages"][-1]["content"]))


class InProcess(vf.Harness[vf.HarnessConfig]):  # type: ignore[misc]
    """A loop of the openai client, which is that of verifiers' own chat program."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.episodes = {episode["id"]: episode for episode in read_job().load()}
        self.client = AsyncOpenAI(api_key="none")

    async def launch(
        self, ctx: Any, trace: Any, runtime: Any, endpoint: str, secret: str, mcp_urls: dict[str, str], data: Any
    ) -> Any:
        client = self.client.with_options(base_url=endpoint, api_key=secret)

        async def ask(body: dict[str, Any]) -> dict[str, Any]:
            completion = await client.chat.completions.create(**body)
            message: dict[str, Any] = completion.choices[0].message.model_dump(exclude_none=True)
            return message

        await play(self.episodes[data.id], ask)
        return ProgramResult(0, "", "")


async def main(job: Job) -> None:
    os.environ["PEERS_KEY"] = "none"
    agent = {"harness": {"id": NAME}, "runtime": {"type": "subprocess"}}
    with tempfile.TemporaryDirectory() as out:
        config = EvalConfig(
            env={"taskset": {"id": NAME}, "agent": agent},
            model="m",
            client={"type": "eval", "base_url": job.url, "api_key_var": "PEERS_KEY"},
            sampling=SAMPLING,
            num_rollouts=job.times,
            max_concurrent=job.concurrency,
            rich=None,
            push=False,
            output_dir=out,
        )
        episodes = await run_eval(config)
    job.hand_in([handed_in(trace) for episode in episodes if episode.ok for trace in episode.traces])


def handed_in(trace: Any) -> list[Any]:
    said = trace.branches[-1].messages
    return [trace.task.data.id, said[-1].content, [message.content for message in said if message.role == "tool"]]


if __name__ == "__main__":
    asyncio.run(main(read_job()))
