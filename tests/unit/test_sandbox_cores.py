"""A thread is held on a worker's core only while it waits, and only when it was drawn away."""

from __future__ import annotations

import os

import pytest

from harness.sandbox import cores
from harness.sandbox.cores import SharedCore


def seen_while_waiting(seat: SharedCore, waits: int) -> list[set[int]]:
    return [seat.wait(lambda: os.sched_getaffinity(0)) for _ in range(waits)]


def test_a_thread_that_stays_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.sched_getaffinity(0)
    seat = SharedCore()
    assert seen_while_waiting(seat, 20) == [free] * 20
    seat.move(min(free))
    monkeypatch.setattr(cores, "current_core", lambda: min(free))
    assert seen_while_waiting(seat, 20) == [free] * 20


def test_a_thread_that_is_drawn_away_is_held_for_a_while_and_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.sched_getaffinity(0)
    core, here = min(free), iter([99] + [min(free)] * 200)
    seat = SharedCore()
    seat.move(core)
    monkeypatch.setattr(cores, "current_core", lambda: next(here))
    seen = seen_while_waiting(seat, 1100)
    assert seen == [free] * 7 + [{core}] * 1000 + [free] * 93
    assert os.sched_getaffinity(0) == free
    assert not seat.is_far


def test_whoever_lives_elsewhere_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    free = os.sched_getaffinity(0)
    seat = SharedCore()
    seat.move(min(free))
    monkeypatch.setattr(cores, "current_core", lambda: 99)
    assert seen_while_waiting(seat, 16)[-1] == free
    assert seat.is_far


def test_where_a_core_cannot_be_chosen_nothing_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    seat = SharedCore()
    seat.move(100_000)
    monkeypatch.setattr(cores, "current_core", lambda: 99)
    free = os.sched_getaffinity(0)
    assert seen_while_waiting(seat, 12) == [free] * 12
