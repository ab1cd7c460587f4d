"""Errors that come with status 200, as routers and gateways send them: found, and given the status that they mean.

OpenRouter and LiteLLM put `{"error": {"code": 429, ...}}` where a reply should be, or into the choice of an upstream
that failed; vLLM and SGLang behind a proxy send their error object as it is; others say the kind in a word. What has
such a status is waited for, retried and paced as if it had come with it; an error of which no status can be read is
left to whoever reads the body.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from harness.types import JSONObject

STATUSES = range(400, 600)
CODES = (
    *("code", "status", "status_code", "http_status", "statusCode", "error_code", "errorCode", "http_code", "httpCode"),
    *("http_status_code", "upstream_status"),
)
"""Where a status stands as a number, or as digits in a string."""
WORDS = ("code", "type", "status", "error_type", "reason", "error_code", "__type")
"""Where it stands as a word."""

KINDS: tuple[tuple[int, re.Pattern[str]], ...] = (
    (402, re.compile(r"insufficient_?(quota|credit|funds|balance)|billing|payment_required", re.IGNORECASE)),
    (429, re.compile(r"(rate|request)_?limit|too_?many_?requests|resource_?exhausted|throttl|quota", re.IGNORECASE)),
    (529, re.compile(r"overloaded_error", re.IGNORECASE)),
    (503, re.compile(r"overload|unavailable|capacity|currently_?loading", re.IGNORECASE)),
    (504, re.compile(r"time_?d?_?out|deadline_?exceeded", re.IGNORECASE)),
    (401, re.compile(r"authenticat|unauthorized|invalid_?api_?key", re.IGNORECASE)),
    (403, re.compile(r"permission|forbidden|access_?denied", re.IGNORECASE)),
    (404, re.compile(r"not_?found", re.IGNORECASE)),
    (400, re.compile(r"invalid_?(request|argument|param|value)|bad_?request|context_length|validation", re.IGNORECASE)),
    (502, re.compile(r"bad_?gateway|upstream", re.IGNORECASE)),
    (500, re.compile(r"server_?error|internal|api_error", re.IGNORECASE)),
)
"""The status that a word means; the first that fits."""
PASSING = frozenset({402, 429, 503, 504, 529})
"""Those that the words of a message may mean too: the others are said of anything."""
TEXTS = ("message", "msg", "detail", "status_msg", "error_msg", "error_message", "description", "title", "raw")
IN_TEXT = re.compile(
    r"(?:error|status|http|code|returned|response)[\s_]*(?:code|status|error|/\d\.\d)?['\"]?\s*[:=(]?\s*['\"]?([45]\d\d)\b"
    r"|^\W*([45]\d\d)\b",
    re.IGNORECASE,
)
"""A status in the words of an error: "Error code: 429 - ...", "503 Service Unavailable"."""
REPLIES = ("choices", "output", "content", "candidates")
"""What a body has that is a reply: without any, it is an error itself where it looks like one."""


def find_hidden_error(content: bytes) -> tuple[int, str] | None:
    """The status that an error inside a body means, and the error as a body of its own."""
    said = b"error" in content or b"base_resp" in content  # the latter is MiniMax's
    if not said and any(name.encode() in content for name in REPLIES):
        return None
    for fields in _errors_of(_payload_of(content)):
        if (status := status_of(fields)) is not None:
            return status, json.dumps({"error": fields})
    return None


def _payload_of(content: bytes) -> Any:
    """The JSON of a body, or the first of a list; None where it is none."""
    try:
        payload = json.loads(content.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return payload[0] if isinstance(payload, list) and payload else payload


def _errors_of(payload: Any) -> Iterator[JSONObject]:
    """The error of a body, of a choice, of a list of errors, and the body itself where it is no reply."""
    if not isinstance(payload, dict):
        return
    choices = payload.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    errors = payload.get("errors")
    listed = errors[0] if isinstance(errors, list) and errors else None
    inside = (payload.get("response"), payload.get("data"), payload.get("err"))
    for holder in (payload, first, message, listed, {"error": listed}, *inside, {"error": payload.get("base_resp")}):
        yield from _error_in(holder)
    if payload.get("object") == "error" or not any(payload.get(name) for name in REPLIES):
        yield {name: value for name, value in payload.items() if name != "object"}


def _error_in(holder: Any) -> Iterator[JSONObject]:
    """The error that something holds, and the one inside that."""
    error = holder.get("error") if isinstance(holder, dict) else None
    if isinstance(error, list) and error:
        error = error[0]
    if isinstance(error, int) and not isinstance(error, bool) and error in STATUSES:
        yield {**holder, "error": None, "code": error}
    elif isinstance(error, dict):
        yield error
        for inner in ("error", "metadata"):
            if isinstance(error.get(inner), dict):
                yield {**error, **error[inner]}
    elif isinstance(error, str) and error.strip():
        yield {**holder, "error": None, "message": error, "reason": "_".join(error.split())}


def status_of(fields: JSONObject) -> int | None:
    """The HTTP status that the fields of an error mean; None where they say none."""
    for name in CODES:
        value = fields.get(name)
        text = str(value).strip() if isinstance(value, int | str) and not isinstance(value, bool) else ""
        if (found := re.match(r"(\d{3})(?:\.0)?(?!\d)", text)) and int(found[1]) in STATUSES:
            return int(found[1])
    said = [value for name in WORDS if isinstance(value := fields.get(name), str)]
    if (status := next((status for status, words in KINDS if any(map(words.search, said))), None)) is not None:
        return status
    return _status_in_text([value for name in TEXTS if isinstance(value := fields.get(name), str)])


def _status_in_text(texts: Sequence[str]) -> int | None:
    for text in texts:
        if found := IN_TEXT.search(text):
            return int(found[1] or found[2])
        words = "_".join(text.split())
        if (status := next((status for status, kind in KINDS if kind.search(words)), None)) in PASSING:
            return status
    return None


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
