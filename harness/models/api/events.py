"""Replies that come as server-sent events, without I/O: bytes in as they arrive, and one body out, as without a stream.

    stream = open_stream(request)            # None: the request asks for none
    stream.feed(chunk)                       # True: nothing more is wanted
    stream.finish(response)                  # the Response that the same reply would have been, or a RequestFailure

An error among the events is a response with the status that it names. A stream that stops before it said that the reply
is whole is a connection that broke. streamed_chat.py and streamed_items.py put replies together.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from harness.models.api.streamed_chat import ChatReply
from harness.models.api.streamed_items import ClaudeReply, ResponsesReply
from harness.models.api.transport import Response
from harness.models.api.wire import RequestFailure, WireRequest
from harness.types import JSONObject

MAX_STREAM_BYTES = 64 * 2**20
"""As of a reply that comes whole."""
ERROR_STATUS = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "permission_error": 403,
    "not_found_error": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
}
"""The status of an error that says its kind only; else it is a fault of the server's: 500."""


class Assembly(Protocol):
    """A reply that is put together from its events."""

    whole: bool
    """Whether the events said that the reply is complete."""
    last: bool
    """Whether they said that no other event follows."""

    def add(self, event: JSONObject) -> None: ...
    def body(self) -> JSONObject: ...


def open_stream(sent: WireRequest) -> EventStream | None:
    """What reads the answer to a request; None where it asks for no stream."""
    if not sent.body.get("stream"):
        return None
    if sent.path.endswith("/messages"):
        return EventStream(ClaudeReply())
    return EventStream(ResponsesReply() if sent.path.endswith("/responses") else ChatReply())


@dataclass
class EventStream:
    """The events of one answer. `begun`: there were bytes; where there were none, the answer came whole."""

    reply: Assembly
    begun: bool = False
    _ended: bool = False
    _error: JSONObject | None = None
    _failure: RequestFailure | None = None
    _size: int = 0
    _lines: Lines = field(default_factory=lambda: Lines())
    _data: list[str] = field(default_factory=list)

    def feed(self, chunk: bytes) -> bool:
        """Reads what has come. True where nothing more is wanted."""
        self.begun = True
        self._size += len(chunk)
        if self._size > MAX_STREAM_BYTES:
            said = f"the reply is larger than {MAX_STREAM_BYTES >> 20} MiB"
            self._failure = RequestFailure("connection", said, retry=False)
        for line in self._lines.split(chunk):
            if self._done:
                break
            self._read_line(line)
        return self._done

    def finish(self, response: Response) -> Response | RequestFailure:
        """The answer as it would have come whole."""
        if not self._done:
            for line in (*self._lines.split(b"\n"), ""):
                self._read_line(line)
        if self._failure is not None:
            return self._failure
        if self._error is not None:
            content = json.dumps({"error": self._error}).encode()
            return Response(error_status(self._error), response.headers, content)
        if not (self._ended or self.reply.whole):
            return RequestFailure("connection", "the stream ended before the reply was whole")
        return Response(response.status, response.headers, json.dumps(self.reply.body()).encode())

    @property
    def _done(self) -> bool:
        return self._ended or self._error is not None or self._failure is not None

    def _read_line(self, line: str) -> None:
        """A line of an event; an empty one ends it."""
        if line.startswith("data:"):
            self._data.append(line.removeprefix("data:").removeprefix(" "))
        elif not line and self._data:
            text, self._data = "\n".join(self._data).strip(), []
            if text:
                self._read_event(text)

    def _read_event(self, text: str) -> None:
        if text == "[DONE]":
            self._ended = True
            return
        try:
            event = json.loads(text)
        except (ValueError, RecursionError):
            self._failure = RequestFailure("not_json", f"an event without JSON: {text[:300]}")
            return
        if not isinstance(event, dict):
            return
        error = event.get("error") or (event if event.get("type") == "error" else None)
        if error and not str(event.get("type")).startswith("response."):  # those hold a whole response, read later
            self._error = error if isinstance(error, dict) else {"message": str(error)}
        else:
            self.reply.add(event)
            self._ended = self.reply.last


@dataclass
class Lines:
    """Bytes as lines, which end with CR, LF or both; what has no LF yet waits."""

    _rest: list[bytes] = field(default_factory=list)

    def split(self, chunk: bytes) -> Iterator[str]:
        self._rest.append(chunk)
        if b"\n" not in chunk:
            return
        *lines, rest = b"".join(self._rest).split(b"\n")
        self._rest = [rest]
        for line in lines:
            for part in line.removesuffix(b"\r").split(b"\r"):
                yield part.decode("utf-8", "replace")


def error_status(error: JSONObject) -> int:
    """The HTTP status that an error means."""
    for name in ("code", "status", "type"):
        value = error.get(name)
        if isinstance(value, int | str) and str(value).isdecimal() and 400 <= int(value) < 600:
            return int(value)
        if isinstance(value, str) and value in ERROR_STATUS:
            return ERROR_STATUS[value]
    return 400 if error.get("code") == "tool_use_failed" else 500
