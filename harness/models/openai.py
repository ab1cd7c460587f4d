"""openai/NAME: any endpoint that speaks OpenAI's chat completions, by way of the `openai` client.

Four parts, from pure to not: the settings (`load`), what is sent (`request_body`), what comes back (`read_reply`,
`status_trouble`), and the model that repeats requests until one of the two is final.

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
import itertools
import json
import logging
import math
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.errors import ModelFailure, UsageError
from harness.redaction import Redactor, is_secret_name, public_url, userinfo, well_formed
from harness.types import JSONObject, Message, Model, ModelRequest, Reply, Tool, ToolCall, Usage

if TYPE_CHECKING:
    # Importing the client takes half a second, so functions do it; `harness list` never pays.
    import openai

    from harness.models import ModelOptions

log = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
PLACEHOLDER_KEY = "no-key"
SHOWN_ERROR = 300
"""Characters of a provider's message that are kept: enough for a sentence, too few for an HTML page."""


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
    redact.add(environ.get("OPENAI_API_KEY"))
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

    if not url.lower().startswith(("http://", "https://")) or not well_formed(url):
        raise UsageError(
            "The base URL (--base-url, OPENAI_BASE_URL) must look like http://HOST:PORT/v1 or https://HOST/v1."
        )
    try:
        return str(httpx2.URL(public_url(url)))
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


# --- what is sent ------------------------------------------------------------------------------------------------

FIXED_TEMPERATURE = re.compile(r"o\d|gpt-5(?!.*chat)")
"""Names whose API takes max_completion_tokens for max_tokens and no temperature."""
REPLACEMENTS: Mapping[str, str | None] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
    "temperature": None,
    "seed": None,
}
"""What is sent for a parameter that an endpoint refuses; None: nothing."""
WIRE_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def known_replacements(name: str) -> dict[str, str | None]:
    """What has to be replaced for a model of this name, before any endpoint was asked."""
    fixed = FIXED_TEMPERATURE.match(name.rpartition("/")[2])
    return {"max_tokens": "max_completion_tokens", "temperature": None} if fixed else {}


def request_body(
    name: str, request: ModelRequest, extra_body: JSONObject, replaced: Mapping[str, str | None]
) -> JSONObject:
    sampling = request.sampling
    parameters = {"temperature": sampling.temperature, "max_tokens": sampling.max_tokens, "seed": sampling.seed}
    body: JSONObject = {"model": name, "messages": wire_messages(request.messages, request.tools)}
    if request.tools:
        body["tools"] = [wire_tool(tool) for tool in request.tools]
    for key, value in parameters.items():
        sent_as = replaced.get(key, key)
        if sent_as is not None and value is not None:
            body[sent_as] = value
    return {**body, **extra_body}


def wire_tool(tool: Tool) -> JSONObject:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def wire_messages(messages: Sequence[Message], tools: Sequence[Tool]) -> list[JSONObject]:
    """Our messages in theirs. A missing id is made up from its turn, and its tool messages follow in order."""
    offered = {tool.name for tool in tools}
    wire: list[JSONObject] = []
    turn, unanswered = 0, list[str]()
    for message in messages:
        if message.role == "assistant":
            calls = [wire_call(call, turn, index, offered) for index, call in enumerate(message.tool_calls)]
            unanswered = [call["id"] for call in calls]
            turn += 1
            # With calls an empty content is sent as the null that servers themselves give.
            said = {"role": "assistant", "content": well_encoded(message.content) or (None if calls else "")}
            wire.append({**said, "tool_calls": calls} if calls else said)
        elif message.role == "tool":
            answers = message.tool_call_id or (unanswered[0] if unanswered else made_up_id(turn, 0))
            unanswered = [call_id for call_id in unanswered if call_id != answers]
            wire.append({"role": "tool", "tool_call_id": answers, "content": well_encoded(message.content)})
        else:
            wire.append({"role": message.role, "content": well_encoded(message.content)})
    return wire


def wire_call(call: ToolCall, turn: int, index: int, offered: set[str]) -> JSONObject:
    """A call as it was written, except where a server would refuse the whole conversation for it.

    Arguments that are no JSON object become {} and impossible names lose their characters; the model has its error in
    the tool message.
    """
    name = call.name if call.name in offered else wire_name(call.name)
    if call.arguments is None:
        arguments = "{}"
    else:
        arguments = call.raw if call.raw.strip() else json.dumps(call.arguments, ensure_ascii=False)
    function = {"name": name, "arguments": well_encoded(arguments)}
    return {"id": call.id or made_up_id(turn, index), "type": "function", "function": function}


def wire_name(name: str) -> str:
    return name if WIRE_NAME.fullmatch(name) else re.sub(r"[^A-Za-z0-9_-]", "_", name)[:64] or "unnamed"


def made_up_id(turn: int, index: int) -> str:
    return f"call_{turn}_{index}"


