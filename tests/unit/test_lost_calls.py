"""Where endpoints lose calls, kind by kind: what becomes of each."""

import json

import pytest

from harness.models.api.chat import ChatDialect
from harness.models.api.gemini import GeminiDialect
from harness.models.api.lost_calls import NO_TOOLS, TORN, read_failed_generation, read_torn_call
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


@pytest.mark.parametrize(
    "part",
    [
        {"type": "tool_use", "id": "c1", "name": "find", "input": {"town": "Corrie"}},
        {"type": "tool_call", "id": "c1", "name": "find", "arguments": '{"town": "Corrie"}'},
        {"id": "c1", "functionCall": {"name": "find", "args": {"town": "Corrie"}}},
        {"toolUse": {"toolUseId": "c1", "name": "find", "input": {"town": "Corrie"}}},
        CALL,
    ],
)
def test_calls_beside_the_usual_place_are_read_once(part):
    for shape in (choice([{"type": "text", "text": "I look."}, part]), choice([part], CALL), choice(part)):
        (call,) = reply_of(shape).message.tool_calls
        assert (call.id, call.name, call.arguments) == ("c1", "find", {"town": "Corrie"})
    assert len(reply_of(choice("I look.", tool_calls=[CALL])).message.tool_calls) == 1
    old = choice("I look.", OTHER)
    old["message"]["function_call"] = CALL["function"]
    assert [call.arguments for call in reply_of(old).message.tool_calls] == [{}, {"town": "Corrie"}]


@pytest.mark.parametrize("end", ["TOOL_CALLS", "tool-calls", "TOOL_CALL", "toolUse", "malformed_tool_use"])
def test_reasons_that_speak_of_a_call_in_other_letters(end):
    assert len(reply_of(choice("", end=end)).message.tool_calls) == 1
    assert len(reply_of(choice("", native_finish_reason=end)).message.tool_calls) == 1


@pytest.mark.parametrize("broken", [choice("I lo", end="error"), choice("I lo", end="abort"), choice("", error="no")])
def test_a_reply_that_the_server_broke_off_is_a_failure(broken):
    made = ChatDialect("m", lambda reasoning: {}, REFUSALS)
    body = json.dumps({"choices": [broken]}).encode()
    assert isinstance(made.read_reply(WireRequest("/chat/completions", {}), body, REQUEST), RequestFailure)


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
    reply = read_failed_generation(400, json.dumps({"error": error}).encode(), REQUEST)
    assert reply is not None
    (call,) = reply.message.tool_calls
    assert (call.name, call.arguments, call.raw) == ("find", None, written)
    assert "Please adjust your prompt." in (call.parse_error or "")
    router = {"error": {"message": "Provider returned error", "metadata": {"raw": json.dumps({"error": error})}}}
    told = {
        "error": {"message": f"litellm.BadRequestError: GroqException - {json.dumps({'error': error})}", "code": 400}
    }
    unparsed = {"error": {"code": "output_parse_failed", "failed_generation": ""}}
    for status, body in ((400, router), (200, router), (400, told), (400, unparsed)):
        assert read_failed_generation(status, json.dumps(body).encode(), REQUEST) is not None
    said_it = {"choices": [{"message": {"content": '{"failed_generation": "{"}'}}]}
    assert read_failed_generation(200, json.dumps(said_it).encode(), REQUEST) is None


@pytest.mark.parametrize(
    "said",
    [
        'Failed to parse input at pos 8: <tool_call>{"name": "find", "arguments": {"town":',
        "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error at line 1",
        'error parsing tool call: raw=\'{"name": "find", "arg\', err=unexpected end of JSON input',
        "The model produced output that does not match the expected peg-native format",
        'Invalid diff: \'{"town":"Co\' not found at start of \'{"town":\'',
        "Missing closing </tool_call>",
    ],
)
def test_a_500_for_a_torn_call_is_a_malformed_call_in_the_end(said):
    assert TORN.search(said)
    reply = read_torn_call(RequestFailure("http_500", f"HTTP 500: {said}"), REQUEST)  # type: ignore[arg-type]
    assert reply is not None
    assert [call.arguments for call in reply.message.tool_calls] == [None]
    assert read_torn_call(RequestFailure("timeout", said), REQUEST) is None


@pytest.mark.parametrize(
    "said",
    [
        "XML syntax error on line 3: element <parameter> closed by </function>",
        "Unexpected token 12606 while expecting start token 200006",
        'unexpected tokens remaining in message header: Some("to=functions.find")',
        "Failed to parse function call: expected '}'",
    ],
)
def test_other_words_for_a_torn_call(said):
    assert read_torn_call(RequestFailure("http_500", f"HTTP 500: {said}"), REQUEST) is not None


def test_a_refused_request_is_no_torn_call():
    refused = RequestFailure("http_400", "HTTP 400: failed to parse tool calls in messages[2]", retry=False)
    assert read_torn_call(refused, REQUEST) is None
    torn = RequestFailure("http_400", "HTTP 400: Unexpected token 12606 while expecting start token 200006")
    assert read_torn_call(torn, REQUEST) is not None
    unknown = "tool call validation failed: attempted to call tool 'look' which was not in request.tools"
    assert read_torn_call(RequestFailure("http_400", f"HTTP 400: {unknown}"), REQUEST) is not None


@pytest.mark.parametrize(
    ("said", "tools"),
    [
        ('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set', True),
        ("registry.ollama.ai/library/gemma:2b does not support tools", True),
        ("No endpoints found that support tool use. Try disabling find.", True),
        ("tools param requires --jinja flag", True),
        ("Function calling is not supported with this model", True),
        ("This model doesn't support tool use", True),
        ("Unsupported parameter: 'tools' is not supported with this model.", True),
        ("Function calling is not enabled for models/gemma-3-27b-it", True),
        ("temperature is not supported with this model", False),
        ("This model does not support parallel_tool_calls", False),
    ],
)
def test_words_that_refuse_tools(said, tools):
    assert bool(NO_TOOLS.search(said)) == tools


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


def test_a_call_left_in_the_reasoning_is_noted_where_nothing_else_came():
    text = '<tool_call>\n{"name": "find", "arguments": {"town": "Corrie"}}\n</tool_call>'

    def note(content, end="stop"):
        lost = choice(content, end=end)
        lost["message"]["reasoning"] = f"I need the town.\n{text}"
        return reply_of(lost).note

    assert note("") == "unread: 1 call in the reasoning, by the format hermes, that the endpoint did not read"
    assert (note("I found it."), note("", "length")) == (None, None)


def test_a_call_in_a_format_that_is_not_read_here_is_noted():
    text = "<function=find>\n<parameter=town>\nCorrie\n</parameter>\n</function>"
    assert reply_of(choice(text)).note == (
        "unread: calls in the text, by the format qwen3_coder, that the endpoint did not read"
    )
    assert reply_of(choice(text, CALL)).note is None
