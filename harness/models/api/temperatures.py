"""What a refusal says of a temperature of 0: which one an endpoint takes in its place, or that it takes none.

0 is what a run asks for by itself. Some servers want a number above it (TGI, MiniMax, Transformers), some one number
only (OpenAI's reasoning models, Kimi). A wording that names neither is answered by the least, and then by none.
"""

from __future__ import annotations

import re

LEAST = 0.01
"""Sent in place of 0 where no least temperature is named: as good as greedy."""
HOTTEST = 2.0
STATUSES = frozenset({400, 422, 500})
"""Servers that check in their sampler answer with 500."""

NUMBER = r"[\s`'\"(\[]*(?:=|is|of)?\s*(\d+(?:\.\d+)?(?:e-?\d+)?)"
ABOVE = re.compile(rf"(?:(?:greater|larger|more|higher|bigger) than|above|>(?!=))(?! or equal){NUMBER}", re.IGNORECASE)
BETWEEN = re.compile(r"([(\[])\s*(\d+(?:\.\d+)?)\s*,\s*\d")
FROM = re.compile(
    rf"(?:between|at least|>=|≥|or equal to|range|minimum|from|not be (?:less|lower) than){NUMBER}", re.IGNORECASE
)
ONE_ONLY = re.compile(
    r"\bonly\b|default|fixed|one of|configurable"
    r"|(?:requires? temperature\W+|must be (?:set to |exactly |equal to )?[`'\"]?)1(?:\.0+)?(?![\d.])",
    re.IGNORECASE,
)
NONE = re.compile(
    r"unsupported|not support|unrecognized|unknown|unexpected|not permitted|not allowed|forbidden|deprecated",
    re.IGNORECASE,
)
ZERO = re.compile(r"(?<![\d.])0(?:\.0+)?(?![\d.])|zero|positive", re.IGNORECASE)
VALUE = (
    r"(?:\b(?:must|should|ha(?:s|ve) to|only|default|range|between|valid|invalid|illegal|cannot|can't|unsupported"
    r"|supports?|supported|allow(?:ed)?|accept(?:ed|s)?|greater|above|positive|zero|at least|min(?:imum)?|expected"
    r"|out of|too (?:low|small))\b|[<>]=? ?\d)"
)
NAMED = re.compile(r"\btemperature\b", re.IGNORECASE)
BLAMED = re.compile(rf"\btemperature\b.{{0,80}}?{VALUE}|{VALUE}.{{0,60}}?\btemperature\b", re.IGNORECASE | re.DOTALL)
"""What it takes behind 500, which may say anything."""
OF_TOOL = re.compile(r"\b(?:tools?|functions?|schema|properties)\b", re.IGNORECASE)
"""Weather has a temperature too."""


def find_refusal(status: int, said: str) -> str | None:
    """`temperature=X` where X may be sent in place of 0, `temperature` where none may; None for another complaint."""
    if status not in STATUSES or not (BLAMED if status == 500 else NAMED).search(said) or OF_TOOL.search(said):
        return None
    if (least := named_least(said)) is not None:
        return f"temperature={least:g}"
    if ONE_ONLY.search(said) or (NONE.search(said) and not ZERO.search(said)):
        return "temperature"
    return f"temperature={LEAST:g}"


def named_least(said: str) -> float | None:
    """The least temperature that a message names, or one just above a bound that it excludes."""
    if found := BETWEEN.search(said):
        least, included = float(found[2]), found[1] == "["
    elif found := ABOVE.search(said):
        least, included = float(found[1]), False
    elif found := FROM.search(said):
        least, included = float(found[1]), True
    else:
        return None
    least += 0.0 if included and least > 0 else LEAST
    return least if least <= HOTTEST else None
