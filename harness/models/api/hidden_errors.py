"""Errors that come with status 200, as routers and gateways send them: found, and given the status that they mean.

OpenRouter and LiteLLM put `{"error": {"code": 429, ...}}` where a reply should be, or into the choice of an upstream
that failed; vLLM and SGLang behind a proxy send their error object as it is; others say the kind in a word. What has
such a status is waited for, retried and paced as if it had come with it; an error of which no status can be read is
left to whoever reads the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from harness.types import JSONObject

STATUSES = range(400, 600)
CODES = ("code", "status", "status_code", "http_status", "statusCode")
"""Where a status stands as a number, or as digits in a string."""
WORDS = ("code", "type", "status", "error_type", "reason")
"""Where it stands as a word."""

KINDS: tuple[tuple[int, re.Pattern[str]], ...] = (
    (402, re.compile(r"insufficient_?(quota|credit|funds|balance)|billing|payment_required", re.IGNORECASE)),
    (429, re.compile(r"rate_?limit|too_?many_?requests|resource_?exhausted|throttl|quota", re.IGNORECASE)),
    (529, re.compile(r"overloaded_error", re.IGNORECASE)),
    (503, re.compile(r"overload|unavailable|capacity", re.IGNORECASE)),
    (504, re.compile(r"time_?d?_?out|deadline_?exceeded", re.IGNORECASE)),
    (401, re.compile(r"authenticat|unauthorized|invalid_?api_?key", re.IGNORECASE)),
    (403, re.compile(r"permission|forbidden|access_?denied", re.IGNORECASE)),
    (404, re.compile(r"not_?found", re.IGNORECASE)),
    (400, re.compile(r"invalid_?(request|argument|param|value)|bad_?request|context_length|validation", re.IGNORECASE)),
    (502, re.compile(r"bad_?gateway|upstream", re.IGNORECASE)),
    (500, re.compile(r"server_?error|internal|api_error", re.IGNORECASE)),
)
"""The status that a word means; the first that fits."""


def find_hidden_error(content: bytes) -> tuple[int, str] | None:
    """The status that an error inside a body means, and the error as a body of its own."""
    if b"error" not in content:
        return None
    try:
        payload = json.loads(content)
    except (ValueError, RecursionError):
        return None
    for fields in _errors_of(payload[0] if isinstance(payload, list) and payload else payload):
        if (status := status_of(fields)) is not None:
            return status, json.dumps({"error": fields})
    return None


def _errors_of(payload: Any) -> Iterator[JSONObject]:
    """The error of a body, of its first choice, and the body itself where it says that it is one."""
    if not isinstance(payload, dict):
        return
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    for holder in (payload, first):
        error = holder.get("error") if isinstance(holder, dict) else None
        if isinstance(error, dict):
            yield error
        elif isinstance(error, str) and error.strip():
            yield {"message": error, "reason": "_".join(error.split())}
    if payload.get("object") == "error":
        yield {name: value for name, value in payload.items() if name != "object"}


def status_of(fields: JSONObject) -> int | None:
    """The HTTP status that the fields of an error mean; None where they say none."""
    for name in CODES:
        value = fields.get(name)
        text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if re.fullmatch(r"\d{3}", text) and int(text) in STATUSES:
            return int(text)
    said = [value for name in WORDS if isinstance(value := fields.get(name), str)]
    return next((status for status, words in KINDS if any(map(words.search, said))), None)


# --- how long to wait --------------------------------------------------------------------------------------------

FIELDS = (
    ("retry_after_ms", 0.001),
    ("retry_after", 1.0),
    ("retry_after_seconds", 1.0),
    ("retryAfter", 1.0),
    ("retryDelay", 1.0),
)
"""Fields of an error, or of what it holds, that say when to come back; and their unit in seconds."""
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SPAN = r"((?:\d+(?:\.\d+)?\s*(?:ms|milliseconds?|s|sec(?:onds?)?|m|min(?:utes?)?|h|hours?)\b\s*|\d+(?:\.\d+)?[hms])+)"
IN_WORDS = re.compile(rf"(?:again|retry|wait)\s*(?:in|after|for)?:?\s+{SPAN}", re.IGNORECASE)
PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h)", re.IGNORECASE)


def asked_wait(fields: JSONObject) -> float | None:
    """Seconds that an error asks us to wait, by a field of its own or in its words; None where it asks nothing."""
    for holder in _holders(fields):
        for name, unit in FIELDS:
            if (seconds := _seconds(holder.get(name), unit)) is not None:
                return seconds
    message = fields.get("message")
    found = IN_WORDS.search(message) if isinstance(message, str) else None
    return _span(found[1]) if found else None


def _holders(fields: JSONObject) -> Iterator[JSONObject]:
    """The error, its `metadata`, the headers in that, and its `details`."""
    metadata, details = fields.get("metadata"), fields.get("details")
    headers = metadata.get("headers") if isinstance(metadata, dict) else None
    named = (
        {str(name).lower().replace("-", "_"): value for name, value in headers.items()}
        if isinstance(headers, dict)
        else {}
    )
    holders = (fields, metadata, named, *(details if isinstance(details, list) else [details]))
    yield from (holder for holder in holders if isinstance(holder, dict))


def _seconds(value: object, unit: float) -> float | None:
    if isinstance(value, str) and PART.match(value.strip()):
        return _span(value)
    try:
        seconds = float(value) * unit if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        return None
    return seconds if 0 <= seconds < float("inf") else None


def _span(text: str) -> float:
    """Seconds of "6.2s", "1m12.5s", "20 ms" or "3 seconds"."""
    parts = PART.findall(text)
    return sum(float(number) * UNITS["ms" if unit.lower() == "milli" else unit.lower()] for number, unit in parts)
