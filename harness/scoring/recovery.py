"""How an episode dealt with tools that failed on purpose (harness.tool_faults). Without such a call it has no metric.

recovery_rate    of the sub-answers whose tool failed, those found after all
give_up_rate     1 where the model ended the episode by itself with one of them open, else 0
dead_tool_calls  calls of a tool after it had refused permission

A failed call stands for one sub-answer of its tool, where one was open; equal calls stand for the same. It is found
where a later equal call solved, or where nothing of the tool is left open at the end. Only faults that pass count here:
nobody finds what a dead tool holds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from harness.scoring.strict import call_key
from harness.tool_faults.draws import DEAD
from harness.types import CallRecord, Sample, Scores, Trajectory, Verdict

Solved = Sequence[tuple[CallRecord, int | None]]
"""Calls, each with the position that it solves among its tool's sub-answers."""


def fault_scores(sample: Sample, trajectory: Trajectory, verdict: Verdict) -> Scores:
    """The metrics above; None where there was no fault of the kind that a metric is of."""
    calls = trajectory.calls
    if not any(record.fault for record in calls):
        return {}
    solved = list(zip(calls, verdict.solves, strict=True))
    tools = dict.fromkeys(record.call.name for record in calls if record.fault not in (None, DEAD))
    wanted = sample.gold.sub_answers
    made_good = [
        good
        for tool in tools
        for good in _made_good([s for s in solved if s[0].call.name == tool], wanted.get(tool, ()))
    ]
    return {
        "recovery_rate": sum(made_good) / len(made_good) if made_good else None,
        "give_up_rate": float(trajectory.outcome == "ok" and not all(made_good)) if made_good else None,
        "dead_tool_calls": _wasted(calls),
    }


def _made_good(calls: Solved, wanted: Sequence[str]) -> Iterator[bool]:
    """For each sub-answer that failed calls of one tool stand for, whether it was found after all."""
    places = [index for index, (_, position) in enumerate(calls) if position is not None]
    failed: dict[object, int] = {}
    for index, (record, _) in enumerate(calls):
        if record.fault is not None and sum(place < index for place in places) < len(wanted):
            failed.setdefault(call_key(record.call), index)
    whole = len(places) == len(wanted)
    for key, index in list(failed.items())[: len(wanted)]:
        yield whole or any(place > index and call_key(calls[place][0].call) == key for place in places)


def _wasted(calls: Sequence[CallRecord]) -> float | None:
    """Calls of dead tools, but for the first of each, which nobody could have known to be wasted."""
    dead = [record.call.name for record in calls if record.fault == DEAD]
    return float(len(dead) - len(set(dead))) if dead else None
