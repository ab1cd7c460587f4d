"""Letters that look alike become alike: the first step of reading any text.

What: HTML entities, fractions, invisible characters, width, accents, dashes, quotes and the digits of every script are
unified. The text stays readable twice: as it was written (capitals tell a name from a word) and in one case.
Left out: spelling and transliteration.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import cache
from typing import NamedTuple

MAX_MARKS = 30  # on one letter, as in Unicode's stream-safe format: normalising sorts them in quadratic time


class Folded(NamedTuple):
    """A text in its own capitals and in small letters; both have the same length."""

    shown: str
    low: str


_ENTITY = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,24}\d{0,2});", re.IGNORECASE)
_ACCENT = re.compile("[\u0300-\u036f]+")
_DIGIT = re.compile(r"[^\D0-9]")
_UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]+")
_HALVES = {"½": ".5", "¼": ".25", "¾": ".75", "⅛": ".125", "⅜": ".375", "⅝": ".625", "⅞": ".875", "⅕": ".2"}
_HALF = re.compile(f"[{''.join(_HALVES)}]")
_GROUPED = re.compile(r"(?<=\d)_(?=\d{3}(?!\d))")
# "_" is a word character for `re`; ";" is a separator that no number or date looks at.
_PLAIN = str.maketrans({"_": ";", **dict.fromkeys("‐‑‒–—―−", "-"), **dict.fromkeys("’‘ʼ`´", "'")})


def fold(text: str) -> Folded:
    """NFKC without accents, invisible characters and entities; one kind of dash and apostrophe; digits as 0-9."""
    if "&" in text:
        text = _ENTITY.sub(_unescaped, text).replace("&", " and ")
    if not text.isascii():
        text = _of_ascii_shape(text)
    if "_" in text:
        text = _GROUPED.sub(",", text)
    shown = text.translate(_PLAIN)
    low = shown.lower() if shown.isascii() else shown.casefold()
    return Folded(shown if len(shown) == len(low) else low, low)


def _unescaped(entity: re.Match[str]) -> str:
    """&eacute; in any case: a tool may have put it in capitals."""
    found = html.unescape(entity.group())
    return found if found != entity.group() else html.unescape(entity.group().lower())


def _of_ascii_shape(text: str) -> str:
    text = _HALF.sub(lambda half: _HALVES[half.group()], _UNSEEN.sub("", text))
    text = _too_many_marks().sub(r"\1", text)
    text = "".join(letter if len(letter.casefold()) == 1 else letter.casefold() for letter in _normal(text))
    # Recomposed, because marks that are no accents (Hangul, kana) belong to their letter.
    text = _normal(_ACCENT.sub("", unicodedata.normalize("NFD", text)))
    # Python's int() reads such digits, so a tool that returns int(argument) would otherwise not be an echo.
    return _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit.group())), text)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text)


@cache
def marks() -> str:
    """Vowel signs and the like (Devanagari, Thai, ...): part of a word, but not to `re`, which would split there."""
    points = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))
    return "".join(chr(point) for point in points if unicodedata.category(chr(point))[0] == "M")


@cache
def _too_many_marks() -> re.Pattern[str]:
    return re.compile(f"([{marks()}]{{{MAX_MARKS}}})[{marks()}]+")
