"""Benchmarks whose score is whether a program that the model wrote passes its tests.

lm-eval runs such programs in processes of its own, with a metric that it fetches from a hub while its files are read.
Here they run in the harness's sandbox, where they cannot reach files or a network; a program passes that ends without
an exception within the sandbox's time for a call (10 seconds; lm-eval gives 3). The opt-in is the one that lm-eval's
metric asks for: HF_ALLOW_CODE_EVAL=1.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from harness.errors import UsageError
from harness.types import EnvironmentWish, JSONObject, Message, RunTools, Sample, Step, Trajectory, Usage

ALLOWED = "HF_ALLOW_CODE_EVAL"
RUNNER = """
def run(program):
    exec(compile(program, "<program>", "exec"), {"__name__": "__main__"})
    return "passed"
"""
SAID = 2000
"""Characters of an error that are kept."""

Program = Callable[[Sample, Trajectory], str]


def check_code_allowed(name: str) -> None:
    """Raises UsageError where the person has not allowed that code of a model is run."""
    if os.environ.get(ALLOWED) != "1":
        raise UsageError(f"{name} runs code that the model wrote: set {ALLOWED}=1 to allow it, or leave the task out.")


class CodeEnvironment:
    """One turn in words; then the program that it makes is run, and the record says whether it passed."""

    def __init__(self, sample: Sample, program: Program) -> None:
        self.sample = sample
        self.tools = ()
        self._program = program
        self._reply: Message | None = None

    def reset(self) -> Sequence[Message]:
        return self.sample.messages

    def step(self, message: Message, turn: int) -> Generator[EnvironmentWish, Any, Step]:
        yield from ()
        self._reply = message
        return Step(done=True)

    def closing(self) -> Generator[EnvironmentWish, Any, JSONObject]:
        if self._reply is None:
            return {"passed": False, "said": "there was no whole reply"}
        spoken = Trajectory((self._reply,), (), 1, "ok", "no_tool_calls", Usage(), {})
        text = self._program(self.sample, spoken)
        (result,) = yield RunTools({"run": RUNNER}, (("run", {"program": text}),))
        return {"passed": result.status == "ok", "said": result.output[:SAID]}


# --- without the metric ------------------------------------------------------------------------------------------


class _NotRun:
    """In the place of Hugging Face's code_eval."""

    def compute(self, **_: Any) -> tuple[dict[str, float], dict[str, Any]]:
        return {"pass@1": 0.0}, {}


@contextmanager
def without_metric() -> Iterator[None]:
    """While it lasts, lm-eval's files of code benchmarks can be read without fetching and trying that metric. They are
    forgotten at the end, so that lm-eval itself, in the same process, reads them anew."""
    import evaluate

    known, loads = set(sys.modules), evaluate.load
    evaluate.load = lambda *_, **__: _NotRun()
    try:
        yield
    finally:
        evaluate.load = loads
        for name in set(sys.modules) - known:
            if name.startswith("lm_eval.tasks.") and hasattr(sys.modules[name], "hf_evaluate"):
                del sys.modules[name]
