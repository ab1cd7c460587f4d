"""vllm-server/ against a stand-in for vLLM's API server: its life, what is sent, and whose parse decides."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from builders import record, sample, write_records
from commands import command, environment
from fakes import tiny_model, vllm_api_server

from harness.errors import ModelFailure, UsageError
from harness.models import ModelOptions
from harness.models.local import packages, vllm, vllm_server
from harness.models.local.rows import PromptRow, to_row
from harness.models.local.vllm_server import VLLMServerModel
from harness.types import SAMPLING_OPTIONS, Message, ModelRequest, Reasoning, Reply, Sampling

TORN = '<tool_call>\n{"name": "population", "arguments": {"town": "Cor\n</tool_call>'
TWO = f"{TORN}\n{tiny_model.CALL}"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model.random_model(tmp_path_factory.mktemp("weights") / "model")


@pytest.fixture
def folder(weights: Path, tmp_path: Path) -> Path:
    return shutil.copytree(weights, tmp_path / "model")


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`vllm` is the stand-in, here and in the processes that are started."""
    path = str(vllm_api_server.install(tmp_path / "site"))
    monkeypatch.setenv("PYTHONPATH", path)
    monkeypatch.syspath_prepend(path)


def serve(folder: Path, *replies: str, **settings: Any) -> Path:
    (folder / "fake.json").write_text(json.dumps({"replies": replies, **settings}))
    return folder


def load(folder: Path, **args: str) -> VLLMServerModel:
    return vllm_server.load_folder(str(folder), ModelOptions(args={"start_timeout": "60", **args}))


def ask(*history: Message, reasoning: Reasoning = Reasoning(), max_tokens: int = 100, turn: int = 0) -> ModelRequest:
    problem = sample()
    messages = [*problem.messages, *history]
    return ModelRequest(messages, problem.tools, Sampling(0.0, max_tokens), problem, turn=turn, reasoning=reasoning)


def play(model: VLLMServerModel, *requests: ModelRequest) -> list[Reply]:
    """The replies, one after the other; the server has ended when this returns."""

    async def run() -> list[Reply]:
        try:
            return [await model(request) for request in requests]
        finally:
            await model.aclose()
            model.close()

    return asyncio.run(run())


def bodies(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "requests.jsonl").read_text().splitlines()]


def alive(port: int) -> bool:
    """Whether any process has this port on its command line."""
    found = [path for path in Path("/proc").glob("[0-9]*/cmdline") if _mentions(path, f"--port\0{port}\0")]
    return bool(found)


def _mentions(path: Path, words: str) -> bool:
    try:
        return words in path.read_text(errors="replace")
    except OSError:
        return False


# --- whose parse -------------------------------------------------------------------------------------------------


def test_our_parse_decides_and_a_disagreement_is_noted(folder: Path) -> None:
    [reply] = play(load(serve(folder, TWO)), ask())
    assert [call.arguments for call in reply.message.tool_calls] == [None, {"town": "Corrie"}]
    assert reply.message.raw == TWO
    assert reply.note == "the server parsed 0 calls where the text has 2 calls (population (malformed), population)"


def test_where_both_agree_there_is_no_note(folder: Path) -> None:
    [reply] = play(load(serve(folder, tiny_model.CALL)), ask())
    [call] = reply.message.tool_calls
    assert (call.name, call.arguments, reply.note) == ("population", {"town": "Corrie"}, None)
    assert reply.usage.input_tokens > 100
    assert reply.message.echo == ()


def test_a_server_without_token_ids_is_believed(folder: Path) -> None:
    [reply] = play(load(serve(folder, TWO, ids=False)), ask())
    assert (reply.message.content, reply.message.tool_calls) == (TWO, ())
    assert (reply.note or "").startswith("unread: 2 calls in the text")


def test_reasoning_is_counted_here(folder: Path) -> None:
    [reply] = play(load(serve(folder, f"<think>\nwhere is it\n</think>\n\n{tiny_model.CALL}")), ask())
    assert (reply.message.reasoning or "").strip() == "where is it"
    assert reply.usage.reasoning_tokens > 0


