"""The pace against every kind of limit, on an event loop whose clock is a number: an hour of it takes a moment."""

from __future__ import annotations

import asyncio
import math
import random
import selectors
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes.limited_server import AtOnce, FixedWindow, Limiter, SlidingWindow, TokenBucket, Until
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.rate_limit import LONGEST_PAUSE, RateLimiter, SendRate

# --- a world without waiting -------------------------------------------------------------------------------------


class NoWaiting(selectors.SelectSelector):
    """Where the loop would sleep, the clock goes on instead. RuntimeError where nothing would ever happen again."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("everybody waits for somebody")
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    def __init__(self) -> None:
        self._without_waiting = NoWaiting()
        super().__init__(self._without_waiting)

    def time(self) -> float:
        return self._without_waiting.now


def play(main: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def now() -> float:
    return asyncio.get_running_loop().time()


def new_pace(slots: int) -> RateLimiter:
    return RateLimiter(slots, now, asyncio.sleep)


@dataclass
class Endpoint:
    """Takes `latency` seconds for a reply, give or take the share `jitter`, and `way` seconds there and back."""

    limiter: Limiter
    latency: float = 0.1
    way: float = 0.01
    retry_after: float | None = None
    jitter: float = 0.0
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    async def request(self, pace: RateLimiter, luck: random.Random) -> bool:
        await pace.acquire()
        await asyncio.sleep(self.way / 2)
        taken = self.limiter.takes(now())
        (self.accepted if taken else self.refused).append(now())
        if taken:
            await asyncio.sleep(self.latency * (1.0 + self.jitter * luck.uniform(-1.0, 1.0)))
            self.limiter.over()
        await asyncio.sleep(self.way / 2)
        if taken:
            pace.release()
        else:
            pace.slow_down(self.retry_after)
        return taken

    def rate(self, begin: float, end: float) -> float:
        """Accepted requests a second."""
        return sum(begin <= time < end for time in self.accepted) / (end - begin)

    def refused_share(self, begin: float, end: float) -> float:
        refused = sum(begin <= time < end for time in self.refused)
        return refused / (refused + sum(begin <= time < end for time in self.accepted))


def load(endpoint: Endpoint, seconds: float, workers: int = 256) -> Endpoint:
    """So many workers send one request after the other for so long."""

    async def everybody() -> None:
        pace, luck = new_pace(workers), random.Random(0)

        async def work() -> None:
            while now() < seconds:
                await endpoint.request(pace, luck)

        await asyncio.gather(*(work() for _ in range(workers)))
        assert pace.accepted_count == len(endpoint.accepted)

    play(everybody())
    return endpoint


def twenty(kind: str) -> Limiter:
    return {
        "bucket": TokenBucket(20, 20),
        "small bucket": TokenBucket(20, 5),
        "fixed": FixedWindow(20, 1.0, phase=0.3),
        "sliding": SlidingWindow(20, 1.0),
    }[kind]


KINDS = ("bucket", "small bucket", "fixed", "sliding")


# --- without a refusal -------------------------------------------------------------------------------------------


def test_before_the_first_refusal_only_the_slots_limit():
    async def main():
        pace = new_pace(300)
        for _ in range(300):
            await pace.acquire()
        assert now() == 0.0
        late = asyncio.ensure_future(pace.acquire())
        await asyncio.sleep(100)
        assert not late.done()
        pace.release()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert late.done()
        assert now() == 100.0

    play(main())


def test_first_come_first_served():
    async def main():
        pace, order = new_pace(2), []
        await pace.acquire()
        await pace.acquire()

        async def wait(number):
            await pace.acquire()
            order.append(number)
            await asyncio.sleep(1)
            pace.release()

        waiting = [asyncio.ensure_future(wait(number)) for number in range(20)]
        await asyncio.sleep(1)
        pace.slow_down(None)
        await asyncio.sleep(1)
        pace.release()
        await asyncio.gather(*waiting)
        assert order == list(range(20))

    play(main())


@pytest.mark.parametrize("refused", [False, True])
def test_a_cancelled_wait_leaves_no_trace(refused):
    async def main():
        pace = new_pace(2)
        await pace.acquire()
        if refused:  # they wait for the rate, with a slot in hand
            pace.slow_down(7.0)
        else:  # they wait for a slot
            await pace.acquire()
        waiting = [asyncio.ensure_future(pace.acquire()) for _ in range(4)]
        await asyncio.sleep(0.1)
        for task in waiting[:3]:
            task.cancel()
        await asyncio.sleep(0)
        if not refused:
            pace.release()
        await waiting[3]
        pace.release()
        if not refused:
            pace.release()
        await pace.acquire()
        await pace.acquire()  # both slots are there again

    play(main())


def test_saying_twice_how_a_request_ended_is_an_error():
    async def main():
        pace = new_pace(1)
        await pace.acquire()
        pace.release()
        with pytest.raises(ValueError):
            pace.release()
        with pytest.raises(ValueError):
            pace.slow_down(None)
        assert pace.accepted_count == 1

    play(main())


# --- a limited endpoint ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retry_after", [None, 1.0])
@pytest.mark.parametrize(("latency", "way"), [(0.005, 0.002), (0.005, 0.3), (1.0, 0.05), (10.0, 0.05)])
@pytest.mark.parametrize("kind", KINDS)
def test_twenty_a_second(kind, latency, way, retry_after):
    endpoint = load(Endpoint(twenty(kind), latency, way, retry_after), 30)
    assert endpoint.rate(5, 30) >= 18.0
    assert endpoint.refused_share(5, 30) <= 0.06


@pytest.mark.parametrize("kind", KINDS)
def test_replies_that_take_half_a_minute_do_not_hide_what_passes(kind):
    endpoint = load(Endpoint(twenty(kind), latency=30.0, way=0.05), 28, workers=1000)
    assert endpoint.rate(5, 28) >= 18.0
    assert endpoint.refused_share(5, 28) <= 0.06


def test_a_limit_that_counts_what_it_refuses():
    endpoint = load(Endpoint(SlidingWindow(20, 1.0, counts_all=True), 0.005, 0.01), 40)
    assert endpoint.rate(5, 40) >= 16.0


def test_requests_at_even_distances():
    assert load(Endpoint(TokenBucket(20, 1), 0.05, 0.01), 60).rate(15, 60) >= 17.0


def test_the_limit_of_a_minute_is_used_and_its_retry_after_followed():
    endpoint = load(Endpoint(FixedWindow(60, 60.0), 0.5, retry_after=30.0), 600)
    assert endpoint.refused_share(1, 600) <= 0.25
    assert not [time for time in endpoint.refused if 2.0 < time < 30.0]
    assert endpoint.rate(0, 600) >= 0.9


@pytest.mark.parametrize("limiter", [FixedWindow(60, 60.0, phase=17.0), SlidingWindow(60, 60.0), TokenBucket(1, 60)])
def test_the_limit_of_a_minute_without_a_word_about_it(limiter):
    endpoint = load(Endpoint(limiter, 0.5), 600)
    assert endpoint.rate(0, 600) >= 0.9
    assert endpoint.refused_share(10, 600) <= 0.3


@pytest.mark.parametrize(
    ("places", "latency", "share"), [(1, 1.0, 0.6), (8, 0.1, 0.7), (8, 5.0, 0.7), (8, 30.0, 0.7), (64, 5.0, 0.75)]
)
def test_a_limit_on_requests_at_once(places, latency, share):
    seconds = 300 + 10 * latency
    endpoint = load(Endpoint(AtOnce(places), latency, jitter=0.3), seconds)
    assert endpoint.rate(latency, seconds) >= share * places / latency


# --- limits that change ------------------------------------------------------------------------------------------


def test_a_lifted_limit_is_noticed():
    endpoint = load(Endpoint(Until(SlidingWindow(20, 1.0), 20.0, AtOnce(10**9))), 35)
    assert endpoint.rate(10, 20) <= 20.0
    assert endpoint.rate(26, 27) >= 40.0
    assert endpoint.rate(33, 35) >= 1000.0  # 256 slots and 0.11 s a request: nothing but the slots limits


def test_a_lowered_limit_is_noticed():
    endpoint = load(Endpoint(Until(SlidingWindow(100, 1.0), 20.0, SlidingWindow(10, 1.0))), 40)
    assert endpoint.rate(5, 20) >= 90.0
    assert endpoint.rate(25, 40) >= 8.5
    assert endpoint.refused_share(25, 40) <= 0.1


def test_an_outage_is_probed_seldom_and_its_end_is_noticed():
    endpoint = load(Endpoint(Until(AtOnce(0), 60.0, SlidingWindow(20, 1.0)), 0.1), 100)
    assert 7 <= len([time for time in endpoint.refused if 1.0 < time < 60.0]) <= 15
    assert endpoint.rate(75, 100) >= 18.0


# --- the throttle alone ------------------------------------------------------------------------------------------


def test_the_refusals_of_one_burst_slow_down_to_what_passed():
    throttle = SendRate()
    for _ in range(256):
        throttle.sent(0.0)
    for _ in range(236):
        throttle.refused(0.01, None)
    assert throttle.rate(0.01) == pytest.approx(0.99 * 20)
    assert throttle.wait(0.01) <= 0.06


def test_retry_after_counts_only_when_nothing_passes():
    throttle = SendRate()
    for _ in range(30):
        throttle.sent(0.0)
    for _ in range(10):
        throttle.refused(0.01, 30.0)
    assert throttle.wait(0.01) < 1.0
    for time in (1.0, 2.0):
        throttle.sent(time)
        throttle.refused(time, 30.0)
    assert throttle.wait(2.0) == 30.0
    throttle.sent(32.0)
    throttle.replied()
    assert throttle.wait(32.0) < 1.0


@dataclass(frozen=True)
class Event:
    later: float
    ends: str
    retry_after: float | None


events = st.builds(
    Event,
    later=st.floats(0.0, 50.0) | st.floats(0.0, 0.01),
    ends=st.sampled_from(["refused", "replied", "still under way"]),
    retry_after=st.none() | st.floats(),
)


@given(st.lists(events, max_size=200), st.floats(0.0, 500.0))
def test_no_history_stops_the_sending(history, longest_wait):
    throttle, time = SendRate(longest_wait), 0.0
    for event in history:
        time += max(event.later, throttle.wait(time))
        throttle.sent(time)
        if event.ends == "refused":
            throttle.refused(time, event.retry_after)
        elif event.ends == "replied":
            throttle.replied()
        assert throttle.rate(time) > 0.0
        assert math.isfinite(throttle.wait(time)) or throttle.wait(time) == -math.inf
        assert throttle.wait(time) <= max(longest_wait, 1e-3) + 1e-6


@settings(max_examples=25, deadline=None)
@given(
    rate=st.integers(2, 100),
    latency=st.sampled_from([0.005, 0.2, 1.5]),
    way=st.sampled_from([0.001, 0.02, 0.1]),
    retry_after=st.sampled_from([None, 0.0, 1.0]),
    phase=st.floats(0.0, 1.0),
    window=st.booleans(),
)
def test_any_limit_is_used(rate, latency, way, retry_after, phase, window):
    limiter = FixedWindow(rate, 1.0, phase) if window else TokenBucket(rate, rate)
    endpoint = load(Endpoint(limiter, latency, way, retry_after), 40, workers=256)
    assert endpoint.rate(15, 40) >= 0.85 * rate
    assert endpoint.refused_share(15, 40) <= 0.15


def test_the_documented_longest_pause():
    throttle = SendRate()
    for time in (0.0, 10.0, 11.0, 12.0):
        throttle.sent(time)
        throttle.refused(time, 1e9)
    assert throttle.wait(12.0) == LONGEST_PAUSE
