"""The openai model against a real server on loopback: retries, limits, adaptation, secrets, closing.

Every test runs over both transports.
"""

import asyncio
import base64
import gc
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes import chat_server as fake
from fakes.chat_server import Asked, ChatServer, Script, Step

from harness.errors import ModelFailure
from harness.models import ModelOptions
from harness.models.api.endpoint import EndpointModel
from harness.models.api.openai import load
from harness.redaction import Redactor
from harness.types import Gold, Message, ModelRequest, Reply, Sample, Sampling, Tool, Usage

KEY = "sk-the-secret-key-1234"
LOOKUP = Tool("lookup", "Looks a word up.", {"type": "object", "properties": {"word": {"type": "string"}}})


CLIENT = "aiohttp"


@pytest.fixture(autouse=True, params=["aiohttp", "openai"])
def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "CLIENT", request.param)


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client honours proxies, custom headers and organisations of the environment."""
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "OPENAI_CUSTOM_HEADERS",
        "OPENAI_ORG_ID",
        "OPENAI_PROJECT_ID",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


def asking(*messages: Message, seed: int | None = None) -> ModelRequest:
    messages = messages or (Message("user", "hello"),)
    sample = Sample("s", messages, (LOOKUP,), {}, Gold({}))
    return ModelRequest(messages, sample.tools, Sampling(seed=seed), sample, 0)


class Waits:
    """A sleep that notes what was asked of it and takes no time, and the clock that it moves."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0)

    def clock(self) -> float:
        return sum(self.seconds)


def options(url: str, concurrency: int = 4, **args: str) -> ModelOptions:
    return ModelOptions({"api_key": KEY, "client": CLIENT, **args}, url, concurrency, 1, {}, Redactor())


def played(
    given: ModelOptions, use: Callable[[EndpointModel], Awaitable[Any]], name: str = "m"
) -> tuple[Any, list[float]]:
    """What `use` made of a model, and the waits between its retries; the model is closed, and nothing leaks."""

    async def run() -> Any:
        model = load(name, given)
        assert isinstance(model, EndpointModel)
        model.sleep, model.clock = waits, waits.clock
        try:
            return await use(model)
        finally:
            await model.aclose()

    waits = Waits()
    result = asyncio.run(run())
    gc.collect()  # an unclosed socket warns here, and warnings are errors
    return result, waits.seconds


def answered(script: Script, name: str = "m", **args: str) -> tuple[Reply, list[float], list[Asked]]:
    with ChatServer(script) as server:
        reply, waits = played(options(server.url, **args), lambda model: model(asking()), name)
    assert not server.exhausted
    return reply, waits, server.requests


def failed(script: Script, **args: str) -> tuple[ModelFailure, list[Asked]]:
    with ChatServer(script) as server:
        failure, _ = played(options(server.url, **args), failing)
    assert KEY not in str(failure)
    return failure, server.requests


async def failing(model: EndpointModel) -> ModelFailure:
    with pytest.raises(ModelFailure) as caught:
        await model(asking())
    # What is chained to an exception is printed with it, and the client's own exceptions hold the request.
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value


# --- one request -------------------------------------------------------------------------------------------------


def test_a_reply_and_what_was_sent_for_it() -> None:
    reply, waits, (asked,) = answered([fake.text("hi", reasoning="hm")])
    message = Message("assistant", "hi", "hm", echo=({"field": "reasoning"},))
    assert reply == Reply(message, Usage(11, 7, 2, 3, requests=1), "stop")
    assert waits == []
    assert asked.path == "/v1/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.body["messages"] == [{"role": "user", "content": "hello"}]
    assert asked.body["tools"][0]["function"]["name"] == "lookup"
    assert (asked.body["temperature"], asked.body["max_tokens"]) == (0.0, 8192)
    assert "seed" not in asked.body
    assert "parallel_tool_calls" not in asked.body


def test_arguments_of_the_model_reach_the_server() -> None:
    _, _, (asked,) = answered([fake.text("hi")], extra_body='{"top_k": 1}', organization="org-1", project="p-1")
    assert asked.body["top_k"] == 1
    assert (asked.headers["openai-organization"], asked.headers["openai-project"]) == ("org-1", "p-1")


