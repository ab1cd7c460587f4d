"""What a key looks like: by the shape of a known provider's keys, by being long and random, or by its name.

For what nobody registered as a secret (harness.redaction): a key that was typed in the wrong place is part of the
complaint about it, and a token in the path of a URL has no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import unquote

REDACTED = "[redacted]"

SECRET_WORD = re.compile(
    r"(api|access|auth|private|secret)?(key|token)|keys|secrets?|pass(word|wd|phrase)?|passwords|pwd"
    r"|auth(orization)?|bearer|credentials?|cookies?|headers?|sig(nature)?"
)
CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
KEY_SHAPE = re.compile(
    r"(?<![A-Za-z0-9_])(?:(?=[\w.-]*\d)(?:"
    r"sk-(?:(?:proj|svcacct|admin|None|ant|or-v1|lf)-[\w-]{20,}|[A-Za-z0-9]{20,})"
    r"|(?:gsk|hf|fw|r8|gh[opsu])_[A-Za-z0-9]{20,}|(?:github_pat|tgp_v1)_[\w-]{20,}"
    r"|(?:xai|pplx|csk)-[A-Za-z0-9]{20,}|(?:nvapi|glpat)-[\w-]{20,}"
    r"|AIza[\w-]{30,}|ya29\.[\w-]{20,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}(?:\.[\w-]*)?"
    r")|AKIA[0-9A-Z]{16}(?![0-9A-Za-z]))",
    re.ASCII,
)
"""Keys of OpenAI, Anthropic, OpenRouter, DeepSeek, DashScope (sk-), Groq, Hugging Face, Fireworks, Replicate, GitHub,
Together, xAI, Perplexity, NVIDIA, Cerebras, GitLab, Google and Amazon, and JSON web tokens."""

WHERE_KEYS_BELONG = (
    "a key goes into its provider's variable, such as OPENAI_API_KEY, into --model-arg api_key=KEY, or into --header"
)

UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
SEPARATOR = re.compile(r"[-_.~+/=:,@ ]+")
SUBWORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+|\d+")
LONG, MIXED = 20, 5


def hide_keys(text: str) -> str:
    """The text without anything that has the shape of a known provider's key."""
    return KEY_SHAPE.sub(REDACTED, text)


def mentions_key(value: object) -> bool:
    """Whether one of the texts that an option was given is a key where none belongs. `NAME=VALUE` may hold one under a
    name like `api_key`."""
    if isinstance(value, list | tuple):
        return any(map(mentions_key, value))
    name, equals, rest = str(value).partition("=")
    return is_key(name) or bool(equals and not is_secret_name(name) and is_key(rest))


def is_key(text: str) -> bool:
    """Whether a text, or a part of it as a path, has the shape of a known provider's key."""
    return any(KEY_SHAPE.fullmatch(part.strip()) for part in re.split(r"[/\\]", text))


def looks_secret(text: str) -> bool:
    """Whether a part of a URL, a header or a field is a key by its shape, or long and random: a token such as
    `c3Vw3Rz9k1LmN0pQ4xYz`, and no `meta-llama-3.1-8b-instruct` or `2024-10-21-preview`."""
    text = unquote(text)
    if UUID.fullmatch(text) or is_key(text):
        return True
    pieces = SEPARATOR.split(text)
    letters = "".join(pieces)
    if len(letters) < LONG or not letters.isascii() or not letters.isalnum():
        return False
    mixed = any(len(SUBWORD.findall(piece)) >= MIXED for piece in pieces)
    return mixed and any(map(str.isdigit, letters)) and any(map(str.isalpha, letters))


def find_key_parts(text: str) -> Iterator[str]:
    """What in a text is a key by itself: what follows a scheme, as in `Bearer KEY`, or stands in JSON."""
    for part in re.split(r"[\s;,=]+", text) + re.split(r"[^\w.~+/-]+", text):
        if looks_secret(part):
            yield part


def is_secret_name(name: str) -> bool:
    """Whether a value with this name is to be kept secret: `api_key`, `Authorization`, `accessToken`, but not
    `max_tokens`."""
    words = re.split(r"[^a-z0-9]+", CAMEL_HUMP.sub("_", name).lower())
    return any(SECRET_WORD.fullmatch(word) for word in words)
