"""Text to tokens: what the strict verifier compares (rule version 1).

What: a text becomes a tuple of tokens, a tool's output becomes leaves (token tuples that no match may cross).
Why: "2" must not be found in "12", yet `70,000,000.00` and 70000000, or 1 May 2007 and 2007-05-01, are the same fact.
Left out: units, synonyms, spelled-out numbers, word boundaries in scripts that are written without spaces.

A token is a string. Words are themselves; a number is "#" and its exact decimal value; a date is "@" and Y-M-D.
"#" and "@" separate tokens in any text, so no word can be taken for a number or a date. Nothing here raises.
"""

from __future__ import annotations

import json
import re
import unicodedata
from datetime import date
from functools import cache
from typing import Any, NamedTuple

Tokens = tuple[str, ...]

ARTICLES = frozenset(("a", "an", "the"))
MAX_DEPTH = 50  # deeper JSON is hostile: it is then read as one plain text
MAX_LEAVES = 200_000  # likewise
MAX_PLAIN_ZEROS = 50  # numbers with more zeros than this are written with an exponent, so 1e999999999 stays short
MAX_EXPONENT_DIGITS = 18  # a longer exponent is left as it was written
MAX_MARKS = 30  # on one letter, as in Unicode's stream-safe format: normalising sorts them in quadratic time

# --- folding: letters that look alike become alike ---------------------------------------------------------------

_ACCENT = re.compile("[\u0300-\u036f]+")
_DIGIT = re.compile(r"[^\D0-9]")
# "_" is a word character for `re`; ";" is a separator that no number, date or sign rule looks at.
_PLAIN = str.maketrans({"_": ";", **dict.fromkeys("‐‑‒–—―−", "-")})


def fold(text: str) -> str:
    """NFKC, case folded, accents dropped, dashes unified, decimal digits of every script as 0-9."""
    if not text.isascii():
        text = _too_many_marks().sub(r"\1", text)
        text = unicodedata.normalize("NFKC", text).casefold()
        text = _ACCENT.sub("", unicodedata.normalize("NFD", text))
        # Recomposed, because marks that are no accents (Hangul, kana) belong to their letter.
        text = unicodedata.normalize("NFKC", text)
        # Python's int() reads such digits, so a tool that returns int(argument) would otherwise not be an echo.
        text = _DIGIT.sub(lambda digit: str(unicodedata.decimal(digit.group())), text)
    return text.lower().translate(_PLAIN)


# --- scanning: one pattern, applied to folded text ---------------------------------------------------------------

_MONTH = (
    "(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?"
    "|sep(?:t(?:ember)?)?|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)"
)
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")


@cache
def _marks() -> str:
    """Vowel signs and the like (Devanagari, Thai, ...): part of a word, but not to `re`, which would split there."""
    points = (*range(0x300, 0x20000), *range(0xE0100, 0xE01F0))
    return "".join(chr(point) for point in points if unicodedata.category(chr(point))[0] == "M")


@cache
def _too_many_marks() -> re.Pattern[str]:
    return re.compile(f"([{_marks()}]{{{MAX_MARKS}}})[{_marks()}]+")


@cache
def _scanner(dates: bool, ascii_only: bool) -> re.Pattern[str]:
    """One pattern for a token, tried left to right: date, clock, number, word. ASCII text needs no table of marks."""
    letter = r"\w" if ascii_only else rf"[\w{_marks()}]"
    iso = rf"\d{{4}}-(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12]\d|3[01])(?:t(?=\d\d?:\d\d)|(?!{letter}))"
    date_ = rf"""(?:{iso}
      | \d\d?\s+{_MONTH}\.?,?\s+\d{{4}}(?!{letter})
      | {_MONTH}\.?\s+\d\d?(?:,\s*|\s+)\d{{4}}(?!{letter}))"""
    # What a word or number goes on with: letter-hyphen-digits (covid-19), and a point between digits (gpt-4.5).
    more = rf"(?:(?:(?<!\d)-(?!{iso})|(?<=\d)\.)(?=\d){letter}+)*"
    token = rf"""
        (?P<clock>  \d\d?(?::[0-5]\d){{1,2}}(?:\.\d+)?(?!\d){letter}*)
      | (?P<number> (?:(?<![^\s(\[{{])-(?!{date_}))?
                    (?:(?:\d{{1,3}}(?:,\d{{3}})+(?!\d)|\d+)(?:\.\d+)*|(?<![\w.])\.\d+(?:\.\d+)*)
                    (?:e[+-]\d+(?!{letter}))?
                    (?P<tail>{letter}*{more}))
      | (?P<word>   {letter}+{more})"""
    return re.compile(rf"(?P<date>{date_})|{token}" if dates else token, re.VERBOSE)


def tokens(text: str) -> Tokens:
    """All tokens of `text`, in order, articles included."""
    return _scan(fold(text))


def without_articles(found: Tokens) -> Tokens:
    return tuple(token for token in found if token not in ARTICLES) if not ARTICLES.isdisjoint(found) else found


def parts(text: str) -> list[str]:
    """`text` cut at every ", " that is not inside a date, folded: "Brazil, China" has two parts, "May 1, 2007" one."""
    text = fold(text)
    found = _scanner(True, text.isascii()).finditer(text)
    dates = [match.span() for match in found if match.lastgroup == "date" and _date(match.group())]
    pieces, start = [], 0
    for comma in re.finditer(", ", text):
        if not any(first <= comma.start() < last for first, last in dates):
            pieces.append(text[start : comma.start()])
            start = comma.end()
    return [*pieces, text[start:]]