@pytest.fixture
def running(folder: Path) -> Iterator[Callable[..., str]]:
    """Starts a server of one's own, and ends it."""
    started: list[Any] = []

    def start(*replies: str, **settings: Any) -> str:
        process = load(serve(folder, *replies, **settings))._process
        assert process is not None
        started.append(process)
        asyncio.run(process.start())
        return process.url

    yield start
    for process in started:
        process.stop()


@pytest.mark.parametrize("args", [{}, {"format": "hermes"}])
def test_a_url_is_read_again_through_its_detokenizer(running: Callable[..., str], args: dict[str, str]) -> None:
    url = running(TWO)
    model = vllm_server.load_url(url, ModelOptions(args=args))
    [reply] = play(model, ask())
    assert model.name == f"vllm-server/{url}"
    assert model.fingerprint["model"] == "model"
    assert len(reply.message.tool_calls) == 2
    assert reply.message.raw == TWO
    assert "the server parsed 0 calls" in (reply.note or "")


def test_a_url_without_token_ids_is_believed(running: Callable[..., str]) -> None:
    [reply] = play(vllm_server.load_url(running(TWO, ids=False), ModelOptions()), ask())
    assert (reply.message.content, reply.message.tool_calls) == (TWO, ())
    assert (reply.note or "").startswith("unread: 2 calls in the text")


def test_a_url_that_nobody_answers_is_one_sentence() -> None:
    with pytest.raises(UsageError, match="no vLLM server answers there") as caught:
        vllm_server.load_url("http://127.0.0.1:9/v1", ModelOptions())
    assert "\n" not in str(caught.value)


def test_a_model_that_the_server_does_not_have_is_one_sentence(running: Callable[..., str]) -> None:
    with pytest.raises(UsageError, match="has no model 'other'; it serves model"):
        vllm_server.load_url(running("x"), ModelOptions(args={"model": "other"}))


def test_a_key_reaches_the_server_and_nothing_else(running: Callable[..., str]) -> None:
    options = ModelOptions(args={"api_key": "secret-key-of-a-server"})
    model = vllm_server.load_url(running("x"), options)
    assert "secret-key" not in json.dumps(dict(model.fingerprint))
    assert "secret-key" not in options.redact("it was secret-key-of-a-server")


# --- what is sent ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reasoning", "sent"),
    [
        (Reasoning(), None),
        (Reasoning("off"), {"enable_thinking": False}),
        (Reasoning("on"), {"enable_thinking": True}),
    ],
)
def test_the_switch_is_on_the_wire(folder: Path, reasoning: Reasoning, sent: dict[str, Any] | None) -> None:
    model = load(serve(folder, tiny_model.CALL))
    play(model, ask(reasoning=reasoning))
    [body] = bodies(folder)
    assert body.get("chat_template_kwargs") == sent
    assert model.switch(reasoning) == ({"chat_template_kwargs": sent} if sent else {})


def test_a_budget_is_vllms_own(folder: Path) -> None:
    play(load(serve(folder, tiny_model.CALL)), ask(reasoning=Reasoning("on", budget=64)))
    [body] = bodies(folder)
    assert body["thinking_token_budget"] == 64
    assert body["chat_template_kwargs"] == {"enable_thinking": True}


def test_a_malformed_turn_goes_back_as_it_was_written(folder: Path) -> None:
    model = load(serve(folder, TORN, "Answer: 45210"))

    async def run() -> None:
        try:
            said = (await model(ask())).message
            told = Message("tool", "not JSON", tool_call_id=said.tool_calls[0].id)
            await model(ask(said, told, turn=1))
        finally:
            await model.aclose()
            model.close()

    asyncio.run(run())
    _, body = bodies(folder)
    assert body["messages"][1] == {"role": "assistant", "content": TORN}
    assert body["return_token_ids"] is True
    assert body["stop_token_ids"]


def test_a_text_protocol_sends_no_tools(folder: Path) -> None:
    written = 'Thought: look\nAction: population\nAction Input: {"town": "Corrie"}'
    model = load(serve(folder, written), format="react")
    [reply] = play(model, ask())
    [body] = bodies(folder)
    assert "tools" not in body
    assert body["stop"] == ["\nObservation:"]
    assert [call.arguments for call in reply.message.tool_calls] == [{"town": "Corrie"}]
    assert reply.note is None
    assert "--tool-call-parser" not in model.fingerprint["flags"]


