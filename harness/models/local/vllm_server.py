"""vllm-server/URL and vllm-server/DIR: a model behind vLLM's server, whose replies are read again on this side.

    harness eval --model vllm-server/http://127.0.0.1:8000/v1 --tasks 'micro_*'
    harness eval --model vllm-server/DIR --tasks 'micro_*'        starts a server for the run, and ends it with the run

vLLM's own parsers lose malformed calls and take a reply whose reasoning never ended for reasoning alone. So the token
ids of every reply are asked for (`return_token_ids`), turned back into the text that the network wrote, and parsed by
the format of harness.formats; that parse decides, and a note in the record says where the server's calls differ.
Earlier turns go back as prompting.py writes them for hf/ and vllm/: the three backends show a network the same prompt.

The text comes from the directory's tokenizer, or for a URL from the server's /detokenize; a URL's format is named by
--model-arg format=NAME or told from the first rendered prompt. A server that returns no token ids, or whose format is
unknown, is believed.

Left out: adapters by name; Responses; streaming.
"""

from __future__ import annotations

import asyncio
import json
import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from harness import formats
from harness.data.arguments import parse_json_object
from harness.errors import ModelFailure, UsageError
from harness.formats import Format
from harness.key_shapes import is_secret_name
from harness.models import ModelOptions
from harness.models.api import connection, openai
from harness.models.api.certificates import verify_option
from harness.models.api.chat import ChatDialect
from harness.models.api.connection import EndpointSettings, ModelIdentity
from harness.models.api.endpoint import EndpointModel
from harness.models.api.lost_calls import note_unread_calls
from harness.models.api.reasoning import Switch, own_server_switch
from harness.models.api.refusals import Refusals
from harness.models.api.wire import RequestFailure, WireRequest, read_count, read_payload
from harness.models.local import prompting
from harness.models.local.folder import SERVED_ARCHITECTURES, check_folder
from harness.models.local.packages import check_packages, find_missing_packages
from harness.models.local.prompting import OPEN_REASONING, Mend, chat_messages, with_reasoning_history
from harness.models.local.tokenizer import TURN_END_TOKENS, ModelTokenizer, open_tokenizer, reasoning_tokens
from harness.models.local.vllm_process import ServerProcess
from harness.redaction import public_url
from harness.runs.unread_calls import TOOL_PARSERS
from harness.types import JSONObject, Message, Model, ModelRequest, Reasoning, Reply, Tool, Usage

log = logging.getLogger(__name__)

HELP = "vllm-server/URL asks a vLLM server; vllm-server/DIR starts one for the run"
URL_ARGS = ("api_key", "client", "extra_body", "format", "max_retries", "max_retry_wait", "model", "timeout")
FOLDER_ARGS = (
    "chat_template",
    "client",
    "dtype",
    "extra_body",
    "flags",
    "format",
    "max_retries",
    "max_retry_wait",
    "reasoning_parser",
    "start_timeout",
    "timeout",
    "tool_parser",
)
ARGS = tuple(sorted({*URL_ARGS, *FOLDER_ARGS}))
HEADERS = True
PACKAGES = ("vllm",)
REASONING_PARSERS = {"<think>": "qwen3", "[THINK]": "mistral"}
"""vLLM's parser for what a template opens reasoning with."""
NO_PARSER = "none"
SERVED_NAME = "model"
START_TIMEOUT = 600.0
PROMPT_END = 16
"""Tokens at the end of a prompt that are read to see whether it opened a block of reasoning."""


def ready(environ: Mapping[str, str]) -> str | None:
    """None when a server can be started here, else one sentence; a server that runs elsewhere needs nothing here."""
    sentence = find_missing_packages(PACKAGES, "vllm")
    return None if sentence is None else f"vllm-server/URL can be asked, vllm-server/DIR not: {sentence}"


def load(name: str, options: ModelOptions) -> Model:
    """The model of a server at a URL, or of a directory. Raises UsageError for what is wrong with either."""
    if name.lower().startswith(("http://", "https://")):
        return load_url(name, options)
    return load_folder(name, options)


