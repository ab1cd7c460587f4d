"""`harness serve --http`: sessions by OpenEnv's interface and by MCP, behind a token, bounded and apart."""

import asyncio
import contextlib
import signal
import subprocess
from base64 import b64encode
from io import BytesIO

import aiohttp
import builders
import pytest
from aiohttp import web
from commands import command, environment, harness, one_sentence
from recorded_episodes import record_episodes, said

from harness.errors import UsageError
from harness.interop import http_command
from harness.interop.http_command import find_served, find_token, is_loopback
from harness.interop.http_server import MAX_BODY, is_allowed, make_app, serve
from harness.interop.sessions import Bounds, Sessions
from harness.interop.turns import action_of
from harness.sandbox import Sandbox

TOKEN = "a-token-of-the-tests-0123456789"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
CALL = {"calls": [{"name": "population", "arguments": {"town": "Corrie"}}]}


@pytest.fixture(scope="module")
def jail():
    with Sandbox() as found:
        yield found


@pytest.fixture
def towns(tmp_path):
    """64 environments, each with an answer of its own."""
    codes = [{"population": builders.COUNTER.replace("45210", str(5000 + index))} for index in range(64)]
    records = [
        builders.record(id=f"town-{index}", codes=code, unsolved_set={"population": [str(5000 + index)]}, answer=...)
        for index, code in enumerate(codes)
    ]
    return str(builders.write_records(tmp_path / "towns.jsonl", records))


def served(pattern, jail, play, **bounds):
    """What `play(client, sessions)` returns: an aiohttp client of a server of these tasks."""

    async def connected():
        sessions = Sessions(find_served(pattern, {}), jail, Bounds(**bounds))
        runner = web.AppRunner(make_app(sessions, TOKEN), access_log=None, shutdown_timeout=1.0)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            url = f"http://127.0.0.1:{runner.addresses[0][1]}"
            async with aiohttp.ClientSession(url, headers=BEARER) as client:
                return await play(client, sessions)
        finally:
            await runner.cleanup()
            await sessions.close_all()

    return asyncio.run(connected())


def address_of(client):
    return str(client._base_url).rstrip("/")


async def posted(client, path, status=200, **body):
    async with client.post(path, json=body) as answer:
        assert answer.status == status, await answer.text()
        return await answer.json()


async def asked(wire, kind, **data):
    await wire.send_json({"type": kind, "data": data} if kind != "state" else {"type": kind})
    return await wire.receive_json()


# --- an episode ----------------------------------------------------------------------------------------------------


def test_an_episode_over_plain_http(towns, jail):
    async def play(client, sessions):
        begun = await posted(client, "/reset", sample="town-3")
        seen = begun["observation"]
        assert (begun["reward"], begun["done"], seen["sample"], seen["turn"]) == (None, False, "town-3", 0)
        assert [message["role"] for message in seen["messages"]] == ["user"]
        assert [tool["function"]["name"] for tool in seen["tools"]] == ["population"]
        name = seen["episode_id"]
        turn = await posted(client, "/step", episode_id=name, action=CALL)
        assert (turn["reward"], turn["done"]) == (1.0, False)
        assert turn["observation"]["messages"][0]["content"] == '{"inhabitants": 5003}'
        assert "tools" not in turn["observation"]  # they are told when they change
        last = await posted(client, "/step", episode_id=name, action={"content": "Answer: 5003"})
        assert (last["done"], last["observation"]["outcome"], last["observation"]["truncated"]) == (True, "ok", False)
        assert last["observation"]["scores"]["solve_f1"] == 1.0
        late = await posted(client, "/step", 422, episode_id=name, action=CALL)
        assert late == {"error": "The episode is over; reset begins another."}
        async with client.get("/state", params={"episode_id": name}) as answer:
            state = await answer.json()
        assert (state["step_count"], state["sample"], state["scores"]["solve_f1"]) == (2, "town-3", 1.0)
        again = await posted(client, "/reset", episode_id=name, sample="town-4")
        assert again["observation"]["episode_id"] == name and "tools" in again["observation"]
        assert await posted(client, "/close", episode_id=name) == {"closed": True}
        assert len(sessions) == 0
        assert (await posted(client, "/step", 404, episode_id=name, action=CALL))["error"].startswith(
            "There is no such"
        )
        async with client.get("/state", params={"episode_id": name}) as answer:
            assert (await answer.json())["sample"] == "town-4"  # what became of it can still be asked for

    served(towns, jail, play)


