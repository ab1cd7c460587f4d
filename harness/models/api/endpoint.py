"""A model behind an HTTP endpoint: sends a request until a reply or a failure is final.

Generic over two parts. A dialect turns a request into a path and a body, and bodies into a Reply or a RequestFailure
(chat.py, responses.py, messages.py; wire.py holds what they share, refusals.py what they learn from refusals). A
transport carries both (transport.py).

Retries and waits are decided here, whatever the transport could do of them, and every field of a reply is distrusted,
because a server's nonsense must become a Reply or a ModelFailure and never a traceback in the middle of a run.

Left out: streaming.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from harness.data.arguments import replace_surrogates
from harness.errors import ModelFailure
from harness.key_shapes import hide_keys
from harness.models.api.connection import EndpointSettings, ModelIdentity
from harness.models.api.rate_limit import RateLimiter
from harness.models.api.reasoning import Switch
from harness.models.api.refusals import Refusals, check_overrides
from harness.models.api.transport import Response, Transport, connection_failure, timeout_failure
from harness.models.api.wire import MAX_ERROR_CHARS, RequestFailure, WireRequest, decode_body
from harness.redaction import Redactor
from harness.runs.summary import NOT_SWITCHED
from harness.types import JSONObject, Model, ModelRequest, Reasoning, Reply, Usage

FIRST_BACKOFF = 1.0
NOTHING_TO_SWITCH = "nothing to switch off: the endpoint says that the model does not think"


class Dialect(Protocol):
    """What an API's format is, without I/O. `read_reply` and `read_failure` get the request that they answer."""

    @property
    def hint(self) -> str: ...
    @property
    def switch(self) -> Switch: ...
    @property
    def refusals(self) -> Refusals: ...
    def make_request(self, request: ModelRequest) -> WireRequest: ...
    def read_reply(self, sent: WireRequest, content: bytes, request: ModelRequest) -> Reply | RequestFailure: ...
    def read_failure(self, sent: WireRequest, status: int, headers: Mapping[str, str], text: str) -> RequestFailure: ...
    def adapt(self, failure: RequestFailure, sent: WireRequest) -> bool: ...


