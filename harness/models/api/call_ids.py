"""Ids of calls as a provider takes them: what a refusal asks of them, and a conversation whose ids are so.

Mistral wants nine letters and digits, Anthropic letters, digits, _ and -, OpenAI at most forty characters. Records keep
the ids that the model gave; in each request those that do not fit stand for others, made from their text, alike in a
call and in its result. A provider never gives such an id back, so nothing has to be undone in a reply.
"""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from harness.types import JSONObject

STATUSES = frozenset({400, 404, 422, 500})
"""Templates raise what servers answer with 404 or 500."""
ABOUT = re.compile(
    r"tool[ _-]?(?:call|use)s?[ _-]?ids?\b|tool_calls\S*\.id\b|tool_use\.id\b|\bcall_id\b", re.IGNORECASE
)
WANTED = re.compile(r"must be|should be|match|pattern|too long|maximum length|alphanumeric|invalid char", re.IGNORECASE)
OTHERWISE = re.compile(r"followed by|did not have|not found|no tool call|without|missing|unexpected", re.IGNORECASE)
LONGEST = re.compile(r"(?:maximum length|at most|no more than)\D{0,12}(\d+)", re.IGNORECASE)
ONLY_NINE = re.compile(r"length (?:of )?9\b|\b9 (?:alphanumeric|characters)|alphanumeric", re.IGNORECASE)

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
MADE = 9
"""Characters of an id that stands for another: as many as every provider takes."""


@dataclass(frozen=True, slots=True)
class IdRule:
    """What ids have to match as a whole."""

    pattern: str

    def fits(self, call_id: object) -> bool:
        return isinstance(call_id, str) and re.fullmatch(self.pattern, call_id) is not None


NINE = IdRule("[A-Za-z0-9]{9}")
PLAIN = IdRule("[A-Za-z0-9_-]{1,256}")


def read_id_rule(status: int, text: str) -> IdRule | None:
    """What an error asks of the ids of calls; None where it is about something else."""
    if status not in STATUSES or not ABOUT.search(text) or not WANTED.search(text) or OTHERWISE.search(text):
        return None
    if ONLY_NINE.search(text):
        return NINE
    longest = LONGEST.search(text)
    return IdRule(f"[A-Za-z0-9_-]{{1,{max(MADE, int(longest[1]))}}}") if longest else IdRule("[A-Za-z0-9_-]{1,40}")


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
            tries = (_made(f"{call_id}/{count}" if count else str(call_id)) for count in itertools.count())
            names[call_id] = next(name for name in tries if name not in used)
            used.add(names[call_id])
    return names


def _made(text: str) -> str:
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
    letters = []
    for _ in range(MADE):
        number, place = divmod(number, len(LETTERS))
        letters.append(LETTERS[place])
    return "".join(letters)


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
