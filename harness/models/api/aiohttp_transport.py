"""Sends through aiohttp: the default, because it is light.

Milliseconds of CPU a request (a body of 4.4 KB, connections kept alive; 1 / 16 / 128 at once, medians of five
interleaved rounds): the openai client 1.7 / 2.2 / 3.5, httpx2 alone 1.1 / 1.4 / 2.5 (its pool polls every connection
for each request), httpcore2's connections without that pool 0.59 / 0.58 / 0.61, aiohttp 0.37 / 0.30 / 0.37, h11 over
asyncio's streams 0.30 / 0.26 / 0.29. h11 would leave proxies, TLS, chunks and faults to us: aiohttp has them.

What is sent, and what becomes of every fault, is as with the providers' clients, in the words of the library they use
(a `ConnectError` is one whatever carried it), with three differences: a reply has a largest size, a redirect is
followed to the same host only, as the key and the prompt would go with it, and no cookies are kept.

Left out: HTTP/2, SOCKS.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import select
import ssl
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urljoin, urlsplit
from weakref import WeakSet

import aiohttp
from multidict import CIMultiDict
from yarl import URL

import harness
from harness.models.api.certificates import given_context
from harness.models.api.connection import EndpointSettings
from harness.models.api.proxies import Proxy, find_proxy
from harness.models.api.transport import REST_SECONDS, Response, Sink, connection_failure, has_events, timeout_failure
from harness.models.api.wire import RequestFailure
from harness.redaction import public_url
from harness.stops import http_stop
from harness.types import JSONObject

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ClientRequest
    from aiohttp.connector import Connection
    from aiohttp.tracing import Trace

MAX_REPLY_BYTES = 64 * 2**20
"""A reply that is larger, also once it is decompressed, is none: three megabytes of gzip can hold six thousand."""

MAX_HEADER_BYTES = 100 * 2**10
MAX_HEADERS = 1000
MAX_REDIRECTS = 20
IDLE_SECONDS = 5.0
"""A connection that was idle for longer is not used again: servers close theirs without a word."""

encode_body = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode


class AiohttpTransport:
    """One session, with a connection for every slot. `headers` are those of the provider; equal names: the last one."""

    def __init__(self, settings: EndpointSettings, *headers: Mapping[str, str | None]) -> None:
        self._timeout = settings.timeout
        self._base_url = settings.base_url
        self._query = f"?{urlencode(settings.query)}" if settings.query else ""
        self._headers = merge_headers(DEFAULT_HEADERS, *headers)
        self._routes: dict[str, Route] = {}
        self._session = aiohttp.ClientSession(
            connector=Connector(limit=settings.concurrency, keepalive_timeout=IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, connect=settings.connect_timeout),
            auto_decompress=False,
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            max_headers=MAX_HEADERS,
        )

    async def post(self, path: str, body: JSONObject, sink: Sink | None = None) -> Response | RequestFailure:
        try:
            content = encode_body(body).encode()
            url = f"{self._base_url}{path}{self._query}"
            for _ in range(MAX_REDIRECTS + 1):
                answer = await self._send(self._route(url), content, sink)
                if isinstance(answer, RequestFailure) or answer.status not in REDIRECTS:
                    return answer
                if (location := answer.headers.get("location")) is None:
                    return answer
                target = urljoin(url, location)
                if not may_follow(answer.status, url, target):
                    return redirect_failure(answer.status, target)
                url = target
            return RequestFailure("connection", "TooManyRedirects: Exceeded maximum allowed redirects.")
        except TimeoutError:
            return timeout_failure(self._timeout)
        except (aiohttp.ClientError, OSError) as error:
            return RequestFailure("connection", describe(error))
        except Exception as error:
            # A server's nonsense is a failure of its request, never a traceback in the middle of a run.
            return connection_failure(error)

    async def aclose(self) -> None:
        await self._session.close()

    def _route(self, url: str) -> Route:
        if url not in self._routes:
            self._routes[url] = Route(url, self._headers)
        return self._routes[url]

    async def _send(self, route: Route, content: bytes, sink: Sink | None) -> Response | RequestFailure:
        async with self._session.post(route.url, data=content, allow_redirects=False, **route.options) as answer:
            packed = answer.headers.get("content-encoding", "identity") != "identity"
            if sink is not None and not packed and has_events(answer.status, answer.headers):
                await read_events(answer, sink)
                return Response(answer.status, answer.headers, b"")
            read = await read_bounded(answer)
            events = sink is not None and has_events(answer.status, answer.headers)
        plain = None if read is None else decompress(read, answer.headers.get("content-encoding", ""))
        if plain is None:
            return too_large_failure()
        if sink is not None and events:
            sink.feed(plain)
        return Response(answer.status, answer.headers, plain)


class Connector(aiohttp.TCPConnector):
    """Hands out no connection that the server has closed: the event loop may not have heard of it yet."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._used: WeakSet[asyncio.Transport] = WeakSet()

    async def connect(self, req: ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout) -> Connection:
        while True:
            connection = await super().connect(req, traces, timeout)
            transport = connection.transport
            if transport is None or transport not in self._used:
                if transport is not None:
                    self._used.add(transport)
                return connection  # a new one, on which TLS may have something to read
            if not has_something_to_read(transport.get_extra_info("socket").fileno()):
                return connection
            connection.close()


