"""Until a run's endpoint has accepted a first request: one at a time, and an early end where it accepts none.

Sixteen episodes at once would meet a wrong key sixteen times, and two hundred recorded failures would look like a run.
So the first request is sent alone and the others wait: for its reply, or PATIENCE seconds where nothing was heard at
all, because a refusal comes sooner than what a slow model says. The run ends without a score

- after EQUAL_REFUSALS episodes that were refused in the same words and that no wait cures (401, 403, 404, 400 ...);
- after the first episode whose endpoint could not be reached at all, which was tried again as any failure is;
- after `max_wait` seconds of anything else (429, 5xx, silence).

Refusals for the length of a prompt say something about the model and are none of these.
"""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from harness.errors import ModelFailure, NothingAccepted
from harness.types import Model, ModelRequest, Reply

EQUAL_REFUSALS = 5
PATIENCE = 2.0
"""Seconds in which a refusal comes."""
MAX_WAIT = 600.0
"""Seconds, unless --max-wait says otherwise."""

CURABLE = re.compile(r"http_(408|409|425|429|5\d\d)|timeout")
"""Failures that may be over when the endpoint is asked again."""
COUNTED = re.compile(r"\S*\d\S*")
"""Words of a sentence that may differ although it says the same: numbers of requests, digests, sizes."""


class FirstReply(Model):
    """A remote model as a run's episodes share it. Belongs to one event loop.

    `accepted`: it has replied before, in an earlier part of the same run. `patience`: PATIENCE, unless said otherwise.
    """

    def __init__(
        self,
        model: Model,
        max_wait: float,
        accepted: bool,
        clock: Callable[[], float] = time.monotonic,
        patience: float = PATIENCE,
    ) -> None:
        self.name, self.fingerprint = model.name, model.fingerprint
        self.accepted = accepted or not model.remote
        self._model = model
        self._max_wait = max_wait
        self._ends = clock() + max_wait
        self._clock = clock
        self._patience = patience
        self._alone = asyncio.Lock()
        self._said = self._refusal = ""
        self._equal = 0
        self._deadlines: set[asyncio.Timeout] = set()

    async def __call__(self, request: ModelRequest) -> Reply:
        """The model's reply. Raises ModelFailure as the model does, and NothingAccepted."""
        if not self.accepted:
            try:
                async with self._turn():
                    if not self.accepted:
                        return await self._first(request)
            except asyncio.CancelledError:  # the episode's own time is over: waiting was all that it did
                self._said = self._said or self._model.trouble or f"{self.name}: no reply"
                raise
        return await self._ask(request)

    def accept(self) -> None:
        """The endpoint has replied, here or to another process: nobody's request ends with `max_wait` any more."""
        self.accepted = True
        for deadline in self._deadlines:
            if not deadline.expired():
                deadline.reschedule(None)
        self._deadlines.clear()

    async def aclose(self) -> None:
        await self._model.aclose()

    @property
    def undecided(self) -> bool:
        """Whether requests have failed and none was accepted yet."""
        return not self.accepted and bool(self._said)

    def check_accepted(self) -> None:
        """Raises NothingAccepted where every request so far was refused."""
        if self.undecided:
            raise NothingAccepted(f"{self._said}; no request was accepted.")

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """When nobody else waits for a reply, or the one who does has waited long and met no failure."""
        alone = True
        try:
            async with asyncio.timeout(self._patience):
                await self._alone.acquire()
        except TimeoutError:
            alone = bool(self._said or self._model.trouble)
            if alone:
                await self._alone.acquire()
        try:
            yield
        finally:
            if alone:
                self._alone.release()

    async def _ask(self, request: ModelRequest) -> Reply:
        said = self._model(request)
        return await said if inspect.isawaitable(said) else said

    async def _first(self, request: ModelRequest) -> Reply:
        try:
            async with asyncio.timeout(max(0.0, self._ends - self._clock())) as timer:
                self._deadlines.add(timer)
                reply = await self._ask(request)
        except TimeoutError:
            if not timer.expired():
                raise
            if not self.accepted:
                raise self._waited() from None
            return await self._ask(request)  # it was cut off in the moment in which another was accepted
        except ModelFailure as failure:
            self._count(failure)
            raise
        finally:
            self._deadlines.discard(timer)
        self.accept()
        return reply

    def _count(self, failure: ModelFailure) -> None:
        """Raises NothingAccepted where there is no point in asking again."""
        if self.accepted or failure.outcome == "token_limit":
            return
        self._said = str(failure)
        refusal = COUNTED.sub("#", f"{failure.stop} {failure}")
        self._equal = self._equal + 1 if refusal == self._refusal else 1
        self._refusal = refusal
        if CURABLE.fullmatch(failure.stop):
            if self._clock() >= self._ends:
                raise self._waited()
        elif failure.stop == "connection" or self._equal >= EQUAL_REFUSALS:
            self.check_accepted()

    def _waited(self) -> NothingAccepted:
        said = self._model.trouble or self._said or f"{self.name}: no reply"
        return NothingAccepted(f"{said}; no request was accepted within {self._max_wait:g} seconds (--max-wait).")
