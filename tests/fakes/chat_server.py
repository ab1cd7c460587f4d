"""A chat-completions endpoint on loopback that says what a script tells it to, and remembers what it was asked.

Real sockets rather than a patched client, because half of what goes wrong with endpoints (dropped connections, slow
bodies, status 200 with HTML in it) lives below the client.

    with ChatServer([text("hello")]) as server:
        ...                                      # an OpenAI client with base_url=server.url
    assert server.requests[0].body["model"] == "m"

A script is one of
- a list of steps: every conversation (told apart by its first user message) goes through them from the start, one
  step a request, so a retried request gets the next step;
- a mapping from a marker to such a list: a conversation plays the list of the first marker that its first user message
  contains ("" fits all);
- a function from the request to a step, for whatever depends on what was asked: `lambda asked: calls(call("f", {})) if
  asked.turn == 0 else text("done")`.
A conversation that asks for more than its script has gets status 400, and its name is in `server.exhausted`.

Every API's path is served: a step must be in the format of the one that is asked for. Steps here are chat completions;
providers.py plays whole providers, which check what they are sent.

streams.py makes events of steps.

Left out: any check that the request is a valid one.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from aiohttp import web


@dataclass(frozen=True)
class Asked:
    """One request as it arrived: header names in lower case, and which connection it came on."""

    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    body: dict[str, Any]
    peer: object = None

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The messages, or the input items of the Responses API."""
        return list(self.body.get("messages") or self.body.get("input") or [])

    @property
    def turn(self) -> int:
        """How many times the model has spoken already."""
        return sum(message.get("role") == "assistant" for message in self.messages)

    @property
    def conversation(self) -> str:
        """The first user message."""
        return next((str(message.get("content")) for message in self.messages if message.get("role") == "user"), "")


@dataclass(frozen=True)
class Step:
    """One answer. `body` is sent as JSON, or as it is when it is bytes; `cut` breaks the connection off,
    `hold` keeps it open so many seconds behind the last byte."""

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: Literal["", "before", "inside"] = ""
    hold: float = 0.0


PATHS = ("/chat/completions", "/responses", "/v1/messages")

Script = Sequence[Step] | Mapping[str, Sequence[Step]] | Callable[[Asked], Step]


# --- steps -------------------------------------------------------------------------------------------------------

USAGE = {
    "prompt_tokens": 11,
    "completion_tokens": 7,
    "total_tokens": 18,
    "prompt_tokens_details": {"cached_tokens": 3},
    "completion_tokens_details": {"reasoning_tokens": 2},
}


def message(fields: Mapping[str, Any], finish_reason: str | None = "stop", **payload: Any) -> Step:
    """A reply with this message; keywords replace or add fields of the payload (usage, choices, ...)."""
    choice = {"index": 0, "message": {"role": "assistant", **fields}, "finish_reason": finish_reason}
    body = {"id": "chatcmpl-0", "object": "chat.completion", "created": 0, "model": "fake", "choices": [choice]}
    return Step({**body, "usage": USAGE, **payload})


def text(content: Any, finish_reason: str | None = "stop", **fields: Any) -> Step:
    """A reply in words; keywords are further fields of the message (`reasoning`, `refusal`)."""
    return message({"content": content, **fields}, finish_reason)