def has_something_to_read(descriptor: int) -> bool:
    """On a connection between two requests: that its end has come, or nonsense."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(0))


class Route:
    """How a URL is reached: with which headers and certificates, and through which proxy.

    The headers are no defaults of the session, because aiohttp gives those to the proxy as well, the key among them.
    """

    def __init__(self, url: str, headers: CIMultiDict[str]) -> None:
        proxy = find_proxy(url)
        self.url = URL(url, encoded=True)
        self.options: dict[str, Any] = {"headers": headers}
        if url.startswith("https:") or is_https(proxy):
            self.options["ssl"] = tls_context()
        if proxy is not None:
            self.options |= {"proxy": proxy.url, "proxy_headers": proxy.headers}
            if self.url.scheme == "http":  # no tunnel: the proxy is sent the request itself
                self.options["headers"] = merge_headers(headers, proxy.headers)


def is_https(proxy: Proxy | None) -> bool:
    return proxy is not None and proxy.url.startswith("https:")


# --- headers -----------------------------------------------------------------------------------------------------

DEFAULT_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "gzip, deflate",
    "Content-Type": "application/json",
    "User-Agent": f"tool-harness/{harness.__version__}",
}


def merge_headers(*groups: Mapping[str, str | None]) -> CIMultiDict[str]:
    """All of them, of equal names in any case the last one; None takes one away."""
    merged: CIMultiDict[str] = CIMultiDict()
    for name, value in (item for group in groups for item in group.items()):
        if value is not None:
            merged[name] = value
        else:
            merged.pop(name, None)
    return merged


# --- certificates ------------------------------------------------------------------------------------------------

CA_FILES = (
    "/etc/ssl/cert.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/cert.pem",
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/ssl/ca-bundle.pem",
)
"""Where distributions keep them, for a Python that was built elsewhere."""


def tls_context() -> ssl.SSLContext:
    """Those that a variable names, else the system's certificates, as httpx2 finds them."""
    if (given := given_context()) is not None:
        return given
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    file, folder = system_certificates()
    if file or folder:
        context.load_verify_locations(file, folder)
    return context


def system_certificates() -> tuple[str | None, str | None]:
    """The file and the folder of OpenSSL, or the first file that there is."""
    built = ssl.get_default_verify_paths()
    file = built.openssl_cafile if Path(built.openssl_cafile).is_file() else None
    folder = Path(built.openssl_capath)
    hashed = folder.is_dir() and any(re.fullmatch(r"[0-9a-fA-F]{8}\.\d", entry.name) for entry in folder.iterdir())
    if file or hashed:
        return file, str(folder) if folder.is_dir() else None
    return next((name for name in CA_FILES if Path(name).is_file()), None), None


# --- redirects ---------------------------------------------------------------------------------------------------