def load_url(url: str, options: ModelOptions) -> VLLMServerModel:
    """The model that a server at `url` serves, which is asked for its name. Raises UsageError where nobody answers."""
    shown = f"vllm-server/{public_url(url)}"
    key = (options.args.get("api_key") or options.environ.get("VLLM_API_KEY") or "").strip()
    connection.register_secrets(options.redact, key, url, "")
    connection.check_args(shown, options.args, URL_ARGS)
    family = formats.get_format(options.args["format"]) if "format" in options.args else None
    settings = connection.read_connection(options, url, key)
    model, longest = served_model(shown, settings, options.args.get("model"))
    identity = connection.identity_of("vllm-server", public_url(url), settings, options)
    identity = replace(identity, fingerprint={**identity.fingerprint, "model": model})
    refusals = Refusals(shown, {}, settings.extra_body)
    dialect = VLLMDialect(model, partial(url_switch, shown), refusals, family)
    dialect.longest = longest
    return VLLMServerModel(identity, settings, dialect, RemoteDetokenizer(settings, model, family), options)


def load_folder(name: str, options: ModelOptions) -> VLLMServerModel:
    """The model of a directory, served at the first request. Raises UsageError for what is missing in it."""
    full, args = f"vllm-server/{name}", options.args
    connection.check_args(full, args, FOLDER_ARGS)
    timeout = connection.read_number(args, "start_timeout", START_TIMEOUT, least=0.001)
    folder = check_folder(full, Path(name), args, SERVED_ARCHITECTURES)
    check_packages(full, PACKAGES, "vllm")
    opened = open_tokenizer(folder, args)
    flags = server_flags(opened, args)
    for secret in secret_flags(flags):
        options.redact.add(secret)
    started_with = ["--model", str(folder.path), *given_template(args), *flags]
    process = ServerProcess(full, started_with, timeout, options.redact)
    settings = connection.read_connection(options, process.url, "")
    extra_body = connection.public_arg(options.redact, args.get("extra_body", ""))
    decides = {**options.redact.redact_json({"flags": flags}), "extra_body": extra_body}
    identity = ModelIdentity(full, {"backend": "vllm-server", **opened.identity(**decides)}, options.seed)
    refusals = Refusals(full, {}, settings.extra_body)
    dialect = VLLMDialect(SERVED_NAME, partial(folder_switch, opened), refusals, opened.format, opened)
    return VLLMServerModel(identity, settings, dialect, LocalDetokenizer(opened), options, process)


def given_template(args: Mapping[str, str]) -> list[str]:
    """The chat template of --model-arg, for the server; its text is in the fingerprint, its place is not."""
    return ["--chat-template", args["chat_template"]] if "chat_template" in args else []


def secret_flags(flags: Sequence[str]) -> Iterator[str]:
    """The values of flags with names like --hf-token, as `--name value ...` or `--name=value`, and what stands under
    such a name in a flag's JSON object."""
    secret = False
    for word in flags:
        name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        if name:
            secret = is_secret_name(name)
        if secret and (equals or not name):
            yield value
        with suppress(ValueError):
            yield from connection.find_secrets(parse_json_object(value))


def server_flags(opened: ModelTokenizer, args: Mapping[str, str]) -> list[str]:
    """What the server is started with, apart from where. Raises UsageError for flags that are no shell words."""
    try:
        more = shlex.split(args.get("flags", ""))
    except ValueError as error:
        raise UsageError(f"--model-arg flags cannot be split into words: {error}.") from None
    template = opened.prompter.template
    thinks = next((parser for mark, parser in REASONING_PARSERS.items() if mark in template), NO_PARSER)
    tool_parser = args.get("tool_parser", TOOL_PARSERS.get(opened.format.name, NO_PARSER))
    reasoning_parser = args.get("reasoning_parser", thinks)
    flags = ["--served-model-name", SERVED_NAME, "--generation-config", "vllm", "--dtype", args.get("dtype", "auto")]
    if tool_parser != NO_PARSER:
        flags += ["--enable-auto-tool-choice", "--tool-call-parser", tool_parser]
    if reasoning_parser != NO_PARSER:
        flags += ["--reasoning-parser", reasoning_parser]
    return [*flags, *more]


