"""Whether a text that mentions an answer also claims it.

"not Turku", "more than 500" and "5 to 10" mention a value and state another. Only what stands around the value in its
clause is read. Left out: irony, and denials a sentence away.
"""

from __future__ import annotations

import re

REACH = 160
"""Characters to either side that are read."""

_CLAUSE = re.compile(
    r"[.!?;\n](?=\s|$)|[:|]\s|(?<!\ball )\bbut\b|\b(?:however|although|though|instead it|rather it)\b|"
    r",\s+(?:it|he|she|they|we|i|this|that|there|so|in fact|the (?:answer|right|correct))\b|\bthat (?=the|it|he|she)"
)
_DENIES = re.compile(
    r"\b(?:not(?!\s+only\b)|never|nor|neither|without|except(?:\s+for)?|unlike|whether|unless|cannot|[a-z]+n't|"
    r"no(?!\s*[.,:;!]|\s+(?:doubt|less|later|earlier|more)\b)|no\s+longer|instead\s+of|rather\s+than|other\s+than|"
    r"apart\s+from|all\s+but|far\s+from|i?f\s+it)\b"
)
_DENIED_AFTER = re.compile(
    r"[\s\"'*)\]]{0,4}(?:(?:is|are|was|were|has|have|had|does|do|did|can|could|will|would|should)\s+"
    r"(?:not\b(?!\s+only)|never\b|no\s+longer\b|(?:the\s+)?(?:wrong|incorrect|false|invalid|unknown|unavailable)\b)|[a-z]+n't\b)"
)
_MORE = (
    "more|less|fewer|greater|higher|lower|larger|smaller|bigger|longer|shorter|older|younger|later|earlier|taller|"
    "heavier|better|worse|other|rather"
)
_BOUND = re.compile(
    rf"(?:\b(?:{_MORE})\s+than|\bat\s+(?:least|most)|\b(?:before|after|prior\s+to|almost|nearly|between|no\s+later)"
    rf"|(?<![a-z\d\"'/=-])[<>]|[≤≥])\s*=?\s*[$€£¥~]?$"
)
_LIMIT = re.compile(
    r"\b(?:over|under|above|below|beyond|exceed(?:s|ed|ing)?|up\s+to|(?:mini|maxi)mum\s+of|"
    r"as\s+(?:many|much|few|little)\s+as)\s+[$€£¥~]?$"
)
"""What only numbers are bounded by: a date may be entered under 1931-09-17."""
_BOUND_AFTER = re.compile(
    r"(?:\s?\+(?![\w\d])|\s+(?:[a-z]+\s+)?or\s+(?:more|less|fewer|so|later|earlier|above|below|over|under)\b)"
)
_UNIT = r"(?:\s?[a-z°%$€£]+)?"
_RANGE = re.compile(rf"(?:\bbetween\b[^.;]{{1,60}}\band|\d{_UNIT}\s+(?:to|through|until|till))\s+[$€£]?$")
_RANGE_AFTER = re.compile(rf"{_UNIT}\s+(?:to|through|until|till)\s+[$€£]?-?\d")
_EITHER = re.compile(r"\beither\b[^.;]{0,60}$")


def is_claimed(low: str, start: int, end: int, value: str) -> bool:
    """Whether `low[start:end]` is claimed there. `value` is "number", "day" (a date or a year) or "words"."""
    left, right = low[max(0, start - REACH) : start], low[end : end + REACH]
    cut = 0
    for mark in _CLAUSE.finditer(left):
        cut = mark.end()
    clause = left[cut:]
    if _DENIES.search(clause) or _DENIED_AFTER.match(right) or _EITHER.search(clause):
        return False
    if value == "words":
        return True
    if _BOUND.search(left) or _BOUND_AFTER.match(right):
        return False
    if value == "day" and "between" not in clause:
        return True
    return not _LIMIT.search(left) and not (_RANGE.search(left) or _RANGE_AFTER.match(right))
