"""Ids of calls as a provider takes them: what a refusal asks of them, and a conversation whose ids are so.

Mistral wants nine letters and digits, Anthropic letters, digits, _ and -, OpenAI at most forty characters. Records keep
the ids that the model gave; in each request those that do not fit stand for others, made from their text, alike in a
call and in its result. A provider never gives such an id back, so nothing has to be undone in a reply.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from harness.types import JSONObject

STATUSES = frozenset({400, 404, 422, 500})
"""Templates raise what servers answer with 404 or 500."""
ABOUT = re.compile(
    r"\b(?:tool|function)[ _-]?(?:call|use|result)?s?[ _-]?\bids?\b|tool_?(?:call|use)_?ids?\b|\bcall[ _-]?ids?\b"
    r"|tool_calls?\S*[.\]'\"]+id\b|tool_use\.id\b|\bids? (?:of|in|for) (?:the |a |each )?(?:tool|function)",
    re.IGNORECASE,
)
WANTED = re.compile(
    r"must|should|match|pattern|regex|too (?:long|short)|maximum|minimum|at most|at least|no more|up to|alphanumeric"
    r"|invalid|illegal|unsupported|malformed|format|characters?|letters|digits|only|exceed|expected|allowed|start|begin",
    re.IGNORECASE,
)
OTHERWISE = re.compile(
    r"followed by|did not have|not found|no tool call|without|missing|unexpected|duplicate|unique|corresponding"
    r"|preced|previous",
    re.IGNORECASE,
)
"""What is said of ids that do not belong together: no fault of their letters, unless these are strange."""
LONGEST = re.compile(
    r"(?:max(?:imum)?(?: allowed)?[ _]?length|at most|no more than|up to|(?:longer|more) than|exceeds?(?: the)?"
    r"(?: limit(?: of)?)?|max(?:imum)?|<=|≤|\{\d+,|\b\d+ (?:to|and) )\D{0,12}?(\d+)",
    re.IGNORECASE,
)
EXACTLY = re.compile(
    r"(?:length|exactly|be)\D{0,12}?(\d+)|\{(\d+)\}|\b(\d+)[ -](?:alphanumeric|characters?|letters|chars)",
    re.IGNORECASE,
)
LEAST = re.compile(r"(?:min(?:imum)?[ _]?length|at least|(?:fewer|shorter|less) than)\D{0,12}?(\d+)", re.IGNORECASE)
BEGINNING = re.compile(r"(?:start|begin)s? with\W{1,4}([A-Za-z][\w-]{0,15})")
JOINED = re.compile(r"_-|-_|_\\-|\\w|underscore|hyphen|dash", re.IGNORECASE)
"""That more than letters and digits are taken."""

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
MADE = 9
"""Characters of an id that stands for another, where no other number is asked for: as many as every provider takes."""


@dataclass(frozen=True, slots=True)
class IdRule:
    """What ids have to be: which characters, how many, and how they begin."""

    shortest: int = 1
    longest: int = 40
    characters: str = "[A-Za-z0-9_-]"
    beginning: str = ""

    def fits(self, call_id: object) -> bool:
        return (
            isinstance(call_id, str)
            and self.shortest <= len(call_id) <= self.longest
            and call_id.startswith(self.beginning)
            and re.fullmatch(f"{self.characters}*", call_id.removeprefix(self.beginning)) is not None
        )

    @property
    def length(self) -> int:
        """Of the ids that are made: enough for each to be its own."""
        return min(max(MADE + len(self.beginning), self.shortest), self.longest)


ALPHANUMERIC = "[A-Za-z0-9]"
NINE = IdRule(9, 9, ALPHANUMERIC)
PLAIN = IdRule(longest=256)


def read_id_rule(status: int, text: str, sent: Sequence[Any] = ()) -> IdRule | None:
    """What an error asks of the ids of calls; None where it is about something else. Where those that were `sent` have
    strange characters, any complaint about ids may be about these."""
    if status not in STATUSES or not ABOUT.search(text):
        return None
    about = text
    for call_id in sorted(filter(None, map(str, sent)), key=len, reverse=True):
        about = about.replace(call_id, "ID")  # its own letters and digits say nothing
    strange = not all(map(IdRule().fits, sent))
    if not strange and (not WANTED.search(about) or OTHERWISE.search(about)):
        return None
    return _named_rule(about)


def _named_rule(text: str) -> IdRule:
    beginning = found[1] if (found := BEGINNING.search(text)) else ""
    characters = IdRule().characters if JOINED.search(text) or not _letters_only(text) else ALPHANUMERIC
    if longest := _number(LONGEST.search(text)):
        return IdRule(1, longest, characters, beginning)
    if shortest := _number(LEAST.search(text)):
        return IdRule(shortest, max(40, shortest), characters, beginning)
    if exactly := _number(EXACTLY.search(text)):
        return IdRule(exactly, exactly, ALPHANUMERIC, beginning)
    return IdRule(9, 9, ALPHANUMERIC) if characters == ALPHANUMERIC and not beginning else IdRule(beginning=beginning)


def _letters_only(text: str) -> bool:
    return re.search(r"alphanumeric|a-z|letters|digits", text, re.IGNORECASE) is not None


def _number(found: re.Match[str] | None) -> int | None:
    number = next((int(part) for part in found.groups() if part), 0) if found else 0
    return number if 4 <= number <= 512 else None


def fit_ids(body: JSONObject, rule: IdRule) -> JSONObject:
    """A request whose ids are by the rule; the same one where they are."""
    taken = list(dict.fromkeys(find_ids(body)))
    names = _names(taken, rule)
    if not names:
        return body
    field = "messages" if "messages" in body else "input"
    return {**body, field: [_renamed(item, lambda call_id: names.get(call_id, call_id)) for item in body[field]]}


def find_ids(body: JSONObject) -> Iterator[Any]:
    """Every id of a call in a conversation, in order, with its repeats."""
    found: list[Any] = []

    def note(call_id: Any) -> Any:
        found.append(call_id)
        return call_id

    for item in body.get("messages") or body.get("input") or []:
        _renamed(item, note)
    yield from found


def _names(taken: list[Any], rule: IdRule) -> dict[Any, str]:
    """What stands for each id that does not fit: nothing that is there already, and no two alike."""
    used = {call_id for call_id in taken if rule.fits(call_id)}
    names: dict[Any, str] = {}
    for call_id in taken:
        if not rule.fits(call_id):
            tries = (_made(f"{call_id}/{count}" if count else str(call_id), rule) for count in itertools.count())
            names[call_id] = next(name for name in tries if name not in used)
            used.add(names[call_id])
    return names


def _made(text: str, rule: IdRule) -> str:
    number = int.from_bytes(hashlib.sha512(text.encode("utf-8", "surrogatepass")).digest(), "big")
    letters = []
    for _ in range(rule.length - len(rule.beginning)):
        number, place = divmod(number, len(LETTERS))
        letters.append(LETTERS[place])
    return rule.beginning + "".join(letters)


def _renamed(item: Any, name: Callable[[Any], Any]) -> Any:
    """A message, an item or a block, with another name for every id in it: a new one where it holds any."""
    if not isinstance(item, dict):
        return item
    changed = {key: name(item[key]) for key in ("tool_call_id", "tool_use_id", "call_id") if key in item}
    if item.get("type") == "tool_use" and "id" in item:
        changed["id"] = name(item["id"])
    if isinstance(calls := item.get("tool_calls"), list):
        changed["tool_calls"] = [{**call, "id": name(call.get("id"))} for call in calls]
    if isinstance(blocks := item.get("content"), list):
        changed["content"] = [_renamed(block, name) for block in blocks]
    return {**item, **changed} if changed else item
