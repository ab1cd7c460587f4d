"""What endpoints refuse, over real sockets: errors inside a status 200, and what is sent otherwise after it."""

import asyncio
import os
from typing import Any

import pytest
from builders import sample
from fakes.chat_server import Asked, ChatServer, Script, Step, text

from harness.errors import ModelFailure
from harness.models import ModelOptions
from harness.models.api import openai
from harness.models.api.endpoint import EndpointModel
from harness.redaction import Redactor
from harness.types import Message, ModelRequest, Reply, Sampling

QUICK = {"max_retry_wait": "0.05", "timeout": "5", "max_retries": "2"}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith(("OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)


def ask(
    script: Script, *, client: str = "aiohttp", **args: str
) -> tuple[Reply | ModelFailure, list[Asked], list[float]]:
    """One request: its reply or failure, what was asked, and every wait."""
    waits: list[float] = []

    async def run(url: str) -> Reply | ModelFailure:
        options = ModelOptions({**QUICK, "client": client, **args}, url, 2, 1, {"OPENAI_API_KEY": "k"}, Redactor())
        model = openai.load("m", options)
        assert isinstance(model, EndpointModel)

        async def sleep(seconds: float) -> None:
            waits.append(seconds)

        model.sleep = sleep
        clock = iter(range(10**6))
        model.clock = lambda: float(next(clock))
        try:
            return await model(ModelRequest([Message("user", "q")], sample().tools, Sampling(), sample()))
        except ModelFailure as failure:
            return failure
        finally:
            await model.aclose()

    with ChatServer(script) as server:
        said = asyncio.run(run(server.url))
    return said, server.requests, waits


def hidden(error: Any, **headers: str) -> Step:
    """An error with status 200."""
    return Step({"error": error}, 200, headers)


# --- errors inside a status 200 ----------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["aiohttp", "openai"])
@pytest.mark.parametrize("code", [429, "503", "rate_limit_exceeded"])
def test_an_error_inside_a_200_is_tried_again(client: str, code: Any) -> None:
    said, asked, _ = ask([hidden({"code": code, "message": "busy"}), text("done")], client=client)
    assert isinstance(said, Reply)
    assert (said.message.content, len(asked)) == ("done", 2)


@pytest.mark.parametrize(
    "step",
    [hidden({"code": 503}, **{"Retry-After": "7"}), hidden({"code": 503, "metadata": {"retry_after_seconds": 7}})],
)
def test_it_is_waited_for_as_long_as_it_asks(step: Step) -> None:
    said, _, waits = ask([step, text("done")], max_retry_wait="60")
    assert isinstance(said, Reply)
    assert max(waits) == 7.0


@pytest.mark.parametrize(
    ("code", "stop", "requests"),
    [(429, "http_429", 3), (502, "http_502", 3), (401, "http_401", 1), ("model_not_found", "http_404", 1)],
)
def test_it_ends_as_its_status_would(code: Any, stop: str, requests: int) -> None:
    said, asked, _ = ask(lambda asked: hidden({"code": code, "message": "no"}))
    assert isinstance(said, ModelFailure)
    assert (said.stop, len(asked)) == (stop, requests)
    assert f"HTTP 200 with an error inside, HTTP {stop[5:]}: no" in str(said)
