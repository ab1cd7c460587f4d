"""Where endpoints lose calls, kind by kind: what becomes of each."""

import json

import pytest

from harness.models.api.chat import ChatDialect
from harness.models.api.gemini import GeminiDialect
from harness.models.api.lost_calls import TORN, read_failed_generation, read_torn_call
from harness.models.api.messages import AnthropicDialect
from harness.models.api.reasoning import ClaudeFeatures
from harness.models.api.refusals import Refusals
from harness.models.api.wire import RequestFailure, WireRequest
from harness.types import Gold, Message, ModelRequest, Reply, Sample, Sampling, Tool

FIND = Tool("find", "", {"type": "object", "properties": {}})
USER = (Message("user", "hello"),)
REQUEST = ModelRequest(USER, (FIND,), Sampling(), Sample("s", USER, (FIND,), {}, Gold({})))
REFUSALS = Refusals("m", {}, {})
CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"town": "Corrie"}'}}
OTHER = {"id": "c2", "type": "function", "function": {"name": "find", "arguments": "{}"}}


def reply_of(*choices, dialect=ChatDialect, model="m", body=None):
    sent = WireRequest("/chat/completions", body or {})
    made = dialect(model, lambda reasoning: {}, REFUSALS)
    reply = made.read_reply(sent, json.dumps({"choices": list(choices)}).encode(), REQUEST)
    assert isinstance(reply, Reply)
    return reply


def choice(content=None, *calls, end="stop", **fields):
    message = {"role": "assistant", "content": content, **({"tool_calls": list(calls)} if calls else {})}
    return {"index": 0, "message": message, "finish_reason": end, **fields}


def test_a_finish_reason_that_speaks_of_a_call_without_one():
    (call,) = reply_of(choice("", end="tool_calls")).message.tool_calls
    assert (call.id, call.name, call.arguments) == ("call_0_0", "", None)
    assert call.parse_error == "the endpoint says that a tool was called and gives no call"


@pytest.mark.parametrize("message", [{"message": {"role": "assistant"}}, {"message": None}, {}])
def test_geminis_malformed_call_also_without_a_message(message):
    broken = {"index": 0, "finish_reason": "function_call_filter: MALFORMED_FUNCTION_CALL", **message}
    (call,) = reply_of(broken, dialect=GeminiDialect, model="gemini-3-flash").message.tool_calls
    assert "could not read the call (function_call_filter: MALFORMED_FUNCTION_CALL)" in (call.parse_error or "")
    assert call.echo == {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
    (older,) = reply_of(broken, dialect=GeminiDialect, model="gemini-2.5-flash").message.tool_calls
    assert older.echo is None


def test_a_routers_native_reason():
    lost = choice("", end="error", native_finish_reason="MALFORMED_FUNCTION_CALL")
    assert len(reply_of(lost).message.tool_calls) == 1


def test_calls_in_other_choices_are_read_where_they_are():
    reply = reply_of(choice("I look."), choice(None, CALL, end="tool_calls"), choice(None, OTHER, end="tool_calls"))
    assert (reply.message.content, reply.finish_reason, reply.note) == ("I look.", "tool_calls", None)
    assert [(call.id, call.arguments) for call in reply.message.tool_calls] == [("c1", {"town": "Corrie"}), ("c2", {})]
    assert len(reply_of(choice(None, CALL), choice(None, CALL)).message.tool_calls) == 1
    assert reply_of(None, choice("hi")).message.content == "hi"


def test_of_choices_that_were_asked_for_the_first_is_taken():
    assert reply_of(choice("I look."), choice(None, CALL), body={"n": 2}).message.tool_calls == ()


def test_a_stop_of_claudes_for_a_tool_without_one():
    dialect = AnthropicDialect("claude-haiku-4-5", ClaudeFeatures("anthropic/claude-haiku-4-5"), REFUSALS)
    body = {"type": "message", "content": [{"type": "text", "text": "I look."}], "stop_reason": "tool_use"}
    reply = dialect.read_reply(WireRequest("/v1/messages", {}), json.dumps(body).encode(), REQUEST)
    assert isinstance(reply, Reply)
    assert [call.arguments for call in reply.message.tool_calls] == [None]


def test_groqs_failed_generation_is_what_the_model_wrote():
    said = "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details."
    written = '{"name": "find", "arguments": {"town": '
    error = {"message": said, "type": "invalid_request_error", "code": "tool_use_failed", "failed_generation": written}
    reply = read_failed_generation(json.dumps({"error": error}).encode(), REQUEST)
    assert reply is not None
    (call,) = reply.message.tool_calls
    assert (call.name, call.arguments, call.raw) == ("find", None, written)
    assert "Please adjust your prompt." in (call.parse_error or "")
    assert read_failed_generation(b'{"choices": [{"message": {"content": "failed_generation"}}]}', REQUEST) is None


@pytest.mark.parametrize(
    "said",
    [
        'Failed to parse input at pos 8: <tool_call>{"name": "find", "arguments": {"town":',
        "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error at line 1",
        'error parsing tool call: raw=\'{"name": "find", "arg\', err=unexpected end of JSON input',
        "The model produced output that does not match the expected peg-native format",
    ],
)
def test_a_500_for_a_torn_call_is_a_malformed_call_in_the_end(said):
    assert TORN.search(said)
    reply = read_torn_call(RequestFailure("http_500", f"HTTP 500: {said}"), REQUEST)  # type: ignore[arg-type]
    assert reply is not None
    assert [call.arguments for call in reply.message.tool_calls] == [None]
    assert read_torn_call(RequestFailure("timeout", said), REQUEST) is None


def test_a_500_without_a_call_stays_a_failure():
    failure = RequestFailure("http_500", "HTTP 500: CUDA out of memory")  # type: ignore[arg-type]
    assert read_torn_call(failure, REQUEST) is None


def test_a_call_left_in_the_text_is_noted_and_stays_text():
    text = '<tool_call>\n{"name": "find", "arguments": {"town": "Corrie"}}\n</tool_call>'
    reply = reply_of(choice(text))
    assert (reply.message.content, reply.message.tool_calls) == (text, ())
    assert reply.note == "unread: 1 call in the text, by the format hermes, that the endpoint did not read"
    assert reply_of(choice(text, CALL)).note is None  # the server read it, and left it there too
    assert reply_of(choice(text, OTHER)).note is not None
    assert reply_of(choice("I found it.")).note is None
