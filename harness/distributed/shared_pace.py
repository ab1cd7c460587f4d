"""One limit of sending for all processes that ask one endpoint.

A process of Ray's, beside the command, says when a request may be sent, as harness.models.api.rate_limit decides it for
one process. Until an endpoint has refused a first request nothing limits, so nobody waits to be told so: a request is
sent, and the answer to it tells its process whether to wait from now on.

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
        self._limits = False

    async def acquire(self, longest_wait: float, released: int) -> tuple[int, bool]:
        """Waits until a request may be sent; `released` of whoever asks ended well since it last asked. How many did of
        all, and whether a request was ever refused."""
        if self._limiter is None:
            self._limiter = RateLimiter(UNCOUNTED, longest_wait=longest_wait)
        for _ in range(released):
            self._limiter.release()
        await self._limiter.acquire()
        return self._limiter.accepted_count, self._limits

    async def slow_down(self, retry_after: float | None) -> None:
        self._limits = True
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
        self._released = 0
        self._limited = False
        self._asking: set[asyncio.Task[None]] = set()

    async def acquire(self) -> None:
        asking = asyncio.create_task(self._ask())
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)
        if self._limited:
            await asyncio.shield(asking)

    def release(self) -> None:
        self.accepted_count += 1
        self._released += 1

    def slow_down(self, retry_after: float | None) -> None:
        self._limited = True
        self._pacemaker.slow_down.remote(retry_after)

    async def _ask(self) -> None:
        released, self._released = self._released, 0
        accepted, limited = await self._pacemaker.acquire.remote(self._longest_wait, released)
        self.accepted_count = max(self.accepted_count, accepted)
        self._limited = self._limited or limited
