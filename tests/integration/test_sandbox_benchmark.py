"""`benchmarks/sandbox.py --smoke` measures every way, in seconds and without data."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "benchmarks/sandbox.py"


def test_the_sandbox_benchmark_runs_without_data() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT), "--smoke"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    for way in ("a round trip over a socketpair", "arun, 1 live", "arun, 64 live", "batches of 64"):
        [row] = [line for line in done.stdout.splitlines() if way in line]
        assert float(row.split("|")[2]) > 0
