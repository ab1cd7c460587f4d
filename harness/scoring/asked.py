"""What the question itself lets an answer say: a percentage its sign, a name the noun that it was asked by.

    What percentage of ...?                       28.39 and 28.39 %
    Which is older, the comet Helonda or ...?     Helonda and the comet Helonda

Left out: what is no span of the question. "The older comet, Helonda" is read by the rules that need no question.
"""

from __future__ import annotations

import re

_ASKS_PERCENTAGE = re.compile(r"\bpercentages?\b|\b(?:how many|what|in|as a) (?:per ?cent|%)", re.IGNORECASE)
_SIGN = re.compile(r"(?<=\d)\s*(?:%|per\s?cent\b)", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|an?)\s+", re.IGNORECASE)
_FRAME = " \t.!*_`\"'"
MOST = 3
"""Words of a noun beside a name."""
_LINK = re.compile(
    r"\b(?:an?|the|and|or|nor|not|no|both|either|neither|but|if|than|as|of|by|for|from|in|at|to|with|on|near|under|over|"
    r"behind|beside|that|who|whom|whose|which|what|where|when|before|after|is|are|was|were)\b"
)
"""What makes another thing of a name: the publisher of Helonda."""


def read_as_asked(text: str, gold: str, question: str) -> str:
    """An answer without what it repeats of the question; the text itself where there is nothing of that."""
    if "%" not in gold and _ASKS_PERCENTAGE.search(question):
        text = _SIGN.sub("", text)
    return gold if _is_named(text, gold, question) else text


def _is_named(text: str, gold: str, question: str) -> bool:
    """Whether a text is the gold name and words for its kind, as they stand in the question wherever the name does."""
    said = _ARTICLE.sub("", text.strip(_FRAME), count=1)
    before, found, after = f" {said} ".partition(f" {gold} ")
    words = f"{before[:2].lower()}{before[2:]} {after}".split()
    return (
        bool(found)
        and 1 <= len(words) <= MOST
        and all(word.isalpha() and word.islower() and not _LINK.fullmatch(word) for word in words)
        and _count(said, question) == _count(gold, question) > 0
    )


def _count(words: str, question: str) -> int:
    return len(re.findall(rf"(?<!\w){re.escape(words)}(?!\w)", question, re.IGNORECASE))
