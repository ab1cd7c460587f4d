"""Chunks of a chat completion put together: the body that the same reply has without streaming.

Texts are joined, and calls by their index, also where servers leave out the index or the id, send a call whole in one
chunk, or number every call 0.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from harness.types import JSONObject

TEXTS = ("reasoning", "reasoning_content", "refusal")
CHOICE_FIELDS = ("finish_reason", "native_finish_reason", "error")


@dataclass
class ChatReply:
    """What has come of a completion: its choices by index, and its usage."""

    whole: bool = False
    last: bool = False  # the usage may follow: [DONE] is the end
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _usage: object = None

    def add(self, event: JSONObject) -> None:
        self._usage = event.get("usage") or self._usage
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict):
                index = choice.get("index")
                index = index if isinstance(index, int) else 0
                self._choices.setdefault(index, _Choice()).add(choice)
        self.whole = self.whole or any(choice.ends.get("finish_reason") for choice in self._choices.values())

    def body(self) -> JSONObject:
        choices = [{"index": index, **choice.body()} for index, choice in sorted(self._choices.items())]
        return {"choices": choices, "usage": self._usage}


@dataclass
class _Choice:
    content: list[Any] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: _Calls = field(default_factory=lambda: _Calls())
    old_call: _Calls = field(default_factory=lambda: _Calls())
    ends: JSONObject = field(default_factory=dict)

    def add(self, choice: JSONObject) -> None:
        self.ends |= {name: choice[name] for name in CHOICE_FIELDS if choice.get(name)}
        # Some send the last chunk, or the only one, as a message.
        delta = choice.get("delta") or choice.get("message")
        if not isinstance(delta, dict):
            return
        content = delta.get("content")
        self.content += content if isinstance(content, list) else [content] if isinstance(content, str) else []
        for name in TEXTS:
            if isinstance(text := delta.get(name), str):
                self.texts.setdefault(name, []).append(text)
        listed = delta.get("tool_calls")
        for part in listed if isinstance(listed, list) else [listed] if listed else []:
            self.calls.add(part)
        if isinstance(old := delta.get("function_call"), dict):
            self.old_call.add({"index": 0, "function": old})

    def body(self) -> JSONObject:
        message: JSONObject = {"role": "assistant", "content": self._content()}
        message |= {name: "".join(parts) for name, parts in self.texts.items()}
        if self.calls.found:
            message["tool_calls"] = self.calls.found
        if self.old_call.found:
            message["function_call"] = self.old_call.found[0]["function"]
        return {"message": message, **self.ends}

    def _content(self) -> object:
        """A text, or parts where there are other ones than text; None where nothing came."""
        if all(isinstance(part, str) for part in self.content):
            return "".join(self.content) if self.content else None
        return [{"type": "text", "text": part} if isinstance(part, str) else part for part in self.content]


@dataclass
class _Calls:
    """Calls as they grow; `places` has the index that the server gave to each."""

    found: list[Any] = field(default_factory=list)
    places: list[object] = field(default_factory=list)

    def add(self, part: object) -> None:
        """One part of a call, or something that is none and is read as malformed later."""
        function = part.get("function") if isinstance(part, dict) else None
        if not isinstance(part, dict) or not isinstance(function, dict):
            self.found.append(part)
            self.places.append(None)
            return
        call = self._call_of(part, function)
        if call is None:
            call = {"function": {"name": "", "arguments": None}}
            self.found.append(call)
            self.places.append(part.get("index"))
        call |= {name: value for name, value in part.items() if name not in ("function", "index") and value}
        _grow(call["function"], function)

    def _call_of(self, part: JSONObject, function: JSONObject) -> JSONObject | None:
        """The call that a part goes on with; None: it begins one."""
        index, places = part.get("index"), range(len(self.found))
        same = [at for at in places if index is None or self.places[at] == index]
        if not same or not isinstance(self.found[same[-1]], dict) or "function" not in self.found[same[-1]]:
            return None
        call: JSONObject = self.found[same[-1]]
        if part.get("id") and call.get("id"):
            return call if part["id"] == call["id"] else None
        named, before = function.get("name"), call["function"]
        again = named and function.get("arguments") and is_whole(before["arguments"])
        other = named and before["name"] and named != before["name"] and index is None
        return None if again or other else call


def _grow(call: JSONObject, part: JSONObject) -> None:
    """Adds a part of a name and of arguments; a name that is repeated is one name."""
    name, arguments = part.get("name"), part.get("arguments")
    if isinstance(name, str) and name != call["name"]:
        call["name"] += name
    if isinstance(arguments, str) and isinstance(call["arguments"] or "", str):
        call["arguments"] = (call["arguments"] or "") + arguments
    elif arguments is not None:
        call["arguments"] = arguments if call["arguments"] in (None, "") else json.dumps([call["arguments"], arguments])


def is_whole(arguments: object) -> bool:
    """Whether arguments are complete, so that whatever has a name of its own is another call."""
    try:
        return isinstance(arguments, dict) or isinstance(json.loads(str(arguments or "")), dict)
    except (ValueError, RecursionError):
        return False
