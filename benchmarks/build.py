"""Validated environments a second (goal: 50 on 2 cores), how that grows with their number, and how memory does.

    python benchmarks/build.py [--sizes 100 1000 10000] [--level paper]

Each size is one `harness build` in a process of its own; memory is the highest resident size of the parent and of its
largest child, in MiB.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from tabulate import tabulate

CHILD = """
import json, resource, sys, time
from harness.cli import main
began = time.perf_counter()
status = main(sys.argv[1:])
seconds = time.perf_counter() - began
usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
cpu = sum(u.ru_utime + u.ru_stime for u in usage)
print(json.dumps([status, seconds, cpu, *(u.ru_maxrss / 1024 for u in usage)]))
"""


def build(n: int, level: str, folder: Path) -> list[float]:
    """Seconds, CPU seconds, and MiB of parent and largest child."""
    words = ["build", "--n", str(n), "--level", level, "--seed", "1", "--out", str(folder / f"{n}.jsonl"), "--quiet"]
    done = subprocess.run([sys.executable, "-c", CHILD, *words], capture_output=True, text=True, check=True)
    status, *figures = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise SystemExit(done.stdout + done.stderr)
    return list(figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10000])
    parser.add_argument("--level", default="paper")
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            seconds, cpu, parent, child = build(size, args.level, Path(folder))
            rows.append([size, seconds, size / seconds, cpu / size * 1000, parent, child])
    headers = ["environments", "seconds", "a second", "CPU ms each", "parent MiB", "largest child MiB"]
    print(tabulate(rows, headers=headers, tablefmt="github", floatfmt=".1f"))


if __name__ == "__main__":
    main()
