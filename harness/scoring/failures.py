"""Whether an output, or a part of one, reports that something failed instead of stating a fact.

A sentence that reports a failure ends what its text states: what follows are suggestions. An object that reports one
states nothing at all. Left out: failures told in other languages than English.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from harness.scoring.fold import Folded

_NOUNS = (
    "(?:records?|results?|match(?:es)?|data|entry|entries|information|info|such|users?|items?|documents?|details|hits"
    "|values?|valid|registered|known)"
)
_FOUND = "(?:found|available|exists?|match(?:es|ed|ing)?|registered|known|listed|recorded|on record|named|called)"
_STARTS = re.compile(
    rf"""\W*(?:[45]\d\d\W+|(?:warning|note|oops)\W+)?(?:
      (?:an?\s|the\s|http\s|internal\s|server\s|fatal\s|unexpected\s|api\s|runtime\s|key\s|value\s|type\s|tool\s){{0,4}}
          (?:errors?|exception|err)\b(?!\s+(?:margins?|rates?|bars?|terms?|bounds?|range|correction|function|analysis
          |estimates?|tolerance|thresholds?|propagation|of\s))
    | traceback\b | (?:invalid|unknown|unrecogni[sz]ed|unsupported)\s+\w
    | (?:illegal|missing)\s+(?:required|parameters?|arguments?|values?|fields?|keys?|inputs?)\b
    | (?:request|query|lookup|search|call|operation)\s+failed\b | failed\s+to\b | failed:
    | failure\s*[:,.!-] | (?:i\s+|we\s+)?(?:unable|cannot|can't|could\s+not|couldn't)\b
    | no\s+{_NOUNS}\b | no\s+(?:[\w'-]+\s+){{0,4}}?{_FOUND}\b | nothing\s+(?:was\s+)?(?:found|matched)
    | none\s+found | not\s+found
    | there\s+(?:is|are|was|were)\s+no\s+(?:{_NOUNS}\b|(?:[\w'-]+\s+){{0,4}}?(?:{_FOUND})\b)
    | (?:i'm\s+|we're\s+)?sorry\b | please\s+(?:provide|specify|enter|try|use|choose|check)\b | you\s+asked\s+for\b
    | there\s+(?:was|were|is|has\s+been)\s+an?\s+(?:error|problem|failure)\b
    | (?:nobody|no\s+one)\s+(?:of|by|with|named|called)\b | bad\s+request | forbidden\W | unauthori[sz]ed\b
    | options\s*:[^,;]+[,;] | usage\s*:\s*[\w.-]+\s*(?:[(<\[]|--|\w+=) | ambiguous\b(?:\s+\w+){{0,3}}\s*[:.]
    | (?:available|known|valid|allowed|supported|accepted|possible)\s+(?!(?:as|for|from|since|to|by|in|at|on|until)\b)
          (?:[\w-]+\s+){{0,2}}[\w-]+\s*:[^,;]+[,;]
    | n/a\b\W*\w | (?:[\w-]+\s+){{0,2}}error\s+for\b | rate\s+limit\s+exceeded\b | panic\s*:
    | (?:access|permission)\s+denied | (?:timed\s+out|timeout)\b )""",
    re.VERBOSE,
)
_HOLDS = re.compile(
    rf"""\b(?:traceback\s+\(most | no\s+such\b
    | no\s+records?\s+of\b
    | (?:not|n't)\s+(?:been\s+|be\s+|a\s+|an\s+)?(?:found|recogni[sz]ed|supported|covered|exist|valid\b|accepted)
    | (?:must|should)\s+be\s+(?:one|any)\s+of | expected\s+(?:one|any)\s+of
    | (?:choose|pick|select)\s+(?:one\s+)?(?:from|of)
    | (?:valid|allowed|accepted|supported)\s+(?:[\w-]+\s+)?(?:are|is|include)\b
    | (?:valid|allowed|accepted|possible|supported|available)\s+(?:values?|options?|choices?|names?)\b
    | (?:nearest|closest)\s+(?:entry|entries|match(?:es)?|names?|records?|results?)\b
    | (?:0|zero)\s+(?:results|matches|records|hits|rows)\b | unexpected\s+keyword
    | returned\s+nothing\b | error\s+occurr?ed | timed\s+out
    | (?:parameter|argument|field|property)\b[^.]{0, 40}\brequired\b )""",
    re.VERBOSE,
)
_NAMED = re.compile(r"\W*(?:\w{1,30}\.){0,5}[A-Z]\w{0,40}(?:Error|Exception)\b")
_HINT = re.compile(
    "err|fail|exception|traceback|invalid|unknown|unrecog|unsupp|illegal|missing|unable|can|could|no|sorry|please|asked|"
    "prob|body|one|bad|forbid|unauth|denied|time|mean|must|should|"
    "expected|choose|pick|select|valid|allowed|accepted|support|possib|"
    "ambig|usage|option|noth|n/a|known|exceed|panic|"
    "avail|near|clos|simil|unexp|zero|0|requir"
)
_TITLE = re.compile(r"\W{0,2}Unknown (?!Error|Exception)[A-Z][a-z]+(?![^.;]*[:'\"])")
"""Unknown Pleasures is a title; Unknown town, and Unknown Parameter: x, are failures."""
_TITLE_FIELDS = frozenset(["title", "name", "song", "book", "film", "movie", "album", "novel", "track", "work"])
_SENTENCE = re.compile(r"(?<=[.!?;])\s+|\n+")


_GUESS = re.compile(r"\b(?:did\s+you\s+mean|(?:perhaps|maybe)\s+you\s+mean[t]?)\b")
_BUT = re.compile(r"[,;]\s+but\s+")


def stated(folded: Folded) -> tuple[int, int]:
    """From where to where a text states something: up to the first sentence that reports a failure, and not before what
    follows ", but" in one that opens it; "did you mean" takes back all. Both are 0 where it states nothing."""
    shown, low = folded
    if not _HINT.search(low):
        return 0, len(low)
    if _GUESS.search(low):
        return 0, 0
    begin = start = 0
    for end in (*(match.end() for match in _SENTENCE.finditer(low)), len(low)):
        if _fails(low[start:end], shown[start:end]):
            but = None if low[begin:start].strip() else _BUT.search(low, start, end)
            if but is None or _fails(low[but.end() : end], shown[but.end() : end]):
                return (begin, start) if low[begin:start].strip() else (0, 0)
            begin = but.end()
        start = end
    return begin, len(low)


def _fails(low: str, shown: str) -> bool:
    starts = _STARTS.match(low) and not _TITLE.match(shown)
    return bool(starts or _HOLDS.search(low) or _NAMED.match(shown))


def is_title(field: str, shown: str) -> bool:
    """Whether a text is the title that its field says it is, in capitals: {"song": "Sorry"}."""
    words = re.findall(r"[^\W\d_]{4,}", shown)
    named = plain_key(field) in _TITLE_FIELDS and len(shown) < 100
    capitals = bool(words) and all(word[0].isupper() for word in words)
    return named and capitals and not re.search(r"\berror|found\b|\bmean\b", shown.lower())


# --- objects -----------------------------------------------------------------------------------------------------

_ERROR = frozenset(["error", "errors", "err", "errormessage", "errormsg", "exception", "traceback", "fault", "failure"])
_MESSAGES = frozenset(
    ["message", "msg", "code", "status", "statuscode", "detail", "details", "reason", "type", "hint", "success", "ok"]
)
_MESSAGES_ALONE = _MESSAGES | _ERROR
_CHOICES = re.compile("valid|allowed|available|supported|accepted|known|options|choices|candidates")
_STATUS = frozenset(("status", "outcome", "result", "type", "state"))
_FAILED = frozenset(
    [
        "error",
        "errors",
        "err",
        "fail",
        "failed",
        "failure",
        "notfound",
        "invalid",
        "noresults",
        "exception",
        "denied",
        "unknown",
    ]
)
_HTTP = frozenset(("status", "statuscode", "httpstatus"))
_SUCCESS = frozenset(("success", "ok", "found", "succeeded", "successful"))
_NOTHING = frozenset(("", "none", "null", "no", "noerror", "noerrors", "ok", "na", "false", "0", "00", "nil"))


def plain_key(key: str) -> str:
    """A field's name without case and separators."""
    return _SEPARATORS.sub("", key).lower()


_SEPARATORS = re.compile(r"[\W_]")


def reports_failure(value: Mapping[str, Any]) -> bool:
    """An error field that says something, a failed status, success: false. A number beside a value is an error bar."""
    names = {plain_key(key) for key in value}
    for key, item in value.items():
        name = plain_key(key)
        if name == "fault" and not names <= _MESSAGES | _ERROR:
            continue
        if name in _ERROR and _says_error(item, value):
            return True
        if name in _STATUS and isinstance(item, str) and plain_key(item) in _FAILED:
            is_fact = plain_key(item) == "unknown" and name in ("state", "type")
            if not is_fact:
                return True
        if name in _HTTP and isinstance(item, str) and re.fullmatch(r"[45]\d\d", item):
            return True
        if (
            name == "code"
            and isinstance(item, str)
            and re.fullmatch(r"[45]\d\d", item)
            and _MESSAGES_ALONE.issuperset(names)
        ):
            return True
        if _CHOICES.match(name) and item and isinstance(item, list) and _has_nothing_else(names - {name}, value):
            return True
        if (name in _SUCCESS and (item is False or (isinstance(item, str) and plain_key(item) == "false"))) or (
            name in ("failed", "iserror", "haserror") and item is True
        ):
            return True
    return False


def _has_nothing_else(names: set[str], value: Mapping[str, Any]) -> bool:
    """Whether beside a list of choices stand an empty list of results, or messages alone."""
    return any(item == [] for item in value.values()) or (bool(names) and _MESSAGES_ALONE.issuperset(names))


def _says_error(item: Any, beside: Mapping[str, Any]) -> bool:
    if not isinstance(item, str):
        return bool(item)
    if plain_key(item) in _NOTHING or re.fullmatch(r"[-+]?0*\.?0*(?:e.*)?", item):
        return False
    measured = re.match(r"\s*(?:[±+-]|\+/-)*\s*\.?\d", item) and len(item) < 30
    return not (measured and any(plain_key(key) not in _MESSAGES | _ERROR for key in beside))
