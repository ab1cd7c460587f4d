"""Replies that come as events, put together: the same body whatever the pieces, and every way in which streams fail."""

import json

import pytest
from fakes.chat_server import call, calls, text
from fakes.streams import DONE, chunks, event, message_events, response_events
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.events import MAX_STREAM_BYTES, open_stream
from harness.models.api.streaming import NO_USAGE, WANTED
from harness.models.api.transport import Response
from harness.models.api.wire import RequestFailure, WireRequest

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/v1/messages"
SAID = text("Corrie has é 45,210.", reasoning="I think.").body
CALLED = calls(call("find", {"town": "Corrie"}), call("find", {"town": "Dunmore"}), content="I look.").body


def read(content, path=CHAT, sizes=()):
    """What a stream gives; `sizes`: of the pieces in which it arrives."""
    stream = open_stream(WireRequest(path, {"stream": True}))
    for size in (*sizes, len(content)):
        if not content or stream.feed(content[:size]):
            break
        content = content[size:]
    return stream.finish(Response(200, {}, b""))


def body(content, path=CHAT, sizes=()):
    result = read(content, path, sizes)
    assert isinstance(result, Response), result
    assert result.status == 200
    return json.loads(result.content)


def message_of(*deltas):
    made = [event({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    return body(b"".join([*made, DONE]))["choices"][0]["message"]


def named(name, arguments, **fields):
    return {**fields, "function": {"name": name, "arguments": arguments}}


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from([SAID, CALLED]),
    st.integers(1, 30),
    st.lists(st.integers(1, 200)),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_completion_is_the_same_however_it_arrives(whole, cut, sizes, end):
    content = b"".join([b": hello\n\n", *chunks(whole, cut, counts=True), DONE]).replace(b"\n", end.encode())
    got = body(content, sizes=sizes)
    want = whole["choices"][0]
    assert got["usage"] == whole["usage"]
    assert got["choices"][0]["finish_reason"] == want["finish_reason"]
    assert {name: value for name, value in got["choices"][0]["message"].items() if value} == {
        name: value for name, value in want["message"].items() if value
    }


def test_a_stream_of_responses_ends_with_the_response():
    whole = {"status": "completed", "output": [{"type": "message", "content": []}], "usage": {"input_tokens": 1}}
    assert body(b"".join(response_events(whole)), RESPONSES) == whole
    without = [*response_events(whole)[:-1], event({"type": "response.completed", "response": {"output": []}})]
    assert body(b"".join(without), RESPONSES)["output"] == whole["output"]


def test_a_stream_of_messages():
    blocks = [
        {"type": "thinking", "thinking": "I think.", "signature": "abc"},
        {"type": "text", "text": "I look."},
        {"type": "tool_use", "id": "t1", "name": "find", "input": {"town": "Corrie"}},
        {"type": "tool_use", "id": "t2", "name": "count", "input": {}},
    ]
    usage = {"input_tokens": 5, "output_tokens": 9}
    whole = {"type": "message", "content": blocks, "stop_reason": "tool_use", "usage": usage}
    got = body(b"".join(message_events(whole)), MESSAGES)
    assert {name: got[name] for name in whole} == whole


def test_a_torn_input_is_text():
    began = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "f", "input": {}}}
    piece = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"a": '}}
    got = body(b"".join(map(event, [began, piece, {"type": "message_stop"}])), MESSAGES)
    assert got["content"] == [{"type": "tool_use", "name": "f", "input": '{"a": '}]


@pytest.mark.parametrize(
    ("parts", "made"),
    [
        ([named("f", "", id="a", index=0), {"index": 0, "function": {"arguments": '{"x"'}},
          {"index": 0, "function": {"arguments": ": 1}"}}], [("f", '{"x": 1}')]),
        ([named("f", '{"x": 1}', id="a"), named("g", "{}", id="b")], [("f", '{"x": 1}'), ("g", "{}")]),
        ([named("f", '{"x": 1}', id="a", index=0), named("g", "{}", id="b", index=0)],
         [("f", '{"x": 1}'), ("g", "{}")]),
        ([named("f", '{"x": 1}'), named("f", '{"x": 2}')], [("f", '{"x": 1}'), ("f", '{"x": 2}')]),
        ([named("f", '{"x": 1}', index=0), named("f", '{"x": 2}', index=0)], [("f", '{"x": 1}'), ("f", '{"x": 2}')]),
        ([named("f", '{"x"'), {"function": {"arguments": ": 1}"}}], [("f", '{"x": 1}')]),
        ([named("f", '{"x"', index=0), named("f", ": 1}", index=0)], [("f", '{"x": 1}')]),
        ([named("f", "", id="a", index=0), named("g", "", id="b", index=1),
          {"index": 0, "function": {"arguments": "{}"}}], [("f", "{}"), ("g", "")]),
        ([named("f", ""), named("g", "{}")], [("f", ""), ("g", "{}")]),
        ([named("f", {"x": 1}), named("g", None)], [("f", {"x": 1}), ("g", None)]),
    ],
)  # fmt: skip
def test_calls_with_and_without_ids_and_indexes(parts, made):
    for batches in ([parts], [[part] for part in parts]):
        found = message_of(*({"tool_calls": batch} for batch in batches))["tool_calls"]
        assert [(call["function"]["name"], call["function"]["arguments"]) for call in found] == made


def test_a_call_that_is_none_an_old_call_and_parts_of_a_content():
    assert message_of({"tool_calls": ["find"]})["tool_calls"] == ["find"]
    old = message_of({"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"arguments": "}"}})
    assert old["function_call"] == {"name": "f", "arguments": "{}"}
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "I think."}]}
    assert message_of({"content": [thinking]}, {"content": "Hi"})["content"] == [
        thinking,
        {"type": "text", "text": "Hi"},
    ]
    signature = {"google": {"thought_signature": "s"}}
    [call] = message_of({"tool_calls": [named("f", "{}", id="a", extra_content=signature)]})["tool_calls"]
    assert call["extra_content"] == signature


