"""What the arguments of a call state: every text that a tool could make of one of them without adding to it.

What: each argument's name and value, as text in the spellings of Python and JSON, as the number or JSON that a string
holds, and the same for everything in it. Nothing is joined across arguments.
Why: a tool that only returns an argument must never solve, however it writes that argument down.
Left out: a list or object inside another. Its text is a run of the outer one's, which no token crosses at a bracket.

A model decides how much there is to read, so MAX_READ bounds it; each distinct text is tokenised once.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

from harness.scoring.leaves import MAX_DEPTH, Leaf, NumberText, leaf, pieces
from harness.scoring.normalise import Tokens, read_apart, without_articles

MAX_READ = 100_000
"""Bytes of UTF-8 in all readings of one call's arguments. The most of 21,582 different recorded ones: 1,198."""
EACH = 8
"""Bytes that a text costs beyond its own: a list of digits is slower to read than a text of the same length."""


def argument_leaves(arguments: Mapping[str, Any]) -> list[Leaf] | None:
    """The leaves of all readings of all names and values; None where that is more than MAX_READ."""
    found = _bounded(chain.from_iterable(map(_readings, (*arguments, *arguments.values()))))
    if found is None:
        return None
    read = [tokens for text in found for tokens in _tokens(text)]
    return [Leaf(without_articles(raw), raw) for raw in dict.fromkeys(chain(read, *map(_unsigned, read)))]


def _tokens(text: str) -> tuple[Tokens, ...]:
    """What an output would state with this text, and what it would state with the pieces of it."""
    return (leaf(text).raw,) if isinstance(text, NumberText) else _both(text)


def _both(text: str) -> tuple[Tokens, Tokens]:
    whole, apart = read_apart(text)
    return whole.tokens, apart


def _bounded(texts: Iterable[str]) -> list[str] | None:
    """The distinct texts; None as soon as they are too much. One that was there before costs 1."""
    found: dict[tuple[type, str], str] = {}
    left = MAX_READ
    for text in texts:
        key = type(text), text  # "7e7" is another token as a NumberText
        left -= 1 if key in found else EACH + len(text.encode("utf-8", "surrogatepass"))
        if left < 0:
            return None
        found[key] = text
    return [*found.values()]


def _unsigned(raw: Tokens) -> Iterator[Tokens]:
    """Without any sign, and without the first: by the rule for a minus, "x=-5, -6" has lost one."""
    bare = tuple(token.replace("#-", "#").removeprefix("-") for token in raw)
    if bare != raw:
        yield bare
        yield bare[:1] + raw[1:]


def _readings(value: Any, depth: int = 0) -> Iterator[str]:
    """A value as text in all that it alone can look like, and so everything in it that is no list and no object."""
    for text in dict.fromkeys(_texts(value)):
        yield text
        if _CASED.search(text):
            yield from (text.upper(), text.lower())
        if _JSON_SYNTAX.search(text):
            yield from _framed(text)
    if depth > MAX_DEPTH:
        return
    if isinstance(value, str):
        for convert in (json.loads, int, float):  # what a tool that wants another type makes of it
            for converted in _attempt(convert, value):
                yield from _readings(converted, depth + 1)
    elif isinstance(value, _CONTAINERS):
        yield from _inner(value, depth)


# The one letter that upper() and title() change and case folding does not; and 12b, which is no number where 12B is.
_CASED = re.compile(r"ı|\d[a-zA-Z]")
_CONTAINERS = (dict, list, tuple)
_JSON_SYNTAX = re.compile(r'[,:"\\]')


def _inner(value: Any, depth: int) -> Iterator[str]:
    """What is in a list or an object at every depth: each item, and all of one joined."""
    waiting = [(value, depth)]
    while waiting:
        value, depth = waiting.pop()
        for items in (value, value.values()) if isinstance(value, dict) else (value,):
            for item in items:
                if not isinstance(item, _CONTAINERS):
                    yield from _readings(item, depth + 1)
                elif depth < MAX_DEPTH:
                    yield from _escaped(item)
                    waiting.append((item, depth + 1))
            if len(items) > 1:
                for comma in (" ", ","):
                    yield comma.join(text for item in items for text in _attempt(str, item))


def _escaped(value: Any) -> Iterator[str]:
    """An inner list or object in JSON glued by hand: the frame may fit around it and not around the outer one."""
    for text in _attempt(str, value):
        if "\\" in text:
            yield from _framed(text)


def _framed(text: str) -> Iterator[str]:
    """What is left of a text in JSON that a tool glues together by hand: its escapes are undone, 1,234 is a list."""
    for frame in ("{}", "[{}]", '["{}"]', "{{{}}}"):
        framed = frame.format(text)
        found = pieces(framed)
        if found != [framed]:
            yield from found


def _texts(value: Any) -> Iterator[str]:
    """One value as text: str() and repr(), JSON in its common spellings, a number with other thousands separators."""
    yield from _attempt(str, value)
    if isinstance(value, str) and value.isascii() and value.isprintable() and not _ESCAPED.search(value):
        return  # repr() and JSON would only add quotes
    yield from _attempt(json.dumps, value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        yield from _attempt(_in_groups, value)
        yield from _attempt(_as_float, value)
        return  # repr() and any JSON are those above
    yield from _attempt(repr, value)
    yield from _attempt(_json_unicode, value)
    yield from _attempt(_json_compact, value)


_ESCAPED = re.compile(r"[\\'\"]")


def _in_groups(value: Any) -> str:
    return f"{value:,}".replace(",", ", ")  # 1,100 is a list of two where a tool puts it into brackets


def _as_float(value: Any) -> str:
    return str(float(value))  # beyond 2**53 it is another number


def _json_unicode(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _json_compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _attempt(convert: Callable[[Any], Any], value: Any) -> Iterator[Any]:
    """`convert(value)`, if there is such a thing: a number of 5,000 digits, for one, has no text in Python."""
    try:
        yield convert(value)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return
