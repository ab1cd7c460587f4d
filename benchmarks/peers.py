"""The same episodes played by the harness, by other libraries and by bare loops, against one scripted endpoint.

    python benchmarks/peers.py [--rounds 3] [--levels 1 16 128] [--python NAME=PATH ...] [--page FILE] [--smoke]
    tox -e peers

Who plays: `harness eval`, with tools isolated in its sandbox; verifiers' ToolEnv of 0.1, verifiers of today and
inspect_ai, with the rows' tools as functions in their process; a loop of the openai client and one of aiohttp, which
keep no record and score nothing. --python names interpreters that hold a player's package; a player whose package is
nowhere is left out, which the tables say.

1. CPU a turn, by how many episodes are played at once: user and system time of all processes, the endpoint excluded.
   Whole run: from the start of the process to its end, so with imports and what each row costs once. Steady: what
   playing everything again costs, from a run that plays it `TIMES` times.
2. Span: at the endpoint from the first request to the last reply, each of which takes 200 ms, against the least that
   so many workers need. Memory: the most that all processes had at once in that run.
3. Faults: how many of fewer episodes do not end as they should where the endpoint fails, every player with its own
   defaults; counted once.

What every player was told is compared: final messages and tool outputs must be the same. Rounds take turns.
"""

from __future__ import annotations

import argparse
import hashlib
import heapq
import json
import lzma
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from process_costs import Costs, measure
from scripted_server import FAULTS, Script, ScriptedServer
from tabulate import tabulate

from harness.models.api import openai as endpoint
from harness.registry import select_tasks
from harness.types import Sample
from tasks.synthesised import BUILDS

PLAYERS = Path(__file__).parent / "players"
DELAY = 0.2
TIMES = 2
LEVELS = (1, 16, 128)
SHARE = 35
"""Episodes of each of the four kinds."""
MARK = "<!-- What follows is written by benchmarks/peers.py. -->\n"

Played = list[list[Any]]
"""Of every finished episode: id, the final text, and the tools' outputs."""


@dataclass(frozen=True)
class Peer:
    """Who plays: a script of players/, or the harness with an argument of its model."""

    name: str
    package: str
    script: str = ""
    argument: str = ""


OURS = "tool-harness"
PEERS = (
    Peer("harness", OURS),
    Peer("harness, client=openai", OURS, argument="client=openai"),
    Peer("verifiers 0.1, ToolEnv", "verifiers", "tool_env"),
    Peer("verifiers", "verifiers", "verifiers"),
    Peer("inspect_ai", "inspect_ai", "inspect"),
    Peer("openai client, bare loop", "openai", "openai"),
    Peer("aiohttp, bare loop", "aiohttp", "aiohttp"),
)


# --- what is played ----------------------------------------------------------------------------------------------


class Episodes:
    """Environments, as each player reads them, and the script of who answers them: the gold calls, one a turn."""

    def __init__(self, patterns: Sequence[str], share: int, folder: Path) -> None:
        folder.mkdir()
        samples = [sample for task in select_tasks(patterns, {}) for sample in list(task.load())[:share]]
        self.script: Script = {sample.messages[0].content: turns_of(sample) for sample in samples}
        self.requests = sum(map(len, self.script.values()))
        self.count = len(samples)
        self.records = folder / "episodes.jsonl"
        self.rows = folder / "episodes.json"
        self.records.write_text("".join(records_of({sample.id for sample in samples})), encoding="utf-8")
        self.rows.write_text(json.dumps([row_of(sample) for sample in samples]), encoding="utf-8")

    def least_seconds(self, concurrency: int) -> float:
        """What so many workers need who take the episodes in order, when only the replies take time."""
        free = [0.0] * concurrency
        for turns in self.script.values():
            heapq.heappush(free, heapq.heappop(free) + DELAY * len(turns))
        return max(free)


def turns_of(sample: Sample) -> list[dict[str, Any]]:
    calls = [
        {
            "id": f"call_{n}",
            "type": "function",
            "function": {"name": call.name, "arguments": json.dumps(call.arguments)},
        }
        for n, call in enumerate(sample.gold.calls or ())
    ]
    turns: list[dict[str, Any]] = [{"content": None, "tool_calls": [call]} for call in calls]
    return [*turns, {"content": f"Answer: {sample.gold.answer}"}]


