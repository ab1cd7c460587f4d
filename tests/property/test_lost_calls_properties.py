"""No call that a model wrote goes by unseen, wherever in a reply its server left it."""

import json

import pytest
from call_shapes import ARGUMENTS, TOOLS, replies
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.api.chat import ChatDialect
from harness.models.api.messages import AnthropicDialect
from harness.models.api.reasoning import ClaudeFeatures
from harness.models.api.refusals import Refusals
from harness.models.api.responses import ResponsesDialect
from harness.models.api.wire import RequestFailure
from harness.types import Gold, Message, ModelRequest, Sample, Sampling, Tool

OFFERED = tuple(Tool(name, "", {"type": "object", "properties": {}}) for name in TOOLS)
USER = (Message("user", "hello"),)
REQUEST = ModelRequest(USER, OFFERED, Sampling(), Sample("s", USER, OFFERED, {}, Gold({})))
REFUSALS = Refusals("m", {}, {})
CHAT = ChatDialect("m", lambda reasoning: {}, REFUSALS)
RESPONSES = ResponsesDialect("m", lambda reasoning: {}, REFUSALS)
MESSAGES = AnthropicDialect("claude-haiku-4-5", ClaudeFeatures("anthropic/claude-haiku-4-5"), REFUSALS)

nothing = st.sampled_from([None, "", [], "I look.", [{"type": "text", "text": "I look."}]])
listed = st.builds(
    lambda name, arguments, cut, call_id: {
        "id": call_id,
        "type": "function",
        "function": {"name": name, "arguments": json.dumps(arguments)[: cut or None]},
    },
    st.sampled_from(TOOLS),
    ARGUMENTS,
    st.integers(0, 5),
    st.sampled_from([None, "", "c1"]),
)
no_calls = st.sampled_from([{}, {"tool_calls": None}, {"tool_calls": []}, {"function_call": None}])
calls = st.one_of(
    st.lists(listed, min_size=1, max_size=2).map(lambda found: {"tool_calls": found}),
    listed.map(lambda call: {"function_call": call["function"]}),
)
text_calls = st.one_of(replies(), replies().map(lambda text: [{"type": "text", "text": text}]))
ends = st.sampled_from(["stop", "tool_calls", "length", None])
LOST = (
    {"finish_reason": "tool_calls"},
    {"finish_reason": "function_call"},
    {"finish_reason": "MALFORMED_FUNCTION_CALL"},
    {"finish_reason": "function_call_filter: MALFORMED_FUNCTION_CALL"},
    {"finish_reason": "stop", "native_finish_reason": "MALFORMED_FUNCTION_CALL"},
    {"finish_reason": "UNEXPECTED_TOOL_CALL"},
)


def choice(content, calls, end):
    return {"index": 0, "message": {"role": "assistant", "content": content, **calls}, "finish_reason": end}


silent = st.builds(choice, nothing, no_calls, ends)
holding = st.one_of(
    st.builds(choice, nothing, calls, ends),
    st.builds(choice, text_calls, no_calls, ends),
    st.builds(lambda one, end: {**one, **end}, silent, st.sampled_from(LOST)),
)


@st.composite
def completions(draw):
    """Choices of which one holds a call in some place, the first or a later one."""
    return {"choices": [*draw(st.lists(silent, max_size=1)), draw(holding), *draw(st.lists(silent, max_size=1))]}


@settings(max_examples=300, deadline=None)
@given(completions())
def test_no_call_of_a_completion_is_unread_and_unnoted(body):
    assert is_seen(CHAT, body)


@settings(max_examples=60, deadline=None)
@given(replies(), st.booleans())
def test_no_call_in_the_text_of_another_api_is_unnoted(text, responses):
    if responses:
        part = {"type": "output_text", "text": text}
        body = {"status": "completed", "output": [{"type": "message", "role": "assistant", "content": [part]}]}
    else:
        body = {"type": "message", "content": [{"type": "text", "text": text}], "stop_reason": "end_turn"}
    assert is_seen(RESPONSES if responses else MESSAGES, body)


@pytest.mark.parametrize("body", [{"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, {}])
def test_a_completion_without_a_message_is_a_failure(body):
    assert isinstance(read(CHAT, body), RequestFailure)


def read(dialect, body):
    return dialect.read_reply(dialect.make_request(REQUEST), json.dumps(body).encode(), REQUEST)


def is_seen(dialect, body):
    result = read(dialect, body)
    return isinstance(result, RequestFailure) or bool(result.message.tool_calls or result.note)
