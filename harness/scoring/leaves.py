"""An output as leaves: the pieces of text that no match may cross.

A JSON object or list is decoded, JSON inside its strings too; its strings, numbers and keys are leaves. Some are joined
from two fields of one object: a value and its unit, a first and a last name. A leaf knows where it stood: a bare number
in a key, an id, a page or a status is no fact, and parts of an answer are not gathered from different rows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from harness.scoring.failures import is_title, plain_key, reports_failure, stated
from harness.scoring.fold import Folded
from harness.scoring.normalise import ARTICLES, Spans, Text, Tokens, read, without_articles
from harness.scoring.numbers import SCALES, number
from harness.scoring.units import CURRENCIES, UNITS

MAX_DEPTH = 50  # deeper JSON is hostile: it is then read as one plain text
MAX_LEAVES = 200_000  # likewise

Row = tuple[tuple[int, int], ...]


class Leaf(NamedTuple):
    """One piece of text: its tokens without articles, and all of them (for an answer that is only an article)."""

    tokens: Tokens
    raw: Tokens
    spans: Spans = ()
    raw_spans: Spans = ()
    folded: Folded = Folded("", "")
    begin: int = 0
    end: int = 0
    """From where to where its text states anything."""
    is_name: bool = False
    """A key, an id, a page, a status: a bare number there is no fact."""
    is_joined: bool = False
    """It was put together from two fields."""
    row: Row = ()
    """Which element of which list of objects it stands in, outermost first."""
    field: tuple[str, ...] = ()


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
    """A text as one leaf, all of which counts."""
    return leaf_of(_number_text(text) if isinstance(text, NumberText) else read(text))


def leaf_of(text: Text) -> Leaf:
    raw, spans = text.tokens, text.spans
    if ARTICLES.isdisjoint(raw):
        return Leaf(raw, raw, spans, spans, text.folded, 0, len(text.folded.low))
    kept = tuple(span for token, span in zip(raw, spans, strict=True) if token not in ARTICLES)
    return Leaf(without_articles(raw), raw, kept, spans, text.folded, 0, len(text.folded.low))


def _number_text(text: str) -> Text:
    return Text(Folded(str(text), str(text)), (number(text),), ((0, len(text)),))


def leaves(text: str) -> list[Leaf]:
    """The leaves of an output: what it states, and where."""
    return leaves_and_failures(text)[0]


def all_leaves(text: str) -> list[Leaf]:
    """The leaves of everything that a text holds, errors too: for asking whether something is mentioned."""
    return [leaf(piece) for piece in pieces(text)]


@lru_cache(maxsize=32)  # an output is asked whether it fails, and then what it states
def leaves_and_failures(text: str) -> tuple[list[Leaf], bool]:
    """The leaves, and whether anything in the output reports a failure."""
    value = decode(text)
    walk = _Walk()
    if value is text or not walk.run(value):
        walk = _Walk()
        walk.add(leaf(text))
    return walk.finished(), walk.failed


@lru_cache(maxsize=256)  # epochs of a sample, which are read one after the other, often have the same outputs
def is_failure(text: str) -> bool:
    """Whether an output reports a failure and says nothing else."""
    found, failed = leaves_and_failures(text)
    return failed and not any(one.tokens and one.end and not one.is_name for one in found)


def pieces(text: str) -> list[str]:
    """Every string, number and key of an output's JSON, or the text itself."""
    value = decode(text)
    found: list[str] = []
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH or len(found) + len(waiting) > MAX_LEAVES:
            return [text]
        if isinstance(value, str):
            decoded = value if isinstance(value, NumberText) else decode(value)
            if decoded is value:
                found.append(value)
            else:
                waiting.append((decoded, depth + 1))
        elif isinstance(value, (dict, list)):
            inner = (*value, *value.values()) if isinstance(value, dict) else value
            waiting.extend((item, depth + 1) for item in inner)
    return found


# --- the walk ----------------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    row: Row = ()
    field: tuple[str, ...] = ()
    is_name: bool = False
    depth: int = 0
    is_item: bool = False

    def inside(self, key: str, is_name: bool) -> _Place:
        return _Place(self.row, (*self.field, key), is_name, self.depth + 1)

    def item(self, number_of_list: int, index: int) -> _Place:
        return _Place((*self.row, (number_of_list, index)), self.field, self.is_name, self.depth + 1, True)


