"""What carries a request to an endpoint and its answer back: one Protocol, which endpoint.py sends through.

aiohttp_transport.py is the default and the light one; client_transport.py sends through a provider's own client
(`--model-arg client=openai`). Whatever goes wrong below HTTP is a RequestFailure, no exception: those of clients hold
the request and its key. A status other than 2xx is an answer, and whoever asked reads it.

A request that asks for a stream brings what reads one: a body of server-sent events goes there as it arrives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from harness.models.api.wire import RequestFailure
from harness.types import JSONObject


@dataclass(frozen=True, slots=True)
class Response:
    """An answer as it came, decompressed. `headers` finds a name in any case."""

    status: int
    headers: Mapping[str, str]
    content: bytes


class Sink(Protocol):
    """What reads a stream as it arrives."""

    def feed(self, chunk: bytes) -> bool:
        """True: nothing more is wanted."""
        ...


REST_SECONDS = 0.1
"""What the end of a stream may take behind its last event, for its connection to be used again."""


def has_events(status: int, headers: Mapping[str, str]) -> bool:
    """Whether a body is a stream of events."""
    return 200 <= status < 300 and headers.get("content-type", "").lower().startswith("text/event-stream")


class Transport(Protocol):
    """It belongs to one event loop from its first `post` until `aclose`, and may be cancelled at any time."""

    async def post(self, path: str, body: JSONObject, sink: Sink | None = None) -> Response | RequestFailure:
        """Sends a JSON body to a path below the base URL. How long an answer may take is the caller's to say. Events
        go to the sink, and the Response then has no content."""
        ...

    async def aclose(self) -> None: ...


def connection_failure(error: BaseException) -> RequestFailure:
    """A request that broke down below HTTP, in the words of what broke it."""
    return RequestFailure("connection", f"{type(error).__name__}: {error}")


def timeout_failure(seconds: float) -> RequestFailure:
    return RequestFailure("timeout", f"no reply within {seconds:g} s")