def test_an_episode_with_calls_good_and_bad() -> None:
    first = fake.calls(
        fake.call("lookup", {"word": "a"}), fake.call("lookup", "{oops"), fake.verbatim("nowhere", {"b": 1})
    )
    script = {"hello": [first, fake.text("done", finish_reason=None)]}

    async def episode(model: EndpointModel) -> Reply:
        opening = asking().messages
        spoken = (await model(asking())).message
        answers = [Message("tool", f"result of {call.id}", tool_call_id=call.id) for call in spoken.tool_calls]
        assert [call.arguments for call in spoken.tool_calls] == [{"word": "a"}, None, {"b": 1}]
        return await model(asking(*opening, spoken, *answers, seed=5))

    with ChatServer(script) as server:
        reply, _ = played(options(server.url), episode)
    assert (reply.message.content, reply.finish_reason) == ("done", None)
    second = server.requests[1]
    assert second.body["seed"] == 5
    sent = second.messages[1]["tool_calls"]
    assert [call["function"]["arguments"] for call in sent] == ['{"word": "a"}', "{}", '{"b": 1}']
    assert [message["tool_call_id"] for message in second.messages[2:]] == [call["id"] for call in sent]


# --- retries -----------------------------------------------------------------------------------------------------

FAULTS = {
    "http_408": fake.error(408, "slow"),
    "http_409": fake.error(409, "busy"),
    "http_429": fake.rate_limited(),
    "http_500": fake.error(500, "internal"),
    "http_503": fake.error(503, "overloaded"),
    "connection": fake.dropped(),
    "not_json": fake.not_json(),
    "no_choices": fake.no_choices(),
}


@pytest.mark.parametrize("stop", FAULTS)
def test_a_passing_fault_is_retried_and_counted_apart(stop: str) -> None:
    reply, waits, asked = answered([FAULTS[stop], FAULTS[stop], fake.text("hi")])
    assert reply.message.content == "hi"
    assert (reply.usage.requests, reply.usage.retries) == (1, 2)
    assert len(waits) >= 2
    assert len(asked) == 3
    assert all(request.body == asked[0].body for request in asked)


@pytest.mark.parametrize("stop", FAULTS)
def test_a_lasting_fault_is_an_infrastructure_error(stop: str) -> None:
    failure, asked = failed([FAULTS[stop]] * 5)
    assert (failure.outcome, failure.stop) == ("infrastructure_error", stop)
    assert str(failure).startswith("openai/m: ")
    assert str(failure).endswith(" (after 5 requests)")
    assert len(asked) == 5


def test_a_connection_that_breaks_inside_a_reply_is_retried() -> None:
    reply, _, _ = answered([fake.truncated(), fake.text("hi")])
    assert (reply.message.content, reply.usage.retries) == ("hi", 1)


def test_a_timeout_is_retried() -> None:
    reply, _, _ = answered([fake.delayed(fake.text("late"), 5), fake.text("hi")], timeout="0.6")
    assert (reply.message.content, reply.usage.retries) == ("hi", 1)
    failure, _ = failed([fake.delayed(fake.text("late"), 5)] * 2, timeout="0.3", max_retries="1")
    assert (failure.outcome, failure.stop) == ("infrastructure_error", "timeout")
    assert str(failure) == "openai/m: no reply within 0.3 s (after 2 requests)"


def test_a_server_that_is_not_there_is_an_infrastructure_error() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        failure, waits = played(options(f"http://127.0.0.1:{unused.getsockname()[1]}/v1", max_retries="2"), failing)
    assert (failure.outcome, failure.stop, len(waits)) == ("infrastructure_error", "connection", 2)


def test_the_server_says_how_long_to_wait() -> None:
    def busy(**headers: str) -> Step:
        return fake.error(503, "busy", **headers)

    _, waits, _ = answered([busy(retry_after="7"), busy(retry_after_ms="12500"), fake.text("hi")])
    assert waits == [7.0, 12.5]
    _, capped, _ = answered([busy(retry_after="3000"), fake.text("hi")], max_retry_wait="20")
    assert capped == [20.0]
    _, dated, _ = answered([busy(retry_after="Wed, 01 Jan 2120 00:00:00 GMT"), fake.text("hi")])
    assert dated == [60.0]


def test_waits_without_advice_are_reproducible() -> None:
    script = [*list(FAULTS.values())[:4], fake.text("hi")]
    _, first, _ = answered(script)
    _, second, _ = answered(script)
    assert first == second
    own = [*first[:2], first[-1]]  # after the 429 between them it is the pace that waits, a second at a time
    assert all(limit / 2 <= wait <= limit for wait, limit in zip(own, (1, 2, 8), strict=True))
    assert 0 < sum(first[2:-1]) <= 4


def test_an_exhausted_quota_is_not_retried() -> None:
    failure, asked = failed([fake.out_of_quota()])
    assert (failure.outcome, failure.stop, len(asked)) == ("infrastructure_error", "insufficient_quota", 1)


