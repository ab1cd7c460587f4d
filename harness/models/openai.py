"""openai/NAME: any endpoint that speaks OpenAI's chat completions, by way of the `openai` client.

Two parts: the settings (`load`), and the model that repeats requests until a reply or a trouble is final. What is sent
and how replies and errors are read is in chat_wire.py.

Two things are done here that the client could do. Retries: its own also repeat an exhausted quota, do not repeat a 200
without choices, and count for nobody. Reading replies: it does not validate, and its typed objects cost more than the
request; so bytes are asked for, and every field is distrusted, because a server's nonsense must become a Reply or a
ModelFailure and never a traceback in the middle of a run.

Left out: streaming; more than one choice; the Responses API (GPT-5.4 and later want it for tools with reasoning);
fields a provider wants echoed with a call (Gemini's thought signatures); a limit on the size of a reply, because the
endpoint is one that the user chose.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import math
import random
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.errors import ModelFailure, UsageError
from harness.models.chat_wire import (
    REPLACEMENTS,
    SHOWN_ERROR,
    Trouble,
    json_object,
    known_replacements,
    read_reply,
    request_body,
    status_trouble,
    text_of,
    well_encoded,
)
from harness.redaction import Redactor, is_secret_name, public_url, userinfo, well_formed
from harness.types import JSONObject, Message, Model, ModelRequest, Reply, Usage

if TYPE_CHECKING:
    # Importing the client takes half a second, so functions do it; `harness list` never pays.
    import openai

    from harness.models import ModelOptions

log = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
PLACEHOLDER_KEY = "no-key"


# --- settings ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Settings:
    """How an endpoint is reached. `max_retries` counts requests after the first; seconds everywhere."""

    base_url: str = OPENAI_URL
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_key: str = field(default=PLACEHOLDER_KEY, repr=False)
    organization: str | None = None
    project: str | None = None
    extra_body: JSONObject = field(default_factory=dict, repr=False)
    timeout: float = 600.0
    max_retries: int = 4
    max_retry_wait: float = 60.0
    concurrency: int = 1


HELP = "any OpenAI-compatible endpoint: OPENAI_API_KEY, or --base-url for your own server"
ARGS = ("api_key", "extra_body", "max_retries", "max_retry_wait", "organization", "project", "timeout")
TRANSPORT_ARGS = frozenset({"max_retries", "max_retry_wait", "timeout"})
"""They decide how long a run takes and not what is said: a run may be resumed with others."""


def load(name: str, options: ModelOptions) -> Model:
    """The model NAME of an OpenAI-compatible endpoint.

    Raises UsageError for a missing key or name, a malformed URL, and arguments that are unknown or malformed.
    """
    if not name.strip():
        raise UsageError("openai/ needs the name of a model, for example openai/gpt-4.1-mini.")
    settings = read_settings(name, options)
    args = {
        key: options.redact(value) for key, value in options.args.items() if key not in {"api_key", *TRANSPORT_ARGS}
    }
    fingerprint = {"backend": "openai", "name": name, "base_url": public_url(settings.base_url), "args": args}
    return ChatModel(name, settings, fingerprint, options.redact, options.seed)


def read_settings(name: str, options: ModelOptions) -> Settings:
    """Registers every secret before anything can fail, then reads arguments, URL and key."""
    args, environ = options.args, options.environ
    url = (options.base_url or environ.get("OPENAI_BASE_URL") or "").strip()
    key = (args.get("api_key") or environ.get("OPENAI_API_KEY") or "").strip()
    register_secrets(options.redact, key, url, environ)
    unknown = sorted(set(args) - set(ARGS))
    if unknown:
        raise UsageError(f"--model-arg {unknown[0]} is unknown to openai/{name}; it knows {', '.join(ARGS)}.")
    base_url = read_base_url(url) if url else OPENAI_URL
    headers = basic_auth(url, explicit_key=bool(args.get("api_key")))
    return Settings(
        base_url=base_url,
        query=dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)),
        headers=headers,
        api_key=PLACEHOLDER_KEY if headers else read_key(name, key, url),
        organization=args.get("organization") or environ.get("OPENAI_ORG_ID"),
        project=args.get("project") or environ.get("OPENAI_PROJECT_ID"),
        extra_body=read_extra_body(args.get("extra_body"), options.redact),
        timeout=read_number(args, "timeout", 600.0, least=0.001),
        max_retries=int(read_number(args, "max_retries", 4, whole=True)),
        max_retry_wait=read_number(args, "max_retry_wait", 60.0),
        concurrency=max(1, options.concurrency),
    )


def read_key(name: str, key: str, url: str) -> str:
    """The key, or a placeholder for a server of one's own, which rarely wants one."""
    if not key and not url:
        raise UsageError(
            f"openai/{name} needs a key: set OPENAI_API_KEY, give --model-arg api_key=KEY, "
            "or name your own server with --base-url."
        )
    if not all(" " < character <= "~" for character in key):
        raise UsageError("The API key has a character that no header can hold: a space, a line break or an accent.")
    return key or PLACEHOLDER_KEY


def register_secrets(redact: Redactor, key: str, url: str, environ: Mapping[str, str]) -> None:
    redact.add(key)
    redact.add_url(url)
    # The client reads this variable itself and sends what is in it.
    for line in environ.get("OPENAI_CUSTOM_HEADERS", "").splitlines():
        header, _, value = line.partition(":")
        if is_secret_name(header):
            redact.add(value)
            redact.add(value.strip().partition(" ")[2])


