"""openai/NAME: any endpoint that speaks OpenAI's chat completions or Responses, by way of the `openai` client.

The settings (`load`), and which of the two APIs a model is asked through: endpoint.py sends, chat_wire.py and
responses_wire.py say what. OpenAI's own models from GPT-5.4 on refuse tools with reasoning on chat completions; where
an endpoint says so of another model, that model is moved to Responses for the rest of the run.

Left out: streaming; more than one choice.
"""

from __future__ import annotations

import base64
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.arguments import json_object
from harness.errors import UsageError
from harness.models.chat_wire import ChatDialect, known_replacements
from harness.models.endpoint import (
    PLACEHOLDER_KEY,
    Connection,
    Dialect,
    EndpointModel,
    Identity,
    Settings,
    client_options,
)
from harness.models.responses_wire import ResponsesDialect
from harness.models.switches import OWN_SWITCHES, Refusals, Switch, openai_chat, openai_responses, own_server
from harness.models.wire import Sent, Trouble
from harness.redaction import Redactor, is_secret_name, public_url, userinfo, well_formed
from harness.types import JSONObject, Model, ModelRequest, Reasoning, Reply

if TYPE_CHECKING:
    from harness.models import ModelOptions

log = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"


# --- settings ----------------------------------------------------------------------------------------------------

HELP = "openai/NAME asks any OpenAI-compatible endpoint: OPENAI_API_KEY, or --base-url for your own server"
KEYS = ("OPENAI_API_KEY", "OPENAI_BASE_URL")
CONNECTION_ARGS = ("api_key", "extra_body", "max_retries", "max_retry_wait", "timeout")
"""What every endpoint takes, also Gemini's and Anthropic's."""
ARGS = tuple(sorted((*CONNECTION_ARGS, "api", "organization", "project", "switch")))
APIS = ("auto", "chat", "responses")
TRANSPORT_ARGS = frozenset({"max_retries", "max_retry_wait", "timeout"})
"""They decide how long a run takes and not what is said: a run may be resumed with others."""


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


def identity_of(backend: str, name: str, settings: Settings, options: ModelOptions) -> Identity:
    """The full name, and a fingerprint with everything that decides replies and no secret."""
    args = {
        key: options.redact(value) for key, value in options.args.items() if key not in {"api_key", *TRANSPORT_ARGS}
    }
    fingerprint = {"backend": backend, "name": name, "base_url": public_url(settings.base_url), "args": args}
    if settings.query:
        fingerprint["query"] = options.redact.within(dict(settings.query))
    return Identity(f"{backend}/{name}", fingerprint, options.seed)


def read_settings(name: str, options: ModelOptions) -> Settings:
    """Registers every secret before anything can fail, then reads arguments, URL and key."""
    args, environ = options.args, options.environ
    url = (options.base_url or environ.get("OPENAI_BASE_URL") or "").strip()
    key = (args.get("api_key") or environ.get("OPENAI_API_KEY") or "").strip()
    register_secrets(options.redact, key, url, environ.get("OPENAI_CUSTOM_HEADERS", ""))
    known_arguments(f"openai/{name}", args, ARGS)
    if not key and not url:
        raise UsageError(
            f"openai/{name} needs a key: set OPENAI_API_KEY, give --model-arg api_key=KEY, "
            "or name your own server with --base-url."
        )
    return replace(
        read_connection(options, url or OPENAI_URL, key),
        organization=args.get("organization") or environ.get("OPENAI_ORG_ID"),
        project=args.get("project") or environ.get("OPENAI_PROJECT_ID"),
    )