def test_nothing_of_the_gold_goes_over_the_wire(tmp_path, jail):
    gold = {"answer": "qf1gold", "unsolved_set": {"population": ["qf2gold"]}}
    calls = [{"name": "population", "arguments": {"town": "qf3gold"}, "solves": 0}]
    path = builders.write_records(tmp_path / "towns.jsonl", [builders.record(**gold, gold_calls=calls)])

    async def play(client, sessions):
        said = []
        begun = await posted(client, "/reset")
        name = begun["observation"]["episode_id"]
        said += [begun, await posted(client, "/step", episode_id=name, action=CALL)]
        said.append(await posted(client, "/step", episode_id=name, action={"content": "Answer: no"}))
        said.append(await posted(client, "/step", 422, episode_id=name, action={"gold": 1}))
        for path in (f"/state?episode_id={name}", "/samples", "/schema", "/metadata"):
            async with client.get(path) as answer:
                said.append(await answer.text())
        assert "45210" in str(said)
        assert "gold" not in str(said).replace("{'gold': 1}", "").replace("'gold'", "")

    served(str(path), jail, play)


@pytest.mark.slow
def test_two_hundred_recorded_episodes_score_as_in_eval(tmp_path, jail):
    records = record_episodes(tmp_path, a_task=5)
    assert len(records) == 200

    async def replay(client, record, gate):
        async with gate:
            begun = await posted(client, "/reset", task=record["task"], sample=record["sample"])
            name, earned = begun["observation"]["episode_id"], 0.0
            for message in said(record):
                turn = await posted(client, "/step", episode_id=name, action=action_of(message))
                earned += turn["reward"]
            assert turn["observation"]["scores"] == record["scores"]
            assert turn["observation"]["outcome"] == record["outcome"]
            assert earned == pytest.approx(record["scores"]["solve_f1"] or 0.0, abs=1e-12)
            await posted(client, "/close", episode_id=name)

    async def play(client, sessions):
        gate = asyncio.Semaphore(32)
        await asyncio.gather(*(replay(client, record, gate) for record in records))
        assert len(sessions) == 0

    served("ftrl_*,micro_*", jail, play)


# --- many ----------------------------------------------------------------------------------------------------------


def test_64_sessions_at_once_and_none_mixed(towns, jail):
    """Every session of either kind plays an episode of its own in four turns that overlap with all others'."""

    async def over_http(client, index, ready):
        name = (await posted(client, "/reset", sample=f"town-{index}"))["observation"]["episode_id"]
        await ready.wait()
        return [await posted(client, "/step", episode_id=name, action=action) for action in actions(index)]

    async def over_a_connection(client, index, ready):
        async with client.ws_connect("/ws") as wire:
            begun = await asked(wire, "reset", sample=f"town-{index}", episode_id="not unique")
            assert begun["data"]["observation"]["sample"] == f"town-{index}"
            await ready.wait()
            return [(await asked(wire, "step", **action))["data"] for action in actions(index)]

    async def play(client, sessions):
        ready = asyncio.Barrier(64)
        ways = (over_http, over_a_connection)
        return await asyncio.gather(*(ways[index % 2](client, index, ready) for index in range(64)))

    for index, turns in enumerate(served(towns, jail, play, sessions=64)):
        outputs = [message["content"] for turn in turns for message in turn["observation"]["messages"]]
        assert outputs == [f'{{"inhabitants": {5000 + index}}}'] * (2 + index % 3)
        assert [turn["done"] for turn in turns] == [False] * (len(turns) - 1) + [True]
        assert turns[-1]["observation"]["sample"] == f"town-{index}"
        assert turns[-1]["observation"]["scores"]["calls"] == 2 + index % 3


