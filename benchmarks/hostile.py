"""One hostile episode among many: whether the others keep their records, and how much later the last of them ends.

    python benchmarks/hostile.py                       some twenty minutes: 64 episodes, undisturbed a minute
    python benchmarks/hostile.py --kinds memory exits
    python benchmarks/hostile.py --smoke               seconds: 8 episodes, small limits, no figure to quote

A scripted model, which answers after a second or so as an endpoint does, plays episodes of three sorts: plain tools,
which share workers; a tool that needs a process of its own; and tools on a state. Then the same run is played once for
each way to be hostile, with one more episode that is. A table says how the hostile calls ended, whether the 63 others
have the same records as without it (times aside), and when the last of them ended against the undisturbed run. The exit
status is 1 where a record differs; and, in the full form, where the last one ended more than 1.5 times as late.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.data.schema import Record
from harness.environment import ToolEnvironment
from harness.evaluation.evaluate import play_run
from harness.evaluation.plan import Player, plan_tasks
from harness.sandbox import Sandbox, SandboxConfig, ToolLimits
from harness.scoring.metrics import score
from harness.types import (
    DigestState,
    Gold,
    JSONObject,
    Limits,
    Message,
    Model,
    ModelRequest,
    Reply,
    Sample,
    Task,
    Tool,
    ToolCall,
)

LATEST = 1.5
HOSTILE = ("hostile", "hostile")
Calls = list[tuple[str, JSONObject]]


@dataclass(frozen=True)
class Size:
    episodes: int
    turns: int
    latency: float
    concurrency: int
    sandbox: SandboxConfig
    files: int
    """The soft limit of open files."""


FULL = Size(64, 10, 1.5, 16, SandboxConfig(limits=ToolLimits(process_bytes=1 << 30)), 256)
SMOKE_LIMITS = ToolLimits(turn_seconds=0.5, episode_seconds=1.0, processes=16, process_bytes=200 << 20)
SMOKE = Size(8, 2, 0.05, 8, SandboxConfig(call_timeout=0.3, memory_bytes=1 << 29, limits=SMOKE_LIMITS), 256)

# --- the others --------------------------------------------------------------------------------------------------

FACTS = "FACTS = {f'town {n}': n * 37 % 1009 + 1000 for n in range(400)}\n"
TOOLS = {
    "inhabitants": f"{FACTS}def inhabitants(town):\n    return {{'town': town, 'inhabitants': FACTS[town]}}\n",
    "distance": "def distance(a, b):\n    return {'km': abs(len(a) * 31 - len(b) * 17) + 100}\n",
    "calculate": "def calculate(expression):\n    return eval(expression)\n",
}
BANK = {
    "pay": "def pay(data, amount):\n    data['balance'] -= amount\n    return data\n",
    "note": "def note(data, text):\n    data['notes'].append(text)\n    return len(data['notes'])\n",
}
STATE = json.dumps({"balance": 10_000, "notes": []})


class BankEnvironment(ToolEnvironment):
    """Ends with the digest of its state."""

    def closing(self) -> Generator[DigestState, Any, JSONObject]:
        return {"state": (yield DigestState())}


def sample_of(name: str, codes: dict[str, str], **metadata: Any) -> Sample:
    tools = tuple(Tool(tool, tool, {"type": "object", "properties": {}}) for tool in codes)
    gold = Gold({tool: (str(number * 37 % 1009 + 1000),) for number, tool in enumerate(codes)}, answer="1037")
    return Sample(name, (Message("user", f"What of {name}?"),), tools, codes, gold, metadata)


def quiet_calls(sample: Sample, turn: int) -> Calls:
    number = int(sample.metadata["number"])
    if "pay" in sample.codes:
        return [("pay", {"amount": number + turn}), ("note", {"text": f"turn {turn}"})]
    own: Calls = [("calculate", {"expression": f"{number} * {turn} + 1037"})] if number % 2 else []
    return [("inhabitants", {"town": f"town {number + turn}"}), ("distance", {"a": "x" * turn, "b": "y"}), *own]


# --- the hostile one ---------------------------------------------------------------------------------------------

KEEP = "import builtins\nkept = builtins.__dict__.setdefault('kept', [])\n"
SLOW = "def slow(n):\n    while True:\n        n += 1\n"
FLOOD = "def flood(n):\n    for _ in range(20):\n        print('x' * 10 ** 5)\n    return str(n) + 'y' * 10 ** 7\n"
TINY = "def tiny(n):\n    return n\n"
FILES = """import os
def {name}(n):
    found = 0
    try:
        while True:
            os.dup(3)
            found += 1
    except OSError:
        return found