def records_of(ids: set[str]) -> Iterable[str]:
    """The lines of the bundled set."""
    with lzma.open(BUILDS[0].path, "rt", encoding="utf-8") as lines:
        yield from (line for line in lines if json.loads(line)["id"] in ids)


def row_of(sample: Sample) -> dict[str, Any]:
    """A row as players/job.py has it."""
    functions = [
        {"name": tool.name, "description": tool.description, "parameters": tool.parameters} for tool in sample.tools
    ]
    return {
        "id": sample.id,
        "messages": [{"role": message.role, "content": message.content} for message in sample.messages],
        "tools": [{"type": "function", "function": function} for function in functions],
        "codes": dict(sample.codes),
    }


# --- who plays ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Player:
    """A peer in an interpreter that holds its package."""

    peer: Peer
    python: str
    version: str

    def play(
        self, episodes: Episodes, url: str, concurrency: int, times: int = 1, memory: bool = False
    ) -> tuple[Costs, Played]:
        """What it cost, and what became of the episodes; of a player that died, nothing."""
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "out"
            make = self._script if self.peer.script else self._eval
            environ = {**os.environ, "OPENAI_API_KEY": "none"}
            costs = measure(make(episodes, url, concurrency, times, out), memory, environ=environ)
            if self.peer.script:
                return costs, json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
            return costs, read_run(out)

    def _script(self, episodes: Episodes, url: str, concurrency: int, times: int, out: Path) -> list[str]:
        job = {"episodes": str(episodes.rows), "url": url, "concurrency": concurrency, "times": times, "out": str(out)}
        return [self.python, str(PLAYERS / f"play_{self.peer.script}.py"), json.dumps(job)]

    def _eval(self, episodes: Episodes, url: str, concurrency: int, times: int, out: Path) -> list[str]:
        words = ["eval", "--model", "m", "--base-url", url, "--tasks", str(episodes.records), "--epochs", str(times)]
        words += ["--concurrency", str(concurrency), "--out", str(out), "--quiet"]
        words += ["--model-arg", self.peer.argument] if self.peer.argument else []
        return [self.python, "-m", "harness.cli", *words]


def read_run(folder: Path) -> Played:
    """What became of a run's episodes."""
    path = folder / "samples.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []
    return [
        [record["sample"], record["messages"][-1]["content"], [call["output"] for call in record["calls"]]]
        for record in records
        if record["outcome"] == "ok"
    ]


def find_players(pythons: Mapping[str, str]) -> list[Player]:
    """Everyone whose package is there, in the version that it takes."""
    interpreters = [pythons.get(peer.script, sys.executable) for peer in PEERS]
    found = [Player(peer, python, version_of(python, peer)) for peer, python in zip(PEERS, interpreters, strict=True)]
    return [player for player in found if player.version]


def version_of(python: str, peer: Peer) -> str:
    """Empty where the package is not there, is not the one that is meant, or does not know the argument."""
    code = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
    version = subprocess.run([python, "-c", code], capture_output=True, text=True).stdout.strip()
    if peer.argument and peer.argument.partition("=")[0] not in endpoint.ARGS:
        return ""
    if peer.package == "verifiers" and version.startswith("0.1.") != (peer.script == "tool_env"):
        return ""
    return version


def rows_seen(played: Played) -> set[str]:
    return {json.dumps(row) for row in played}


def digest(played: Played) -> str:
    """Of what every episode ended with."""
    return hashlib.sha256("\n".join(sorted(rows_seen(played))).encode()).hexdigest()[:12]


# --- what is measured --------------------------------------------------------------------------------------------


@dataclass
class Figures:
    """Of one player: by how many episodes at once the whole run's and the steady CPU seconds, the span and memory."""

    digests: set[str] = field(default_factory=set)
    whole: dict[int, list[float]] = field(default_factory=dict)
    steady: dict[int, list[float]] = field(default_factory=dict)
    span: dict[int, list[float]] = field(default_factory=dict)
    memory: dict[int, list[float]] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)