def known_arguments(name: str, args: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises UsageError for a --model-arg that a backend does not take."""
    if unknown := sorted(set(args) - set(known)):
        raise UsageError(f"--model-arg {unknown[0]} is unknown to {name}; it knows {', '.join(known)}.")


def read_connection(options: ModelOptions, url: str, key: str) -> Settings:
    """How an endpoint is reached, whichever it is; its secrets are registered already. Raises UsageError."""
    args = options.args
    base_url = read_base_url(url)
    headers = basic_auth(url, explicit_key=bool(args.get("api_key")))
    return Settings(
        base_url=base_url,
        query=dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)),
        headers=headers,
        api_key=PLACEHOLDER_KEY if headers else read_key(key),
        extra_body=read_extra_body(args.get("extra_body"), options.redact),
        timeout=read_number(args, "timeout", 600.0, least=0.001),
        max_retries=int(read_number(args, "max_retries", 4, whole=True)),
        max_retry_wait=read_number(args, "max_retry_wait", 60.0),
        concurrency=max(1, options.concurrency),
    )


def read_key(key: str) -> str:
    """The key, or a placeholder for a server of one's own, which rarely wants one."""
    if not all(" " < character <= "~" for character in key):
        raise UsageError("The API key has a character that no header can hold: a space, a line break or an accent.")
    return key or PLACEHOLDER_KEY


def read_choice(args: Mapping[str, str], key: str, choices: Sequence[str], default: str) -> str:
    """One of a few words. Raises UsageError for another."""
    if (word := args.get(key, default)) not in choices:
        raise UsageError(f"--model-arg {key}={word!r} is not one of {', '.join(choices)}.")
    return word


def register_secrets(redact: Redactor, key: str, url: str, custom_headers: str) -> None:
    """Key, URL, and the headers of a variable such as OPENAI_CUSTOM_HEADERS, which clients read and send themselves."""
    redact.add(key)
    redact.add_url(url)
    for line in custom_headers.splitlines():
        header, _, value = line.partition(":")
        if is_secret_name(header):
            redact.add(value)
            redact.add(value.strip().partition(" ")[2])


def read_base_url(url: str) -> str:
    """The URL without userinfo and query, which travel in a header and as parameters: clients log URLs."""
    import httpx2

    if not url.lower().startswith(("http://", "https://")) or not well_formed(url) or re.search(r"\s", url):
        raise UsageError(
            "The base URL (--base-url, or the environment's) must look like http://HOST:PORT/v1 or https://HOST/v1."
        )
    try:
        return str(httpx2.URL(public_url(url))).rstrip("/")
    except httpx2.InvalidURL as error:
        raise UsageError(f"The base URL {public_url(url)} is malformed: {error}.") from None


def basic_auth(url: str, *, explicit_key: bool) -> dict[str, str]:
    """The Authorization header of a URL's userinfo. A key from the environment yields to it, a given one conflicts."""
    pair = unquote(userinfo(url))
    if not pair:
        return {}
    if explicit_key:
        raise UsageError(
            "The base URL holds a user and password, and api_key is given as well: both need the Authorization header, "
            "so give one of them."
        )
    pair = pair if ":" in pair else f"{pair}:"
    return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}


def read_number(args: Mapping[str, str], key: str, default: float, *, least: float = 0.0, whole: bool = False) -> float:
    text = args.get(key, str(default))
    try:
        number = float(int(text)) if whole else float(text)
    except (ValueError, OverflowError):
        number = math.nan
    if not (least <= number < math.inf):
        kind = "a whole number" if whole else "a number of seconds"
        raise UsageError(f"--model-arg {key}={text!r} is not {kind} of at least {least:g}.")
    return number


def read_extra_body(text: str | None, redact: Redactor) -> JSONObject:
    """Fields merged into every request, as one JSON object."""
    if text is None:
        return {}
    try:
        extra = json_object(text)
    except ValueError as error:
        raise UsageError(f"--model-arg extra_body must be a JSON object: {error}.") from None
    if extra.get("stream"):
        raise UsageError("--model-arg extra_body cannot ask for stream: whole replies are read.")
    for secret in secret_values(extra):
        redact.add(secret)
    return extra


