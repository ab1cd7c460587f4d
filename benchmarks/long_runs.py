"""What a run of N episodes costs whoever plays or reads it: CPU seconds and peak memory of each command, each in a
process of its own.

Stated limits: peak memory at most 1.3 times that at the smallest size plus 2 KB an episode, and 60 s of CPU.

python benchmarks/long_runs.py [--episodes 1000 10000 100000] [--smoke]

The runs that are read hold the episodes of policy/random on `demo_*`, repeated under the keys of further epochs, so
that a resumed evaluation takes them for its own; of each, its last 12 episodes are left to resume. Episodes are played
by policy/silent: what tools take is benchmarks/sandbox.py.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tabulate import tabulate

from harness.runs.record import key_of
from harness.types import Limits, Reasoning, RunKey, Sampling

SIZES = (1_000, 10_000, 100_000)
GROWTH, PER_EPISODE, CPU = 1.3, 2_048, 60.0
LEFT = 12
PLAYED = 8
"""Epochs that are really played."""
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(done.returncode, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024)
"""


@dataclass(frozen=True)
class Cost:
    """Of one command on so many episodes: CPU seconds, and peak memory in bytes."""

    command: str
    episodes: int
    seconds: float
    memory: int

    def row(self, smallest: Cost) -> list[str]:
        limit = GROWTH * smallest.memory + PER_EPISODE * self.episodes
        kept = self.memory <= limit and self.seconds <= CPU
        cells = [f"{self.seconds:.1f}", f"{self.memory / 1e6:.0f}", f"{limit / 1e6:.0f}", "yes" if kept else "no"]
        return [self.command, f"{self.episodes:,}", *cells]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, nargs="+", default=list(SIZES), help="sizes, the smallest first")
    parser.add_argument("--smoke", action="store_true", help="a few episodes: does it run")
    args = parser.parse_args()
    sizes = [240] if args.smoke else args.episodes
    with tempfile.TemporaryDirectory() as folder:
        played = Path(folder) / "played"
        measure("", 0, *evaluation("policy/random", PLAYED, played))
        costs = [cost for size in sizes for cost in measure_size(played, size, Path(folder) / str(size))]
    smallest = {cost.command: cost for cost in reversed(costs)}
    names = dict.fromkeys(cost.command for cost in costs)
    rows = [cost.row(smallest[name]) for name in names for cost in costs if cost.command == name]
    heads = ["command", "episodes", "CPU s", "peak MB", "limit MB", "within"]
    print(tabulate(rows, heads, disable_numparse=True, colalign=["left", *["right"] * 5]))


def measure_size(played: Path, size: int, folder: Path) -> Iterator[Cost]:
    """All commands on runs of one size."""
    epochs = -(-size // (len(read_records(played)) // PLAYED))
    first, second = folder / "first", folder / "second"
    repeat(played, first, epochs, 0)
    repeat(played, second, epochs, 1)
    sample = read_records(played)[0]["sample"]
    yield measure("eval", size, *evaluation("policy/silent", epochs, folder / "silent"))
    measure("", size, *evaluation("policy/random", epochs, second), "--resume")
    yield measure("eval --resume", size, *evaluation("policy/random", epochs, first), "--resume")
    yield measure("table", size, "table", str(first))
    yield measure("compare", size, "compare", str(first), str(second))
    yield measure("show", size, "show", str(first))
    yield measure("show, a transcript", size, "show", str(first), sample, "--epoch", "0")
    yield measure("report", size, "report", str(first), "--out", str(folder / "report.html"))
    shutil.rmtree(folder)


def evaluation(model: str, epochs: int, out: Path) -> list[str]:
    return ["eval", "--model", model, "--tasks", "demo_*", "--epochs", str(epochs), "--out", str(out), "--quiet"]


def measure(name: str, size: int, *words: str) -> Cost:
    """Runs `harness WORDS`, by a small process that measures it alone."""
    command = [sys.executable, "-c", MEASURE, sys.executable, "-m", "harness.cli", *words]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    status, seconds, memory = done.stdout.split()
    if status != "0":
        raise SystemExit(f"harness {' '.join(words)} ended with status {status}: {done.stderr}")
    return Cost(name, size, float(seconds), int(memory))


def read_records(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "samples.jsonl").read_text("utf-8").splitlines()]


def repeat(played: Path, out: Path, epochs: int, shift: int) -> None:
    """The run as if it had been played in so many epochs, but for its last episodes. `shift`: which of the episodes of
    a sample comes first, so that two runs differ."""
    manifest = json.loads((played / "manifest.json").read_text("utf-8"))
    manifest["identity"]["epochs"] = epochs
    own: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for record in read_records(played):
        own.setdefault((record["task"], record["sample"]), []).append(record)
    places = [(records, epoch) for records in own.values() for epoch in range(epochs)]
    out.mkdir(parents=True)
    (out / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with (out / "samples.jsonl").open("w", encoding="utf-8") as file:
        for records, epoch in places[:-LEFT]:
            record = records[(epoch + shift) % len(records)]
            key = key_at(manifest["identity"], record, epoch)
            text = json.dumps({**record, "key": key, "epoch": epoch}, ensure_ascii=False, separators=(",", ":"))
            file.write(text + "\n")


def key_at(identity: dict[str, Any], record: dict[str, Any], epoch: int) -> str:
    """The key of a record's sample in an epoch of this run."""
    key = RunKey(
        task=record["task"],
        task_fingerprint=identity["tasks"][record["task"]],
        sample=record["sample"],
        epoch=epoch,
        model=identity["model"],
        model_fingerprint=identity["model_fingerprint"],
        reasoning=Reasoning(),
        sampling=Sampling(**identity["sampling"]),
        limits=Limits(**identity["limits"]),
    )
    return key_of(key)


if __name__ == "__main__":
    main()
