"""In the sandbox, the recorded calls on the released tools give exactly the text that the paper's code fed back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from builders import RELEASED as ROWS
from builders import ROLLOUTS, SHARED

from harness.sandbox import Sandbox, SandboxConfig, screen

pytestmark = pytest.mark.skipif(
    not (ROWS.exists() and ROLLOUTS.exists()), reason=f"the released tools and their recorded calls are not in {SHARED}"
)


@pytest.fixture(scope="module")
def codes() -> list[dict[str, str]]:
    return [json.loads(json.loads(row)["codes"]) for row in ROWS.read_text().splitlines()]


@pytest.fixture(scope="module")
def rollouts() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ROLLOUTS.read_text().splitlines()]


def test_every_recorded_call_gives_the_recorded_feedback(
    codes: list[dict[str, str]], rollouts: list[dict[str, Any]]
) -> None:
    different = []
    with Sandbox(SandboxConfig(workers=2)) as sandbox:
        for rollout in rollouts:
            calls = [(call["name"], call["arguments"]) for turn in rollout["turns"] for call in turn]
            with sandbox.episode() as episode:
                results = episode.run(codes[rollout["line"]], calls)
            for (name, _), result, expected in zip(calls, results, rollout["feedback"], strict=True):
                text = result.output if result.status == "ok" else f"an error occured when call {name}: {result.output}"
                if text != expected:
                    different.append((rollout["line"], name, expected, text))
    assert different == []


def test_nearly_every_released_tool_may_share_a_worker(codes: list[dict[str, str]]) -> None:
    plain = [screen.is_plain_source(source) for tools in codes for source in tools.values()]
    assert sum(plain) / len(plain) >= 0.98
