"""Text as words, for `policy/keyword`: a question's stems, names and numbers, explained codes, values of outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any, NamedTuple


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP = _set(
    """a an the and or of in on at to by for from with without into over per as is are was were be been being did do
    does has have had that this these those it its which who whom whose what when where how many much me my i you your
    please tell give name find say state also than then there here will would could can may one ones get all any some
    each other their his her him she they them whether not but if between out up down about only must piece
    information return record records entry entries full complete given registered look such example default optional
    lookup search query reader explorer api service retriever consult"""
)
DAYS = _set("yesterday today tomorrow yesterday's today's monday tuesday wednesday thursday friday saturday sunday i")
TITLES = _set("professor doctor dr mr mrs ms miss judge maestro captain")
"""Words before a name that registers leave out."""
PHRASE = _set("of the when where what which who whom how did does do is was were are at by")
"""Words after which a name is part of what is asked."""
SUFFIXES = (
    *("ications", "ication", "ations", "ation", "ments", "ment", "nesses", "ness", "ings", "ing", "ions", "ion"),
    *("ists", "ist", "ians", "ian", "ants", "ant", "ents", "ent", "ers", "er", "ors", "or", "ees", "ee", "edly", "ed"),
    *("ances", "ance", "ities", "ity", "ies", "ial", "al", "ive", "ure", "ship", "ly", "es", "e", "s", "y"),
)
SAME = dict(
    pair.split("=")
    for pair in _set(
        """born=birth built=build wrote=writ written=writ taught=teach led=lead won=win died=death die=death dead=death
        high=height tall=height long=length wide=width deep=depth heavy=weight weigh=weight weighs=weight old=age
        married=marriag kept=keep held=hold sold=sale sell=sale chose=choic chosen=choic grown=grow grew=grow drawn=draw
        drew=draw sung=song sang=song flew=flight flown=flight strong=strength spoke=speech spoken=speech paid=pay"""
    )
)
"""Words whose stem no suffix shows."""

IDENTIFIERS = _set("id ref no nr number code key identifier reference")
"""Parts of names that say identifier."""

CAPITAL = r"(?:[A-Z]\.|[A-Z][\w&'’-]*)"
LINK = r"of|the|without|with|for|de|v\.|under|at|(?<!’s )(?<!'s )and(?= [A-Z][\w-]* [A-Z])"
SPAN = re.compile(
    r'"([^"]+)"|“([^”]+)”|(?<!\w)\'([^\']+)\'(?!\w)'
    rf"|\b({CAPITAL}(?: (?:(?:{LINK}) )*{CAPITAL})*)"
    r"|\b((?=[\w/-]*\d)(?=[\w/-]*[A-Za-z])[\w/-]+)"
)
WORD = re.compile(r"[A-Za-z]+|\d[\d,.]*\d|\d")
NUMBER = re.compile(r"(?<![\w.-])-?\d+(?:,\d{3})*(?:\.\d+)?(?![\w-])")
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
FAILED = re.compile(r"\b(error|not found|no such|unknown|invalid|no entry|nothing is|missing)\b", re.I)
LESS = re.compile(r"\b(smaller|less|lower|fewer|earlier|shorter|older|lighter|least|smallest|lowest|shortest)\b", re.I)
MORE = re.compile(
    r"\b(larger|more|higher|later|longer|younger|greater|bigger|heavier|taller|most|largest|highest)\b", re.I
)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A word without its ending: drafted, drafter and drafts are one."""
    word = word.lower()
    if word in SAME:
        return SAME[word]
    for suffix in SUFFIXES:
        if word.endswith(suffix) and len(word) - len(suffix) >= 3:
            word = word[: -len(suffix)]
            break
    return word[:-1] if len(word) > 4 and (word[-1] == word[-2] or word[-1] in "iy") else word


@lru_cache(maxsize=65536)
def stems(text: str) -> frozenset[str]:
    """The stems of a text or name, without stop words and words of one or two letters."""
    words = re.findall(r"[A-Za-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", text))
    return frozenset(stem(word) for word in words if len(word) > 2 and word.lower() not in STOP)


def named_parts(name: str) -> frozenset[str]:
    """The stems of a parameter or field, with `id` for whatever says identifier."""
    parts = set(re.findall(r"[a-z]+", name.lower()))
    return stems(name) - {"nam"} | ({"id"} if parts & IDENTIFIERS else set())


def explained(value: Any, text: str) -> str:
    """What a text says of a code: after it, up to the next separator ("B11: moneys paid out; B12: ...")."""
    code = re.escape(str(value))
    says = r"(?:['\"`]?\s*(?::|=|\(|–|—| - |,? means|,? stands for)|['\"`] (?:for|is))"
    after = rf"(?<!\w){code}(?!\w){says}\s*([^;,.)\n]+)"
    before = rf"([^;,.(\n]+)\(['\"`]?{code}['\"`]?\)"
    return " ".join(match.group(1) for pattern in (after, before) for match in re.finditer(pattern, text))


