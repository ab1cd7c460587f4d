"""Whole episodes against every provider's format, over real sockets with both transports.

The providers of tests/fakes/providers.py answer 400 to what the real ones refuse, so an episode that ends well has sent
back what had to go back.
"""

import asyncio
import gc
import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from builders import record, sample, write_records
from commands import episodes, harness
from fakes import chat_server as fake
from fakes.chat_server import Asked, ChatServer, Script
from fakes.providers import Anthropic, Chat, Gemini, Responses, Turn, obeys, seal

from harness import scoring
from harness.environment import ToolEnvironment
from harness.errors import UsageError
from harness.models import ModelOptions
from harness.models.api import anthropic, gemini, openai
from harness.models.api.endpoint import EndpointModel
from harness.redaction import Redactor
from harness.rollout import Episode, play_episode_async
from harness.runs.record import to_record
from harness.sandbox import Sandbox, SandboxConfig
from harness.types import Limits, Message, ModelRequest, Reasoning, RunKey, Sampling, Trajectory

KEY = "sk-very-secret-0123456789"
PLOT = (
    Turn("Brill first.", calls=[("population", {"town": "Brill"})]),
    Turn("Now two.", "Two more.", [("population", {"town": "nowhere"}), ("population", {"town": "Corrie"})]),
    Turn("Done.", "They counted.\nAnswer: 45,210"),
)
OFF, ON, LOW = Reasoning("off"), Reasoning("on"), Reasoning("on", effort="low")
BUDGET = Reasoning("on", budget=2048)


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clients honour proxies, custom headers and organisations of the environment."""
    for name in os.environ:
        if name.lower().endswith("_proxy") or name.startswith(("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_")):
            monkeypatch.delenv(name)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(SandboxConfig(workers=1)) as shared:
        yield shared


@pytest.fixture(params=["aiohttp", "own"])
def client(request: pytest.FixtureRequest) -> str:
    """What requests are sent through: aiohttp, or the provider's own client."""
    return str(request.param)


def sent_through(client: str, backend: ModuleType) -> dict[str, str]:
    own = "anthropic" if backend is anthropic else "openai"
    return {"client": own if client == "own" else client}


Play = Callable[..., tuple[Trajectory, list[Asked]]]


@pytest.fixture
def play(sandbox: Sandbox, client: str) -> Play:
    """Plays the sample of builders.py with a model against a script: the trajectory, and what was asked."""

    def play(
        backend: ModuleType,
        name: str,
        script: Script,
        reasoning: Reasoning = Reasoning(),
        environ: Mapping[str, str] | None = None,
        sampling: Sampling = Sampling(),
        **args: str,
    ) -> tuple[Trajectory, list[Asked]]:
        async def run(url: str) -> Trajectory:
            options = ModelOptions(
                {**sent_through(client, backend), **args}, url, 2, 1, environ or {"OPENAI_API_KEY": KEY}, Redactor()
            )
            model = backend.load(name, options)
            assert isinstance(model, EndpointModel)
            try:
                with sandbox.episode() as tools:
                    episode = Episode(sample(), sampling, reasoning=reasoning)
                    return await play_episode_async(episode, ToolEnvironment(episode.sample), model, tools)
            finally:
                await model.aclose()

        with ChatServer(script) as server:
            trajectory = asyncio.run(run(server.url))
        gc.collect()  # an unclosed socket warns here, and warnings are errors
        return trajectory, server.requests

    return play