class _Walk:
    """The leaves of one decoded value, in no particular order."""

    def __init__(self) -> None:
        self.failed = False
        self._found: list[Leaf] = []
        self._flags: list[tuple[str, _Place]] = []
        self._lists = 0
        self._waiting: list[tuple[Any, _Place]] = []

    def run(self, value: Any) -> bool:
        """False where the value is too deep or too large to be anything but hostile."""
        self._waiting = [(value, _Place())]
        while self._waiting:
            value, place = self._waiting.pop()
            if place.depth > MAX_DEPTH or len(self._found) + len(self._waiting) > MAX_LEAVES:
                return False
            self._visit(value, place)
        return True

    def add(self, one: Leaf, place: _Place = _Place()) -> None:  # noqa: B008 (a constant)
        title = bool(place.field) and is_title(place.field[-1], one.folded.shown)
        begin, end = (0, len(one.folded.low)) if title else stated(one.folded)
        self.failed |= end - begin < len(one.folded.low)
        self._found.append(one._replace(begin=begin, end=end, is_name=place.is_name, row=place.row, field=place.field))

    def finished(self) -> list[Leaf]:
        """With the only boolean and the only null as words: of several, none says what it is an answer to."""
        for kind in (("true", "false"), ("none",)):
            flags = [flag for flag in self._flags if flag[0] in kind]
            if len(flags) == 1:
                self._found.append(leaf(flags[0][0])._replace(row=flags[0][1].row))
        return self._found

    def _visit(self, value: Any, place: _Place) -> None:
        if isinstance(value, NumberText):
            self.add(leaf(value), place)
        elif isinstance(value, str):
            decoded = decode(value)
            if decoded is value:
                self.add(leaf(value), place)
            else:
                self._waiting.append((decoded, place._replace(depth=place.depth + 1)))
        elif isinstance(value, dict):
            self._object(value, place)
        elif isinstance(value, list):
            self._lists += 1
            for index, item in enumerate(value):
                self._waiting.append((item, self._item(item, place, index)))
        elif not place.is_name:
            self._flags.append(("none" if value is None else str(value).lower(), place))

    def _item(self, item: Any, place: _Place, index: int) -> _Place:
        """Objects and lists in a list are its rows; what stands in a row that is a list is told apart by position."""
        if isinstance(item, (dict, list)):
            return place.item(self._lists, index)
        return place.inside(str(index), place.is_name) if place.is_item else place._replace(depth=place.depth + 1)

    def _object(self, value: Mapping[str, Any], place: _Place) -> None:
        if reports_failure(value):
            self.failed = True
            return
        joined = dict(_measures(value))
        rows = _are_rows(value)
        self._lists += rows
        for index, (key, item) in enumerate(value.items()):
            if plain_key(key) in _SUGGESTIONS:
                continue
            name = _is_bookkeeping(key, value)
            inner = place.item(self._lists, index) if rows else place.inside(key, name)
            if item is not None and item not in ("", [], {}, False) and not _is_field(key, item):
                self.add(leaf(key), inner._replace(is_name=True))
            if key in joined:
                self.add(joined[key]._replace(is_joined=True), inner)
                if not _opens_with_scale(joined[key]):
                    continue
            self._waiting.append((item, inner))
        if name_ := _full_name(value):
            self.add(leaf(name_)._replace(is_joined=True), place)


def _is_field(key: str, item: Any) -> bool:
    """Whether a key only names what its text or number is: river in {"river": "Aura"}, not Lund in {"Lund": 7}."""
    return isinstance(item, str) and re.fullmatch(r"[a-z][A-Za-z0-9_-]*", key) is not None


def _are_rows(value: Mapping[str, Any]) -> bool:
    """Whether the values are objects of one kind: {"Ida": {"town": ...}, "Per": {"town": ...}}."""
    kinds = [frozenset(item) if isinstance(item, dict) else None for item in value.values()]
    return len(kinds) > 1 and None not in kinds and len(set(kinds)) == 1


