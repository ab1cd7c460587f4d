"""When a training gives the heap back: after a step that leaves a quarter more than the first, and at a checkpoint."""

from __future__ import annotations

import pytest

from trainer import heap


def test_the_heap_is_given_back_where_it_has_grown(monkeypatch: pytest.MonkeyPatch) -> None:
    left = iter([100, 100, 125, 126, 124, 200])
    given: list[str] = []
    callback = heap.HeapCallback()
    now = [0]

    def step() -> None:
        now[0] = next(left)
        callback.on_step_end(None, None, None)

    monkeypatch.setattr(heap, "resident_memory", lambda: now[0])
    monkeypatch.setattr(heap, "release_memory", lambda: given.append(f"at {now[0]}"))
    for _ in range(6):
        step()
    assert given == ["at 126", "at 200"]
    callback.on_save(None, None, None)
    assert len(given) == 3
