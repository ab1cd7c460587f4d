"""Whether a text that mentions an answer also claims it.

"not Turku", "more than 500" and "5 to 10" mention a value and state another. Only what stands around the value in its
clause is read. Left out: irony, and denials a sentence away.
"""

from __future__ import annotations

import re

REACH = 160
"""Characters to either side that are read."""

_CLAUSE = re.compile(
    r"[.!?;\n](?=\s|$)|[:|]\s|(?<!\ball )(?<!everything )\bbut\b|\b(?:however|although|though|instead it|rather it)\b|"
    r",\s+(?:it|he|she|they|we|i|this|that|there|so|in fact|the (?:answer|right|correct))\b|"
    r"(?<!denied )(?<!denies )\bthat (?=the|it|he|she)"
)
_DENIES = re.compile(
    r"\b(?:not(?!\s+only\b)|never|nor|neither|without|except(?:\s+for)?|unlike|whether|unless|cannot|[a-z]+n't|"
    r"no(?!\s*[.,:;!]|\s+(?:doubt|less|later|earlier|more)\b)|no\s+longer|instead\s+of|rather\s+than|other\s+than|"
    r"apart\s+from|all\s+but|far\s+from|i?f\s+it|excluding|excludes|aside\s+from|none\s+of|den(?:ied|ies)|refused\s+to|ruled\s+out)\b"
    r"|\b(?:outside|everything\s+but)(?:\s+of)?\s+(?:the\s+)?$"
)
_DENIED_AFTER = re.compile(
    r"[\s\"'*)\]]{0,4}(?:(?:is|are|was|were|has|have|had|does|do|did|can|could|will|would|should)\s+(?:been\s+|be\s+)?"
    r"(?:not\b(?!\s+only)|never\b|no\s+longer\b|excluded\b|ruled\s+out\b|rejected\b|"
    r"(?:the\s+)?(?:wrong|incorrect|false|invalid|unknown|unavailable)\b)|[a-z]+n't\b|:\s*false\b)"
)
_MORE = (
    "more|less|fewer|greater|higher|lower|larger|smaller|bigger|longer|shorter|older|younger|later|earlier|taller|"
    "heavier|better|worse|other|rather"
)
_BOUND = re.compile(
    rf"(?:\b(?:{_MORE})\s+than(?:\s+or\s+equal\s+to)?|\bat\s+(?:least|most)|\b(?:upwards|in\s+excess)\s+of|"
    rf"\bsurpass(?:es|ed|ing)?|\b(?:before|after|prior\s+to|almost|nearly|between|no\s+later)"
    rf"|(?<![a-z\d\"'/=-])[<>]|[≤≥])\s*=?\s*[$€£¥~]?$"
)
_LIMIT = re.compile(
    r"\b(?:over|under|above|below|beyond|north\s+of|exceed(?:s|ed|ing)?|up\s+to|(?:mini|maxi)mum\s+of|"
    r"as\s+(?:many|much|few|little)\s+as)\s+[$€£¥~]?$"
)
"""What only numbers are bounded by: a date may be entered under 1931-09-17."""
_BOUND_AFTER = re.compile(
    r"(?:\s?\+(?![\w\d])|[\s-]plus\b|(?:\s+[a-z]+)?\s+(?:or|and)\s+(?:more|less|fewer|so|later|earlier|above|below|over|under"
    r"|greater|higher|lower|larger|smaller|longer|up|upwards)\b|(?:\s+[a-z]+)?\s+(?:at\s+(?:the\s+)?(?:most|least)\b"
    r"|(?:mini|maxi)mum\b(?!\s*[:=]?\s*[-\d]))|\s?(?:°[cf]?|degrees?)?\s+below\b(?!\s+zero|\s+\w+\s+\w))"
)
_UNIT = r"(?:\s?[a-z°%$€£]+)?"
_RANGE = re.compile(rf"(?:\bbetween\b[^.;]{{1,60}}\band|\d{_UNIT}\s+(?:to|through|until|till))\s+[$€£]?$")
_RANGE_AFTER = re.compile(rf"{_UNIT}\s+(?:to|through|until|till)\s+[$€£]?-?\d")
_ALTERNATIVE = re.compile(rf"\d{_UNIT}(?:\s+(?:and/)?or\s+|\s*(?:~|\.{{2,}}|±|\+/-)\s*|\s+/\s+)[$€£]?$|(?:±|\+/-)\s*$")
_ALTERNATIVE_AFTER = re.compile(rf"{_UNIT}(?:\s+(?:and/)?or\s+|\s*(?:~|\.{{2,}})\s*|\s+/\s+)[$€£]?-?\d")
"""Another number as well: 40 or 60, 40~60, 12 / 15; and what an error term adds."""
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
    if _ALTERNATIVE.search(left[-40:]) or _ALTERNATIVE_AFTER.match(right):
        return False
    if value == "day" and "between" not in clause:
        return True
    return not _LIMIT.search(left) and not (_RANGE.search(left) or _RANGE_AFTER.match(right))
