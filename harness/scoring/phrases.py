"""An answer in a text: the ways to write it, and whether a leaf has one of them.

`states` asks whether an output claims the answer; `mentions`, for arguments and for what a model can read beforehand,
only whether the answer is there: it accepts all that `states` accepts, and what is denied, bounded or named besides.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from harness.scoring.claims import is_claimed
from harness.scoring.fold import fold
from harness.scoring.leaves import Leaf, rows_agree
from harness.scoring.normalise import Tokens, date_spans, is_year, read, without_articles
from harness.scoring.numbers import WORD_VALUES, in_words, is_long, month_of, number, rounds_to
from harness.scoring.units import CURRENCIES, SECONDS, UNITS

TITLES = frozenset(["dr", "mr", "mrs", "ms", "miss", "prof", "professor", "sir", "dame", "rev", "saint"])
UNIT_TOKENS = frozenset(UNITS.values())
_SHORT_NAME = re.compile(r"[A-Z]{1,3}")
_SHORTEST_JOINED = 5


class Phrase(NamedTuple):
    """A run of tokens to look for."""

    tokens: Tokens
    with_articles: bool = False
    """It has nothing but articles, so the text keeps its own too."""
    is_whole: bool = False
    """It has to be all that the leaf says."""
    as_written: str = ""
    """Short capitals (US, IT), which in a longer text are no word in small letters."""
    no_unit: str = ""
    """The currency or percent that was left out: no other unit, currency or percent may follow."""
    comma: bool = False
    """The text has a comma: Byron, Ada."""
    is_bare: bool = False
    """A number without its unit: mentioned by it, not stated."""


def states(where: Iterable[Leaf], answer: str) -> bool:
    """Whether the leaves claim the answer: its tokens are a run in one leaf, or each part of "A, B" in one row's."""
    return _found(list(where), answer, True)


def mentions(where: Iterable[Leaf], answer: str) -> bool:
    """Whether the answer stands in the leaves, claimed or not."""
    return _found(list(where), answer, False)


def stated_at(one: Leaf, answer: str) -> tuple[int, int] | None:
    """Where a text first claims all of an answer, by its letters."""
    for phrase in ways(answer)[0]:
        for start, end in runs(phrase, one):
            if not phrase.is_bare and _is_stated(phrase, one, start, end, False):
                spans = one.raw_spans if phrase.with_articles else one.spans
                return spans[start][0], spans[end - 1][1]
    return None


def mentions_halves(where: Iterable[Leaf], answer: str) -> bool:
    """Whether an answer, or each part of one, can be put together from two leaves."""
    leaves = list(where)
    return all(mentions(leaves, part) or _halves_found(leaves, read(part).tokens) for part in parts(answer))


def _halves_found(leaves: Sequence[Leaf], wanted: Tokens) -> bool:
    kept = without_articles(wanted)
    return any(
        all(any(_in_leaf(Phrase(half), one, False) for one in leaves) for half in (kept[:cut], kept[cut:]))
        for cut in range(1, min(len(kept), 9))
    )


def is_empty(answer: str) -> bool:
    """Whether there is nothing to state, so that no output ever solves it: no letter and no digit."""
    return not read(answer).tokens


def _found(leaves: Sequence[Leaf], answer: str, claimed: bool) -> bool:
    whole, split = ways(answer)
    if whole and claimed and _is_all(leaves, fold(answer).low.strip()):
        return True
    if any(_in_leaf(phrase, one, claimed) for phrase in whole for one in leaves):
        return True
    if whole and _found_otherwise(whole[0], leaves, claimed):
        return True
    return bool(split) and _parts_found(split, leaves, claimed)


def _found_otherwise(phrase: Phrase, leaves: Sequence[Leaf], claimed: bool) -> bool:
    """Whether a leaf has the phrase's words cut elsewhere, or the same length of time: most phrases have neither."""
    letters, seconds = _letters_to_join(phrase), _seconds(phrase.tokens)
    if letters and any(_joined_in(letters, one, claimed) for one in leaves):
        return True
    return seconds is not None and any(_lasts(phrase, seconds, one) for one in leaves)


def _is_all(leaves: Sequence[Leaf], answer: str) -> bool:
    """Whether a leaf is the answer as it is written: 500+ is not 500, but it is 500+."""
    return any(one.end and not one.is_name and one.folded.low.strip() == answer for one in leaves)


def _parts_found(split: Sequence[Sequence[Phrase]], leaves: Sequence[Leaf], claimed: bool) -> bool:
    if not claimed:
        return all(any(_in_leaf(phrase, one, False) for phrase in part for one in leaves) for part in split)
    holders = [[found for one in leaves for found in _places(part, one)] for part in split]
    return all(holders) and rows_agree(holders)


