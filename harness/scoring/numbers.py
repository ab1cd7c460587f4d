"""Numbers, dates and clock times as tokens: one value, one spelling.

A number is "#" and its exact decimal value, a date "@" and Y-M-D (a month of a year "@Y-M", a day of a month "@-M-D"),
a clock time is H:M in 24 hours. Nothing is rounded and nothing is converted to a float.
"""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache

MAX_PLAIN_ZEROS = 50  # numbers with more zeros than this are written with an exponent, so 1e999999999 stays short
MAX_EXPONENT_DIGITS = 18  # a longer exponent is left as it was written
MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    "|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
SCALES = {
    **dict.fromkeys(("thousand", "k"), 3),
    **dict.fromkeys(("million", "millions", "mn", "mln", "mio"), 6),
    **dict.fromkeys(("billion", "billions", "bn"), 9),
    **dict.fromkeys(("trillion", "trillions", "tn", "trn"), 12),
    "hundred": 2,
    "lakh": 5,
    "crore": 7,
}
"""Words after a number that multiply it, and by which power of ten."""
_UNITS = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
_WORDS = (*_UNITS.split(), "seventeen", "eighteen", "nineteen")
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
WORD_VALUES = {**{word: n for n, word in enumerate(_WORDS)}, **{word: 10 * n for n, word in enumerate(_TENS, 2)}}


def in_words(value: int) -> tuple[str, ...]:
    """A number below a hundred as words: 21 is twenty, one."""
    if value < len(_WORDS):
        return (_WORDS[value],)
    tens, units = divmod(value, 10)
    return (_TENS[tens - 2], *((_WORDS[units],) if units else ()))


def number(text: str, power: int = 0) -> str:
    """The token of a decimal like -70.50e+3 times ten to the power: its exact value, made on strings, never a float."""
    mantissa, _, exponent = text.lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    digits = (whole + fraction).lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return "#0"
    if len(exponent) > MAX_EXPONENT_DIGITS:
        return f"#{text.lower()}"
    power += int(exponent or "0") - len(fraction) + len(digits) - len(kept)
    if 0 <= power <= MAX_PLAIN_ZEROS:
        return f"#{sign}{kept}{'0' * power}"
    if -MAX_PLAIN_ZEROS <= power < 0:
        kept = kept.zfill(1 - power)
        return f"#{sign}{kept[:power]}.{kept[power:]}"
    return f"#{sign}{kept}e{power}"


_MACHINE_DECIMALS = 6
_MACHINE_DIGITS = 15


def is_long(token: str) -> bool:
    """Whether a number has so many decimals that a machine made it: it then also states what it rounds to."""
    return token[0] == "#" and "e" not in token and len(token.partition(".")[2]) >= _MACHINE_DECIMALS


def rounds_to(long: str, wanted: str) -> bool:
    """Whether 66.666667 is wanted as 66.67. A whole number is reached only by what a float calls its neighbour."""
    places = len(wanted.partition(".")[2])
    digits, _, fraction = long[1:].lstrip("-").partition(".")
    if len(wanted) > 40 or len(long) > 40 or wanted[1:2] == "e" or places >= len(fraction):
        return False
    noise = len(digits.lstrip("0")) + len(fraction) >= _MACHINE_DIGITS
    if not noise and not places:
        return False
    scaled = int(digits + fraction)
    step = 10 ** (len(fraction) - places)
    near = (scaled + step // 2) // step
    if not places and abs(near * step - scaled) * 10**9 > scaled:
        return False
    return number(f"{'-' if '-' in long else ''}{near}", -places) == wanted


# --- dates and clocks --------------------------------------------------------------------------------------------


def date_token(text: str) -> str | None:
    """A folded date in any order as a token; None when no calendar has that day.

    05/06/2007 may be May or June: it is equal only to itself, but its year is its year.
    """
    found = [piece for piece in re.findall(r"\d+|[a-z]+", text) if piece not in ("st", "nd", "rd", "th", "of", "t")]
    month = next((piece for piece in found if piece.isalpha()), None)
    numbers = [piece for piece in found if piece is not month]
    if month is not None:
        return _named(_MONTHS.index(month[:3]) + 1, numbers)
    if len(found) == 2:
        year, of_year = (found[0], found[1]) if len(found[0]) == 4 else (found[1], found[0])
        return f"@{year}-{int(of_year):02}"
    if len(found[0]) == 4:
        return _day(*map(int, found))
    first, second, year = map(int, found)
    if "." not in text and first <= 12 and second <= 12 and first != second:
        return f"@{year:04}-{first}/{second}"
    return _day(year, first, second) if first <= 12 < second and "." not in text else _day(year, second, first)


def _named(month: int, numbers: list[str]) -> str | None:
    if len(numbers) == 1 and len(numbers[0]) == 4:
        return f"@{numbers[0]}-{month:02}"
    if len(numbers) == 1:
        leap = _day(2000, month, int(numbers[0]))
        return leap and f"@{leap[5:]}"
    year, day = numbers if len(numbers[0]) == 4 else reversed(numbers)
    return _day(int(year), month, int(day))


def _day(year: int, month: int, day: int) -> str | None:
    try:
        return f"@{date(year, month, day).isoformat()}"
    except ValueError:
        return None


@lru_cache(maxsize=4096)
def month_of(word: str) -> str | None:
    """The number of a month that is written out: "05" for may."""
    named = re.fullmatch(MONTH, word) and (len(word) > 3 or word == "may")
    return f"{_MONTHS.index(word[:3]) + 1:02}" if named else None


def clock(text: str) -> str:
    """A folded clock time as H:M, with seconds only where there are some: 3:30 p.m. and 15:30:00 are 15:30."""
    hours, *rest = re.findall(r"\d+(?:\.\d+)?", text)
    half = re.search(r"([ap])\.?\s?m", text)
    hour = int(hours)
    if half and hour <= 12:
        hour = hour % 12 + (12 if half[1] == "p" else 0)
    minute, second = (*rest, "00", "00")[:2]
    return f"{hour:02}:{minute}" + (f":{second}" if second.strip("0.") else "")
