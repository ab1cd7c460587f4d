"""What is sent to Anthropic's Messages API and what is made of its answers, without a network."""

import json
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import UsageError
from harness.extras import install_command
from harness.models import ModelOptions
from harness.models.api import anthropic
from harness.models.api.messages import AnthropicDialect, read_message
from harness.models.api.reasoning import ClaudeFeatures
from harness.models.api.refusals import Refusals
from harness.models.api.wire import RequestFailure
from harness.redaction import Redactor
from harness.types import Gold, Message, ModelRequest, Reasoning, Reply, Sample, Sampling, Tool, ToolCall, Usage

LOOKUP = Tool("lookup", "Looks a word up.", {"properties": {"word": {"type": "string"}}})
USER = Message("user", "hello")
THOUGHT = {"type": "thinking", "thinking": "hm", "signature": "sig"}
USE = {"type": "tool_use", "id": "t1", "name": "lookup", "input": {"word": "a"}}
TEXT = {"type": "text", "text": "a word"}


def request(*messages: Message, reasoning: Reasoning | None = None, **sampling: Any) -> ModelRequest:
    sample = Sample("s", messages, (LOOKUP,), {}, Gold({}))
    return ModelRequest(messages, (LOOKUP,), Sampling(**sampling), sample, reasoning=reasoning or Reasoning())


def body_of(asked: ModelRequest, name: str = "claude-haiku-4-5") -> dict[str, Any]:
    claude = ClaudeFeatures(f"anthropic/{name}")
    known = {} if claude.takes_temperature else {"temperature": None}
    return AnthropicDialect(name, claude, Refusals(claude.name, known, {})).make_request(asked).body


def messages_of(*messages: Message, history: Any = "all") -> list[dict[str, Any]]:
    return list(body_of(request(*messages, reasoning=Reasoning(history=history)))["messages"])


def reply_of(*content: Any, earlier: tuple[Message, ...] = (), **payload: Any) -> Reply:
    reply = read_message(json.dumps({"type": "message", "content": content, **payload}).encode(), earlier)
    assert isinstance(reply, Reply)
    return reply


# --- requests ----------------------------------------------------------------------------------------------------


def test_a_request_in_full() -> None:
    system = Message("system", "be brief")
    assert body_of(request(system, USER, max_tokens=100, temperature=0.5, seed=3)) == {
        "model": "claude-haiku-4-5",
        "max_tokens": 100,
        "system": "be brief",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
        "temperature": 0.5,
        "tools": [
            {
                "name": "lookup",
                "description": "Looks a word up.",
                "input_schema": {"type": "object", "properties": {"word": {"type": "string"}}},
            }
        ],
    }


def test_a_turn_with_thinking_goes_back_block_by_block() -> None:
    redacted = {"type": "redacted_thinking", "data": "sealed"}
    blocks = [THOUGHT, TEXT, redacted, USE]
    spoken = reply_of(*blocks).message
    assert messages_of(USER, spoken, Message("tool", "x", tool_call_id="t1"))[1]["content"] == blocks
    assert messages_of(USER, spoken, Message("tool", "x"), history="none")[1]["content"] == [TEXT, USE]


def test_results_of_one_turn_and_what_the_user_says_then_are_one_message() -> None:
    two = Message("assistant", tool_calls=(ToolCall("", "lookup", {}, "{}"), ToolCall("", "lookup", None, "{oops")))
    wire = messages_of(USER, two, Message("tool", "1"), Message("tool", "2"), Message("user", "go on"))
    assert [said["role"] for said in wire] == ["user", "assistant", "user"]
    assert [use["id"] for use in wire[1]["content"]] == ["call_0_0", "call_0_1"]
    assert [use["input"] for use in wire[1]["content"]] == [{}, {}]
    assert [block["type"] for block in wire[2]["content"]] == ["tool_result", "tool_result", "text"]
    assert [block["tool_use_id"] for block in wire[2]["content"][:2]] == ["call_0_0", "call_0_1"]


