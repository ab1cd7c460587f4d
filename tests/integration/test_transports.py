"""What both transports have in common below a dialect, and what only the light one promises.

The server writes bytes as they stand, because half of what goes wrong is what no HTTP library would send.
"""

import asyncio
import base64
import contextlib
import datetime
import gzip
import ipaddress
import ssl
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from builders import record, sample, write_records
from commands import episodes, harness, one_sentence
from fakes.chat_server import ChatServer, text

from harness.models import ModelOptions
from harness.models.api import aiohttp_transport, anthropic, gemini, openai
from harness.models.api.endpoint import EndpointModel
from harness.redaction import Redactor
from harness.types import Message, ModelRequest, Sampling

OK = b'{"choices":[{"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}'
CLIENTS = ("aiohttp", "openai")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP", "HTTPS", "ALL", "NO"):
        monkeypatch.delenv(f"{name}_PROXY", raising=False)
        monkeypatch.delenv(f"{name.lower()}_proxy", raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OPENAI_CUSTOM_HEADERS", "ANTHROPIC_CUSTOM_HEADERS", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID"):
        monkeypatch.delenv(name, raising=False)


def answer(body: bytes = OK, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


class RawServer:
    """Answers every request with the bytes that `script` makes of it (head and body), and may then hang up."""

    def __init__(self, script: Callable[[bytes], bytes], context: ssl.SSLContext | None = None, closes: bool = False):
        self.requests: list[bytes] = []
        self.connections = 0
        self._writers: list[asyncio.StreamWriter] = []
        self._script, self._context, self._closes = script, context, closes
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> "RawServer":
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://localhost:{self.port}/v1"

    async def _start(self) -> None:
        self._server = await asyncio.start_server(self._handle, "127.0.0.1", 0, ssl=self._context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        mine = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        await asyncio.wait_for(asyncio.gather(*mine), 10)

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(OSError, EOFError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await self._reply(head, reader, writer)
                if self._closes:
                    break
        writer.close()

    async def _reply(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if head.startswith(b"CONNECT "):
            self.requests.append(head)
            return await self._tunnel(head, reader, writer)
        length = next(line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        self.requests.append(head + await reader.readexactly(int(length.split(b":")[1])))
        writer.write(self._script(self.requests[-1]))
        await writer.drain()
        return None

    async def _tunnel(self, head: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        port = int(head.split()[1].rpartition(b":")[2])
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer))


async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(2**16):
            writer.write(data)
            await writer.drain()
    writer.close()


def ask(
    url: str, backend: ModuleType = openai, times: int = 1, environ: Any = None, headers: Any = None, **args: str
) -> str:
    """What a model said, or how it failed."""

    async def run() -> str:
        given = {"max_retries": "0", "timeout": "5", **args}
        options = ModelOptions(given, url, 2, 1, environ or {}, Redactor(), headers or {})
        model = backend.load("m", options)
        assert isinstance(model, EndpointModel)
        request = ModelRequest([Message("user", "hé")], (), Sampling(), sample())
        try:
            for _ in range(times):
                said = await model(request)
            return said.message.content
        except Exception as error:
            return f"{getattr(error, 'stop', '')}: {error}"
        finally:
            await model.aclose()

    return asyncio.run(run())


# --- what is sent ------------------------------------------------------------------------------------------------

CUSTOM = "X-Team: blue \nno header\nOpenAI-Organization: ours\nAnthropic-Version: 9\nX-Empty:"
SENT = [
    (openai, {"OPENAI_API_KEY": "sk-env-1234"}, {}, "?a=b%20c&y[]=%C3%A9"),
    (openai, {}, {"organization": "org-1", "project": "p-1"}, ""),
    (openai, {"OPENAI_CUSTOM_HEADERS": CUSTOM, "OPENAI_ORG_ID": "theirs"}, {}, ""),
    (openai, {"OPENAI_CUSTOM_HEADERS": "authorization: Custom 1"}, {"api_key": "sk-1234567"}, ""),
    (openai, {"OPENAI_CUSTOM_HEADERS": "authorization: Custom 1"}, {}, "u:p@"),
    (gemini, {"GEMINI_API_KEY": "g-1234567", "OPENAI_CUSTOM_HEADERS": CUSTOM, "OPENAI_ORG_ID": "theirs"}, {}, "?k=v"),
    (anthropic, {"ANTHROPIC_API_KEY": "sk-ant-1"}, {}, "?k=v"),
    (anthropic, {"ANTHROPIC_CUSTOM_HEADERS": CUSTOM}, {"api_key": "sk-ant-1"}, ""),
    (anthropic, {}, {}, "u:p@"),
]


@pytest.mark.parametrize(("backend", "environ", "args", "more"), SENT)
def test_both_transports_send_the_same(
    backend: ModuleType, environ: Any, args: Any, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)  # where the clients look
    own = "anthropic" if backend is anthropic else "openai"
    with RawServer(lambda asked: answer(b"{}")) as server:
        url = server.url.replace("//", f"//{more}") if more.endswith("@") else server.url + more
        for client in ("aiohttp", own):
            ask(url, backend, environ=environ, client=client, **args)
    ours, theirs = map(told_apart, server.requests)
    assert ours == theirs
    assert ours[1]["authorization"]


ADDED = [
    (openai, {"OPENAI_API_KEY": "sk-env-1234"}, {"HTTP-Referer": "https://a.example", "x-title": " A b "}, ""),
    (openai, {"OPENAI_API_KEY": "sk-env-1234"}, {"authorization": "Bearer other-1234"}, ""),
    (openai, {"OPENAI_CUSTOM_HEADERS": CUSTOM}, {"x-team": "red", "api-key": "az-123456"}, "?api-version=2026-01-01"),
    (openai, {}, {"user-agent": "mine", "openai-organization": "ours"}, "u:p@"),
    (gemini, {"GEMINI_API_KEY": "g-1234567", "OPENAI_CUSTOM_HEADERS": CUSTOM}, {"x-team": "red"}, ""),
    (anthropic, {"ANTHROPIC_API_KEY": "sk-ant-1"}, {"anthropic-beta": "x-1", "Anthropic-Version": "9"}, ""),
    (anthropic, {}, {"X-API-Key": "sk-ant-123"}, ""),
]


@pytest.mark.parametrize(("backend", "environ", "headers", "more"), ADDED)
def test_added_headers_go_with_every_request_of_both_transports(
    backend: ModuleType, environ: Any, headers: Any, more: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    own = "anthropic" if backend is anthropic else "openai"
    with RawServer(lambda asked: answer(b"{}")) as server:
        url = server.url.replace("//", f"//{more}") if more.endswith("@") else server.url + more
        for client in ("aiohttp", own):
            ask(url, backend, environ=environ, headers=headers, client=client)
    for request in server.requests:
        lines = request.decode().partition("\r\n\r\n")[0].lower().split("\r\n")
        sent = [line.split(": ", 1) for line in lines[1:]]
        for name, value in headers.items():
            assert [found for known, found in sent if known == name.lower()] == [value.strip().lower()]
        assert b"no-key" not in request
    ours, theirs = map(told_apart, server.requests)
    assert ours == theirs


def told_apart(request: bytes) -> tuple[str, dict[str, str], str]:
    """Request line, headers apart from those by which a client tells who it is, and body."""
    head, _, body = request.decode().partition("\r\n\r\n")
    first, *lines = head.split("\r\n")
    pairs = (line.split(":", 1) for line in lines)
    headers = {name.lower(): value.strip() for name, value in pairs if not name.lower().startswith("x-stainless-")}
    assert headers.pop("user-agent")
    headers.pop("connection", None)  # kept alive, which need not be said
    return first, headers, body


# --- what comes back ---------------------------------------------------------------------------------------------

RAW_DEFLATE = zlib.compressobj(wbits=-zlib.MAX_WBITS)
REPLIES = {
    "plain": answer(),
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(OK), OK),
    "until the end": b"HTTP/1.0 200 OK\r\n\r\n" + OK,
    "after others": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + answer(),
    "gzip": answer(gzip.compress(OK), "Content-Encoding: GZIP"),
    "gzip twice": answer(gzip.compress(gzip.compress(OK)), "Content-Encoding: gzip, gzip"),
    "deflate": answer(zlib.compress(OK), "Content-Encoding: deflate"),
    "raw deflate": answer(RAW_DEFLATE.compress(OK) + RAW_DEFLATE.flush(), "Content-Encoding: deflate"),
    "headers": answer(OK, "X-A: \xff\xfe", f"X-B: {'b' * 90_000}", "Set-Cookie: ;;=;", "Retry-After: \xe9"),
}
FAILURES = {
    "nothing": (b"", "connection: openai/m: RemoteProtocolError: Server disconnected without sending a response."),
    "half a head": (b"HTTP/1.1 200 OK\r\nConte", "connection: openai/m: RemoteProtocolError: Server disconnected"),
    "no HTTP": (b"\0\1\2\r\n\r\n", "connection: openai/m: RemoteProtocolError: "),
    "no status": (b"HTTP/1.1 abc OK\r\n\r\n", "connection: openai/m: RemoteProtocolError: "),
    "no header": (answer(OK, "no colon"), "connection: openai/m: RemoteProtocolError: "),
    "endless header": (answer(OK, f"X: {'a' * 200_000}"), "connection: openai/m: RemoteProtocolError: "),
    "no length": (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "connection: openai/m: RemoteProtocolError: "),
    "half a body": (
        b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + OK,
        "connection: openai/m: RemoteProtocolError: peer closed connection without sending complete message body",
    ),
    "half a chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        "connection: openai/m: RemoteProtocolError: peer closed connection without sending complete message body",
    ),
    "no chunk": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab",
        "connection: openai/m: RemoteProtocolError: ",
    ),
    "no gzip": (
        answer(b"no gzip", "Content-Encoding: gzip"),
        "connection: openai/m: DecodingError: Error -3 while decompressing data: incorrect header check",
    ),
    "nothing in it": (answer(b""), "not_json: openai/m: status 200 without JSON:"),
    "no such status": (answer(b"{}", status="999 X"), "http_999: openai/m: HTTP 999: {}"),
    "nowhere to go": (answer(b"{}", status="307 X"), "http_307: openai/m: HTTP 307: {}"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_every_form_of_a_reply_is_read(client: str) -> None:
    for name, reply in REPLIES.items():
        with RawServer(lambda asked, reply=reply: reply, closes=True) as server:
            assert (name, ask(server.url, client=client)) == (name, "hi")


@pytest.mark.parametrize("client", CLIENTS)
def test_every_fault_has_the_same_stop_and_words(client: str) -> None:
    for name, (reply, said) in FAILURES.items():
        with RawServer(lambda asked, reply=reply: reply, closes=True) as server:
            assert (name, ask(server.url, client=client)[: len(said)]) == (name, said)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_place_that_is_not_there_has_the_same_words(client: str) -> None:
    said = "connection: openai/m: ConnectError: All connection attempts failed"
    assert ask("http://127.0.0.1:9/v1", client=client) == said


@pytest.mark.parametrize("client", CLIENTS)
def test_a_reply_that_trickles_in_ends_at_the_timeout(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(1000):
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()

    monkeypatch.setattr(RawServer, "_handle", lambda self, *streams: drip(*streams))
    with RawServer(lambda asked: b"") as server:
        began = time.monotonic()
        said = ask(server.url, client=client, timeout="0.3")
    assert said == "timeout: openai/m: no reply within 0.3 s"
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("client", CLIENTS)
def test_a_connection_that_was_closed_meanwhile_costs_no_attempt(client: str) -> None:
    """The server hangs up without a word while the model's tools run."""

    async def run(url: str) -> list[int]:
        model = openai.load("m", ModelOptions({"client": client}, url, 1, 1, {}, Redactor()))
        request = ModelRequest([Message("user", "q")], (), Sampling(), sample())
        retries = []
        for _ in range(5):
            reply: Any = await model(request)  # type: ignore[misc]
            retries.append(reply.usage.retries)
            time.sleep(0.05)  # the event loop hears of nothing
        await model.aclose()
        return retries

    with RawServer(lambda asked: answer(), closes=True) as server:
        assert asyncio.run(run(server.url)) == [0] * 5
    assert server.connections == 5


def test_a_connection_is_kept() -> None:
    with RawServer(lambda asked: answer()) as server:
        assert ask(server.url, times=5) == "hi"
    assert server.connections == 1


# --- the largest reply -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["length", "chunked", "gzip", "gzip twice", "deflate"])
@pytest.mark.parametrize("client", CLIENTS)
def test_a_reply_is_bounded_however_it_comes(form: str, client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiohttp_transport, "MAX_REPLY_BYTES", 2**20)
    large, small = (b" " * (2**20 - len(OK) + more) + OK for more in (1, 0))

    def reply(body: bytes) -> bytes:
        if form == "length":
            return answer(body)
        if form == "chunked":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        if form == "deflate":
            return answer(zlib.compress(body), "Content-Encoding: deflate")
        packed = gzip.compress(body)
        twice = form == "gzip twice"
        return answer(gzip.compress(packed) if twice else packed, f"Content-Encoding: gzip{', gzip' * twice}")

    for body, said in ((large, "connection: openai/m: the reply is larger than 1 MiB"), (small, "hi")):
        with RawServer(lambda asked, body=body: reply(body)) as server:
            assert ask(server.url, max_retries="3", client=client) == said
        assert len(server.requests) == 1


def test_six_gigabytes_in_a_small_gzip_take_no_room() -> None:
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | 16)
    block = b"\0" * 2**20
    packed = b"".join(packer.compress(block) for _ in range(100)) + packer.flush()
    assert len(packed) < 2**17
    assert aiohttp_transport.decompress(packed, "gzip") is None
    assert len(aiohttp_transport.inflate(packed, True)) == aiohttp_transport.MAX_REPLY_BYTES + 1 == 2**26 + 1


# --- redirects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", CLIENTS)
def test_a_redirect_is_followed_on_its_host_only(client: str) -> None:
    with RawServer(lambda asked: answer()) as other:

        def script(asked: bytes) -> bytes:
            place = {b"/v1/": "/v2/chat/completions?k=v", b"/v3/": other.url}
            found = next((to for path, to in place.items() if path in asked.split(b"\r\n")[0]), None)
            return answer() if found is None else answer(b"", f"Location: {found}", status="308 X")

        with RawServer(script) as server:
            assert ask(server.url, client=client) == "hi"
            away = ask(server.url.replace("/v1", "/v3"), api_key="sk-12345678", client=client)
    assert server.requests[1].startswith(b"POST /v2/chat/completions?k=v HTTP/1.1\r\n")
    assert server.requests[1].endswith(server.requests[0].rpartition(b"\r\n")[2])
    assert away == f"http_308: openai/m: HTTP 308: the endpoint sends requests on to {other.url}, which is not followed"
    assert other.requests == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("place", ["/v1/chat/completions", "//elsewhere/v1", "ftp://h/x", "", ":::"])
def test_a_redirect_to_nowhere_is_final(status: int, place: str) -> None:
    with RawServer(lambda asked: answer(b"", f"Location: {place}", status=f"{status} X")) as server:
        assert ask(server.url, max_retries="2").startswith(f"http_{status}: openai/m: HTTP {status}: ")
    assert len(server.requests) <= 2


# --- certificates and proxies ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody else has signed, with its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    hosts = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(hosts), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    form, pem = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    path.write_bytes(made.public_bytes(pem) + key.private_bytes(pem, form, serialization.NoEncryption()))
    return path


def serving(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize("client", CLIENTS)
def test_certificates_are_those_of_the_variables(
    client: str, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with RawServer(lambda asked: answer(), serving(certificate)) as server:
        said = ask(server.url, client=client)
        assert said.startswith("connection: openai/m: ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED]")
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        assert "CERTIFICATE_VERIFY_FAILED" in ask(server.url, client=client)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert ask(server.url, client=client, times=2) == "hi"
    assert len(server.requests) == 2


@pytest.mark.parametrize("client", CLIENTS)
def test_the_bundle_of_requests_is_trusted_where_no_other_is_named(
    client: str, certificate: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with RawServer(lambda asked: answer(), serving(certificate)) as server:
        assert ask(server.url, client=client) == "hi"
        folder = tmp_path / "hashed"
        folder.mkdir()
        hashed = subprocess.run(
            ["openssl", "x509", "-hash", "-noout", "-in", certificate], capture_output=True, text=True, check=True
        )
        (folder / f"{hashed.stdout.strip()}.0").write_bytes(certificate.read_bytes())
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(folder))
        assert ask(server.url, client=client) == "hi"
        monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
        assert "CERTIFICATE_VERIFY_FAILED" in ask(server.url, client=client)


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"])
@pytest.mark.parametrize("client", CLIENTS)
def test_certificates_that_cannot_be_read_are_one_sentence(name: str, client: str, tmp_path: Path) -> None:
    words = ("eval", "--model", "m", "--tasks", "demo_*", "--base-url", "https://h/v1", "--out", tmp_path / "run")
    nothing = tmp_path / "nothing.pem"
    said = one_sentence(harness(*words, "--model-arg", f"client={client}", **{name: str(nothing)}))
    assert f"{name} names no certificates that can be read: {nothing} (No such file or directory)." in said
    nothing.write_text("no certificate")
    assert f"{name} names no certificates" in one_sentence(harness(*words, **{name: str(nothing)}))


@pytest.mark.parametrize("client", CLIENTS)
def test_requests_go_through_the_proxy_of_their_scheme(
    client: str, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with RawServer(lambda asked: answer()) as proxy, RawServer(lambda asked: answer(), serving(certificate)) as server:
        place = f"http://clerk:p%40ss@127.0.0.1:{proxy.port}"
        monkeypatch.setenv("HTTP_PROXY", place)
        monkeypatch.setenv("https_proxy", place)
        args = {"client": client, "api_key": "sk-12345678"}
        assert ask("http://no.such.host/v1?k=v", **args) == "hi"
        assert ask(server.url, **args) == "hi"
        monkeypatch.setenv("NO_PROXY", "localhost")
        assert ask(server.url, **args) == "hi"
    plain, tunnel = proxy.requests
    assert plain.startswith(b"POST http://no.such.host/v1/chat/completions?k=v HTTP/1.1\r\n")
    assert tunnel.startswith(f"CONNECT localhost:{server.port} HTTP/1.1\r\n".encode())
    for request in proxy.requests:
        assert b"roxy-Authorization: Basic " + base64.b64encode(b"clerk:p@ss") in request
    assert len(server.requests) == 2
    assert not any(b"roxy-" in request for request in server.requests)
    assert b"sk-12345678" not in tunnel
    assert all(b"Bearer sk-12345678" in request for request in (plain, *server.requests))


@pytest.mark.parametrize("client", CLIENTS)
def test_a_proxy_that_refuses_is_named(client: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: RawServer, head: bytes, reader: Any, writer: asyncio.StreamWriter) -> Any:
        writer.write(b"HTTP/1.1 407 Who are you\r\nContent-Length: 0\r\n\r\n")
        return writer.drain()

    monkeypatch.setattr(RawServer, "_tunnel", refuse)
    with RawServer(lambda asked: b"") as proxy:
        monkeypatch.setenv("ALL_PROXY", f"127.0.0.1:{proxy.port}")
        said = ask("https://no.such.host/v1", client=client)
    assert said == "connection: openai/m: ProxyError: 407 Who are you"


def test_a_proxy_that_cannot_be_used_is_one_sentence(tmp_path: Path) -> None:
    words = ("eval", "--model", "m", "--tasks", "demo_*", "--base-url", "http://h/v1", "--out", tmp_path / "run")
    said = one_sentence(harness(*words, ALL_PROXY="socks5://clerk:hunter2-hunter2@h:1"))
    assert "proxy socks5://h:1 is none that requests can go through" in said
    assert "client=openai" in said
    assert "hunter2" not in said


@pytest.mark.skipif(find_spec("socksio") is not None, reason="SOCKS is there")
def test_socks_without_its_package_is_one_sentence(tmp_path: Path) -> None:
    words = ("eval", "--model", "m", "--tasks", "demo_*", "--base-url", "http://h/v1", "--out", tmp_path / "run")
    proxies = {"ALL_PROXY": "socks5://clerk:hunter2-hunter2@h:1", "NO_PROXY": "h"}
    said = one_sentence(harness(*words, "--model-arg", "client=openai", **proxies))
    assert "proxy socks5://h:1 speaks SOCKS" in said
    assert "pip install socksio" in said
    assert "hunter2" not in said


def test_an_address_of_azure_keeps_its_version_and_takes_its_key_in_a_header() -> None:
    with RawServer(lambda asked: answer()) as server:
        url = server.url.replace("/v1", "/openai/deployments/mine?api-version=2024-10-21")
        for client in CLIENTS:
            assert ask(url, headers={"api-key": "az-12345678"}, client=client) == "hi"
    for request in server.requests:
        head = request.partition(b"\r\n\r\n")[0]
        assert head.startswith(b"POST /openai/deployments/mine/chat/completions?api-version=2024-10-21 HTTP/1.1\r\n")
        assert b"api-key: az-12345678" in head
        assert b"uthorization" not in head


# --- light -------------------------------------------------------------------------------------------------------

PROGRAM = """
import asyncio, sys
from harness.models import ModelOptions, load_model
from harness.types import Gold, Message, ModelRequest, Sample, Sampling

async def ask(model):
    messages = (Message("user", "q"),)
    try:
        await model(ModelRequest(messages, (), Sampling(), Sample("s", messages, (), {}, Gold({}))))
    except Exception as error:
        assert "ConnectError" in str(error), error
    await model.aclose()

for name in ("openai/m", "gemini/m", "anthropic/m"):
    args = {"max_retries": "0", "api_key": "sk-12345678"}
    asyncio.run(ask(load_model(name, ModelOptions(args, base_url="http://localhost:9/v1"))))
print(*sorted({"openai", "anthropic", "httpx2", "httpcore2", "pydantic"} & set(sys.modules)))
"""


def test_no_client_of_a_provider_is_imported() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("\n", "")


def test_a_run_may_be_resumed_through_the_other_client(tmp_path: Path) -> None:
    path = write_records(tmp_path / "towns.jsonl", [record(id="s0"), record(id="s1")])
    with ChatServer(lambda asked: text("Answer: 1")) as server:
        words = ("eval", "--model", "m", "--tasks", path, "--out", tmp_path / "run", "--base-url", server.url)
        first = harness(*words, "--limit", "2", "--model-arg", "client=openai")
        lines = (tmp_path / "run" / "samples.jsonl").read_text().splitlines(keepends=True)
        (tmp_path / "run" / "samples.jsonl").write_text(lines[0])
        second = harness(*words, "--limit", "2", "--resume")
    assert (first.returncode, second.returncode) == (0, 0), second.stderr
    assert len({episode["key"] for episode in episodes(tmp_path / "run")}) == 2
    assert len(server.requests) == 3


def test_claude_needs_no_client_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(anthropic, "find_spec", lambda name: None)
    with RawServer(lambda asked: answer(b'{"content": [{"type": "text", "text": "hi"}]}')) as server:
        assert ask(server.url, anthropic) == "hi"
