"""inspect_ai: a sample a row, the rows' tools as its tools, its generate loop, a log in a folder; no scorer."""

from __future__ import annotations

import tempfile
from typing import Any

from inspect_ai import Task, eval
from inspect_ai.dataset import MemoryDataset, Sample
from inspect_ai.model import ChatMessageUser, GenerateConfig, get_model
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import Tool, ToolDef, ToolParams
from job import SAMPLING, Episode, load_tool, read_job, to_text


def tools_of(episode: Episode) -> list[Tool]:
    return [tool_of(tool["function"], episode["codes"]) for tool in episode["tools"]]


def tool_of(schema: dict[str, Any], codes: dict[str, str]) -> Tool:
    function = load_tool(codes, schema["name"])

    async def execute(**arguments: Any) -> str:
        return to_text(function(**arguments))

    parameters = ToolParams.model_validate(schema["parameters"])
    return ToolDef(execute, schema["name"], schema["description"], parameters).as_tool()


@solver  # type: ignore[untyped-decorator]
def play(tools: dict[str, list[Tool]]) -> Solver:
    async def solve(state: TaskState, generate: Generate) -> TaskState:
        state.tools = tools[str(state.sample_id)]
        return await generate(state, tool_calls="loop")

    return solve


def handed_in(sample: Any) -> list[Any]:
    outputs = [message.text for message in sample.messages if message.role == "tool"]
    return [sample.id, sample.output.completion, outputs]


def main() -> None:
    job = read_job()
    episodes = job.load()
    rows = [
        Sample(id=one["id"], input=[ChatMessageUser(content=message["content"]) for message in one["messages"]])
        for one in episodes
    ]
    model = get_model(
        "openai/m",
        base_url=job.url,
        api_key="none",
        responses_api=False,
        config=GenerateConfig(max_connections=job.concurrency, **SAMPLING),
    )
    with tempfile.TemporaryDirectory() as folder:
        [log] = eval(
            Task(MemoryDataset(rows), solver=play({one["id"]: tools_of(one) for one in episodes})),
            model,
            epochs=job.times,
            max_samples=job.concurrency,
            fail_on_error=False,
            display="none",
            log_dir=folder,
        )
        job.hand_in([handed_in(sample) for sample in log.samples or () if sample.error is None])


if __name__ == "__main__":
    main()
