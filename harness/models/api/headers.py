"""Headers that a person adds to every request to an endpoint (`--header NAME=VALUE`): checked, and as they are sent.

A value may be a key, so none is ever part of a message.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from contextlib import suppress

from harness.errors import UsageError
from harness.key_shapes import find_key_parts, is_secret_name
from harness.redaction import Redactor

TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
"""What a header's name is made of."""
FRAMING = frozenset({"accept-encoding", "connection", "content-encoding", "content-length", "content-type"})
FRAMING |= {"expect", "te", "trailer", "transfer-encoding", "upgrade"}
"""Headers that say how a request is written, which is for what writes it."""
SPELLINGS = {"openai-organization": "OpenAI-Organization", "openai-project": "OpenAI-Project"}
"""Headers that the openai client leaves out under another spelling where it has no value for them."""


def read_headers(pairs: Mapping[str, str], option: str = "--header") -> dict[str, str]:
    """Headers as they are sent, by their names. Raises UsageError for what cannot be sent; a name is only repeated
    once it is known to be one: what stands before the first `=` may be a key."""
    read: dict[str, str] = {}
    seen: set[str] = set()
    for name, value in pairs.items():
        if not TOKEN.fullmatch(name):
            raise UsageError(f"{option} takes NAME=VALUE with the name of a header, such as HTTP-Referer.")
        if name.lower() in FRAMING:
            raise UsageError(f"{option} cannot set {name}: it says how a request is written.")
        if name.lower() in seen:
            raise UsageError(f"{option} gives {name} twice.")
        if not (value := value.strip(" \t")):
            raise UsageError(f"{option} {name} is empty.")
        if not all(" " <= character <= "~" or character == "\t" for character in value):
            raise UsageError(f"{option} {name} has a character that no header can hold: a line break or an accent.")
        seen.add(name.lower())
        read[SPELLINGS.get(name.lower(), name)] = value
    return read


def register_headers(redact: Redactor, headers: Mapping[str, str]) -> None:
    """Keeps every value secret, and what of it is a key by itself: what follows a scheme, as in `Bearer KEY`, the pair
    of Basic authentication, a cookie, and any other part that looks like one."""
    for name, value in headers.items():
        redact.add(value)
        scheme, _, rest = value.strip().partition(" ")
        if is_secret_name(name):
            redact.add(rest)
            for cookie in value.split(";"):
                redact.add(cookie.partition("=")[2])
        if scheme.lower() == "basic":
            _register_pair(redact, rest.strip())
        for part in find_key_parts(value):
            redact.add(part)


def _register_pair(redact: Redactor, encoded: str) -> None:
    """The user and password that Basic authentication encodes."""
    with suppress(ValueError):
        pair = base64.b64decode(encoded, validate=True).decode()
        for part in (pair, *pair.split(":", 1)):
            redact.add(part)


def carries_key(headers: Mapping[str, str]) -> bool:
    """Whether one of them lets requests in, such as `api-key`."""
    return any(is_secret_name(name) for name in headers)