def _places(part: Sequence[Phrase], one: Leaf) -> Iterator[Leaf]:
    """The leaf if it states one of the phrases; of a text that is a table once for each cell that does."""
    places = (
        (one.raw_spans if phrase.with_articles else one.spans)[start][0]
        for phrase in part
        if not phrase.is_bare
        for start, end in runs(phrase, one)
        if _is_stated(phrase, one, start, end, True)
    )
    for place in places:
        if not (mark := _separator(one.folded.low)):
            yield one
            return
        before = one.folded.low[:place]
        line, column = before.count("\n"), before.rpartition("\n")[2].count(mark)
        yield one._replace(row=(*one.row, (0, line)), field=(*one.field, str(column)))


@lru_cache(maxsize=64)
def _separator(low: str) -> str:
    """What parts the cells of a text that is a table: all its lines have the same number of commas or bars."""
    lines = [line for line in low.split("\n") if line.strip()]
    for mark in ("|", ",") if len(lines) > 1 else ():
        counts = {line.count(mark) for line in lines if set(line) - set("|-: ")}
        if len(counts) == 1 and 0 not in counts:
            return mark
    return ""


# --- the ways to write an answer ---------------------------------------------------------------------------------


@lru_cache(maxsize=16_384)
def ways(answer: str) -> tuple[tuple[Phrase, ...], tuple[tuple[Phrase, ...], ...]]:
    """The ways to write all of an answer, and for "A, B" those of each part; both empty for an empty answer."""
    pieces = [piece for piece in parts(answer) if read(piece).tokens]
    split = tuple(_ways(piece) for piece in pieces) if len(pieces) > 1 else ()
    return _ways(answer), split


def _ways(answer: str) -> tuple[Phrase, ...]:
    raw = read(answer).tokens
    if not raw:
        return ()
    kept = without_articles(raw)
    short = _SHORT_NAME.fullmatch(answer.strip())
    first = Phrase(kept or raw, not kept, as_written=short.group() if short else "")
    return tuple(dict.fromkeys((first, *_others(kept, "," in answer))))


def _others(kept: Tokens, is_list: bool) -> Iterator[Phrase]:
    yield from map(Phrase, _numerals(kept))
    if len(kept) > 2 and kept[0] in TITLES:
        yield Phrase(kept[1:])
    if len(kept) > 1 and not is_list and not any(token[0] in "#@" for token in kept):
        yield Phrase((kept[-1], *kept[:-1]), is_whole=True, comma=True)
    if len(kept) == 2 and kept[0][0] == "#":
        if kept[1] in CURRENCIES or kept[1] == "%":
            yield Phrase(kept[:1], no_unit=kept[1])
        if kept[1] == "%" and not is_whole_number(part := number(kept[0][1:], -2)):
            yield Phrase((part,), no_unit="%")
        if kept[1] in UNIT_TOKENS:
            yield Phrase(kept[:1], is_bare=True)
    if len(kept) == 1 and kept[0][0] == "#" and not is_whole_number(kept[0]):
        yield Phrase((number(kept[0][1:], 2), "%"))
    for yes in (("yes", "true"), ("no", "false"), ("none", "null")):
        if len(kept) == 1 and kept[0] in yes:
            yield from (Phrase((word,), is_whole=True) for word in yes)


def is_whole_number(token: str) -> bool:
    return "." not in token and "e-" not in token


def _numerals(kept: Tokens) -> Iterator[Tokens]:
    """The same with its numbers below a hundred in words, and with its words in digits."""
    small = {token for token in kept if token[0] == "#" and token[1:].isdigit() and len(token) < 4}
    if small:
        yield tuple(word for token in kept for word in (in_words(int(token[1:])) if token in small else (token,)))
    digits: list[str] = []
    for token in kept:
        value = WORD_VALUES.get(token)
        if value is None:
            digits.append(token)
        elif 0 < value < 10 and digits and digits[-1] in ("#20", "#30", "#40", "#50", "#60", "#70", "#80", "#90"):
            digits[-1] = f"#{int(digits[-1][1:]) + value}"
        else:
            digits.append(f"#{value}")
    if tuple(digits) != kept:
        yield tuple(digits)


