"""From an episode to its metrics: the strict rule without prefix, the paper's as paper_*.

A metric without a denominator is None, never 0 or 1; the paper's precision of a silent episode (1.0) is the exception
that shows why. An episode in which the model never spoke at all has no precision by any rule.
Failed episodes are scored like any other: what they solved counts, and so does what they did not.
"""

from __future__ import annotations

from collections.abc import Sequence

from harness.scoring import paper, strict
from harness.scoring.answer import answer_read, answer_scores
from harness.types import CallRecord, Sample, Scores, Trajectory, Verdict


def score(sample: Sample, trajectory: Trajectory) -> Verdict:
    """The verdict on one episode. Never raises, whatever the tools printed."""
    calls, wanted = trajectory.calls, sample.gold.sub_answers
    strict_solves = strict.solves(calls, wanted)
    paper_solves = paper.solves(calls, wanted)
    n = sum(len(answers) for answers in wanted.values())
    malformed = count_malformed(calls)
    scores: Scores = {
        **_solve_scores("", _count(strict_solves), len(calls), n, silent_precision=None),
        **_solve_scores("paper_", _count(paper_solves), len(calls) - malformed, n, 1.0 if trajectory.turns else None),
        **answer_scores(sample, trajectory),
        **call_counts(trajectory),
        **call_rates(trajectory),
    }
    return Verdict(strict_solves, paper_solves, scores, answer_read(sample, trajectory))


def call_counts(trajectory: Trajectory) -> Scores:
    """What any episode has."""
    return {"calls": float(len(trajectory.calls)), "turns": float(trajectory.turns)}


def call_rates(trajectory: Trajectory, ran: bool = True) -> Scores:
    """Of an episode with calls, which of them went wrong; `ran`: whether tools ran, so that they could say so."""
    calls = trajectory.calls
    errors = sum(strict.is_error(record.status, record.output) for record in calls) if ran else 0
    return {
        "malformed_call_rate": _share(count_malformed(calls), len(calls)),
        "tool_error_rate": _share(errors, len(calls)) if ran else None,
    }


def count_malformed(calls: Sequence[CallRecord]) -> int:
    return sum(record.status == "malformed" for record in calls)


def _solve_scores(prefix: str, s: int, c: int, n: int, silent_precision: float | None) -> Scores:
    """s sub-answers solved of n, with c calls."""
    return {
        f"{prefix}solve_precision": s / c if c else silent_precision,
        f"{prefix}solve_rate": _share(s, n),
        f"{prefix}solve_f1": _share(2 * s, c + n),
    }


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _count(solves: tuple[int | None, ...]) -> int:
    return sum(position is not None for position in solves)
