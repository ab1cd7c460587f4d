"""What isolation costs: CPU microseconds a tool call, the paper's way against jailed workers.

    python benchmarks/sandbox.py --data ../shared
    python benchmarks/sandbox.py --smoke            a few calls of two tools of its own: seconds, and no figure to quote

Plays the recorded calls of golden/ftrl_rollouts.jsonl on the released tools: as evaluation does (`arun`, by episodes
that are live at once), and by `run`, which blocks. The limit to hold against is a round trip between two processes over
a socketpair. CPU time is that of the harness, the launcher and the workers together; wall-clock time is left out,
because it depends on what else the machine does. The ways take turns, round after round; the median round counts, and
the worst is told beside it. One round before the first warms every way.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import os
import socket
import statistics
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from func_timeout import func_timeout

from harness.sandbox import Sandbox, SandboxConfig

Call = tuple[str, dict[str, Any]]
Episodes = list[tuple[dict[str, str], list[Call]]]
Way = Callable[[Episodes], None]
_PAPER = "paper: exec + eval under func_timeout, in process"
_TOOLS = {
    "add": "def add(a, b):\n    return {'sum': a + b}\n",
    "look_up": "FACTS = {'Ann': 41, 'Bob': 35}\n\ndef look_up(name):\n    return {'name': name, 'age': FACTS[name]}\n",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--data", type=Path, help="folder with golden/ and data/ftrl_released/")
    source.add_argument("--smoke", action="store_true", help="seconds, without data")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--episodes", type=int, default=360)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # some released tools have invalid escapes
    episodes = small_episodes() if options.smoke else load(options.data)[: options.episodes]
    rounds = 2 if options.smoke else options.rounds
    with Sandbox(SandboxConfig(workers=options.workers)) as sandbox, Echo() as echo:
        print(table(measure(ways(sandbox, echo), episodes, sandbox, echo, rounds), count(episodes)))


def small_episodes() -> Episodes:
    """Every third call is wrong."""
    turns: list[Call] = [("add", {"a": 1, "b": 2}), ("look_up", {"name": "Ann"}), ("look_up", {"name": "Eve"})]
    return [(_TOOLS, turns)] * 20


def count(episodes: Episodes) -> int:
    return sum(len(calls) for _, calls in episodes)


def load(data: Path) -> Episodes:
    rows = (data / "data/ftrl_released/test-60.jsonl").read_text().splitlines()
    codes = [json.loads(json.loads(row)["codes"]) for row in rows]
    episodes = []
    for line in (data / "golden/ftrl_rollouts.jsonl").read_text().splitlines():
        rollout = json.loads(line)
        calls = [(call["name"], call["arguments"]) for turn in rollout["turns"] for call in turn]
        episodes.append((codes[rollout["line"]], [call for call in calls if call[0] in codes[rollout["line"]]]))
    return episodes


def ways(sandbox: Sandbox, echo: Echo) -> dict[str, Way]:
    return {
        "a round trip over a socketpair": echo.play,
        _PAPER: paper,
        **{f"arun, {number} live": live(sandbox, number) for number in (1, 16, 64)},
        "jailed worker, one call a request": lambda episodes: batched(sandbox, episodes, 1),
        "jailed worker, batches of 4": lambda episodes: batched(sandbox, episodes, 4),
        "jailed worker, batches of 64": lambda episodes: batched(sandbox, episodes, 64),
        "jailed worker, one request an episode": per_episode(sandbox),
    }


class Echo:
    """A process that answers 50 bytes to whatever it hears."""

    def __enter__(self) -> Echo:
        self._socket, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            self._socket.close()
            while theirs.recv(100):
                theirs.send(b"x" * 50)
            os._exit(0)
        theirs.close()
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()
        os.waitpid(self.pid, 0)

    def play(self, episodes: Episodes) -> None:
        for _ in range(count(episodes)):
            self._socket.send(b"y" * 50)
            self._socket.recv(100)


def live(sandbox: Sandbox, number: int) -> Way:
    """As evaluation does it: `number` episodes at once, a call a turn, and the next episode when one is over."""

    async def work(waiting: Iterator[tuple[dict[str, str], list[Call]]]) -> None:
        for codes, calls in waiting:
            with sandbox.episode() as episode:
                for call in calls:
                    await episode.arun(codes, [call])

    async def play(episodes: Episodes) -> None:
        waiting = iter(episodes)
        await asyncio.gather(*[work(waiting) for _ in range(number)])

    return lambda episodes: asyncio.run(play(episodes))


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
    candidates: dict[str, Way], episodes: Episodes, sandbox: Sandbox, echo: Echo, rounds: int
) -> dict[str, list[float]]:
    """CPU seconds of each round."""
    seconds: dict[str, list[float]] = {way: [] for way in candidates}
    for number in range(rounds + 1):
        for way, play in candidates.items():
            before = cpu_seconds([*sandbox.pids, echo.pid])
            play(episodes)
            if number:
                seconds[way].append(cpu_seconds([*sandbox.pids, echo.pid]) - before)
    return seconds


def cpu_seconds(pids: list[int]) -> float:
    """This process and those; a process's CPU clock has the number ~pid << 3 | 2."""
    return time.process_time() + sum(time.clock_gettime(~pid << 3 | 2) for pid in pids)


def table(seconds: dict[str, list[float]], calls: int) -> str:
    median = {way: statistics.median(values) for way, values in seconds.items()}
    rows = [
        f"CPU over {calls} calls; load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores",
        "",
        f"| way | CPU us/call | worst of {len(seconds[_PAPER])} rounds | against the paper |",
        "|---|---|---|---|",
    ]
    for way, values in seconds.items():
        worst, ratio = max(values) / median[way], median[_PAPER] / median[way]
        rows.append(f"| {way} | {median[way] / calls * 1e6:.1f} | {worst:.2f} times that | {ratio:.1f}x |")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