def solved(trajectory: Trajectory) -> None:
    """The plot was played to its end, with every call and every result."""
    assert (trajectory.outcome, trajectory.stop) == ("ok", "no_tool_calls"), trajectory.error
    assert [made.status for made in trajectory.calls] == ["ok", "ok", "ok"]
    scores = scoring.score(sample(), trajectory).scores
    assert (scores["solve_rate"], scores["answer_accuracy"]) == (1.0, 1.0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [logged.getMessage() for logged in caplog.records if logged.levelno == logging.WARNING]


def thoughts(trajectory: Trajectory) -> list[str | None]:
    return [message.reasoning for message in trajectory.messages if message.role == "assistant"]


# --- chat completions --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
@pytest.mark.parametrize(
    ("history", "back"),
    [("none", [None, None]), ("last", [None, "Now two."]), ("all", ["Brill first.", "Now two."])],
)
def test_chat_reasoning_goes_back_by_policy_in_its_own_field(
    play: Play, field: str, history: Any, back: list[str | None]
) -> None:
    trajectory, asked = play(openai, "m", Chat(PLOT, field), Reasoning("on", history=history))
    solved(trajectory)
    assert thoughts(trajectory) == ["Brill first.", "Now two.", "Done."]
    spoken = [message for message in asked[-1].messages if message["role"] == "assistant"]
    assert [message.get(field) for message in spoken] == back
    other = {"reasoning", "reasoning_content"} - {field}
    assert not any(other & set(message) for message in spoken)
    assert (trajectory.usage.cached_tokens, trajectory.usage.reasoning_tokens) == (9, 6)


@pytest.mark.parametrize(("reasoning", "thought"), [(OFF, False), (ON, True), (LOW, True), (Reasoning(), True)])
def test_an_own_servers_switch_is_seen_on_the_wire(play: Play, reasoning: Reasoning, thought: bool) -> None:
    trajectory, asked = play(openai, "qwen", Chat(PLOT, thinks=obeys), reasoning)
    solved(trajectory)
    assert any(thoughts(trajectory)) is thought
    for request in asked:
        template = request.body.get("chat_template_kwargs")
        assert template == (None if reasoning.mode == "default" else {"enable_thinking": reasoning.mode == "on"})
        assert request.body.get("reasoning_effort") == reasoning.effort


def test_an_endpoint_that_ignores_the_switch_is_visible_in_the_record(play: Play) -> None:
    trajectory, asked = play(openai, "m", Chat(PLOT), OFF)
    assert asked[0].body["chat_template_kwargs"] == {"enable_thinking": False}
    key = RunKey("t", "f", "s", 0, "m", "f", OFF, Sampling(), Limits())
    line = to_record(key, trajectory, scoring.score(sample(), trajectory))
    assert line["reasoning"] == {"asked": "off", "turns": 3, "characters": 25, "tokens": 6}


@pytest.mark.parametrize("refused", ["chat_template_kwargs", "reasoning_effort"])
def test_a_refused_switch_is_dropped_loudly(play: Play, refused: str, caplog: pytest.LogCaptureFixture) -> None:
    trajectory, asked = play(openai, "m", Chat(PLOT, refuses=[refused]), LOW)
    solved(trajectory)
    assert [refused in request.body for request in asked] == [True, False, False, False]
    (warning,) = warnings(caplog)
    assert warning == (
        f"openai/m does not take {refused}: it is left out from now on, so this run is NOT switched to the reasoning "
        "that was asked for"
    )
    assert trajectory.notes == tuple(f"turn {turn}: not switched: the endpoint refuses {refused}" for turn in range(3))
    assert trajectory.usage.retries == 1


@pytest.mark.parametrize("switch", ["template", "effort", "dashscope", "openrouter"])
@pytest.mark.parametrize("reasoning", [OFF, ON])
def test_a_model_of_which_the_server_says_that_it_does_not_think(
    play: Play, switch: str, reasoning: Reasoning, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {"template": "chat_template_kwargs", "effort": "reasoning_effort", "dashscope": "enable_thinking"}
    field, plain = fields.get(switch, "reasoning"), Chat(PLOT)

    def script(asked: Asked) -> fake.Step:
        return fake.error(400, '"llama3.1" does not support thinking') if field in asked.body else plain(asked)

    trajectory, asked = play(openai, "m", script, reasoning, switch=switch)
    solved(trajectory)
    assert [field in request.body for request in asked] == [True, False, False, False]
    (warning,) = warnings(caplog)
    assert warning == f"openai/m cannot think, its endpoint says: {field} is left out from now on"
    note = f"not switched: the endpoint refuses {field}"
    if reasoning == OFF:
        note = "nothing to switch off: the endpoint says that the model does not think"
    assert trajectory.notes == tuple(f"turn {turn}: {note}" for turn in range(3))


@pytest.mark.parametrize(("switch", "field"), [("dashscope", "enable_thinking"), ("openrouter", "reasoning")])
def test_a_switch_at_the_top_that_is_refused_is_dropped(play: Play, switch: str, field: str) -> None:
    trajectory, asked = play(openai, "m", Chat(PLOT, refuses=[field]), ON, switch=switch)
    assert [field in request.body for request in asked] == [True, False, False, False]
    assert trajectory.notes == tuple(f"turn {turn}: not switched: the endpoint refuses {field}" for turn in range(3))


def test_an_endpoint_that_rejects_temperature(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    trajectory, asked = play(openai, "m", Chat(PLOT, refuses=["temperature"]), ON)
    solved(trajectory)
    assert ["temperature" in request.body for request in asked] == [True, False, False, False]
    assert trajectory.notes == ()
    assert "openai/m does not take temperature" in caplog.text


def test_a_server_that_refuses_reasoning_in_its_history(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    honest = Chat(PLOT)

    def script(asked: Asked) -> fake.Step:
        if any("reasoning_content" in message for message in asked.messages):
            return fake.error(400, "'messages.1' : property 'reasoning_content' is unsupported")
        return honest(asked)

    trajectory, asked = play(openai, "m", script)
    solved(trajectory)
    assert len(asked) == 4
    assert "openai/m does not take reasoning in its history" in caplog.text


# --- Responses ---------------------------------------------------------------------------------------------------


def reasoning_items(asked: Asked) -> list[str]:
    return [item["encrypted_content"] for item in asked.messages if item.get("type") == "reasoning"]


@pytest.mark.parametrize("history", ["none", "last", "all"])
def test_responses_carry_reasoning_items_over_turns(play: Play, history: Any) -> None:
    reasoning = Reasoning("on", effort="high", history=history)
    trajectory, asked = play(openai, "gpt-5.2", Responses(PLOT), reasoning, api="responses")
    solved(trajectory)
    assert [request.path for request in asked] == ["/v1/responses"] * 3
    assert [request.body["reasoning"] for request in asked] == [{"effort": "high", "summary": "auto"}] * 3
    sealed = [seal("Brill first."), seal("Now two.")]
    assert reasoning_items(asked[-1]) == {"none": [], "last": sealed[1:], "all": sealed}[history]
    assert thoughts(trajectory) == ["Brill first.", "Now two.", "Done."]
    usage = trajectory.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens) == (60, 12, 27, 15)


def test_a_provider_of_responses_refuses_what_does_not_come_back_whole() -> None:
    """The fake must be able to fail: an id without its reasoning, and an output without its call."""
    first = Responses(PLOT)(Asked("/v1/responses", {}, {}, {"input": [{"role": "user", "content": "q"}], **STATELESS}))
    reasoning, called = first.body["output"]
    output = {"type": "function_call_output", "call_id": called["call_id"], "output": "1"}

    def status(*items: Any) -> int:
        return Responses(PLOT)(Asked("/v1/responses", {}, {}, {"input": list(items), **STATELESS})).status

    assert status(reasoning, called, output) == 200
    assert status(called, output) == status(reasoning, output) == status(output) == 400
    assert status({**reasoning, "encrypted_content": "x"}, called, output) == 400
    assert status({key: value for key, value in called.items() if key != "id"}, output) == 200


STATELESS = {"store": False, "include": ["reasoning.encrypted_content"]}


@pytest.mark.parametrize("reasoning", [Reasoning(), ON])
def test_a_model_that_refuses_tools_on_chat_completions_is_moved(
    play: Play, reasoning: Reasoning, caplog: pytest.LogCaptureFixture
) -> None:
    trajectory, asked = play(openai, "gpt-5.6-terra", Responses(PLOT), reasoning, switch="effort")
    solved(trajectory)
    assert [request.path for request in asked] == ["/v1/chat/completions"] + ["/v1/responses"] * 3
    assert (trajectory.usage.requests, trajectory.usage.retries) == (3, 1)
    (warning,) = warnings(caplog)
    assert warning == "openai/gpt-5.6-terra wants Responses: from now on it is asked through /v1/responses"
    assert reasoning_items(asked[-1]) == [seal("Brill first."), seal("Now two.")]
    sent = None if reasoning.mode == "default" else {"effort": "medium", "summary": "auto"}
    assert [request.body.get("reasoning") for request in asked[1:]] == [sent] * 3


def test_with_chat_chosen_the_refusal_stands(play: Play) -> None:
    trajectory, asked = play(openai, "gpt-5.6-terra", Responses(PLOT), api="chat")
    assert (trajectory.outcome, trajectory.stop, len(asked)) == ("model_error", "http_400", 1)


def test_a_model_without_encrypted_reasoning_still_answers(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    script = [
        fake.error(400, "Encrypted content is not supported with this model.", param="include"),
        fake.error(
            400, "Your organization must be verified to generate reasoning summaries.", param="reasoning.summary"
        ),
        fake.Step({"status": "completed", "output": [{"type": "message", "content": [TEXT]}]}),
    ]
    trajectory, asked = play(openai, "m", script, ON, api="responses")
    assert (trajectory.outcome, trajectory.messages[-1].content) == ("ok", "done")
    assert "include" not in asked[-1].body
    assert asked[-1].body["reasoning"] == {"effort": "medium"}
    assert trajectory.notes == ()
    assert "NOT switched" not in caplog.text


TEXT = {"type": "output_text", "text": "done"}


# --- Gemini ------------------------------------------------------------------------------------------------------

GOOGLE = {"GEMINI_API_KEY": KEY}


@pytest.mark.parametrize("history", ["none", "all"])
def test_gemini_signatures_go_back_and_empty_ids_are_made_up(play: Play, history: Any) -> None:
    reasoning = Reasoning("on", history=history)
    trajectory, asked = play(gemini, "gemini-3.5-flash", Gemini(PLOT), reasoning, GOOGLE)
    solved(trajectory)
    assert thoughts(trajectory) == ["Brill first.", "Now two.", "Done."]
    assert [message.content for message in trajectory.messages if message.role == "assistant"][1] == "Two more."
    spoken = [message for message in asked[-1].messages if message["role"] == "assistant"]
    assert not any("thought>" in str(message["content"]) for message in spoken)
    assert asked[0].headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    ("name", "reasoning", "config"),
    [
        ("gemini-2.5-flash", OFF, {"thinking_budget": 0}),
        ("gemini-2.5-flash", ON, {"thinking_budget": -1, "include_thoughts": True}),
        ("gemini-2.5-pro", LOW, {"thinking_budget": 1024, "include_thoughts": True}),
        ("gemini-2.5-flash", BUDGET, {"thinking_budget": 2048, "include_thoughts": True}),
        ("gemini-3.5-flash", ON, {"include_thoughts": True}),
        ("gemini-3.5-flash", LOW, {"thinking_level": "low", "include_thoughts": True}),
        ("gemini-3.5-flash", Reasoning(), None),
    ],
)
def test_geminis_switch_on_the_wire(play: Play, name: str, reasoning: Reasoning, config: Any) -> None:
    trajectory, asked = play(gemini, name, Gemini(PLOT), reasoning, GOOGLE)
    solved(trajectory)
    sent = None if config is None else {"google": {"thinking_config": config}}
    assert [request.body.get("extra_body") for request in asked] == [sent] * 3


def test_a_gemini_model_without_thinking_refuses_the_switch_once(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    honest = Gemini(PLOT)

    def script(asked: Asked) -> fake.Step:
        if "extra_body" in asked.body:
            said = "Thinking is not enabled for models/gemini-2.0-flash"
            return fake.Step([{"error": {"code": 400, "message": said, "status": "INVALID_ARGUMENT"}}], 400)
        return honest(asked)

    trajectory, asked = play(gemini, "gemini-2.0-flash", script, ON, GOOGLE)
    solved(trajectory)
    assert len(asked) == 4
    assert "NOT switched" in caplog.text


def test_a_signature_that_is_missing_is_a_final_error(play: Play) -> None:
    refusing = fake.Step([{"error": {"code": 400, "message": "missing a thought_signature", "status": "X"}}], 400)
    trajectory, asked = play(gemini, "gemini-3.5-flash", lambda request: refusing, ON, GOOGLE)
    assert (trajectory.outcome, trajectory.stop, len(asked)) == ("model_error", "http_400", 1)
    assert trajectory.error == "gemini/gemini-3.5-flash: HTTP 400: missing a thought_signature"


def test_nothing_of_openais_variables_is_sent_to_google(play: Play, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-somebody")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Gateway-Key: gateway-secret")
    _, asked = play(gemini, "gemini-2.5-flash", Gemini(PLOT), environ={**os.environ, "GOOGLE_API_KEY": KEY})
    said = json.dumps(dict(asked[0].headers))
    assert KEY in said
    assert not any(word in said for word in ("somebody", "gateway"))


# --- Anthropic ---------------------------------------------------------------------------------------------------

CLAUDE = {"ANTHROPIC_API_KEY": KEY}


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("history", ["last", "all"])
def test_claudes_signed_thinking_goes_back(play: Play, hidden: bool, history: Any) -> None:
    reasoning = Reasoning("on", history=history)
    trajectory, asked = play(anthropic, "claude-haiku-4-5", Anthropic(PLOT, hidden), reasoning, CLAUDE)
    solved(trajectory)
    assert thoughts(trajectory) == ([None] * 3 if hidden else ["Brill first.", "Now two.", "Done."])
    spoken = [said["content"] for said in asked[-1].messages if said["role"] == "assistant"]
    kind = "redacted_thinking" if hidden else "thinking"
    assert [content[0]["type"] for content in spoken] == [kind if history == "all" else "tool_use", kind]
    usage = trajectory.usage
    assert (usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens) == (54, 18, 24, 9)


def test_all_results_of_a_turn_are_one_message(play: Play) -> None:
    trajectory, asked = play(anthropic, "claude-haiku-4-5", Anthropic(PLOT), Reasoning(), CLAUDE)
    solved(trajectory)
    assert [said["role"] for said in asked[-1].messages] == ["user", "assistant", "user", "assistant", "user"]
    assert [block["type"] for block in asked[-1].messages[-1]["content"]] == ["tool_result"] * 2
    assert asked[0].body["temperature"] == 0.0
    assert asked[0].body["tools"][0]["input_schema"]["type"] == "object"


ADAPTIVE = {"type": "adaptive", "display": "summarized"}


@pytest.mark.parametrize(
    ("name", "reasoning", "thinking", "effort"),
    [
        ("claude-haiku-4-5", OFF, {"type": "disabled"}, None),
        ("claude-haiku-4-5", ON, {"type": "enabled", "budget_tokens": 3072}, None),
        ("claude-sonnet-4-5-20250929", LOW, {"type": "enabled", "budget_tokens": 1024}, None),
        ("claude-opus-4-6", BUDGET, {"type": "enabled", "budget_tokens": 2048}, None),
        ("claude-opus-4-6", ON, ADAPTIVE, None),
        ("claude-opus-4-8", LOW, ADAPTIVE, {"effort": "low"}),
        ("claude-sonnet-5-5", LOW, ADAPTIVE, {"effort": "low"}),
    ],
)
def test_claudes_switch_on_the_wire(play: Play, name: str, reasoning: Reasoning, thinking: Any, effort: Any) -> None:
    trajectory, asked = play(anthropic, name, Anthropic(PLOT), reasoning, CLAUDE)
    solved(trajectory)
    assert [request.body["thinking"] for request in asked] == [thinking] * 3
    assert [request.body.get("output_config") for request in asked] == [effort] * 3
    assert ("temperature" in asked[0].body) is (reasoning == OFF)


def test_a_claude_that_refuses_a_kind_of_thinking(play: Play, caplog: pytest.LogCaptureFixture) -> None:
    trajectory, asked = play(anthropic, "claude-opus-5", Anthropic(PLOT, types=["adaptive"]), OFF, CLAUDE)
    solved(trajectory)
    assert ["thinking" in request.body for request in asked] == [True, False, False, False]
    assert "anthropic/claude-opus-5 does not take thinking" in caplog.text
    assert "NOT switched" in caplog.text
    assert trajectory.notes[0] == "turn 0: not switched: the endpoint refuses thinking"


def test_a_budget_without_room_ends_the_run(play: Play) -> None:
    with pytest.raises(UsageError, match=r"^A thinking budget of 2,048 tokens needs more .*raise --max-tokens"):
        play(anthropic, "claude-haiku-4-5", Anthropic(PLOT), BUDGET, CLAUDE, Sampling(max_tokens=2048))


def test_claudes_errors_are_told_apart(play: Play) -> None:
    def outcome(status: int, kind: str, said: str) -> tuple[str, str]:
        body = {"type": "error", "error": {"type": kind, "message": said}}
        trajectory, _ = play(
            *(anthropic, "claude-haiku-4-5", lambda asked: fake.Step(body, status), Reasoning(), CLAUDE),
            max_retries="0",
        )
        return trajectory.outcome, trajectory.stop

    refused = "invalid_request_error"
    assert outcome(529, "overloaded_error", "Overloaded") == ("infrastructure_error", "http_529")
    assert outcome(401, "authentication_error", "invalid x-api-key") == ("model_error", "http_401")
    too_long = "prompt is too long: 210000 tokens > 200000 maximum"
    assert outcome(400, refused, too_long) == ("token_limit", "context_length")
    no_room = "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000"
    assert outcome(400, refused, no_room) == ("token_limit", "context_length")
    poor = "Your credit balance is too low to access the Anthropic API."
    assert outcome(400, refused, poor) == ("infrastructure_error", "insufficient_quota")


# --- secrets -----------------------------------------------------------------------------------------------------


def echoing(asked: Asked) -> fake.Step:
    """A provider that repeats what it was sent: in an error, whatever its format is."""
    sent = {name: asked.headers[name] for name in ("authorization", "x-api-key") if name in asked.headers}
    return fake.Step({"type": "error", "error": {"type": "x", "message": f"bad headers {sent}"}}, 401)


BACKENDS = [
    (openai, "m", {"OPENAI_API_KEY": KEY}, {}),
    (openai, "m", {}, {"api_key": KEY}),
    (openai, "m", {"OPENAI_API_KEY": KEY}, {"api": "responses"}),
    (gemini, "gemini-2.5-flash", {"GEMINI_API_KEY": KEY}, {}),
    (gemini, "gemini-2.5-flash", {"GOOGLE_API_KEY": KEY}, {}),
    (anthropic, "claude-haiku-4-5", {"ANTHROPIC_API_KEY": KEY}, {}),
    (anthropic, "claude-haiku-4-5", {}, {"api_key": KEY}),
]


@pytest.mark.parametrize(("backend", "name", "environ", "args"), BACKENDS)
def test_no_key_is_in_a_record_a_log_or_an_error(
    play: Play,
    backend: ModuleType,
    name: str,
    environ: dict[str, str],
    args: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("DEBUG")
    trajectory, asked = play(backend, name, echoing, Reasoning(), environ, **args)
    assert KEY in json.dumps(dict(asked[0].headers))
    assert (trajectory.outcome, trajectory.stop) == ("model_error", "http_401")
    assert "[redacted]" in str(trajectory.error)
    key = RunKey("t", "f", "s", 0, "m", "f", Reasoning(), Sampling(), Limits())
    line = to_record(key, trajectory, scoring.score(sample(), trajectory))
    fingerprint = backend.load(name, ModelOptions(args, "http://h/v1", environ=environ)).fingerprint
    assert KEY not in json.dumps([line, fingerprint])
    assert KEY not in caplog.text


@pytest.mark.parametrize(("backend", "name"), [(gemini, "g"), (anthropic, "c"), (openai, "m")])
def test_a_password_in_the_url_is_sent_as_basic_auth_and_shown_nowhere(
    client: str, backend: ModuleType, name: str
) -> None:
    async def run(url: str) -> str:
        model = backend.load(name, ModelOptions(sent_through(client, backend), url, environ={}))
        request = ModelRequest([Message("user", "q")], (), Sampling(), sample())
        try:
            with pytest.raises(Exception, match="redacted") as caught:
                await model(request)
            return f"{caught.value} {model.fingerprint}"
        finally:
            await model.aclose()

    with ChatServer(echoing) as server:
        said = asyncio.run(run(server.url.replace("//", "//clerk:hunter2-hunter2@")))
    assert server.requests[0].headers["authorization"].startswith("Basic ")
    assert "hunter2" not in said


DYNAMIC = {"thinking_budget": -1, "include_thoughts": True}
CLI = [
    ("openai/gpt-5.6-terra", Responses, "OPENAI_API_KEY", ["switch=effort"], {"reasoning_effort": "medium"}),
    ("gemini/gemini-2.5-flash", Gemini, "GEMINI_API_KEY", [], {"extra_body": {"google": {"thinking_config": DYNAMIC}}}),
    ("anthropic/claude-opus-4-6", Anthropic, "ANTHROPIC_API_KEY", [], {"thinking": ADAPTIVE}),
]


@pytest.mark.parametrize(("model", "provider", "variable", "args", "switch"), CLI)
def test_a_run_records_its_switch_and_no_key(
    tmp_path: Path, model: str, provider: Any, variable: str, args: list[str], switch: Any
) -> None:
    honest = provider(PLOT)
    path = write_records(tmp_path / "towns.jsonl", [record()])
    with ChatServer(lambda asked: honest(asked)) as server:
        words = ("--base-url", server.url, "--reasoning", "on", "--model-arg", "timeout=60", *args)
        done = harness(
            *("eval", "--model", model, "--tasks", path, "--out", tmp_path / "run", *words), **{variable: KEY}
        )
    assert done.returncode == 0, done.stderr
    assert KEY in json.dumps(dict(server.requests[0].headers))
    [episode] = episodes(tmp_path / "run")
    assert (episode["outcome"], episode["scores"]["solve_rate"]) == ("ok", 1.0)
    assert episode["reasoning"]["turns"] == 3
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["reasoning_switch"] == switch
    written = [file.read_text() for file in (tmp_path / "run").rglob("*") if file.is_file()]
    assert not any(KEY in text for text in (done.stdout, done.stderr, *written))


def test_requests_that_are_refused_together_move_once(client: str, caplog: pytest.LogCaptureFixture) -> None:
    request = ModelRequest([Message("user", "q")], sample().tools, Sampling(), sample())

    async def run(url: str) -> list[Any]:
        model = openai.load("gpt-5.6", ModelOptions(sent_through(client, openai), url, 3, 1, {}, Redactor()))
        assert isinstance(model, EndpointModel)
        try:
            return await asyncio.gather(*(model(request) for _ in range(3)))
        finally:
            await model.aclose()

    responses = Responses(PLOT)
    with ChatServer(lambda asked: fake.delayed(responses(asked), 0.05)) as server:
        replies = asyncio.run(run(server.url))
    assert [len(reply.message.tool_calls) for reply in replies] == [1, 1, 1]
    assert sorted(asked.path for asked in server.requests) == ["/v1/chat/completions"] * 3 + ["/v1/responses"] * 3
    assert len(warnings(caplog)) == 1


def test_the_signing_providers_refuse_what_was_altered() -> None:
    """The fakes must be able to fail."""
    user = {"role": "user", "content": [{"type": "text", "text": "q"}]}
    headers = {"anthropic-version": "2023-06-01"}
    thinking = {"type": "enabled", "budget_tokens": 1024}

    def claude(*messages: Any) -> fake.Step:
        body = {"model": "m", "max_tokens": 2000, "messages": [user, *messages], "thinking": thinking}
        return Anthropic(PLOT)(Asked("/v1/messages", headers, {}, body))

    thought, use = claude().body["content"]
    results = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use["id"], "content": "1"}]}
    assert claude({"role": "assistant", "content": [thought, use]}, results).status == 200
    altered = {**thought, "thinking": "something else"}
    for content in ([altered, use], [use], [use, thought]):
        assert claude({"role": "assistant", "content": content}, results).status == 400
    assert claude({"role": "assistant", "content": [thought, use]}, user).status == 400

    def google(call: Any, call_id: str = "c") -> int:
        spoken = {"role": "assistant", "tool_calls": [{**call, "id": call_id}]}
        messages = [user, spoken, {"role": "tool", "tool_call_id": call_id, "content": "1"}]
        return Gemini(PLOT)(Asked("/v1/chat/completions", {}, {}, {"messages": messages})).status

    first = Gemini(PLOT)(Asked("/v1/chat/completions", {}, {}, {"messages": [user]}))
    call = first.body["choices"][0]["message"]["tool_calls"][0]
    assert call["id"] == ""
    assert google(call) == 200
    assert google(call, "") == 400
    assert google({**call, "extra_content": {"google": {"thought_signature": "x"}}}) == 400
    assert google({key: value for key, value in call.items() if key != "extra_content"}) == 400
