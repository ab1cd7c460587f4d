"""What playing many episodes at once gains on hf/: the same 64 episodes one by one and together, at temperature 0.

    python benchmarks/hf_batch.py [--rounds 3] [--model DIR] [--episodes 64] [--smoke]

Each round plays the episodes one by one and then all together, in turns so that a busy machine disturbs both; the
medians of the rounds are compared, and the calls of every episode. `network` is the time inside the model alone.
float32 on the CPU, micro_* tasks, the bundled tiny model unless --model names another directory.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.data.schema import Record
from harness.evaluation.evaluate import evaluate
from harness.evaluation.plan import Plan, Player
from harness.models import ModelOptions
from harness.models.local.hf import HFModel, load_directory
from harness.registry import select_tasks
from harness.sandbox import Sandbox
from harness.types import ModelRequest, Sampling

BUNDLED = Path(__file__).parents[1] / "trainer" / "bundled" / "tiny-base"
Calls = dict[tuple[str, str], list[Any]]


def main() -> int:
    """Prints a table; exits with 1 where the calls differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--episodes", type=int, default=64)
    parser.add_argument("--model", type=Path, default=BUNDLED)
    parser.add_argument("--smoke", action="store_true", help="one round of four short episodes: seconds")
    args = parser.parse_args()
    tokens = 120
    if args.smoke:
        args.rounds, args.episodes, tokens = 1, 4, 40
    if not any(args.model.glob("*.safetensors")):
        print(f"{args.model} holds no model: harness train --regime sft --recipe tiny-base --out DIR, then --model DIR")
        return 2
    plan = first_episodes(args.episodes, tokens)
    rounds = [(play(plan, args.model, 1), play(plan, args.model, args.episodes)) for _ in range(args.rounds)]
    (_, _, alone), (_, _, together) = rounds[0]
    seconds = {
        "whole run": [(alone[0], together[0]) for alone, together in rounds],
        "network": [(alone[1], together[1]) for alone, together in rounds],
    }
    table = []
    for name, pairs in seconds.items():
        one, many = (statistics.median(pair[which] for pair in pairs) for which in (0, 1))
        table.append((name, f"{one:.2f}", f"{many:.2f}", f"{one / many:.1f}x"))
    print(
        tabulate(table, headers=("seconds", "one by one", f"{args.episodes} together", "ratio"), disable_numparse=True)
    )
    same = sum(alone[key] == together[key] for key in alone)
    calls = sum(map(len, alone.values()))
    print(f"{same} of {len(alone)} episodes have the same calls ({calls} calls)")
    return 0 if same == len(alone) else 1


def first_episodes(count: int, tokens: int) -> Plan:
    """The first episodes of every micro task, as many of each, with so many tokens a turn."""
    tasks = select_tasks(["micro_*"], {})
    share = -(-count // len(tasks))
    samples = {task.name: list(task.load())[:share] for task in tasks}
    return Plan(tasks, samples, {}, Sampling(0.0, tokens))


def play(plan: Plan, folder: Path, width: int) -> tuple[float, float, Calls]:
    """Seconds of the run without loading, seconds inside the network, and the calls of every episode."""
    model = load_directory(
        "hf/benchmark", str(folder), ModelOptions({"device": "cpu", "dtype": "float32"}, None, width)
    )
    task = plan.tasks[0]
    sample = plan.samples[task.name][0]
    model(ModelRequest(sample.messages, sample.tools, Sampling(0.0, 4), sample))
    inside = clocked(model)
    calls: Calls = {}

    def watch(record: Record) -> None:
        calls[record["task"], record["sample"]] = [(call["name"], call["arguments"]) for call in record["calls"]]

    with Sandbox() as sandbox, tempfile.TemporaryDirectory() as out:
        started = time.perf_counter()
        evaluate(plan, Player(model, sandbox, width), Path(out) / "run", watch=watch)
        return time.perf_counter() - started, sum(inside), calls


def clocked(model: HFModel) -> Sequence[float]:
    """A list that grows by the seconds of every call of the network."""
    seconds: list[float] = []
    advance = model.advance

    def timed(requests: Sequence[ModelRequest]) -> Any:
        started = time.perf_counter()
        answers = advance(requests)
        seconds.append(time.perf_counter() - started)
        return answers

    model.advance = timed  # type: ignore[method-assign]
    return seconds


if __name__ == "__main__":
    sys.exit(main())