def served_model(name: str, settings: EndpointSettings, wanted: str | None) -> tuple[str, int | None]:
    """The name of the model that a server serves, and its context in tokens where it says so."""
    import httpx2

    url = f"{settings.base_url}/models"
    try:
        response = httpx2.get(url, timeout=30.0, **request_options(settings))
        listed = response.json()["data"] if response.status_code == 200 else None
    except (httpx2.HTTPError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{name}: no vLLM server answers there ({type(error).__name__}).") from None
    if listed is None:
        raise UsageError(f"{name}: the server answers /models with HTTP {response.status_code} (does it want a key?).")
    models = [item for item in listed if isinstance(item, dict) and isinstance(item.get("id"), str)]
    found = next((item for item in models if wanted in (None, item["id"])), None)
    if found is None:
        served = ", ".join(item["id"] for item in models) or "none"
        raise UsageError(f"{name}: the server has no model {wanted or ''!r}; it serves {served}.")
    return found["id"], read_count(found.get("max_model_len")) or None


def request_options(settings: EndpointSettings) -> dict[str, Any]:
    """What a request that no transport carries needs to be let in."""
    headers = {"Authorization": f"Bearer {settings.api_key}", **settings.headers}
    sent = {name: value for name, value in headers.items() if value is not None}
    return {"headers": sent, "params": dict(settings.query), "verify": verify_option()}


# --- reasoning ---------------------------------------------------------------------------------------------------


def folder_switch(opened: ModelTokenizer, reasoning: Reasoning) -> JSONObject:
    """The switch of a template that is known. Raises UsageError where it has none."""
    capped = budget_fields(reasoning)
    options = opened.prompter.switch(replace(reasoning, budget=None))
    return {**({"chat_template_kwargs": options} if options else {}), **capped}


def url_switch(name: str, reasoning: Reasoning) -> JSONObject:
    """The switch of a template that is not known: enable_thinking, and reasoning_effort for an effort."""
    return {**own_server_switch(name, replace(reasoning, budget=None)), **budget_fields(reasoning)}


def budget_fields(reasoning: Reasoning) -> JSONObject:
    """vLLM's own cap of reasoning tokens; it needs a server with a reasoning parser."""
    return {} if reasoning.budget is None else {"thinking_token_budget": reasoning.budget}


# --- the wire ----------------------------------------------------------------------------------------------------

UNLIMITED = 0
"""A max_tokens that is not sent: the reply may be as long as the context allows."""
PROMPT_IDS, REPLY_IDS = "prompt_token_ids", "token_ids"


class VLLMDialect(ChatDialect):
    """Chat completions with token ids. The ids travel in the message's echo, from which `take_ids` takes them out."""

    def __init__(
        self,
        model: str,
        switch: Switch,
        refusals: Refusals,
        family: Format | None,
        opened: ModelTokenizer | None = None,
    ) -> None:
        super().__init__(model, switch, refusals)
        self.longest: int | None = None
        self._family = family
        self._ends = list(opened.end_token_ids) if opened else []
        self._mends: Sequence[Mend] = opened.prompter.mends if opened else ()

    def make_request(self, request: ModelRequest) -> WireRequest:
        sent = super().make_request(request)
        body = dict(sent.body)
        if not 0 < request.sampling.max_tokens < (self.longest or request.sampling.max_tokens + 1):
            body.pop("max_tokens", None)
        if not self._fitted(request)[1]:
            body.pop("tools", None)
        return replace(sent, body=body)

    def extra_fields(self, request: ModelRequest) -> JSONObject:
        render = prompting.no_text if self._family is None else self._family.render
        messages = chat_messages(self._fitted(request)[0], "reasoning", prompting.written_turns(self._mends), render)
        chat = [as_text_arguments(message) for message in prompting.fit_contents(messages, self._mends)]
        fields: JSONObject = {"messages": chat, "return_token_ids": True}
        if self._ends:
            fields["stop_token_ids"] = self._ends
        if self._family is not None and self._family.stop:
            fields["stop"] = list(self._family.stop)
        return fields

    def read_reply(self, sent: WireRequest, content: bytes, request: ModelRequest) -> Reply | RequestFailure:
        result = super().read_reply(sent, content, request)
        if isinstance(result, RequestFailure) or (ids := ids_of(content)) is None:
            return result
        return replace(result, message=replace(result.message, echo=(ids,)), note=None)  # it is read again, by us

    def _fitted(self, request: ModelRequest) -> tuple[Sequence[Message], Sequence[Tool]]:
        """The conversation as the server's template takes it, and the tools that it is to show."""
        messages = with_reasoning_history(request.messages, request.reasoning)
        if self._family is None:
            return messages, request.tools
        return prompting.fit_conversation(messages, request.tools, self._family, self._mends)


def as_text_arguments(message: JSONObject) -> JSONObject:
    """A template's message as the API takes it: arguments as JSON text."""
    if "tool_calls" not in message:
        return message
    calls = [
        {**call, "function": {**call["function"], "arguments": json.dumps(call["function"]["arguments"])}}
        for call in message["tool_calls"]
    ]
    return {**message, "tool_calls": calls}


def ids_of(content: bytes) -> JSONObject | None:
    """The token ids of prompt and first choice; None where the server did not send them."""
    payload = read_payload(content)
    if isinstance(payload, RequestFailure):
        return None
    [choice, *_] = payload["choices"]
    ids, prompt = choice.get(REPLY_IDS), payload.get(PROMPT_IDS)
    if not (is_ids(ids) and is_ids(prompt)):
        return None
    return {REPLY_IDS: ids, PROMPT_IDS: prompt}


def is_ids(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, int) and 0 <= item < 2**31 for item in value)