def is_year(token: str) -> bool:
    """True for a four-digit integer: the only number that a date token also answers to."""
    return len(token) == 5 and token[0] == "#" and token[1:].isdigit()


def same(wanted: str, found: str) -> bool:
    """Whether token `found` is what `wanted` asks for: equal, or a date whose year is the number wanted."""
    return wanted == found or (found[0] == "@" and is_year(wanted) and found[1:5] == wanted[1:])


def _scan(folded: str) -> Tokens:
    found: list[str] = []
    for match in _scanner(True, folded.isascii()).finditer(folded):
        kind, text = match.lastgroup, match.group()
        if kind == "word":
            found.append(text)
        elif kind == "date":
            day = _date(text)
            found.extend([day] if day else _undated(folded, *match.span()))
        else:
            found.append(_clock(text) if kind == "clock" else _digits(text, match["tail"]))
    return tuple(found)


def _undated(folded: str, start: int, end: int) -> list[str]:
    """The tokens of something that is shaped like a date but on no calendar (31 February 2007)."""
    found = []
    for match in _scanner(False, folded.isascii()).finditer(folded, start, end):
        text = match.group()
        found.append(_digits(text, match["tail"]) if match.lastgroup == "number" else text)
    return found


def _date(text: str) -> str | None:
    """A folded date in any of the three orders as a token; None when no calendar has that day."""
    first, second, third = re.findall(r"\d+|[a-z]+", text)[:3]
    if first.isalpha():
        year, month, day = third, first, second
    elif second.isalpha():
        year, month, day = third, second, first
    else:
        year, month, day = first, second, third
    number_of_month = _MONTHS.index(month[:3]) + 1 if month.isalpha() else int(month)
    try:
        return f"@{date(int(year), number_of_month, int(day)).isoformat()}"
    except ValueError:
        return None


def _clock(text: str) -> str:
    """A clock time as written; the Z of an ISO time is a zone, not a part of the time."""
    return text[:-1] if text[-1] == "z" and text[-2].isdigit() else text


def _digits(text: str, tail: str) -> str:
    """What begins with a digit: a number, a version (3.11.7), or digits glued to letters (1,024gb is 1024gb)."""
    text = text.replace(",", "")
    return text if tail or text.count(".") > 1 else number(text)


def number(text: str) -> str:
    """The token of a decimal like -70.50e+3: its exact value, made on strings: no float, rounding or huge power."""
    mantissa, _, exponent = text.lower().partition("e")
    sign = "-" if mantissa.startswith("-") else ""
    whole, _, fraction = mantissa.lstrip("+-").partition(".")
    digits = (whole + fraction).lstrip("0")
    kept = digits.rstrip("0")
    if not kept:
        return "#0"
    if len(exponent) > MAX_EXPONENT_DIGITS:
        return f"#{text.lower()}"
    power = int(exponent or "0") - len(fraction) + len(digits) - len(kept)
    if 0 <= power <= MAX_PLAIN_ZEROS:
        return f"#{sign}{kept}{'0' * power}"
    if -MAX_PLAIN_ZEROS <= power < 0:
        kept = kept.zfill(1 - power)
        return f"#{sign}{kept[:power]}.{kept[power:]}"
    return f"#{sign}{kept}e{power}"


# --- leaves: the pieces of an output that no match may cross -----------------------------------------------------


class Leaf(NamedTuple):
    """One piece of text: its tokens without articles, and all of them (for an answer that is only an article)."""

    tokens: Tokens
    raw: Tokens


class NumberText(str):
    """A JSON number as it was written: float() would round it, and int() refuses more than 4,300 digits."""

    __slots__ = ()


# parse_constant: NaN and Infinity are no JSON; they are read as the words they are.
_DECODER = json.JSONDecoder(parse_int=NumberText, parse_float=NumberText, parse_constant=str)
_OPENS_JSON = re.compile(r"\s*[\[{]")


def decode(text: str) -> Any:
    """The dict or list that `text` holds as JSON, its numbers as NumberText; else `text` itself."""
    if not _OPENS_JSON.match(text):
        return text
    try:
        return _DECODER.decode(text.strip())
    except (ValueError, RecursionError):
        return text


def leaf(text: str) -> Leaf:
    raw = (number(text),) if isinstance(text, NumberText) else tokens(text)
    return Leaf(without_articles(raw), raw)


def leaves(text: str) -> list[Leaf]:
    """The leaves of an output: strings, numbers and keys of its JSON, JSON inside strings too; else the one text."""
    return [leaf(piece) for piece in pieces(text)]


def pieces(text: str) -> list[str]:
    """The texts that `leaves` makes leaves of."""
    found = _walk(decode(text))
    return [text] if found is None else found


def _walk(value: Any) -> list[str] | None:
    """The leaf texts of a decoded value; None when it is too deep or too large to be anything but hostile."""
    found: list[str] = []
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH or len(found) + len(waiting) > MAX_LEAVES:
            return None
        inner: Any = ()
        if isinstance(value, NumberText):
            found.append(value)
        elif isinstance(value, str):
            decoded = decode(value)
            if decoded is value:
                found.append(value)
            else:
                inner = (decoded,)
        elif isinstance(value, dict):
            inner = (*value, *value.values())
        elif isinstance(value, list):
            inner = value
        waiting.extend((item, depth + 1) for item in inner)
    return found
