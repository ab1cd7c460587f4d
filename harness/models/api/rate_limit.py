"""When a request may be sent to an endpoint that answers 429 to too many.

The endpoint's limit is unknown: so many a second or a minute, counted by a bucket of tokens, a fixed or a sliding
window, or so many at once; and replies take 5 ms or 30 s. What can be seen is how many requests were refused, and
refusals come quickly. So one quantity is steered, the rate of sending, which also fits a limit on requests at once (so
many in the time that a reply takes):

- before the first refusal nothing limits but the slots;
- a refusal sets the rate a little below that of the requests that passed lately (sent and not refused). That is a
  measurement, so two hundred refusals of one burst slow down as much as the burst was too large, and no more;
- from there the logarithm of the rate climbs with the cube of the time, as the window of CUBIC does in TCP: slowly near
  the limit that was met, fast once it is clear that it is no longer there. It climbs the slower the fewer requests
  there were between two refusals;
- refusals in a row, without any reply between them, double the wait, up to eight seconds;
- the server's Retry-After is followed once such a row has lasted a second. A server may put "Retry-After: 1" on every
  refused request while it accepts twenty others in that second: following it at once would halve the throughput.

Left out: limits on tokens as such (they act as a rate of requests that changes), the headers that tell what is left
(every provider has others), and wishes to jump the queue.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Protocol

MEASURED_REQUESTS = 40
MEASURED_SECONDS = 1.0
"""The rate is measured over the last second, or over the last forty requests where these took longer."""

BELOW = 0.99
"""How far below the measured rate a refusal takes the rate."""

GENTLY = 0.9
"""The factor that one refusal changes a rate by at most: what was measured while it climbed lags behind it."""

FIRST_RATE = 1.0
"""Requests a second when nothing has passed at all, so that there is nothing to measure."""

DOUBLING = 5.0
LONGEST_DOUBLING = 120.0
"""Seconds in which the rate doubles without a refusal: at first, and at most."""

FEW_REQUESTS = 32
CALMER = 1.5
"""Fewer requests than this between two refusals make the doubling time longer by this factor, more make it shorter."""

LONGEST_WAIT = 8.0
"""Seconds between requests at most, unless the server asks for more: a limit that is lifted must be noticed."""

LONGEST_PAUSE = 120.0
"""Seconds of Retry-After that are believed, unless the caller says otherwise."""

LONG_ROW = 1.0
"""Seconds of refusals in a row from which Retry-After is followed. Shorter rows are common: the rest of a fixed
window of one second."""

QUIET = 1.0
"""Seconds of sending without a refusal after which the next one begins a new row: replies may take much longer."""

CATCH_UP = 0.5
"""Seconds of sending that are made up for, when the event loop was late or the slots were full."""

LOOK_AGAIN = 1.0
"""Seconds of sleep at most: the rate climbs meanwhile."""


class SendRate:
    """The rate of sending, without a clock or a queue of its own: every method is told the time in seconds.

    `longest_wait` caps what a server asks for, and the time between two requests.
    """

    def __init__(self, longest_wait: float = LONGEST_PAUSE) -> None:
        self._longest_pause = longest_wait
        self._longest_wait = max(1e-3, min(LONGEST_WAIT, longest_wait))
        self._sent_at = self._refused_at = self._row_began = -math.inf
        self._rate = math.inf
        self._resume = -math.inf
        self._last = -math.inf
        self._doubling = DOUBLING
        self._passed: deque[float] = deque()
        self._refusals = 0
        self._sent_since_refusal = 0
        self._sent_since_row = 0

    def rate(self, now: float) -> float:
        """Requests a second: what the last refusal left, and what has been climbed since sending went on."""
        climbed = max(0.0, now - self._resume) / self._doubling
        return self._rate * 2.0 ** min(climbed**3, 100.0) if self._rate < math.inf else math.inf

    def wait(self, now: float) -> float:
        """Seconds until the next request is due; 0 or less: it is."""
        return self._due(now) - now

    def sent(self, now: float) -> None:
        self._last = max(self._due(now), now - CATCH_UP)
        self._sent_at = now
        self._passed.append(now)
        while len(self._passed) > MEASURED_REQUESTS and self._passed[0] < now - MEASURED_SECONDS:
            self._passed.popleft()
        self._sent_since_refusal += 1
        self._sent_since_row += 1

    def replied(self) -> None:
        self._refusals = 0

    def refused(self, now: float, retry_after: float | None) -> None:
        """Slows down. Which request it was is not said: the newest is taken to be it, as refusals come quickly."""
        if self._passed:
            self._passed.pop()
        self._rate = max(1.0 / self._longest_wait, self._lower(now))
        self._count(now)
        wait = self._wait_in_row()
        if retry_after is not None and self._blocked(now):
            wait = max(wait, min(self._longest_pause, retry_after))
        self._resume = max(self._resume, now + wait)
        self._refused_at = now

    def _due(self, now: float) -> float:
        return max(self._resume, self._last + 1.0 / self.rate(now))

    def _wait_in_row(self) -> float:
        return min(self._longest_wait, 2.0 ** min(self._refusals - 1, 16) / self._rate)

    def _blocked(self, now: float) -> bool:
        """Nothing has got through for a while, and nothing sent since the last refusal may yet."""
        waiting = bool(self._passed) and self._passed[-1] > self._refused_at
        return not waiting and self._refusals > 1 and now >= self._row_began + LONG_ROW

    def _count(self, now: float) -> None:
        """Refusals in a row. Those that arrive before anything was sent again belong to the last one."""
        if now > self._resume + QUIET:
            self._refusals = 0
            self._steer_climb()
        if self._refusals == 0:
            self._row_began = now
        if self._sent_since_refusal:
            self._refusals += 1
            self._sent_since_refusal = 0
        self._refusals = max(1, self._refusals)

    def _steer_climb(self) -> None:
        factor = CALMER if self._sent_since_row < FEW_REQUESTS else 1.0 / CALMER
        self._doubling = min(LONGEST_DOUBLING, max(DOUBLING, self._doubling * factor))
        self._sent_since_row = 0

    def _lower(self, now: float) -> float:
        rate, measured = self.rate(now), self._measured()
        return measured if rate == math.inf else min(rate, max(measured, GENTLY * rate))

    def _measured(self) -> float:
        """A little less than what passed lately, in requests a second, up to the last request: a busy event loop hears
        of the refusals late."""
        if not self._passed:
            return FIRST_RATE
        return BELOW * len(self._passed) / max(MEASURED_SECONDS, self._sent_at - self._passed[0])


class Pace(Protocol):
    """When a request may be sent: RateLimiter, or one that several processes share (harness.distributed)."""

    accepted_count: int

    async def acquire(self) -> None: ...
    def release(self) -> None: ...
    def slow_down(self, retry_after: float | None) -> None: ...


class RateLimiter:
    """When a request may be sent to an endpoint that says 429 to too many; it belongs to one event loop.

        await pace.acquire()
        ...                     # the request
        pace.release()          # or pace.slow_down(retry_after), and acquire() again: there is no other wait

    `slots` is how many requests may be under way, `longest_wait` how many seconds of a server's Retry-After are
    believed (below eight, it also caps the time between two requests). Whoever acquired says once how it ended, by
    `release` when it was cancelled; ValueError for saying it twice.
    """

    def __init__(
        self,
        slots: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        longest_wait: float = LONGEST_PAUSE,
    ) -> None:
        self.accepted_count = 0
        """Requests that ended with any answer but 429."""
        self._clock = clock
        self._sleep = sleep
        self._slots = asyncio.BoundedSemaphore(slots)
        self._turn = asyncio.Lock()
        self._throttle = SendRate(longest_wait)

    async def acquire(self) -> None:
        """Waits until one more request may be sent; first come, first served. A cancelled wait leaves no trace."""
        async with self._turn:
            await self._slots.acquire()
            try:
                while (wait := self._throttle.wait(self._clock())) > 0:
                    await self._sleep(min(wait, LOOK_AGAIN))
            except BaseException:
                self._slots.release()
                raise
            self._throttle.sent(self._clock())

    def release(self) -> None:
        """The request ended with any answer but 429, an error included: its slot is free."""
        self._slots.release()
        self.accepted_count += 1
        self._throttle.replied()

    def slow_down(self, retry_after: float | None) -> None:
        """It ended with 429: its slot is free, and sending slows down. `retry_after` in seconds, None if not said."""
        self._slots.release()
        self._throttle.refused(self._clock(), retry_after)
