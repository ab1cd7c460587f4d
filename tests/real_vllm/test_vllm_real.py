"""bundled/tiny-base by hf/ and by a real vLLM server: float32 both, temperature 0, the same prompts turn by turn.

Runs only where vLLM is installed (docs/local-models.md says how without a GPU):

    pytest tests/real_vllm -s

hf/ plays the episodes; the server is then asked every turn of them again, with what hf/ had said before it. So a turn
where the two differ is counted once and does not change the turns after it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT

pytest.importorskip("vllm", reason="needs vLLM, in an environment of its own: docs/local-models.md")

from harness.models import ModelOptions
from harness.models.local import hf, vllm, vllm_server
from harness.models.local.vllm_server import VLLMDialect, VLLMServerModel
from harness.registry import select_tasks
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox
from harness.types import ModelRequest, Reasoning, Reply, Sampling

FOLDER = ROOT / "trainer" / "bundled" / "tiny-base"
EPISODES_A_TASK = 40
LEAST_CALLS = 200
LEAST_AGREEMENT = 0.98
SAMPLING = Sampling(0.0, 256)


@dataclass(frozen=True)
class Turn:
    """One turn that hf/ played: what it was asked and what it said."""

    request: ModelRequest
    reply: Reply


@pytest.fixture(scope="module")
def folder() -> Path:
    if not any(FOLDER.glob("*.safetensors")):
        pytest.skip(f"needs {FOLDER}: harness train --regime sft --recipe tiny-base")
    return FOLDER


@pytest.fixture(scope="module")
def network(folder: Path) -> hf.HFModel:
    return hf.load_directory("hf/tiny-base", str(folder), ModelOptions(args={"dtype": "float32", "device": "cpu"}))


@pytest.fixture(scope="module")
def played(network: hf.HFModel) -> list[Turn]:
    """Every turn of the episodes, as hf/ plays them one by one."""
    turns: list[Turn] = []

    class Recorded:
        name, fingerprint = network.name, network.fingerprint

        def __call__(self, request: ModelRequest) -> Reply:
            reply = network(request)
            copied = ModelRequest(
                list(request.messages), request.tools, request.sampling, request.sample, turn=request.turn
            )
            turns.append(Turn(copied, reply))
            return reply

    with Sandbox() as sandbox:
        for task in select_tasks(["micro_*"], {}):
            for sample in task.load()[:EPISODES_A_TASK]:
                with sandbox.episode() as tools:
                    play_episode(Episode(sample, SAMPLING, task=task.name), task.environment(sample), Recorded(), tools)
    return turns


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[tuple[VLLMServerModel, asyncio.Runner]]:
    """A server that is up, and the event loop that it belongs to."""
    options = ModelOptions(args={"dtype": "float32", "flags": "--enforce-eager"}, concurrency=64)
    model = vllm_server.load_folder(str(folder), options)
    with asyncio.Runner() as runner:
        try:
            started = time.monotonic()
            runner.run(model._started())
            print(f"\nserver started in {time.monotonic() - started:.1f} s")
            yield model, runner
        finally:
            runner.run(model.aclose())
            model.close()


def calls_of(reply: Reply) -> list[tuple[str, Any]]:
    return [(call.name, call.arguments) for call in reply.message.tool_calls]


def compare(turns: Sequence[Turn], replies: Sequence[Any]) -> float:
    """The share of turns with the same calls; prints what differs."""
    same = 0
    for turn, reply in zip(turns, replies, strict=True):
        assert isinstance(reply, Reply), reply
        assert reply.usage.input_tokens == turn.reply.usage.input_tokens, "both were shown the same prompt"
        if calls_of(reply) == calls_of(turn.reply):
            same += 1
        else:
            where = f"{turn.request.sample.id}, turn {turn.request.turn}"
            print(f"differs: {where}\n  hf   {turn.reply.message.raw!r}\n  vllm {reply.message.raw!r}")
    calls = sum(len(calls_of(turn.reply)) for turn in turns)
    print(f"{len(turns)} turns, {calls} calls, same calls on {same} turns ({same / len(turns):.2%})")
    assert calls >= LEAST_CALLS
    return same / len(turns)


def test_the_server_makes_the_same_calls(played: list[Turn], server: tuple[VLLMServerModel, asyncio.Runner]) -> None:
    model, runner = server

    async def ask() -> list[Reply]:
        return list(await asyncio.gather(*(model(turn.request) for turn in played)))

    started = time.monotonic()
    replies = runner.run(ask())
    seconds = time.monotonic() - started
    noted = [reply.note for reply in replies if reply.note]
    print(f"\n{len(replies)} requests in {seconds:.1f} s: {len(replies) / seconds:.1f} requests/s")
    print(f"the server's own parser differed on {len(noted)} turns: {sorted(set(noted))[:5]}")
    assert compare(played, replies) >= LEAST_AGREEMENT


@pytest.mark.parametrize("mode", ["off", "on"])
def test_the_reasoning_switch_is_on_the_wire_and_in_the_prompt(
    played: list[Turn],
    network: hf.HFModel,
    server: tuple[VLLMServerModel, asyncio.Runner],
    monkeypatch: pytest.MonkeyPatch,
    mode: Any,
) -> None:
    model, runner = server
    bodies: list[dict[str, Any]] = []
    write = VLLMDialect.make_request

    def recorded(self: VLLMDialect, request: ModelRequest) -> Any:
        sent = write(self, request)
        bodies.append(sent.body)
        return sent

    monkeypatch.setattr(VLLMDialect, "make_request", recorded)
    first = played[0].request
    request = ModelRequest(first.messages, first.tools, SAMPLING, first.sample, reasoning=Reasoning(mode))
    reply = runner.run(model(request))
    assert [body["chat_template_kwargs"] for body in bodies] == [{"enable_thinking": mode == "on"}]
    rendered = network.prompter.prompt(request).text
    assert reply.usage.input_tokens == len(network._local.encode(rendered))
    assert (
        rendered
        != network.prompter.prompt(
            ModelRequest(first.messages, first.tools, SAMPLING, first.sample, reasoning=Reasoning(flip(mode)))
        ).text
    ), "the switch is seen in the prompt"


def flip(mode: str) -> Any:
    return "on" if mode == "off" else "off"


def test_the_offline_engine_makes_the_same_calls(folder: Path, played: list[Turn]) -> None:
    args = {"dtype": "float32", "engine": '{"enforce_eager": true}', "batch_size": "64"}
    model = vllm.load(str(folder), ModelOptions(args=args))
    assert isinstance(model, vllm.VLLMModel)
    model.batch([played[0].request])
    started = time.monotonic()
    replies = [
        reply
        for place in range(0, len(played), model.width)
        for reply in model.batch([turn.request for turn in played[place : place + model.width]])
    ]
    print(f"\noffline: {len(replies) / (time.monotonic() - started):.1f} replies/s at {model.width} together")
    model.close()
    assert compare(played, replies) >= LEAST_AGREEMENT
