"""What a crew of Ray's adds to an episode, and how many of them one command can hand out.

    python benchmarks/scaling.py [--rounds 5] [--smoke]

1. Episodes of one request to an endpoint that answers in 200 ms, 16 at once: one process against one node of Ray, in
   interleaved rounds (goal: within 10 %). Ray is started once, and its actors are warm, as they are in a long run.
2. Episodes of a reference policy, which take no time at all: how many a second by one process, by one member and by
   two, and the CPU that the command itself uses for each. That bounds what one command can hand out to any cluster.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scripted_server import Script, ScriptedServer
from tabulate import tabulate

from harness.distributed.cluster import LOCAL, Cluster, Machine, connect
from harness.evaluation.crew import Crew
from harness.evaluation.crew_member import Job, ModelWords
from harness.evaluation.evaluate import evaluate
from harness.evaluation.plan import Plan, Player, plan_tasks
from harness.redaction import Redactor
from harness.registry import select_tasks
from harness.sandbox import Sandbox, SandboxConfig
from harness.types import Model

CONCURRENCY = 16
DELAY = 0.2
TASKS = ("micro_single_hop",)


@dataclass(frozen=True)
class PartOf(Cluster):
    """So many cores of a cluster."""

    cores: int = 1

    @property
    def machines(self) -> list[Machine]:
        return [Machine("part", self.cores, 0)]


def plan(samples: int, epochs: int) -> Plan:
    return replace(plan_tasks(select_tasks(TASKS, {}), {}, limit=samples), epochs=epochs)


def script_of(work: Plan) -> Script:
    """A last word at once: an episode is one request."""
    said = (m.content for _, sample, _ in work for m in sample.messages if m.role == "user")
    return {text: [{"content": "done"}] for text in said}


def crew(cluster: Cluster, words: ModelWords, members: int) -> Crew:
    """One of so many members."""
    model = words.load(Redactor())
    job = Job(TASKS, {}, {}, words, model.fingerprint, SandboxConfig(workers=1), 600.0, str(Path.cwd()))
    return Crew(model, job, PartOf(cluster.ray, cluster.keys, members), CONCURRENCY)


def measure(work: Plan, model: Model, sandbox: Sandbox) -> tuple[float, float]:
    """Wall clock and this process's own CPU in milliseconds an episode."""
    with tempfile.TemporaryDirectory() as folder:
        wall, cpu = time.perf_counter(), time.process_time()
        evaluate(work, Player(model, sandbox, CONCURRENCY), Path(folder) / "run")
        return (time.perf_counter() - wall) * 1000 / work.episodes, (time.process_time() - cpu) * 1000 / work.episodes


def compare(work: Plan, ways: Sequence[tuple[str, Model]], rounds: int) -> list[list[object]]:
    """A row a way: medians over interleaved rounds, and the median of its rounds over those of the first."""
    with Sandbox() as sandbox:
        for _, model in ways:
            measure(replace(work, epochs=1), model, sandbox)  # warm
        found = [[measure(work, model, sandbox) for _, model in ways] for _ in range(rounds)]
    rows: list[list[object]] = []
    for place, (name, _) in enumerate(ways):
        wall, cpu = (statistics.median(one[place][part] for one in found) for part in (0, 1))
        ratio = statistics.median(one[place][0] / one[0][0] for one in found)
        rows.append([name, work.episodes, wall, 1000 / wall, cpu, ratio])
    return rows


def rows_of(work: Plan, words: ModelWords, cluster: Cluster, members: int, rounds: int) -> list[list[object]]:
    """One process beside a crew."""
    together = crew(cluster, words, members)
    ways: list[tuple[str, Model]] = [("one process", words.load(Redactor())), (f"a crew of {members}", together)]
    try:
        return compare(work, ways, rounds)
    finally:
        together.close()


def against_endpoint(cluster: Cluster, rounds: int, epochs: int) -> list[list[object]]:
    work = plan(40, epochs)
    with ScriptedServer(script_of(work), DELAY) as endpoint:
        words = ModelWords("openai/m", base_url=endpoint.url, concurrency=CONCURRENCY)
        return rows_of(work, words, cluster, 1, rounds)


def by_policy(cluster: Cluster, rounds: int, epochs: int) -> list[list[object]]:
    work, words = plan(40, epochs), ModelWords("policy/oracle")
    return [row for members in (1, 2) for row in rows_of(work, words, cluster, members, rounds)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="a round of few episodes: seconds")
    args = parser.parse_args()
    rounds, epochs = (1, 1) if args.smoke else (args.rounds, 10)
    headers = ["episodes by", "episodes", "ms each", "a second", "CPU ms of the command", "of one process"]
    parts: list[tuple[str, Callable[[Cluster, int, int], list[list[object]]]]] = [
        (f"An endpoint that answers in {DELAY * 1000:.0f} ms, {CONCURRENCY} at once", against_endpoint),
        ("A policy that answers at once", by_policy),
    ]
    with connect(LOCAL) as cluster:
        for title, part in parts:
            print(f"\n{title}\n")
            print(tabulate(part(cluster, rounds, epochs), headers=headers, tablefmt="github", floatfmt=".2f"))


if __name__ == "__main__":
    main()
