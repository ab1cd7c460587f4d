"""A row of the paper's table rehearsed on two cores: how long it takes, and that one killed twice gives the same table.

Stated limits: eight columns in at most 20 minutes; after two kills and --resume the identical table, and the identical
change of every parameter.

python benchmarks/rehearsal.py [--smoke]

The data are rows of our own in the packing of the paper's repository (tests/fakes/ftrl_repository.py). The whole
reproduction is killed (SIGKILL), once in the second evaluation and once in the second training. --smoke prints the plan
of the same and runs nothing.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests"
LIMIT = 20 * 60.0
KILLED_AT = ("evaluation/base/toolhop/manifest.json", "round-2/train/run.json")
"""Files whose appearance in the directory is when the reproduction is killed."""
POLL = 0.05


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smoke", action="store_true", help="only the plan")
    smoke = parser.parse_args().smoke
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder) / "FTRL")
        if smoke:
            sys.exit(subprocess.run(command(data, Path(folder) / "out", "--dry-run")).returncode)
        sys.exit(measure(data, Path(folder)))


def measure(data: Path, folder: Path) -> int:
    """Both ways; returns 1 where a limit is not kept."""
    begun, before = time.monotonic(), cpu_seconds()
    whole = run_in(data, folder / "whole")
    seconds, cpu = time.monotonic() - begun, cpu_seconds() - before
    print(whole[0])
    killed = run_killed(data, folder / "killed")
    same = whole == killed
    print(f"\n{seconds:.0f} s, {cpu:.0f} of them CPU (limit {LIMIT:.0f} s)")
    found = "the identical table and weights" if same else "NOT THE SAME"
    print(f"killed at {' and '.join(KILLED_AT)}, and resumed: {found}")
    if not same:
        print(killed[0])
    return 0 if same and seconds <= LIMIT else 1


def write_data(folder: Path) -> Path:
    sys.path.insert(0, str(TESTS))
    fake: Any = importlib.import_module("fakes.ftrl_repository")
    return Path(fake.write_repository(folder))


def command(data: Path, out: Path, *more: str) -> list[str]:
    words = ["reproduce", "table2", "--row", "qwen3-8b-grpo", "--rehearse", "--quiet", "--data", f"ftrl={data}"]
    return [sys.executable, "-m", "harness.cli", *words, "--out", str(out), *more]


def run_in(data: Path, out: Path, *more: str) -> tuple[str, Any]:
    """The table of a run to its end, and how much each parameter changed."""
    done = subprocess.run(command(data, out, *more), stdout=subprocess.DEVNULL)
    if done.returncode:
        sys.exit(f"the rehearsal ended with status {done.returncode}")
    changes = json.loads((out / "changes.json").read_text(encoding="utf-8"))
    return (out / "table.txt").read_text(encoding="utf-8"), changes["cells"]


def run_killed(data: Path, out: Path) -> tuple[str, Any]:
    """The same of a run that is killed twice and resumed."""
    for number, mark in enumerate(KILLED_AT):
        more = ["--resume"] if number else []
        process = subprocess.Popen(command(data, out, *more), stdout=subprocess.DEVNULL)
        while not (out / mark).exists() and process.poll() is None:
            time.sleep(POLL)
        if process.poll() is not None:
            sys.exit(f"the rehearsal ended before {mark} was there")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(2)  # the step that was running is told by the kernel, and ends
    return run_in(data, out, "--resume")


def cpu_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
