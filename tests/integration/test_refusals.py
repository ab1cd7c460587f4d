"""What endpoints refuse, over real sockets: errors inside a status 200, and what is sent otherwise after it."""

import asyncio
import json
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from builders import record, sample, write_records
from commands import episodes
from fakes.chat_server import Asked, ChatServer, Script, Step, call, calls, error, text

from harness import cli
from harness.errors import ModelFailure
from harness.models import ModelOptions
from harness.models.api import anthropic, gemini, openai
from harness.models.api.endpoint import EndpointModel
from harness.redaction import Redactor
from harness.types import Message, ModelRequest, Reply, Sampling

QUICK = {"max_retry_wait": "0.05", "timeout": "5", "max_retries": "2"}


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith(("OPENAI_", "ANTHROPIC_")):
            monkeypatch.delenv(name)


BACKENDS = {"openai": openai, "anthropic": anthropic, "gemini": gemini}


def ask(
    script: Script, *, backend: str = "openai", client: str = "aiohttp", **args: str
) -> tuple[Reply | ModelFailure, list[Asked], list[float]]:
    """One request: its reply or failure, what was asked, and every wait."""
    waits: list[float] = []

    async def run(url: str) -> Reply | ModelFailure:
        given = {**QUICK, "client": client, "api_key": "k", **args}
        model = BACKENDS[backend].load("m", ModelOptions(given, url, 2, None, {}, Redactor()))
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


RESPONSE = Step({
    "status": "completed",
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}],
})  # fmt: skip
MESSAGE = Step({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "done"}]})
APIS = [
    ("openai", {"api": "responses"}, RESPONSE),
    ("anthropic", {}, MESSAGE),
    ("gemini", {}, text("done")),
]


@pytest.mark.parametrize("own_client", [False, True])
@pytest.mark.parametrize(("api", "args", "done"), APIS)
@pytest.mark.parametrize("code", [429, "503"])
def test_it_is_in_every_api(api: str, args: dict[str, str], done: Step, code: Any, own_client: bool) -> None:
    client = {"anthropic": "anthropic"}.get(api, "openai") if own_client else "aiohttp"
    said, asked, _ = ask([hidden({"code": code, "message": "busy"}), done], backend=api, client=client, **args)
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


def test_responses_ask_for_fewer_too() -> None:
    done = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "done"}]}
    refusal = (
        "Invalid 'max_output_tokens': integer above maximum value. Expected a value <= 4096, but got 8192 instead."
    )
    said, asked, _ = ask([error(400, refusal), Step({"status": "completed", "output": [done]})], api="responses")
    assert isinstance(said, Reply)
    assert [request.body["max_output_tokens"] for request in asked] == [8192, 4096]


# --- whole runs --------------------------------------------------------------------------------------------------

TOWNS = ("Corrie", "Brill", "Dull", "Ware")
Played = tuple[int, str, str, list[Asked]]


@pytest.fixture
def play(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Played]:
    """`harness eval` on four samples: exit status, what was printed to either stream, and what was asked."""
    rows = [record(id=town, messages=[{"role": "user", "content": f"How many live in {town}?"}]) for town in TOWNS]
    path = write_records(tmp_path / "towns.jsonl", rows)

    def play(script: Callable[[Asked], Step], *words: str, out: str = "run") -> Played:
        with ChatServer(script) as server:
            status = cli.main([
                "eval", "--model", "m", "--tasks", str(path), "--out", str(tmp_path / out), "--base-url", server.url,
                "--quiet", "--model-arg", *(f"{name}={value}" for name, value in QUICK.items()), *words,
            ])  # fmt: skip
        printed = capsys.readouterr()
        return status, printed.out, printed.err, server.requests

    return play