def test_a_turn_that_says_nothing_is_left_out() -> None:
    wire = messages_of(USER, Message("assistant", " "), Message("user", "well?"))
    assert wire == [{"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "well?"}]}]


def test_turns_of_another_api_are_rebuilt() -> None:
    other = Message("assistant", "hm", "r", echo=({"type": "reasoning", "encrypted_content": "x"},))
    assert messages_of(USER, other)[1]["content"] == [{"type": "text", "text": "hm"}]


@pytest.mark.parametrize(
    ("name", "reasoning", "temperature"),
    [
        ("claude-haiku-4-5", Reasoning(), True),
        ("claude-haiku-4-5", Reasoning("off"), True),
        ("claude-haiku-4-5", Reasoning("on"), False),
        ("claude-opus-4-6", Reasoning("on"), False),
        ("claude-opus-4-7", Reasoning(), False),
        ("claude-haiku-5-5", Reasoning("off"), False),
    ],
)
def test_a_temperature_is_sent_where_the_api_takes_one(name: str, reasoning: Reasoning, temperature: bool) -> None:
    assert ("temperature" in body_of(request(USER, reasoning=reasoning), name)) is temperature


# --- the switch --------------------------------------------------------------------------------------------------

OFF = Reasoning("off")


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("claude-3-7-sonnet-20250219", "disabled"),
        ("claude-sonnet-4-20250514", "disabled"),
        ("claude-opus-4-8", "disabled"),
        ("claude-opus-5", "disabled"),
        ("claude-haiku-5-5", "disabled"),
        ("claude-sonnet-5-5", "between_tools"),
        ("claude-opus-5-5", None),
        ("claude-fable-5", None),
        ("claude-mythos-preview", None),
    ],
)
def test_off_is_what_each_model_has_for_it(name: str, field: str | None) -> None:
    claude = ClaudeFeatures(f"anthropic/{name}")
    if field:
        assert claude.switch(OFF) == {"thinking": {"type": field}}
        return
    with pytest.raises(UsageError) as caught:
        claude.switch(OFF)
    assert str(caught.value) == f"anthropic/{name} always thinks: its thinking cannot be turned off, use low."


@pytest.mark.parametrize("name", ["claude-opus-4-7", "claude-sonnet-5", "claude-fable-5-1", "claude-next"])
def test_later_models_take_an_effort_and_no_budget(name: str) -> None:
    claude = ClaudeFeatures(name)
    high = claude.switch(Reasoning("on", effort="high"))
    assert high == {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}}
    with pytest.raises(UsageError, match="takes an effort, not a budget: use low, medium or high"):
        claude.switch(Reasoning("on", budget=2048))


def test_a_budget_has_a_least_size() -> None:
    with pytest.raises(UsageError, match="at least 1,024 tokens"):
        ClaudeFeatures("claude-haiku-4-5").switch(Reasoning("on", budget=1000))
    assert (
        ClaudeFeatures("claude-3-7-sonnet-20250219").switch(Reasoning("on", budget=1024))["thinking"]["budget_tokens"]
        == 1024
    )


@pytest.mark.parametrize("name", ["claude-haiku-4-5", "claude-opus-5-5"])
def test_a_history_without_reasoning_needs_reasoning_off(name: str) -> None:
    with pytest.raises(UsageError, match="needs at least `last`"):
        ClaudeFeatures(name).switch(Reasoning("on", history="none"))
    assert ClaudeFeatures(name).switch(Reasoning(history="none")) == {}


# --- replies -----------------------------------------------------------------------------------------------------


def test_a_reply_in_full() -> None:
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 6,
        "cache_creation_input_tokens": 2,
        "output_tokens": 8,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    reply = reply_of(THOUGHT, TEXT, USE, stop_reason="tool_use", usage=usage)
    assert (reply.message.content, reply.message.reasoning, reply.finish_reason) == ("a word", "hm", "tool_calls")
    assert reply.message.tool_calls == (ToolCall("t1", "lookup", {"word": "a"}, '{"word": "a"}'),)
    assert reply.message.echo == (THOUGHT, TEXT, USE)
    assert reply.usage == Usage(18, 8, 3, 6, requests=1)


def test_without_thinking_nothing_is_kept_for_later_turns() -> None:
    assert reply_of(TEXT, USE).message.echo == ()