def test_the_last_chunk_may_be_a_message_and_events_may_be_anything():
    odd = [None, [], {"choices": None}, {"choices": [None]}, {"choices": [{"delta": None}]}, {"error": None}]
    whole = {"choices": [{"message": {"content": "Hi"}, "finish_reason": "stop"}]}
    assert body(b"".join(map(event, [*odd, whole])))["choices"][0]["message"]["content"] == "Hi"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ({"error": {"message": "slow down", "code": 429}}, 429),
        ({"error": {"message": "down", "code": "502"}, "choices": [{"finish_reason": "error"}]}, 502),
        ({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, 529),
        ({"error": "it broke"}, 500),
        ({"error": {"code": "tool_use_failed", "failed_generation": "{"}}, 400),
    ],
)
def test_an_error_event_is_the_status_that_it_names(error, status):
    begun = next(chunks(SAID, 4, counts=True))
    result = read(begun + event(error) + DONE)
    assert isinstance(result, Response)
    assert result.status == status


def test_a_stream_that_stops_is_a_broken_connection():
    parts = list(chunks(SAID, 4, counts=True))
    for count in range(len(parts) - 2):
        stopped = read(b"".join([b": hello\n\n", *parts[:count]]))
        assert isinstance(stopped, RequestFailure)
        assert (stopped.stop, stopped.retry) == ("connection", True)
    assert body(b"".join(parts))["choices"][0]["finish_reason"] == "stop"  # whole, if without [DONE]


def test_other_failures_of_a_stream():
    nonsense = read(b"data: <html>\n\n")
    assert isinstance(nonsense, RequestFailure)
    assert nonsense.stop == "not_json"
    large = read(b"data: " + b"x" * MAX_STREAM_BYTES)
    assert isinstance(large, RequestFailure)
    assert (large.text, large.retry) == ("the reply is larger than 64 MiB", False)


@pytest.mark.parametrize(
    "said",
    [
        '"stream" must be true',
        "Stream must be set to true",
        "This model only support stream mode, please enable the stream parameter to access the model.",
        "parameter.enable_thinking must be set to false for non-streaming calls",
        "Streaming is required for this model.",
        "Non-streaming requests are not supported.",
        "this deployment requires streaming",
    ],
)
def test_words_that_ask_for_a_stream(said):
    assert WANTED.search(said)


@pytest.mark.parametrize("said", ["stream is not supported", "stream_options should be an object", "upstream error"])
def test_words_that_do_not(said):
    assert not WANTED.search(said)
    assert bool(NO_USAGE.search(said)) == ("stream_options" in said)
