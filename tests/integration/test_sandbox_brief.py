"""A call that comes alone, of a tool that is known and quick, is asked for without a request of its own: whatever it
turns out to be, it ends as any other call. Real processes throughout."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.sandbox import Sandbox, SandboxConfig, ToolLimits, ToolSession
from harness.sandbox.process import Sent, WorkerProcess, WorkerReply
from harness.types import ToolResult

_TOOL = {
    "f": """
def f(how, x=0):
    if how == "spin":
        while True:
            x += 1
    if how == "count":
        for _ in range(1_000_000):
            x += 1
    if how == "raise":
        raise ValueError("no")
    if how == "fill":
        return len("a" * (1 << 40))
    if how == "long":
        return "é" * 3000
    return x
"""
}
_ENDS = [
    ("count", ToolResult("ok", "1000000")),
    ("raise", ToolResult("raised", "no")),
    ("long", ToolResult("truncated", "é" * 2000)),
    ("fill", ToolResult("raised", "")),
    ("spin", ToolResult("timeout", "timed out after 0.5 seconds")),
]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Of every call that was asked for briefly, whether its answer was there at once."""
    seen: list[bool] = []
    ask = WorkerProcess.ask_briefly

    def watch(worker: WorkerProcess, line: str) -> tuple[WorkerReply | None, Sent]:
        reply, sent = ask(worker, line)
        seen.append(reply is not None)
        return reply, sent

    monkeypatch.setattr(WorkerProcess, "ask_briefly", watch)
    return seen


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(workers=1, call_timeout=0.5, output_chars=2000)) as sandbox:
        yield sandbox


async def quick(episode: ToolSession, asked: list[bool]) -> None:
    """Calls until one was asked for briefly; a busy machine may take a while to be quick."""
    end = time.monotonic() + 60
    for number in itertools.takewhile(lambda _: time.monotonic() < end, itertools.count()):
        asked.clear()
        assert await episode.arun(_TOOL, [("f", {"how": "", "x": number})]) == [ToolResult("ok", str(number))]
        if asked == [True]:
            return
    raise AssertionError("no call was asked for briefly")


async def ended(pid: int) -> None:
    """The process is gone, or its parent has only to take it away."""
    for _ in range(1000):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return
        if state == "Z":
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it lives")


@pytest.mark.parametrize(("how", "result"), _ENDS)
def test_however_a_call_ends(sandbox: Sandbox, asked: list[bool], how: str, result: ToolResult) -> None:
    async def main() -> list[ToolResult]:
        asked.clear()
        while not asked:  # every eighth call looks whether others are ready
            with sandbox.episode() as episode:
                await quick(episode, asked)
                asked.clear()
                results = await episode.arun(_TOOL, [("f", {"how": how})])
        with sandbox.episode() as episode:
            await quick(episode, asked)
        return results

    assert asyncio.run(main()) == [result]


def test_one_that_is_late_holds_up_nobody_and_can_be_cancelled(sandbox: Sandbox, asked: list[bool]) -> None:
    async def main() -> None:
        with sandbox.episode() as episode, sandbox.episode() as other:
            await quick(episode, asked)
            asked.clear()
            late = asyncio.create_task(episode.arun(_TOOL, [("f", {"how": "spin"})]))
            await asyncio.sleep(0)
            assert await other.arun(_TOOL, [("f", {"how": "", "x": 7})]) == [ToolResult("ok", "7")]
            assert not late.done()
            late.cancel()
            with pytest.raises(asyncio.CancelledError):
                await late
            await quick(other, asked)

    asyncio.run(main())


@pytest.mark.parametrize("from_outside", [True, False])
def test_a_worker_that_died_meanwhile_costs_nothing(sandbox: Sandbox, asked: list[bool], from_outside: bool) -> None:
    async def main() -> ToolResult:
        with sandbox.episode() as episode:
            await quick(episode, asked)
            for worker in sandbox._shared.workers.things:
                if from_outside and worker.pid:
                    os.kill(worker.pid, signal.SIGKILL)
                    await ended(worker.pid)
                else:
                    worker.kill()
            return (await episode.arun(_TOOL, [("f", {"how": "", "x": 3})]))[0]

    assert asyncio.run(main()) == ToolResult("ok", "3")


def test_a_limit_that_was_met_refuses_it(asked: list[bool]) -> None:
    async def main(sandbox: Sandbox) -> list[str]:
        with sandbox.episode() as first:
            await quick(first, asked)
        with sandbox.episode() as episode:
            return [(await episode.arun(_TOOL, [("f", {"how": "", "x": n})]))[0].status for n in range(40)]

    with Sandbox(SandboxConfig(workers=1, limits=ToolLimits(episode_bytes=30))) as sandbox:
        statuses = asyncio.run(main(sandbox))
    assert set(statuses) == {"ok", "refused"}
    assert statuses == sorted(statuses), "refused from there on"


def test_it_serves_one_event_loop_after_another(sandbox: Sandbox, asked: list[bool]) -> None:
    async def main() -> None:
        with sandbox.episode() as episode:
            await quick(episode, asked)

    asyncio.run(main())
    asyncio.run(main())
