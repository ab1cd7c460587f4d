"""step_*: the first turn of the synthesised environments, alone: one prompt, one reply, and its calls run.

For models that can be asked only once, such as those of lm-eval (docs/lm-eval.md), and for a quick look at a network in
training. What counts is what a first turn can find out: the sub-questions that depend on no other. Several of them may
be answered by calls side by side, so where there are, no single call is gold and policy/oracle does not play.

Left out: later turns (`trainer.prefixes` cuts whole episodes), and the answer, which no first turn can know.

    harness eval --model bundled/tiny-base --tasks 'step_micro_*@1'
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from harness.environment import ToolEnvironment
from harness.types import Gold, GoldCall, Message, RunTools, Sample, Step, Task, ToolResult
from tasks.synthesised import ftrl, micro


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """The eight scenarios of ftrl_* and micro_*, cut after their first turn."""
    return [
        replace(
            task,
            name=f"step_{task.name}",
            load=partial(_load, task),
            environment=StepEnvironment,
            success=("solve_f1",),
            group=f"step_{task.group}",
            description=f"the first turn of {task.name}",
            max_turns=1,
        )
        for task in (*micro(data), *ftrl(data))
    ]


def _load(task: Task) -> list[Sample]:
    return [first_turn(sample) for sample in task.load()]


def first_turn(sample: Sample) -> Sample:
    """The sample with only those sub-answers, and gold calls, that need no other to be known."""
    questions = sample.metadata["sub_questions"]
    free = [index for index, question in enumerate(questions) if not question["depends_on"]]
    wanted: dict[str, tuple[str, ...]] = {}
    for index in free:
        tool = str(questions[index]["tool"])
        wanted[tool] = (*wanted.get(tool, ()), str(questions[index]["answer"]))
    calls = tuple(
        GoldCall(call.name, call.arguments, free.index(call.solves))
        for call in sample.gold.calls or ()
        if call.solves in free
    )
    gold = Gold(wanted, calls if len(calls) == 1 else None, message="")
    return replace(sample, gold=gold, metadata={**sample.metadata, "digest": "first turn"})


class StepEnvironment:
    """An episode that is over when the calls of its first turn have run."""

    def __init__(self, sample: Sample) -> None:
        self._whole = ToolEnvironment(sample)
        self.tools = sample.tools

    def reset(self) -> Sequence[Message]:
        return self._whole.reset()

    def step(self, message: Message, turn: int) -> Generator[RunTools, list[ToolResult], Step]:
        step = yield from self._whole.step(message, turn)
        return replace(step, done=True)