def read_base_url(url: str) -> str:
    """The URL without userinfo and query, which travel in a header and as parameters: clients log URLs."""
    import httpx2

    if not url.lower().startswith(("http://", "https://")) or not well_formed(url) or re.search(r"\s", url):
        raise UsageError(
            "The base URL (--base-url, OPENAI_BASE_URL) must look like http://HOST:PORT/v1 or https://HOST/v1."
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


# --- the model ---------------------------------------------------------------------------------------------------

FIRST_BACKOFF = 1.0


class ChatModel:
    """A model behind an endpoint. It belongs to one event loop from its first request until `aclose`."""

    def __init__(
        self, name: str, settings: Settings, fingerprint: Mapping[str, Any], redact: Redactor, seed: int | None
    ) -> None:
        self.name = f"openai/{name}"
        self.fingerprint = fingerprint
        self.sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
        self._model = name
        self._settings = settings
        self._redact = redact
        self._random = random.Random(seed)
        self._replaced = known_replacements(name)
        self._refused: set[str] = set()
        self._client: openai.AsyncOpenAI | None = None
        self._slots = asyncio.Semaphore(settings.concurrency)

    async def __call__(self, request: ModelRequest) -> Reply:
        """One turn. A call that waits for its retry keeps its slot: that is what slows a run under a rate limit."""
        client = self._connected()
        async with self._slots:
            return await self._answer(client, request)

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _connected(self) -> openai.AsyncOpenAI:
        if self._client is None:
            self._client = connect(self._settings)
            self._slots = asyncio.Semaphore(self._settings.concurrency)
        return self._client

    async def _answer(self, client: openai.AsyncOpenAI, request: ModelRequest) -> Reply:
        """Sends until there is a reply, a failure that is final, or no attempt left."""
        sent = failed = 0
        while True:
            body = request_body(self._model, request, self._settings.extra_body, self._replaced)
            result = await self._send(client, body, request.messages)
            sent += 1
            if isinstance(result, Reply):
                return replace(result, usage=replace(result.usage, retries=sent - 1))
            if result.refused and self._adapt(result.refused, body):
                continue
            if not result.retry or failed == self._settings.max_retries:
                raise self._failure(result, sent)
            await self.sleep(self._backoff(failed, result.wait))
            failed += 1

    async def _send(self, client: openai.AsyncOpenAI, body: JSONObject, earlier: Sequence[Message]) -> Reply | Trouble:
        """One request. Errors become values, so that no exception with a request in it outlives this function."""
        import httpx2
        import openai

        try:
            # The client's own limit is on every read, which a server that trickles bytes never reaches.
            async with asyncio.timeout(self._settings.timeout):
                response = await client.post("/chat/completions", cast_to=httpx2.Response, body=body)
            return read_reply(response.content, earlier)
        except openai.APIStatusError as error:
            return status_trouble(error.status_code, error.response.headers, text_of(error.response.content))
        except (openai.APITimeoutError, TimeoutError):
            return Trouble("timeout", f"no reply within {self._settings.timeout:g} s")
        except Exception as error:
            # Not only connection errors: a server's headers can make the client raise nearly anything.
            cause = error.__cause__ or error
            return Trouble("connection", f"{type(cause).__name__}: {cause}")

    def _backoff(self, failed: int, asked: float | None) -> float:
        """Exponential with full jitter, but never less than the server asked for, and never more than the cap."""
        cap = self._settings.max_retry_wait
        jittered = self._random.uniform(0.0, min(cap, FIRST_BACKOFF * 2.0 ** min(failed, 16)))
        return min(cap, max(asked or 0.0, jittered))

    def _adapt(self, refused: str, sent: JSONObject) -> bool:
        """Learns, for the rest of the run, that a parameter is not taken. False if there is nothing new to try."""
        if refused not in sent or refused in self._settings.extra_body:
            return False
        parameter = "max_tokens" if refused == "max_completion_tokens" else refused
        if self._replaced.get(parameter, parameter) != refused:
            return True  # another request has learned it meanwhile
        replacement = REPLACEMENTS[refused]
        if refused in self._refused or replacement in self._refused:
            return False
        self._refused.add(refused)
        self._replaced[parameter] = replacement
        log.warning("%s does not take %s: from now on %s is sent", self.name, refused, replacement or "none")
        return True

    def _failure(self, trouble: Trouble, sent: int) -> ModelFailure:
        text = " ".join(self._redact(well_encoded(trouble.text)).split())
        text = text if len(text) <= SHOWN_ERROR else f"{text[:SHOWN_ERROR]}..."
        tries = f" (after {sent} requests)" if sent > 1 else ""
        hint = " (does the base URL end in /v1?)" if trouble.stop == "http_404" else ""
        return ModelFailure(
            f"{self.name}: {text}{hint}{tries}",
            outcome=trouble.outcome,
            stop=trouble.stop,
            usage=Usage(requests=1, retries=sent - 1),
        )


def connect(settings: Settings) -> openai.AsyncOpenAI:
    """The one client of a run: a connection for every slot, and no retries of its own."""
    import httpx2
    import openai

    limits = httpx2.Limits(max_connections=settings.concurrency, max_keepalive_connections=settings.concurrency)
    timeout = httpx2.Timeout(None, connect=min(30.0, settings.timeout))
    return openai.AsyncOpenAI(
        base_url=settings.base_url,
        api_key=settings.api_key,
        organization=settings.organization,
        project=settings.project,
        default_headers=settings.headers,
        default_query=settings.query,
        max_retries=0,
        timeout=timeout,
        http_client=openai.DefaultAsyncHttpxClient(limits=limits, timeout=timeout),
    )
