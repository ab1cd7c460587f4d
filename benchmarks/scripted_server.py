"""A chat-completions endpoint that answers by script, in a process of its own; with faults, if they are asked for.

    with ScriptedServer(script, delay=0.2, fault="torn") as server: ...      # server.url, server.counts()

A script is, for every first user message, the messages of the assistant that follow: a request gets the one whose turn
it is. One script serves every client: what they are answered is made before the first request.

Faults hit the second request of every tenth conversation, the first time that it comes, but for the last kind:

error  status 500
limit  status 429 with Retry-After: 1
torn   status 200 and half of the reply
dead   after a third of the script's requests every connection breaks, and for a second nothing listens
any    one request in eight fails, by chance, in one of six ways (MIXED)
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

FAULTS = ("error", "limit", "torn", "dead")
MIXED = ("error", "limit", "torn", "nonsense", "silent", "broken")
Script = Mapping[str, Sequence[Mapping[str, Any]]]


class ScriptedServer:
    """The endpoint, until the end of the block."""

    def __init__(self, script: Script, delay: float = 0.0, fault: str = "") -> None:
        self.job = json.dumps({"script": script, "delay": delay, "fault": fault})

    def __enter__(self) -> ScriptedServer:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        self.process = subprocess.Popen([sys.executable, __file__], text=True, **pipes)  # type: ignore[call-overload]
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(self.job)
        self.process.stdin.close()
        self.url = f"http://127.0.0.1:{self.process.stdout.readline().strip()}/v1"
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def counts(self) -> tuple[int, float]:
        """Requests since the last time this was asked, and seconds from the first one to the last reply."""
        with urllib.request.urlopen(f"{self.url}/counts") as reply:
            requests, seconds = json.load(reply)
        return requests, seconds


# --- the process -------------------------------------------------------------------------------------------------


class Answers:
    """Which reply is whose, and how many were given."""

    def __init__(self, script: Script, delay: float, fault: str) -> None:
        self.delay = delay
        self.fault = fault
        self.replies = {said: [completion(message) for message in turns] for said, turns in script.items()}
        self.left_to_fail = {(said, 1) for said in list(script)[::10]} if fault in ("error", "limit", "torn") else set()
        self.dies_at = sum(map(len, script.values())) // 3 if fault == "dead" else 0
        self.total = 0
        self.chance = random.Random(0) if fault == "any" else None
        self.reset()

    def reset(self) -> None:
        self.requests = 0
        self.first = self.last = 0.0

    def take(self, body: Mapping[str, Any]) -> tuple[int, bytes]:
        """Status and content of the reply to a request."""
        said = next(text_of(message["content"]) for message in body["messages"] if message["role"] == "user")
        turn = sum(message["role"] == "assistant" for message in body["messages"])
        content = self.replies[said][turn]
        if self.chance is not None:
            return self.take_chance(self.chance, content)
        if (said, turn) not in self.left_to_fail:
            return 200, content
        self.left_to_fail.discard((said, turn))
        if self.fault == "torn":
            return 200, content[: len(content) // 2]
        return 429 if self.fault == "limit" else 500, b'{"error": {"message": "try again"}}'

    def take_chance(self, chance: random.Random, content: bytes) -> tuple[int, bytes]:
        """Status 0: nothing is answered; 1: the connection breaks."""
        if chance.random() > 1 / 8:
            return 200, content
        ways = {
            "error": (500, b""),
            "limit": (429, b""),
            "torn": (200, content[: len(content) // 2]),
            "nonsense": (200, b"<html>"),
            "silent": (0, b""),
            "broken": (1, b""),
        }
        return ways[chance.choice(MIXED)]

    def note_request(self) -> bool:
        """Whether the server dies of it."""
        self.requests += 1
        self.total += 1
        self.first = self.first or time.monotonic()
        return self.total == self.dies_at


def text_of(content: Any) -> str:
    """A message's text, which some clients send as a list of parts."""
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def completion(message: Mapping[str, Any]) -> bytes:
    """A chat completion with this message."""
    reason = "tool_calls" if message.get("tool_calls") else "stop"
    return json.dumps(
        {
            "id": "x",
            "object": "chat.completion",
            "created": 0,
            "model": "m",
            "choices": [{"index": 0, "message": {"role": "assistant", **message}, "finish_reason": reason}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
        }
    ).encode()


async def serve(answers: Answers) -> None:
    """Serves until it is killed; prints the port."""
    from aiohttp import web

    dead = asyncio.Event()

    async def answer(request: web.Request) -> web.Response:
        body = json.loads(await request.read())
        if answers.note_request():
            dead.set()
        await asyncio.sleep(answers.delay)
        status, content = answers.take(body)
        answers.last = time.monotonic()
        if status == 0:
            await asyncio.sleep(60)
        if status <= 1 and request.transport is not None:
            request.transport.abort()
        headers = {"Retry-After": "1"} if status == 429 else None
        return web.Response(body=content, status=max(status, 200), content_type="application/json", headers=headers)

    async def counts(request: web.Request) -> web.Response:
        told = [answers.requests, answers.last - answers.first]
        answers.reset()
        return web.json_response(told)

    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", answer)
    app.router.add_get("/v1/counts", counts)
    port = 0
    while True:
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port, backlog=1024, reuse_address=True).start()
        if not port:
            port = runner.addresses[0][1]
            print(port, flush=True)
        await dead.wait()
        dead.clear()
        assert runner.server is not None
        for connection in list(runner.server.connections):
            if connection.transport is not None:
                connection.transport.abort()
        await runner.cleanup()
        await asyncio.sleep(1)


if __name__ == "__main__":
    asyncio.run(serve(Answers(**json.loads(sys.stdin.read()))))
