"""Where an episode is scored: beside the others, or in a thread, so that they are not held up.

Scoring reads every output and takes milliseconds, in which an event loop does nothing else: no reply is read and no
request is sent. Where an endpoint answers, each of these holds up whoever's reply has come. So there the episodes are
scored in one thread, which gives way to the loop after half a millisecond: Python's own five are as long as what they
are to avoid. Models that answer at once gain nothing from it, and a hand-over costs them more than a short episode.

Left out: going on before an episode is scored. Budgets and the order of records are kept by waiting for it.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from functools import cache
from typing import TypeVar

from harness.types import Trajectory

T = TypeVar("T")
LONG_TEXT = 200_000
"""Characters of calls and outputs, which take some tenths of a second to score: too long for any loop."""
GIVE_WAY_SECONDS = 0.0005


async def off_the_loop(trajectory: Trajectory, make: Callable[[], T], others_wait: bool) -> T:
    """What is made of an episode; without calls there is little to read. `others_wait`: for an endpoint, meanwhile."""
    size = sum(len(call.output) + len(call.call.raw) for call in trajectory.calls)
    if size >= LONG_TEXT or (others_wait and trajectory.calls):
        return await asyncio.get_running_loop().run_in_executor(_thread(), copy_context().run, make)
    return make()


@cache
def _thread() -> ThreadPoolExecutor:
    """One, because more would take turns with the loop as often as they are."""
    return ThreadPoolExecutor(1, thread_name_prefix="scoring")


@contextmanager
def giving_way(others_wait: bool) -> Iterator[None]:
    """While it lasts, a thread that scores gives way soon."""
    before = sys.getswitchinterval()
    if others_wait:
        sys.setswitchinterval(GIVE_WAY_SECONDS)
    try:
        yield
    finally:
        sys.setswitchinterval(before)
