"""What the formats share: reasoning apart from the rest, where a JSON value ends, and one call from its text.

One rule goes through all of them: a text is read from left to right, and what a prefix decided stays decided. So a
reply that was cut anywhere never holds a runnable call that the whole reply has not, with one exception that
`PartialMessage.drop_before_reasoning` names.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from harness.data.arguments import make_call_id, parse_json_object, read_arguments, replace_surrogates
from harness.types import JSONObject, Message, ToolCall

BLOCKS = {"<think>": "</think>", "[THINK]": "[/THINK]"}
"""Tags of reasoning that templates of these families use: most of them the first, Mistral's the second."""
TURN_ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|eom_id|>", "<|end_of_text|>", "</s>")
"""Tokens that end a turn, which some decoders leave in the text."""
NAME = re.compile(r'"name"\s*:\s*("(?:[^"\\]|\\.)*")')
UNFINISHED = "the call's JSON was not finished"
JSON_PART = re.compile(r'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
"""A string, also one that the text's end cut, or a bracket: all it takes to find where a value ends."""


@dataclass
class PartialMessage:
    """A reply on its way from left to right: what was said, thought and called up to now; `tools` are those there are,
    by name, as far as the reader knows. `tried` counts the characters of what looked like a call and was none: objects
    within each other or without an end are read again and again, so there is a bound, TRIES times the text."""

    turn: int
    tools: Collection[str] = ()
    said: list[str] = field(default_factory=list)
    thought: list[str] = field(default_factory=list)
    calls: list[ToolCall] = field(default_factory=list)
    tried: int = 0

    @property
    def call_id(self) -> str:
        return make_call_id(self.turn, len(self.calls))

    def parse_reasoning(self, text: str, start: int, closing: str) -> int:
        """Reads a reasoning block from `start`, returns where it ends; one that was never closed takes all the rest."""
        end = text.find(closing, start)
        self.thought.append(text[start:] if end < 0 else text[start:end])
        return len(text) if end < 0 else end + len(closing)

    def drop_before_reasoning(self, before: str) -> None:
        """A reasoning block ends that nobody opened: the prompt did, so all before it was thought, calls included.

        Only here does a longer text have fewer calls than its beginning; where the caller says `thinking`, or a block
        was read before, the tag means nothing.
        """
        if not self.thought:
            self.said.clear()
            self.calls.clear()
            self.thought.append(before)

    def message(self, raw: str) -> Message:
        content = "\n".join(filter(None, (part.strip() for part in self.said)))
        reasoning = "\n".join(filter(None, (part.strip() for part in self.thought)))
        return Message(
            "assistant",
            content,
            reasoning=reasoning or None,
            tool_calls=tuple(self.calls),
            raw=raw,
        )


ParseCall = Callable[[str, re.Match[str], PartialMessage], int | None]
"""Reads what a mark begins, a call or several or none, and returns where reading goes on; None: the mark is prose."""


def compile_marks(pattern: str) -> re.Pattern[str]:
    """The marks of a family: where a call may begin, and the tags of reasoning."""
    tags = (re.escape(tag) for pair in BLOCKS.items() for tag in pair)
    return re.compile(f"{'|'.join(tags)}|{pattern}")


def parse_message(
    text: str, mark: re.Pattern[str], call: ParseCall, turn: int, thinking: bool, tools: Collection[str] = ()
) -> Message:
    """The message of a text: from mark to mark, reasoning taken out, what another mark begins left to `call`.

    Between marks, calls that are written without one are read as `read_bare_calls` says.
    """
    raw = replace_surrogates(text)
    reading, body = PartialMessage(turn, tools), without_end(raw)
    at = seek = _opened_by_the_prompt(body, reading) if thinking else 0
    while (found := mark.search(body, seek)) is not None:
        at = read_bare_calls(body, at, seek, found.start(), reading)
        if at > found.start():
            seek = at  # the mark stands in a string of such a call
            continue
        reading.said.append(body[at : found.start()])
        end = _read_mark(body, found, call, reading)
        if end is None:
            reading.said.pop()
            seek = found.start() + 1
        else:
            at = seek = end
    at = read_bare_calls(body, at, seek, len(body), reading)
    reading.said.append(body[at:])
    return reading.message(raw)


def _read_mark(body: str, found: re.Match[str], call: ParseCall, reading: PartialMessage) -> int | None:
    """Reads what a mark begins or ends; returns where reading goes on, None where the mark is prose."""
    if found[0] in BLOCKS:
        return reading.parse_reasoning(body, found.end(), BLOCKS[found[0]])
    if found[0] in BLOCKS.values():
        reading.drop_before_reasoning(body[: found.start()])
        return found.end()
    return call(body, found, reading)


def _opened_by_the_prompt(body: str, reading: PartialMessage) -> int:
    """Reads the block in which the prompt ended; it is closed by whichever closing tag comes first."""
    ends = [closing for closing in BLOCKS.values() if closing in body]
    return reading.parse_reasoning(body, 0, min(ends, key=body.find, default="</think>"))


def find_reasoning_end(text: str, thinking: bool) -> tuple[int | None, int]:
    """Where the reasoning that a text begins with is closed, and where what is said begins, space left out. 0 for one
    that begins without; None for reasoning that was never closed. `thinking`: the prompt opened it."""
    closed, at = 0, len(text) - len(text.lstrip())
    while thinking or text.startswith(tuple(BLOCKS), at):
        tags = BLOCKS.values() if thinking else [tag for begin, tag in BLOCKS.items() if text.startswith(begin, at)]
        ends = [place + len(tag) for tag in tags if (place := text.find(tag, at)) >= 0]
        if not ends:
            return None, len(text)
        closed, thinking = min(ends), False
        at = len(text) - len(text[closed:].lstrip())
    return closed, at


def without_end(text: str) -> str:
    """The text without the tokens that end a turn, and without space at its end."""
    text = text.rstrip()
    while text.endswith(TURN_ENDS):
        text = text[: max(text.rfind(token) for token in TURN_ENDS if text.endswith(token))].rstrip()
    return text


def find_value_end(text: str, start: int) -> int | None:
    """Where the JSON object or array that begins at `start` ends; None: the text ends first.

    Brackets are counted outside strings, so the end is known even where the value is no valid JSON.
    """
    depth = 0
    for part in JSON_PART.finditer(text, start):
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(part[0], 0)
        if depth == 0:
            return part.end()
    return None


def parse_object(text: str, begin: int, reading: PartialMessage) -> int:
    """Reads the call whose object begins at `begin`, where only the object's end closes it; returns where it ends.

    What follows a torn object belongs to it: a string may be open, and what looks like a call in it is none.
    """
    end = find_value_end(text, begin)
    if end is None:
        reading.calls.append(make_malformed_call(text[begin:], reading.call_id, UNFINISHED))
        return len(text)
    reading.calls.append(parse_call(text[begin:end], reading.call_id))
    return end


def parse_call(text: str, call_id: str) -> ToolCall:
    """The call of a complete text {"name": ..., "arguments": {...}}; "parameters" is read as well."""
    try:
        fields = parse_json_object(text)
    except ValueError as error:
        return make_malformed_call(text, call_id, str(error))
    return make_call(fields, text, call_id)


def make_call(fields: JSONObject, text: str, call_id: str) -> ToolCall:
    """The call that an object is. A well-formed one keeps its arguments' JSON as raw text, a malformed one all."""
    name = fields.get("name")
    if not isinstance(name, str) or not name.strip():
        return ToolCall(call_id, "", None, text, "the call names no tool")
    key = "arguments" if "arguments" in fields else "parameters"
    if key not in fields:
        return ToolCall(call_id, name, None, text, 'the call has no "arguments"')
    return with_arguments(name, fields[key], text, call_id)


def with_arguments(name: str, value: object, text: str, call_id: str) -> ToolCall:
    """A call of a name and arguments, which may be an object, or a string that holds one."""
    arguments, raw, error = read_arguments(value)
    if arguments is None:
        return ToolCall(call_id, replace_surrogates(name), None, text, f"the arguments are {format_parse_error(error)}")
    return ToolCall(call_id, replace_surrogates(name), arguments, raw or "{}")


def format_parse_error(error: str | None) -> str:
    return error or "not a JSON object"


def make_malformed_call(text: str, call_id: str, error: str) -> ToolCall:
    """A malformed call, with its name where it can be read."""
    match = NAME.search(text)
    try:
        name = str(json.loads(match[1])) if match else ""
    except ValueError:
        name = ""
    return ToolCall(call_id, replace_surrogates(name), None, text, error)


def render_calls(calls: Sequence[ToolCall], key: str) -> list[str]:
    """Each call as the object that a model writes, with its arguments under `key`; of a malformed one, its own text."""
    return [
        call.raw if call.arguments is None else json.dumps({"name": call.name, key: call.arguments}, ensure_ascii=False)
        for call in calls
    ]


# --- calls without a mark ----------------------------------------------------------------------------------------

ATTEMPT = re.compile(r"""\{\s*["'](?:type|name|function|parameters|arguments)["']\s*:""")
"""How a call begins that cannot be read: by the keys that models write first."""
LINE_START = r"(?:(?m:^)|(?<=</think>)|(?<=\[/THINK\]))[ \t]*"
BARE = re.compile(
    rf"(?P<line>{LINE_START}(?:(?:[-*]|\d+\.)[ \t]+)?(?P<fence>`{{3}}[\w+-]*\s*)?)(?=\{{|\[\s*\{{)"
    rf"|(?={ATTEMPT.pattern})"
)
"""Where an object may be a call that has no mark: at the beginning of a line or a code fence, or within a line."""
LOOSE_NAME = re.compile(r"""["']name["']\s*:\s*["']([^"'\\]*)["']""")
NAMES = ("name", "function", "tool", "tool_name", "action")
VALUES = ("arguments", "parameters", "args", "input", "action_input", "tool_input")
"""Keys of a tool's name and of its arguments. `name` and the first two are read, the others are an attempt."""
JOINT = re.compile(r"\s*+[,;]?\s*+(?=\{|\[\s*\{)")
ELEMENT = re.compile(r"[\s,]*(?=\{)")
FENCE_END = re.compile(r"\s*`{3}")
NO_MORE = re.compile(r"""[\s.!)"'`]*\Z""")
BEHIND_PROSE = "a call begins a line or stands in its tags, and this one stands behind text"
TRIES = 16


def read_bare_calls(text: str, at: int, seek: int, limit: int, reading: PartialMessage) -> int:
    """Reads what is called between two places without a mark; returns where the last call ends, or `at`, from where on
    nothing was read yet.

    An object is a call where it begins a line and names a tool that there is, and anywhere behind another call. Behind
    prose on its line it is prose, except as the last thing of a reply: then it is counted, as malformed.
    """
    while reading.tried <= TRIES * len(text) and (found := BARE.search(text, seek, limit)) is not None:
        end = _read_bare(text, found, reading, said_from=at)
        if end is None:
            reading.tried += (find_value_end(text, found.end()) or len(text)) - found.end()
            seek = found.end() + 1
        else:
            at = seek = end
    return at


def _read_bare(text: str, found: re.Match[str], reading: PartialMessage, said_from: int) -> int | None:
    """Reads the calls at one place, with what is joined to them; None: there is none."""
    begin = found.end()
    end = find_value_end(text, begin)
    before = text[said_from : found.start()]
    if found["line"] is None and not reading.calls:
        if end is None or name_attempted(text[begin:end]) not in reading.tools or not NO_MORE.match(text, end):
            return None
        reading.said.append(before)
        reading.calls.append(make_malformed_call(text[begin:end], reading.call_id, BEHIND_PROSE))
        return end
    said = len(reading.said)
    reading.said.append(before)
    after = read_value(text, begin, reading, lambda name: bool(reading.calls) or name in reading.tools)
    if after is None:
        del reading.said[said:]
        return None
    after = read_joined(text, after, reading)
    closing = FENCE_END.match(text, after) if found["fence"] else None
    return closing.end() if closing else after


def read_joined(text: str, at: int, reading: PartialMessage) -> int:
    """Reads the objects and arrays that follow a call, with a comma, a semicolon or nothing between; returns where they
    end."""
    while (joint := JOINT.match(text, at)) is not None:
        after = read_value(text, joint.end(), reading, lambda name: True)
        if after is None:
            return at
        at = after
    return at


def read_value(text: str, begin: int, reading: PartialMessage, is_tool: Callable[[str], bool]) -> int | None:
    """Reads the object, or the array of objects, that begins at a place, as calls; returns where it ends.

    None, and nothing is read: it is something else, as far as the names that its objects call can tell.
    """
    end = find_value_end(text, begin)
    bodies = [text[begin:]] if end is None else object_texts(text[begin:end])
    names = [name_attempted(body) for body in bodies]
    if not any(name is not None and is_tool(name) for name in names):
        return None
    for body in bodies:
        if end is None:
            reading.calls.append(make_malformed_call(body, reading.call_id, UNFINISHED))
        else:
            reading.calls.append(parse_wrapped_call(body, reading.call_id))
    return len(text) if end is None else end


def object_texts(value: str) -> list[str]:
    """The text of an object, or those of an array's objects; none of an array that holds anything else."""
    if value.startswith("{"):
        return [value]
    texts, at = list[str](), 1
    while (element := ELEMENT.match(value, at)) is not None:
        at = find_value_end(value, element.end()) or len(value)
        texts.append(value[element.end() : at])
    return texts if value[at:].strip(" \t\r\n,") == "]" else []


def name_attempted(body: str) -> str | None:
    """The name of the tool that an object seems to call, torn or not; None: it seems to call none."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        found = LOOSE_NAME.search(body) if ATTEMPT.match(body.lstrip("[ \t\r\n")) else None
        return found[1] if found else None
    if isinstance(fields.get("function"), dict):
        fields = fields["function"]
    name = next((fields[key] for key in NAMES if isinstance(fields.get(key), str)), None)
    calls = any(key in fields for key in VALUES) or fields.keys() <= {*NAMES, "type", "id"}
    return name if calls else None


def parse_wrapped_call(text: str, call_id: str) -> ToolCall:
    """`parse_call`, also of {"type": "function", "function": {...}}, as APIs write calls."""
    try:
        fields = parse_json_object(text)
    except ValueError as error:
        return make_malformed_call(text, call_id, str(error))
    function = fields.get("function")
    return make_call(function if isinstance(function, dict) else fields, text, call_id)