def parts(text: str) -> list[str]:
    """`text` cut at ";" and at commas with a space or between letters, dates whole: "May 1, 2007" is one part."""
    folded = fold(text)
    dates = date_spans(folded)
    pieces, start = [], 0
    for mark in re.finditer(r",\s+|;\s*|(?<=[^\W\d_]),(?=[^\W\d_])", folded.shown):
        if not any(first <= mark.start() < last for first, last in dates):
            pieces.append(folded.shown[start : mark.start()])
            start = mark.end()
    return [*pieces, folded.shown[start:]]


# --- one way in one leaf -----------------------------------------------------------------------------------------


def same(wanted: str, found: str) -> bool:
    """Whether token `found` is what `wanted` asks for: equal, a date for its year or month, a long decimal rounded."""
    if wanted == found:
        return True
    if found[0] == "@":
        return _is_of_date(wanted, found)
    return found[0] == "#" == wanted[0] and is_long(found) and rounds_to(found, wanted)


def _is_of_date(wanted: str, found: str) -> bool:
    if is_year(wanted):
        return found[1:5] == wanted[1:]
    if wanted[0] == "@" and len(wanted) in (7, 8):  # a day without year, or a month of a year
        return found.endswith(wanted[1:]) if wanted[1] == "-" else found.startswith(wanted)
    month = month_of(wanted) if wanted.isalpha() else None
    return month is not None and re.match(rf"@(?:\d{{4}})?-{month}(?:-|$)", found) is not None


def runs(phrase: Phrase, one: Leaf) -> Iterator[tuple[int, int]]:
    """Where the phrase's tokens are a run in the leaf: the first token and the one after the last."""
    wanted, found = phrase.tokens, one.raw if phrase.with_articles else one.tokens
    first, size = wanted[0], len(wanted)
    if len(found) < size or (phrase.is_whole and len(found) != size):
        return
    loose = first[0] in "#@" or month_of(first) is not None  # a number may be rounded, a month or year part of a date
    if first not in found and not (loose and any(token[0] == "@" or is_long(token) for token in found)):
        return
    for start in range(len(found) - size + 1):
        if same(first, found[start]) and all(map(same, wanted, found[start : start + size])):
            yield start, start + size


def _in_leaf(phrase: Phrase, one: Leaf, claimed: bool, own_name: bool = False) -> bool:
    if not claimed:
        phrase = phrase._replace(is_whole=False) if phrase.is_whole else phrase
        return next(runs(phrase, one), None) is not None
    return not phrase.is_bare and any(_is_stated(phrase, one, start, end, own_name) for start, end in runs(phrase, one))


def _is_stated(phrase: Phrase, one: Leaf, start: int, end: int, own_name: bool) -> bool:
    found, spans = (one.raw, one.raw_spans) if phrase.with_articles else (one.tokens, one.spans)
    value = _kind(phrase.tokens)
    alone = len(found) == end - start
    if one.is_name and value != "words":
        return False
    after = found[end] if end < len(found) else ""
    number = found[end - 1] if found[end - 1][0] == "#" else ""
    if number and phrase.no_unit and (after in CURRENCIES or after == "%"):
        return False
    if number and (after == "‰" or (after == "%" and "." not in number)):
        return False  # 12 % is not 12; a decimal, 7.99 %, is a rate that was written without its sign
    if len(phrase.tokens) > 1 and phrase.tokens[-1] in UNIT_TOKENS and after in UNIT_TOKENS:
        return False
    first, last = spans[start][0], spans[end - 1][1]
    if not one.begin <= first < one.end:
        return False
    shown = one.folded.shown
    if not alone:
        if phrase.as_written and phrase.as_written != re.sub(r"[.\s]", "", shown[first:last]):
            return False
        if phrase.tokens[0] in WORD_VALUES and len(phrase.tokens) == 1 and _is_part_of_name(shown, first, last):
            return False
        if own_name and value == "words" and _continues(shown, first, last):
            return False
        if value == "words" and _is_alternative(shown, first, last):
            return False
        if phrase.no_unit and not _is_alone(one.folded.low, first, last, phrase.no_unit):
            return False
        if phrase.tokens[-1] in UNIT_TOKENS and _PER.match(one.folded.low, last):
            return False
    if phrase.comma and "," not in shown:
        return False
    return is_claimed(one.folded.low, first, last, value)


_PER = re.compile(r"\s?/\s?[a-z]|\s+(?:per|an?\s+(?:second|minute|hour|day|week|month|year))\b")
"""What makes of a unit another one: 12 km/h is not 12 km."""
_ALONE_BEFORE = re.compile(
    r"(?:^|[:=,;|(\[{\n\"'*]|\b(?:is|was|are|were|be|of|at|to|by|about|costs?))\s*[+-]?$", re.IGNORECASE
)
_ALONE_AFTER = re.compile(r"\s*(?:[.,;:!?)\]}|\n\"'*]|$)(?!\d)")
_CALLED = {"usd": r"us dollars?", "gbp": r"(?:pounds?|sterling|british pounds?)", "sek": r"(?:swedish )?kron(?:or|a)"}