_SUGGESTIONS = frozenset(
    ("suggestion", "suggestions", "suggested", "didyoumean", "closest", "nearestmatch", "closestmatch", "alternatives")
)
_IDS = frozenset(["id", "ids", "uid", "uuid", "rowid", "page", "perpage", "pagesize", "offset", "version", "status"])
_IDS |= {"took", "latency", "elapsed"}
_ROW_NUMBERS = frozenset(["row", "index", "idx", "limit", "no", "number", "time", "duration"])
_COUNTED = frozenset(
    ["rows", "row", "items", "item", "records", "record", "results", "result", "hits", "hit", "matches"]
)
_COUNTED |= {"page", "pages", "query", "request", "response", "entries", "start", "end", "max", "total", "num", "count"}
_STATES = frozenset(["status", "statuscode", "code", "httpstatus", "success", "ok", "found"])
_COUNTS = frozenset(
    [
        "count",
        "total",
        "totalcount",
        "totalresults",
        "numresults",
        "resultcount",
        "n",
        "size",
        "length",
        "matches",
        "hits",
    ]
)


def _is_bookkeeping(key: str, beside: Mapping[str, Any]) -> bool:
    """An id, a page, a status; a count of the rows that stand beside it."""
    name, words = plain_key(key), _key_words(key)
    own = words - _COUNTED
    if name in _COUNTS or "pages" in words or {"page", "count"} <= words:
        return _has_list(beside)
    if words & {"count", "hits"} or (words & {"total", "num"} and not own):
        return _has_list(beside)
    if words & _IDS or (words & _ROW_NUMBERS and len(words) > 1 and own <= _ROW_NUMBERS):
        return True
    return len(beside) > 1 and (name in _ROW_NUMBERS - _ORDINARY or name in _STATES)


_ORDINARY = frozenset(["no", "number", "time", "duration"])


def _has_list(beside: Mapping[str, Any]) -> bool:
    return any(isinstance(item, list) for item in beside.values())


def _key_words(key: str) -> set[str]:
    """The words of a name in snake or camel case: record_id, currentPage, HTTPStatus."""
    return {word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", key)}


# --- two fields that say one thing -------------------------------------------------------------------------------

_UNIT_KEYS = frozenset(
    ["unit", "units", "cur", "uom", "currency", "currencycode", "measure", "unitofmeasure", "measurementunit"]
)
_FIRST = frozenset(["first", "firstname", "givenname", "forename", "given"])
_LAST = frozenset(["last", "lastname", "surname", "familyname", "family"])


def _measures(value: Mapping[str, Any]) -> Iterator[tuple[str, Leaf]]:
    """The numbers of an object that have a unit: in a field beside the only one, or at the end of their own name."""
    numbers = {key: item for key, item in value.items() if _is_number(item) and not _is_bookkeeping(key, value)}
    units = [item for key, item in value.items() if plain_key(key) in _UNIT_KEYS and _is_word(item)]
    if len(units) == 1 and len(numbers) == 1:
        for key, item in numbers.items():
            yield key, leaf(f"{item} {units[0]}")
        return
    for key, item in numbers.items():
        *names, unit = re.split(r"[_\s]", key.lower())
        if names and (unit in UNITS or unit in CURRENCIES) and UNITS.get(unit) != "%":
            yield key, leaf(f"{item} {unit}")


def _is_word(item: Any) -> bool:
    return (
        isinstance(item, str)
        and len(item) < 100
        and bool(re.fullmatch(r"\s*[^\W_][^\d]*|\s*[%$€£¥°].{0,3}", item))
        and not item[0].isdigit()
    )


def _is_number(item: Any) -> bool:
    return isinstance(item, NumberText) or (
        isinstance(item, str) and len(item) < 40 and bool(re.fullmatch(r"[-+]?\d[\d.,]*", item))
    )


def _opens_with_scale(joined: Leaf) -> bool:
    """Whether the unit was "million square kilometres": then 37.9 is stated as well as 37,900,000."""
    return any(word in SCALES for word in joined.folded.low.split()[1:2])


def _full_name(value: Mapping[str, Any]) -> str | None:
    named = {plain_key(key): item for key, item in value.items() if _is_word(item)}
    first = next((item for key, item in named.items() if key in _FIRST), None)
    last = next((item for key, item in named.items() if key in _LAST), None)
    return f"{first} {last}" if first and last else None


def rows_agree(parts: Sequence[Iterable[Leaf]]) -> bool:
    """Whether one leaf for each part can be had from one row, or from one field of several rows."""
    fields = [{one.field for one in part} for part in parts]
    if set.intersection(*fields):
        return True
    rows = [{one.row for one in part} for part in parts]
    return any(all(_has_prefix(row, others) for others in rows) for row in set().union(*rows))


def _has_prefix(row: Row, rows: set[Row]) -> bool:
    return any(row[:length] in rows for length in range(len(row) + 1))
