"""CPU seconds of `harness --help` in a fresh process (stated limit: 0.3), beside `python -c pass`.

python benchmarks/startup.py [--rounds 15]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

from tabulate import tabulate

COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "harness --help": [sys.executable, "-m", "harness.cli", "--help"],
}


def cpu_seconds(words: list[str]) -> float:
    """User and system time of one process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    measured = {name: [cpu_seconds(words) for _ in range(rounds)] for name, words in COMMANDS.items()}
    rows = [[name, statistics.median(values), max(values)] for name, values in measured.items()]
    print(tabulate(rows, headers=["command", "median CPU s", "highest"], tablefmt="github", floatfmt=".3f"))


if __name__ == "__main__":
    main()
