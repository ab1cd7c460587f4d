"""Runs what is left of a reproduction, a process a step, and shows the table.

A process of its own gives back a network's memory, and ends with this one: the kernel tells it when this one was
killed. What is over is read from what the steps left, so the same command with --resume goes on anywhere.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from harness.console.text import one_line, printable
from harness.data import jsonio
from harness.errors import UsageError
from harness.models.local.vllm_process import DIES_WITH_PARENT
from harness.runs.claims import claim_directory, is_free
from harness.types import JSONObject
from trainer.reproduction.plan import BENCHMARKS, Reproduction, Step, digest_data, find_nothing_to_train_on
from trainer.reproduction.table import make_table

SCHEMA = 1
IDENTITY, TABLE = "reproduction.json", "table.txt"
LATER = ("data", "user")
"""Parts of an identity by name: what was missing may come, as where they were not kept when it was begun."""
Call = Callable[[Sequence[str]], int]
"""Runs `harness` with some words, and gives its exit status."""


def reproduce(
    request: Reproduction, steps: Sequence[Step], missing: Mapping[str, str], resume: bool, call: Call
) -> int:
    """Everything that is left. Returns 1 where something is left to do, or failed; raises UsageError for a directory
    that holds anything else."""
    identity = identify(request, missing)
    path = request.out / IDENTITY
    with claim_directory(request.out, lambda: find(path, identity, resume), lambda: identity) as whole:
        jsonio.write_json(path, whole)
        status = 0
        for number, step in enumerate(steps, start=1):
            if not is_over(step):
                print(printable(f"\n[{number}/{len(steps)}] {step.title}"), flush=True)
                status = max(status, run_step(step, call))
            if not step.result.exists():
                return tell_what_is_left(step, request)
        table = make_table(request, missing)
        jsonio.write_atomically(request.out / TABLE, f"{table}\n")
        print(printable(f"\n{table}\n\nThe table: {request.out / TABLE}; what training changed: {steps[-1].result}"))
    return status


def identify(request: Reproduction, missing: Mapping[str, str]) -> JSONObject:
    """What makes a reproduction this one and no other. The parts of LATER may be missing at first."""
    return {
        "schema": SCHEMA,
        "row": request.row.name,
        "model": request.weights,
        "backend": request.backend,
        "trainer": request.trainer,
        "set": dict(request.changes),
        "collect": list(request.sizes.collect),
        "evaluate": list(request.sizes.evaluate),
        "train": dict(request.sizes.train),
        "data": digest_data(request, missing),
        "user": dict(zip(request.user[:1], request.user[1:2], strict=True)),
    }


def find(path: Path, identity: JSONObject, resume: bool) -> JSONObject | None:
    """The reproduction that is there to go on with, and what came to it; None where it can begin."""
    if not path.is_file():
        if not is_free(path.parent, IDENTITY):
            raise UsageError(f"--out {path.parent} holds something else than a reproduction; name another directory.")
        return None
    try:
        there = jsonio.read_json(path, links=False)
    except (OSError, ValueError):
        there = None
    differing = [name for name in identity if not isinstance(there, dict) or _differs(name, there, identity)]
    if differing:
        raise UsageError(
            f"--out {path.parent} holds another reproduction (another {', '.join(differing)}); name another directory."
        )
    if not resume:
        raise UsageError(f"--out {path.parent} holds this reproduction already; go on with it by --resume.")
    return identity | {name: {**there.get(name, {}), **identity[name]} for name in LATER}


def _differs(name: str, there: JSONObject, identity: JSONObject) -> bool:
    if name not in LATER:
        return bool(there.get(name) != identity[name])
    known = there.get(name, {})
    return not isinstance(known, dict) or any(known.get(part, now) != now for part, now in identity[name].items())


# --- one step ----------------------------------------------------------------------------------------------------


def is_over(step: Step) -> bool:
    """Whether nothing is left of a step: its result is there, and of an evaluation no episode was lost."""
    return step.result.exists() and not (step.result.name == "summary.json" and has_lost_episodes(step.result))


def has_lost_episodes(summary: Path) -> bool:
    """Whether a run has episodes that --resume plays again."""
    try:
        tasks = jsonio.read_json(summary, links=False)["tasks"].values()
        return any("infrastructure_error" in task["outcomes"] for task in tasks)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return True


def run_step(step: Step, call: Call) -> int:
    """Runs its command where it has one. Returns the exit status."""
    if not step.words:
        return 0
    resume = ["--resume"] if step.out is not None and step.out.exists() else []
    return call([*step.words, *resume])


def call_harness(words: Sequence[str]) -> int:
    """`harness WORDS` in a process that ends with this one."""
    command = [sys.executable, "-m", "harness.cli", *words]
    with subprocess.Popen([sys.executable, "-c", DIES_WITH_PARENT, str(os.getpid()), *command]) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()  # it was interrupted too, and keeps what it has
            raise


def tell_what_is_left(step: Step, request: Reproduction) -> int:
    """Says on stderr how to go on after a step that left no result; returns the exit status."""
    go_on = f"go on with the same command and --resume --out {shlex.quote(str(request.out))}."
    if step.by_hand:
        lines = "\n".join(f"  {line}" for line in step.by_hand)
        said = f"Now it is yours to run, with N the last step that was saved:\n{lines}\nThen {go_on}"
    else:
        said = f"Stopped at {step.title!r}, which left no {step.result.name}. Once that is mended, {go_on}"
    print(printable(said), file=sys.stderr)
    return 1


# --- the plan as text --------------------------------------------------------------------------------------------


def describe_plan(request: Reproduction, steps: Sequence[Step], missing: Mapping[str, str]) -> str:
    """The plan as a shell script of the commands."""
    row = request.row
    lines = [f"# {row.published}: {len(steps)} steps, then the table beside the published row"]
    lines += [one_line(f"# {BENCHMARKS[group]}: left out. {reason}") for group, reason in missing.items()]
    lines += [one_line(f"# {why}")] if (why := find_nothing_to_train_on(request)) else []
    for number, step in enumerate(steps, start=1):
        command = [shlex.join(["harness", *step.words])] if step.words else step.by_hand
        lines += ["", f"# {number}. {step.title}", *command]
    return "\n".join(lines)
