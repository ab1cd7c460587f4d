"""How an endpoint is reached: address, key, headers, limits and patience, from --model-arg and the environment.

A key may stand in the URL, in a header or in a variable; wherever it was found it is registered as a secret first.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

from harness.data.arguments import parse_json_object
from harness.data.jsonio import canonical_json
from harness.errors import UsageError
from harness.key_shapes import find_key_parts, is_secret_name, looks_secret
from harness.models.api.certificates import check_certificates
from harness.models.api.headers import carries_key, read_headers, register_headers
from harness.models.api.proxies import check_client_proxies, find_proxy
from harness.redaction import Redactor, bare_url, is_well_formed_url, public_url, userinfo
from harness.types import JSONObject

if TYPE_CHECKING:
    from harness.models import ModelOptions

PLACEHOLDER_KEY = "no-key"
LONGEST_CONNECT = 30.0
AIOHTTP = "aiohttp"
"""The client that every backend has; the others are the providers' own."""


@dataclass(frozen=True, slots=True)
class EndpointSettings:
    """How an endpoint is reached. `max_retries` counts requests after the first; seconds everywhere."""

    base_url: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str | None] = field(default_factory=dict, repr=False)
    """Those of the URL and of --header; None: this one is not sent."""
    custom_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Those of a variable, which providers' clients read themselves."""
    api_key: str = field(default=PLACEHOLDER_KEY, repr=False)
    organization: str | None = None
    project: str | None = None
    extra_body: JSONObject = field(default_factory=dict, repr=False)
    timeout: float = 600.0
    max_retries: int = 4
    max_retry_wait: float = 60.0
    concurrency: int = 1
    client: str = AIOHTTP
    max_tokens_option: str | None = None
    """The option by which a person set the new tokens of a turn, which are then not lowered."""
    stream: bool = False

    @property
    def connect_timeout(self) -> float:
        return min(LONGEST_CONNECT, self.timeout)


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who a model is: its full name, what decides its replies, and the seed of the waits between retries."""

    name: str
    fingerprint: Mapping[str, Any]
    seed: int | None = None


CONNECTION_ARGS = ("api_key", "client", "extra_body", "max_retries", "max_retry_wait", "stream", "timeout")
"""What every endpoint takes, also Gemini's and Anthropic's. `client` is what requests go through: aiohttp, or the
provider's own."""


TRANSPORT_ARGS = frozenset({"client", "max_retries", "max_retry_wait", "stream", "timeout"})
"""They decide how long a run takes and not what is said: a run may be resumed with others."""


def identity_of(backend: str, name: str, settings: EndpointSettings, options: ModelOptions) -> ModelIdentity:
    """The full name, and a fingerprint with everything that decides replies and no secret."""
    args = {
        key: public_arg(options.redact, value)
        for key, value in options.args.items()
        if key not in {"api_key", *TRANSPORT_ARGS}
    }
    fingerprint = {"backend": backend, "name": name, "base_url": public_url(settings.base_url), "args": args}
    if settings.query:
        fingerprint["query"] = options.redact.redact_json(dict(settings.query))
    if options.headers:  # their names alone: a digest of a short value gives it away
        fingerprint["headers"] = sorted(map(str.lower, options.headers))
    return ModelIdentity(f"{backend}/{name}", fingerprint, options.seed)


def public_arg(redact: Redactor, value: str) -> str:
    """A --model-arg without its secrets: as it was typed, unless it is JSON that spells one as JSON alone reads it."""
    text = redact(value)
    try:
        fields = parse_json_object(text)
    except ValueError:
        return text
    return text if (free := redact.redact_json(fields)) == fields else canonical_json(free)


