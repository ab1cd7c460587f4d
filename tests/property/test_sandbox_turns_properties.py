"""Episodes that share workers get what they would get alone, whatever the tools of the others do."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.sandbox import Sandbox, SandboxConfig, screen
from harness.types import ToolResult

Call = tuple[str, dict[str, Any]]
CONFIG = SandboxConfig(workers=2, call_timeout=0.25, memory_bytes=1 << 28, output_chars=9000)
CODES = {
    "echo": "def echo(x):\n    return {'x': x}\n",
    "fail": "def fail(x):\n    return [1][x + 1]\n",
    "work": "def work(x):\n    return sum(range(x * 4000))\n",
    "long": "def long(x):\n    return 'é' * (x * 1500)\n",
    "eat": "def eat(x):\n    return len(bytearray(1 << 40))\n",
    "hang": "def hang(x):\n    while True:\n        pass\n",
    "leave": "import os\ndef leave(x):\n    os._exit(x)\n",
}
"""`hang` and `eat` are plain, and so share; `leave` gets a worker of its own."""
QUICK = ("echo", "fail", "work", "long")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(CONFIG) as shared:
        yield shared


def turns(most: int) -> st.SearchStrategy[list[list[list[Call]]]]:
    call = st.tuples(st.sampled_from([*CODES, *QUICK, *QUICK]), st.fixed_dictionaries({"x": st.integers(0, 3)}))
    return st.lists(st.lists(st.lists(call, min_size=1, max_size=4), max_size=3), min_size=2, max_size=most)


async def play(sandbox: Sandbox, episodes: Sequence[Sequence[Sequence[Call]]]) -> list[list[list[ToolResult]]]:
    async def one(asked: Sequence[Sequence[Call]]) -> list[list[ToolResult]]:
        with sandbox.episode() as episode:
            return [await episode.arun(CODES, calls) for calls in asked]

    return await asyncio.gather(*[one(asked) for asked in episodes])


@pytest.fixture(scope="module")
def alone(sandbox: Sandbox) -> dict[tuple[str, int], ToolResult]:
    """What each call gives in an episode of its own."""
    found = {}
    for name in CODES:
        for x in range(4):
            with sandbox.episode() as episode:
                [found[name, x]] = episode.run(CODES, [(name, {"x": x})])
    return found


def test_the_tools_do_what_they_are_for(alone: dict[tuple[str, int], ToolResult]) -> None:
    statuses = {name: alone[name, 3].status for name in CODES}
    assert statuses == {
        "echo": "ok",
        "work": "ok",
        "long": "ok",
        "fail": "raised",
        "eat": "raised",
        "hang": "timeout",
        "leave": "killed",
    }
    assert [name for name in CODES if not screen.is_plain_source(CODES[name])] == ["leave"]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns(6))
def test_episodes_together_get_what_each_gets_alone(
    sandbox: Sandbox, alone: dict[tuple[str, int], ToolResult], episodes: list[list[list[Call]]]
) -> None:
    together = asyncio.run(play(sandbox, episodes))
    assert together == [[[alone[name, told["x"]] for name, told in calls] for calls in asked] for asked in episodes]
