"""Keeps keys and passwords out of everything that is printed or written.

A secret is registered once, when it enters (a key, a URL with a password), and every text that leaves (an error
message, a manifest) passes through `Redactor`. Providers and proxies repeat what they were sent, in error bodies and
in URLs, so a secret is also looked for in the forms that JSON, URLs, HTML and Basic authentication give it.

Left out: partial echoes (a provider that answers "incorrect key sk-abcd***wxyz"), and any attempt to recognise a secret
that nobody registered.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from itertools import chain, count
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

REDACTED = "[redacted]"
MIN_SECRET_CHARS = 6
NUMBER = re.compile(r"\d{1,15}")
"""Shorter secrets, and short numbers, are left alone: replacing every "1204" would change what tools said."""

PLACEHOLDERS = frozenset(
    {
        *("admin", "anonymous", "api-key", "api_key", "apikey", "changeme", "default", "dummy", "empty", "example"),
        *("fake", "false", "guest", "key", "lm-studio", "local", "no-key", "none", "not-needed", "null", "ollama"),
        *("openai", "password", "placeholder", "root", "secret", "sk-no-key-required", "test", "token", "true"),
        *("unused", "user", "username", "your-api-key"),
    }
)
"""What people type where a key is demanded and not needed; all of them are ordinary words in a message."""

SECRET_WORD = re.compile(
    r"(api|access|auth|private|secret)?(key|token)|keys|secrets?|pass(word|wd|phrase)?|passwords|pwd"
    r"|auth(orization)?|bearer|credentials?|cookies?|headers?|sig(nature)?"
)
CAMEL_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Redactor:
    """A function from text to the same text with every registered secret replaced by "[redacted]"."""

    def __init__(self) -> None:
        self._forms: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def add(self, secret: str | None) -> None:
        """Registers a secret; None, a placeholder and anything shorter than 6 characters or a short number are
        ignored."""
        secret = (secret or "").strip()
        if len(secret) < MIN_SECRET_CHARS or secret.lower() in PLACEHOLDERS or NUMBER.fullmatch(secret):
            return
        self._forms.update(form for form in spellings(secret) if len(form) >= MIN_SECRET_CHARS)
        self._pattern = None

    def add_url(self, url: str | None) -> None:
        """Registers what is secret in a URL: user, password, their pair, and query values with names like `key`."""
        url = url or ""
        pair = userinfo(url)
        user, _, password = pair.partition(":")
        for part in (user, password, pair):
            self.add(part)
            self.add(unquote(part))
        for name, value in parse_qsl(url.partition("?")[2].partition("#")[0]):
            if is_secret_name(name):
                self.add(value)

    def __call__(self, text: str) -> str:
        if not self._forms:
            return text
        if self._pattern is None:
            # Longest first: a secret that contains another must not leave its rest behind.
            longest_first = sorted(self._forms, key=lambda form: (-len(form), form))
            self._pattern = re.compile("|".join(map(re.escape, longest_first)))
        return self._pattern.sub(REDACTED, text)

    def redact_json(self, value: Any, keys: bool = False) -> Any:
        """A JSON value with every secret replaced in its texts; numbers stay as they are, and so do keys unless asked:
        those of our own records are no secrets, those that a model wrote may be."""
        if not self._forms:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            free = {key: self.redact_json(item, keys) for key, item in value.items()}
            return self._keys(free) if keys else free
        return [self.redact_json(item, keys) for item in value] if isinstance(value, list | tuple) else value

    def _keys(self, value: dict[str, Any]) -> dict[str, Any]:
        """The same with redacted keys; those that become equal are numbered, so that nothing is lost."""
        redacted: dict[str, Any] = {}
        for key, item in value.items():
            free = self(key)
            if free != key:
                numbered = (f"{free} {number}" for number in count(2))
                free = next(name for name in chain([free], numbered) if name not in redacted and name not in value)
            redacted[free] = item
        return redacted


def spellings(secret: str) -> Iterator[str]:
    """The secret as it may come back: as is, escaped once or twice for JSON, in a repr, a URL, HTML, or base64."""
    once, plain = json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]
    yield from (secret, repr(secret)[1:-1], once, plain, json.dumps(once)[1:-1], once.replace("/", "\\/"))
    for quoted in (quote(secret, safe=""), quote(secret), quote_plus(secret)):
        yield quoted
        yield re.sub(r"%[0-9A-F]{2}", lambda escape: escape[0].lower(), quoted)
    yield from (html.escape(secret), html.escape(secret, quote=False))
    encoded = secret.encode("utf-8", "surrogatepass")
    for base in (base64.b64encode(encoded), base64.urlsafe_b64encode(encoded)):
        yield from (base.decode(), base.decode().rstrip("="))


def userinfo(url: str) -> str:
    """The `user:password` of a URL as written, or ""; a malformed URL gives too much rather than too little."""
    match = SCHEME.match(url)
    rest = url[match.end() :] if match else url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if not match or not is_well_formed_url(url):
        authority = rest  # a password with a slash in it, or a URL without its scheme
    return authority.rpartition("@")[0]


def is_well_formed_url(url: str) -> bool:
    """Whether a URL has a scheme, a host and, if any, a port that is a number."""
    try:
        parts = urlsplit(url)
        return bool(parts.scheme and parts.hostname and (parts.port is None or parts.port > 0))
    except ValueError:
        return False


def public_url(url: str) -> str:
    """The URL without userinfo, query and fragment: what may be printed and written."""
    if not is_well_formed_url(url):
        return "[malformed URL]"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def is_secret_name(name: str) -> bool:
    """Whether a value with this name is to be kept secret: `api_key`, `Authorization`, `accessToken`, but not
    `max_tokens`."""
    words = re.split(r"[^a-z0-9]+", CAMEL_HUMP.sub("_", name).lower())
    return any(SECRET_WORD.fullmatch(word) for word in words)