def test_no_retries_means_one_request() -> None:
    _, asked = failed([fake.rate_limited()], max_retries="0")
    assert len(asked) == 1


# --- failures that are final -------------------------------------------------------------------------------------


def test_a_context_that_is_too_long_is_a_token_limit() -> None:
    failure, asked = failed([fake.too_long()])
    assert (failure.outcome, failure.stop, len(asked)) == ("token_limit", "context_length", 1)
    assert "maximum context length is 4096 tokens" in str(failure)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refused_request_is_final(status: int) -> None:
    failure, asked = failed([fake.error(status, "no")])
    assert (failure.outcome, failure.stop, len(asked)) == ("model_error", f"http_{status}", 1)
    assert str(failure).startswith(f"openai/m: HTTP {status}: no")


def test_a_key_that_is_echoed_is_redacted() -> None:
    failure, _ = failed(fake.wrong_key)
    assert failure.stop == "http_401"
    assert str(failure) == "openai/m: HTTP 401: Incorrect API key provided: Bearer [redacted]"


@pytest.mark.parametrize("body", [f"<p>{KEY}</p>".encode(), f'{{"message": "{KEY}\\ud800"}}'.encode(), b"x" * 100_000])
def test_other_bodies_are_redacted_and_cut(body: bytes) -> None:
    failure, _ = failed([Step(body, 403)])
    assert len(str(failure)) < 400
    str(failure).encode()


@pytest.mark.parametrize(
    "step",
    [
        Step(b"{}", 401, {"Content-Type": "application/json; charset=hex"}),
        Step(b"\xff\xfe", 500, {"Content-Type": "text/plain; charset=undefined"}),
        Step(b"no gzip", 200, {"Content-Encoding": "gzip"}),
        Step(b"{}", 302, {"Location": "http://[broken"}),
        Step(b"{}", 307, {"Location": "/v1/chat/completions"}),
        Step(b"[" * 100_000, 400),
        Step({"error": {"code": [[]], "type": {}, "message": 5, "param": 7}}, 400),
    ],
)
def test_no_answer_raises_anything_but_a_model_failure(step: Step) -> None:
    failure, _ = failed(lambda asked: step, max_retries="1")
    assert failure.outcome in {"infrastructure_error", "model_error"}


# --- adaptation --------------------------------------------------------------------------------------------------


def refuses(*parameters: str) -> Callable[[Asked], Step]:
    def script(asked: Asked) -> Step:
        for name in parameters:
            if name in asked.body:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                return fake.error(400, said, code="unsupported_parameter", param=name)
        return fake.text("hi")

    return script


def test_a_refused_parameter_is_learned_once_for_the_run() -> None:
    async def three_times(model: EndpointModel) -> list[Reply]:
        together = await asyncio.gather(model(asking(seed=1)), model(asking(seed=1)))
        return [*together, await model(asking(seed=1))]

    with ChatServer(refuses("max_tokens", "temperature", "seed")) as server:
        replies, waits = played(options(server.url), three_times)
    assert [reply.usage.requests for reply in replies] == [1, 1, 1]
    assert replies[2].usage.retries == 0
    assert waits == []
    last = server.requests[-1].body
    assert last["max_completion_tokens"] == 8192
    assert not {"max_tokens", "temperature", "seed"} & set(last)


def test_a_name_that_promises_the_other_parameter_can_be_wrong() -> None:
    reply, _, asked = answered(refuses("max_completion_tokens"), name="o3-of-our-own")
    assert reply.usage.retries == 1
    assert asked[-1].body["max_tokens"] == 8192


def test_a_parameter_that_is_refused_either_way_is_a_failure() -> None:
    failure, asked = failed(refuses("max_tokens", "max_completion_tokens"))
    assert (failure.outcome, failure.stop, len(asked)) == ("model_error", "http_400", 2)


def test_a_parameter_that_the_user_set_is_not_taken_away() -> None:
    failure, asked = failed(refuses("temperature"), extra_body='{"temperature": 1}')
    assert (failure.stop, len(asked)) == ("http_400", 1)


# --- connections and secrets -------------------------------------------------------------------------------------


def test_concurrency_is_bounded_and_connections_are_reused() -> None:
    async def many(model: EndpointModel) -> None:
        await asyncio.gather(*(model(asking()) for _ in range(30)))

    with ChatServer(lambda asked: fake.delayed(fake.text("hi"), 0.01)) as server:
        played(options(server.url, concurrency=5), many)
    assert server.most_at_once == 5
    assert len({asked.peer for asked in server.requests}) <= 5