def take_ids(reply: Reply) -> tuple[Reply, JSONObject | None]:
    """The reply as the server parsed it, and the token ids where there are any."""
    ids = next((item for item in reply.message.echo if REPLY_IDS in item), None)
    return (reply if ids is None else replace(reply, message=replace(reply.message, echo=()))), ids


# --- the text ----------------------------------------------------------------------------------------------------


class Detokenizer(Protocol):
    """What turns token ids back into text, and knows the format of its calls."""

    async def format(self, prompt: Sequence[int]) -> Format | None: ...
    async def decode(self, ids: Sequence[int]) -> str | None: ...
    def reasoning_tokens(self, message: Message, usage: Usage) -> int: ...
    async def aclose(self) -> None: ...


class LocalDetokenizer:
    """The tokenizer of a directory."""

    def __init__(self, opened: ModelTokenizer) -> None:
        self._local = opened

    async def format(self, prompt: Sequence[int]) -> Format | None:
        return self._local.format

    async def decode(self, ids: Sequence[int]) -> str | None:
        return self._local.decode(ids)

    def reasoning_tokens(self, message: Message, usage: Usage) -> int:
        return reasoning_tokens(self._local, message)

    async def aclose(self) -> None:
        return None


class RemoteDetokenizer:
    """/detokenize of a server; None, and a warning, where it does not answer."""

    def __init__(self, settings: EndpointSettings, model: str, family: Format | None) -> None:
        self._url = f"{settings.base_url.removesuffix('/v1')}/detokenize"
        self._settings = settings
        self._model = model
        self._family = family
        self._sought = family is not None
        self._client: Any = None
        self._lost = False

    async def format(self, prompt: Sequence[int]) -> Format | None:
        """The format that was named, else the one whose marks are in the first rendered prompt."""
        if not self._sought:
            text = await self.decode(prompt) or ""
            name = formats.family_of(text)
            self._family, self._sought = (formats.FORMATS[name] if name else None), True
            if name is None:
                self._give_up("its prompts do not tell the format of its calls (name it with --model-arg format=NAME)")
        return self._family

    async def decode(self, ids: Sequence[int]) -> str | None:
        import httpx2

        if self._lost:
            return None
        if self._client is None:
            self._client = httpx2.AsyncClient(timeout=self._settings.timeout, **request_options(self._settings))
        try:
            response = await self._client.post(self._url, json={"model": self._model, "tokens": list(ids)})
            text = response.json()["prompt"] if response.status_code == 200 else None
        except (httpx2.HTTPError, ValueError, KeyError, TypeError):
            text = None
        if not isinstance(text, str):
            self._give_up("it does not answer /detokenize")
            return None
        return text

    def reasoning_tokens(self, message: Message, usage: Usage) -> int:
        return usage.reasoning_tokens

    async def aclose(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.aclose()

    def _give_up(self, reason: str) -> None:
        if not self._lost:
            log.warning(
                "%s: %s: from now on the server's own parse of its replies is used", public_url(self._url), reason
            )
        self._lost = True


# --- the model ---------------------------------------------------------------------------------------------------


class VLLMServerModel(Model):
    """A server's model. It belongs to one event loop from its first request until `aclose`; `close` ends the server."""

    def __init__(
        self,
        identity: ModelIdentity,
        settings: EndpointSettings,
        dialect: VLLMDialect,
        text: Detokenizer,
        options: ModelOptions,
        process: ServerProcess | None = None,
    ) -> None:
        self.name = identity.name
        self.fingerprint = identity.fingerprint
        self.sampling_options = dialect.sampling_options
        self._endpoint = EndpointModel(identity, settings, dialect, openai.connect, options.redact)
        self._settings = settings
        self._dialect = dialect
        self._text = text
        self._process = process
        self.remote = process is None  # how long one's own may take to start is `start_timeout`
        self._starting: asyncio.Future[None] | None = None

    @property
    def trouble(self) -> str | None:  # type: ignore[override]
        """What the server said to the last request that it did not accept."""
        return self._endpoint.trouble

    def switch(self, reasoning: Reasoning) -> JSONObject:
        """The fields that every request carries for a reasoning. Raises UsageError where there are none."""
        return self._endpoint.switch(reasoning)

    async def __call__(self, request: ModelRequest) -> Reply:
        """One turn. Raises ModelFailure when none can be had, and UsageError when the server does not come up."""
        await self._started()
        reply, ids = take_ids(await self._ask(request))
        return reply if ids is None else await self._read_again(request, reply, ids)

    async def aclose(self) -> None:
        await self._endpoint.aclose()
        await self._text.aclose()
        starting, self._starting = self._starting, None
        if starting is not None and starting.done() and not starting.cancelled() and starting.exception() is None:
            self._starting = starting  # the server is up, also for the next run

    def close(self) -> None:
        """Ends the server, if the harness started it."""
        if self._process is not None:
            self._process.stop()

    async def _started(self) -> None:
        """Starts the server once, however many episodes wait for it."""
        if self._process is None:
            return
        if self._starting is None:
            self._starting = asyncio.ensure_future(self._start(self._process))
        await asyncio.shield(self._starting)

    async def _start(self, process: ServerProcess) -> None:
        log.warning("%s: starting its vLLM server", self.name)
        await process.start()
        _, self._dialect.longest = await asyncio.to_thread(served_model, self.name, self._settings, SERVED_NAME)

    async def _ask(self, request: ModelRequest) -> Reply:
        """vLLM refuses a cap beyond its context. Without one a reply has what is left of the context, which is less."""
        try:
            return await self._endpoint(request)
        except ModelFailure as failure:
            if failure.stop != "context_length" or request.sampling.max_tokens == UNLIMITED:
                raise
        return await self._endpoint(replace(request, sampling=replace(request.sampling, max_tokens=UNLIMITED)))

    async def _read_again(self, request: ModelRequest, reply: Reply, ids: JSONObject) -> Reply:
        """The reply by our own parser, with a note where the server's calls differ."""
        family = await self._text.format(ids[PROMPT_IDS])
        text = await self._text.decode(ids[REPLY_IDS]) if family is not None else None
        before = await self._text.decode(ids[PROMPT_IDS][-PROMPT_END:]) if text is not None else None
        if family is None or text is None or before is None:
            return note_unread_calls(reply, request)
        raw = without_end(text)
        thinking, tools = OPEN_REASONING.search(before) is not None, [tool.name for tool in request.tools]
        message = formats.parse_reply(family, raw, request.turn, thinking=thinking, tools=tools)
        differ = None
        if request.tools and family.converse(request.messages, request.tools) is None:
            differ = formats.find_difference(message.tool_calls, reply.message.tool_calls)
        tokens = self._text.reasoning_tokens(message, reply.usage)
        return replace(
            reply,
            message=replace(message, raw=raw),
            usage=replace(reply.usage, reasoning_tokens=tokens),
            note="; ".join(filter(None, (reply.note, differ))) or None,
        )


def without_end(text: str) -> str:
    """A network's text without the token that ended its turn."""
    for end in TURN_END_TOKENS:
        text = text.removesuffix(end)
    return text