def learnt(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((path / "manifest.json").read_text()).get("learnt", [])
    return found


def outcomes(path: Path) -> set[tuple[str, str]]:
    return {(episode["outcome"], episode["stop"]) for episode in episodes(path)}


def honest(asked: Asked) -> Step:
    return calls(call("population", {"town": "Corrie"})) if asked.turn == 0 else text("Answer: 45,210")


def context(size: int, prompt: int = 44) -> Callable[[Asked], Step]:
    """A vLLM server with a context, where each turn before adds ten times ten tokens to a prompt."""

    def script(asked: Asked) -> Step:
        inputs, wanted = prompt + 100 * asked.turn, asked.body.get("max_tokens", 0)
        if inputs + wanted <= size:
            return honest(asked)
        said = f"This model's maximum context length is {size} tokens. However, you requested {inputs + wanted} tokens "
        return error(400, f"{said}({inputs} in the messages, {wanted} in the completion).", code=400)

    return script


def output(most: int, said: str = "This model supports at most {} completion tokens") -> Callable[[Asked], Step]:
    def script(asked: Asked) -> Step:
        wanted = asked.body["max_tokens"]
        return (
            honest(asked) if wanted <= most else error(400, f"max_tokens is too large: {wanted}. " + said.format(most))
        )

    return script


def test_a_reply_gets_what_the_context_leaves(play: Callable[..., Played], tmp_path: Path) -> None:
    status, printed, _, asked = play(context(4096))
    assert status == 0
    assert outcomes(tmp_path / "run") == {("ok", "no_tool_calls")}
    assert learnt(tmp_path / "run") == [{"field": "context", "value": 4096, "episodes_before": 0}]
    assert {request.body["max_tokens"] for request in asked} == {8192, 4052, 3952}
    assert "replies of at most what a context of 4,096 tokens leaves beside the prompt" in printed
    assert "WARNING" not in printed


def test_a_conversation_that_fills_the_context_is_a_token_limit(play: Callable[..., Played], tmp_path: Path) -> None:
    status, *_ = play(context(4096, prompt=4000))
    assert status == 0
    assert outcomes(tmp_path / "run") == {("token_limit", "context_length")}
    assert {len(episode["calls"]) for episode in episodes(tmp_path / "run")} == {1}


@pytest.mark.parametrize("said", ["This model supports at most {} completion tokens", "Please ask for less."])
def test_a_models_own_limit_holds_for_every_episode(play: Callable[..., Played], tmp_path: Path, said: str) -> None:
    status, printed, _, asked = play(output(2048, said))
    assert status == 0
    assert outcomes(tmp_path / "run") == {("ok", "no_tool_calls")}
    assert learnt(tmp_path / "run") == [{"field": "max_tokens", "value": 2048, "episodes_before": 0}]
    refused = 1 if "at most" in said else 2
    assert [request.body["max_tokens"] for request in asked[refused:]] == [2048] * 8
    assert "sent instead: at most 2,048 new tokens a turn" in printed


OWN = ("--max-tokens", "8192")
IN_BODY = ("--model-arg", 'extra_body={"max_tokens": 8192}')


@pytest.mark.parametrize(
    ("client", "script", "words", "sentence"),
    [
        (
            "aiohttp",
            output(2048),
            OWN,
            "--max-tokens is more new tokens than this model gives (2,048 at most): lower it",
        ),
        (
            "openai",
            context(2048),
            OWN,
            "--max-tokens is more new tokens than this model gives (2,004 beside this prompt): l",
        ),
        ("aiohttp", output(2048), IN_BODY, "max_tokens of --model-arg extra_body is more new tokens"),
    ],
)
def test_a_persons_own_number_ends_the_run_with_a_sentence(
    play: Callable[..., Played],
    tmp_path: Path,
    client: str,
    script: Callable[[Asked], Step],
    words: Sequence[str],
    sentence: str,
) -> None:
    status, printed, said, asked = play(script, "--model-arg", f"client={client}", *words)
    assert (status, printed) == (2, "")
    assert sentence in said
    assert len(asked) <= 2
    assert episodes(tmp_path / "run") == []


def test_a_persons_own_number_in_a_conversation_that_grows(play: Callable[..., Played], tmp_path: Path) -> None:
    status, printed, *_ = play(context(2048), "--max-tokens", "2000")
    assert status == 0
    assert outcomes(tmp_path / "run") == {("ok", "no_tool_calls")}
    assert learnt(tmp_path / "run") == [{"field": "context", "value": 2048, "episodes_before": 0}]
    assert "replies of at most what a context of 2,048 tokens leaves beside the prompt" in printed


def test_a_comparison_says_what_one_endpoint_refused(
    play: Callable[..., Played], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    play(output(2048))
    play(honest, out="free")
    assert cli.main(["compare", str(tmp_path / "free"), str(tmp_path / "run")]) == 0
    assert "learnt.max_tokens" in capsys.readouterr().out


def late(begun: set[str], accepted: int, then: Callable[[Asked], Step]) -> Callable[[Asked], Step]:
    """An endpoint that takes all of its first conversations."""

    def script(asked: Asked) -> Step:
        begun.add(asked.conversation)
        return honest(asked) if len(begun) <= accepted else then(asked)

    return script


@pytest.mark.parametrize("client", ["aiohttp", "openai"])
def test_what_is_learnt_late_holds_for_every_episode(play: Callable[..., Played], tmp_path: Path, client: str) -> None:
    words = ("--concurrency", "1", "--model-arg", f"client={client}")
    status, printed, _, asked = play(late(set(), 2, output(2048)), *words)
    assert status == 0
    assert learnt(tmp_path / "run") == [{"field": "max_tokens", "value": 2048, "episodes_before": 0}]
    assert "WARNING" not in printed
    last = {request.conversation: request.body["max_tokens"] for request in asked}
    assert last == dict.fromkeys(last, 2048)
    assert len(episodes(tmp_path / "run")) == len(TOWNS) + 2  # the two that were played before


def test_a_temperature_that_is_learnt_late_holds_too(play: Callable[..., Played], tmp_path: Path) -> None:
    def then(asked: Asked) -> Step:
        return error(400, ABOVE) if asked.body["temperature"] == 0 else honest(asked)

    status, _, _, asked = play(late(set(), 3, then), "--concurrency", "1")
    assert status == 0
    assert learnt(tmp_path / "run") == [{"field": "temperature", "value": 0.01, "episodes_before": 0}]
    last = {request.conversation: request.body["temperature"] for request in asked}
    assert last == dict.fromkeys(last, 0.01)


def test_what_a_budget_leaves_unlike_is_said_loudly(
    play: Callable[..., Played], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Four episodes of 36 tokens: nothing is left to play the first two again."""
    words = ("--concurrency", "1", "--max-tokens-total", "144")
    _, printed, *_ = play(late(set(), 2, output(2048)), *words)
    assert learnt(tmp_path / "run") == [{"field": "max_tokens", "value": 2048, "episodes_before": 2}]
    assert "WARNING: 2 of 4 episodes were played, in part at least, before it was known" in printed
    assert cli.main(["table", str(tmp_path / "run")]) == 0
    assert "WARNING: 2 of 4 episodes were played" in capsys.readouterr().err
    status, printed, _, asked = play(output(2048), "--concurrency", "1", "--resume")
    assert status == 0
    assert learnt(tmp_path / "run") == [{"field": "max_tokens", "value": 2048, "episodes_before": 0}]
    assert "WARNING" not in printed
    assert {request.body["max_tokens"] for request in asked} == {2048}


def test_what_was_learnt_holds_when_a_run_goes_on(play: Callable[..., Played], tmp_path: Path) -> None:
    play(output(2048), "--epochs", "1")
    status, printed, _, asked = play(honest, "--epochs", "2", "--resume")
    assert status == 0
    assert {request.body["max_tokens"] for request in asked} == {2048}
    assert learnt(tmp_path / "run") == [{"field": "max_tokens", "value": 2048, "episodes_before": 0}]
    assert "WARNING" not in printed


def test_what_one_mode_learnt_holds_for_the_other(play: Callable[..., Played], tmp_path: Path) -> None:
    def thinks(asked: Asked) -> bool:
        return bool(asked.body["chat_template_kwargs"]["enable_thinking"])

    status, printed, _, asked = play(
        lambda asked: output(2048)(asked) if thinks(asked) else honest(asked), "--reasoning", "both"
    )
    assert status == 0
    for mode in ("off", "on"):
        assert learnt(tmp_path / "run" / mode) == [{"field": "max_tokens", "value": 2048, "episodes_before": 0}]
    last = {(thinks(request), request.conversation): request.body["max_tokens"] for request in asked}
    assert last == dict.fromkeys(last, 2048)
    assert "before it was known" not in printed
    _, _, _, asked = play(output(2048), "--reasoning", "both", out="alike")
    assert [learnt(tmp_path / "alike" / mode)[0]["episodes_before"] for mode in ("off", "on")] == [0, 0]
    assert sum(request.body["max_tokens"] > 2048 for request in asked) == 1


def test_a_switch_that_one_mode_lacks_leaves_the_other_as_it_is(play: Callable[..., Played], tmp_path: Path) -> None:
    def script(asked: Asked) -> Step:
        effort = asked.body.get("reasoning_effort")
        return error(400, "Unsupported parameter: reasoning_effort") if effort == "medium" else honest(asked)

    status, _, _, asked = play(script, "--reasoning", "both", "--model-arg", "switch=effort")
    assert status == 0
    efforts = [request.body.get("reasoning_effort") for request in asked]
    assert efforts == [*["none"] * 8, "medium", *[None] * 8]


# --- contents, ids and temperatures ------------------------------------------------------------------------------


def beside_calls(asked: Asked) -> list[Any]:
    """The contents of the turns that call."""
    return [said["content"] for said in asked.messages if said.get("tool_calls")]


NULL = error(400, "Invalid value for 'content': expected a string, got null.")


@pytest.mark.parametrize("refusal", [NULL, error(500, "'NoneType' has no length"), error(500, "Internal Server Error")])
def test_null_beside_calls_is_refused_once(play: Callable[..., Played], tmp_path: Path, refusal: Step) -> None:
    status, _, _, asked = play(lambda asked: refusal if None in beside_calls(asked) else honest(asked))
    assert status == 0
    assert outcomes(tmp_path / "run") == {("ok", "no_tool_calls")}
    sent = [content for request in asked for content in beside_calls(request)]
    assert sorted(map(str, set(sent))) == ["", "None"]
    assert sent.count("") == len(TOWNS)
    assert all("usage" in episode and episode["error"] is None for episode in episodes(tmp_path / "run"))


def test_an_endpoint_that_refuses_an_empty_text_never_gets_one(play: Callable[..., Played], tmp_path: Path) -> None:
    refusal = error(400, "The content field in the Message object at messages.1 is empty.")
    status, _, _, asked = play(lambda asked: refusal if "" in beside_calls(asked) else honest(asked))
    assert status == 0
    assert outcomes(tmp_path / "run") == {("ok", "no_tool_calls")}
    assert {content for request in asked for content in beside_calls(request)} == {None}


def test_an_endpoint_that_refuses_both_is_asked_no_further(play: Callable[..., Played], tmp_path: Path) -> None:
    _, _, _, asked = play(lambda asked: NULL if beside_calls(asked) else honest(asked), "--concurrency", "1")
    assert outcomes(tmp_path / "run") == {("model_error", "http_400")}
    sent = [beside_calls(request)[0] for request in asked if beside_calls(request)]
    assert sent == [None, "", "", "", ""]


def test_a_server_that_breaks_now_and_then_changes_no_content(play: Callable[..., Played], tmp_path: Path) -> None:
    broken = set[str]()

    def script(asked: Asked) -> Step:
        second = (
            asked.turn == 1
            and asked.conversation not in broken
            and len(broken) < 3
            and TOWNS[0] not in asked.conversation
        )
        if second:
            broken.add(asked.conversation)
        return error(500, "Internal Server Error") if second else honest(asked)

    status, _, _, asked = play(script, "--concurrency", "1")
    assert status == 0
    assert len(broken) == 3
    assert {content for request in asked for content in beside_calls(request)} == {None}


def nine(one: str) -> str | None:
    return (
        None if len(one) == 9 and one.isalnum() else f"Tool call id was {one} but must be a-z, A-Z, 0-9, of length 9."
    )


def plain(one: str) -> str | None:
    fits = re.fullmatch("[A-Za-z0-9_-]{1,12}", one)
    return None if fits else f"tool_call_id {one!r}: at most 12 characters of [a-zA-Z0-9_-] are allowed"


def unspoken(one: str) -> str | None:
    return None if one.isalnum() else "Invalid tool call id."


@pytest.mark.parametrize("client", ["aiohttp", "openai"])
@pytest.mark.parametrize("complain", [nine, plain, unspoken])
def test_ids_that_a_provider_refuses_stand_for_others(
    play: Callable[..., Played], tmp_path: Path, client: str, complain: Callable[[str], str | None]
) -> None:
    def script(asked: Asked) -> Step:
        called = [made["id"] for said in asked.messages for made in said.get("tool_calls") or []]
        answered = [said["tool_call_id"] for said in asked.messages if said["role"] == "tool"]
        if said := next(filter(None, map(complain, called)), None):
            return error(400, said)
        if called != answered or len(set(called)) < len(called):
            return error(400, "Not the same number of function calls and responses")
        if asked.turn > 1:
            return text("Answer: 45,210")
        made = [call("population", {"town": "Corrie"}, f"call.{asked.turn}/{n}:0000") for n in range(2)]
        return calls(*made)

    status, *_ = play(script, "--limit", "2", "--model-arg", f"client={client}")
    assert status == 0
    assert outcomes(tmp_path / "run") == {("ok", "no_tool_calls")}
    for episode in episodes(tmp_path / "run"):
        kept = [made["id"] for said in episode["messages"] for made in said.get("tool_calls", [])]
        assert kept == [f"call.{turn}/{n}:0000" for turn in range(2) for n in range(2)]
        assert [said["tool_call_id"] for said in episode["messages"] if said["role"] == "tool"] == kept


ABOVE = "`temperature` must be strictly positive"
ONLY = "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."


@pytest.mark.parametrize("client", ["aiohttp", "openai"])
@pytest.mark.parametrize(
    ("said", "sent", "shown"),
    [
        (ABOVE, 0.01, "temperature 0.01"),
        ("temperature: expected a value in [0.1, 1.0]", 0.1, "temperature 0.1"),
        (ONLY, None, "no temperature"),
    ],
)
def test_a_temperature_of_zero_that_is_refused_is_said(
    play: Callable[..., Played], tmp_path: Path, client: str, said: str, sent: float | None, shown: str
) -> None:
    status, printed, _, asked = play(
        lambda asked: error(400, said) if asked.body.get("temperature") == 0 else honest(asked),
        "--model-arg",
        f"client={client}",
    )
    assert status == 0
    assert [request.body.get("temperature", None) for request in asked] == [0, *[sent] * 8]
    assert learnt(tmp_path / "run") == [{"field": "temperature", "value": sent, "episodes_before": 0}]
    assert f"sent instead: {shown}" in printed


def test_an_endpoint_that_takes_no_temperature_at_all(play: Callable[..., Played], tmp_path: Path) -> None:
    status, _, _, asked = play(lambda asked: error(400, ABOVE) if "temperature" in asked.body else honest(asked))
    assert status == 0
    assert [request.body.get("temperature") for request in asked[:3]] == [0, 0.01, None]
    assert learnt(tmp_path / "run") == [{"field": "temperature", "value": None, "episodes_before": 0}]


def test_a_persons_own_temperature_is_never_changed(play: Callable[..., Played], tmp_path: Path) -> None:
    said = "temperature must be at most 0.5"
    status, _, printed, asked = play(lambda asked: error(400, said), "--temperature", "0.7")
    assert status == 1
    assert said in printed
    assert {request.body["temperature"] for request in asked} == {0.7}
