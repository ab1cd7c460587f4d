"""What is sent to an endpoint and what is made of its answers, without a network."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.chat import ChatDialect, known_replacements, read_reply, wire_messages
from harness.models.api.refusals import Refusals
from harness.models.api.wire import RequestFailure
from harness.types import Gold, Message, ModelRequest, Reply, Sample, Sampling, Tool, ToolCall, Usage

LOOKUP = Tool("lookup", "Looks a word up.", {"type": "object", "properties": {"word": {"type": "string"}}})
USER = Message("user", "hello")


def request(*messages: Message, tools: tuple[Tool, ...] = (), sampling: Sampling | None = None) -> ModelRequest:
    sample = Sample("s", messages, tools, {}, Gold({}))
    return ModelRequest(messages, tools, sampling or Sampling(), sample, 0)


def body_of(name: str = "m", **sampling: Any) -> dict[str, Any]:
    asked = request(USER, tools=(LOOKUP,), sampling=Sampling(**sampling))
    return sent_for(name, asked)


def sent_for(name: str, asked: ModelRequest, extra_body: dict[str, Any] | None = None) -> dict[str, Any]:
    refusals = Refusals(f"openai/{name}", known_replacements(name), extra_body or {})
    return ChatDialect(name, lambda reasoning: {}, refusals).make_request(asked).body


def reply_of(message: Any, *earlier: Message, **payload: Any) -> Reply:
    body = {"choices": [{"message": message, "finish_reason": "stop"}], **payload}
    reply = read_reply(json.dumps(body).encode(), earlier)
    assert isinstance(reply, Reply)
    return reply


def calls_of(*calls: Any) -> tuple[ToolCall, ...]:
    return reply_of({"content": None, "tool_calls": list(calls)}).message.tool_calls


def call_of(arguments: Any, name: Any = "lookup") -> ToolCall:
    (call,) = calls_of({"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}})
    return call


# --- requests ----------------------------------------------------------------------------------------------------


def test_a_request_in_full() -> None:
    assert body_of(temperature=0.5, max_tokens=100, seed=3) == {
        "model": "m",
        "messages": [{"role": "user", "content": "hello"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "lookup",
                    "description": "Looks a word up.",
                    "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
                },
            }
        ],
        "temperature": 0.5,
        "max_tokens": 100,
        "seed": 3,
    }


def test_neither_tools_nor_seed_are_sent_without_them() -> None:
    assert set(sent_for("m", request(USER))) == {"model", "messages", "temperature", "max_tokens"}


@pytest.mark.parametrize("name", ["o1", "o3-mini", "gpt-5", "gpt-5.4-mini", "openai/o4-mini"])
def test_reasoning_models_get_their_own_parameters(name: str) -> None:
    body = body_of(name)
    assert body["max_completion_tokens"] == 8192
    assert "max_tokens" not in body
    assert "temperature" not in body


@pytest.mark.parametrize("name", ["gpt-4o", "gpt-5-chat-latest", "gpt-oss-20b", "olmo-2", "qwen/o", "llama-o1-like"])
def test_other_models_do_not(name: str) -> None:
    assert {"max_tokens", "temperature"} < set(body_of(name))


def test_extra_body_has_the_last_word() -> None:
    body = sent_for("m", request(USER), {"temperature": 1.0, "reasoning_effort": "low"})
    assert (body["temperature"], body["reasoning_effort"]) == (1.0, "low")


def test_a_conversation_with_calls_is_replayed_as_it_was_written() -> None:
    raw = '{"word":  "a\\u00e9"}'
    call = ToolCall("id1", "lookup", {"word": "aé"}, raw)
    wire = wire_messages([USER, Message("assistant", tool_calls=(call,)), Message("tool", "x", tool_call_id="id1")], ())
    function = {"name": "lookup", "arguments": raw}
    assert wire[1:] == [
        {"role": "assistant", "content": None, "tool_calls": [{"id": "id1", "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": "id1", "content": "x"},
    ]


@pytest.mark.parametrize(
    ("call", "sent"),
    [
        (ToolCall("i", "lookup", None, '{"word": ', "invalid JSON"), "{}"),
        (ToolCall("i", "lookup", None, "[1]", "not a JSON object"), "{}"),
        (ToolCall("i", "lookup", {}, ""), "{}"),
        (ToolCall("i", "lookup", {"word": "é"}, ""), '{"word": "é"}'),
    ],
)
def test_arguments_that_a_server_would_refuse_are_replaced(call: ToolCall, sent: str) -> None:
    wire = wire_messages([Message("assistant", tool_calls=(call,))], ())
    assert wire[0]["tool_calls"][0]["function"]["arguments"] == sent


@pytest.mark.parametrize(
    ("name", "sent"), [("", "unnamed"), ("a b", "a_b"), ("x" * 70, "x" * 64), ("dotted.tool", "dotted.tool")]
)
def test_impossible_names_are_made_possible_unless_a_tool_has_them(name: str, sent: str) -> None:
    tools = (Tool("dotted.tool", "", {}),)
    wire = wire_messages([Message("assistant", tool_calls=(ToolCall("i", name, {}, "{}"),))], tools)
    assert wire[0]["tool_calls"][0]["function"]["name"] == sent


def test_missing_ids_are_made_up_and_tool_messages_follow_them() -> None:
    two = (ToolCall("", "lookup", {}, "{}"), ToolCall("", "lookup", {}, "{}"))
    history = [Message("assistant", tool_calls=two), Message("tool", "1"), Message("tool", "2", tool_call_id="")] * 2
    wire = wire_messages(history, ())
    assert [call["id"] for call in wire[3]["tool_calls"]] == ["call_1_0", "call_1_1"]
    ids = [message["tool_call_id"] for message in wire if message["role"] == "tool"]
    assert ids == ["call_0_0", "call_0_1", "call_1_0", "call_1_1"]


def test_a_said_nothing_is_an_empty_string_and_surrogates_are_replaced() -> None:
    wire = wire_messages([Message("assistant"), Message("user", "a\ud800b\U0001f600")], ())
    assert [message["content"] for message in wire] == ["", "a\ufffdb\U0001f600"]


THOUGHT = Message("assistant", "a", "r", echo=({"field": "reasoning_content"},))


@pytest.mark.parametrize(("history", "sent"), [("none", [None, None]), ("last", [None, "r"]), ("all", ["r", "r"])])
def test_reasoning_goes_back_by_policy_in_the_field_it_came_in(history: Any, sent: list[str | None]) -> None:
    wire = wire_messages([USER, THOUGHT, USER, THOUGHT, USER], (), history)
    assert [message.get("reasoning_content") for message in wire if message["role"] == "assistant"] == sent
    assert not any("reasoning" in message for message in wire)
    assert [message["content"] for message in wire[1::2]] == ["a", "a"]


@pytest.mark.parametrize(
    "message",
    [
        {"content": "a", "reasoning": "r"},
        {"content": "a", "reasoning_content": "r"},
        {"content": "<think>\nr\n</think>\n\na"},
        {"content": "r</think>a"},
        {"content": "  <think>r"},
    ],
)
def test_reasoning_goes_back_as_it_came_or_not_at_all(message: Any) -> None:
    read = reply_of(message).message
    assert read.reasoning == "r"
    assert wire_messages([read], (), "all") == [{"role": "assistant", **message}]
    assert wire_messages([read], (), "none") == [{"role": "assistant", "content": read.content}]


def test_nothing_is_sent_back_that_no_provider_gave() -> None:
    assert wire_messages([Message("assistant", "a", "r")], ()) == [{"role": "assistant", "content": "a"}]
    items = ({"type": "reasoning", "id": "rs_1", "encrypted_content": "x"},)
    assert wire_messages([Message("assistant", "a", "r", echo=items)], ()) == [{"role": "assistant", "content": "a"}]


def test_what_a_provider_wants_back_with_a_call_goes_back_with_it() -> None:
    extra = {"google": {"thought_signature": "c2ln"}}
    (call,) = calls_of({"id": "", "extra_content": extra, "function": {"name": "lookup", "arguments": "{}"}})
    assert call.echo == {"extra_content": extra}
    assert call.id == "call_0_0"
    for history in ("none", "all"):
        wire = wire_messages([Message("assistant", tool_calls=(call,))], (), history)  # type: ignore[arg-type]
        assert wire[0]["tool_calls"][0]["extra_content"] == extra


@pytest.mark.parametrize("extra", [None, "text", [], {}, {"a": float("inf")}, {"a": "x" * 1_000_001}])
def test_what_cannot_be_sent_again_is_not_kept(extra: Any) -> None:
    (call,) = calls_of({"id": "i", "extra_content": extra, "function": {"name": "lookup", "arguments": "{}"}})
    assert call.echo is None


def test_an_echo_loses_its_lone_surrogates() -> None:
    extra = {"a": ["\ud800b"]}
    (call,) = calls_of({"id": "i", "extra_content": extra, "function": {"name": "lookup", "arguments": "{}"}})
    assert call.echo == {"extra_content": {"a": ["\ufffdb"]}}


# --- replies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "read"),
    [
        ("hi", "hi"),
        (None, ""),
        ("", ""),
        ([{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}], "ab"),
        (["a", 1, None], "a"),
        (7, ""),
        ({"text": "a"}, "a"),
    ],
)
def test_content(content: Any, read: str) -> None:
    assert reply_of({"content": content}).message.content == read


@pytest.mark.parametrize(
    ("message", "reasoning", "content"),
    [
        ({"content": "a", "reasoning": "r"}, "r", "a"),
        ({"content": "a", "reasoning_content": "r"}, "r", "a"),
        ({"content": "a", "reasoning": None, "reasoning_content": "r"}, "r", "a"),
        ({"content": "a", "reasoning": {"not": "text"}}, None, "a"),
        ({"content": "<think>\nr\n</think>\n\na"}, "r", "a"),
        ({"content": "\n<think>\n\n</think>\n\na"}, None, "a"),
        ({"content": "<think>r"}, "r", ""),
        ({"content": "r</think>a"}, "r", "a"),
        ({"content": "a <think>b</think>"}, None, "a <think>b</think>"),
        ({"content": "<think>x</think>", "reasoning": "r"}, "r", "<think>x</think>"),
        ({"content": [{"type": "thinking", "thinking": [{"text": "r"}]}, {"type": "text", "text": "a"}]}, "r", "a"),
        ({"content": None, "refusal": "no"}, None, "no"),
    ],
)
def test_reasoning(message: Any, reasoning: str | None, content: str) -> None:
    read = reply_of(message).message
    assert (read.reasoning, read.content) == (reasoning, content)


def test_arguments() -> None:
    said = call_of('{"word": "a"}')
    assert (said.arguments, said.raw, said.parse_error) == ({"word": "a"}, '{"word": "a"}', None)
    torn = call_of('{"word": ')
    assert (torn.arguments, torn.raw) == (None, '{"word": ')
    assert torn.parse_error is not None
    twice = call_of('"{\\"word\\": \\"a\\"}"')
    assert (twice.arguments, twice.raw, twice.parse_error) == ({"word": "a"}, '{"word": "a"}', None)
    for text in ('"a"', '"{"', '"\\"{}\\""'):  # a string that holds no object, a torn one, one more level
        assert call_of(text).arguments is None


@pytest.mark.parametrize("name", [None, 5, "", " ", ["lookup"]])
def test_a_call_without_a_name_is_malformed(name: Any) -> None:
    call = call_of('{"word": "a"}', name=name)
    assert (call.name, call.arguments, call.raw) == ("", None, '{"word": "a"}')
    assert call.parse_error == "the call names no tool"


@pytest.mark.parametrize("item", [None, "lookup", 5, [], {}, {"function": None}, {"function": "lookup"}])
def test_what_is_no_call_is_a_malformed_call(item: Any) -> None:
    (call,) = calls_of(item)
    assert call.arguments is None
    assert call.parse_error == "the call names no tool"


def test_other_ways_to_write_a_call() -> None:
    legacy = reply_of({"content": None, "function_call": {"name": "lookup", "arguments": "{}"}}).message.tool_calls
    flat = calls_of({"id": "c1", "name": "lookup", "arguments": "{}"})
    alone = reply_of({"tool_calls": {"id": "c1", "function": {"name": "lookup"}}}).message.tool_calls
    assert [(call.name, call.arguments) for call in (*legacy, *flat, *alone)] == [("lookup", {})] * 3


def test_ids_are_unique_in_the_reply_and_in_the_conversation() -> None:
    function = {"name": "lookup", "arguments": "{}"}
    earlier = Message("assistant", tool_calls=(ToolCall("a", "lookup", {}, "{}"), ToolCall("call_1_3", "f", {}, "")))
    message = {"tool_calls": [{"id": id_, "function": function} for id_ in ("b", "b", "a", "", None, 7, "c")]}
    ids = [call.id for call in reply_of(message, earlier).message.tool_calls]
    assert ids == ["b", "call_1_1", "call_1_2", "call_1_3_2", "call_1_4", "call_1_5", "c"]


def test_usage() -> None:
    details = {"reasoning_tokens": 5}
    usage = {"prompt_tokens": 10, "completion_tokens": 7, "completion_tokens_details": details}
    assert reply_of({}, usage=usage).usage == Usage(10, 7, 5, requests=1)
    assert reply_of({}, usage={**usage, "prompt_tokens_details": {"cached_tokens": 4}}).usage.cached_tokens == 4
    assert reply_of({}).usage == Usage(requests=1)


@pytest.mark.parametrize("wrong", [None, "7", -1, 1.5, True, 2**60, [], {}])
def test_nonsense_usage_counts_nothing(wrong: Any) -> None:
    usage = {"prompt_tokens": wrong, "completion_tokens": wrong, "completion_tokens_details": wrong}
    assert reply_of({}, usage=usage).usage == Usage(requests=1)
    assert reply_of({}, usage=wrong).usage == Usage(requests=1)


def test_finish_reasons() -> None:
    def finish(choice: dict[str, Any]) -> str | None:
        reply = read_reply(json.dumps({"choices": [{"message": {}, **choice}]}).encode())
        assert isinstance(reply, Reply)
        return reply.finish_reason

    assert finish({"finish_reason": "length"}) == "length"
    assert finish({"finish_reason": None}) is None
    assert finish({"finish_reason": 3}) is None
    assert finish({}) is None


def test_a_reply_can_always_be_written_as_utf_8() -> None:
    call = {"function": {"name": "a\ud800", "arguments": '{"a\\ud800": ["\\udc00\\ud83d\\ude00"]}'}, "id": "\udfff"}
    message = reply_of({"content": "a\ud800\U0001f600", "reasoning": "\udc00", "tool_calls": [call]}).message
    assert message.content == "a\ufffd\U0001f600"
    assert message.tool_calls[0].arguments == {"a\ufffd": ["\ufffd\U0001f600"]}
    repr_of_all = repr((message.reasoning, message.tool_calls[0].id, message.tool_calls[0].name))
    assert "\\ud" not in repr_of_all


@pytest.mark.parametrize(
    ("content", "stop"),
    [
        (b"", "not_json"),
        (b"<html>", "not_json"),
        (b"\xff\xfe\xfa", "not_json"),
        (b"[" * 100_000, "not_json"),
        (b'{"choices": [{"message": {"content": "cut', "not_json"),
        (b"null", "no_choices"),
        (b"[]", "no_choices"),
        (b"{}", "no_choices"),
        (b'{"choices": null}', "no_choices"),
        (b'{"choices": []}', "no_choices"),
        (b'{"choices": {}}', "no_choices"),
        (b'{"choices": [null]}', "no_choices"),
        (b'{"choices": [{}]}', "no_choices"),
        (b'{"choices": [{"message": null}]}', "no_choices"),
        (b'{"choices": [{"message": "hi"}]}', "no_choices"),
        (b'{"choices": [{"message": {"content": ""}, "error": {"code": 502, "message": "upstream"}}]}', "no_choices"),
    ],
)
def test_a_200_without_a_message_is_a_failure_that_is_retried(content: bytes, stop: str) -> None:
    failure = read_reply(content)
    assert isinstance(failure, RequestFailure)
    assert (failure.stop, failure.outcome, failure.retry) == (stop, "infrastructure_error", True)


def test_a_200_that_holds_an_error_says_which() -> None:
    failure = read_reply(b'{"error": {"message": "no provider available", "code": 502}}')
    assert isinstance(failure, RequestFailure)
    assert failure.text == "status 200 without a message: no provider available"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def shaped(*keys: str) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(keys), JSON, max_size=len(keys))


CALLS = st.lists(JSON | st.fixed_dictionaries({"id": JSON, "function": JSON | shaped("name", "arguments")}), max_size=3)
MESSAGES = JSON | st.fixed_dictionaries(
    {"content": JSON, "tool_calls": JSON | CALLS, "reasoning": JSON, "reasoning_content": JSON, "function_call": JSON}
)
PAYLOADS = JSON | st.fixed_dictionaries(
    {
        "choices": JSON | st.lists(st.fixed_dictionaries({"message": MESSAGES, "finish_reason": JSON}), max_size=2),
        "usage": JSON | shaped("prompt_tokens", "completion_tokens", "completion_tokens_details"),
    }
)


@settings(max_examples=150, deadline=None)
@given(PAYLOADS)
def test_no_payload_raises_and_every_reply_can_be_sent_back(payload: Any) -> None:
    reply = read_reply(json.dumps(payload).encode())
    if isinstance(reply, Reply):
        calls = reply.message.tool_calls
        assert len({call.id for call in calls}) == len(calls)
        assert all((call.arguments is None) == (call.parse_error is not None) for call in calls)
        json.dumps(wire_messages([reply.message], ()), ensure_ascii=False, allow_nan=False).encode()