def secret_values(value: object, name: str = "") -> Iterator[str]:
    """Every string under a name like `api_key`, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from secret_values(item, key if is_secret_name(key) else name)
    elif isinstance(value, list):
        for item in value:
            yield from secret_values(item, name)
    elif isinstance(value, str) and name:
        yield value


# --- which API ---------------------------------------------------------------------------------------------------

RESPONSES_FIRST = re.compile(r"gpt-(5\.([4-9]|\d\d)|[6-9])(?!.*chat)")
"""OpenAI's models that are known to refuse tools with reasoning on chat completions: GPT-5.4 and later."""
WANTS_RESPONSES = re.compile(r"\bv1/responses\b|\bresponses api\b", re.IGNORECASE)


def is_openai(base_url: str) -> bool:
    """Whether requests go to OpenAI itself, in any of its regions."""
    host = urlsplit(base_url).hostname or ""
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def dialect_of(name: str, settings: Settings, args: Mapping[str, str]) -> Dialect:
    """The API that a model is asked through, and the switch that its endpoint has. Raises UsageError."""
    api = read_choice(args, "api", APIS, "auto")
    full_name, own = f"openai/{name}", not is_openai(settings.base_url)
    how = read_choice(args, "switch", OWN_SWITCHES, "template" if own else "effort")
    switch: Switch = partial(openai_chat, full_name)
    if own or how != "effort":
        switch = partial(own_server, full_name, how=how)
    chat = ChatDialect(name, switch, Refusals(full_name, known_replacements(name), settings.extra_body))
    items: Switch = (lambda reasoning: {}) if how == "none" else partial(openai_responses, full_name)
    responses = ResponsesDialect(name, items, Refusals(full_name, known_replacements(name), settings.extra_body))
    if api == "responses" or (api == "auto" and not own and RESPONSES_FIRST.match(name)):
        return responses
    return chat if api == "chat" else MovingDialect(full_name, chat, responses)


class MovingDialect:
    """Chat completions, until the endpoint says that the model wants Responses: then those for the rest of the run."""

    def __init__(self, name: str, chat: ChatDialect, responses: ResponsesDialect) -> None:
        self.hint = chat.hint
        self._name = name
        self._chat = chat
        self._responses = responses
        self._moved = False

    @property
    def refusals(self) -> Refusals:
        return self._responses.refusals if self._moved else self._chat.refusals

    def switch(self, reasoning: Reasoning) -> JSONObject:
        return self._responses.switch(reasoning) if self._moved else self._chat.switch(reasoning)

    def write(self, request: ModelRequest) -> Sent:
        return self._responses.write(request) if self._moved else self._chat.write(request)

    def read(self, sent: Sent, content: bytes, request: ModelRequest) -> Reply | Trouble:
        return self._of(sent).read(sent, content, request)

    def trouble(self, sent: Sent, status: int, headers: Mapping[str, str], text: str) -> Trouble:
        trouble = self._of(sent).trouble(sent, status, headers, text)
        if self._of(sent) is self._chat and status in {400, 404} and WANTS_RESPONSES.search(text):
            return replace(trouble, refused=self._chat.path)  # not a parameter of it but the whole API
        return trouble

    def adapt(self, trouble: Trouble, sent: Sent) -> bool:
        if trouble.refused != self._chat.path:
            return self._of(sent).adapt(trouble, sent)
        if not self._moved:
            log.warning("%s wants Responses: from now on it is asked through /v1/responses", self._name)
        self._moved = True
        return True

    def _of(self, sent: Sent) -> ChatDialect | ResponsesDialect:
        return self._chat if sent.path == self._chat.path else self._responses


# --- the client --------------------------------------------------------------------------------------------------


def connect(settings: Settings) -> Connection:
    """The one client of a run."""
    import openai

    options = client_options(settings, openai)
    client = openai.AsyncOpenAI(organization=settings.organization, project=settings.project, **options)
    return Connection(client, openai)