class EndpointModel(Model):
    """A model behind an endpoint. It belongs to one event loop from its first request until `aclose`."""

    remote = True

    def __init__(
        self,
        identity: ModelIdentity,
        settings: EndpointSettings,
        dialect: Dialect,
        connect: Callable[[EndpointSettings], Transport],
        redact: Redactor,
    ) -> None:
        self.name = identity.name
        self.fingerprint = identity.fingerprint
        self.sampling_options: Sequence[str] = getattr(dialect, "sampling_options", ())  # a third party's may have none
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self.clock: Callable[[], float] = time.monotonic
        self._settings = settings
        self._dialect = dialect
        self._connect = connect
        self._redact = redact
        self._random = random.Random(identity.seed)
        self._transport: Transport | None = None
        self._pace: RateLimiter | None = None

    async def __call__(self, request: ModelRequest) -> Reply:
        """One turn. Raises ModelFailure when none can be had, and UsageError for a reasoning that cannot be asked."""
        if self._transport is None or self._pace is None:
            self._transport = self._connect(self._settings)
            slots, longest = self._settings.concurrency, self._settings.max_retry_wait
            self._pace = RateLimiter(slots, self.clock, lambda seconds: self.sleep(seconds), longest)
        return await self._answer(self._transport, self._pace, request)

    def switch(self, reasoning: Reasoning) -> JSONObject:
        """The fields that every request carries for a reasoning. Raises UsageError where the provider has none."""
        return check_overrides(self._dialect.switch(reasoning), self._settings.extra_body)

    async def aclose(self) -> None:
        transport, self._transport, self._pace = self._transport, None, None
        if transport is not None:
            await transport.aclose()

    async def _answer(self, transport: Transport, pace: RateLimiter, request: ModelRequest) -> Reply:
        """Sends until there is a reply, a failure that is final, or no attempt left.

        A 429 is a failed attempt only if the endpoint took nothing at all since this request was last refused, and at
        most one a second: a mere rate limit costs no episode.
        """
        sent_requests = failed = 0
        accepted, counted = pace.accepted_count, -math.inf
        while True:
            sent, result = await self._send(transport, pace, request)
            sent_requests += 1
            if isinstance(result, Reply):
                usage = replace(result.usage, retries=sent_requests - 1)
                return replace(result, usage=usage, note=self._note(request, result.note))
            if result.refused and self._dialect.adapt(result, sent):
                continue
            failure = self._failure(result, sent_requests)
            self.trouble = str(failure)
            limited = result.stop == "http_429"
            if limited and (pace.accepted_count > accepted or self.clock() < counted + self._least_apart()):
                accepted = pace.accepted_count
                continue
            if not result.retry or failed == self._settings.max_retries:
                raise failure
            accepted, counted = pace.accepted_count, self.clock()
            if not limited:  # after a 429 it is the pace that waits
                await self.sleep(self._backoff(failed, result.wait))
            failed += 1

    def _least_apart(self) -> float:
        """Seconds between two 429s that both count as failed attempts."""
        return min(1.0, self._settings.max_retry_wait)

    async def _send(
        self, transport: Transport, pace: RateLimiter, request: ModelRequest
    ) -> tuple[WireRequest, Reply | RequestFailure]:
        """One request, when its time has come."""
        await pace.acquire()
        try:
            sent = self._dialect.make_request(request)
            result = await self._post(transport, sent, request)
        except BaseException:
            pace.release()
            raise
        if isinstance(result, RequestFailure) and result.stop == "http_429":
            pace.slow_down(result.wait)
        else:
            pace.release()
        return sent, result

    async def _post(self, transport: Transport, sent: WireRequest, request: ModelRequest) -> Reply | RequestFailure:
        """Errors become values, so that no exception with a request in it outlives this function."""
        try:
            # A limit on every read is one that a server which trickles bytes never reaches.
            async with asyncio.timeout(self._settings.timeout):
                response = await transport.post(sent.path, sent.body)
            return response if isinstance(response, RequestFailure) else self._read(sent, response, request)
        except TimeoutError:
            return timeout_failure(self._settings.timeout)
        except Exception as error:
            return connection_failure(error)

    def _read(self, sent: WireRequest, response: Response, request: ModelRequest) -> Reply | RequestFailure:
        if 200 <= response.status < 300:
            return self._dialect.read_reply(sent, response.content, request)
        return self._dialect.read_failure(sent, response.status, response.headers, decode_body(response.content))

    def _note(self, request: ModelRequest, note: str | None) -> str | None:
        """What the record should say besides: that the reasoning which was asked for was not switched on or off."""
        refused = self._dialect.refusals.refused_switch
        if request.reasoning.mode == "default" or refused is None:
            return note
        said = f"{NOT_SWITCHED}the endpoint refuses {refused}"
        if request.reasoning.mode == "off" and self._dialect.refusals.cannot_think:
            said = NOTHING_TO_SWITCH
        return f"{note}; {said}" if note else said

    def _backoff(self, failed: int, asked: float | None) -> float:
        """Exponential with full jitter, but never less than the server asked for, and never more than the cap."""
        cap = self._settings.max_retry_wait
        jittered = self._random.uniform(0.0, min(cap, FIRST_BACKOFF * 2.0 ** min(failed, 16)))
        return min(cap, max(asked or 0.0, jittered))

    def _failure(self, failure: RequestFailure, sent: int) -> ModelFailure:
        text = " ".join(self._redact(hide_keys(replace_surrogates(failure.text))).split())
        text = text if len(text) <= MAX_ERROR_CHARS else f"{text[:MAX_ERROR_CHARS]}..."
        tries = f" (after {sent} requests)" if sent > 1 else ""
        hint = f" ({self._dialect.hint})" if failure.stop == "http_404" else ""
        return ModelFailure(
            f"{self.name}: {text}{hint}{tries}",
            outcome=failure.outcome,
            stop=failure.stop,
            usage=Usage(requests=1, retries=sent - 1),
        )
