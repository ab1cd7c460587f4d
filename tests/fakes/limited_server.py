"""How endpoints limit requests, without a clock of their own, and a script for the chat server that does it.

A limiter is asked with the time in seconds whether a request that arrives then is taken, and told when one it took is
over. `Limited` is such a script, and counts:

    limited = Limited(SlidingWindow(20, 1.0), lambda asked: text("done"), {"retry_after": "1"})
    with ChatServer(limited) as server: ...
    limited.accepted                            # times, by time.monotonic()
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from fakes.chat_server import Asked, Step, rate_limited


class Limiter(Protocol):
    def takes(self, now: float) -> bool: ...

    def over(self) -> None: ...


@dataclass
class TokenBucket:
    """`rate` tokens a second into a bucket of `size`; one of size 1 wants even distances."""

    rate: float
    size: float
    filled_at: float = 0.0

    def __post_init__(self) -> None:
        self.tokens = self.size

    def takes(self, now: float) -> bool:
        self.tokens = min(self.size, self.tokens + (now - self.filled_at) * self.rate)
        self.filled_at = now
        taken = self.tokens >= 1.0 - 1e-9
        self.tokens -= taken
        return taken

    def over(self) -> None: ...


@dataclass
class FixedWindow:
    """`limit` requests in each window of `period` seconds; the windows begin `phase` seconds off."""

    limit: int
    period: float
    phase: float = 0.0
    window: float = -1.0
    count: int = 0

    def takes(self, now: float) -> bool:
        window = (now + self.phase) // self.period
        if window != self.window:
            self.window, self.count = window, 0
        self.count += 1
        return self.count <= self.limit

    def over(self) -> None: ...


@dataclass
class SlidingWindow:
    """`limit` requests in any `period` seconds; with `counts_all` the refused ones count as well."""

    limit: int
    period: float
    counts_all: bool = False
    times: deque[float] = field(default_factory=deque)

    def takes(self, now: float) -> bool:
        while self.times and self.times[0] <= now - self.period:
            self.times.popleft()
        taken = len(self.times) < self.limit
        if taken or self.counts_all:
            self.times.append(now)
        return taken

    def over(self) -> None: ...


@dataclass
class AtOnce:
    """`limit` requests under way."""

    limit: int
    under_way: int = 0

    def takes(self, now: float) -> bool:
        taken = self.under_way < self.limit
        self.under_way += taken
        return taken

    def over(self) -> None:
        self.under_way -= 1


@dataclass
class Until:
    """One limiter until a time, then another."""

    first: Limiter
    at: float
    then: Limiter

    def takes(self, now: float) -> bool:
        return (self.first if now < self.at else self.then).takes(now)

    def over(self) -> None: ...


@dataclass
class Limited:
    """A script: status 429 with `headers` for what the limiter refuses, and `answer` for the rest."""

    limiter: Limiter
    answer: Callable[[Asked], Step]
    headers: dict[str, str] = field(default_factory=dict)
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def __call__(self, asked: Asked) -> Step:
        now = time.monotonic()
        if not self.limiter.takes(now):
            self.refused.append(now)
            return rate_limited(**self.headers)
        self.accepted.append(now)
        return self.answer(asked)
