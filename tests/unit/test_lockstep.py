"""Batches of live episodes: who is in them, when they start, and what a failure does."""

import asyncio

import pytest
from builders import call, sample, says
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.environment import ToolEnvironment
from harness.errors import ModelFailure
from harness.lockstep import BatchModel, Lockstep
from harness.models.policies import Policy
from harness.rollout import Episode, adrive
from harness.types import Reply, ToolResult


class Scripted:
    """Every episode calls a tool for as many turns as its epoch says, then ends."""

    width = 4

    def __init__(self, width=4, fail=()):
        self.width = width
        self.fail = fail
        self.batches = []

    def batch(self, requests):
        self.batches.append([(request.epoch, request.turn) for request in requests])
        return [self._one(request) for request in requests]

    def _one(self, request):
        if request.epoch in self.fail:
            return ModelFailure("out of luck", outcome="model_error", stop="luck")
        if request.turn < request.epoch:
            return Reply(says("", call("population", {"town": "Brill"})))
        return Reply(says("Answer: 998"))


class Tools:
    def run(self, codes, calls):
        return [ToolResult("ok", "998") for _ in calls]

    async def arun(self, codes, calls):
        await asyncio.sleep(0)
        return self.run(codes, calls)


def play(model, turns):
    """Plays one episode for each number of turns, `width` at once; returns their trajectories."""

    async def everything():
        lockstep = Lockstep(model)
        waiting = iter(list(enumerate(turns)))
        ended = {}

        async def work():
            with lockstep.episode():
                for place, epoch in waiting:
                    episode = Episode(sample(), epoch=epoch)
                    ended[place] = await adrive(episode, ToolEnvironment(sample()), lockstep, Tools())

        await asyncio.gather(*(work() for _ in range(model.width)))
        await lockstep.aclose()
        return [ended[place] for place in range(len(turns))]

    return asyncio.run(everything())


def test_policies_are_no_batch_models_and_the_scripted_one_is():
    assert isinstance(Scripted(), BatchModel)
    assert not isinstance(Policy("silent", 0), BatchModel)


def test_the_first_batch_is_full_and_ended_episodes_are_replaced():
    model = Scripted(width=3)
    play(model, [2, 2, 2, 2, 2, 2])
    assert [len(batch) for batch in model.batches] == [3] * 6


def test_a_short_episode_makes_room_at_once():
    model = Scripted(width=2)
    play(model, [3, 0, 0, 0, 0])
    assert [sorted(batch) for batch in model.batches] == [[(0, 0), (3, turn)] for turn in range(4)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=12))
def test_every_episode_is_played_once_and_no_batch_is_too_wide(width, turns):
    model = Scripted(width=width)
    ended = play(model, turns)
    assert [trajectory.turns for trajectory in ended] == [number + 1 for number in turns]
    assert all(0 < len(batch) <= width for batch in model.batches)
    assert sum(map(len, model.batches)) == sum(turns) + len(turns)


def test_a_failure_costs_its_own_episode_only():
    ended = play(Scripted(width=3, fail={1}), [0, 1, 2])
    assert [trajectory.outcome for trajectory in ended] == ["ok", "model_error", "ok"]


def test_a_batch_that_breaks_costs_its_episodes_and_not_the_run():
    class Broken(Scripted):
        def batch(self, requests):
            raise RuntimeError("no more memory")

    ended = play(Broken(width=2), [0, 0, 0])
    assert {trajectory.outcome for trajectory in ended} == {"infrastructure_error"}
    assert "no more memory" in ended[0].error


def test_a_cancelled_episode_does_not_stop_the_others():
    class Slow(Scripted):
        def batch(self, requests):
            import time

            time.sleep(0.05)
            return super().batch(requests)

    async def everything():
        lockstep = Lockstep(Slow(width=2))

        async def one(epoch):
            with lockstep.episode():
                return await adrive(Episode(sample(), epoch=epoch), ToolEnvironment(sample()), lockstep, Tools())

        first, second = asyncio.create_task(one(0)), asyncio.create_task(one(2))
        await asyncio.sleep(0.01)
        first.cancel()
        ended = await second
        with pytest.raises(asyncio.CancelledError):
            await first
        await lockstep.aclose()
        return ended

    assert asyncio.run(everything()).turns == 3


@pytest.mark.parametrize("said", [[], None, [None, None], "StopIteration"])
def test_a_batch_that_answers_wrongly_is_an_error_and_hangs_nothing(said):
    class Wrong(Scripted):
        def batch(self, requests):
            if said == "StopIteration":
                raise StopIteration
            return said

    ended = asyncio.run(asyncio.wait_for(asyncio.to_thread(play, Wrong(width=2), [0, 0]), 20))
    assert {trajectory.outcome for trajectory in ended} == {"infrastructure_error"}


def test_closing_waits_for_the_batch_that_is_being_generated():
    import threading

    finished = threading.Event()

    class Slow(Scripted):
        def batch(self, requests):
            import time

            time.sleep(0.2)
            finished.set()
            return super().batch(requests)

    async def everything():
        lockstep = Lockstep(Slow(width=1))

        async def one():
            with lockstep.episode():
                await adrive(Episode(sample()), ToolEnvironment(sample()), lockstep, Tools())

        task = asyncio.create_task(one())
        await asyncio.sleep(0.05)
        task.cancel()
        await lockstep.aclose()
        assert finished.is_set()

    asyncio.run(everything())
