"""Limits above the single call, on real processes: what goes beyond is refused, and nobody else hears of it."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.environment import ToolEnvironment
from harness.errors import SandboxError
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox, SandboxConfig, ToolLimits, ToolSession, launcher, process, wire
from harness.types import Gold, Message, Reply, Sample, Tool, ToolCall, ToolResult

CONFIG = SandboxConfig(workers=1, call_timeout=3.0, memory_bytes=1 << 29)
CODES = {
    "fine": "def fine(x):\n    return x\n",
    "nap": "import time\ndef nap(x):\n    time.sleep(x)\n    return 'slept'\n",
    "long": "def long(x):\n    return 'y' * x\n",
    "loop": "def loop():\n    while True:\n        pass\n",
    "own": "def own(x):\n    return eval('x')\n",
    "leave": "import os\ndef leave():\n    os._exit(0)\n",
    "shut": "import os\ndef shut():\n    os.close(3)\n    os.close(4)\n",
    "hog": "def hog(x):\n    kept = [bytes([1]) * (x << 20)]\n    kept.append(kept)\n    return 'kept'\n",
}
STATE = json.dumps({"kept": []})
STATEFUL = {
    "keep": "def keep(data, x):\n    data['kept'].append('z' * (x << 20))\n    return len(data['kept'])\n",
    "look": "def look(data):\n    return len(data['kept'])\n",
    "wait": "import time\ndef wait(data, x):\n    time.sleep(x)\n",
}


def limited(**limits: Any) -> Sandbox:
    return Sandbox(replace(CONFIG, limits=replace(ToolLimits(), **limits)))


def statuses(results: list[ToolResult]) -> list[str]:
    return [result.status for result in results]


def pids_of(episode: ToolSession) -> list[int]:
    workers = [*episode._own.values(), *([episode._state_worker] if episode._state_worker else [])]
    return [worker.pid for worker in workers if worker.pid]


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    while Path(f"/proc/{pid}").exists():
        time.sleep(0.005)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CONFIG) as shared:
        yield shared


# --- one episode's account ---------------------------------------------------------------------------------------


def test_calls_beyond_the_number_of_a_turn_are_refused() -> None:
    with limited(turn_calls=3) as sandbox, sandbox.episode() as one:
        calls: list[tuple[str, dict[str, Any]]] = [("fine", {"x": n}) for n in range(5)]
        for _ in range(2):
            results = one.run(CODES, calls)
            assert statuses(results) == ["ok"] * 3 + ["refused"] * 2
        assert results[4].output == "not run, because this turn had 3 calls before it"


def test_output_beyond_a_turns_or_an_episodes_is_refused() -> None:
    with limited(turn_bytes=100, episode_bytes=250) as sandbox, sandbox.episode() as one:
        calls: list[tuple[str, dict[str, Any]]] = [("long", {"x": 60})] * 3
        seen = [one.run(CODES, calls) for _ in range(4)]
    assert [statuses(results) for results in seen[:2]] == [["ok", "ok", "refused"]] * 2
    assert seen[0][2].output == "not run, because the tools of this turn had used up their 100 bytes of output"
    assert statuses(seen[2]) == ["ok", "refused", "refused"]
    assert statuses(seen[3]) == ["refused"] * 3
    assert "this episode had used up their 250 bytes" in seen[3][0].output


@pytest.mark.parametrize("name", ["nap", "own"])
def test_seconds_beyond_a_turns_are_refused(name: str) -> None:
    codes = {**CODES, "own": "import time\ndef own(x):\n    eval('time.sleep(x)')\n"}
    with limited(turn_seconds=0.25) as sandbox, sandbox.episode() as one:
        for _ in range(2):
            assert statuses(one.run(codes, [(name, {"x": 0.15})] * 4)) == ["ok", "ok", "refused", "refused"]


def test_waiting_for_others_is_not_ones_own_time() -> None:
    async def main() -> tuple[list[list[ToolResult]], float]:
        with sandbox.episode() as one, sandbox.episode() as two, sandbox.episode() as three:
            slow = [episode.arun(CODES, [("nap", {"x": 0.3})]) for episode in (one, two)]
            found = await asyncio.gather(*slow, _later(three))
            return found, three.waited

    async def _later(episode: ToolSession) -> list[ToolResult]:
        await asyncio.sleep(0.1)
        return await episode.arun(CODES, [("fine", {"x": 1})] * 3)

    with limited(turn_seconds=0.1, episode_seconds=0.1) as sandbox:
        sandbox.episode().run(CODES, [("fine", {"x": 1})])
        found, waited = asyncio.run(main())
    assert statuses(found[2]) == ["ok"] * 3
    assert waited > 0.05


# --- fair turns --------------------------------------------------------------------------------------------------


def test_a_turn_of_slow_calls_holds_nobody_up(sandbox: Sandbox) -> None:
    async def main() -> list[ToolResult]:
        with sandbox.episode() as one:
            slow = asyncio.create_task(one.arun(CODES, [("nap", {"x": 0.1})] * 12))
            await asyncio.sleep(0.05)
            for n in range(20):
                with sandbox.episode() as two:
                    assert (await two.arun(CODES, [("fine", {"x": n})]))[0].output == str(n)
            assert not slow.done()
            return await slow

    assert statuses(asyncio.run(main())) == ["ok"] * 12


# --- processes and memory in all ---------------------------------------------------------------------------------


def test_where_all_places_are_taken_the_next_episode_waits() -> None:
    async def use(number: int) -> int:
        with sandbox.episode(key) as one:
            results = await one.arun(STATEFUL, [("wait", {"x": 0.02}), ("look", {})])
            alive = len(sandbox._own.workers)
            with one.fresh() as other:
                assert await other.astate_digest() == await one.astate_digest()
            assert statuses(results) == ["ok", "ok"]
            return alive

    async def main() -> list[int]:
        return await asyncio.gather(*(use(number) for number in range(8)))

    with limited(processes=2) as sandbox:
        key = sandbox.preload(STATE)
        alive = asyncio.run(main())
    assert max(alive) <= 4, "two, and the two that stand beside them"


def test_idle_processes_make_room() -> None:
    codes = {f"own_{n}": f"def own_{n}(x):\n    return eval('x')\n" for n in range(6)}
    with limited(processes=3) as sandbox, sandbox.episode() as one, sandbox.episode() as two:
        assert two.run(CODES, [("own", {"x": 0})])[0].output == "0"
        for _ in range(2):
            assert statuses(one.run(codes, [(name, {"x": 1}) for name in codes])) == ["ok"] * 6
        assert len(sandbox._own.workers) == 3
        assert two.run(CODES, [("own", {"x": 2})])[0].output == "2"


def test_who_holds_most_memory_loses_its_state_and_nobody_else() -> None:
    with limited(process_bytes=60 << 20) as sandbox:
        key = sandbox.preload(STATE)
        with sandbox.episode(key) as hog, sandbox.episode(key) as other:
            assert statuses(other.run(STATEFUL, [("keep", {"x": 4})])) == ["ok"]
            assert statuses(hog.run(STATEFUL, [("keep", {"x": 80})])) == ["ok"]
            [result] = hog.run(STATEFUL, [("look", {})])
            assert result.status == "refused"
            assert "its state" in result.output or "state held most" in result.output
            assert hog.state_digest() is None
            assert other.run(STATEFUL, [("look", {})])[0].output == "1"


def test_a_worker_without_room_is_not_used_again(sandbox: Sandbox) -> None:
    with sandbox.episode() as one:
        one.run(CODES, [("fine", {"x": 0})])
        before = sandbox.pids[1:]
        assert statuses(one.run(CODES, [("hog", {"x": 20})])) == ["ok"]
        assert sandbox.pids[1:] == before
        assert statuses(one.run(CODES, [("hog", {"x": 280})])) == ["ok"]
        assert set(before) - set(sandbox.pids[1:])


# --- whose doing it was ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["leave", "shut"])
def test_a_process_that_ends_itself_is_its_tools_doing(sandbox: Sandbox, name: str) -> None:
    with sandbox.episode() as one:
        results = one.run(CODES, [(name, {}), ("own", {"x": 1})])
    assert statuses(results) == ["killed", "ok"]


def test_a_state_that_was_taken_is_no_failure_of_the_model(sandbox: Sandbox) -> None:
    said = iter(range(9))

    def model(request: Any) -> Reply:
        turn = next(said)
        if turn == 1:
            kill(pids_of(episode)[0])
        calls = () if turn == 2 else (ToolCall(f"c{turn}", "look", {}, "{}"),)
        return Reply(Message("assistant", "done", tool_calls=calls))

    tools = (Tool("look", "look", {"type": "object"}),)
    sample = Sample("s", (Message("user", "?"),), tools, STATEFUL, Gold({}))
    with sandbox.episode(sandbox.preload(STATE)) as episode:
        played = play_episode(Episode(sample), ToolEnvironment(sample), model, episode)
        with pytest.raises(SandboxError, match="killed from outside"):
            episode.state_digest()
    assert (played.outcome, played.stop) == ("infrastructure_error", "sandbox")


def test_a_call_that_was_taken_fails_its_episode_and_no_other(sandbox: Sandbox) -> None:
    async def main() -> list[Any]:
        with sandbox.episode() as one, sandbox.episode() as two:
            asked = one.arun(CODES, [("loop", {})]), two.arun(CODES, [("fine", {"x": 1})] * 3)
            running = [asyncio.create_task(each) for each in asked]
            await asyncio.sleep(0.15)
            for worker in sandbox._shared.workers.things:
                if worker.pid:
                    os.kill(worker.pid, signal.SIGKILL)
            return await asyncio.gather(*running, return_exceptions=True)

    failed, fine = asyncio.run(main())
    assert isinstance(failed, SandboxError)
    assert statuses(fine) == ["ok"] * 3


# --- where the machine has nothing left --------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM])
def test_what_is_scarce_is_waited_for(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    made, refused = socket.socketpair, iter(range(3))

    def scarce(*arguments: Any) -> Any:
        if next(refused, None) is not None:
            raise OSError(code, os.strerror(code))
        return made(*arguments)

    with Sandbox(CONFIG) as sandbox, sandbox.episode() as one:
        root = sandbox.layers and sandbox.pids[0]
        monkeypatch.setattr(socket, "socketpair", scarce)
        assert statuses(one.run(CODES, [("own", {"x": 1})])) == ["ok"]
        assert next(refused, None) is None
        assert sandbox.pids[0] == root


def test_what_stays_scarce_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def scarce(*arguments: Any) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(process, "_SCARCE_SECONDS", 0.1)
    with Sandbox(CONFIG) as sandbox, sandbox.episode() as one:
        assert sandbox.layers
        monkeypatch.setattr(socket, "socketpair", scarce)
        with pytest.raises(SandboxError, match="Too many open files"):
            one.run(CODES, [("own", {"x": 1})])


def test_a_launcher_that_cannot_fork_says_so_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork(become: Any) -> int:
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(launcher, "fork", no_fork)
    ours, theirs = socket.socketpair()
    control, _ = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs, control, _:
        launcher.Launcher(control, {}, {"landlock": None, "seccomp": None}, 0, False, None).do_worker(
            1, [theirs.fileno()], None
        )
        worker = process.WorkerProcess(lambda: None, 2000, 1.0)  # type: ignore[arg-type,return-value]
        assert worker._read_hello(ours.recv(4096), "")[0] == wire.WORN
