"""Batches of live episodes: who is in them, when they start, and what a failure does."""

import asyncio

import pytest
from builders import call, sample, says
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.batching import UNFINISHED, BatchModel, Lockstep, play_all
from harness.environment import ToolEnvironment
from harness.errors import ModelFailure
from harness.rollout import Episode, play_episode_async
from harness.types import Model, ModelRequest, Reply, Sampling, ToolResult


class Scripted(BatchModel):
    """Every episode calls a tool for as many turns as its epoch says, then ends."""

    name = "scripted"
    fingerprint = {}  # noqa: RUF012

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

    async def one(epoch, speaker):
        return await play_episode_async(Episode(sample(), epoch=epoch), ToolEnvironment(sample()), speaker, Tools())

    return asyncio.run(play_all(turns, model, one))


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


class Parted(Scripted):
    """Leaves a reply unfinished as often as its episode's number says, if another of the batch has its own."""

    def __init__(self, width=4):
        super().__init__(width)
        self._asked = {}

    def advance(self, requests):
        self.batches.append([(request.epoch, request.turn) for request in requests])
        times = [self._asked.get((one.epoch, one.turn), 0) for one in requests]
        self._asked.update({(one.epoch, one.turn): count + 1 for one, count in zip(requests, times, strict=True)})
        ends = [count >= one.epoch for one, count in zip(requests, times, strict=True)]
        ends[0] |= not any(ends)
        return [self._one(one) if end else UNFINISHED for one, end in zip(requests, ends, strict=True)]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.lists(st.integers(0, 4), min_size=1, max_size=12, unique=True))
def test_who_is_unfinished_is_asked_again_with_those_who_come_next(width, turns):
    model = Parted(width)
    ended = play(model, turns)
    assert [trajectory.turns for trajectory in ended] == [number + 1 for number in turns]
    assert all(0 < len(batch) == len(set(batch)) <= width for batch in model.batches)


@pytest.mark.parametrize(("patience", "first"), [(None, [(0, 0), (2, 0)]), (0.01, [(2, 0)])])
def test_an_unfinished_reply_waits_for_slow_tools_as_long_as_its_model_likes(patience, first):
    """The first episode answers at once, and its tool takes a while."""

    class Impatient(Parted):
        def advance(self, requests):
            self.batches.append([(request.epoch, request.turn) for request in requests])
            late = len(self.batches) == 1
            return [UNFINISHED if late and one.epoch == 2 else Reply(says("")) for one in requests]

    model = Impatient(width=2)
    model.patience = patience

    async def one(epoch, speaker):
        await speaker(ModelRequest([], (), Sampling(), sample(), epoch=epoch))
        if epoch == 1:
            await asyncio.sleep(0.2)
            await speaker(ModelRequest([], (), Sampling(), sample(), epoch=0))

    asyncio.run(asyncio.wait_for(play_all([1, 2], model, one), 20))
    assert sorted(model.batches[0]) == [(1, 0), (2, 0)]
    assert sorted(model.batches[1]) == first


def test_an_unfinished_reply_that_nobody_waits_for_is_not_asked_for_again():
    class Long(Parted):
        def advance(self, requests):
            import time

            time.sleep(0.05)
            return super().advance(requests)

    model = Long(width=2)

    async def everything():
        lockstep = Lockstep(model)

        async def one(epoch):
            with lockstep.episode():
                return await play_episode_async(
                    Episode(sample(), epoch=epoch), ToolEnvironment(sample()), lockstep, Tools()
                )

        left, other = asyncio.create_task(one(4)), asyncio.create_task(one(0))
        await asyncio.sleep(0.02)
        left.cancel()
        await other
        with pytest.raises(asyncio.CancelledError):
            await left
        await lockstep.aclose()

    asyncio.run(everything())
    assert model.batches == [[(4, 0), (0, 0)]]


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
                return await play_episode_async(
                    Episode(sample(), epoch=epoch), ToolEnvironment(sample()), lockstep, Tools()
                )

        first, second = asyncio.create_task(one(0)), asyncio.create_task(one(2))
        await asyncio.sleep(0.01)
        first.cancel()
        ended = await second
        with pytest.raises(asyncio.CancelledError):
            await first
        await lockstep.aclose()
        return ended

    assert asyncio.run(everything()).turns == 3


@pytest.mark.parametrize("said", [[], None, [None, None], [UNFINISHED, UNFINISHED], "StopIteration"])
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
                await play_episode_async(Episode(sample()), ToolEnvironment(sample()), lockstep, Tools())

        task = asyncio.create_task(one())
        await asyncio.sleep(0.05)
        task.cancel()
        await lockstep.aclose()
        assert finished.is_set()

    asyncio.run(everything())


class Closing(Model):
    """Says nothing, and keeps what was closed and when."""

    fingerprint = {}  # noqa: RUF012

    def __init__(self, name, told):
        self.name = name
        self._told = told

    def __call__(self, request):
        return Reply(says(""))

    async def aclose(self):
        self._told.append(f"closed {self.name}")


@pytest.mark.parametrize("at_once", [1, 3])
def test_so_many_are_played_at_once_and_what_they_give_keeps_its_order(at_once):
    told, playing, most = [], 0, 0

    async def one(item, speaker):
        nonlocal playing, most
        playing += 1
        most = max(most, playing)
        await asyncio.sleep(0.01 / item)
        playing -= 1
        return speaker.name, item

    models = Closing("model", told), Closing("user", told)
    assert asyncio.run(play_all([1, 2, 5, 9], models[0], one, at_once, models[1:])) == [
        ("model", item) for item in (1, 2, 5, 9)
    ]
    assert most == at_once and told == ["closed model", "closed user"]


def test_one_that_breaks_ends_the_others_before_anything_is_closed():
    told = []

    async def one(item, speaker):
        try:
            await asyncio.sleep(item)
        finally:
            told.append(f"left {item}")
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        asyncio.run(asyncio.wait_for(play_all([60, 0, 5], Closing("model", told), one, 2), 20))
    assert told == ["left 0", "left 60", "closed model"]


def test_a_batch_models_workers_are_as_many_as_its_batch_is_wide():
    model = Scripted(width=3)
    asyncio.run(play_all([0, 0, 0, 0], model, lambda epoch, speaker: _asked(speaker), at_once=1))
    assert [len(batch) for batch in model.batches] == [3, 1]


async def _asked(speaker):
    return await speaker(ModelRequest([], (), Sampling(), sample()))
