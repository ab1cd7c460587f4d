"""What is sent to the Responses API and what is made of its answers, without a network."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.refusals import Refusals
from harness.models.api.responses import ResponsesDialect, read_response
from harness.models.api.wire import RequestFailure
from harness.types import Gold, Message, ModelRequest, Reasoning, Reply, Sample, Sampling, Tool, ToolCall, Usage

LOOKUP = Tool("lookup", "Looks a word up.", {"type": "object", "properties": {"word": {"type": "string"}}})
USER = Message("user", "hello")
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "sealed"}
CALLED = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "lookup", "arguments": "{}"}


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def reply_of(*output: Any, earlier: tuple[Message, ...] = (), **payload: Any) -> Reply:
    reply = read_response(json.dumps({"status": "completed", "output": output, **payload}).encode(), earlier)
    assert isinstance(reply, Reply)
    return reply


def request(*messages: Message, history: Any = "all", **sampling: Any) -> ModelRequest:
    sample = Sample("s", messages, (LOOKUP,), {}, Gold({}))
    return ModelRequest(messages, (LOOKUP,), Sampling(**sampling), sample, reasoning=Reasoning(history=history))


def body_of(asked: ModelRequest) -> dict[str, Any]:
    return ResponsesDialect("m", lambda reasoning: {}, Refusals("openai/m", {}, {})).make_request(asked).body


def items_of(*messages: Message, history: Any = "all") -> list[dict[str, Any]]:
    return list(body_of(request(*messages, history=history))["input"])


# --- requests ----------------------------------------------------------------------------------------------------


def test_a_request_in_full() -> None:
    system = Message("system", "be brief")
    assert body_of(request(system, USER, max_tokens=100, temperature=0.5, seed=3)) == {
        "model": "m",
        "input": [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}],
        "max_output_tokens": 100,
        "temperature": 0.5,
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "tools": [
            {
                "type": "function",
                "name": "lookup",
                "description": "Looks a word up.",
                "parameters": {"type": "object", "properties": {"word": {"type": "string"}}},
                "strict": False,
            }
        ],
    }
    assert body_of(request(USER, max_tokens=4))["max_output_tokens"] == 16


def test_a_turn_goes_back_item_by_item_as_it_came() -> None:
    spoken = reply_of(THOUGHT, said("a word"), CALLED).message
    items = items_of(USER, spoken, Message("tool", "x", tool_call_id="c1"))
    assert items[1:] == [
        THOUGHT,
        said("a word"),
        CALLED,
        {"type": "function_call_output", "call_id": "c1", "output": "x"},
    ]


def test_without_its_reasoning_a_turn_loses_the_ids_that_would_dangle() -> None:
    spoken = reply_of(THOUGHT, said("a word"), CALLED).message
    items = items_of(USER, spoken, Message("tool", "x"), history="none")
    assert items[1:3] == [
        {"role": "assistant", "content": "a word"},
        {"type": "function_call", "call_id": "c1", "name": "lookup", "arguments": "{}"},
    ]
    assert items[3]["call_id"] == "c1"
    two = items_of(USER, spoken, Message("tool", "x"), spoken, Message("tool", "x"), history="last")
    assert [item.get("id") for item in two if item.get("type") in {"function_call", "reasoning"}] == [
        *(None, "rs_1", "fc_1")
    ]


def test_a_reasoning_item_that_holds_nothing_is_not_sent() -> None:
    empty = {"type": "reasoning", "id": "rs_1", "summary": []}
    spoken = reply_of(empty, CALLED).message
    assert spoken.echo == ()
    assert "id" not in items_of(USER, spoken)[1]


@pytest.mark.parametrize(("arguments", "sent"), [("{oops", "{}"), ("[1]", "{}"), ('{"a": 1}', '{"a": 1}'), ("", "{}")])
def test_arguments_that_the_provider_would_refuse_are_replaced(arguments: str, sent: str) -> None:
    spoken = reply_of(THOUGHT, {**CALLED, "arguments": arguments, "name": "look up"}).message
    item = items_of(USER, spoken)[2]
    assert (item["id"], item["name"], item["arguments"]) == ("fc_1", "look_up", sent)


def test_turns_of_another_api_are_rebuilt() -> None:
    call = ToolCall("", "lookup", {"word": "a"}, "")
    other = Message("assistant", "hm", "r", (call,), echo=({"field": "reasoning"},))
    assert items_of(USER, other, Message("tool", "x"))[1:] == [
        {"role": "assistant", "content": "hm"},
        {"type": "function_call", "call_id": "call_0_0", "name": "lookup", "arguments": '{"word": "a"}'},
        {"type": "function_call_output", "call_id": "call_0_0", "output": "x"},
    ]


# --- replies -----------------------------------------------------------------------------------------------------


def test_a_reply_in_full() -> None:
    summary = [{"type": "summary_text", "text": "hm"}]
    usage = {
        "input_tokens": 20,
        "input_tokens_details": {"cached_tokens": 4},
        "output_tokens": 9,
        "output_tokens_details": {"reasoning_tokens": 5},
    }
    reply = reply_of({**THOUGHT, "summary": summary}, said("a"), CALLED, usage=usage)
    assert (reply.message.content, reply.message.reasoning, reply.finish_reason) == ("a", "hm", "tool_calls")
    assert reply.message.tool_calls == (ToolCall("c1", "lookup", {}, "{}"),)
    assert reply.usage == Usage(20, 9, 5, 4, requests=1)
    assert [item["type"] for item in reply.message.echo] == ["reasoning", "message", "function_call"]


def test_the_text_of_reasoning_is_preferred_to_its_summary() -> None:
    text = [{"type": "reasoning_text", "text": "whole"}]
    message = reply_of({**THOUGHT, "content": text, "summary": [{"type": "summary_text", "text": "part"}]}).message
    assert message.reasoning == "whole"


def test_a_refusal_is_what_was_said() -> None:
    refusal = {"type": "message", "content": [{"type": "refusal", "refusal": "no"}]}
    assert reply_of(refusal).message.content == "no"


@pytest.mark.parametrize(
    ("reason", "finish"), [("max_output_tokens", "length"), ("content_filter", "content_filter"), ("odd", "odd")]
)
def test_incomplete_responses(reason: str, finish: str) -> None:
    assert reply_of(status="incomplete", incomplete_details={"reason": reason}).finish_reason == finish


def test_malformed_arguments_and_ids() -> None:
    earlier = Message("assistant", tool_calls=(ToolCall("c1", "lookup", {}, ""),))
    broken = {**CALLED, "arguments": "{oops"}
    calls = reply_of(broken, {**CALLED, "call_id": None}, earlier=(earlier,)).message.tool_calls
    assert [call.id for call in calls] == ["call_1_0", "call_1_1"]
    assert calls[0].arguments is None
    assert str(calls[0].parse_error).startswith("invalid JSON")


@pytest.mark.parametrize(
    ("payload", "stop", "retry"),
    [
        ({"status": "failed", "error": {"code": "server_error", "message": "oh"}}, "response_failed", True),
        ({"error": {"code": "insufficient_quota", "message": "poor"}}, "insufficient_quota", False),
        ({"status": "cancelled", "output": []}, "response_failed", True),
        ({"choices": []}, "no_output", True),
        ([], "no_output", True),
    ],
)
def test_a_200_without_a_reply_is_a_failure(payload: Any, stop: str, retry: bool) -> None:
    failure = read_response(json.dumps(payload).encode(), ())
    assert isinstance(failure, RequestFailure)
    assert (failure.stop, failure.outcome, failure.retry) == (stop, "infrastructure_error", retry)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["reasoning", "message", "function_call", "odd", ["reasoning"], None])},
    optional=dict.fromkeys(("id", "call_id", "name", "arguments", "summary", "encrypted_content", "content"), JSON),
)


@settings(max_examples=300, deadline=None)
@given(
    st.fixed_dictionaries(
        {"output": JSON | st.lists(JSON | ITEM, max_size=4)}, optional={"usage": JSON, "status": JSON}
    )
)
def test_no_reply_raises_and_every_reply_can_be_sent_back(payload: Any) -> None:
    reply = read_response(json.dumps(payload).encode(), ())
    if isinstance(reply, Reply):
        json.dumps(items_of(USER, reply.message), allow_nan=False, ensure_ascii=False).encode()


# --- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "refused"),
    [
        ("Unsupported parameter: 'reasoning.effort' is not supported with this model.", "reasoning"),
        ("Unsupported value: 'none' is not supported with the 'gpt-5' model.", "reasoning"),
        ("Your organization must be verified to generate reasoning summaries.", "reasoning.summary"),
        ("Encrypted content is not supported with this model.", "include"),
        ("Unsupported parameter: 'temperature' is not supported with this model.", "temperature"),
        ("Invalid schema for function 'f'", None),
    ],
)
def test_refused_parameters_are_recognised(said: str, refused: str | None) -> None:
    dialect = ResponsesDialect("m", lambda reasoning: {}, Refusals("openai/m", {}, {}))
    param = "reasoning.effort" if "none" in said else None
    text = json.dumps({"error": {"message": said, "param": param}})
    assert dialect.read_failure(dialect.make_request(request(USER)), 400, {}, text).refused == refused
