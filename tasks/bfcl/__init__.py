"""bfcl_*: the Berkeley Function Calling Leaderboard, version 4: its single turns and its conversations.

Single turns are compared with possible answers (bfcl_simple_python, ..., bfcl_live_*) or want a call, or none
(relevance, irrelevance); in conversations (bfcl_multi_turn_*) the calls run on classes with a state. Data and checker
are those of the wheel bfcl-eval (ShishirPatil/gorilla, Apache-2.0), which is not shipped: the checker's sources run in
the sandbox (inside.py, wheel.py). One rule, the benchmark's: official_accuracy. The group bfcl weighs its tasks as the
leaderboard does. Left out: memory and web search, which need services outside; format sensitivity; and models that
write their calls as text of the benchmark's own formats.

    harness eval --model M --tasks 'bfcl_*' --data bfcl=FOLDER
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

from harness.scoring import call_counts, call_rates
from harness.types import Sample, Task, Trajectory, Verdict
from tasks.bfcl import wheel
from tasks.bfcl.environments import Conversation, SingleTurn
from tasks.bfcl.samples import CONVERSATIONS, IRRELEVANCE, WANTED_CALLS, load_category

SIMPLE = ("simple_python", "simple_java", "simple_javascript")
OTHERS = ("multiple", "parallel", "parallel_multiple")
LIVE = {"live_simple": 258, "live_multiple": 1053, "live_parallel": 16, "live_parallel_multiple": 24}
WEIGHTS = {
    **dict.fromkeys(SIMPLE, 10 / 4 / 3),
    **dict.fromkeys(OTHERS, 10 / 4),
    **{category: 10 * samples / sum(LIVE.values()) for category, samples in LIVE.items()},
    **dict.fromkeys(IRRELEVANCE, 10 / 2),
    "live_relevance": 0.0,
    **dict.fromkeys(CONVERSATIONS, 30 / 4),
}
"""Per cent of the leaderboard's overall score; the 40 that are missing are memory and web search. Live categories count
by their samples, all others within their kind the same, and relevance not at all."""

TURNS = 180
"""No conversation has more: eight turns of the user's, of twenty-one steps and an end each."""


def tasks(data: Mapping[str, Path]) -> list[Task]:
    """A task a category; loading one without the wheel raises MissingData."""
    folder = data.get("bfcl")
    return [
        Task(
            name=f"bfcl_{category}",
            load=partial(load_category, folder, category),
            environment=Conversation if category in CONVERSATIONS else SingleTurn,
            score=partial(score, category),
            headline="official_accuracy",
            success=("official_accuracy",),
            group="bfcl",
            weight=weight,
            floor=float(category in IRRELEVANCE),
            description=f"BFCL v4, {category.replace('_', ' ')}: {_about(category)}",
            source=str(folder) if folder else "the wheel bfcl-eval, or --data bfcl=FOLDER",
            max_turns=TURNS if category in CONVERSATIONS else None,
            state=None if category in WANTED_CALLS else partial(_state, folder, category),
        )
        for category, weight in WEIGHTS.items()
    ]


def _about(category: str) -> str:
    return WANTED_CALLS.get(category) or (
        "a conversation" if category in CONVERSATIONS else "calls compared with answers"
    )


def _state(folder: Path | None, category: str, sample: Sample) -> str:
    return wheel.checker_sources(wheel.find_package(folder), category in CONVERSATIONS)


def score(category: str, sample: Sample, trajectory: Trajectory) -> Verdict:
    """official_accuracy: the verdict of the wheel's checker or, where a call or none is wanted, whether there was one.

    A model that never spoke (an error of the endpoint) has not declined to call; officially it has.
    """
    right = _as_wanted(category, trajectory) if category in WANTED_CALLS else trajectory.facts.get("valid") is True
    nothing = (None,) * len(trajectory.calls)
    return Verdict(
        nothing,
        nothing,
        {
            "official_accuracy": float(right),
            **call_counts(trajectory),
            **call_rates(trajectory, ran=category in CONVERSATIONS),
        },
    )


def _as_wanted(category: str, trajectory: Trajectory) -> bool:
    """Whether there was a call, or none, as wanted. Officially, a turn with a call that cannot be read has none."""
    if not any(message.role == "assistant" for message in trajectory.messages):
        return False
    calls = trajectory.calls
    called = bool(calls) and not any(record.status == "malformed" for record in calls)
    return called is (category not in IRRELEVANCE)