def actions(index):
    """Two to four calls, and an end."""
    return [*[CALL] * (2 + index % 3), {"content": f"Answer: {index}"}]


def test_as_many_sessions_as_there_may_be(towns, jail):
    async def play(client, sessions):
        first = await posted(client, "/reset")
        async with client.ws_connect("/ws") as wire:
            assert (await asked(wire, "state"))["data"]["step_count"] == 0
            full = (await posted(client, "/reset", 503))["error"]
            assert full.startswith("2 sessions are open")
            async with client.ws_connect("/ws") as third:
                assert (await third.receive_json())["data"]["code"] == "CAPACITY_REACHED"
        await posted(client, "/close", episode_id=first["observation"]["episode_id"])
        await posted(client, "/reset", 422, sample="nowhere")
        await posted(client, "/reset")  # a reset that failed keeps no place
        await posted(client, "/reset")

    served(towns, jail, play, sessions=2)


def test_idle_sessions_are_closed(towns, jail):
    async def play(client, sessions):
        name = (await posted(client, "/reset"))["observation"]["episode_id"]
        session = sessions.find(name)
        await sessions.close_all(session.used - 1)
        assert len(sessions) == 1
        async with session.lock:  # it is being used
            await sessions.close_all(session.used)
        assert len(sessions) == 1
        await sessions.close_all(session.used)
        assert len(sessions) == 0
        async with client.ws_connect("/ws") as wire:
            silence = await wire.receive()
            assert silence.type in (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED)

    served(towns, jail, play, idle_seconds=0.2)


# --- who may ask, and what -----------------------------------------------------------------------------------------


def test_nobody_without_the_token_learns_anything(towns, jail):
    async def play(client, sessions):
        async with aiohttp.ClientSession(address_of(client)) as stranger:
            for header in (
                None,
                "Bearer",
                "Bearer no",
                f"Token {TOKEN}",
                "Basic !!",
                "Bearer \xff",
                f"Bearer {TOKEN}x",
            ):
                headers = {"Authorization": header} if header else {}
                for method, path in (("POST", "/reset"), ("GET", "/samples"), ("POST", "/mcp"), ("GET", "/none")):
                    async with stranger.request(method, path, headers=headers, json={}) as answer:
                        assert (answer.status, await answer.json()) == (
                            401,
                            {"error": "This needs the server's token."},
                        )
                with pytest.raises(aiohttp.WSServerHandshakeError):
                    await stranger.ws_connect("/ws", headers=headers)
            async with stranger.get("/health") as answer:
                assert (await answer.json()) == {"status": "healthy"}
        assert len(sessions) == 0

    served(towns, jail, play)


def test_the_token_may_be_a_password():
    assert is_allowed("Basic " + b64encode(f"any:{TOKEN}".encode()).decode(), TOKEN)
    assert not is_allowed("Basic " + b64encode(f"{TOKEN}:".encode()).decode(), TOKEN)
    assert is_allowed(f"bearer {TOKEN}", TOKEN)


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("/reset", b"[", 422, "no JSON"),
        ("/reset", b"[1]", 422, "no JSON object"),
        ("/reset", b"[" * 100_000, 422, "no JSON"),
        ("/reset", b'{"task": "town"}', 422, "There is no task 'town'. Did you mean towns?"),
        ("/reset", b'{"sample": 3}', 422, "There is no sample of towns 3."),
        ("/reset", b'{"sample": {}}', 422, "There is no sample of towns {}."),
        ("/reset", b'{"seed": "x"}', 422, "A seed is a whole number."),
        ("/step", b"{}", 404, "There is no such session"),
        ("/step", b'{"episode_id": ["x"]}', 404, "There is no such session"),
        ("/reset", b" " * (MAX_BODY + 1), 413, ""),
    ],
)
def test_bad_requests_are_answered_by_a_sentence(towns, jail, path, body, status, sentence):
    async def play(client, sessions):
        async with client.post(path, data=BytesIO(body)) as answer:
            assert (answer.status, sentence in await answer.text()) == (status, True)
        assert len(sessions) == 0

    served(towns, jail, play)