def call(name: Any, arguments: Any, call_id: Any = "") -> dict[str, Any]:
    """One tool call. A dict of arguments becomes JSON text, everything else is sent as it is; see `verbatim`."""
    arguments = json.dumps(arguments) if isinstance(arguments, dict) else arguments
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def verbatim(name: Any, arguments: Any, call_id: Any = "") -> dict[str, Any]:
    """One tool call with arguments of whatever type, an object included."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def calls(*tool_calls: Any, content: Any = None, finish_reason: str | None = "tool_calls") -> Step:
    """A reply with tool calls; those without an id get one that is unique in the reply."""
    numbered = [
        {**item, "id": item["id"] or f"call_{index}"} if isinstance(item, dict) and "id" in item else item
        for index, item in enumerate(tool_calls)
    ]
    return message({"content": content, "tool_calls": numbered}, finish_reason)


def error(status: int, said: str, *, code: Any = None, param: Any = None, **headers: str) -> Step:
    """An error as OpenAI writes it; keywords are headers, with _ for -: `retry_after="1"`."""
    fields = {"message": said, "type": code or "error", "param": param, "code": code}
    return Step({"error": fields}, status, {name.replace("_", "-"): value for name, value in headers.items()})


def rate_limited(**headers: str) -> Step:
    return error(429, "Rate limit reached for requests", code="rate_limit_exceeded", **headers)


def out_of_quota() -> Step:
    return error(429, "You exceeded your current quota", code="insufficient_quota")


def too_long() -> Step:
    said = "This model's maximum context length is 4096 tokens. However, you requested 5000 tokens."
    return error(400, said, code="context_length_exceeded", param="messages")


def wrong_key(asked: Asked) -> Step:
    """A 401 that repeats the whole Authorization header: use it in a function script."""
    return error(401, f"Incorrect API key provided: {asked.headers.get('authorization')}", code="invalid_api_key")


def not_json() -> Step:
    return Step(b"<html><body>Bad gateway, but with status 200</body></html>", headers={"Content-Type": "text/html"})


def no_choices() -> Step:
    return Step({"id": "chatcmpl-0", "object": "chat.completion", "choices": None})


def dropped() -> Step:
    """The connection ends before a byte of the answer."""
    return Step(cut="before")


def truncated() -> Step:
    """The connection ends in the middle of the body."""
    return replace(text("never arrives"), cut="inside")


def delayed(step: Step, seconds: float) -> Step:
    return replace(step, delay=seconds)


# --- the server --------------------------------------------------------------------------------------------------


class ChatServer:
    """The endpoint, in a thread with an event loop of its own. `url` is the base URL, with /v1."""

    def __init__(self, script: Script) -> None:
        self.url = ""
        self.requests: list[Asked] = []
        self.exhausted: list[str] = []
        self.most_at_once = 0
        self._script = script
        self._played: Counter[str] = Counter()
        self._at_once = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="chat-server", daemon=True)

    def __enter__(self) -> ChatServer:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    async def _start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{path:.*}", self._answer)
        # Requests whose client has gone are cancelled, so that a step with a long delay does not hold up the exit.
        self._runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        port = self._runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{port}/v1"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        asked = await read(request)
        self.requests.append(asked)
        if not asked.path.endswith(PATHS):
            return web.json_response({"error": {"message": f"no such path: {asked.path}"}}, status=404)
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            step = self._step(asked)
            await asyncio.sleep(step.delay)
            return await send(step, request)
        finally:
            self._at_once -= 1

    def _step(self, asked: Asked) -> Step:
        if callable(self._script):
            return self._script(asked)
        name = asked.conversation
        step = next(remaining(self._script, name, self._played[name]), None)
        self._played[name] += 1
        if step is None:
            self.exhausted.append(name)
            return error(400, f"the script for {name!r} has no step left")
        return step


def remaining(script: Sequence[Step] | Mapping[str, Sequence[Step]], conversation: str, played: int) -> Iterator[Step]:
    if isinstance(script, Mapping):
        script = next((steps for marker, steps in script.items() if marker in conversation), ())
    yield from script[played:]


async def read(request: web.Request) -> Asked:
    try:
        body = await request.json()
    except ValueError:
        body = {}
    headers = {name.lower(): value for name, value in request.headers.items()}
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return Asked(request.path, headers, dict(request.query), body if isinstance(body, dict) else {}, peer)


async def send(step: Step, request: web.Request) -> web.StreamResponse:
    content = step.body if isinstance(step.body, bytes) else json.dumps(step.body).encode()
    headers = {"Content-Type": "application/json", **step.headers}
    if step.cut == "inside":
        half = web.StreamResponse(status=step.status, headers={**headers, "Content-Length": str(len(content))})
        await half.prepare(request)
        await half.write(content[: len(content) // 2])
    if step.hold:
        held = web.StreamResponse(status=step.status, headers=headers)
        await held.prepare(request)
        await held.write(content)
        await asyncio.sleep(step.hold)
        return held
    if step.cut and request.transport is not None:
        request.transport.abort()
        raise asyncio.CancelledError
    return web.Response(status=step.status, headers=headers, body=content)
