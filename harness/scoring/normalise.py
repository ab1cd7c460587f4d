"""Text to tokens: what the strict verifier compares (rule version 2).

What: a text becomes a tuple of tokens, each with its place in the text.
Why: "2" must not be found in "12", yet `70,000,000.00`, 70000000 and 70 million, or 1 May 2007 and 2007-05-01, are the
same fact.
Left out: synonyms, conversions (12 km is not 12,000 m), grammar.

A token is a string. Words are themselves; a number is "#" and its exact decimal value; a date is "@" and Y-M-D.
"#" and "@" separate tokens in any text, so no word can be taken for a number or a date. Nothing here raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache, lru_cache
from typing import NamedTuple

from harness.scoring.fold import Folded, fold, marks
from harness.scoring.numbers import (
    MAX_PLAIN_ZEROS,
    MONTH,
    SCALES,
    WORD_VALUES,
    clock,
    date_token,
    number,
)
from harness.scoring.units import CURRENCIES, GLUED, PER_HOUR, SIGNS, unit_of

Tokens = tuple[str, ...]
Spans = tuple[tuple[int, int], ...]

ARTICLES = frozenset(("a", "an", "the"))
SHORT = 160
"""Characters of a text that is kept when it was read: keys, names, units and errors come again and again."""


class Text(NamedTuple):
    """A text that was read: its tokens and where each stands in `folded`."""

    folded: Folded
    tokens: Tokens
    spans: Spans


class _Token(NamedTuple):
    text: str
    start: int
    end: int


# --- scanning: one pattern, applied to folded text ---------------------------------------------------------------

# Scripts without spaces: each letter, with its marks, is a token.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff"
_DAY, _OF_YEAR = r"(?:0?[1-9]|[12]\d|3[01])", r"(?:0?[1-9]|1[0-2])"
_ORDINAL = r"\d\d?(?:st|nd|rd|th)?"


@cache
def _scanner(dates: bool, ascii_only: bool, digits: bool = True) -> re.Pattern[str]:
    """One pattern for a token, tried left to right: date, clock, number, word. ASCII text needs no table of marks, and
    text without `digits` nothing that has one."""
    letter = r"\w" if ascii_only else rf"[\w{marks()}]"
    alone = r"[^\W\d_]" if ascii_only else rf"[{_UNSPACED}][{marks()}]*"
    iso = rf"\d{{4}}(?:-{_OF_YEAR}-|/{_OF_YEAR}/|\.{_OF_YEAR}\.){_DAY}(?:t(?=\d\d?:\d\d)|(?!{letter}|\.\d))"
    dash = r"(?:\s+(?:of\s+)?|-)"
    date_ = rf"""(?:{iso}
      | (?<![.\d]){_DAY}(?:[./]{_OF_YEAR}[./]|/{_DAY}/|-{_OF_YEAR}-|-{_DAY}-)\d{{4}}(?!{letter}|[./-]\d)
      | {_ORDINAL}{dash}{MONTH}\.?,?(?:\s+|-|,\s*)\d{{4}}(?!{letter})
      | {MONTH}\.?\s+{_ORDINAL}(?:,\s*|\s+)\d{{4}}(?!{letter})
      | [12]\d{{3}}\s+{MONTH}\s+\d\d?(?!{letter}|[.:]\d)
      | {MONTH}\.?,?\s+(?:of\s+)?[12]\d{{3}}(?!{letter}|[.,]\d)
      | [12]\d{{3}}-(?:0[1-9]|1[0-2])(?!{letter}|[-/.:]\d)
      | (?:0[1-9]|1[0-2])/[12]\d{{3}}(?!{letter}|[-/.:]\d)
      | {_ORDINAL}(?:\s+of)?\s+{MONTH}(?!{letter})
      | {MONTH}\.?\s+{_ORDINAL}(?!{letter}|[.,:]\d))"""
    clock_ = rf"""\d\d?(?::[0-5]\d){{1,2}}(?:\.\d+)?(?![\d:])(?:\s?[ap]\.?m(?!{letter})\.?|z(?!{letter}))?
      | \d\d?\s?(?:[ap]m(?!{letter})|[ap]\.m\.) | \d\d?\s+o'?clock(?!{letter})"""
    # What a word goes on with: letter-hyphen-digits (covid-19), and a point between digits (gpt-4.5).
    more = rf"(?:(?:(?<!\d)-(?!{iso})|(?<=\d)\.)(?=\d){letter}+)*"
    whole = rf"{letter}+{more if digits else ''}"
    word = rf"""
        (?P<sign>   (?:us|au?|ca?|hk|nz)?[$]|[€£¥₹₩₽₺₪%‰°])
      | (?P<initials> (?<!{letter})(?:[^\W\d_]\.\s?){{2,}}(?:[^\W\d_](?!{letter}))?)
      | (?P<word>   {alone + "|" if not ascii_only else ""}{letter}+?(?=[{_UNSPACED}])|{whole})"""
    if not digits:
        return re.compile(word, re.VERBOSE)
    token = rf"""
        (?P<clock>  (?:{clock_})(?!{letter}))
      | (?P<code>   \+\d[\d()]*(?:[ -]\(?\d+\)?){{2,8}}(?!{letter}) | \d{{3}}\ \d{{4}}(?!\d|[.,]\d) )
      | (?P<number> (?:(?<![\w)\]}}%-])-(?!{date_ if dates else "$."}))?{_NUMBER}(?:e[+-]\d+(?!{letter}))?
                    (?P<range>{_RANGE})?(?P<tail>{letter}*{more}))
      | {word}"""
    return re.compile(rf"(?P<date>{date_})|{token}" if dates else token, re.VERBOSE)


