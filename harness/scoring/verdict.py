"""A task's verdict on an episode, checked: tasks may be anybody's, and what they return ends up in every table.

Calls and turns are counted here where a task does not count them itself, and what became of tools that failed on
purpose.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from harness.data.jsonio import is_number
from harness.errors import HarnessError
from harness.scoring import call_counts
from harness.scoring.recovery import fault_scores
from harness.types import Sample, Task, Trajectory, Verdict


def score_trajectory(task: Task, sample: Sample, trajectory: Trajectory) -> Verdict:
    """What the task says of an episode. Raises HarnessError, in one sentence, where it fails or is no verdict."""
    with blame_task(f"The task {task.name} cannot score the episode of {sample.id!r}"):
        verdict = task.score(sample, trajectory)
        _check(verdict, trajectory, task.headline)
        found = call_counts(trajectory) | fault_scores(sample, trajectory, verdict)
        missing = {name: value for name, value in found.items() if name not in verdict.scores}
        return replace(verdict, scores={**verdict.scores, **missing})


def _check(verdict: Verdict, trajectory: Trajectory, headline: str) -> None:
    """Raises TypeError or ValueError."""
    if not isinstance(verdict, Verdict):
        raise TypeError(f"its score returned {type(verdict).__name__}, not a Verdict")
    for name, solved in (("solves", verdict.solves), ("paper_solves", verdict.paper_solves)):
        if len(solved) != len(trajectory.calls):
            raise ValueError(f"{name} has {len(solved)} places for {len(trajectory.calls)} calls")
    if headline not in verdict.scores:
        metrics = ", ".join(verdict.scores) or "none"
        raise ValueError(f"the headline metric {headline} is not among its metrics ({metrics})")
    for metric, value in verdict.scores.items():
        if value is not None and not is_number(value):
            raise ValueError(f"the metric {metric} is {value!r}, neither a finite number nor None")


@contextmanager
def blame_task(what: str) -> Iterator[None]:
    """An exception of a task's own code as a HarnessError that says what could not be done, and where it was raised."""
    try:
        yield
    except HarnessError:
        raise
    except Exception as error:
        said = " ".join(f"{what}: {type(error).__name__}: {error}".split()).rstrip(". ")
        raise HarnessError(f"{said}{_place(error)}.") from error


def _place(error: Exception) -> str:
    """The file and line of the task that raised an exception; nothing where the harness itself did."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    file = Path(frame.filename)
    return "" if file.is_relative_to(Path(__file__).parents[1]) else f" ({file.name}:{frame.lineno})"
