"""How the paper reads a reply: its rule for Hermes calls, for scores and rewards that must equal the paper's.

It differs from hermes.py on purpose. Reasoning is not told apart, so calls in it count. A last call needs no closing
tag. A closing tag in a string cuts the call, a call behind other text is not seen, and a call that cannot be read is
dropped; if none is left, the whole text is the content. The rule is that of the released code's parser for Qwen
(bytedance/FTRL), read there and written anew here; tests/golden compares the two on recorded texts.

Left out: the paper's rule for Llama, which repairs JSON with a library.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

from harness.data.arguments import MAX_ARGUMENTS_DEPTH, is_deeper_than, make_call_id, replace_surrogates
from harness.types import JSONObject, Message, ToolCall

OPENING, CLOSING = "<tool_call>", "</tool_call>"
STRAY = (OPENING, CLOSING, "<tool_parsed_response>")
"""What the reward takes for a failed attempt to call, when it is in a content without calls."""


@dataclass(frozen=True, slots=True)
class PaperReply:
    """A reply as the paper reads it. `message` has what its reward looks at: the calls, and the content without any.

    `arguments` are the calls' arguments as the paper passes them on: JSON text, in the order of the calls.
    """

    message: Message
    arguments: tuple[str, ...]

    @property
    def stray_tag(self) -> bool:
        """Whether there is no call but a tag of one: the reward is -0.3 then (method, section 3)."""
        return not self.message.tool_calls and any(tag in self.message.content for tag in STRAY)

    def record(self) -> JSONObject:
        """The reply as the paper's parser returns it, without the ids: role, content, and tool_calls or null."""
        calls = zip(self.message.tool_calls, self.arguments, strict=True)
        return {
            "role": "assistant",
            "content": self.message.content,
            "tool_calls": [{"name": call.name, "arguments": text} for call, text in calls] or None,
        }


def without_end_tokens(response: str) -> str:
    """A generated text as the reward reads it: one <|endoftext|> and then one <|im_end|> taken from its end."""
    for token in ("<|endoftext|>", "<|im_end|>"):
        response = response.strip().removesuffix(token)
    return response.strip()


def parse_paper(text: str, turn: int = 0) -> PaperReply:
    """The reply that the paper makes of a text; never raises.

    Arguments that are JSON but no object (the paper takes them from a string) count as a call and cannot run.
    """
    start = text.find(OPENING)
    pieces = text[start:].split(CLOSING) if start >= 0 else []
    read = [found for piece in pieces if (found := _read(piece.strip())) is not None]
    calls = tuple(_call(name, value, raw, make_call_id(turn, index)) for index, (name, value, raw) in enumerate(read))
    content = text[:start].strip() if calls else text.strip()
    message = Message("assistant", replace_surrogates(content), tool_calls=calls, raw=replace_surrogates(text))
    return PaperReply(message, tuple(raw for _, _, raw in read))


def _read(piece: str) -> tuple[str, object, str] | None:
    """Name and arguments, as a value and as text, of one piece between closing tags; None where the paper drops it.

    The opening tag is taken off as a set of characters, as often as they come: two tags in a row are one.
    """
    if not piece.startswith(OPENING):
        return None
    try:
        fields = json.loads(piece.lstrip(OPENING).strip())
        name, value = fields.get("name"), fields["arguments"]
        if not name:
            return None
        value = value if isinstance(value, dict) else json.loads(value)
        return str(name), value, replace_surrogates(json.dumps(value, ensure_ascii=False))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _call(name: str, value: object, raw: str, call_id: str) -> ToolCall:
    """The call with arguments that can run; JSON that our records cannot hold is malformed."""
    if not isinstance(value, dict):
        return ToolCall(call_id, replace_surrogates(name), None, raw, "the arguments are not a JSON object")
    if is_deeper_than(value, MAX_ARGUMENTS_DEPTH) or not _finite(value):
        return ToolCall(call_id, replace_surrogates(name), None, raw, "the arguments cannot be written as JSON")
    return ToolCall(call_id, replace_surrogates(name), json.loads(raw), raw)


def _finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(map(_finite, value.values()))
    if isinstance(value, list):
        return all(map(_finite, value))
    return not isinstance(value, float) or math.isfinite(value)