def own_words(value: Any) -> frozenset[str]:
    """The stems of a choice; none where it is a code."""
    return stems("" if re.search(r"\d", str(value)) else str(value))


def listed_codes(text: str) -> list[str]:
    """Two codes or more that a description explains one by one ("B11: moneys paid out; B12: ...")."""
    found = re.findall(r"(?<![\w-])['\"`]?((?:[A-Z]+[-_]?\d+|[A-Z]{2,6}))['\"`]?\s*[:=]\s*[a-z]", text)
    return list(dict.fromkeys(found)) if len(set(found)) > 1 else []


class Start(NamedTuple):
    """A value of the question: from which word to which it stands; `at` is its place."""

    value: str
    first: int
    last: int
    doubtful: bool = False
    """It opens a sentence, as who asks or is addressed does."""

    @property
    def at(self) -> float:
        return (self.first + self.last) / 2


class Question:
    """A question as words with places, values to start from, numbers and dates."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._tokens = [(match.start(), match.group()) for match in WORD.finditer(text)]
        self.starts = list(self._starts())
        self.dates = DATE.findall(text)

    @cached_property
    def stems(self) -> list[str]:
        """The stem of each place; empty for stop words and for what is part of a start value."""
        taken = {place for start in self.starts for place in range(start.first, start.last + 1)}
        return ["" if place in taken else next(iter(stems(word)), "") for place, (_, word) in enumerate(self._tokens)]

    @cached_property
    def words(self) -> frozenset[str]:
        return frozenset(filter(None, self.stems))

    def places(self, word: str) -> list[int]:
        """Where a stem stands, or one that begins alike."""
        return [place for place, own in enumerate(self.stems) if own and alike(own, word)]

    def names(self, choice: str) -> bool:
        """Whether a choice stands in the question as it is written."""
        return re.search(rf"\b{re.escape(choice)}\b", self.text) is not None

    def beside(self, start: Start, reach: int) -> frozenset[str]:
        """The words on either side of a start value, and its own."""
        own = range(start.first, start.last + 1)
        inside = frozenset[str]().union(*(stems(self._tokens[place][1]) for place in own))
        return inside | self.around([start.first, start.last], reach)

    def around(self, places: Sequence[int], reach: int) -> frozenset[str]:
        near = (self.stems[max(0, place - reach) : place + reach + 1] for place in places)
        return frozenset(filter(None, (word for words in near for word in words)))

    def separated(self, places: Sequence[int], at: float) -> bool:
        """Whether a question mark stands between a place and all of these."""
        marks = [self._place(match.start()) + 0.5 for match in re.finditer(r"\?", self.text)]
        return bool(places) and all(any(min(place, at) < mark < max(place, at) for mark in marks) for place in places)

    def number(self, wanted: frozenset[str], at: float) -> int | float | None:
        """The number nearest to a place: a year where a year is wanted."""
        found = [(self._place(match.start()), match.group()) for match in NUMBER.finditer(self.text)]
        years = [one for one in found if re.fullmatch(r"1\d{3}|20\d\d", one[1])]
        pool = (years or found) if "year" in wanted else found
        return plain_number(min(pool, key=lambda one: abs(one[0] - at))[1]) if pool else None

    def _place(self, offset: int) -> int:
        return max(0, sum(begin <= offset for begin, _ in self._tokens) - 1)

    def _starts(self) -> Iterator[Start]:
        seen = set()
        for match in SPAN.finditer(self.text):
            group = next(index for index, part in enumerate(match.groups(), 1) if part)
            value, begin = match.group(group), match.start(group)
            if group == 4:
                value, begin = self._trimmed(value, begin)
            value = re.sub(r"['’]s?$", "", value.strip(" .,:;?!"))
            if value and value not in seen and not DATE.fullmatch(value):
                seen.add(value)
                first, last = self._place(begin), self._place(begin + len(value) - 1)
                yield Start(value, first, last, group == 4 and self._opens(begin, begin + len(value)))

    def _opens(self, begin: int, end: int) -> bool:
        """Whether a name is first in its sentence, or is followed by a colon, and nothing makes it part of a phrase."""
        *_, ended, before = re.split(r"([.?!:])", ": " + self.text[:begin])
        words = before.lower().split()
        if re.match(r":", self.text[end:]):
            return True
        first = len(words) <= (0 if ended == ":" and begin > 1 and len(self.text[:begin]) > len(before) else 2)
        return first and not re.match(r"['’]", self.text[end:]) and not set(words) & PHRASE

    def _trimmed(self, value: str, begin: int) -> tuple[str, int]:
        """A capitalised span without what only begins a sentence, and without titles."""
        opens = begin == 0 or self.text[:begin].rstrip()[-1:] in ".?!:;"
        while value:
            word = value.split(" ")[0]
            plain = word.lower().strip(".")
            single = " " not in value and not re.search(r"['’]s$", value)
            verb = single or re.match(r"\w+ (?:with|for|at|under) ", value)
            only = plain in DAYS or (opens and (plain in STOP - {"the"} or bool(verb)))
            if plain not in TITLES and not only:
                break
            begin += len(word) + 1
            value, opens = value[len(word) + 1 :], False
        return value, begin

    def conclude(self, ends: Sequence[tuple[str, list[Any]]]) -> str:
        """The answer: of two ends that are compared the start value of the right one; else the ends."""
        firsts = [values[0] for _, values in ends]
        comparable = len({type(value) for value in firsts}) == 1 and value_kind(firsts[0]) != "name"
        if len(ends) > 1 and comparable and (LESS.search(self.text) or MORE.search(self.text)):
            pick = min if LESS.search(self.text) else max
            return pick(ends, key=lambda end: end[1][0])[0]
        if len(ends) == 1 and len(ends[0][1]) > 1 and re.search(r"\bhow many\b", self.text, re.I):
            return str(len(ends[0][1]))
        return ", ".join(str(value) for _, values in ends for value in values)


def alike(one: str, other: str) -> bool:
    """Equal stems, or two that begin with the same letters for the most part."""
    if one == other:
        return True
    common = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        common += 1
    return common >= 4 and common >= 0.7 * max(len(one), len(other))


def plain_number(text: str) -> int | float:
    value = float(text.replace(",", ""))
    return int(value) if value.is_integer() and "." not in text else value


def value_kind(value: Any) -> str:
    """name, number or date."""
    if isinstance(value, int | float):
        return "number"
    return "date" if DATE.fullmatch(str(value)) else "name"


# --- outputs -----------------------------------------------------------------------------------------------------


def read_output(output: str, wanted: frozenset[str]) -> dict[str, list[Any]]:
    """The values of an output by their keys; none where it is a failure.

    Of several records the one that shares most words with what is wanted is read, the newest of equals.
    """
    data = _decoded(output)
    keyed: dict[str, list[Any]] = {}
    for key, value in _leaves(_record(data, wanted), ""):
        keyed.setdefault(key, []).append(value)
    failed = any("error" in key.lower() for key in keyed) or (isinstance(data, str) and bool(FAILED.search(data)))
    return {} if failed else keyed


def offered_names(output: str, value: str) -> list[str]:
    """Names in an error that share a word with the one that was refused: what is offered instead."""
    words = {word for word in value.lower().split() if len(word) > 2}
    texts = [str(leaf) for _, leaf in _leaves(_decoded(output), "")]
    found = [next(part for part in match if part) for text in texts for match in SPAN.findall(text)]
    return [name for name in dict.fromkeys(found) if name != value and words & set(name.lower().split())]


def _decoded(output: str) -> Any:
    try:
        return json.loads(output)
    except ValueError:
        return output


def _record(data: Any, wanted: frozenset[str]) -> Any:
    """The data with its lists of records cut down to the likeliest record."""
    if isinstance(data, dict):
        return {key: _record(value, wanted) for key, value in data.items()}
    if not isinstance(data, list) or len(data) < 2 or not all(isinstance(one, dict) for one in data):
        return data
    texts = [json.dumps(one) for one in data]
    weighed = [(len(stems(text) & wanted), max(re.findall(r"\d{4}", text), default="")) for text in texts]
    return data[weighed.index(max(weighed))]


def likeliest_key(keys: Sequence[str], wanted: frozenset[str]) -> str:
    """The key that shares most words with what is wanted; the first of equals."""
    return max(keys, key=lambda key: len(stems(key) & wanted))


def _leaves(data: Any, key: str) -> Iterator[tuple[str, Any]]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _leaves(value, name)
    elif isinstance(data, list):
        for value in data:
            yield from _leaves(value, key)
    elif isinstance(data, str):
        yield key, _value_of(data)
    elif data is not None and not isinstance(data, bool):
        yield key, data


def _value_of(text: str) -> Any:
    """The value in a text: what follows its colon or its last name, date or number; else all of it."""
    if DATE.fullmatch(text) or not re.search(r"[.:] *$|: ", text) or len(text.split()) < 3:
        return text
    body = text.rpartition(": ")[2].strip(" .")
    if ": " not in text:
        found = [match.group() for match in SPAN.finditer(body)]
        numbers = DATE.findall(body) or NUMBER.findall(body)
        body = found[-1] if len(found) > 1 else numbers[-1] if numbers else body.rpartition(" reads ")[2]
    return plain_number(body) if NUMBER.fullmatch(body) else body
