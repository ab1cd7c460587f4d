"""Whether an episode needed its calls: metrics of `harness rescore --economy`, for which tools run once more.

efficiency   sub-answers found a call, of an episode with the right answer that made calls
necessity    of its calls, the share without which another set of sub-answers is found

For necessity the other calls of the episode are run again, in their order, in a fresh sandbox, so that what a call left
behind is gone with it. Calls that nothing ran (malformed, refused, failed on purpose) keep the answer they had. Left
out: what a model would have done otherwise without an output that it had read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from harness.environment import make_call_record
from harness.sandbox import Sandbox
from harness.scoring import strict
from harness.types import CallRecord, JSONObject, Sample, Scores, Task, ToolResult, Trajectory, Verdict

Found = frozenset[tuple[str, int]]
"""Sub-answers, by tool and position."""
Replay = Callable[[Sequence[CallRecord]], list[CallRecord]]


@dataclass(frozen=True, slots=True)
class Economy:
    """Measures episodes, in one sandbox."""

    sandbox: Sandbox

    def __call__(self, task: Task, sample: Sample, trajectory: Trajectory, verdict: Verdict) -> Scores:
        """Both metrics; none of a sample without sub-answers."""
        if not any(sample.gold.sub_answers.values()):
            return {}
        calls = trajectory.calls
        right = next((verdict.scores[name] for name in task.success if name in verdict.scores), None) == 1
        solved = sum(position is not None for position in verdict.solves)
        return {
            "efficiency": solved / len(calls) if right and calls else None,
            "necessity": measure_necessity(calls, sample, self._replay(task, sample)),
        }

    def _replay(self, task: Task, sample: Sample) -> Replay:
        def run(calls: Sequence[CallRecord]) -> list[CallRecord]:
            state = None if task.state is None else self.sandbox.preload(task.state(sample))
            with self.sandbox.episode(state) as tools:
                turns = [list(made) for _, made in groupby(calls, key=lambda record: record.turn)]
                return [record for turn in turns for record in _run_turn(turn, lambda c: tools.run(sample.codes, c))]

        return run


def measure_necessity(calls: Sequence[CallRecord], sample: Sample, replay: Replay) -> float | None:
    """The share of calls without which another set of sub-answers is found; None without calls."""
    if not calls:
        return None
    whole = _found(replay(calls), sample)
    without = (_found(replay([*calls[:place], *calls[place + 1 :]]), sample) for place in range(len(calls)))
    return sum(found != whole for found in without) / len(calls)


def _run_turn(
    calls: Sequence[CallRecord], run: Callable[[list[tuple[str, JSONObject]]], list[ToolResult]]
) -> Iterator[CallRecord]:
    runnable = [(record.call.name, record.call.arguments or {}) for record in calls if _was_run(record)]
    results = iter(run(runnable) if runnable else ())
    for record in calls:
        yield make_call_record(record.turn, record.call, next(results)) if _was_run(record) else record


def _was_run(record: CallRecord) -> bool:
    return record.call.arguments is not None and record.status != "refused" and record.fault is None


def _found(calls: Sequence[CallRecord], sample: Sample) -> Found:
    solved = zip(calls, strict.solves(calls, sample.gold.sub_answers), strict=True)
    return frozenset((record.call.name, position) for record, position in solved if position is not None)