_NUMBER = r"""(?:
    0,\d+(?![\d,])
  | \d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)*
  | \d{1,2}(?:,\d\d)+,\d{3}(?![\d,])(?:\.\d+)?
  | [1-9]\d{0,2}(?:\.\d{3}){2,}(?!\d|\.\d)(?:,\d+)?
  | [1-9]\d{0,2}(?:\.\d{3})+,(?:\d\d?|\d{4,})(?![\d,])
  | [1-9]\d{0,2}(?:\ \d{3})+(?!\d)(?:[.,]\d+)?(?![,.]\d)
  | [1-9]\d{0,2}(?:'\d{3})+(?!\d)(?:\.\d+)?
  | (?<![,;\[({])(?<![,;\[({]-)(?!\d{4},\d{4}(?!\d))\d+,(?:\d\d?|\d{4,})(?![\d,\])}]|[.]\d)
  | \d+(?:\.\d+)*
  | (?<![\w.])\.\d+(?:\.\d+)*)"""
"""Groups of three with commas, points, spaces or apostrophes, or of two as in India; a decimal comma where no list, and
no group of three, can be meant."""
_RANGE = r"(?:(?:-|\ -\ |[/:]|\.\.)\d+(?:[.,]\d+)*)+"
"""What makes digits one token: 5-10, 1990 - 1999, 978-3-16, 3/10, 16:9."""


def read(text: str) -> Text:
    """All tokens of `text`, in order, articles included, with their places."""
    return _read_again(text) if len(text) <= SHORT else _read(text)


def _read(text: str) -> Text:
    folded = fold(text)
    return _text(folded, list(_scan(folded)))


_read_again = lru_cache(maxsize=1024)(_read)


def _text(folded: Folded, found: list[_Token]) -> Text:
    texts = tuple([token.text for token in found])
    if not (_SPOKEN.isdisjoint(texts) and _MEASURING.isdisjoint([text[0] for text in texts])):
        found = list(_measured(folded, found))
        texts = tuple([token.text for token in found])
    return Text(folded, texts, tuple([(token.start, token.end) for token in found]))


_SPOKEN = frozenset((*SIGNS, *WORD_VALUES))
_MEASURING = frozenset("#%°$€£¥₹₩₽₺₪")
"""Tokens, and how tokens begin, that change what stands beside them."""


def read_apart(text: str) -> tuple[Text, Tokens]:
    """The same, and the tokens where nothing is joined: 12 345 and 5-10 are two numbers, 1.5 million is 1.5."""
    folded = fold(text)
    found = list(_scan(folded))
    apart: list[str] = []
    for token in found:
        piece = folded.low[token.start : token.end]
        is_joined = token.text[0] != "@" and piece.isascii() and not piece.isalnum() and _BARE.fullmatch(piece)
        apart.extend(map(number, _decimals(piece)) if is_joined else (token.text,))
    return _text(folded, found), tuple(apart)


