"""gemini/NAME: Google's Gemini models through their OpenAI-compatible endpoint.

Chat completions with three differences. A call carries a thought signature (extra_content) that goes back with it in
every later turn, whatever the history policy says, because the API refuses a conversation without it; ids may be empty
and are made up; thinking is switched by a configuration of Google's own, and its summaries come in <thought> tags.

Left out: the native API; signatures of texts, which the API does not insist on; sending summaries of thoughts back,
which the signature stands for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.models.api import connection, openai
from harness.models.api.chat import ChatDialect
from harness.models.api.connection import AIOHTTP, EndpointSettings
from harness.models.api.decoding import GEMINI_OPTIONS
from harness.models.api.endpoint import EndpointModel
from harness.models.api.lost_calls import says_lost
from harness.models.api.reasoning import gemini_switch
from harness.models.api.refusals import Refusals
from harness.models.api.transport import Transport
from harness.models.api.wire import RequestFailure, WireRequest
from harness.types import JSONObject, Model, ModelRequest, Reply

if TYPE_CHECKING:
    from harness.models import ModelOptions

GEMINI_URL = "https://generativelanguage.googleapis.com/v1beta/openai"

HELP = "gemini/NAME asks Google's Gemini models: GEMINI_API_KEY or GOOGLE_API_KEY"
KEYS = ("GEMINI_API_KEY", "GOOGLE_API_KEY")
ARGS = connection.CONNECTION_ARGS
HEADERS = True


def ready(environ: Mapping[str, str]) -> str | None:
    """None where a model can be reached, else what to do."""
    if any(environ.get(key, "").strip() for key in KEYS):
        return None
    return "no key: export GEMINI_API_KEY=KEY"


def load(name: str, options: ModelOptions) -> Model:
    """The model NAME. Raises UsageError for a missing key or name, and for arguments that are unknown or malformed."""
    if not name.strip():
        raise UsageError("gemini/ needs the name of a model, for example gemini/gemini-2.5-flash.")
    settings = read_settings(name, options)
    full_name = f"gemini/{name}"
    dialect = GeminiDialect(name, partial(gemini_switch, full_name), Refusals(full_name, {}, settings.extra_body))
    identity = connection.identity_of("gemini", name, settings, options)
    return EndpointModel(identity, settings, dialect, connect, options.redact)


def read_settings(name: str, options: ModelOptions) -> EndpointSettings:
    """Registers every secret before anything can fail, then reads arguments, URL and key."""
    environ, url = options.environ, (options.base_url or "").strip()
    held = [environ.get(variable, "").strip() for variable in KEYS]
    key = options.args.get("api_key", "").strip() or next(filter(None, held), "")
    for secret in (key, *held):
        connection.register_secrets(options.redact, secret, url, environ.get("OPENAI_CUSTOM_HEADERS", ""))
    connection.check_args(f"gemini/{name}", options.args, ARGS)
    if not key and not url:
        raise UsageError(f"gemini/{name} needs a key: set GEMINI_API_KEY, or give --model-arg api_key=KEY.")
    return connection.read_connection(options, url or GEMINI_URL, key)


def connect(settings: EndpointSettings) -> Transport:
    """What carries the requests, without the organisation and the headers of OpenAI's variables."""
    return openai.light_transport(settings) if settings.client == AIOHTTP else client_transport(settings)


def client_transport(settings: EndpointSettings) -> Transport:
    """The client, without what it takes from OpenAI's variables by itself."""
    from openai import Omit

    lines = os.environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines()
    hidden: dict[str, Any] = {line.partition(":")[0].strip(): Omit() for line in lines if ":" in line}
    transport = openai.client_transport(replace(settings, headers={**hidden, **settings.headers}))
    transport.client.organization = transport.client.project = None
    return transport


THOUGHT = re.compile(r"\s*<thought>(.*?)</thought>\s*", re.DOTALL)
UNSIGNED = ("gemini-1", "gemini-2")
"""Models that do not insist on signatures."""
SKIPPED: JSONObject = {"extra_content": {"google": {"thought_signature": "skip_thought_signature_validator"}}}
"""What the API takes for the signature of a call that it did not make."""
ABOUT_THINKING = re.compile(r"thinking|thought|reasoning_effort", re.IGNORECASE)


class GeminiDialect(ChatDialect):
    """Chat completions as Google's compatible endpoint takes them."""

    hint = "does the base URL end in /openai?"
    sampling_options = GEMINI_OPTIONS

    def complete_reply(self, reply: Reply, choice: JSONObject, request: ModelRequest) -> Reply:
        """Summaries of thoughts are no part of what was said, and are not sent back. A call that the API lost came
        without the signature that it wants back."""
        message = replace(reply.message, echo=())
        if says_lost(choice) and not self.model.startswith(UNSIGNED):
            message = replace(message, tool_calls=tuple(replace(call, echo=SKIPPED) for call in message.tool_calls))
        found = THOUGHT.match(message.content)
        if found and not message.reasoning:
            message = replace(message, reasoning=found[1].strip() or None, content=message.content[found.end() :])
        return replace(reply, message=message)

    def read_failure(self, sent: WireRequest, status: int, headers: Mapping[str, str], text: str) -> RequestFailure:
        """A refusal of the switch names thinking, in words that change from model to model; a missing signature also
        has to do with thoughts and is final."""
        failure = super().read_failure(sent, status, headers, text)
        about = failure.stop == "http_400" and "signature" not in text and ABOUT_THINKING.search(text)
        return replace(failure, refused="extra_body") if about else failure
