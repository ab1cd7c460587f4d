"""Hostile clients of `harness serve --http`: they are answered by a sentence, and cost nobody else anything."""

import asyncio
import gzip
import json
import time
from contextlib import asynccontextmanager

import aiohttp
import builders
import pytest

from harness.errors import UsageError
from harness.interop.http_command import find_served
from harness.interop.http_server import is_from_here, listen, make_runner
from harness.interop.sessions import CALLS, Bounds, NoRoom, NoSession, ServedTasks, Sessions, refuse_many_calls
from harness.registry import suggest_names
from harness.sandbox import Sandbox

TOKEN = "a-token-of-the-tests-0123456789"
CALL = {"calls": [{"name": "population", "arguments": {"town": "Corrie"}}]}


@pytest.fixture(scope="module")
def jail():
    with Sandbox() as found:
        yield found


@pytest.fixture
def towns(tmp_path):
    return str(builders.write_records(tmp_path / "towns.jsonl", [builders.record(id="corrie")]))


@asynccontextmanager
async def listening(towns, jail, sessions=8):
    """The port of a server, and its sessions."""
    found = Sessions(find_served(towns, {}), jail, Bounds(sessions))
    runner = make_runner(found, TOKEN)
    await runner.setup()
    server = await listen(runner, sessions, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], found
    finally:
        server.close()
        await runner.cleanup()
        await found.close_all()


