"""A model behind an HTTP endpoint: sends a request until a reply or a failure is final.

Generic over two parts. A dialect turns a request into a path and a body, and bodies into a Reply or a RequestFailure
(chat.py, responses.py, messages.py; wire.py holds what they share, refusals.py what they learn from refusals). A
transport carries both (transport.py).

Retries and waits are decided here, whatever the transport could do of them, and every field of a reply is distrusted,
because a server's nonsense must become a Reply or a ModelFailure and never a traceback in the middle of a run.

Replies that come as streams are put together first (streaming.py, events.py); nobody else knows of them.
"""

from __future__ import annotations

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from harness.data.arguments import replace_surrogates
from harness.errors import ModelFailure, UsageError
from harness.key_shapes import hide_keys
from harness.models.api.call_ids import find_ids, read_id_rule
from harness.models.api.connection import EndpointSettings, ModelIdentity
from harness.models.api.events import open_stream, read_unasked
from harness.models.api.hidden_errors import find_hidden_error
from harness.models.api.lessons import CONTEXT, Episode
from harness.models.api.lost_calls import AS_TEXT, NO_TOOLS, read_failed_generation, read_torn_call
from harness.models.api.rate_limit import Pace, RateLimiter
from harness.models.api.reasoning import Switch
from harness.models.api.refusals import PERHAPS_CONTENT, Refusals, check_overrides
from harness.models.api.streaming import Streaming
from harness.models.api.token_limits import FIELDS as TOKEN_FIELDS
from harness.models.api.token_limits import TokenLimit, asked_tokens, read_token_limit
from harness.models.api.transport import Response, Transport, connection_failure, timeout_failure
from harness.models.api.wire import (
    MAX_ERROR_CHARS,
    RequestFailure,
    WireRequest,
    decode_body,
    refused_content,
    refused_zero,
    without_escapes,
)
from harness.redaction import Redactor
from harness.runs.summary import NOT_SWITCHED
from harness.stops import http_stop
from harness.types import JSONObject, Model, ModelRequest, Reasoning, Reply, Usage

FIRST_BACKOFF = 1.0


def _has_begun(request: ModelRequest) -> bool:
    """Whether the model has spoken in this conversation."""
    return any(message.role == "assistant" for message in request.messages)