def test_bad_messages_of_a_connection_are_answered_and_it_goes_on(towns, jail):
    async def play(client, sessions):
        async with client.ws_connect("/ws") as wire:
            for text in (
                "no",
                "[]",
                '{"type": "other"}',
                '{"type": "step", "data": {}}',
                '{"type": "reset", "data": 1}',
            ):
                await wire.send_str(text)
                assert (await wire.receive_json())["data"]["code"] == "VALIDATION_ERROR"
            await asked(wire, "reset", seed=1)
            bad = await asked(wire, "step", answer="45210")
            assert bad["data"]["message"] == "An action has content and calls, not 'answer'."
            assert (await asked(wire, "step", **CALL, metadata={}))["data"]["reward"] == 1.0
            await wire.send_json({"type": "close"})
            assert (await wire.receive()).type is aiohttp.WSMsgType.CLOSE
        while len(sessions):
            await asyncio.sleep(0)

    served(towns, jail, play)


def test_seeds_draw_the_same_sample(towns, jail):
    async def play(client, sessions):
        found = [(await posted(client, "/reset", seed=seed))["observation"]["sample"] for seed in (1, 2, 3, 1, 2, 3)]
        assert found[:3] == found[3:] and len(set(found)) > 1

    served(towns, jail, play)


# --- MCP -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_a_real_mcp_client_plays_an_episode(towns, jail, mode):
    mcp = pytest.importorskip("mcp", reason="needs the mcp extra")
    httpx2 = pytest.importorskip("httpx2")
    from mcp.client.streamable_http import streamable_http_client

    async def play(client, sessions):
        url = f"{address_of(client)}/mcp?sample=town-7"
        async with (
            httpx2.AsyncClient(headers=BEARER, timeout=30) as wire,
            mcp.Client(streamable_http_client(url, http_client=wire), mode=mode) as player,
        ):
            assert [tool.name for tool in (await player.list_tools()).tools] == ["population", "submit_answer"]
            question = builders.record()["messages"][0]["content"]
            assert (await player.get_prompt("question")).messages[0].content.text == question
            assert (await player.read_resource("harness://question")).contents[0].text == question
            with pytest.raises(mcp.MCPError, match="The only"):
                await player.get_prompt("gold")
            wrong = await player.call_tool("population", {"place": "Corrie"})
            assert wrong.is_error and "unexpected keyword" in wrong.content[0].text
            right = await player.call_tool("population", {"town": "Corrie"})
            assert (right.is_error, right.content[0].text) == (False, '{"inhabitants": 5007}')
            [name] = sessions._open
            assert not (await player.call_tool("submit_answer", {"answer": "5007"})).is_error
            assert (await player.call_tool("population", {"town": "Corrie"})).is_error
        async with client.get("/state", params={"episode_id": name}) as answer:
            state = await answer.json()
        assert len(sessions) == 0
        assert (state["step_count"], state["outcome"]) == (3, "ok")
        assert (state["scores"]["solve_precision"], state["scores"]["solve_rate"]) == (0.5, 1.0)

    served(towns, jail, play)


def test_what_mcp_is_told_that_it_did_not_ask_well(towns, jail):
    async def play(client, sessions):
        async def sent(status, code, path="/mcp", headers=None, **message):
            async with client.post(path, json=message, headers=headers) as answer:
                assert answer.status == status, await answer.text()
                return code is None or (await answer.json())["error"]["code"] == code

        assert await sent(404, -32601, id=1, method="tools/list")
        assert await sent(400, -32602, "/mcp?sample=nowhere", id=1, method="initialize")
        assert await sent(202, None, method="notifications/initialized")
        assert await sent(404, None, headers={"Mcp-Session-Id": "none"}, id=1, method="ping")
        deep = "[" * 900 + "]" * 900
        for odd in (deep, "NaN", "1e999", "true", "{}"):
            async with client.post("/mcp", data=f'{{"id": {odd}, "method": "initialize"}}') as answer:
                said = await answer.json()
                assert (answer.status, said["id"], said["error"]["code"]) == (400, None, -32600)
        assert await sent(200, -32602, id=1, method="initialize", params=[1])
        async with client.post("/mcp", data=b"[1]") as answer:
            assert answer.status == 400
        assert len(sessions) == 0
        async with client.post("/mcp", json={"id": 1.5, "method": "initialize"}) as answer:
            begun, headers = await answer.json(), {"Mcp-Session-Id": answer.headers["Mcp-Session-Id"]}
        assert begun["id"] == 1.5
        for params in ([1], {}, {"name": None}, {"name": ["population"]}):
            assert await sent(200, -32602, headers=headers, id=None, method="tools/call", params=params)
        assert sessions.state(headers["Mcp-Session-Id"])["step_count"] == 0
        name = (await posted(client, "/reset"))["observation"]["episode_id"]
        assert await sent(200, -32600, headers={"Mcp-Session-Id": name}, id=1, method="tools/list")
        async with client.get("/mcp") as answer:
            assert answer.status == 405

    served(towns, jail, play)