def well_encoded(text: str) -> str:
    """The text with every lone surrogate replaced: JSON can spell them, UTF-8 files and requests cannot hold them."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


# --- what comes back: replies ------------------------------------------------------------------------------------

DEEPEST_ARGUMENTS = 64
LONGEST_ARGUMENTS = 1_000_000
"""Characters. Beyond either limit arguments count as malformed: what handles them later recurses and copies."""
ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


@dataclass(frozen=True, slots=True)
class Trouble:
    """A request without a usable reply: what it means for the episode, and whether to send it again."""

    stop: str
    text: str
    outcome: Literal["model_error", "token_limit", "infrastructure_error"] = "infrastructure_error"
    retry: bool = True
    wait: float | None = None
    """Seconds the server asked us to wait."""
    refused: str | None = None
    """The parameter that the endpoint does not take."""


def read_reply(content: bytes, earlier: Sequence[Message] = ()) -> Reply | Trouble:
    """The first choice of a chat completion; `earlier` messages say which turn this is and which ids are taken."""
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return Trouble("not_json", f"status 200 without JSON: {text_of(content[:SHOWN_ERROR])}")
    choices = payload.get("choices") if isinstance(payload, dict) else None
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    # A router reports an upstream failure as status 200 with an error, beside the choices or in one.
    if not isinstance(choice, dict) or not isinstance(message, dict) or isinstance(choice.get("error"), dict):
        return Trouble("no_choices", f"status 200 without a message: {provider_message(text_of(content))}")
    finish = choice.get("finish_reason")
    finish_reason = well_encoded(finish) if isinstance(finish, str) else None
    return Reply(read_message(message, earlier), read_usage(payload.get("usage")), finish_reason)


def text_of(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def read_message(message: JSONObject, earlier: Sequence[Message]) -> Message:
    """What was said, thought and called; a refusal is what was said where nothing else was."""
    content = texts(message.get("content"))
    told = (texts(message.get("reasoning")), texts(message.get("reasoning_content")), thinking(message.get("content")))
    thoughts = next(filter(None, told), "")
    if not thoughts:
        thoughts, content = split_thoughts(content)
    return Message(
        role="assistant",
        content=well_encoded(content or texts(message.get("refusal"))),
        reasoning=well_encoded(thoughts) or None,
        tool_calls=tuple(read_calls(message, earlier)),
    )


def texts(value: object) -> str:
    """A string as it is, the texts of a list of parts, "" for anything else."""
    if isinstance(value, str):
        return value
    parts = [part.get("text") if isinstance(part, dict) else part for part in value] if isinstance(value, list) else []
    return "".join(part for part in parts if isinstance(part, str))


def thinking(content: object) -> str:
    """The thoughts among the parts of a content, where Mistral puts them."""
    parts = content if isinstance(content, list) else []
    return "".join(texts(part.get("thinking")) for part in parts if isinstance(part, dict))


def split_thoughts(content: str) -> tuple[str, str]:
    """The thoughts of an inline <think> block, and the rest; a block that was never closed is all thoughts.

    Templates that open the block in the prompt leave only its end in the reply.
    """
    opened = content.lstrip().startswith("<think>")
    if not opened and ("<think>" in content or "</think>" not in content):
        return "", content
    thoughts, _, rest = content.lstrip().removeprefix("<think>").partition("</think>")
    return thoughts.strip(), rest.lstrip()


def read_calls(message: JSONObject, earlier: Sequence[Message]) -> Iterator[ToolCall]:
    """The calls of a reply, each with an id of its own; `function_call` is what old servers write for one call."""
    listed = message.get("tool_calls") or message.get("function_call") or []
    taken = {call.id for old in earlier for call in old.tool_calls}
    turn = sum(old.role == "assistant" for old in earlier)
    for index, item in enumerate(listed if isinstance(listed, list) else [listed]):
        call = read_call(item)
        if not call.id or call.id in taken:
            spare = (f"{made_up_id(turn, index)}_{number}" for number in itertools.count(2))
            ids = itertools.chain([made_up_id(turn, index)], spare)
            call = replace(call, id=next(made_up for made_up in ids if made_up not in taken))
        taken.add(call.id)
        yield call


def read_call(item: object) -> ToolCall:
    """One call; without a usable name it is malformed, whatever its arguments are."""
    fields = item if isinstance(item, dict) else {}
    function = fields.get("function")
    function = function if isinstance(function, dict) else fields
    call_id, name = fields.get("id"), function.get("name")
    arguments, raw, error = read_arguments(function.get("arguments") if fields else item)
    if not isinstance(name, str) or not name.strip():
        name, arguments, error = "", None, "the call names no tool"
    return ToolCall(
        well_encoded(call_id) if isinstance(call_id, str) else "", well_encoded(name), arguments, raw, error
    )


def read_arguments(value: object) -> tuple[JSONObject | None, str, str | None]:
    """Arguments, their text, and why it is malformed. "" and null are {}: that is how a call without any is written."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return {}, value or "", None
    if not isinstance(value, str) and deeper_than(value, DEEPEST_ARGUMENTS):
        return None, "", "nested too deeply"
    raw = well_encoded(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    try:
        return json_object(raw), raw, None
    except ValueError as error:
        return None, raw, str(error)


def json_object(text: str) -> JSONObject:
    """A JSON object that can be written again: no NaN, no infinity, bounded. ValueError says what it is instead."""
    if len(text) > LONGEST_ARGUMENTS:
        raise ValueError(f"longer than {LONGEST_ARGUMENTS} characters")
    try:
        value = json.loads(text, parse_constant=finite, parse_float=finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"invalid JSON: {error}") from None
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    if deeper_than(value, DEEPEST_ARGUMENTS):
        raise ValueError("nested too deeply")
    if ESCAPED_SURROGATE.search(text):
        value = json.loads(well_encoded(json.dumps(value, ensure_ascii=False)))
    return dict(value)


def finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no JSON number")
    return number


def deeper_than(value: object, limit: int) -> bool:
    level = [value]
    for _ in range(limit):
        level = [
            child
            for item in level
            for child in (item.values() if isinstance(item, dict) else item if isinstance(item, list) else ())
        ]
    return bool(level)


def read_usage(usage: object) -> Usage:
    """Tokens of one request; a server that does not count gives zeros."""
    fields = usage if isinstance(usage, dict) else {}
    details = fields.get("completion_tokens_details")
    return Usage(
        input_tokens=count(fields.get("prompt_tokens")),
        output_tokens=count(fields.get("completion_tokens")),
        reasoning_tokens=count(details.get("reasoning_tokens") if isinstance(details, dict) else None),
        requests=1,
    )


def count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53 else 0


# --- what comes back: errors -------------------------------------------------------------------------------------

REPEATED = frozenset({408, 409, 429})
EXHAUSTED = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
TOO_LONG = re.compile(
    r"context[ _-]?(length|size|window)|maximum (context|prompt|model|input) length|(prompt|input|request) is too long"
    r"|input token count|too many (input )?tokens|tokens exceed|reduce the length of the|max_new_tokens.{0,9} must be",
    re.IGNORECASE,
)
"""How OpenAI, vLLM, SGLang, llama.cpp, TGI, Anthropic, Gemini and Mistral say that a prompt does not fit."""
REFUSAL = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not permitted|not allowed|forbidden", re.IGNORECASE
)
PARAMETER = re.compile(r"\b(max_completion_tokens|max_tokens|temperature|seed)\b")


