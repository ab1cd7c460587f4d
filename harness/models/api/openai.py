"""openai/NAME: any endpoint that speaks OpenAI's chat completions or Responses.

The settings (`load`), and which of the two APIs a model is asked through: endpoint.py sends, chat.py and responses.py
say what. OpenAI's own models from GPT-5.4 on refuse tools with reasoning on chat completions; where
an endpoint says so of another model, that model is moved to Responses for the rest of the run.

Left out: more than one choice.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from harness.errors import UsageError
from harness.formats import OPTION, get_format
from harness.models.api.chat import ChatDialect, known_replacements
from harness.models.api.connection import (
    AIOHTTP,
    CONNECTION_ARGS,
    EndpointSettings,
    check_args,
    identity_of,
    read_choice,
    read_connection,
    read_header_lines,
    register_secrets,
)
from harness.models.api.decoding import OPENAI_OPTIONS
from harness.models.api.endpoint import Dialect, EndpointModel
from harness.models.api.reasoning import (
    OWN_SWITCHES,
    Switch,
    openai_chat_switch,
    openai_responses_switch,
    own_server_switch,
    switch_of_host,
)
from harness.models.api.refusals import Refusals
from harness.models.api.responses import ResponsesDialect
from harness.models.api.text_calls import TextDialect
from harness.models.api.transport import Transport
from harness.models.api.wire import RequestFailure, WireRequest
from harness.types import JSONObject, Model, ModelRequest, Reasoning, Reply

if TYPE_CHECKING:
    from harness.models import ModelOptions
    from harness.models.api.client_transport import ClientTransport

log = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"


# --- settings ----------------------------------------------------------------------------------------------------

HELP = "openai/NAME asks any OpenAI-compatible endpoint: OPENAI_API_KEY, or --base-url for your own server"
KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
ARGS = tuple(sorted((*CONNECTION_ARGS, "api", OPTION, "organization", "project", "switch")))
HEADERS = True
APIS = ("auto", "chat", "responses")


def ready(environ: Mapping[str, str]) -> str | None:
    """None where a model can be reached, else what to do."""
    if any(environ.get(key, "").strip() for key in KEYS):
        return None
    return "no key: export OPENAI_API_KEY=KEY (for a server of your own, OPENAI_BASE_URL=URL)"


def load(name: str, options: ModelOptions) -> Model:
    """The model NAME of an OpenAI-compatible endpoint.

    Raises UsageError for a missing key or name, a malformed URL, and arguments that are unknown or malformed.
    """
    if not name.strip():
        raise UsageError("openai/ needs the name of a model, for example openai/gpt-4.1-mini.")
    settings = read_settings(name, options)
    identity = identity_of("openai", name, settings, options)
    dialect = dialect_of(name, settings, options.args)
    return EndpointModel(identity, settings, dialect, connect, options.redact)


def read_settings(name: str, options: ModelOptions) -> EndpointSettings:
    """Registers every secret before anything can fail, then reads arguments, URL and key."""
    args, environ = options.args, options.environ
    url = (options.base_url or environ.get("OPENAI_BASE_URL") or "").strip()
    key = (args.get("api_key") or environ.get("OPENAI_API_KEY") or "").strip()
    register_secrets(options.redact, key, url, environ.get("OPENAI_CUSTOM_HEADERS", ""))
    check_args(f"openai/{name}", args, ARGS)
    if not key and not url:
        raise UsageError(
            f"openai/{name} needs a key: set OPENAI_API_KEY, give --model-arg api_key=KEY, "
            "or name your own server with --base-url."
        )
    return replace(
        read_connection(options, url or OPENAI_URL, key),
        organization=args.get("organization") or environ.get("OPENAI_ORG_ID"),
        project=args.get("project") or environ.get("OPENAI_PROJECT_ID"),
        custom_headers=read_header_lines(environ.get("OPENAI_CUSTOM_HEADERS", "")),
    )


# --- which API ---------------------------------------------------------------------------------------------------

RESPONSES_FIRST = re.compile(r"gpt-(5\.([4-9]|\d\d)|[6-9])(?!.*chat)")
"""OpenAI's models that are known to refuse tools with reasoning on chat completions: GPT-5.4 and later."""
WANTS_RESPONSES = re.compile(r"\bv1/responses\b|\bresponses api\b", re.IGNORECASE)


