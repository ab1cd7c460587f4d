"""CPU seconds of commands in a fresh process: `harness --help` (stated limit: 0.3), `list`, and `table` of five runs.

    python benchmarks/startup.py [--rounds 15] [--smoke]

The runs are five policies on the demo, played first. Beside them `python -c pass` and the import of scipy.special,
without which there is no interval.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

HARNESS = [sys.executable, "-m", "harness.cli"]
POLICIES = ("oracle", "silent", "random", "echo", "shotgun")


def commands(runs: list[str]) -> dict[str, list[str]]:
    return {
        "python -c pass": [sys.executable, "-c", "pass"],
        "harness --help": [*HARNESS, "--help"],
        "harness list": [*HARNESS, "list"],
        "import scipy.special": [sys.executable, "-c", "import scipy.special"],
        "harness table, five runs": [*HARNESS, "table", *runs],
    }


def play(folder: Path) -> list[str]:
    """Five runs."""
    runs = [str(folder / name) for name in POLICIES]
    for name, run in zip(POLICIES, runs, strict=True):
        words = ["eval", "--model", f"policy/{name}", "--tasks", "demo_*", "--out", run, "--quiet"]
        subprocess.run([*HARNESS, *words], stdout=subprocess.DEVNULL, check=True)
    return runs


def cpu_seconds(words: list[str]) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true", help="one round")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        known = commands(play(Path(folder)))
        measured: dict[str, list[float]] = {name: [] for name in known}
        for _ in range(1 if args.smoke else args.rounds):
            for name, words in known.items():
                measured[name].append(cpu_seconds(words))
    rows = [[name, statistics.median(values), min(values), max(values)] for name, values in measured.items()]
    headers = ["command", "median CPU s", "least", "most"]
    print(tabulate(rows, headers=headers, tablefmt="github", floatfmt=".3f"))


if __name__ == "__main__":
    main()
