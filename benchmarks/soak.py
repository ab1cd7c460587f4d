"""Faults at random, for a while: nothing may be lost, nothing counted twice, and no number may change.

    python benchmarks/soak.py                    30 minutes
    python benchmarks/soak.py --minutes 5 --seed 3
    python benchmarks/soak.py --smoke            one round: seconds

A run of the episodes of benchmarks/hostile.py (plain tools, tools with a process of their own, tools on a state) is
played by a process that is started anew, with resume, until it is complete. Meanwhile the endpoint fails in six ways
(scripted_server.MIXED), and one of these befalls the process every so often: it is killed; it is interrupted; the
sandbox's launcher is killed; a worker is; it has no open files left for a moment; and a torn line is left in the
records when it is gone. Round after round, with other seeds. Compared with an undisturbed run: the episodes that count,
how often each does, and the summary. The exit status is 1 where any of it differs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from hostile import SMOKE, quiet_calls, tasks_of
from scripted_server import Script, ScriptedServer

from harness.evaluation.evaluate import evaluate
from harness.evaluation.plan import Plan, Player, plan_tasks
from harness.models import ModelOptions, load_model
from harness.sandbox import Sandbox, SandboxConfig

TURNS = 4
FAULTS = ("kill", "interrupt", "kill launcher", "kill worker", "no files")
QUIET_AFTER = 8
"""Starts after which a round is left in peace, so that it ends."""


def planned(episodes: int) -> Plan:
    return plan_tasks(tasks_of(replace(SMOKE, episodes=episodes), None), {})


def script_of(plan: Plan) -> Script:
    script: dict[str, list[dict[str, Any]]] = {}
    for _, sample, _ in plan:
        said: list[dict[str, Any]] = []
        for turn in range(TURNS):
            calls = [
                {"id": f"c{turn}_{n}", "type": "function", "function": {"name": name, "arguments": json.dumps(told)}}
                for n, (name, told) in enumerate(quiet_calls(sample, turn))
            ]
            said.append({"content": None, "tool_calls": calls})
        script[sample.messages[0].content] = [*said, {"content": "Answer: 1037"}]
    return script


def play(url: str, out: Path, episodes: int) -> None:
    """What the process does."""
    arguments = {"timeout": "2", "max_retry_wait": "0.3"}
    model = load_model("openai/m", ModelOptions(arguments, url, 16, environ={}))
    with Sandbox(SandboxConfig(workers=2)) as sandbox:
        evaluate(planned(episodes), Player(model, sandbox, 16), out, resume=True)


# --- faults ------------------------------------------------------------------------------------------------------


def children_of(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def befall(player: subprocess.Popen[bytes], fault: str, chance: random.Random) -> bool:
    """Whether there was anything that it could befall."""
    launchers = children_of(player.pid)
    workers = [pid for launcher in launchers for pid in children_of(launcher)]
    victims = {"kill": [player.pid], "interrupt": [player.pid], "kill launcher": launchers, "kill worker": workers}
    if fault == "no files":
        return starve(player.pid)
    if not victims[fault]:
        return False
    with suppress(ProcessLookupError):
        os.kill(chance.choice(victims[fault]), signal.SIGINT if fault == "interrupt" else signal.SIGKILL)
    return True


def starve(pid: int) -> bool:
    """No descriptor above those that are open, for a moment."""
    with suppress(OSError):
        before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (10, before[1]))
        time.sleep(0.3)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
        return True
    return False


def play_disturbed(url: str, out: Path, episodes: int, seed: int) -> Counter[str]:
    """Until the run is complete; what befell it."""
    chance = random.Random(seed)
    befell: Counter[str] = Counter()
    command = [sys.executable, __file__, "--play", url, str(out), str(episodes)]
    while not is_complete(out, episodes):
        befell["start"] += 1
        if befell["start"] > 10 * QUIET_AFTER:
            raise SystemExit(f"the run in {out} does not become complete")
        player = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while player.poll() is None:
            time.sleep(chance.uniform(0.1, 1.5))
            fault = chance.choice(FAULTS)
            if befell["start"] <= QUIET_AFTER and player.poll() is None and befall(player, fault, chance):
                befell[fault] += 1
        if befell["start"] <= QUIET_AFTER and (out / "samples.jsonl").exists() and chance.random() < 0.5:
            befell["torn line"] += 1
            with (out / "samples.jsonl").open("ab") as file:
                file.write(b'{"schema": 1, "key": "torn')
    return befell


# --- what came of it ---------------------------------------------------------------------------------------------


def records_of(out: Path) -> list[dict[str, Any]]:
    """Those that can be read and that count."""
    found = []
    with suppress(FileNotFoundError):
        for line in (out / "samples.jsonl").read_text(encoding="utf-8", errors="replace").splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return [record for record in found if record["outcome"] != "infrastructure_error"]


def is_complete(out: Path, episodes: int) -> bool:
    return (out / "summary.json").exists() and len({record["key"] for record in records_of(out)}) >= episodes


def told_by(out: Path) -> dict[str, Any]:
    """What a summary says of the model; how often requests were repeated is the endpoint's doing."""
    summary = json.loads((out / "summary.json").read_text())
    return {name: summary[name] for name in ("model", "reasoning", "verifier", "tasks", "groups")}


def compare(out: Path, quiet: Path) -> list[str]:
    """What differs."""
    counts, wanted = (Counter((one["task"], one["sample"]) for one in records_of(run)) for run in (out, quiet))
    lost, twice = wanted.keys() - counts.keys(), [key for key, number in counts.items() if number > 1]
    found = [f"{len(lost)} lost"] if lost else []
    found += [f"{len(twice)} twice"] if twice else []
    return found + (["another summary"] if told_by(out) != told_by(quiet) else [])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--smoke", action="store_true", help="one round of few episodes")
    parser.add_argument("--play", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.play:
        url, out, episodes = options.play
        play(url, Path(out), int(episodes))
        return 0
    return soak(12 if options.smoke else 120, 0.0 if options.smoke else options.minutes, options.seed)


def soak(episodes: int, minutes: float, seed: int) -> int:
    """At least one round."""
    end = time.monotonic() + 60 * minutes
    script = script_of(planned(episodes))
    befell: Counter[str] = Counter()
    rounds, differing = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        quiet = Path(folder) / "quiet"
        with ScriptedServer(script, 0.1) as server:
            play(server.url, quiet, episodes)
        with ScriptedServer(script, 0.1, "any") as server:
            while rounds == 0 or time.monotonic() < end:
                out = Path(folder) / str(rounds)
                befell += play_disturbed(server.url, out, episodes, seed + rounds)
                differing += [f"seed {seed + rounds}: {what}" for what in compare(out, quiet)]
                rounds += 1
    told = ", ".join(f"{number} {fault}" for fault, number in sorted(befell.items()))
    print(f"{rounds} rounds of {episodes} episodes, through {told}, and one request in eight that failed")
    print("\n".join(differing) or "0 lost, 0 twice, the summary of an undisturbed run")
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