def _blame_number(option: str, limit: TokenLimit, failure: RequestFailure) -> RequestFailure:
    """A refusal of a person's own number of new tokens, in a sentence that says where it stands."""
    most = f"{limit.output:,} at most" if limit.output else f"{limit.room:,} beside this prompt"
    said = f"{option} is more new tokens than this model gives{f' ({most})' if limit.named else ''}: lower it"
    said = f"{said}, or leave it out to get what there is ({failure.text})"
    return replace(failure, stop=http_stop(400), outcome="model_error", retry=False, refused=None, text=said)


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
        self._streaming = Streaming(identity.name, settings.stream, settings.extra_body)
        self._random = random.Random(identity.seed)
        self._transport: Transport | None = None
        self._pace: Pace | None = None
        self._shared_pace: Callable[[float], Pace] | None = None

    async def __call__(self, request: ModelRequest) -> Reply:
        """One turn. Raises ModelFailure when none can be had, and UsageError for a reasoning that cannot be asked."""
        if self._transport is None or self._pace is None:
            self._transport = self._connect(self._settings)
            self._pace = self._make_pace(self._settings.max_retry_wait)
        return await self._answer(self._transport, self._pace, request)

    def share_pace(self, make: Callable[[float], Pace]) -> None:
        """Has requests sent as a pace allows that other processes share. `make` gets the seconds of a server's
        Retry-After that are believed."""
        self._shared_pace = make

    def _make_pace(self, longest: float) -> Pace:
        if self._shared_pace is not None:
            return self._shared_pace(longest)
        return RateLimiter(self._settings.concurrency, self.clock, lambda seconds: self.sleep(seconds), longest)

    def switch(self, reasoning: Reasoning) -> JSONObject:
        """The fields that every request carries for a reasoning. Raises UsageError where the provider has none."""
        return check_overrides(self._dialect.switch(reasoning), self._settings.extra_body)

    def learnt(self, reasoning: Reasoning) -> list[JSONObject]:
        return self._dialect.refusals.lessons.to_json(reasoning)

    def recall(self, learnt: Sequence[Mapping[str, Any]], reasoning: Reasoning, episodes: Collection[Episode]) -> None:
        self._dialect.refusals.recall(learnt, reasoning, episodes)

    def unlike(self, reasoning: Reasoning) -> Collection[Episode]:
        return self._dialect.refusals.lessons.unlike(reasoning)

    def forget(self, episode: Episode, reasoning: Reasoning) -> None:
        self._dialect.refusals.lessons.forget(episode, reasoning)

    async def aclose(self) -> None:
        transport, self._transport, self._pace = self._transport, None, None
        if transport is not None:
            await transport.aclose()

    async def _answer(self, transport: Transport, pace: Pace, request: ModelRequest) -> Reply:
        """Sends until there is a reply, a failure that is final, or no attempt left.

        A 429 is a failed attempt only if the endpoint took nothing at all since this request was last refused, and at
        most one a second: a mere rate limit costs no episode.
        """
        sent_requests = failed = 0
        asked = request.sampling.max_tokens
        accepted, counted = pace.accepted_count, -math.inf
        while True:
            sent, result = await self._send(transport, pace, request)
            sent_requests += 1
            if isinstance(result, Reply):
                self.trouble = None
                self._dialect.refusals.answered(sent.body, request)
                usage = replace(result.usage, retries=sent_requests - 1)
                return replace(result, usage=usage, note=self._note(request, result.note, asked))
            self._check_own_number(request, result, sent_requests)
            if self._streaming.learn(result, sent):
                continue
            if (fitted := self._fit(request, sent, result)) is not None:
                request = fitted
                continue
            result = self._blame(request, result)
            if self._adapt(result, sent) and not (result.retry and result.refused == PERHAPS_CONTENT):
                continue  # else a guess goes with a retry that there would be anyway
            failure = self._failure(result, sent_requests)
            self.trouble = str(failure)
            limited = result.stop == "http_429"
            if limited and (pace.accepted_count > accepted or self.clock() < counted + self._least_apart()):
                accepted = pace.accepted_count
                continue
            if not result.retry or failed == self._settings.max_retries:
                if (torn := read_torn_call(result, request)) is not None:
                    return replace(torn, usage=replace(torn.usage, retries=sent_requests - 1))
                raise failure
            accepted, counted = pace.accepted_count, self.clock()
            if not limited:  # after a 429 it is the pace that waits
                await self.sleep(self._backoff(failed, result.wait))
            failed += 1

    def _least_apart(self) -> float:
        """Seconds between two 429s that both count as failed attempts."""
        return min(1.0, self._settings.max_retry_wait)

    async def _send(
        self, transport: Transport, pace: Pace, request: ModelRequest
    ) -> tuple[WireRequest, Reply | RequestFailure]:
        """One request, when its time has come."""
        await pace.acquire()
        try:
            sent = self._streaming.apply(self._dialect.make_request(request))
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
                stream = open_stream(sent)
                response = await transport.post(sent.path, sent.body, stream)
            if isinstance(response, Response):
                begun = stream is not None and stream.begun
                response = stream.finish(response) if stream and begun else read_unasked(sent, response)
            return response if isinstance(response, RequestFailure) else self._read(sent, response, request)
        except TimeoutError:
            return timeout_failure(self._settings.timeout)
        except Exception as error:
            return connection_failure(error)

    def _read(self, sent: WireRequest, response: Response, request: ModelRequest) -> Reply | RequestFailure:
        if (lost := read_failed_generation(response.status, response.content, request)) is not None:
            return lost
        if 200 <= response.status < 300:
            if (hidden := find_hidden_error(response.content)) is None:
                return self._dialect.read_reply(sent, response.content, request)
            status, text = hidden
            failure = self._read_failure(sent, status, response, text)
            return replace(failure, text=f"HTTP {response.status} with an error inside, {failure.text}")
        return self._read_failure(sent, response.status, response, decode_body(response.content))

    def _read_failure(self, sent: WireRequest, status: int, response: Response, text: str) -> RequestFailure:
        text = without_escapes(text)
        failure = self._dialect.read_failure(sent, status, response.headers, text)
        limit = read_token_limit(status, text, asked_tokens(sent.body))
        ids = read_id_rule(status, text, list(find_ids(sent.body)))
        refused = failure.refused
        if refused in {None, "temperature"} and self._dialect.refusals.asks_least(sent.body):
            refused = refused_zero(status, text) or refused
        if refused is None and limit is None and failure.outcome != "token_limit":
            refused = refused_content(status, text)
        return replace(failure, limit=limit, ids=ids, refused=refused)

    def _adapt(self, failure: RequestFailure, sent: WireRequest) -> bool:
        """Learns from a refusal, for the rest of the run. False if there is nothing new to try."""
        if failure.ids is not None and self._dialect.refusals.learn_ids(failure.ids, sent.body):
            return True
        return failure.refused is not None and self._dialect.adapt(failure, sent)

    def _fit(self, request: ModelRequest, sent: WireRequest, failure: RequestFailure) -> ModelRequest | None:
        """The request as it may be sent again after it asked for more new tokens than it can have; None where it was
        refused for something else, and where nothing is left to try."""
        limit = failure.limit
        if limit is None or (self._settings.max_tokens_option and limit.output is not None):
            return None
        if limit.room and limit.context is None and not _has_begun(request):
            limit = TokenLimit(output=limit.room, named=limit.named)  # a first prompt says nothing of its own
        if not self._dialect.refusals.learn_limit(limit, sent.body):
            return None
        if limit.room is None:
            return request
        fitted = replace(request, sampling=replace(request.sampling, max_tokens=limit.room))
        try:
            self._dialect.make_request(fitted)
        except UsageError:  # a budget of reasoning that has no room any more
            return None
        return fitted

    def _check_own_number(self, request: ModelRequest, failure: RequestFailure, sent: int) -> None:
        """Raises UsageError where a person's own number of new tokens is refused before anything was accepted."""
        limit, option = failure.limit, self._own_number
        if limit is None or option is None or limit.room == 0 or _has_begun(request):
            return
        if not self._dialect.refusals.lessons.accepted:
            raise UsageError(f"{self._failure(_blame_number(option, limit, failure), sent)}.")

    @property
    def _own_number(self) -> str | None:
        """What a person set the new tokens of a turn by; None where nobody did."""
        if any(name in self._settings.extra_body for name in TOKEN_FIELDS):
            return "max_tokens of --model-arg extra_body"
        return self._settings.max_tokens_option

    def _blame(self, request: ModelRequest, failure: RequestFailure) -> RequestFailure:
        """What a refusal for the number of new tokens says of the episode: that the conversation fills the context, or
        nothing of the model where the number is more than any turn can have."""
        limit, option = failure.limit, self._own_number
        if limit is None:
            return failure
        if limit.output is None and (_has_begun(request) or not limit.room or option is None):
            return replace(failure, stop="context_length", outcome="token_limit", retry=False, refused=None)
        if option is None:
            return replace(failure, stop=http_stop(400), outcome="model_error", retry=False)
        return _blame_number(option, limit, failure)

    def _note(self, request: ModelRequest, note: str | None, asked: int) -> str | None:
        """What the record should say besides: that a turn had less room than was asked for in a context whose size is
        unknown, and that the reasoning which was asked for was not switched on or off."""
        if request.sampling.max_tokens < asked and CONTEXT not in self._dialect.refusals.lessons.values:
            fitted = f"the endpoint refused {asked:,} new tokens here: {request.sampling.max_tokens:,} were asked for"
            note = f"{note}; {fitted}" if note else fitted
        refused = self._dialect.refusals.refused_switch
        if request.reasoning.mode == "default" or refused is None:
            return note
        said = f"{NOT_SWITCHED}the endpoint refuses {refused}"
        if request.reasoning.mode == "off" and self._dialect.refusals.cannot_think:
            said = NOTHING_TO_SWITCH
        return f"{note}; {said}" if note else said

    def _backoff(self, failed: int, asked: float | None) -> float:
        """Seconds, exponential, half of them by chance: the four waits of an episode are together at least 7.5, so that
        none falls into one short outage. Never less than the server asked for, and never more than the cap."""
        cap = self._settings.max_retry_wait
        most = min(cap, FIRST_BACKOFF * 2.0 ** min(failed, 16))
        jittered = self._random.uniform(most / 2, most)
        return min(cap, max(asked or 0.0, jittered))

    def _failure(self, failure: RequestFailure, sent: int) -> ModelFailure:
        text = " ".join(self._redact(hide_keys(replace_surrogates(failure.text))).split())
        text = text if len(text) <= MAX_ERROR_CHARS else f"{text[:MAX_ERROR_CHARS]}..."
        tries = f" (after {sent} requests)" if sent > 1 else ""
        hint = f" ({self._dialect.hint})" if failure.stop == "http_404" else ""
        hint = f" ({AS_TEXT})" if NO_TOOLS.search(failure.text) else hint
        return ModelFailure(
            f"{self.name}: {text}{hint}{tries}",
            outcome=failure.outcome,
            stop=failure.stop,
            usage=Usage(requests=1, retries=sent - 1),
        )