async def sent(port, *lines, body=b"", path="/reset"):
    """What a request of these header lines is answered: the status line and the body."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = [f"POST {path} HTTP/1.1", "Host: here", "Connection: close", f"Content-Length: {len(body)}", *lines]
    writer.write("\r\n".join([*head, "", ""]).encode() + body)
    answer = await reader.read()
    writer.close()
    return answer.partition(b"\r\n")[0].decode(), answer.partition(b"\r\n\r\n")[2]


BEARER = f"Authorization: Bearer {TOKEN}"


@pytest.mark.parametrize("path", ["/reset", "/mcp"])
@pytest.mark.parametrize(
    ("lines", "body"),
    [
        (["Content-Type: text/plain; charset=nothing-that-there-is"], b"{"),
        (["Content-Type: text/plain; charset=utf-16"], b"\xff\xfe{"),
        (["Content-Type: text/plain; charset=punycode"], b"a-" + b"b" * 1_000_000),  # half a minute as it claims to be
        ([], b"\xff"),
        (["Content-Encoding: gzip"], b"no gzip"),
        (["Content-Encoding: gzip"], gzip.compress(b" " * 10_000_000 + b"{}")),
        (["Content-Encoding: br"], b"no brotli"),
        ([], b"[" * 100_000),
        ([], b'{"seed": ' + b"9" * 5000 + b"}"),
    ],
)
def test_a_body_that_is_none_is_answered_by_a_sentence(towns, jail, capfd, path, lines, body):
    async def play():
        async with listening(towns, jail) as (port, sessions):
            status, said = await sent(port, BEARER, *lines, body=body, path=path)
            assert status.split()[1] in ("400", "422")
            assert "error" in json.loads(said)
            assert not len(sessions)

    asyncio.run(play())
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "line", [f"{BEARER}\x00", f"Authorization Bearer {TOKEN}", f"Authorization: Bearer\r\n {TOKEN}"]
)
def test_a_token_in_what_is_no_http_is_not_logged(towns, jail, capfd, caplog, line):
    async def play():
        async with listening(towns, jail) as (port, _):
            assert " 400 " in (await sent(port, line))[0]

    asyncio.run(play())
    assert TOKEN not in "".join(capfd.readouterr()) + caplog.text


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [("http://here", True), ("https://HERE", True), ("http://evil", False), ("null", False), ("http://[", False)],
)
def test_a_page_of_another_server_gets_nothing(towns, jail, origin, allowed):
    async def play():
        async with listening(towns, jail) as (port, _):
            status, _ = await sent(port, BEARER, f"Origin: {origin}")
            assert status.split()[1] == ("200" if allowed else "403")

    asyncio.run(play())
    assert is_from_here(None, "here")


def test_a_long_name_is_compared_with_nothing(towns, jail):
    async def play():
        async with listening(towns, jail) as (port, _):
            _, said = await sent(port, BEARER, body=json.dumps({"sample": "corrie" * 100_000}).encode())
            assert len(said) < 1000

    asyncio.run(play())
    began = time.process_time()
    assert suggest_names("ab-town" * 500_000, ["ab-town-1"]) == ""
    assert time.process_time() - began < 10


def test_more_connections_than_sessions_need_are_closed(towns, jail):
    async def play():
        async with listening(towns, jail, sessions=1) as (port, _):
            held = [await asyncio.open_connection("127.0.0.1", port) for _ in range(80)]
            closed = [reader for reader, _ in held[67:]]
            assert [await asyncio.wait_for(reader.read(), 30) for reader in closed] == [b""] * 13
            for _, writer in held:
                writer.close()

    asyncio.run(play())


def test_a_turn_of_too_many_calls_is_refused():
    with pytest.raises(UsageError, match="at most 10,000 calls"):
        refuse_many_calls({"calls": [{"name": "x"}] * (CALLS + 1)})
    refuse_many_calls({"calls": [{"name": "x"}] * CALLS})


def test_nothing_is_begun_in_a_session_that_was_closed_meanwhile(towns, jail):
    async def play():
        async with listening(towns, jail) as (_, sessions):
            session = sessions.open()
            await session.reset()
            await session.lock.acquire()  # as a turn does that is being played
            closing = asyncio.create_task(sessions.close(session))
            await asyncio.sleep(0)
            late = [asyncio.create_task(one) for one in (session.reset(), session.step(CALL), session.call("x", {}))]
            await asyncio.sleep(0)
            session.lock.release()
            await closing
            found = await asyncio.gather(*late, return_exceptions=True)
            assert [type(one) for one in found] == [NoSession] * 3

    asyncio.run(play())


def test_a_session_keeps_its_place_and_its_state_until_it_is_closed(towns, jail):
    async def play():
        async with listening(towns, jail, sessions=1) as (_, sessions):
            session = sessions.open()
            await session.reset()
            for cancelled in (True, False):
                await session.lock.acquire()  # as a turn does that is being played
                closing = [asyncio.create_task(sessions.close(session)) for _ in range(2)]
                await asyncio.sleep(0)
                with pytest.raises(NoRoom):
                    sessions.open()
                with pytest.raises(NoSession):
                    sessions.find(session.id)
                assert sessions.state(session.id)["sample"] == "corrie"
                if cancelled:
                    closing[0].cancel()
                    await asyncio.wait(closing)
                session.lock.release()
            await asyncio.gather(*closing)
            assert len(sessions) == 0 and sessions.state(session.id)["sample"] == "corrie"
            sessions.open()

    asyncio.run(play())


def test_neither_door_opens_the_sessions_of_the_other(towns, jail):
    async def play():
        async with listening(towns, jail) as (port, _):
            headers = {"Authorization": f"Bearer {TOKEN}"}
            async with aiohttp.ClientSession(f"http://127.0.0.1:{port}", headers=headers) as client:
                asked = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {}}
                async with client.post("/mcp", json=asked) as answer:
                    name = answer.headers["Mcp-Session-Id"]
                for path, more in (("/reset", {}), ("/step", {"action": CALL})):
                    async with client.post(path, json={"episode_id": name, **more}) as answer:
                        assert (await answer.json())["error"] == "This session is one of MCP."

    asyncio.run(play())


def test_one_session_that_breaks_when_it_closes_leaves_the_others_to_be_closed(towns, jail, capsys):
    async def play():
        sessions = Sessions(find_served(towns, {}), jail, Bounds())
        broken, _ = sessions.open(), sessions.open()
        broken._held.callback(lambda: [].pop())
        await sessions.close_all()
        assert len(sessions) == 0

    asyncio.run(play())
    assert "A session was not closed well: IndexError" in capsys.readouterr().err


def test_a_mistake_of_ours_is_a_sentence_without_a_traceback(towns, jail, capfd, monkeypatch):
    async def play():
        async with listening(towns, jail) as (port, sessions):
            monkeypatch.setattr(ServedTasks, "choose", lambda *_: 1 / 0)
            for path, body in (("/reset", b""), ("/mcp", b'{"id": 1, "method": "initialize"}')):
                status, said = await sent(port, BEARER, path=path, body=body)
                found = status.split()[1], json.loads(said)
                assert found == ("500", {"error": "The server failed: ZeroDivisionError."})
            assert len(sessions) == 0

    asyncio.run(play())
    assert capfd.readouterr().err == "A request failed: ZeroDivisionError: division by zero\n" * 2