def is_openai(base_url: str) -> bool:
    """Whether requests go to OpenAI itself, in any of its regions."""
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def dialect_of(name: str, settings: EndpointSettings, args: Mapping[str, str]) -> Dialect:
    """The API that a model is asked through, and the switch that its endpoint has. Raises UsageError."""
    api = read_choice(args, "api", APIS, "auto")
    full_name, own = f"openai/{name}", not is_openai(settings.base_url)
    usual = switch_of_host(urlsplit(settings.base_url).hostname or "") if own else "effort"
    how = read_choice(args, "switch", OWN_SWITCHES, usual)
    switch: Switch = partial(openai_chat_switch, full_name)
    if own or how != "effort":
        switch = partial(own_server_switch, full_name, how=how)
    refusals = Refusals(full_name, known_replacements(name), settings.extra_body)
    chat = chat_dialect_of(name, switch, refusals, args)
    if not own:
        chat.sampling_options = OPENAI_OPTIONS
    if OPTION in args:
        if api == "responses":
            raise UsageError(f"--model-arg {OPTION}={args[OPTION]} is for chat completions: leave api=responses out.")
        return chat
    items: Switch = (lambda reasoning: {}) if how == "none" else partial(openai_responses_switch, full_name)
    responses = ResponsesDialect(name, items, refusals)  # what was learnt on the one holds on the other
    if api == "responses" or (api == "auto" and not own and RESPONSES_FIRST.match(name)):
        return responses
    return chat if api == "chat" else FallbackDialect(full_name, chat, responses)


def chat_dialect_of(name: str, switch: Switch, refusals: Refusals, args: Mapping[str, str]) -> ChatDialect:
    return (
        TextDialect(name, switch, refusals, get_format(args[OPTION]))
        if OPTION in args
        else ChatDialect(name, switch, refusals)
    )


class FallbackDialect:
    """Chat completions, until the endpoint says that the model wants Responses: then those for the rest of the run."""

    def __init__(self, name: str, chat: ChatDialect, responses: ResponsesDialect) -> None:
        self.hint = chat.hint
        self.sampling_options = chat.sampling_options
        self._name = name
        self._chat = chat
        self._responses = responses
        self._moved = False
        self.refusals = chat.refusals

    def switch(self, reasoning: Reasoning) -> JSONObject:
        return self._responses.switch(reasoning) if self._moved else self._chat.switch(reasoning)

    def make_request(self, request: ModelRequest) -> WireRequest:
        return self._responses.make_request(request) if self._moved else self._chat.make_request(request)

    def read_reply(self, sent: WireRequest, content: bytes, request: ModelRequest) -> Reply | RequestFailure:
        return self._of(sent).read_reply(sent, content, request)

    def read_failure(self, sent: WireRequest, status: int, headers: Mapping[str, str], text: str) -> RequestFailure:
        failure = self._of(sent).read_failure(sent, status, headers, text)
        if self._of(sent) is self._chat and status in {400, 404} and WANTS_RESPONSES.search(text):
            return replace(failure, refused=self._chat.path)  # not a parameter of it but the whole API
        return failure

    def adapt(self, failure: RequestFailure, sent: WireRequest) -> bool:
        if failure.refused != self._chat.path:
            return self._of(sent).adapt(failure, sent)
        if not self._moved:
            log.warning("%s wants Responses: from now on it is asked through /v1/responses", self._name)
        self._moved = True
        return True

    def _of(self, sent: WireRequest) -> ChatDialect | ResponsesDialect:
        return self._chat if sent.path == self._chat.path else self._responses


# --- the transport --------------------------------------------------------------------------------------------------


def connect(settings: EndpointSettings) -> Transport:
    """What carries the requests of a run."""
    return light_transport(settings) if settings.client == AIOHTTP else client_transport(settings)


def light_transport(settings: EndpointSettings) -> Transport:
    from harness.models.api.aiohttp_transport import AiohttpTransport

    whose = {"OpenAI-Organization": settings.organization, "OpenAI-Project": settings.project}
    key = {"Authorization": f"Bearer {settings.api_key}"}
    return AiohttpTransport(settings, key, whose, settings.custom_headers, settings.headers)


def client_transport(settings: EndpointSettings) -> ClientTransport:
    import openai

    from harness.models.api.client_transport import ClientTransport, client_options

    options = client_options(settings, openai)
    client = openai.AsyncOpenAI(organization=settings.organization, project=settings.project, **options)
    return ClientTransport(client, openai, settings)