def status_trouble(status: int, headers: Mapping[str, str], text: str) -> Trouble:
    """What an HTTP error means. Wrong keys and refused requests are final; limits and server errors are not."""
    stop, sentence = f"http_{status}", f"HTTP {status}: {provider_message(text)}"
    fields = error_fields(text)
    kinds = {kind for kind in (fields.get("code"), fields.get("type")) if isinstance(kind, str)}
    if status == 402 or kinds & EXHAUSTED:
        return Trouble("insufficient_quota", sentence, retry=False)
    if status in REPEATED or status >= 500:
        return Trouble(stop, sentence, wait=retry_after(headers, time.time()))
    if status in {400, 413, 422} and ("context_length_exceeded" in kinds or TOO_LONG.search(sentence)):
        return Trouble("context_length", sentence, "token_limit", retry=False)
    refused = refused_parameter(fields, text) if status in {400, 422} else None
    return Trouble(stop, sentence, "model_error", retry=False, refused=refused)


def refused_parameter(fields: JSONObject, text: str) -> str | None:
    """The one of our parameters that an endpoint says it does not take; the first it names is the one it means."""
    if not REFUSAL.search(text):
        return None
    named = PARAMETER.search(texts(fields.get("param"))) or PARAMETER.search(text)
    return named[1] if named else None


def error_fields(text: str) -> JSONObject:
    """The error object of a body: {"error": {...}} by OpenAI, the body itself by others, {} if there is none."""
    try:
        payload = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    fields = payload.get("error", payload) if isinstance(payload, dict) else {}
    return fields if isinstance(fields, dict) else {"message": fields}


def provider_message(text: str) -> str:
    fields = error_fields(text)
    said = fields.get("message") or fields.get("detail")
    return said if isinstance(said, str) else text.strip() or "no message"


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds the server wants us to wait, by retry-after-ms, or retry-after as seconds or as a date."""
    for header, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(header, "")) * unit
        except ValueError:
            continue
        if seconds >= 0:
            return seconds
    try:
        date = parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, date.replace(tzinfo=date.tzinfo or UTC).timestamp() - now)
    except (ValueError, OverflowError):
        return None


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
        return ModelFailure(f"{self.name}: {text}{hint}{tries}", outcome=trouble.outcome, stop=trouble.stop)


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
