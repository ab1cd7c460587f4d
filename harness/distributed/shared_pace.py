"""One limit of sending for all processes that ask one endpoint.

A process of Ray's, beside the command, says when a request may be sent, as harness.models.api.rate_limit decides it for
one process. Each request costs one round trip to it, about a millisecond within a machine.

How many requests are under way is not counted here: the command hands out no more episodes than that, and a place that
a lost machine held would never be given back.
"""

from __future__ import annotations

import asyncio
from typing import Any

from harness.distributed.cluster import Cluster
from harness.models.api.rate_limit import LONGEST_PAUSE, RateLimiter

UNCOUNTED = 1 << 30
"""Places that are never used up."""


class Pacemaker:
    """What the processes ask; runs under Ray."""

    def __init__(self) -> None:
        self._limiter: RateLimiter | None = None

    async def acquire(self, longest_wait: float) -> int:
        """Waits until a request may be sent. How many ended well until now."""
        if self._limiter is None:
            self._limiter = RateLimiter(UNCOUNTED, longest_wait=longest_wait)
        await self._limiter.acquire()
        return self._limiter.accepted_count

    async def release(self) -> None:
        if self._limiter is not None:
            self._limiter.release()

    async def slow_down(self, retry_after: float | None) -> None:
        if self._limiter is not None:
            self._limiter.slow_down(retry_after)


def start_pacemaker(cluster: Cluster) -> Any:
    """One on the machine of this command, which ends with it."""
    options = {"num_cpus": 0, "max_concurrency": 1 << 16, "scheduling_strategy": cluster.beside_us()}
    return cluster.ray.remote(Pacemaker).options(**options).remote()


class SharedPace:
    """A harness.models.api.rate_limit.Pace that asks the pacemaker."""

    def __init__(self, pacemaker: Any, longest_wait: float = LONGEST_PAUSE) -> None:
        self.accepted_count = 0
        self._pacemaker = pacemaker
        self._longest_wait = longest_wait

    async def acquire(self) -> None:
        asked = asyncio.ensure_future(_wait_for(self._pacemaker.acquire.remote(self._longest_wait)))
        try:
            self.accepted_count = max(self.accepted_count, await asyncio.shield(asked))
        except asyncio.CancelledError:
            asked.add_done_callback(lambda _: self.release())
            raise

    def release(self) -> None:
        self.accepted_count += 1
        self._pacemaker.release.remote()

    def slow_down(self, retry_after: float | None) -> None:
        self._pacemaker.slow_down.remote(retry_after)


async def _wait_for(answer: Any) -> int:
    """Ray's answer: an object that can be awaited and is no coroutine."""
    accepted: int = await answer
    return accepted