class Measurement:
    """The figures of all players, as they come in."""

    def __init__(self, players: Sequence[Player], episodes: Episodes, few: Episodes) -> None:
        self.episodes = episodes
        self.few = few
        self.figures = {player: Figures() for player in players}
        self.expected: set[str] = set()

    def stages(self, rounds: int, levels: Sequence[int]) -> Iterator[Callable[[], None]]:
        """Everything in its order, piece by piece."""
        yield self.warm_up
        for _ in range(rounds):
            yield from (partial(self.measure_cpu, level) for level in levels)
            yield from (partial(self.measure_span, level) for level in levels if level > 1)
        yield from (partial(self.measure_fault, fault) for fault in FAULTS)

    def play(self, player: Player, url: str, concurrency: int, times: int = 1, memory: bool = False) -> Costs:
        """Plays without faults: everyone must finish, with the same."""
        costs, played = player.play(self.episodes, url, concurrency, times, memory)
        name = player.peer.name
        print(f"{name}, {concurrency} at once, {times} times: {costs.cpu:.2f} s of CPU", file=sys.stderr)
        if costs.status or len(played) != times * self.episodes.count:
            raise SystemExit(f"{name} finished {len(played)} episodes, exit status {costs.status}:\n{costs.errors}")
        self.expected = self.expected or rows_seen(played)
        self.figures[player].digests.add(digest(played))
        return costs

    def warm_up(self) -> None:
        """Compiles what is imported; counts nothing."""
        with ScriptedServer(self.few.script) as server:
            for player in self.figures:
                player.play(self.few, server.url, 16)

    def measure_cpu(self, level: int) -> None:
        with ScriptedServer(self.episodes.script) as server:
            for player, figures in self.figures.items():
                once = self.play(player, server.url, level).cpu
                again = (self.play(player, server.url, level, TIMES).cpu - once) / (TIMES - 1)
                figures.whole.setdefault(level, []).append(once)
                figures.steady.setdefault(level, []).append(again)

    def measure_span(self, level: int) -> None:
        with ScriptedServer(self.episodes.script, DELAY) as server:
            for player, figures in self.figures.items():
                memory = self.play(player, server.url, level, memory=True).mebibytes
                figures.span.setdefault(level, []).append(server.counts()[1])
                figures.memory.setdefault(level, []).append(memory)

    def measure_fault(self, fault: str) -> None:
        """Once, with few episodes: it is counted, not timed."""
        for player, figures in self.figures.items():
            with ScriptedServer(self.few.script, fault=fault) as server:
                costs, played = player.play(self.few, server.url, 16)
            lost = self.few.count - sum(row in self.expected for row in map(json.dumps, played))
            figures.lost[fault] = f"{lost} ({costs.seconds:.0f} s)"
            print(f"{player.peer.name}, {fault}: {figures.lost[fault]} {costs.errors[-300:]}", file=sys.stderr)


# --- tables ------------------------------------------------------------------------------------------------------


def show(measured: Measurement) -> str:
    """Everything there is, as Markdown."""
    tables = (cpu_table(measured), span_table(measured), fault_table(measured), outputs_table(measured))
    return "\n\n".join(filter(None, [heading(measured), *tables])) + "\n"


def heading(measured: Measurement) -> str:
    episodes = measured.episodes
    left_out = [peer.name for peer in PEERS if all(player.peer != peer for player in measured.figures)]
    rounds = max(len(costs) for figures in measured.figures.values() for costs in figures.whole.values())
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{episodes.count} episodes, {episodes.requests} requests; medians of {rounds} rounds, in turns; "
        f"Python {platform.python_version()}, {os.cpu_count()} cores ({platform.machine()}), load average {load} at "
        f"the end.{' Left out: ' + '; '.join(left_out) + '.' if left_out else ''}"
    )


