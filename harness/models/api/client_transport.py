"""Sends through a provider's own client (packages `openai` and `anthropic`), which is used as transport only.

Its retries are off: they also repeat an exhausted quota, do not repeat a 200 without content, and count for nobody.
Bytes are asked for, because its typed objects cost more than the request. What a reply may hold, and which redirect is
followed, is as with aiohttp_transport.py.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import aiohttp

from harness.models.api import aiohttp_transport
from harness.models.api.aiohttp_transport import (
    MAX_REDIRECTS,
    decompress,
    describe,
    may_follow,
    redirect_failure,
    too_large_failure,
)
from harness.models.api.certificates import verify_option
from harness.models.api.connection import EndpointSettings
from harness.models.api.transport import REST_SECONDS, Response, Sink, connection_failure, has_events, timeout_failure
from harness.models.api.wire import RequestFailure
from harness.types import JSONObject


class ClientTransport:
    """A provider's client, and the package that it is from, for the classes of its errors."""

    def __init__(self, client: Any, package: Any, settings: EndpointSettings) -> None:
        self.client = client
        self._package = package
        self._timeout = settings.timeout
        left_out = {name: package.Omit() for name, value in settings.headers.items() if value is None}
        self._options = {"headers": left_out}  # the client lets its key be left out of a request only

    async def post(self, path: str, body: JSONObject, sink: Sink | None = None) -> Response | RequestFailure:
        import httpx2

        how = {} if sink is None else {"stream": True, "stream_cls": self._package.AsyncStream}
        try:
            response = await self.client.post(path, cast_to=httpx2.Response, body=body, options=self._options, **how)
            if sink is not None and await read_events(response, sink):
                return Response(response.status_code, response.headers, b"")
        except self._package.APIStatusError as error:
            response = error.response
        except self._package.APITimeoutError:
            return timeout_failure(self._timeout)
        except Exception as error:
            # Not only connection errors: a server's headers can make the client raise nearly anything.
            cause = error.__cause__ or error
            if isinstance(cause, UnusableReply):
                return cause.failure
            if isinstance(cause, aiohttp.ClientError):
                return RequestFailure("connection", describe(cause))
            return connection_failure(cause)
        return Response(
            response.status_code, response.headers, response.content if response.is_stream_consumed else b""
        )

    async def aclose(self) -> None:
        await self.client.close()


async def read_events(response: Any, sink: Sink) -> bool:
    """Gives the sink the events of a response. False: it has none, and was read whole."""
    try:
        if not has_events(response.status_code, response.headers):
            await response.aread()
            return False
        chunks = response.aiter_bytes()
        async for chunk in chunks:
            if sink.feed(chunk):
                break
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REST_SECONDS):
                async for _ in chunks:
                    pass
        return True
    finally:
        await response.aclose()


class UnusableReply(Exception):
    """A reply that no one should read on, or be sent on by."""

    def __init__(self, failure: RequestFailure) -> None:
        super().__init__(failure.text)
        self.failure = failure


def bounded_client(kind: Any) -> Any:
    """The same kind of HTTP client, whose replies are bounded also once they are decompressed, and which is redirected
    on the same host only: the key and the prompt would go along."""
    import httpx2

    class Bounded(kind):  # type: ignore[misc]
        async def send(self, request: Any, *, stream: bool = False, **options: Any) -> Any:
            options["follow_redirects"] = False
            for _ in range(MAX_REDIRECTS + 1):
                answer = await super().send(request, stream=True, **options)
                if stream and has_events(answer.status_code, answer.headers):
                    return answer  # whoever reads them bounds them
                content = await read_whole(answer)
                following = answer.next_request
                if following is None:
                    kept = [(name, value) for name, value in answer.headers.raw if name.lower() not in OF_THE_BODY]
                    return httpx2.Response(answer.status_code, headers=kept, content=content, request=request)
                if not may_follow(answer.status_code, str(request.url), str(following.url)):
                    raise UnusableReply(redirect_failure(answer.status_code, str(following.url)))
                request = following
            raise httpx2.TooManyRedirects("Exceeded maximum allowed redirects.", request=request)

    return Bounded


OF_THE_BODY = frozenset({b"content-encoding", b"content-length", b"transfer-encoding"})
"""Headers that are no longer so once a body was read."""


async def read_whole(answer: Any) -> bytes:
    """A body without its codings. Raises UnusableReply for one that is too large."""
    parts, size = list[bytes](), 0
    try:
        async for part in answer.aiter_raw():
            parts.append(part)
            size += len(part)
            if size > aiohttp_transport.MAX_REPLY_BYTES:
                raise UnusableReply(too_large_failure())
    finally:
        await answer.aclose()
    plain = decompress(b"".join(parts), answer.headers.get("content-encoding", ""))
    if plain is None:
        raise UnusableReply(too_large_failure())
    return plain


def client_options(settings: EndpointSettings, package: Any) -> dict[str, Any]:
    """What the client of any provider's package is made with: a connection for every slot, no retries of its own."""
    import httpx2

    limits = httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
    timeout = httpx2.Timeout(None, connect=settings.connect_timeout)
    return {
        "base_url": settings.base_url,
        "api_key": settings.api_key,
        "default_headers": {name: value for name, value in settings.headers.items() if value is not None},
        "default_query": settings.query,
        "max_retries": 0,
        "timeout": timeout,
        "http_client": bounded_client(package.DefaultAsyncHttpxClient)(
            limits=limits, timeout=timeout, verify=verify_option()
        ),
    }
