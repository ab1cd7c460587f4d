"""Whoever holds the loop, the episode is the same: a Live one equals what the rollout's own driver plays."""

import asyncio

import builders
from hypothesis import given
from hypothesis import strategies as st

from harness.environment import ToolEnvironment
from harness.interop.live import LiveRollout, untimed_limits
from harness.rollout import Episode, play_episode
from harness.types import Reply, ToolResult

calls = st.builds(
    builders.call,
    st.sampled_from(["population", "nothing"]),
    st.sampled_from([None, {}, {"town": "Corrie"}, {"city": "Arden"}]),
    st.integers(0, 9),
)
turns = st.builds(lambda text, made: builders.says(text, *made), st.sampled_from(["", "Answer: 1"]), st.lists(calls))
replies = st.builds(Reply, turns, finish_reason=st.sampled_from([None, "stop", "length", "content_filter"]))


class Tools:
    """Says what it was asked, so that a call that ran in another order would show."""

    def __init__(self):
        self.asked = 0

    def run(self, codes, calls):
        self.asked += 1
        return [ToolResult("ok" if name in codes else "unknown_tool", f"{self.asked} {name}") for name, _ in calls]

    async def arun(self, codes, calls):
        return self.run(codes, calls)


async def spoken(live, said):
    for reply in said:
        if live.trajectory is None:
            await live.play_turn(reply)


@given(st.lists(replies, min_size=1, max_size=6), st.integers(1, 6))
def test_the_same_turns_make_the_same_episode(said, max_turns):
    sample = builders.sample()
    episode = Episode(sample, limits=untimed_limits(min(max_turns, len(said))))
    expected = play_episode(episode, ToolEnvironment(sample), lambda request: said[request.turn], Tools())
    live = LiveRollout(episode, ToolEnvironment(sample), Tools())
    asyncio.run(spoken(live, said))
    for name in ("messages", "calls", "turns", "outcome", "stop", "usage", "error"):
        assert getattr(live.trajectory, name) == getattr(expected, name)
