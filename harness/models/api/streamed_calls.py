"""Pieces of calls put together, as servers send them in chunks of a completion.

By OpenAI's rule a call begins with its index, id and name, and goes on with pieces of its arguments under that index.
Servers leave out the index or the id, number every call 0, repeat the name or the id in every piece or make up a new id
for each, send a call whole in one chunk, or begin its arguments with {}: each is put together as it was meant.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from harness.types import JSONObject

FLAT = ("name", "arguments")
"""The fields of a call whose `function` was left out."""


@dataclass
class StreamedCalls:
    """Calls as they grow; `places` has the index that the server gave to each."""

    found: list[Any] = field(default_factory=list)
    places: list[object] = field(default_factory=list)

    def add(self, part: object) -> None:
        """One piece of a call, or something that is none and is read as malformed later."""
        function = _function_of(part)
        if not isinstance(part, dict) or function is None:
            self.found.append(part)
            self.places.append(None)
            return
        call = self._find(part, function)
        if call is None and self.found and not (function.get("name") or function.get("arguments")):
            return  # the end of one that is whole
        if call is None:
            call = {"function": {"name": "", "arguments": None}}
            self.found.append(call)
            self.places.append(part.get("index"))
        known = {"function", "index", *FLAT, *(["id"] if call.get("id") else [])}
        call |= {name: value for name, value in part.items() if name not in known and value}
        _grow(call["function"], function)

    def _find(self, part: JSONObject, function: JSONObject) -> JSONObject | None:
        """The call that a piece goes on with; None: it begins one."""
        index, call_id = part.get("index"), part.get("id")
        last = self._latest("index", index) if index is not None else self._latest()
        if function.get("name"):
            return last if last is not None and _goes_on(last, part, function) else None
        if last is not None and index is not None:
            return last
        same = self._latest("id", call_id) if call_id else None
        last = same or self._latest()
        return last if last is not None and (same or not is_whole(last["function"]["arguments"])) else None

    def _latest(self, by: str = "", value: object = None) -> JSONObject | None:
        """The latest call, of this index or id where one is asked for."""
        for call, place in zip(reversed(self.found), reversed(self.places), strict=True):
            if not isinstance(call, dict) or not isinstance(call.get("function"), dict):
                continue
            if not by or (place if by == "index" else call.get("id")) == value:
                return call
        return None


def _function_of(part: object) -> JSONObject | None:
    if not isinstance(part, dict):
        return None
    function = part.get("function")
    if isinstance(function, dict):
        return function
    return {name: part[name] for name in FLAT if name in part} if any(name in part for name in FLAT) else None


def _goes_on(call: JSONObject, part: JSONObject, function: JSONObject) -> bool:
    """Whether a piece with a name belongs to the call before it, whose name it gives, repeats or completes."""
    if not call["function"]["name"] and not call.get("id") and part.get("index") is not None:
        return True  # whose arguments came first
    before, arguments = call["function"]["arguments"], function.get("arguments")
    begun = bool(before) and not is_whole(before)
    if part.get("id") and call.get("id") and part["id"] != call["id"]:
        return begun and bool(arguments) and not _opens(arguments) and function["name"] == call["function"]["name"]
    if function["name"] != call["function"]["name"]:  # a further piece of the name, or another tool
        return part.get("index") is not None and not before and not is_whole(arguments)
    if not is_whole(before) or not arguments or before == "{}":
        return True
    repeated = part.get("id") and part.get("index") is not None  # the call once more, whole
    return bool(repeated) and before == arguments


def _grow(call: JSONObject, part: JSONObject) -> None:
    """Adds a piece of a name and of arguments; what is repeated counts once."""
    name, arguments, before = part.get("name"), part.get("arguments"), call["arguments"]
    if isinstance(name, str) and name != call["name"]:
        call["name"] += name
    if arguments is None or arguments == "" or (name and before == arguments and is_whole(before)):
        call["arguments"] = arguments if before is None else before
    elif before in (None, "") or (before == "{}" and _opens(arguments)):
        call["arguments"] = arguments
    elif isinstance(arguments, str) and isinstance(before, str):
        call["arguments"] = before + arguments
    else:
        call["arguments"] = json.dumps([before, arguments])


def _opens(arguments: object) -> bool:
    """Whether arguments begin here and go on with nothing."""
    return not isinstance(arguments, str) or arguments.lstrip().startswith("{")


def is_whole(arguments: object) -> bool:
    """Whether arguments are complete, so that whatever has a name of its own is another call."""
    if not isinstance(arguments, str) or not arguments.rstrip().endswith("}"):
        return isinstance(arguments, dict)
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False
