"""Where an episode is scored: what others wait for does not depend on it."""

import asyncio
import sys
import threading

import pytest

from harness.errors import HarnessError
from harness.evaluation.scoring_thread import GIVE_WAY_SECONDS, LONG_TEXT, giving_way, off_the_loop
from harness.types import CallRecord, Message, ToolCall, Trajectory, Usage


def episode(*outputs):
    calls = tuple(CallRecord(0, ToolCall("1", "look", {}, "{}"), "ok", output) for output in outputs)
    return Trajectory((Message("assistant", "x"),), calls, 1, "ok", "stop", Usage(), {})


def thread_of(trajectory, others_wait):
    return asyncio.run(off_the_loop(trajectory, lambda: threading.current_thread().name, others_wait))


@pytest.mark.parametrize(
    ("outputs", "others_wait", "beside"),
    [
        ((), True, False),
        (("42",), True, True),
        (("42",), False, False),
        (("4" * LONG_TEXT,), False, True),
    ],
)
def test_an_episode_with_calls_is_scored_beside_those_who_wait(outputs, others_wait, beside):
    assert thread_of(episode(*outputs), others_wait).startswith("scoring") is beside


def test_the_loop_goes_on_while_an_episode_is_scored():
    async def play():
        scored, seen = threading.Event(), []

        async def other():
            seen.append("read")
            scored.set()

        def make():
            assert scored.wait(10)
            seen.append("scored")

        await asyncio.gather(off_the_loop(episode("42"), make, True), other())
        return seen

    assert asyncio.run(play()) == ["read", "scored"]


def test_what_scoring_raises_reaches_the_episode():
    def make():
        raise HarnessError("no verdict")

    with pytest.raises(HarnessError, match="no verdict"):
        asyncio.run(off_the_loop(episode("42"), make, True))


@pytest.mark.parametrize("others_wait", [True, False])
def test_threads_give_way_as_before_when_a_run_is_over(others_wait):
    before = sys.getswitchinterval()
    with pytest.raises(KeyError), giving_way(others_wait):
        assert sys.getswitchinterval() == pytest.approx(GIVE_WAY_SECONDS if others_wait else before)
        raise KeyError
    assert sys.getswitchinterval() == before
