"""What is sent to an endpoint and what is made of its answers, without a network."""

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.chat_wire import (
    ChatDialect,
    Trouble,
    known_replacements,
    read_reply,
    retry_after,
    status_trouble,
    wire_messages,
)
from harness.models.switches import Refusals
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
    return ChatDialect(name, lambda reasoning: {}, refusals).write(asked).body


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
        ({"text": "a"}, ""),
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


@pytest.mark.parametrize(
    ("arguments", "parsed", "raw"),
    [
        ('{"word": "a"}', {"word": "a"}, '{"word": "a"}'),
        ("", {}, ""),
        (None, {}, ""),
        ({"word": "é"}, {"word": "é"}, '{"word": "é"}'),
        ({}, {}, "{}"),
    ],
)
def test_arguments(arguments: Any, parsed: Any, raw: str) -> None:
    call = call_of(arguments)
    assert (call.arguments, call.raw, call.parse_error) == (parsed, raw, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ('{"word": ', "invalid JSON: Expecting value: line 1 column 10 (char 9)"),
        ('{"word": "a"} extra', "invalid JSON: Extra data"),
        ('{"word": NaN}', "invalid JSON: NaN is no JSON number"),
        ('{"word": 1e999}', "invalid JSON: 1e999 is no JSON number"),
        ('{"word": ' + "9" * 5000 + "}", "invalid JSON"),
        ("[1]", "not a JSON object"),
        ('"{}"', "not a JSON object"),
        ([1], "not a JSON object"),
        (5, "not a JSON object"),
        (False, "not a JSON object"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": "' + "x" * 1_000_000 + '"}', "longer than 1000000 characters"),
    ],
)
def test_malformed_arguments(arguments: Any, error: str) -> None:
    call = call_of(arguments)
    assert call.arguments is None
    assert call.parse_error is not None
    assert call.parse_error.startswith(error)
    assert call.raw == (arguments if isinstance(arguments, str) else json.dumps(arguments))


def test_an_object_nested_too_deeply_is_malformed() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"a": deep}
    call = call_of(deep)
    assert (call.arguments, call.raw, call.parse_error) == (None, "", "nested too deeply")


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
def test_a_200_without_a_message_is_trouble_that_is_retried(content: bytes, stop: str) -> None:
    trouble = read_reply(content)
    assert isinstance(trouble, Trouble)
    assert (trouble.stop, trouble.outcome, trouble.retry) == (stop, "infrastructure_error", True)


def test_a_200_that_holds_an_error_says_which() -> None:
    trouble = read_reply(b'{"error": {"message": "no provider available", "code": 502}}')
    assert isinstance(trouble, Trouble)
    assert trouble.text == "status 200 without a message: no provider available"


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


# --- errors ------------------------------------------------------------------------------------------------------


def openai_error(message: str, code: str | None = None, param: str | None = None) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", "code": code, "param": param}})


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 529])
def test_limits_and_server_errors_are_retried(status: int) -> None:
    trouble = status_trouble(status, {"retry-after": "7"}, openai_error("busy"))
    assert trouble == Trouble(f"http_{status}", f"HTTP {status}: busy", wait=7.0)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_refusals_are_final(status: int) -> None:
    trouble = status_trouble(status, {}, openai_error("no"))
    assert trouble == Trouble(f"http_{status}", f"HTTP {status}: no", "model_error", retry=False)