@pytest.mark.parametrize(
    ("stop", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("tool_use", "tool_calls"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("pause_turn", "pause_turn"),
        (None, None),
        (3, None),
    ],
)
def test_stop_reasons(stop: Any, finish: str | None) -> None:
    assert reply_of(TEXT, stop_reason=stop).finish_reason == finish


@pytest.mark.parametrize("block", [{**USE, "name": None}, {**USE, "input": "{oops"}, {**USE, "input": [1]}])
def test_malformed_calls(block: Any) -> None:
    (call,) = reply_of(block).message.tool_calls
    assert call.arguments is None
    assert call.parse_error


@pytest.mark.parametrize(
    "payload", [[], {}, {"content": None}, {"type": "error", "error": {"message": "oh"}, "content": []}]
)
def test_a_200_without_content_is_a_failure_that_is_retried(payload: Any) -> None:
    failure = read_message(json.dumps(payload).encode(), ())
    assert isinstance(failure, RequestFailure)
    assert (failure.stop, failure.outcome, failure.retry) == ("no_content", "infrastructure_error", True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
BLOCK = st.fixed_dictionaries(
    {"type": st.sampled_from(["thinking", "redacted_thinking", "text", "tool_use", "odd", ["text"], None])},
    optional=dict.fromkeys(("id", "name", "input", "thinking", "text", "signature", "data"), JSON),
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {"content": JSON | st.lists(JSON | BLOCK, max_size=4)}, optional={"usage": JSON, "stop_reason": JSON}
    )
)
def test_no_reply_raises_and_every_reply_can_be_sent_back(payload: Any) -> None:
    reply = read_message(json.dumps(payload).encode(), ())
    if isinstance(reply, Reply):
        json.dumps(messages_of(USER, reply.message), allow_nan=False, ensure_ascii=False).encode()


# --- settings ----------------------------------------------------------------------------------------------------


def options(base_url: str | None = None, environ: dict[str, str] | None = None, **args: str) -> ModelOptions:
    return ModelOptions(args, base_url, 4, 1, environ or {}, Redactor())


def test_a_model_says_who_it_is() -> None:
    given_options = options(environ={"ANTHROPIC_API_KEY": "sk-ant-12345678"}, timeout="5", extra_body='{"top_k": 1}')
    model = anthropic.load("claude-haiku-4-5", given_options)
    assert model.name == "anthropic/claude-haiku-4-5"
    assert model.fingerprint == {
        "backend": "anthropic",
        "name": "claude-haiku-4-5",
        "base_url": "https://api.anthropic.com",
        "args": {"extra_body": '{"top_k": 1}'},
    }
    assert given_options.redact("sk-ant-12345678") == "[redacted]"


def test_where_requests_go() -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-12345678", "ANTHROPIC_BASE_URL": "http://env"}
    assert anthropic.read_settings("c", options(environ=environ)).base_url == "http://env"
    assert anthropic.read_settings("c", options("http://given/v1", environ)).base_url == "http://given"


@pytest.mark.parametrize(
    ("name", "given_options", "expected"),
    [
        ("c", options(), "anthropic/c needs a key: set ANTHROPIC_API_KEY, or give --model-arg api_key=KEY."),
        (" ", options("http://h"), "name of a model"),
        ("c", options("http://h", api="chat"), "--model-arg api is unknown to anthropic/c; it knows api_key"),
        ("c", options("http://me:passw0rd@h", api_key="sk-12345678"), "Authorization"),
    ],
)
def test_mistakes_are_told_in_one_sentence(name: str, given_options: ModelOptions, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        anthropic.load(name, given_options)
    assert expected in str(caught.value)
    assert "passw0rd" not in str(caught.value)


def test_without_the_client_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    environ = {"ANTHROPIC_API_KEY": "sk-ant-12345678"}
    assert anthropic.ready(environ) is None
    assert anthropic.ready({}) == "no key: export ANTHROPIC_API_KEY=KEY"
    monkeypatch.setattr(anthropic, "find_spec", lambda name: None)
    assert anthropic.ready(environ) is None
    anthropic.load("c", options(environ=environ))
    with pytest.raises(UsageError) as caught:
        anthropic.load("c", options(environ=environ, client="anthropic"))
    assert str(caught.value) == (
        f"anthropic/c with client=anthropic needs the client of its provider: {install_command('anthropic')}."
    )


def test_the_client_is_not_imported_before_it_is_needed() -> None:
    program = (
        "import sys, harness.models.api.anthropic, harness.models.api.gemini; "
        "sys.exit(any(name in sys.modules for name in ('anthropic', 'openai', 'httpx2')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