def test_a_request_that_waits_for_its_retry_lets_others_go_first() -> None:
    async def two(model: EndpointModel) -> None:
        await asyncio.gather(*(model(asking(Message("user", name))) for name in ("first", "second")))

    script = {"first": [fake.error(503, "busy"), fake.text("hi")], "second": [fake.text("hi")]}
    with ChatServer(script) as server:
        played(options(server.url, concurrency=1), two)
    assert [asked.conversation for asked in server.requests] == ["first", "second", "first"]


def test_a_rate_limit_alone_costs_no_attempt_while_the_endpoint_takes_others() -> None:
    """One conversation is refused nine times and never in a row: others are taken between its refusals."""
    refusals = iter(range(9))
    last = ""

    def script(asked: Asked) -> Step:
        nonlocal last
        before, last = last, asked.conversation
        if asked.conversation == "unlucky" and before != "unlucky" and next(refusals, None) is not None:
            return fake.rate_limited()
        return fake.text("hi")

    async def many(model: EndpointModel) -> list[Reply]:
        others = [model(asking(Message("user", f"other {number}"))) for number in range(40)]
        return await asyncio.gather(model(asking(Message("user", "unlucky"))), *others)

    with ChatServer(script) as server:
        replies, _ = played(options(server.url, concurrency=2, max_retries="1"), many)
    assert [reply.message.content for reply in replies] == ["hi"] * 41
    assert replies[0].usage.retries > 1
    assert all(reply.usage.retries == 0 for reply in replies[1:])


def test_an_endpoint_that_takes_nothing_any_more_ends_the_episode() -> None:
    """The first refusal is free, because another request was taken meanwhile; the next two are attempts."""

    def script(asked: Asked) -> Step:
        return fake.text("hi") if asked.conversation == "other" else fake.delayed(fake.rate_limited(), 0.1)

    async def both(model: EndpointModel) -> ModelFailure:
        async with asyncio.timeout(20):
            with pytest.raises(ModelFailure) as caught:
                await asyncio.gather(*(model(asking(Message("user", name))) for name in ("unlucky", "other")))
        return caught.value

    with ChatServer(script) as server:
        failure, _ = played(options(server.url, concurrency=2, max_retries="1"), both)
    assert (failure.outcome, failure.stop) == ("infrastructure_error", "http_429")
    assert [asked.conversation for asked in server.requests].count("unlucky") == 3


def test_a_model_can_be_used_again_after_it_was_closed() -> None:
    with ChatServer(lambda asked: fake.text("hi")) as server:
        model: Any = load("m", options(server.url, concurrency=1))

        async def run() -> None:
            await asyncio.gather(model(asking()), model(asking()))
            await model.aclose()
            await model.aclose()

        asyncio.run(run())
        asyncio.run(run())
    assert len(server.requests) == 4


def test_a_cancelled_request_frees_its_slot() -> None:
    async def cancelled(model: EndpointModel) -> Reply:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await model(asking(Message("user", "slow")))
        return await model(asking())

    script = {"slow": [fake.delayed(fake.text("late"), 5)], "hello": [fake.text("hi")]}
    with ChatServer(script) as server:
        reply, _ = played(options(server.url, concurrency=1), cancelled)
    assert reply.message.content == "hi"


def test_a_user_and_password_in_the_url_are_basic_auth_and_stay_secret(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with ChatServer(fake.wrong_key) as server:
        url = server.url.replace("http://", "http://alice:pass%40w0rd@") + "?token=tok-99&version=2"
        given = ModelOptions({"client": CLIENT}, url, 1, 1, {"OPENAI_API_KEY": KEY}, Redactor())
        failure, _ = played(given, failing)
        model = load("m", given)
    (asked,) = server.requests
    basic = base64.b64encode(b"alice:pass@w0rd").decode()
    assert asked.headers["authorization"] == f"Basic {basic}"
    assert asked.query == {"token": "tok-99", "version": "2"}
    assert asked.path == "/v1/chat/completions"
    for secret in (basic, "pass@w0rd", "pass%40w0rd", "alice", KEY):
        assert secret not in str(failure)
        assert secret not in repr(model.fingerprint)
        assert secret not in caplog.text


def test_a_placeholder_key_is_sent_to_a_server_that_needs_none() -> None:
    with ChatServer([fake.text("hi")]) as server:
        played(ModelOptions({"client": CLIENT}, server.url, 1, 1, {}, Redactor()), lambda model: model(asking()))
    assert server.requests[0].headers["authorization"] == "Bearer no-key"