# --- the command ---------------------------------------------------------------------------------------------------


def test_the_command_serves_until_it_is_told_to_stop(towns, tmp_path):
    (tmp_path / "token").write_text(TOKEN + "\n")
    words = command("serve", "--http", towns, "--token-file", tmp_path / "token")
    process = subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    url = process.stdout.readline().strip()

    async def play():
        async with aiohttp.ClientSession(url) as client:
            async with client.post("/reset", json={}) as answer:
                assert answer.status == 401
            async with client.post("/reset", json={}, headers=BEARER) as answer:
                assert answer.status == 200
            async with client.ws_connect("/ws", headers=BEARER) as wire:
                await asked(wire, "reset")
                process.send_signal(signal.SIGTERM)

    with contextlib.suppress(aiohttp.ClientError):
        asyncio.run(play())
    rest, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert url.startswith("http://127.0.0.1:") and rest == ""
    assert (
        errors == "64 samples of towns (sandbox: jail), until Ctrl-C.\n"
    )  # and nothing of what was asked, nor the token


def test_bad_input_of_the_command_is_one_sentence(towns):
    for arguments, sentence in (
        ((towns,), "set HARNESS_TOKEN, or give --token-file"),
        ((towns, "--sample", "town-1"), "leave out --sample"),
    ):
        assert sentence in one_sentence(harness("serve", "--http", *arguments))
    taken = harness("serve", "--http", towns, "--host", "192.0.2.1", HARNESS_TOKEN=TOKEN)
    assert "cannot be had" in one_sentence(taken) and TOKEN not in taken.stderr


@pytest.mark.parametrize("host", ["a..b", "a" * 70 + ".b"])
def test_what_is_no_name_of_a_host_is_one_sentence(towns, jail, host):
    sessions = Sessions(find_served(towns, {}), jail, Bounds())
    with pytest.raises(UsageError, match="is no name that a host can have"):
        asyncio.run(serve(sessions, TOKEN, host, 0, print))


def test_a_token_file_is_read_and_never_repeated(tmp_path):
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    assert find_token(file) == (TOKEN, True)
    for content, sentence in ((b"abc", "at least 16"), (b"\xff" * 16, "cannot be read"), ("ä" * 16, "ASCII")):
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(UsageError, match=sentence) as raised:
            find_token(file)
        assert "abc" not in str(raised.value)
    with pytest.raises(UsageError, match="cannot be read"):
        find_token(tmp_path / "none")


def test_a_new_token_needs_a_terminal_to_be_shown_on(monkeypatch):
    monkeypatch.delenv(http_command.VARIABLE, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    first, second = find_token(None), find_token(None)
    assert first[0] != second[0] and len(first[0]) > 40 and not first[1]
    monkeypatch.setenv(http_command.VARIABLE, TOKEN)
    assert find_token(None) == (TOKEN, True)
    monkeypatch.setenv(http_command.VARIABLE, "a b c d e f g h i j k")
    with pytest.raises(UsageError, match="no spaces"):
        find_token(None)


def test_which_addresses_are_this_machine_only():
    assert all(map(is_loopback, ("127.0.0.1", "localhost", "::1")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.1", "example.org")))
