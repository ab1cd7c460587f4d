"""What the harness itself costs: CPU a turn, and wall clock against a bare loop of the same client.

    python benchmarks/rollout.py [--rounds 5] [--smoke]

1. CPU a turn of everything outside tools and client (rollout, environment, scoring, records, summary): the oracle at
   64 concurrent episodes of the demo tasks, with recorded tool outputs instead of a sandbox.
2. Wall clock against an endpoint that answers in 200 ms: `harness` with the openai client, against a bare loop of the
   same client that sends the same requests, episode by episode, at the same concurrency; interleaved rounds. The ideal
   is what 200 ms a request alone would take.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scripted_server import Script, ScriptedServer
from tabulate import tabulate

from harness.evaluation.evaluate import evaluate
from harness.evaluation.plan import Plan, Player
from harness.models import ModelOptions, load_model
from harness.sandbox import Sandbox
from harness.sandbox.pool import ToolSession
from harness.types import JSONObject, ToolResult
from tasks.demo import tasks

CONCURRENCY = 64
DELAY = 0.2


class RecordedTools(Sandbox):
    """A sandbox that answers each call with what a real one gave once; it starts no process."""

    def __init__(self, outputs: Mapping[str, ToolResult]) -> None:
        super().__init__()
        self.outputs = outputs

    @property
    def layers(self) -> dict[str, Any]:
        return {"mode": "recorded"}

    def episode(self, state: str | None = None) -> ToolSession:
        return RecordedSession(self)


class RecordedSession(ToolSession):
    """One episode's calls, recorded."""

    def __init__(self, tools: RecordedTools) -> None:
        super().__init__(tools, None)
        self.outputs = tools.outputs

    async def arun(self, codes: Mapping[str, str], calls: Sequence[tuple[str, dict[str, Any]]]) -> list[ToolResult]:
        return [self.outputs[json.dumps(call)] for call in calls]


def plan(epochs: int) -> Plan:
    """The demo tasks, each sample so many times."""
    demo = tasks({})
    return Plan(demo, {task.name: list(task.load()) for task in demo}, groups={}, epochs=epochs)


def gold_outputs(samples: Plan) -> dict[str, ToolResult]:
    """What the gold calls give, from the real sandbox."""
    outputs: dict[str, ToolResult] = {}
    with Sandbox() as sandbox, sandbox.episode() as tools:
        for _, sample, _ in samples:
            for call in sample.gold.calls or ():
                [outputs[json.dumps((call.name, call.arguments))]] = tools.run(
                    sample.codes, [(call.name, call.arguments)]
                )
    return outputs


def cpu_a_turn(rounds: int, epochs: int) -> float:
    """Milliseconds of CPU a turn, the median of the rounds."""
    model = load_model("policy/oracle", ModelOptions())
    player = Player(model, RecordedTools(gold_outputs(plan(1))), CONCURRENCY)
    work = plan(epochs)
    turns = sum(len(sample.gold.calls or ()) + 1 for _, sample, _ in work)
    costs = []
    for _ in range(rounds):
        with tempfile.TemporaryDirectory() as folder:
            began = time.process_time()
            evaluate(work, player, Path(folder) / "run")
            costs.append((time.process_time() - began) / turns * 1000)
    return statistics.median(costs)


def script_of(samples: Plan) -> Script:
    """Four calls without arguments, of one tool after the other, and a last word."""
    script: dict[str, list[JSONObject]] = {}
    for _, sample, _ in samples:
        names = [sample.tools[turn % len(sample.tools)].name for turn in range(4)]
        calls = [
            {"id": f"c{turn}", "type": "function", "function": {"name": name, "arguments": "{}"}}
            for turn, name in enumerate(names)
        ]
        said = next(message.content for message in sample.messages if message.role == "user")
        script[said] = [*({"content": None, "tool_calls": [call]} for call in calls), {"content": "done"}]
    return script