def _is_alone(low: str, first: int, last: int, unit: str) -> bool:
    """Whether no word and no sign stands next to a number that might be of another unit."""
    if not _ALONE_BEFORE.search(low[max(0, first - 40) : first]):
        return False
    return bool(_ALONE_AFTER.match(low, last) or (unit in _CALLED and re.match(rf"\s+{_CALLED[unit]}\b", low[last:])))


def _is_alternative(shown: str, first: int, last: int) -> bool:
    """Whether another one stands beside it as well: Lund or Oslo."""
    other = "[A-Z\\d]" if shown[first].isupper() else "\\w"
    return bool(
        re.match(rf"\s+(?:and/)?or\s+(?:(?:the|in|by)\s+)?{other}", shown[last:])
        or re.search(rf"{other}[\w'-]*\s+(?:and/)?or\s+(?:(?:the|in|by)\s+)?$", shown[max(0, first - 60) : first])
    )


def _kind(tokens: Tokens) -> str:
    if tokens[0][0] not in "#@":
        return "number" if tokens[0] in WORD_VALUES else "words"
    return "day" if tokens[0][0] == "@" or is_year(tokens[0]) else "number"


def _is_part_of_name(shown: str, first: int, last: int) -> bool:
    """Seven in "Seven Oaks", Eleven in "Ocean's Eleven", and one in "one of them"."""
    word = shown[first:last]
    if word.lower() == "one":
        return True
    starts = not re.search(r"\w", shown[:first]) or bool(re.search(r"[.!?:]\s*$", shown[max(0, first - 3) : first]))
    return word[:1].isupper() and not (starts and not re.match(r"[\s-]+[A-Z]", shown[last:]))


def _continues(shown: str, first: int, last: int) -> bool:
    """Whether capitals go on next to a name: Paris in "Paris Hilton"."""
    return shown[first : first + 1].isupper() and bool(
        re.match(r"[ -][A-Z]", shown[last:]) or re.search(r"[A-Z]\w*[ -]$", shown[max(0, first - 40) : first])
    )


def _letters_to_join(phrase: Phrase) -> str:
    """All letters of a phrase that has nothing else; empty for any other, and for a short one."""
    letters = "".join(phrase.tokens)
    return letters if len(letters) >= _SHORTEST_JOINED and letters.isalpha() and not phrase.with_articles else ""


def _joined_in(letters: str, one: Leaf, claimed: bool) -> bool:
    """Whether the same letters stand there, with the words cut elsewhere: OHara, data base."""
    if letters not in "".join(one.tokens):
        return False
    text, starts, ends = _letters(one)
    place = text.find(letters)
    while place >= 0:
        first, last = starts.get(place), ends.get(place + len(letters))
        if first is not None and last is not None and last - first < 4:
            if not claimed:
                return True
            if _is_stated(Phrase(one.tokens[first:last]), one, first, last, False):
                return True
        place = text.find(letters, place + 1)
    return False


@lru_cache(maxsize=64)
def _letters(one: Leaf) -> tuple[str, dict[int, int], dict[int, int]]:
    """All words of a leaf in one piece, and which token begins and ends where."""
    text, starts, ends = [], {}, {}
    length = 0
    for index, token in enumerate(one.tokens):
        piece = token if token.isalpha() else " "
        starts[length] = index
        length += len(piece)
        ends[length] = index + 1
        text.append(piece)
    return "".join(text), starts, ends


def _lasts(phrase: Phrase, seconds: int, one: Leaf) -> bool:
    """Whether both are one length of time: 3 hours 20 min and 200 minutes."""
    return (len(phrase.tokens) > 2 or len(one.tokens) > 2) and seconds == _seconds(one.tokens)


def _seconds(tokens: Tokens) -> int | None:
    if tokens[:1] and tokens[0][0] != "#" and tokens[0] != "and":
        return None  # most texts
    kept = tuple(token for token in tokens if token != "and")
    if not kept or len(kept) % 2 or len(kept) > 8:
        return None
    pairs = list(zip(kept[::2], kept[1::2], strict=True))
    if not all(value[0] == "#" and value[1:].isdigit() and len(value) < 9 and unit in SECONDS for value, unit in pairs):
        return None
    return sum(int(value[1:]) * SECONDS[unit] for value, unit in pairs)
