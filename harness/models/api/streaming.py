"""Whether replies are asked for as streams: by `--model-arg stream=true`, or because the endpoint gives no others."""

from __future__ import annotations

import logging
import re
from dataclasses import replace

from harness.models.api.wire import RequestFailure, WireRequest
from harness.types import JSONObject

log = logging.getLogger(__name__)

NAMED = r"""["'`]?\bstream["'`]?"""
WANTED = re.compile(
    rf"""{NAMED}\s*(?:parameter |option |mode |field )?(?:must|has to|needs to|should|can only)\s+(?:be\s+)?"""
    rf"""(?:set\s+to\s+|enabled|turned on|["'`]?true)"""
    rf"""|{NAMED}\s*(?:=|:|\bto\b)+\s*["'`]?true(?!.{{0,40}}\b(?:not|unsupported)\b)|{NAMED}\s*(?:=|:)\s*["'`]?false.{{0,40}}\b(?:not|unsupported)\b"""
    rf"""|(?:set|enable|use|turn on) (?:the )?{NAMED}(?:ing)?\b|{NAMED}.{{0,40}}\binput should be true"""
    r"|only (?:supports?|allows?|accepts?|works with|available (?:in|with)|support) (?:the )?stream"
    r"|only (?:available|supported) (?:in|with|for) (?:the )?stream|only stream(?:ing)?\b|stream(?:ing)? only"
    r"|(?:for|in) non[- ]?stream(?:ing)? (?:calls|mode|requests)|requires? (?:the )?stream(?:ing)?\b"
    r"|stream(?:ing| mode)? is (?:required|mandatory)"
    r"|non[- ]?stream(?:ing|ed)?\b.{0,40}(?:not (?:be |been )?(?:support|allow|permit|available)|unsupported|disabled)"
    r"|not (?:support|allow|permit)(?:ed|s)? (?:for )?non[- ]?stream",
    re.IGNORECASE | re.DOTALL,
)
"""How endpoints say that they only stream: DashScope, Codex and gateways in front of others."""
NO_USAGE = re.compile(r"stream_options|include_usage", re.IGNORECASE)


class Streaming:
    """How one endpoint is asked for streams, learnt from its refusals for the rest of a run."""

    def __init__(self, name: str, on: bool, extra_body: JSONObject) -> None:
        self._name = name
        self._on = on
        self._extra_body = extra_body
        self._counts = True

    def apply(self, sent: WireRequest) -> WireRequest:
        """The request, asking for a stream where that is wanted; for counts too, where that has to be said."""
        if not self._on:
            return sent
        asked: JSONObject = {"stream": True}
        if self._counts and sent.path.endswith("/chat/completions"):
            asked["stream_options"] = {"include_usage": True}
        return replace(sent, body={**sent.body, **asked, **self._extra_body_options()})

    def learn(self, failure: RequestFailure, sent: WireRequest) -> bool:
        """Learns from a refusal. False if it is about something else, or there is nothing new to try."""
        if not failure.stop.startswith("http_"):
            return False
        if not sent.body.get("stream") and WANTED.search(failure.text):
            if not self._on:
                log.warning("%s only streams: from now on it is asked for streams", self._name)
            self._on = True
            return True
        if "stream_options" in sent.body and NO_USAGE.search(failure.text) and not self._extra_body_options():
            self._counts = False
            return True
        return False

    def _extra_body_options(self) -> JSONObject:
        """What the person wants sent has the last word."""
        return {name: value for name, value in self._extra_body.items() if name == "stream_options"}
