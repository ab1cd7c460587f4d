"""Chunks of a chat completion put together: the body that the same reply has without streaming.

Texts are joined here, calls in streamed_calls.py. It is whole once it says why it ends; where no [DONE] follows, every
choice has to say so.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.models.api.lost_calls import says_called
from harness.models.api.streamed_calls import StreamedCalls
from harness.models.api.wire import join_texts
from harness.types import JSONObject

TEXTS = ("reasoning", "reasoning_content", "refusal")
REASONS = ("finish_reason", "native_finish_reason")


@dataclass
class ChatReply:
    """What has come of a completion: its choices by index, and its usage."""

    last: bool = False  # the usage may follow: [DONE] is the end
    _choices: dict[int, _Choice] = field(default_factory=dict)
    _usage: object = None

    @property
    def whole(self) -> bool:
        return any(choice.ends for choice in self._choices.values())

    @property
    def closed(self) -> bool:
        return self.whole and all(choice.ends for choice in self._choices.values())

    def add(self, event: JSONObject) -> None:
        self._count(event)
        choices = event.get("choices")
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict):
                self._count(choice)
                index = choice.get("index")
                index = index if isinstance(index, int) else 0
                self._choices.setdefault(index, _Choice()).add(choice)

    def _count(self, holder: JSONObject) -> None:
        """The usage: the last one counts. Moonshot has it in the choice, Groq under a name of its own."""
        groq = holder.get("x_groq")
        self._usage = holder.get("usage") or (groq.get("usage") if isinstance(groq, dict) else None) or self._usage

    def body(self) -> JSONObject:
        choices = [{"index": index, **choice.body()} for index, choice in sorted(self._choices.items())]
        return {"choices": choices, "usage": self._usage}


@dataclass
class _Choice:
    """One choice. `message` is one that came whole beside the pieces, as the last chunk of some."""

    content: list[Any] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)
    calls: StreamedCalls = field(default_factory=lambda: StreamedCalls())
    old_call: StreamedCalls = field(default_factory=lambda: StreamedCalls())
    ends: JSONObject = field(default_factory=dict)
    message: JSONObject = field(default_factory=dict)

    def add(self, choice: JSONObject) -> None:
        self._end(choice)
        if isinstance(message := choice.get("message"), dict):
            self.message |= {name: value for name, value in message.items() if value}
        delta = choice.get("delta")
        delta = delta if isinstance(delta, dict) else {}
        content = delta.get("content")
        self.content += content if isinstance(content, list) else [content] if isinstance(content, str | dict) else []
        for name in TEXTS:
            if text := join_texts(delta.get(name)):
                self.texts.setdefault(name, []).append(text)
        for holder in (delta, choice):
            listed = holder.get("tool_calls")
            for part in listed if isinstance(listed, list) else [listed] if listed else []:
                self.calls.add(part)
            if old := holder.get("function_call"):
                self.old_call.add({"index": 0, "function": old} if isinstance(old, dict) else old)

    def _end(self, choice: JSONObject) -> None:
        """Why it ends. What speaks of a call is not undone by a later reason."""
        for name in REASONS:
            if (reason := choice.get(name)) and not says_called({name: self.ends.get(name)}):
                self.ends[name] = reason
        if choice.get("error"):
            self.ends["error"] = choice["error"]

    def body(self) -> JSONObject:
        message: JSONObject = {"role": "assistant", "content": self._content()}
        message |= {name: "".join(parts) for name, parts in self.texts.items()}
        if self.calls.found:
            message["tool_calls"] = self.calls.found
        if self.old_call.found:
            [old, *_] = self.old_call.found
            message["function_call"] = old.get("function", old) if isinstance(old, dict) else old
        missing = {name: value for name, value in self.message.items() if not message.get(name)}
        return {"message": {**message, **missing}, **self.ends}

    def _content(self) -> object:
        """A text, or parts where there are other ones than text; None where nothing came."""
        if all(isinstance(part, str) for part in self.content):
            return "".join(self.content) if self.content else None
        return [{"type": "text", "text": part} if isinstance(part, str) else part for part in self.content]