def check_args(name: str, args: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises UsageError for a --model-arg that a backend does not take."""
    if unknown := sorted(set(args) - set(known)):
        raise UsageError(f"--model-arg {unknown[0]} is unknown to {name}; it knows {', '.join(known)}.")


def read_connection(options: ModelOptions, url: str, key: str, theirs: str = "openai") -> EndpointSettings:
    """How an endpoint is reached, whichever it is; its secrets are registered already. Raises UsageError.

    `theirs` is the provider's own client, the other one that requests can be sent through.
    """
    args = options.args
    base_url = read_base_url(url)
    client = read_choice(args, "client", (AIOHTTP, theirs), AIOHTTP)
    if client == AIOHTTP:
        find_proxy(base_url)
    else:
        check_client_proxies()
    if base_url.startswith("https:"):
        check_certificates()
    auth = basic_auth(url, explicit_key=bool(args.get("api_key")))
    api_key = PLACEHOLDER_KEY if auth else read_key(key)
    return EndpointSettings(
        base_url=base_url,
        query=dict(parse_qsl(urlsplit(url).query, keep_blank_values=True)),
        headers={**auth, **added_headers(options.headers, api_key)},
        api_key=api_key,
        extra_body=read_extra_body(args.get("extra_body"), options.redact),
        timeout=read_number(args, "timeout", 600.0, least=0.001),
        max_retries=int(read_number(args, "max_retries", 4, whole=True)),
        max_retry_wait=read_number(args, "max_retry_wait", 60.0),
        concurrency=max(1, options.concurrency),
        client=client,
        max_tokens_option=options.max_tokens_option,
        stream=read_choice(args, "stream", ("true", "false"), "false") == "true",
    )


def added_headers(given: Mapping[str, str], key: str) -> dict[str, str | None]:
    """The headers of --header. Where one of them lets requests in, no placeholder stands beside it for a key."""
    headers = read_headers(given)
    if key == PLACEHOLDER_KEY and carries_key(headers) and "authorization" not in map(str.lower, headers):
        return {"Authorization": None, **headers}
    return dict(headers)


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
    """Key, URL, proxies, and the headers of a variable such as OPENAI_CUSTOM_HEADERS, which clients read and send
    themselves."""
    from urllib.request import getproxies

    redact.add(key)
    for address in (url, *getproxies().values()):
        redact.add_url(address)
    register_headers(redact, read_header_lines(custom_headers))


PLAIN_URL = re.compile(r"https?://[a-z][a-z0-9.]*(:(?!(80|443)(/|$))[1-9]\d*)?(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
"""URLs that are in their usual form already; a test holds this against httpx2."""


def read_header_lines(text: str) -> dict[str, str]:
    """Headers as OPENAI_CUSTOM_HEADERS has them: `Name: value`, one a line."""
    lines = (line.partition(":") for line in text.split("\n") if ":" in line)
    return {name.strip(): value.strip() for name, _, value in lines}


def read_base_url(url: str) -> str:
    """The URL without userinfo and query, which travel in a header and as parameters: clients log URLs."""
    if not url.lower().startswith(("http://", "https://")) or not is_well_formed_url(url) or re.search(r"\s", url):
        raise UsageError(
            "The base URL (--base-url, or the environment's) must look like http://HOST:PORT/v1 or https://HOST/v1."
        )
    if PLAIN_URL.fullmatch(shown := bare_url(url)):
        return shown.rstrip("/")
    import httpx2  # for what has to be brought into its usual form

    try:
        return str(httpx2.URL(shown)).rstrip("/")
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
        extra = parse_json_object(text)
    except ValueError as error:
        raise UsageError(f"--model-arg extra_body must be a JSON object: {error}.") from None
    if extra.get("stream"):
        raise UsageError("--model-arg extra_body cannot ask for stream: give --model-arg stream=true.")
    for secret in find_secrets(extra):
        redact.add(secret)
    return extra


SCHEME = re.compile("(bearer|basic|token|api-?key) +", re.IGNORECASE)


def find_secrets(value: object, name: str = "") -> Iterator[str]:
    """Every text and number under a name like `api_key`, at any depth, and every other text, or name, that looks like
    a key."""
    if isinstance(value, dict):
        for key, item in value.items():
            if looks_secret(key):
                yield key
            yield from find_secrets(item, key if is_secret_name(key) else name)
    elif isinstance(value, list):
        for item in value:
            yield from find_secrets(item, name)
    elif isinstance(value, str):
        named = [value, SCHEME.sub("", value)] if name else []
        yield from dict.fromkeys([*named, *find_key_parts(value)])
    elif name and isinstance(value, int | float):
        yield repr(value)
