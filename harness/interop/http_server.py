"""Episodes over HTTP for clients that hold a token: OpenEnv's reset, step and state, and MCP. docs/interoperability.md

A session is a connection to /ws, as OpenEnv's client opens it, or the `episode_id` that POST /reset gave. Whoever knows
the token may play; nobody else learns more than that the server is there. It comes from the environment, a file or the
terminal, and is compared and never written. No request is logged.

Left out: TLS, for which there are proxies; users with rights of their own; browsers' cross-origin requests.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import logging
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from aiohttp import WSMsgType, web

import harness
from harness.console.text import one_line
from harness.errors import HarnessError, UsageError
from harness.interop.http_mcp import McpDoor
from harness.interop.http_text import PATIENCE, read_text
from harness.interop.sessions import NoRoom, NoSession, Session, Sessions
from harness.types import JSONObject

MAX_BODY = 4 * 2**20
"""Bytes of a request, which hold the longest arguments of a call several times."""
ALIVE = 30.0
"""Seconds after which a silent connection is asked whether it is still there."""
CONNECTIONS_OF_A_SESSION, SPARE_CONNECTIONS = 3, 64
"""More connections are closed at once: each takes a file of this process, and tools need some too."""
OPEN_TO_ALL = ("/health",)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
STATUS: dict[type[HarnessError], int] = {NoSession: 404, NoRoom: 503, UsageError: 422}
CODES: dict[type[HarnessError], str] = {NoRoom: "CAPACITY_REACHED", UsageError: "VALIDATION_ERROR"}


def make_app(sessions: Sessions, token: str) -> web.Application:
    """The server's routes, behind the token."""
    app = web.Application(client_max_size=MAX_BODY, middlewares=[guard(token)])
    door, mcp = OpenEnvDoor(sessions), McpDoor(sessions)
    app.add_routes(
        [
            web.get("/health", door.health),
            web.get("/metadata", door.metadata),
            web.get("/schema", door.schema),
            web.get("/samples", door.samples),
            web.post("/reset", door.reset),
            web.post("/step", door.step),
            web.get("/state", door.state),
            web.post("/close", door.close),
            web.get("/ws", door.converse),
            web.post("/mcp", mcp.answer),
            web.delete("/mcp", mcp.close),
        ]
    )
    return app


