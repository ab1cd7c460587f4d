"""Sends through a provider's own client (packages `openai` and `anthropic`), which is used as transport only.

Its retries are off: they also repeat an exhausted quota, do not repeat a 200 without content, and count for nobody.
Bytes are asked for, because its typed objects cost more than the request.

Left out: a limit on the size of a reply, and on where it is redirected to: both are the client's.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

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
            return connection_failure(error.__cause__ or error)
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
        "http_client": package.DefaultAsyncHttpxClient(limits=limits, timeout=timeout, verify=verify_option()),
    }
