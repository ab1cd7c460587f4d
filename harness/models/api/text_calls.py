"""Chat completions without the API's tools: they are told as text, and calls are read back from text.

`--model-arg format=NAME`: for a server without a parser, and for models whose endpoint takes no tools. The conversation
goes out as plain messages of system, user and assistant (harness.formats.plain_messages), and what comes back is read
as local models' texts are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from harness.formats import Format, parse_reply, plain_messages
from harness.models.api.chat import ChatDialect
from harness.models.api.reasoning import Switch
from harness.models.api.refusals import Refusals
from harness.models.api.wire import RequestFailure, WireRequest, assign_call_ids
from harness.types import JSONObject, ModelRequest, Reply

NO_STOP = re.compile(
    r"""["'`]stop["'`]|\bstop (parameter|sequences?|words?|strings?)\b|parameter:? stop\b""", re.IGNORECASE
)


class TextDialect(ChatDialect):
    """Chat completions in which tools, calls and results are text of one format."""

    def __init__(self, model: str, switch: Switch, refusals: Refusals, family: Format) -> None:
        super().__init__(model, switch, refusals)
        self.family = family

    def make_request(self, request: ModelRequest) -> WireRequest:
        """The request. Raises UsageError for a reasoning that the provider has no setting for."""
        plain = plain_messages(request.messages, request.tools, self.family)
        return super().make_request(replace(request, messages=plain, tools=()))

    def extra_fields(self, request: ModelRequest) -> JSONObject:
        return {"stop": list(self.family.stop)} if self.family.stop else {}

    def complete_reply(self, reply: Reply, choice: JSONObject, request: ModelRequest) -> Reply:
        """The reply with the calls of its text, behind those that the server read all the same."""
        written, turn = reply.message.content, sum(old.role == "assistant" for old in request.messages)
        read = parse_reply(self.family, written, turn, tools=[tool.name for tool in request.tools])
        calls = assign_call_ids((*reply.message.tool_calls, *read.tool_calls), request.messages)
        message = replace(
            reply.message,
            content=read.content,
            reasoning=reply.message.reasoning or read.reasoning,
            tool_calls=calls,
            raw=written,
        )
        return replace(reply, message=message)

    def read_failure(self, sent: WireRequest, status: int, headers: Mapping[str, str], text: str) -> RequestFailure:
        failure = super().read_failure(sent, status, headers, text)
        unwanted = failure.stop in {"http_400", "http_422"} and "stop" in sent.body and NO_STOP.search(text)
        return replace(failure, refused="stop") if unwanted else failure