def guard(token: str) -> Any:
    """What every request passes: where it comes from, the token, and errors as sentences."""

    @web.middleware
    async def guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not is_from_here(request.headers.get("Origin"), request.headers.get("Host", "")):
            return web.json_response({"error": "Pages of other servers get nothing here."}, status=403)
        if request.path not in OPEN_TO_ALL and not is_allowed(request.headers.get("Authorization", ""), token):
            refused = {"WWW-Authenticate": "Bearer"}
            return web.json_response({"error": "This needs the server's token."}, status=401, headers=refused)
        try:
            return await handler(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            said = as_sentence(error)
            status = next((code for kind, code in STATUS.items() if isinstance(said, kind)), 500)
            return web.json_response({"error": str(said)}, status=status)

    return guarded


def as_sentence(error: Exception) -> HarnessError:
    """What a client is told; of a mistake of ours, which ends no other session, the terminal is told more."""
    if isinstance(error, HarnessError):
        return error
    if isinstance(error, RecursionError):
        return UsageError("The message is nested too deeply.")
    print(one_line(f"A request failed: {type(error).__name__}: {error}"), file=sys.stderr)
    return HarnessError(f"The server failed: {type(error).__name__}.")


def is_from_here(origin: str | None, host: str) -> bool:
    """Whether a request is no page's of another server: a browser that was once told the token sends it by itself, for
    whatever page it shows, and says which."""
    try:
        return origin is None or urlsplit(origin).netloc.lower() == host.lower()
    except ValueError:
        return False


def is_allowed(header: str, token: str) -> bool:
    """Whether an Authorization header has the token: as a bearer's, or as the password of a URL such as
    http://any:TOKEN@host, which is all that some clients can say."""
    scheme, _, said = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            said = base64.b64decode(said.strip(), validate=True).decode().partition(":")[2]
        except (binascii.Error, ValueError):
            return False
    elif scheme.lower() != "bearer":
        return False
    return hmac.compare_digest(said.strip().encode("utf-8", "replace"), token.encode())


async def read_object(request: web.Request) -> JSONObject:
    """A request's body; nothing is {}. Raises UsageError for what is no JSON object."""
    return parse_object(await read_text(request) or "{}")


def parse_object(text: str) -> JSONObject:
    """Raises UsageError."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise UsageError("The message is no JSON.") from None
    if not isinstance(value, dict):
        raise UsageError("The message is no JSON object.")
    return value


class OpenEnvDoor:
    """OpenEnv's interface, of which the sessions are ours: over plain HTTP they have an id, over /ws none is needed."""

    def __init__(self, sessions: Sessions) -> None:
        self.sessions = sessions

    async def health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "healthy"})

    async def metadata(self, request: web.Request) -> web.Response:
        names = ", ".join(self.sessions.served.tasks)
        said = {"name": "harness", "description": f"Episodes of {names}.", "version": harness.__version__}
        return web.json_response(said)

    async def schema(self, request: web.Request) -> web.Response:
        return web.json_response(SCHEMAS)

    async def samples(self, request: web.Request) -> web.Response:
        """What may be asked for."""
        return web.json_response({name: list(found) for name, found in self.sessions.served.samples.items()})

    async def reset(self, request: web.Request) -> web.Response:
        """Begins an episode in a new session, or in the one that is named."""
        asked = await read_object(request)
        name = asked.get("episode_id")
        session = self.sessions.open() if name is None else self.sessions.find(name)
        try:
            begun = await begin(session, asked)
        except Exception:
            if name is None:
                await self.sessions.close(session)
            raise
        begun["observation"]["episode_id"] = session.id
        return web.json_response(begun)

    async def step(self, request: web.Request) -> web.Response:
        asked = await read_object(request)
        return web.json_response(await self.sessions.find(asked.get("episode_id")).step(asked.get("action")))

    async def state(self, request: web.Request) -> web.Response:
        return web.json_response(self.sessions.state(request.query.get("episode_id")))

    async def close(self, request: web.Request) -> web.Response:
        session = self.sessions.find((await read_object(request)).get("episode_id"))
        await self.sessions.close(session)
        return web.json_response({"closed": True})

    async def converse(self, request: web.Request) -> web.WebSocketResponse:
        """A connection is a session."""
        wire = web.WebSocketResponse(heartbeat=ALIVE, max_msg_size=MAX_BODY)
        await wire.prepare(request)
        try:
            session = self.sessions.open()
        except NoRoom as error:
            await wire.send_json(as_error(error))
            await wire.close()
            return wire
        try:
            await self._talk(wire, session)
        finally:
            await self.sessions.close(session)
        return wire

    async def _talk(self, wire: web.WebSocketResponse, session: Session) -> None:
        """Answers one message after another until the client leaves or has said nothing for too long."""
        while True:
            try:
                said = await wire.receive(self.sessions.bounds.idle_seconds)
            except TimeoutError:
                await wire.close()
                return
            if said.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                return
            session.touch()
            try:
                answer = await heard(session, parse_object(text_of(said.data)))
            except Exception as error:
                answer = as_error(as_sentence(error))
            if answer is None:
                await wire.close()
                return
            await wire.send_json(answer)


def text_of(data: str | bytes) -> str:
    return data if isinstance(data, str) else data.decode("utf-8", "replace")


async def heard(session: Session, message: JSONObject) -> JSONObject | None:
    """What is answered to a message of OpenEnv's client; None: it leaves. Raises HarnessError."""
    data = message.get("data") or {}
    match message.get("type"):
        case "reset" if isinstance(data, dict):
            return {"type": "observation", "data": await begin(session, data)}
        case "step":
            action = (
                {name: value for name, value in data.items() if name != "metadata"} if isinstance(data, dict) else data
            )
            return {"type": "observation", "data": await session.step(action)}
        case "state":
            return {"type": "state", "data": session.state()}
        case "close":
            return None
    raise UsageError("A message has the type reset, step, state or close, and its data is an object.")