@pytest.mark.parametrize(
    ("status", "body"), [(429, openai_error("You exceeded your quota", "insufficient_quota")), (402, "Pay first")]
)
def test_an_exhausted_quota_is_not_retried(status: int, body: str) -> None:
    trouble = status_trouble(status, {"retry-after": "7"}, body)
    assert (trouble.stop, trouble.outcome, trouble.retry) == ("insufficient_quota", "infrastructure_error", False)


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, openai_error("Your input exceeds the limit", "context_length_exceeded")),
        (400, openai_error("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens.")),
        (
            400,
            '{"object": "error", "message": "\'max_tokens\' or \'max_completion_tokens\' is too large: 8192. This'
            ' model\'s maximum context length is 4096 tokens and your request has 12 input tokens", "code": 400}',
        ),
        (400, openai_error("The input (5000 tokens) is longer than the model's context length (4096 tokens).")),
        (400, openai_error("the request exceeds the available context size, try increasing it")),
        (422, '{"error": "`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000", "error_type": "v"}'),
        (400, openai_error("prompt is too long: 200001 tokens > 200000 maximum")),
        (400, openai_error("The input token count (9) exceeds the maximum number of tokens allowed (8).")),
        (400, openai_error("Please reduce the length of the messages or completion.")),
        (413, "Prompt contains 40000 tokens, too large for model with 32768 maximum context length"),
    ],
)
def test_a_prompt_that_does_not_fit_is_a_token_limit(status: int, body: str) -> None:
    trouble = status_trouble(status, {}, body)
    assert (trouble.stop, trouble.outcome, trouble.retry) == ("context_length", "token_limit", False)
    assert trouble.refused is None


@pytest.mark.parametrize(
    ("status", "body", "refused"),
    [
        (
            400,
            openai_error("Unsupported parameter: 'max_tokens' is not supported with this model. Use "
            "'max_completion_tokens' instead.", "unsupported_parameter", "max_tokens"),
            "max_tokens",
        ),
        (
            400,
            openai_error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."),
            "max_tokens",
        ),
        (
            400,
            openai_error("'temperature' does not support 0.0 with this model.", "unsupported_value", "temperature"),
            "temperature",
        ),
        (400, openai_error("Unrecognized request argument supplied: seed"), "seed"),
        (422, '{"detail": [{"type": "extra_forbidden", "loc": ["body", "seed"], "msg": "not permitted"}]}', "seed"),
        (400, openai_error("Unrecognized request argument supplied: reasoning_effort"), "reasoning_effort"),
        (400, openai_error("enable_thinking is not supported by this template"), "chat_template_kwargs"),
        (400, openai_error("'messages.2': property 'reasoning' is unsupported"), "messages.reasoning"),
        (400, openai_error("Unsupported parameter: 'tools'"), None),
        (400, openai_error("max_tokens is too large: this model supports at most 16384 completion tokens"), None),
        (404, openai_error("Unknown model max_tokens"), None),
    ],
)  # fmt: skip
def test_refused_parameters_are_recognised(status: int, body: str, refused: str | None) -> None:
    assert status_trouble(status, {}, body).refused == refused


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (openai_error("wrong"), "wrong"),
        ('{"message": "wrong", "object": "error"}', "wrong"),
        ('{"detail": "wrong"}', "wrong"),
        ('{"error": "wrong"}', "wrong"),
        ('{"detail": [{"msg": "wrong"}]}', '{"detail": [{"msg": "wrong"}]}'),
        ("wrong", "wrong"),
        ("", "no message"),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_the_providers_words_are_found(body: str, said: str) -> None:
    assert status_trouble(403, {}, body).text == f"HTTP 403: {said}"


@settings(max_examples=100, deadline=None)
@given(
    st.integers(400, 599), JSON | st.fixed_dictionaries({"error": JSON | shaped("code", "type", "param", "message")})
)
def test_no_error_body_raises(status: int, payload: Any) -> None:
    assert status_trouble(status, {}, json.dumps(payload)).text.startswith(f"HTTP {status}: ")


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 GMT"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:13:50 -0000"}, 30.0),
        ({"retry-after": "Tue, 14 Nov 2023 22:00:00 GMT"}, 0.0),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "1, 2"}, None),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers, NOW) == seconds


@given(st.text(max_size=40) | st.from_regex(re.compile(r"\w{3}, \d+ \w{3} \d+ \d+:\d+:\d+ [+-]?\d*", re.ASCII)))
def test_no_header_raises(value: str) -> None:
    wait = retry_after({"retry-after": value, "retry-after-ms": value}, NOW)
    assert wait is None or wait >= 0
