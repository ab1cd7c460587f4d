"""anthropic/NAME: Claude models through Anthropic's native API.

Anthropic's OpenAI-compatible endpoint is not used: it gives no thinking back and drops parameters without a word.
What is sent and read is in messages.py, what a model can be asked about thinking in reasoning.py.

Left out: credentials other than an API key; cloud platforms with other addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

from harness.errors import UsageError
from harness.extras import install_command
from harness.models.api import connection
from harness.models.api.call_ids import PLAIN
from harness.models.api.connection import AIOHTTP, EndpointSettings
from harness.models.api.endpoint import EndpointModel
from harness.models.api.messages import AnthropicDialect
from harness.models.api.reasoning import ClaudeFeatures
from harness.models.api.refusals import Refusals
from harness.models.api.transport import Transport
from harness.types import Model

if TYPE_CHECKING:
    from harness.models import ModelOptions

ANTHROPIC_URL = "https://api.anthropic.com"
API_VERSION = "2026-10-21"
"""The one that Anthropic's own client names."""
INSTALL = install_command("anthropic")

HELP = "anthropic/NAME asks Claude models: ANTHROPIC_API_KEY"
KEYS = ("ANTHROPIC_API_KEY",)
ARGS = connection.CONNECTION_ARGS
HEADERS = True


def ready(environ: Mapping[str, str]) -> str | None:
    """None where a model can be reached, else what to do."""
    if not environ.get("ANTHROPIC_API_KEY", "").strip():
        return "no key: export ANTHROPIC_API_KEY=KEY"
    return None


def load(name: str, options: ModelOptions) -> Model:
    """The model NAME. Raises UsageError for a missing client, key or name, and for arguments that are unknown or
    malformed."""
    if not name.strip():
        raise UsageError("anthropic/ needs the name of a model, for example anthropic/claude-haiku-4-5.")
    settings = read_settings(name, options)
    if settings.client != AIOHTTP and find_spec("anthropic") is None:
        raise UsageError(f"anthropic/{name} with client=anthropic needs the client of its provider: {INSTALL}.")
    claude = ClaudeFeatures(f"anthropic/{name}")
    known = {} if claude.takes_temperature else {"temperature": None}
    dialect = AnthropicDialect(name, claude, Refusals(claude.name, known, settings.extra_body, PLAIN))
    identity = connection.identity_of("anthropic", name, settings, options)
    return EndpointModel(identity, settings, dialect, connect, options.redact)


def read_settings(name: str, options: ModelOptions) -> EndpointSettings:
    """Registers every secret before anything can fail, then reads arguments, URL and key."""
    args, environ = options.args, options.environ
    url = (options.base_url or environ.get("ANTHROPIC_BASE_URL") or "").strip()
    key = (args.get("api_key") or environ.get("ANTHROPIC_API_KEY") or "").strip()
    connection.register_secrets(options.redact, key, url, environ.get("ANTHROPIC_CUSTOM_HEADERS", ""))
    connection.check_args(f"anthropic/{name}", args, ARGS)
    if not key and not url:
        raise UsageError(f"anthropic/{name} needs a key: set ANTHROPIC_API_KEY, or give --model-arg api_key=KEY.")
    settings = connection.read_connection(options, url or ANTHROPIC_URL, key, theirs="anthropic")
    custom = connection.read_header_lines(environ.get("ANTHROPIC_CUSTOM_HEADERS", ""))
    # The path of this API begins with /v1, which people are used to write at the end of a base URL.
    return replace(settings, base_url=settings.base_url.removesuffix("/v1"), custom_headers=custom)


def connect(settings: EndpointSettings) -> Transport:
    """What carries the requests of a run."""
    return light_transport(settings) if settings.client == AIOHTTP else client_transport(settings)


def light_transport(settings: EndpointSettings) -> Transport:
    """With the key where Anthropic's own client has it."""
    from harness.models.api.aiohttp_transport import AiohttpTransport

    own = {"Authorization": f"Bearer {settings.api_key}", "anthropic-version": API_VERSION}
    return AiohttpTransport(settings, own, settings.custom_headers, settings.headers)


def client_transport(settings: EndpointSettings) -> Transport:
    import anthropic

    from harness.models.api.client_transport import ClientTransport, client_options

    return ClientTransport(anthropic.AsyncAnthropic(**client_options(settings, anthropic)), anthropic, settings)
