"""No call that a model wrote goes by unseen, wherever in a reply its server left it, whole or as a stream.

Replies go through the endpoint as they do in a run. Seen is: a call, a note of the record, or a failure.
"""

import asyncio
import json

import pytest
from call_shapes import TOOLS
from fakes.streams import DONE, event
from hypothesis import given, settings
from hypothesis import strategies as st
from reply_shapes import (
    completion_streams,
    completions,
    message_streams,
    messages,
    response_streams,
    responses,
)

from harness.errors import ModelFailure
from harness.models.api.chat import ChatDialect
from harness.models.api.connection import EndpointSettings, ModelIdentity
from harness.models.api.endpoint import EndpointModel
from harness.models.api.gemini import GeminiDialect
from harness.models.api.messages import AnthropicDialect
from harness.models.api.reasoning import ClaudeFeatures
from harness.models.api.refusals import Refusals
from harness.models.api.responses import ResponsesDialect
from harness.models.api.transport import Response
from harness.redaction import Redactor
from harness.types import Gold, Message, ModelRequest, Sample, Sampling, Tool

OFFERED = tuple(Tool(name, "", {"type": "object", "properties": {}}) for name in TOOLS)
USER = (Message("user", "hello"),)
REQUEST = ModelRequest(USER, OFFERED, Sampling(), Sample("s", USER, OFFERED, {}, Gold({})))
REFUSALS = Refusals("m", {}, {})
CHAT = ChatDialect("m", lambda reasoning: {}, REFUSALS)
GEMINI = GeminiDialect("gemini-3-flash", lambda reasoning: {}, REFUSALS)
RESPONSES = ResponsesDialect("m", lambda reasoning: {}, REFUSALS)
MESSAGES = AnthropicDialect("claude-haiku-4-5", ClaudeFeatures("anthropic/claude-haiku-4-5"), REFUSALS)


class Wire:
    """Gives this content to every request, in pieces where a stream is read."""

    def __init__(self, content, status=200, cut=37):
        self.content, self.status, self.cut = content, status, cut

    async def post(self, path, body, sink=None):
        if sink is None:
            return Response(self.status, {}, self.content)
        for at in range(0, len(self.content), self.cut):
            if sink.feed(self.content[at : at + self.cut]):
                break
        return Response(self.status, {}, b"")

    async def aclose(self):
        pass


def ask(dialect, content, stream=False, status=200, cut=37):
    """The reply that an episode gets, or its ModelFailure."""
    told = EndpointSettings("http://x", max_retries=0, max_retry_wait=0.0, stream=stream)
    wire = Wire(content, status, cut)
    model = EndpointModel(ModelIdentity("m", {}), told, dialect, lambda told: wire, Redactor())
    try:
        return asyncio.run(model(REQUEST))
    except ModelFailure as failure:
        return failure


def is_seen(reply):
    return isinstance(reply, ModelFailure) or bool(reply.message.tool_calls or reply.note)


@settings(max_examples=150, deadline=None)
@given(completions(), st.booleans())
def test_no_call_of_a_completion_is_unread_and_unnoted(body, gemini):
    assert is_seen(ask(GEMINI if gemini else CHAT, json.dumps(body).encode()))


@settings(max_examples=60, deadline=None)
@given(messages())
def test_no_call_of_a_message_is_unread_and_unnoted(body):
    assert is_seen(ask(MESSAGES, json.dumps(body).encode()))


@settings(max_examples=60, deadline=None)
@given(responses())
def test_no_call_of_a_response_is_unread_and_unnoted(body):
    assert is_seen(ask(RESPONSES, json.dumps(body).encode()))


def seen_in_stream(data, dialect, sent, whole, done=b""):
    """Whether a stream shows its call, and is a failure wherever it stops before it is whole."""
    cut = data.draw(st.integers(1, 300), "bytes a piece")
    assert is_seen(ask(dialect, b"".join([*map(event, sent), done]), True, cut=cut))
    end = data.draw(st.integers(0, whole - 1), "events of a torn stream")
    for behind in {b"", done}:
        assert isinstance(ask(dialect, b"".join([*map(event, sent[:end]), behind]), True), ModelFailure)


@settings(max_examples=120, deadline=None)
@given(completions(), st.booleans(), st.data())
def test_no_call_of_a_streamed_completion_is_unread_and_unnoted(body, gemini, data):
    sent, whole = data.draw(completion_streams(body))
    seen_in_stream(data, GEMINI if gemini else CHAT, sent, whole, DONE)


@settings(max_examples=50, deadline=None)
@given(messages(), st.data())
def test_no_call_of_a_streamed_message_is_unread_and_unnoted(body, data):
    seen_in_stream(data, MESSAGES, *data.draw(message_streams(body)))


@settings(max_examples=50, deadline=None)
@given(responses(), st.data())
def test_no_call_of_a_streamed_response_is_unread_and_unnoted(body, data):
    seen_in_stream(data, RESPONSES, *data.draw(response_streams(body)))


@pytest.mark.parametrize("body", [{"choices": None}, {"choices": []}, {"choices": [None]}, {"choices": [{}]}, {}])
def test_a_completion_without_a_message_is_a_failure(body):
    assert isinstance(ask(CHAT, json.dumps(body).encode()), ModelFailure)
