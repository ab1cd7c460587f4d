"""What a command costs, with everything that it starts: CPU seconds, seconds, and the most memory at once.

    costs = measure(["harness", "eval", ...], memory=True)

The command runs under a process of its own that adopts whatever the command leaves behind, so that every process is
counted when it ends. Memory is sampled ten times a second: what each process has for itself and its share of what it
has with others (PSS), which takes CPU time that is not the command's; leave it out where time is measured.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True)
class Costs:
    """Of one command; `errors` is the end of what it said on standard error."""

    status: int
    cpu: float
    seconds: float
    mebibytes: float
    errors: str


def measure(
    command: Sequence[str], memory: bool = False, timeout: float = 1800, environ: Mapping[str, str] | None = None
) -> Costs:
    """Runs a command; one that takes longer than `timeout` is killed with its processes, and has status 124."""
    words = [sys.executable, __file__, "memory" if memory else "time", *command]
    pipe = subprocess.PIPE
    with subprocess.Popen(words, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=environ) as process:
        try:
            said, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return Costs(124, 0.0, timeout, 0.0, f"not done after {timeout:g} s")
    status, cpu, seconds, mebibytes = json.loads(said)
    return Costs(status, cpu, seconds, mebibytes, errors[-2000:])


# --- the process in between --------------------------------------------------------------------------------------


def main(how: str, *command: str) -> None:
    """Runs the command and prints what it cost."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    began = time.perf_counter()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    highest = watch(process) if how == "memory" else 0.0
    status = process.wait()
    seconds = time.perf_counter() - began
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(json.dumps([status, used.ru_utime + used.ru_stime, seconds, highest]))


def watch(process: subprocess.Popen[bytes]) -> float:
    """Waits for the process; the most that it and its descendants had at once, in MiB."""
    highest = 0.0
    while process.poll() is None:
        highest = max(highest, sum(map(memory_of, descendants(os.getpid()))) / 1024)
        time.sleep(0.1)
    return highest


def descendants(pid: int) -> Iterator[int]:
    """Children and theirs, as long as they live."""
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                yield child
                yield from descendants(child)


def memory_of(pid: int) -> int:
    """KiB; 0 where the process is gone."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))
    except (ProcessLookupError, FileNotFoundError, StopIteration):
        return 0


if __name__ == "__main__":
    main(*sys.argv[1:])
