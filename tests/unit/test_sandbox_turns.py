"""Which calls travel together: a call of every waiting turn in each round, within bounds."""

from __future__ import annotations

from collections import deque

from hypothesis import given
from hypothesis import strategies as st

from harness.sandbox.turns import MOST_BYTES, MOST_CALLS, PENDING, ToolCode, Turn, give_back_jobs, take_jobs

CODE = ToolCode(0, True, "{}")


def turn(*lines: str) -> Turn:
    made = Turn([PENDING] * len(lines))
    for place, line in enumerate(lines):
        made.add(place, CODE, line)
    return made


def lines(turns: deque[Turn], most: int = MOST_CALLS) -> list[str]:
    return [job.line for job in take_jobs(turns, most)]


def test_a_long_turn_holds_up_no_other() -> None:
    turns = deque([turn(*["a"] * 200), turn("b", "b"), turn("c")])
    assert lines(turns, 4) == ["a", "b", "c", "a"]
    assert lines(turns, 4) == ["b", "a", "a", "a"]
    assert lines(turns) == ["a"] * MOST_CALLS


def test_a_request_has_a_size_unless_one_call_is_larger() -> None:
    large, half = "x" * (MOST_BYTES + 1), "y" * (MOST_BYTES // 2)
    turns = deque([turn(large), turn(half), turn(half), turn("z")])
    assert lines(turns) == [large]
    assert lines(turns) == [half, half]
    assert lines(turns) == ["z"]
    assert lines(turns) == []


def test_a_call_that_needs_a_fresh_process_goes_alone() -> None:
    turns = deque([turn("a"), turn("b", "c")])
    first, second = take_jobs(turns, 2)
    give_back_jobs(turns, [first, second._replace(alone=True)])
    assert [lines(turns), lines(turns), lines(turns)] == [["a"], ["b"], ["c"]]


@given(st.lists(st.integers(1, 5), max_size=6), st.integers(1, 8), st.integers(0, 8))
def test_what_is_given_back_is_taken_again_and_a_turn_keeps_its_order(sizes: list[int], most: int, done: int) -> None:
    turns = deque(turn(*[str(place) for place in range(size)]) for size in sizes)
    every, taken = list(turns), []
    while jobs := take_jobs(turns, most):
        kept = jobs[: max(1, done % (len(jobs) + 1))]
        give_back_jobs(turns, jobs[len(kept) :])
        taken += kept
    for size, made in zip(sizes, every, strict=True):
        assert [job.place for job in taken if job.turn is made] == list(range(size))
