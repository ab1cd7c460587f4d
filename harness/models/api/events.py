"""Replies that come as server-sent events, without I/O: bytes in as they arrive, and one body out, as without a stream.

    stream = open_stream(request)            # None: the request asks for none
    stream.feed(chunk)                       # True: nothing more is wanted
    stream.finish(response)                  # the Response that the same reply would have been, or a RequestFailure

An error among the events is a response with the status that it names. A stream that ends before it said why the reply
ends is a connection that broke. streamed_chat.py and streamed_items.py put replies together.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Protocol

from harness.models.api.hidden_errors import status_of
from harness.models.api.streamed_chat import ChatReply
from harness.models.api.streamed_items import ClaudeReply, ResponsesReply
from harness.models.api.transport import Response
from harness.models.api.wire import RequestFailure, WireRequest
from harness.types import JSONObject

MAX_STREAM_BYTES = 64 * 2**20
"""As of a reply that comes whole."""


class Assembly(Protocol):
    """A reply that is put together from its events."""

    last: bool
    """Whether the events said that no other follows."""

    @property
    def whole(self) -> bool:
        """Whether they said why the reply ends. Without that it is a torn one, whatever ends the stream."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is whole also where the stream just stops."""
        ...

    def add(self, event: JSONObject) -> None: ...
    def body(self) -> JSONObject: ...


def open_stream(sent: WireRequest) -> EventStream | None:
    """What reads the answer to a request; None where it asks for no stream."""
    return make_stream(sent.path) if sent.body.get("stream") else None


def make_stream(path: str) -> EventStream:
    if path.endswith("/messages"):
        return EventStream(ClaudeReply())
    return EventStream(ResponsesReply() if path.endswith("/responses") else ChatReply())


def read_unasked(sent: WireRequest, response: Response) -> Response | RequestFailure:
    """An answer that came whole. Some stream whatever they are asked for, or do not say that they do."""
    if not (200 <= response.status < 300 and EVENTS.match(response.content)):
        return response
    stream = make_stream(sent.path)
    stream.feed(response.content)
    return stream.finish(response)


EVENTS = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:", re.DOTALL)
"""How a body begins that holds events: with a field, or with a comment."""
FIELD = re.compile(r"(data|event|error|id|retry)(?::[ ]?(.*)|$)", re.DOTALL)


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
    _name: str = ""
    _data: list[str] = field(default_factory=list)
    _stray: list[str] = field(default_factory=list)
    _read: int = 0
    _plain: JSONObject | None = None

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
            self._read_stray()
        if self._failure is not None:
            return self._failure
        if self._error is not None:
            content = json.dumps({"error": self._error}).encode()
            return Response(error_status(self._error), response.headers, content)
        if self._plain is not None:
            return Response(response.status, response.headers, json.dumps(self._plain).encode())
        if not (self.reply.whole if self._ended else self.reply.closed):
            return RequestFailure("connection", "the stream ended before the reply was whole")
        return Response(response.status, response.headers, json.dumps(self.reply.body()).encode())

    @property
    def _done(self) -> bool:
        return self._ended or self._error is not None or self._failure is not None

    def _read_line(self, line: str) -> None:
        """A line of an event; an empty one ends it."""
        found = FIELD.match(line.lstrip("\ufeff"))
        if found is None and line and line[:1] != ":":
            self._stray.append(line)
        elif found is not None and found[1] == "event":
            self._name = (found[2] or "").strip()
        elif found is not None and found[1] in ("data", "error"):  # llama.cpp has a field of its own for errors
            self._name = "error" if found[1] == "error" else self._name
            self._data.append(found[2] or "")
        elif not line:
            text, name = "\n".join(self._data).strip(), self._name
            self._data, self._name = [], ""
            if text:
                self._read_event(text, name)

    def _read_event(self, text: str, name: str) -> None:
        if text == "[DONE]":
            self._ended = True
            return
        event = read_json(text)
        self._read += 1
        if name == "error" or (isinstance(event, dict) and (error := error_of(event)) is not None):
            self._error = _as_error(event, text) if name == "error" else error
        elif event is None and text != "null":
            self._failure = RequestFailure("not_json", f"an event without JSON: {text[:300]}")
        elif isinstance(event, dict):
            self.reply.add(event)
            self._ended = self.reply.last

    def _read_stray(self) -> None:
        """Lines outside of events: an error, or the whole reply, that was sent as it is."""
        event = read_json("\n".join(self._stray))
        if isinstance(event, dict) and not self._done:
            self._error = error_of(event)
            self._plain = None if self._read else event


def read_json(text: str) -> object:
    """A JSON value; None where it is none."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value


def error_of(event: JSONObject) -> JSONObject | None:
    """The error that an event is; None: it is none. Events of Responses hold a whole response, which is read later."""
    if str(event.get("type")).startswith("response."):
        return None
    if error := event.get("error"):
        return _as_error(error, str(error))
    bare = not event.get("choices") and ("detail" in event or "error_code" in event or "error_msg" in event)
    return event if bare or "error" in (event.get("type"), event.get("object")) else None


def _as_error(error: object, text: str) -> JSONObject:
    """An error as an object with a message; an object that holds one, that one."""
    if not isinstance(error, dict):
        return {"message": text}
    inner = error.get("error")
    return _as_error(inner, str(inner)) if inner else error


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
    """The HTTP status that an error means; one that says none is a fault of the server's."""
    return 400 if "failed_generation" in error else status_of(error) or 500