def through_harness(url: str, work: Plan, sandbox: Sandbox, folder: Path) -> tuple[float, float]:
    """Wall clock and CPU seconds of an evaluation; leaves its records in `folder`."""
    model = load_model("openai/m", ModelOptions(base_url=url, concurrency=CONCURRENCY, environ={}))
    wall, cpu = time.perf_counter(), time.process_time()
    evaluate(work, Player(model, sandbox, CONCURRENCY), folder)
    return time.perf_counter() - wall, time.process_time() - cpu


def bare(url: str, conversations: Sequence[Sequence[JSONObject]]) -> tuple[float, float]:
    """Wall clock and CPU seconds of the client alone, sending every conversation's requests one after the other."""
    from openai import AsyncOpenAI

    async def everything() -> None:
        client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        waiting = iter(conversations)

        async def work() -> None:
            for requests in waiting:
                for request in requests:
                    await client.chat.completions.create(**request)

        async with client:
            await asyncio.gather(*(work() for _ in range(CONCURRENCY)))

    wall, cpu = time.perf_counter(), time.process_time()
    asyncio.run(everything())
    return time.perf_counter() - wall, time.process_time() - cpu


def requests_of(run: Path, work: Plan) -> list[list[JSONObject]]:
    """The requests of every episode of a run, rebuilt from its transcript."""
    schemas = {
        (task.name, sample.id): [
            {
                "type": "function",
                "function": {"name": t.name, "description": t.description, "parameters": t.parameters},
            }
            for t in sample.tools
        ]
        for task, sample, _ in work
    }
    conversations = []
    for line in (run / "samples.jsonl").read_text(encoding="utf-8").splitlines():
        record = json.loads(line)
        spoken = [index for index, message in enumerate(record["messages"]) if message["role"] == "assistant"]
        fixed: dict[str, Any] = {
            "model": "m",
            "tools": schemas[record["task"], record["sample"]],
            "temperature": 0.0,
            "max_tokens": 8192,
        }
        conversations.append([{**fixed, "messages": record["messages"][:index]} for index in spoken])
    return conversations


def against_endpoint(rounds: int, epochs: int) -> list[list[object]]:
    """Rows of the comparison: medians over interleaved rounds."""
    work = plan(epochs)
    ours, alone = [], []
    endpoint = ScriptedServer(script_of(plan(1)), DELAY)
    with endpoint, Sandbox() as sandbox, tempfile.TemporaryDirectory() as folder:
        through_harness(endpoint.url, plan(-(-epochs // 6)), sandbox, Path(folder) / "warm")
        for number in range(rounds):
            run = Path(folder) / str(number)
            ours.append(through_harness(endpoint.url, work, sandbox, run))
            conversations = requests_of(run, work)
            alone.append(bare(endpoint.url, conversations))
    count = sum(len(requests) for requests in conversations)
    lengths = [len(requests) for requests in conversations]
    ideal = DELAY * max(sum(lengths) / CONCURRENCY, max(lengths))
    rows: list[list[object]] = []
    for name, measured in (("harness", ours), ("bare client", alone)):
        wall, cpu = (statistics.median(values) for values in zip(*measured, strict=True))
        rows.append([name, count, wall, wall / ideal, cpu / count * 1000])
    ratio = statistics.median(our[0] / other[0] for our, other in zip(ours, alone, strict=True))
    rows.append(["harness / bare client", "", ratio, "", ""])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="a round of few episodes: seconds")
    args = parser.parse_args()
    rounds, first, second = (1, 4, 2) if args.smoke else (args.rounds, 50, 32)
    print(f"CPU a turn outside tools and client, {CONCURRENCY} episodes at once: {cpu_a_turn(rounds, first):.3f} ms\n")
    headers = ["what", "requests", "wall s", "of ideal", "CPU ms a request"]
    print(tabulate(against_endpoint(rounds, second), headers=headers, tablefmt="github", floatfmt=".3f"))


if __name__ == "__main__":
    main()
