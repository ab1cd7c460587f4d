"""What isolation costs: CPU microseconds a tool call, the paper's way against jailed workers.

    python benchmarks/sandbox.py --data ../shared

Plays the recorded calls of golden/ftrl_rollouts.jsonl on the released tools. CPU time is that of the harness, the
launcher and the workers together; wall-clock time is left out, because it depends on what else the machine does. The
ways take turns, round after round, and the median round counts. One round before the first warms every way.

A request that goes to another core has to wake it, which can cost as much as the call; whether the kernel keeps both
ends on one core changes from minute to minute, so repeat the measurement.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from func_timeout import func_timeout

from harness.sandbox import Sandbox, SandboxConfig

Call = tuple[str, dict[str, Any]]
Episodes = list[tuple[dict[str, str], list[Call]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with golden/ and data/ftrl_released/")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--episodes", type=int, default=360)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # some released tools have invalid escapes
    episodes = load(options.data)[: options.episodes]
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        print(
            table(measure(ways(sandbox), episodes, sandbox, options.rounds), sum(len(calls) for _, calls in episodes))
        )


def load(data: Path) -> Episodes:
    rows = (data / "data/ftrl_released/test-60.jsonl").read_text().splitlines()
    codes = [json.loads(json.loads(row)["codes"]) for row in rows]
    episodes = []
    for line in (data / "golden/ftrl_rollouts.jsonl").read_text().splitlines():
        rollout = json.loads(line)
        calls = [(call["name"], call["arguments"]) for turn in rollout["turns"] for call in turn]
        episodes.append((codes[rollout["line"]], [call for call in calls if call[0] in codes[rollout["line"]]]))
    return episodes


def ways(sandbox: Sandbox) -> dict[str, Callable[[Episodes], None]]:
    return {
        "paper: exec + eval under func_timeout, in process": paper,
        "jailed worker, one call a request": lambda episodes: batched(sandbox, episodes, 1),
        "jailed worker, batches of 4": lambda episodes: batched(sandbox, episodes, 4),
        "jailed worker, batches of 64": lambda episodes: batched(sandbox, episodes, 64),
        "jailed worker, one request an episode": per_episode(sandbox),
    }


def paper(episodes: Episodes) -> None:
    """Some released tools print when they are defined."""
    with contextlib.redirect_stdout(io.StringIO()):
        for codes, calls in episodes:
            for name, arguments in calls:
                try:
                    func_timeout(10, in_process, args=(codes[name], name, arguments))
                except Exception as error:
                    str(error)


def in_process(source: str, name: str, arguments: dict[str, Any]) -> str:
    namespace: dict[str, Any] = {}
    exec(source, namespace)
    out = eval(f"{name}(**arguments)", namespace, {"arguments": arguments})
    return json.dumps(out, ensure_ascii=False) if isinstance(out, (dict, list)) else str(out)


def batched(sandbox: Sandbox, episodes: Episodes, size: int) -> None:
    with sandbox.episode() as episode:
        for codes, calls in chunks(episodes, size):
            episode.run(codes, calls)


def chunks(episodes: Episodes, size: int) -> Iterable[tuple[dict[str, str], list[Call]]]:
    """The calls in their order, `size` at a time; fewer where one name stands for two different tools."""
    known: dict[str, str] = {}
    batch: list[Call] = []
    for codes, calls in episodes:
        for call in calls:
            if len(batch) == size or known.get(call[0], codes[call[0]]) != codes[call[0]]:
                yield known, batch
                known, batch = {}, []
            known[call[0]] = codes[call[0]]
            batch.append(call)
    yield known, batch


def per_episode(sandbox: Sandbox) -> Callable[[Episodes], None]:
    def play(episodes: Episodes) -> None:
        for codes, calls in episodes:
            with sandbox.episode() as episode:
                episode.run(codes, calls)

    return play


def measure(
    candidates: dict[str, Callable[[Episodes], None]], episodes: Episodes, sandbox: Sandbox, rounds: int
) -> dict[str, float]:
    """CPU seconds of the median round."""
    seconds: dict[str, list[float]] = {way: [] for way in candidates}
    for number in range(rounds + 1):
        for way, play in candidates.items():
            before = cpu_seconds(sandbox)
            play(episodes)
            if number:
                seconds[way].append(cpu_seconds(sandbox) - before)
    return {way: statistics.median(values) for way, values in seconds.items()}


def cpu_seconds(sandbox: Sandbox) -> float:
    """This process and the sandbox's; a process's CPU clock has the number ~pid << 3 | 2."""
    return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in sandbox.pids)


def table(seconds: dict[str, float], calls: int) -> str:
    first = next(iter(seconds.values()))
    rows = [f"CPU over {calls} calls", "", "| way | CPU us/call | against the paper |", "|---|---|---|"]
    for way, value in seconds.items():
        rows.append(f"| {way} | {value / calls * 1e6:.1f} | {first / value:.1f}x |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