async def begin(session: Session, asked: JSONObject) -> JSONObject:
    """A reset as it was asked for: by task, sample or seed. Raises HarnessError."""
    return await session.reset(asked.get("task"), asked.get("sample"), asked.get("seed"))


def as_error(error: HarnessError) -> JSONObject:
    code = next((code for kind, code in CODES.items() if isinstance(error, kind)), "EXECUTION_ERROR")
    return {"type": "error", "data": {"message": str(error), "code": code}}


TEXT: JSONObject = {"type": "string"}
CALL: JSONObject = {"type": "object", "properties": {"name": TEXT, "arguments": {"type": ["object", "string"]}}}
SCHEMAS: JSONObject = {
    "action": {
        "type": "object",
        "properties": {"content": TEXT, "calls": {"type": "array", "items": {**CALL, "required": ["name"]}}},
        "additionalProperties": False,
    },
    "observation": {
        "type": "object",
        "properties": {
            **dict.fromkeys(("task", "sample", "outcome", "stop"), TEXT),
            "turn": {"type": "integer"},
            "messages": {"type": "array", "items": {"type": "object"}},
            "tools": {"type": "array", "items": {"type": "object"}},
            "truncated": {"type": "boolean"},
            "scores": {"type": "object"},
        },
    },
    "state": {"type": "object", "properties": {"episode_id": TEXT, "step_count": {"type": "integer"}}},
}


# --- its life ------------------------------------------------------------------------------------------------------


async def serve(sessions: Sessions, token: str, host: str, port: int, ready: Callable[[int], None]) -> int:
    """Serves until a signal comes, which it returns; `ready` is told the port. Raises UsageError where it cannot be
    had."""
    runner = make_runner(sessions, token)
    await runner.setup()
    watching = asyncio.create_task(sessions.watch())
    try:
        try:
            listening = await listen(runner, sessions.bounds.sessions, host, port)
        except OSError as error:
            raise UsageError(f"Port {port} of {host} cannot be had: {error.strerror}; name another.") from None
        except UnicodeError:
            raise UsageError(f"{host!r} is no name that a host can have; name another with --host.") from None
        with caught() as stopped:
            ready(int(listening.sockets[0].getsockname()[1]))
            try:
                return await stopped
            finally:
                listening.close()
    finally:
        watching.cancel()
        await runner.cleanup()
        await sessions.close_all()


def make_runner(sessions: Sessions, token: str) -> web.AppRunner:
    """The server before it listens. aiohttp's own log is off: it would quote a header that is no HTTP, with the token
    in it. Nothing is unpacked: a body of a kilobyte could be one of gigabytes, before anybody asked for the token."""
    return web.AppRunner(
        make_app(sessions, token),
        access_log=None,
        logger=SILENT,
        shutdown_timeout=1.0,
        keepalive_timeout=PATIENCE,
        auto_decompress=False,
    )


async def listen(runner: web.AppRunner, sessions: int, host: str, port: int) -> asyncio.Server:
    """Listens, and has no more connections than so many sessions need. Raises OSError."""
    server, most = runner.server, CONNECTIONS_OF_A_SESSION * sessions + SPARE_CONNECTIONS
    assert server is not None

    def connect() -> asyncio.BaseProtocol:
        return server() if len(server.connections) < most else Full()

    return await asyncio.get_running_loop().create_server(connect, host, port, backlog=128)


class Full(asyncio.Protocol):
    """A connection that there is no room for."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


SILENT = logging.getLogger("harness.serve")
SILENT.disabled = True


@contextmanager
def caught() -> Iterator[asyncio.Future[int]]:
    """The signal that ends it, when it comes."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[int] = loop.create_future()

    def end(number: int) -> None:
        if not came.done():
            came.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end, number)
    try:
        yield came
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