def test_a_cap_beyond_the_context_is_clamped(folder: Path) -> None:
    first, second = play(load(serve(folder, tiny_model.CALL, context=512)), ask(max_tokens=8192), ask(max_tokens=511))
    assert first.message.raw == second.message.raw == tiny_model.CALL
    caps = [body.get("max_tokens") for body in bodies(folder)]
    assert caps == [None, 511, None], "beyond the context nothing is sent; where prompt and cap do not fit, once more"


def test_a_prompt_that_does_not_fit_is_a_token_limit(folder: Path) -> None:
    with pytest.raises(ModelFailure) as caught:
        play(load(serve(folder, tiny_model.CALL, context=64)), ask(max_tokens=32))
    assert (caught.value.outcome, caught.value.stop) == ("token_limit", "context_length")


@pytest.mark.parametrize(
    ("args", "flags"),
    [
        ({}, ["--tool-call-parser", "hermes", "--reasoning-parser", "qwen3"]),
        ({"tool_parser": "mine", "reasoning_parser": "none"}, ["--tool-call-parser", "mine"]),
        ({"flags": "--enforce-eager --seed '7'"}, ["--enforce-eager", "--seed", "7"]),
        ({"dtype": "float32"}, ["--dtype", "float32"]),
    ],
)
def test_the_flags_of_a_server(folder: Path, args: dict[str, str], flags: list[str]) -> None:
    found = load(folder, **args).fingerprint["flags"]
    assert " ".join(flags) in " ".join(found)
    assert ("--reasoning-parser" in found) == (args.get("reasoning_parser") != "none")