"""
HOLD = KEEP + "def {name}(n):\n    kept.append(bytes([1]) * (60 << 20))\n    return len(kept)\n"
OWN = "def {name}(n):\n    return eval('n')\n"
CACHE = "def cache(n):\n    kept = [bytes([1]) * (260 << 20)]\n    kept.append(kept)\n    return len(kept)\n"
EXIT = "import os\ndef leave(n):\n    os._exit(n % 3)\n"
DEEP = """def deep(n):
    if n % 2:
        return '[' * 50_000 + ']' * 50_000
    found = []
    for _ in range(900):
        found = [found]
    return found
"""
LONG = "def long(n, x):\n    return [n, len(x)]\n"


def many_of(source: str, number: int) -> dict[str, str]:
    return {f"tool_{n}": source.format(name=f"tool_{n}") for n in range(number)}


def each(codes: dict[str, str], times: int) -> Callable[[int], Calls]:
    return lambda turn: [(name, {"n": n}) for n in range(times) for name in codes]


@dataclass(frozen=True)
class Hostile:
    codes: dict[str, str]
    calls: Callable[[int], Calls]
    """Of a turn."""


def hostile_ways(smoke: bool) -> dict[str, Hostile]:
    many = 25 if smoke else 250
    files, hold, own = many_of(FILES, many), many_of(HOLD, 12), many_of(OWN, many)
    return {
        "slow": Hostile({"slow": SLOW}, each({"slow": ""}, many)),
        "flood": Hostile({"flood": FLOOD}, each({"flood": ""}, many)),
        "many": Hostile({"tiny": TINY}, each({"tiny": ""}, 80 * many)),
        "descriptors": Hostile(files, each(files, 1)),
        "memory": Hostile(hold, each(hold, 1 if smoke else 8)),
        "processes": Hostile(own, each(own, 1)),
        "cache": Hostile({"cache": CACHE}, each({"cache": ""}, many // 5)),
        "exits": Hostile({"leave": EXIT}, each({"leave": ""}, many)),
        "deep": Hostile({"deep": DEEP}, each({"deep": ""}, many)),
        "arguments": Hostile(
            {"long": LONG}, lambda turn: [("long", {"n": n, "x": "1,(" * 300_000}) for n in range(2 if smoke else 20)]
        ),
    }


# --- a run -------------------------------------------------------------------------------------------------------


class Script(Model):
    """Says what the sample's script has for the turn, and nothing more after the last; the hostile one goes on for as
    long as there are others."""

    name = "script"

    def __init__(self, size: Size, hostile: Hostile | None) -> None:
        self.fingerprint = {"name": self.name}
        self.size, self.hostile = size, hostile
        self.others = size.episodes - 1

    async def __call__(self, request: ModelRequest) -> Reply:
        await asyncio.sleep(self.size.latency)
        if request.turn == self.size.turns or not self.others:
            self.others -= request.task != "hostile"
            return Reply(Message("assistant", "Answer: 1037"), finish_reason="stop")
        hostile = self.hostile if request.task == "hostile" else None
        said = hostile.calls(request.turn) if hostile else quiet_calls(request.sample, request.turn)
        calls = [
            ToolCall(f"call_{request.turn}_{n}", name, told, json.dumps(told)) for n, (name, told) in enumerate(said)
        ]
        return Reply(Message("assistant", tool_calls=tuple(calls)), finish_reason="tool_calls")


def tasks_of(size: Size, hostile: Hostile | None) -> list[Task]:
    """The hostile one begins with the first; undisturbed, one like the others has its place."""
    others = [sample_of(f"episode {n}", BANK if n % 3 == 0 else TOOLS, number=n) for n in range(size.episodes)]
    banks, plain = ([one for one in others[1:] if ("pay" in one.codes) is wanted] for wanted in (True, False))
    first = sample_of("hostile", hostile.codes if hostile else TOOLS, number=0)
    return [
        Task("hostile", lambda: [first], ToolEnvironment, score),
        Task("plain", lambda: plain, ToolEnvironment, score),
        Task("bank", lambda: banks, BankEnvironment, score, state=lambda sample: STATE),
    ]


@dataclass(frozen=True)
class Played:
    records: dict[tuple[str, str], Record]
    ends: dict[tuple[str, str], float]
    """Seconds after the run began."""

    def others(self) -> dict[tuple[str, str], Record]:
        """What must not change."""
        kept = {key: record for key, record in self.records.items() if key[0] != "hostile"}
        return {key: {**record, "timing": {}} for key, record in kept.items()}

    @property
    def last(self) -> float:
        return max(end for (task, _), end in self.ends.items() if task != "hostile")


def play(size: Size, hostile: Hostile | None) -> Played:
    records: dict[tuple[str, str], Record] = {}
    ends: dict[tuple[str, str], float] = {}
    plan = replace(plan_tasks(tasks_of(size, hostile), {}), limits=Limits(max_turns=size.turns + 1))
    with Sandbox(size.sandbox) as sandbox, tempfile.TemporaryDirectory() as folder:
        assert sandbox.layers
        began = time.monotonic()

        def keep(record: Record) -> None:
            key = record["task"], record["sample"]
            records[key], ends[key] = record, time.monotonic() - began

        play_run(plan, Player(Script(size, hostile), sandbox, size.concurrency), Path(folder) / "run", watch=keep)
    return Played(records, ends)


# --- what is told ------------------------------------------------------------------------------------------------


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="seconds")
    parser.add_argument("--kinds", nargs="+", choices=hostile_ways(True), metavar="KIND", help="only these")
    options = parser.parse_args()
    size, ways = SMOKE if options.smoke else FULL, hostile_ways(options.smoke)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (size.files, hard))
    quiet = play(size, None)
    print(f"undisturbed: {len(quiet.records)} episodes, the last ended after {quiet.last:.1f} s\n")
    print("| hostile by | its calls | records that differ | the last of the others, s | times undisturbed |")
    print("|---|---|---|---|---|", flush=True)
    kinds = options.kinds or list(ways)
    failed = [kind for kind in kinds if not report(kind, play(size, ways[kind]), quiet, options.smoke)]
    if failed:
        print(f"\nnot held: {', '.join(failed)}")
    return 1 if failed else 0


def report(kind: str, played: Played, quiet: Played, smoke: bool) -> bool:
    """Prints the row of a kind; whether the others had nothing to pay."""
    before, after = quiet.others(), played.others()
    differing = [key for key, record in before.items() if record != after.get(key)]
    calls = Counter(call["status"] for call in played.records[HOSTILE]["calls"])
    told = ", ".join(f"{number:,} {status}" for status, number in calls.most_common())
    ratio = played.last / quiet.last
    print(f"| {kind} | {told} | {len(differing)} of {len(before)} | {played.last:.1f} | {ratio:.2f} |", flush=True)
    for key in differing:
        now: dict[str, Any] = dict(after.get(key, {}))
        fields = [name for name, value in before[key].items() if now.get(name) != value]
        print(f"{kind}: {key} differs in {', '.join(fields)}", file=sys.stderr)
    return not differing and (smoke or ratio <= LATEST)


if __name__ == "__main__":
    sys.exit(main())
