"""Replies that come as events, put together: the same body whatever the pieces, and every way in which streams fail."""

import json

import pytest
from fakes.chat_server import call, calls, text
from fakes.streams import DONE, chunks, event, message_events, response_events
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.events import MAX_STREAM_BYTES, open_stream, read_unasked
from harness.models.api.streaming import NO_USAGE, WANTED
from harness.models.api.transport import Response
from harness.models.api.wire import RequestFailure, WireRequest

CHAT, RESPONSES, MESSAGES = "/chat/completions", "/responses", "/v1/messages"
END = event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}) + DONE
STOP = {"type": "message_delta", "delta": {"stop_reason": "tool_use"}}
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
    return body(b"".join([*made, END]))["choices"][0]["message"]


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
    got = body(b"".join(map(event, [began, piece, STOP, {"type": "message_stop"}])), MESSAGES)
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
        # the name, and an id of its own, in every piece
        ([named("f", '{"x"', id="a", index=0), named("f", ": 1", id="b", index=0), named("f", "}", id="c", index=0)],
         [("f", '{"x": 1}')]),
        ([named("f", "", id="a", index=0), {"index": 0, "id": "b", "function": {"arguments": '{"x": 1}'}}],
         [("f", '{"x": 1}')]),
        # one id for all calls, and a call that is sent once more as a whole
        ([named("f", '{"x": 1}', id="a"), named("f", '{"x": 2}', id="a"), named("f", '{"x": 2}', id="a")],
         [("f", '{"x": 1}'), ("f", '{"x": 2}'), ("f", '{"x": 2}')]),
        ([named("f", '{"x"', id="a", index=0), {"index": 0, "function": {"arguments": ": 1}"}},
          named("f", '{"x": 1}', id="a", index=0)], [("f", '{"x": 1}')]),
        # arguments that begin with {} or before their name, a name in pieces, an end without anything, no `function`
        ([named("f", "{}", id="a", index=0), {"index": 0, "function": {"arguments": '{"x": 1}'}}],
         [("f", '{"x": 1}')]),
        ([named("fi", "", id="a", index=0), named("nd", "", index=0), {"index": 0, "function": {"arguments": "{}"}}],
         [("find", "{}")]),
        ([{"index": 0, "function": {"arguments": '{"x"'}}, {"index": 0, "function": {"arguments": ": 1}"}},
          named("f", None, id="a", index=0)], [("f", '{"x": 1}')]),
        ([named("f", '{"x": 1}'), {"function": {"name": None, "arguments": ""}}], [("f", '{"x": 1}')]),
        ([{"id": "a", "name": "f", "arguments": '{"x"'}, {"id": "a", "arguments": ": 1}"}], [("f", '{"x": 1}')]),
    ],
)  # fmt: skip
def test_calls_with_and_without_ids_and_indexes(parts, made):
    for batches in ([parts], [[part] for part in parts]):
        found = message_of(*({"tool_calls": batch} for batch in batches))["tool_calls"]
        assert [(call["function"]["name"], call["function"]["arguments"]) for call in found] == made


def test_a_call_that_is_none_an_old_call_and_parts_of_a_content():
    assert message_of({"tool_calls": ["find"]})["tool_calls"] == ["find"]
    assert message_of({"function_call": "f"})["function_call"] == "f"
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


def test_a_completion_without_a_reason_to_end_is_torn_whatever_follows():
    stopped = read(b"".join([*list(chunks(SAID, 4, counts=True))[:4], DONE]))
    assert isinstance(stopped, RequestFailure)
    torn = event({"choices": [{"index": 1, "delta": {"content": "I lo"}}]})
    assert isinstance(read(END.removesuffix(DONE) + torn), RequestFailure)


def test_a_reason_that_speaks_of_a_call_is_not_undone():
    ends = [{"choices": [{"delta": {}, "finish_reason": reason}]} for reason in ("tool_calls", "stop")]
    assert body(b"".join(map(event, ends)))["choices"][0]["finish_reason"] == "tool_calls"


@pytest.mark.parametrize("holder", ["usage", "x_groq", "choice"])
def test_a_usage_is_found_where_servers_put_it(holder):
    usage = {"prompt_tokens": 5}
    ended = {"delta": {}, "finish_reason": "stop", **({"usage": usage} if holder == "choice" else {})}
    more = {"usage": {"usage": usage}, "x_groq": {"x_groq": {"usage": usage}}, "choice": {}}[holder]
    assert body(event({"choices": [ended], **more}))["usage"] == usage


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b'error: {"code": 503, "message": "Loading model"}\n\n', 503),
        (b'event: error\ndata: {"message": "busy", "code": 429}\n\n', 429),
        (b'{"error": {"message": "busy", "code": 429}}', 429),
        (b'data: {"object": "error", "message": "too long", "code": 400}\n\ndata: [DONE]\n\n', 400),
        (b'data: {"detail": "it broke"}\n\ndata: [DONE]\n\n', 500),
    ],
)
def test_errors_that_are_no_events_of_the_api(content, status):
    result = read(content)
    assert isinstance(result, Response)
    assert result.status == status
    begun = next(chunks(SAID, 4, counts=True))
    later = read(begun + content)
    assert isinstance(later, Response)
    assert later.status == status


def test_a_whole_reply_in_the_name_of_a_stream_and_a_stream_in_the_name_of_a_reply():
    assert body(json.dumps(SAID).encode()) == SAID
    asked = WireRequest(CHAT, {})
    content = b"".join([b": hi\n\n", *chunks(SAID, 4, counts=True), DONE])
    result = read_unasked(asked, Response(200, {}, content))
    assert isinstance(result, Response)
    assert json.loads(result.content)["usage"] == SAID["usage"]
    plain = Response(200, {}, json.dumps(SAID).encode())
    assert read_unasked(asked, plain) is plain


def test_items_and_blocks_that_are_not_begun_or_have_no_index():
    item = {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": ""}
    kinds = [
        {"type": "response.output_item.added", "output_index": 0, "item": item},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": '{"x": '},
        {"type": "response.function_call_arguments.delta", "output_index": 0, "delta": "1}"},
        {"type": "response.completed", "response": {"status": "completed", "output": []}},
    ]
    assert body(b"".join(map(event, kinds)), RESPONSES)["output"] == [{**item, "arguments": '{"x": 1}'}]
    uses = [{"type": "content_block_start", "content_block": {"type": "tool_use", "name": name, "input": {"x": 1}}}
            for name in ("f", "g")]  # fmt: skip
    lone = {"type": "content_block_delta", "index": 7, "delta": {"type": "text_delta", "text": "Hi"}}
    found = body(b"".join(map(event, [*uses, lone, STOP])), MESSAGES)["content"]
    assert [block.get("name") or block.get("text") for block in found] == ["f", "g", "Hi"]


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
        "`stream` must be true",
        "Please set stream=true",
        "stream=false is not supported by this model",
        '{"loc": ["body", "stream"], "msg": "Input should be True"}',
        "Only streaming is supported for this model",
        "This model does not support non-streaming output",
        "Non-stream request is not allowed",
        "stream must be enabled",
    ],
)
def test_words_that_ask_for_a_stream(said):
    assert WANTED.search(said)


@pytest.mark.parametrize(
    "said",
    [
        "stream is not supported",
        "stream_options should be an object",
        "upstream error",
        "stream=true is not supported",
        "set stream_options",
        "The stream was closed",
    ],
)
def test_words_that_do_not(said):
    assert not WANTED.search(said)
    assert bool(NO_USAGE.search(said)) == ("stream_options" in said)