REDIRECTS = frozenset({301, 302, 303, 307, 308})
REPEATED = frozenset({307, 308})
"""Those that say: send the same again, there. The others would have a GET follow, which no API answers."""


def may_follow(status: int, url: str, target: str) -> bool:
    """Whether a redirect stays on its host: the same address, or https where it was http."""
    old, new = urlsplit(url), urlsplit(target)
    same = (old.scheme, old.hostname, old.port) == (new.scheme, new.hostname, new.port)
    secured = (old.scheme, old.port, new.scheme, new.port) == ("http", None, "https", None)
    return status in REPEATED and url != target and (same or (secured and old.hostname == new.hostname))


def redirect_failure(status: int, target: str) -> RequestFailure:
    said = f"HTTP {status}: the endpoint sends requests on to {public_url(target)}, which is not followed"
    return RequestFailure(http_stop(status), said, "model_error", retry=False)


# --- replies -----------------------------------------------------------------------------------------------------


def too_large_failure() -> RequestFailure:
    return RequestFailure("connection", f"the reply is larger than {MAX_REPLY_BYTES >> 20} MiB", retry=False)


async def read_events(answer: aiohttp.ClientResponse, sink: Sink) -> None:
    """Gives the sink what comes, until it wants nothing more."""
    async for part in answer.content.iter_any():
        if sink.feed(part):
            break
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_SECONDS):
            async for _ in answer.content.iter_any():
                pass


async def read_bounded(answer: aiohttp.ClientResponse) -> bytes | None:
    """The body as it was sent, None for one that is too large."""
    length = answer.content_length
    if length is not None:
        return await answer.read() if length <= MAX_REPLY_BYTES else None
    parts, size = list[bytes](), 0
    async for part in answer.content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_REPLY_BYTES:
            return None
    return b"".join(parts)


def decompress(content: bytes, codings: str) -> bytes | None:
    """A body without its codings, which are named in the order they were applied; None where it is too large."""
    for coding in reversed(codings.lower().split(",")):
        if coding.strip() not in {"gzip", "deflate"}:
            continue  # none, or one that was not asked for
        try:
            content = inflate(content, coding.strip() == "gzip")
        except zlib.error as error:
            raise aiohttp.ClientPayloadError(f"DecodingError: {error}") from None
        if len(content) > MAX_REPLY_BYTES:
            return None
    return content


def inflate(content: bytes, gzip: bool) -> bytes:
    """At most one byte more than a reply may have. What servers call deflate is zlib's format, or it without a head."""
    if gzip:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(content, MAX_REPLY_BYTES + 1)
    try:
        return zlib.decompressobj().decompress(content, MAX_REPLY_BYTES + 1)
    except zlib.error:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, MAX_REPLY_BYTES + 1)


# --- failures ----------------------------------------------------------------------------------------------------


def describe(error: Exception) -> str:
    """What broke, in httpx2's words: people know them, and their own scripts may look for them."""
    match error:
        case aiohttp.ClientHttpProxyError():
            return f"ProxyError: {error.status} {error.message}"
        case aiohttp.ClientConnectorCertificateError():
            return f"ConnectError: {error.certificate_error}"
        case aiohttp.ClientConnectorSSLError() | aiohttp.ClientConnectorDNSError():
            return f"ConnectError: {error.os_error}"
        case aiohttp.ClientConnectorError():
            return "ConnectError: All connection attempts failed"
        case aiohttp.ServerDisconnectedError():
            return "RemoteProtocolError: Server disconnected without sending a response."
        case aiohttp.ClientPayloadError() if str(error).startswith("DecodingError"):
            return str(error)
        case aiohttp.ClientPayloadError():
            return "RemoteProtocolError: peer closed connection without sending complete message body"
        case aiohttp.ClientResponseError():
            return f"RemoteProtocolError: {error.message}"  # its text would hold the URL
        case aiohttp.ClientOSError() | ConnectionError():
            return f"ReadError: {os.strerror(error.errno) if error.errno else ''}"  # its text may hold the URL
        case _:
            return f"{type(error).__name__}: {error}"