@pytest.mark.parametrize(
    ("args", "words"),
    [({"flags": "'open"}, "cannot be split"), ({"start_timeout": "soon"}, "start_timeout"), ({"fags": ""}, "fags")],
)
def test_a_wrong_argument_is_one_sentence(folder: Path, args: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        load(folder, **args)


# --- secrets -----------------------------------------------------------------------------------------------------

SECRET = "hf_WALRUSWALRUSWALRUS"


@pytest.mark.parametrize(
    "args",
    [
        {"flags": f"--hf-token {SECRET}"},
        {"flags": f"--hf-token={SECRET}"},
        {"flags": f"--enable-log-requests --api-key other-key {SECRET}"},
        {"flags": f"""--hf-overrides '{{"token": "{SECRET}"}}'"""},
        {"extra_body": json.dumps({"api_key": SECRET})},
    ],
)
def test_a_fingerprint_of_a_server_has_no_secret(folder: Path, args: dict[str, str]) -> None:
    model = load(folder, **args)
    assert SECRET not in json.dumps(model.fingerprint)
    assert "[redacted]" in json.dumps(model.fingerprint)


def test_flags_that_are_no_words_are_not_repeated(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be split into words: No closing quotation") as caught:
        load(folder, flags=f"--hf-token {SECRET} 'open")
    assert SECRET not in str(caught.value)


def test_a_switch_before_a_flag_is_no_secret(folder: Path) -> None:
    flags = "--hf-token --return-tokens-as-token-ids --max-num-batched-tokens 2048"
    assert flags in " ".join(load(folder, flags=flags).fingerprint["flags"])


class Engine:
    """vLLM's LLM class, which repeats what it was given."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        if "starts" not in settings:
            raise ValueError(f"1 validation error\n{280 * '.'}{settings}")

    def generate(self, *given: Any, **more: Any) -> Any:
        raise RuntimeError(str(self.settings))


@pytest.mark.parametrize("more", [{}, {"starts": True}])
def test_an_engine_tells_no_secret(folder: Path, more: dict[str, bool], monkeypatch: pytest.MonkeyPatch) -> None:
    settings = json.dumps({"hf_token": SECRET, **more})
    model = vllm.load(str(folder), ModelOptions(args={"engine": settings}))
    assert model.fingerprint["engine"] == {"dtype": "auto", "hf_token": "[redacted]", **more}
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=Engine, SamplingParams=dict))
    with pytest.raises(
        (UsageError, ModelFailure), match=r"vLLM's engine .*Error: .*hf_token|validation error"
    ) as caught:
        model(ask())
    assert SECRET[:8] not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_engine_is_told_how_to_draw(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = load(folder)._text._local  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(SamplingParams=dict))
    row = to_row(local, replace(ask(), sampling=Sampling(0.7, 24, top_p=0.9, top_k=20, repetition_penalty=1.1)))
    assert isinstance(row, PromptRow)
    given = vllm.decoding(local, row)
    assert {name: given[name] for name in SAMPLING_OPTIONS if name in given} == row.request.sampling.options
    assert given["top_k"] == 20


# --- its life ----------------------------------------------------------------------------------------------------


def test_the_server_ends_with_the_run_and_leaves_no_log(folder: Path) -> None:
    model = load(serve(folder, tiny_model.CALL))
    process = model._process
    assert process is not None
    play(model, ask(), ask())
    assert process.log is not None
    assert not process.log.exists()
    assert not alive(process.port)


def test_a_server_that_dies_says_why(folder: Path) -> None:
    model = load(serve(folder, dies="RuntimeError: no such GPU"))
    with pytest.raises(UsageError, match=r"ended with status 3.*no such GPU") as caught:
        play(model, ask())
    assert "\n" not in str(caught.value)
    log = model._process.log if model._process else None
    assert log is not None
    assert "no such GPU" in log.read_text()
    log.unlink()


def test_a_server_that_dies_tells_no_secret(folder: Path) -> None:
    model = load(serve(folder, dies=f"args: hf_token='{SECRET}'" + 390 * "."), flags=f"--hf-token {SECRET}")
    with pytest.raises(UsageError, match="ended with status 3") as caught:
        play(model, ask())
    assert SECRET[-8:] not in str(caught.value)  # the log is cut in the middle of the token
    log = model._process.log if model._process else None
    assert log is not None
    assert log.read_text().startswith("args: hf_token='[redacted]'")
    log.unlink()


def test_a_server_that_takes_too_long_is_ended(folder: Path) -> None:
    model = load(serve(folder, after=60), start_timeout="1")
    process = model._process
    assert process is not None
    with pytest.raises(UsageError, match="is not up after 1 s"):
        play(model, ask())
    assert not alive(process.port)
    assert process.log is not None
    process.log.unlink()


def test_episodes_that_wait_share_one_server(folder: Path) -> None:
    model = load(serve(folder, tiny_model.CALL))

    async def run() -> list[Reply]:
        try:
            return list(await asyncio.gather(*(model(ask()) for _ in range(6))))
        finally:
            await model.aclose()
            model.close()

    assert len(asyncio.run(run())) == 6
    assert len(bodies(folder)) == 6


@pytest.mark.slow
def test_a_killed_harness_takes_its_server_along(folder: Path, tmp_path: Path) -> None:
    serve(folder, *[tiny_model.CALL] * 500)
    tasks = write_records(tmp_path / "towns.jsonl", [record(id=str(number)) for number in range(50)])
    words = ("eval", "--model", f"vllm-server/{folder}", "--tasks", tasks, "--out", tmp_path / "run")
    process = subprocess.Popen(
        command(*words, "--max-turns", 400),
        env=environment(TMPDIR=str(tmp_path)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until(lambda: (folder / "requests.jsonl").exists())
        [port] = {port for port in ports_of(folder) if port}
        assert alive(port)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    until(lambda: not alive(port))


def ports_of(folder: Path) -> set[int]:
    """The ports of servers of this folder, from the command lines of all processes."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        if _mentions(path, str(folder)) and _mentions(path, "--port\0"):
            words = path.read_text().split("\0")
            found.add(int(words[words.index("--port") + 1]))
    return found


def until(holds: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_readiness_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    assert vllm_server.ready({}) is None
    monkeypatch.setattr(packages, "find_spec", lambda package: None)
    assert "pip install 'tool-harness[vllm]'" in (vllm_server.ready({}) or "")
    with pytest.raises(UsageError, match="pip install"):
        packages.check_packages("vllm/x", ("vllm",), "vllm")
