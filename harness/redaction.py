"""Keeps keys and passwords out of everything that is printed or written.

A secret is registered once, when it enters (a key, a header, a URL with a password or a token), and everything that
leaves (an error message, a manifest, the line of an episode) passes through `Redactor`. Providers and proxies repeat
what they were sent, in error bodies and in URLs, so a secret is also looked for in the forms that JSON, URLs, HTML and
Basic authentication give it.

Left out: partial echoes (a provider that answers "incorrect key sk-abcd***wxyz"), and a secret that nobody registered,
which only its looks give away (key_shapes.py).
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from dataclasses import fields
from functools import lru_cache
from itertools import chain, count, product
from typing import Any, get_type_hints
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from harness import types
from harness.data import schema
from harness.key_shapes import REDACTED, is_secret_name, looks_secret

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

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class Redactor:
    """A function from text to the same text with every registered secret replaced by "[redacted]"."""

    def __init__(self) -> None:
        self._secrets: set[str] = set()
        self._patterns: dict[bool, re.Pattern[str]] = {}

    def add(self, secret: str | None) -> None:
        """Registers a secret; None, a placeholder and anything shorter than 6 characters or a short number are
        ignored."""
        secret = (secret or "").strip()
        if len(secret) < MIN_SECRET_CHARS or secret.lower() in PLACEHOLDERS or NUMBER.fullmatch(secret):
            return
        self._secrets.add(secret)
        self._patterns.clear()

    def add_url(self, url: str | None) -> None:
        """Registers what is secret in a URL: user, password, their pair, query values with names like `key`, and
        those, like parts of the path, that are long and random."""
        url = url or ""
        pair = userinfo(url)
        user, _, password = pair.partition(":")
        for part in (user, password, pair):
            self.add(part)
            self.add(unquote(part))
        for name, value in parse_qsl(url.partition("?")[2].partition("#")[0], keep_blank_values=True):
            if is_secret_name(name) or looks_secret(value):
                self.add(value)
            if looks_secret(name):
                self.add(name)
        for part in [*path_parts(url), url.partition("#")[2]]:
            if looks_secret(part):
                self.add(part)
                self.add(unquote(part))

    def __call__(self, text: str) -> str:
        if not self._secrets:
            return text
        escaped = ESCAPED_LETTER.search(text) is not None
        if escaped not in self._patterns:
            # Longest first: a secret that contains another must not leave its rest behind.
            longest_first = sorted(self._secrets, key=lambda secret: (-len(secret), secret))
            found = (spelling for secret in longest_first for spelling in spellings(secret, escaped))
            self._patterns[escaped] = re.compile("|".join(found))
        return self._patterns[escaped].sub(REDACTED, text)

    def redact_json(self, value: Any) -> Any:
        """A JSON value as it may be written: every secret replaced in its texts, in long numbers, and in the names of
        its objects but those that every run has."""
        if not self._secrets:
            return value
        if isinstance(value, str):
            return self(value)
        if isinstance(value, dict):
            return self._names({name: self.redact_json(item) for name, item in value.items()})
        if isinstance(value, list | tuple):
            return [self.redact_json(item) for item in value]
        return REDACTED if type(value) in (int, float) and self(repr(value)) != repr(value) else value

    def _names(self, value: dict[str, Any]) -> dict[str, Any]:
        """The same with redacted names; those that become equal are numbered, so that nothing is lost."""
        redacted: dict[str, Any] = {}
        for name, item in value.items():
            free = name if name in own_names() else self(name)
            if free != name:
                numbered = (f"{free} {number}" for number in count(2))
                free = next(one for one in chain([free], numbered) if one not in redacted and one not in value)
            redacted[free] = item
        return redacted


@lru_cache(maxsize=1)
def own_names() -> frozenset[str]:
    """The names of fields in files of runs, which a key that is an ordinary word must not take out."""
    shapes = [kind for kind in vars(schema).values() if isinstance(kind, type) and hasattr(kind, "__required_keys__")]
    named = {name for shape in shapes for name in get_type_hints(shape)}
    return frozenset(named | {one.name for kind in (types.Sampling, types.Limits, types.Usage) for one in fields(kind)})


ESCAPED_LETTER = re.compile(r"(?:%|\\u00|&#x)[3-7]|&#(?:4[89]|[5-9]\d|1[012]\d);")
"""Where a letter or a digit is escaped, which nobody has to do: only such a text is searched for what that hides."""


def spellings(secret: str, escaped: bool = False) -> Iterator[str]:
    """The secret as it may come back, as patterns: each of its characters as is or escaped (letters and digits too,
    where some are), and the whole in hexadecimal digits or, alone or among other bytes, in base64."""
    yield "".join(_spellings_of(character, escaped) for character in re.findall(r"\\+|[^\\]", secret))
    encoded = secret.encode("utf-8", "surrogatepass")
    yield from (encoded.hex(), encoded.hex().upper())
    for encode, before in product((base64.b64encode, base64.urlsafe_b64encode), range(3)):
        digits, rest = divmod(8 * (before + len(encoded)), 6)
        own = encode(bytes(before) + encoded).decode()[(0, 2, 3)[before] : digits]
        if len(own) >= MIN_SECRET_CHARS:
            yield re.escape(own) + ("[A-Za-z0-9+/_-]?" if rest else "") + "={0,2}"


@lru_cache(maxsize=4096)
def _spellings_of(character: str, escaped: bool) -> str:
    """One character, escaped once or twice for JSON, in a repr, a URL or HTML; a run of backslashes is one item,
    because its parts could be told apart in too many ways."""
    if character.startswith("\\"):
        one = r"\\u005[Cc]|%5[Cc]|&#92;|&#x5[Cc];|\\" if escaped else r"%5[Cc]|\\"
        return f"(?:{one}){{{len(character)},{4 * len(character)}}}"
    if character.isascii() and character.isalnum():
        return _escapes_of(character) if escaped else character
    once, twice = json.dumps(character)[1:-1], json.dumps(json.dumps(character)[1:-1])[1:-1]
    quoted = quote(character, safe="", errors="surrogatepass")
    found = {character, repr(character)[1:-1], once, twice, html.escape(character), f"\\{character}"}
    found |= {quoted, quoted.lower(), "+" if character == " " else character}
    plain = "|".join(re.escape(form) for form in sorted(found, key=lambda form: (-len(form), form)))
    return f"(?:{_escapes_of(character)}|{plain})" if escaped and character.isascii() else f"(?:{plain})"


def _escapes_of(character: str) -> str:
    code = f"(?i:{ord(character):02x})"
    return rf"(?:{re.escape(character)}|%{code}|\\{{1,4}}u00{code}|&#(?:{ord(character)}|x{code});)"


# --- URLs --------------------------------------------------------------------------------------------------------


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


def bare_url(url: str) -> str:
    """The URL without userinfo, query and fragment: where requests go."""
    if not is_well_formed_url(url):
        return "[malformed URL]"
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def public_url(url: str) -> str:
    """The same without tokens in its path: what may be printed and written."""
    bare = bare_url(url)
    origin, path = bare[: len(bare) - len(urlsplit(bare).path)], urlsplit(bare).path
    return origin + "/".join(REDACTED if looks_secret(part) else part for part in path.split("/"))


def path_parts(url: str) -> list[str]:
    """What stands between the slashes of a URL's path."""
    return urlsplit(url).path.split("/") if is_well_formed_url(url) else []