_BARE = re.compile(r"[-+]?\(?\d[\d\s.,:/'()-]*")


def _decimals(piece: str) -> list[str]:
    sign = "-" if piece[0] == "-" else ""
    found = [one.replace(",", "") for one in re.findall(r"\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?", piece)]
    return [sign + found[0], *found[1:]]


def tokens(text: str) -> Tokens:
    """All tokens of `text`, in order, articles included."""
    return read(text).tokens


def without_articles(found: Tokens) -> Tokens:
    return tuple(token for token in found if token not in ARTICLES) if not ARTICLES.isdisjoint(found) else found


def date_spans(folded: Folded) -> list[tuple[int, int]]:
    """Where the dates and the numbers with commas stand in a folded text."""
    found = _scanner(True, folded.low.isascii()).finditer(folded.low)
    return [match.span() for match in found if match.lastgroup == "date" and date_token(match.group())]


def is_year(token: str) -> bool:
    """True for a four-digit integer: the only number that a date token also answers to."""
    return len(token) == 5 and token[0] == "#" and token[1:].isdigit()


def _scan(folded: Folded, dates: bool = True, start: int = 0, end: int | None = None) -> Iterator[_Token]:
    low = folded.low
    digits = _HAS_DIGIT.search(low) is not None
    codes = _files(low) if dates and digits else []  # what looks like a date and is none stands in no file name
    end = len(low) if end is None else end
    for match in _scanner(dates, low.isascii(), digits).finditer(low, start, end):
        kind, text, place = match.lastgroup, match.group(), match.span()
        if kind == "word":
            yield _Token(text, *place)
        elif kind == "initials":
            yield _Token(re.sub(r"[.\s]", "", text), place[0], place[0] + len(text.rstrip()))
        elif kind == "date":
            yield from _dated(folded, *place)
        elif kind == "number" and text.isdigit() and len(text) < MAX_PLAIN_ZEROS and not codes:
            yield _Token(f"#{text.lstrip('0') or '0'}", *place)  # what number() says, without its work
        elif kind == "number":
            yield from _numbered(folded, match, any(first <= place[0] < last for first, last in codes))
        elif kind == "clock":
            yield _Token(clock(text), *place)
        else:
            yield _Token(text, *place)