def cpu_table(measured: Measurement) -> str:
    figures = next(iter(measured.figures.values()))
    headers = [
        f"{what}, {level}"
        for what, found in (("whole run", figures.whole), ("steady", figures.steady))
        for level in found
    ]
    rows = {
        player: [milliseconds(costs, measured) for found in (own.whole, own.steady) for costs in found.values()]
        for player, own in measured.figures.items()
    }
    return table("## CPU, ms a turn, by episodes at once", headers, rows)


def milliseconds(seconds: Sequence[float], measured: Measurement) -> str:
    return f"{statistics.median(seconds) / measured.episodes.requests * 1000:.2f}"


def span_table(measured: Measurement) -> str:
    figures, least = next(iter(measured.figures.values())), measured.episodes.least_seconds
    headers = [f"of the least, {level} ({least(level):.1f} s)" for level in figures.span]
    headers += [f"memory MiB, {level}" for level in figures.memory]
    rows = {
        player: [f"{statistics.median(spans) / least(level):.2f}" for level, spans in own.span.items()]
        + [f"{statistics.median(peaks):.0f}" for peaks in own.memory.values()]
        for player, own in measured.figures.items()
    }
    return table("## Span at 200 ms a reply, and peak memory", headers, rows)


def fault_table(measured: Measurement) -> str:
    rows = {player: list(figures.lost.values()) for player, figures in measured.figures.items()}
    headers = ["status 500, once", "429, Retry-After: 1", "torn JSON", "dead for a second"]
    title = f"## Of {measured.few.count} episodes, lost to faults (seconds of the whole run)"
    return table(title, headers[: max(map(len, rows.values()))], rows)


def outputs_table(measured: Measurement) -> str:
    rows = {player: [player.version, ", ".join(sorted(own.digests))] for player, own in measured.figures.items()}
    return table("## Versions, and what everyone was told", ["version", "digest of final texts and tool outputs"], rows)


def table(title: str, headers: Sequence[str], rows: Mapping[Player, Sequence[str]]) -> str:
    """A section with a row a player; none where there is nothing yet."""
    if not headers:
        return ""
    cells = [[player.peer.name, *row] for player, row in rows.items()]
    return f"{title}\n\n{tabulate(cells, headers=['', *headers], tablefmt='github', disable_numparse=True)}"


def main() -> int:
    """Prints the tables; exits with 1 where players were told different things."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--levels", type=int, nargs="+", default=LEVELS, help="how many episodes at once (1 16 128)")
    parser.add_argument("--python", nargs="+", default=[], metavar="NAME=PATH", help="tool_env, verifiers, inspect")
    parser.add_argument("--players", nargs="+", metavar="WORD", help="only those with such a word in their name")
    parser.add_argument(
        "--page", type=Path, help="a page below whose mark the tables are written, again after each piece"
    )
    parser.add_argument("--smoke", action="store_true", help="the harness and aiohttp, four episodes: seconds")
    args = parser.parse_args()
    if args.page and not args.page.is_file():
        parser.error(f"--page: there is no file {args.page} whose tables could be written")
    players = find_players(dict(pair.split("=", 1) for pair in args.python))
    players = [one for one in players if not args.players or any(word in one.peer.name for word in args.players)]
    with tempfile.TemporaryDirectory() as folder:
        few = Episodes(["ftrl_*"], 1 if args.smoke else SHARE // 3, Path(folder) / "few")
        if args.smoke:
            measured = Measurement([players[0], players[-1]], few, few)
            stages: Iterable[Callable[[], None]] = [
                partial(measured.measure_cpu, 2),
                partial(measured.measure_span, 4),
                partial(measured.measure_fault, "error"),
            ]
        else:
            measured = Measurement(players, Episodes(["ftrl_*"], SHARE, Path(folder) / "all"), few)
            stages = measured.stages(args.rounds, args.levels)
        for stage in stages:
            stage()
            if args.page and measured.expected:
                write(args.page, measured)
    print(show(measured))
    return 0 if len({one for figures in measured.figures.values() for one in figures.digests}) == 1 else 1


def write(page: Path, measured: Measurement) -> None:
    before = page.read_text(encoding="utf-8").partition(MARK)[0]
    page.write_text(f"{before}{MARK}\n{show(measured)}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
