"""Validated environments a second (goal: 40 at level paper on 2 free cores), how that and memory grow with number.

    python benchmarks/build.py [--sizes 100 1000 10000] [--level paper] [--smoke]
    python benchmarks/build.py --parts [--level hard]
    python benchmarks/build.py --against PYTHON [--sizes 100] [--level hard] [--rounds 5]

Each size is one `harness build` in a process of its own; memory is the highest resident size of the parent and of its
largest child, in MiB. `--parts` says where CPU goes, one process doing all in turn. `--against` builds the same by
another checkout's Python, in turn with this one, and says how much dearer that is; both must give the same bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import resource
import statistics
import subprocess
import sys
import tempfile
import time
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


def build(n: int, level: str, out: Path, python: str = sys.executable) -> list[float]:
    """Seconds, CPU seconds, and MiB of parent and largest child."""
    words = ["build", "--n", str(n), "--level", level, "--seed", "1", "--out", str(out), "--quiet"]
    done = subprocess.run(
        [python, "-c", CHILD, *words], capture_output=True, text=True, check=True, cwd=out.parent, env=_environment()
    )
    status, *figures = json.loads(done.stdout.splitlines()[-1])
    if status:
        raise SystemExit(done.stdout + done.stderr)
    return list(figures)


def _environment() -> dict[str, str]:
    """This one's without what would lead another Python to this checkout."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def compare(python: str, n: int, level: str, rounds: int, folder: Path) -> list[list[object]]:
    """CPU ms an environment here and there, built in turn."""
    spent: dict[str, list[float]] = {python: [], sys.executable: []}
    for number in range(rounds):
        outs = []
        for place, (who, found) in enumerate(spent.items()):
            outs.append(folder / f"{number}-{place}.jsonl")
            found.append(build(n, level, outs[-1], who)[1] / n * 1000)
        if outs[0].read_bytes() != outs[1].read_bytes():
            raise SystemExit("The two build different environments.")
    there, here = (statistics.median(found) for found in spent.values())
    return [["there", there, there / here], ["here", here, 1.0]]


def parts(n: int, level: str) -> list[list[object]]:
    """CPU ms an environment by part, all in this process but the sandbox."""
    from envbuilder import making
    from envbuilder.audit.corpus import CorpusAudit, look_at
    from envbuilder.plan import BuildPlan
    from envbuilder.records import QUESTION_KINDS, environment_record
    from envbuilder.spec import preset_of
    from harness.data.records import sample_from_record

    plan = BuildPlan(QUESTION_KINDS, n, level, preset_of(level, 2).levels, 1, "train")  # type: ignore[arg-type]
    making.start_worker()
    making.build_environment_record(plan.spec(n))
    spent, corpus = dict.fromkeys(("generate", "read", "audit", "parent"), 0.0), CorpusAudit()
    for index in range(n):
        marks = [time.process_time()]
        record = environment_record(making.generator_of(2)(plan.spec(index))[-1], plan.split)
        marks.append(time.process_time())
        sample = sample_from_record(record, index, record["id"])
        marks.append(time.process_time())
        making._faults(sample)
        handed = pickle.dumps((record, look_at(sample)))
        marks.append(time.process_time())
        record, look = pickle.loads(handed)
        corpus.add_unless_duplicate(look)
        json.dumps(json.loads(json.dumps(record)))
        marks.append(time.process_time())
        for name, begin, end in zip(spent, marks, marks[1:], strict=False):
            spent[name] += end - begin
    assert making._sandbox is not None
    making._sandbox.close()
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent["tools, in the sandbox (its start too)"] = usage.ru_utime + usage.ru_stime
    return [[name, seconds / n * 1000] for name, seconds in spent.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+")
    parser.add_argument("--level", default="paper")
    parser.add_argument("--parts", action="store_true", help="where the CPU goes")
    parser.add_argument("--against", metavar="PYTHON", help="the Python of another checkout's environment")
    parser.add_argument("--rounds", type=int, default=5, help="builds by either")
    parser.add_argument("--smoke", action="store_true", help="ten environments: seconds")
    args = parser.parse_args()
    sizes = [10] if args.smoke else args.sizes or ([100] if args.parts or args.against else [100, 1000, 10000])
    with tempfile.TemporaryDirectory() as folder:
        if args.parts:
            rows, headers = parts(sizes[0], args.level), ["part", "CPU ms each"]
        elif args.against:
            rows = compare(args.against, sizes[0], args.level, args.rounds, Path(folder))
            headers = ["checkout", "CPU ms each", "times"]
        else:
            rows = [_sized(size, args.level, Path(folder)) for size in sizes]
            headers = ["environments", "seconds", "a second", "CPU ms each", "parent MiB", "largest child MiB"]
    print(tabulate(rows, headers=headers, tablefmt="github", floatfmt=".1f"))


def _sized(size: int, level: str, folder: Path) -> list[object]:
    seconds, cpu, parent, child = build(size, level, folder / f"{size}.jsonl")
    return [size, seconds, size / seconds, cpu / size * 1000, parent, child]


if __name__ == "__main__":
    main()