_HAS_DIGIT = re.compile(r"\d")
_FILE = re.compile(
    r"\.(?:pdf|csv|tsv|txt|json|xml|html?|png|jpe?g|gif|svg|xlsx?|docx?|zip|tar|gz|mp[34]|md|py|log)(?!\w)"
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")


def _files(low: str) -> list[tuple[int, int]]:
    """Where file names and web addresses stand: numbers in them are names."""
    found = [match.span() for match in _ADDRESS.finditer(low)] if "www" in low or "://" in low else []
    if "." in low:
        for match in _FILE.finditer(low):
            before = low[max(0, match.start() - 80) : match.start()]
            found.append((match.start() - len(before) + _last_space(before), match.end()))
    return found


def _last_space(text: str) -> int:
    return max(text.rfind(mark) for mark in " \n\t\"'<>()[]") + 1


def _dated(folded: Folded, start: int, end: int) -> Iterator[_Token]:
    text = folded.low[start:end]
    day = date_token(text)
    if day is None or (day[1] == "-" and _is_verb(folded.shown[start:end])):
        yield from _scan(folded, False, start, end)
    else:
        yield _Token(day, start, end)


def _is_verb(shown: str) -> bool:
    return bool(re.search(r"\b(?:may|march|mar)\b", shown))


def _numbered(folded: Folded, match: re.Match[str], code: bool) -> Iterator[_Token]:
    """What begins with a digit: a number with or without unit, a version (3.11.7), a range, digits glued to letters."""
    text, (start, end), tail = match.group(), match.span(), match["tail"]
    if match["range"]:
        yield _Token(re.sub(r"[\s,]", "", text[: len(text) - len(tail)]), start, end - len(tail))
        if tail:
            yield _Token(unit_of(tail) or tail, end - len(tail), end)
        return
    plain = _decimal(text[: len(text) - len(tail)])
    if code or plain.count(".") > 1:
        yield _Token(plain + tail, start, end)
        return
    power = _SCALE_LETTERS.get(folded.shown[end - len(tail) : end])
    if power:
        yield _Token(number(plain, power), start, end)
    elif not tail:
        yield _Token(number(plain), start, end)
    elif GLUED.fullmatch(tail) and (len(tail) > 1 or folded.shown[end - 1].islower()):
        yield _Token(number(plain), start, end - len(tail))
        yield _Token(tail, end - len(tail), end)
    else:
        yield _Token(plain + tail, start, end)


_SCALE_LETTERS = {"k": 3, "K": 3, "M": 6, "mn": 6, "mln": 6, "B": 9, "bn": 9, "tn": 12}


def _decimal(text: str) -> str:
    """A number as written in any of the styles of grouping, with a decimal point and nothing else."""
    text = text.replace(" ", "").replace("'", "")
    comma, point = text.rfind(","), text.rfind(".")
    if comma < 0:
        dots = re.fullmatch(r"-?[1-9]\d{0,2}(?:\.\d{3}){2,}", text)
        return text.replace(".", "") if dots else text
    grouped = re.fullmatch(r"-?(?:[1-9]\d{0,2}|\d{2,3})(?:,\d{3})+(?:\.\d+)*|-?\d{1,2}(?:,\d\d)+,\d{3}(?:\.\d+)?", text)
    if grouped or comma < point:
        return text.replace(",", "")
    return text.replace(".", "").replace(",", ".")


# --- what stands around a number ---------------------------------------------------------------------------------

_LABELS = frozenset(["version", "ver", "page", "pages", "id", "row", "status", "http"])
_LABEL_GAP = re.compile(r"[\s:#='\".]{0,4}")


def _measured(folded: Folded, found: list[_Token]) -> Iterator[_Token]:
    """Numbers times their scale and with their unit after them, in one spelling; labelled numbers are names."""
    return _with_units(folded.low, list(_labelled(folded.low, list(_scaled(folded.low, found)))))


def _is_near(low: str, left: _Token, right: _Token) -> bool:
    """Whether nothing but one space, or a hyphen, stands between two tokens."""
    return low[left.end : right.start] in ("", " ", "-")


def _scaled(low: str, found: list[_Token]) -> Iterator[_Token]:
    index = 0
    while index < len(found):
        token = found[index]
        index += 1
        if token.text in ("minus", "negative") and index < len(found) and _is_minus(low, found, index):
            width, value_of = _plus(low, found, index)
            index += width - 1
            found[index] = _Token(f"#-{value_of[1:]}", token.start, found[index].end)
            continue
        if (plus := _value(token.text)) and plus[1:2] not in ("-", "0") and _BELOW_ZERO.match(low, token.end):
            token = token._replace(text=f"#-{plus[1:]}")
        value = _value(token.text) if index < len(found) and found[index].text in SCALES else None
        while value and index < len(found) and (power := _scale(low, token, found[index])):
            value = number(value[1:], power)
            token = _Token(value, token.start, found[index].end)
            index += 1
        yield token


def _is_minus(low: str, found: list[_Token], index: int) -> bool:
    """Whether "minus" before the token at `index` is a sign: "minus 5", not "10 minus 5"."""
    after, before = found[index], found[index - 2] if index > 1 else None
    value = _value(after.text)
    is_plus = value is not None and value[1:2] != "-" and _is_near(low, found[index - 1], after)
    return is_plus and not (before and before.text[0] == "#")


_BELOW_ZERO = re.compile(r"(?:\s?(?:°|degrees?)\s?(?:[cf]|celsius|fahrenheit)?)?\s+below\s+zero\b")


def _plus(low: str, found: list[_Token], index: int) -> tuple[int, str]:
    """How many tokens the number after a minus has, and its value: twenty-one has two."""
    value = _value(found[index].text) or ""
    if found[index].text[0] != "#" and index + 1 < len(found) and _is_near(low, found[index], found[index + 1]):
        tens, units = int(value[1:]), WORD_VALUES.get(found[index + 1].text, 0)
        if tens >= 20 and 0 < units < 10:
            return 2, f"#{tens + units}"
    return 1, value


def _value(text: str) -> str | None:
    return text if text[0] == "#" else f"#{WORD_VALUES[text]}" if text in WORD_VALUES else None


def _scale(low: str, token: _Token, after: _Token) -> int:
    """The power of ten that a word multiplies by, unless it is part of a unit's name (million_square_km)."""
    power = SCALES.get(after.text, 0) if _is_near(low, token, after) else 0
    return 0 if low[after.end : after.end + 1] == ";" and low[after.end + 1 : after.end + 2].isalpha() else power


def _labelled(low: str, found: list[_Token]) -> Iterator[_Token]:
    """3.11 in "version 3.11" is a name: it is equal to itself alone, and not to a number."""
    before = None
    for token in found:
        is_named = before is not None and before.text in _LABELS and token.text[0] == "#"
        if is_named and before is not None and _LABEL_GAP.fullmatch(low[before.end : token.start]):
            token = token._replace(text=token.text[1:])
        yield token
        before = token


_SIGN_LETTERS = "$€£¥₹₩₽₺₪%‰°"


def _with_units(low: str, found: list[_Token]) -> Iterator[_Token]:
    index, money = 0, None
    while index < len(found):
        token = found[index]
        index += 1
        if token.text[0] != "#":
            is_sign, is_money = token.text[0] in _SIGN_LETTERS or token.text in SIGNS, token.text in CURRENCIES
            after = found[index] if index < len(found) else None
            money = _money(low, token, after) if is_sign or is_money else None
            if not money and not is_sign:
                yield token
            continue
        if money and low[money[1] - 1 : money[1]] == "-" and token.text[1] != "-":
            token = token._replace(text=f"#-{token.text[1:]}")
        yield token
        units: list[_Token] = []
        if index < len(found) and found[index].text[0] not in "#@":
            units, index = _units(low, token, found, index)
        yield from units or ([_Token(money[0], token.end, token.end)] if money else [])
        money = None


def _money(low: str, token: _Token, after: _Token | None) -> tuple[str, int] | None:
    """The currency that stands before its number, and where; None for anything else."""
    if token.text == "$" and low[max(0, token.start - 1) : token.start].isalpha():
        return None  # R$, NT$: dollars of nobody's
    currency = SIGNS.get(token.text) or (token.text if token.text in CURRENCIES else None)
    if currency and after and after.text[0] == "#" and _is_near(low, token, after):
        return currency, token.start
    return None


def _units(low: str, value: _Token, found: list[_Token], index: int) -> tuple[list[_Token], int]:
    """The unit after a number as tokens, and where the next token is: km, km2, %, km per hour is km h."""
    units: list[_Token] = []
    last = value
    while index < len(found) and len(units) < 2 and _is_near(low, last, found[index]):
        word, width = _unit(found[index : index + 2], bool(units))
        if word is None or (found[index].text in SIGNS and _leads(low, found, index)):
            break
        index += width
        last = _Token(word, found[index - width].start, found[index - 1].end)
        units.append(last)
        if found[index - 1].text in PER_HOUR:
            units.append(last._replace(text="h"))
        if word in CURRENCIES or word == "%":
            break
    return units, index


def _leads(low: str, found: list[_Token], index: int) -> bool:
    """Whether a currency sign belongs to the number after it: 10 $5."""
    return (
        index + 1 < len(found)
        and found[index].end == found[index + 1].start
        and bool(_money(low, found[index], found[index + 1]))
    )


def _unit(words: list[_Token], has_one: bool) -> tuple[str | None, int]:
    first, second = words[0].text, words[1].text if len(words) > 1 else ""
    if first in ("square", "sq", "cubic") and unit_of(second):
        return f"{unit_of(second)}{3 if first == 'cubic' else 2}", 2
    if first in ("°", "degree", "degrees") and unit_of(second) in ("c", "f"):
        return unit_of(second), 2
    if first == "per":
        return ("%", 2) if second == "cent" else (unit_of(second) if has_one else None, 2)
    return (
        (None, 0)
        if has_one
        else (SIGNS.get(first) or PER_HOUR.get(first) or ("degree" if first == "°" else unit_of(first)), 1)
    )
