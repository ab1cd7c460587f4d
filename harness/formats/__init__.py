"""Text formats of tool calls: what a network writes when it calls a tool, read back into calls, and written again.

A network has one format, that of its family; the tokenizer's chat template shows which. hermes, llama3, mistral and
pythonic are families whose templates take tools. react is a plain-text protocol of our own for models whose template
takes none; by `plain_messages` every format is one.
paper.py reads replies as the paper's code does; it is a way of scoring and no family, so it is not among FORMATS.

Left out: families whose calls are no JSON (Qwen3-Coder, GLM, Gemma, LFM2, gpt-oss): their own servers parse them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Protocol

from harness.data.arguments import make_call_id, parse_json_object
from harness.errors import UsageError
from harness.formats.hermes import Hermes
from harness.formats.llama3 import Llama3
from harness.formats.mistral import Mistral
from harness.formats.plain import Wording, write_plainly
from harness.formats.pythonic import Pythonic
from harness.formats.react import ReAct
from harness.registry import suggest_names
from harness.types import Message, Tool, ToolCall


class Format(Protocol):
    """How a family of models writes calls. Formats have no state."""

    @property
    def name(self) -> str: ...

    @property
    def stop(self) -> tuple[str, ...]:
        """Strings at which generation must stop, besides the end of the turn."""

    @property
    def wording(self) -> Wording:
        """What tells a model of the tools and how to call them, where no template does."""

    def parse(self, text: str, turn: int = 0, *, thinking: bool = False, tools: Collection[str] = ()) -> Message:
        """The assistant message of a generated text; never raises.

        `thinking`: the prompt ended inside a reasoning block, so the text begins in one. `tools`: the names of those
        that there are, by which calls are known that lack the format's marks. Special tokens must still be in the
        text, except those that end a turn, which may be. The ids of calls are call_{turn}_{index}.
        """

    def render(self, calls: Sequence[ToolCall]) -> str:
        """The text a model of this family writes for these calls; of a malformed one, what it wrote."""

    def converse(self, messages: Sequence[Message], tools: Sequence[Tool]) -> Sequence[Message] | None:
        """None: the model's own chat template takes tools. Otherwise the same conversation as plain text of system,
        user and assistant, without tools and calls."""


FORMATS: Mapping[str, Format] = MappingProxyType(
    {family.name: family for family in (Hermes(), Llama3(), Mistral(), Pythonic(), ReAct())}
)
OPTION = "format"
"""The --model-arg that names a format, for the backends that parse."""


# --- which format ------------------------------------------------------------------------------------------------

STRINGS = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
STRING = re.compile(STRINGS, re.DOTALL)
CODE = re.compile(rf"""\{{[%{{](?:{STRINGS}|[^'"])*?[%}}]\}}""", re.DOTALL)
"""What a template computes, between {% and %} or {{ and }}; a bracket in a string does not end it."""
TOOLS = re.compile(r"(?<![.\w])tools\b")
NOT_JSON = ("<function=", "<arg_key>")
"""What templates hold whose calls stand in <tool_call> but are tags: Qwen3-Coder, Qwen3.5, Nemotron 3, GLM."""


def choose_format(template: str | None, override: str | None = None) -> Format:
    """The format of a model, from the text of its tokenizer's chat template, or the one that `override` names.

    A template that takes no tools means react. UsageError: the override is unknown, there is no template, or it takes
    tools in a format that is not among FORMATS.
    """
    if override is not None:
        return get_format(override)
    if template is None:
        raise UsageError(
            f"The model has no chat template to tell how it writes tool calls: name one of {', '.join(FORMATS)} with "
            f"--model-arg {OPTION}=NAME."
        )
    if not takes_tools(template):
        return FORMATS["react"]
    family = family_of(template)
    if family is None:
        raise UsageError(
            f"The model's chat template takes tools in a format that is unknown here: name one of {', '.join(FORMATS)} "
            f"with --model-arg {OPTION}=NAME, or reach the model through a vLLM server that has its parser "
            "(--enable-auto-tool-choice --tool-call-parser NAME) as openai/NAME with --base-url."
        )
    return FORMATS[family]


def tell_format(template: str) -> str | None:
    """The name of the format that a template shows; None where it takes tools in one that is unknown here."""
    return family_of(template) if takes_tools(template) else "react"


def get_format(name: str) -> Format:
    """A format by name; UsageError with the names that there are where it is none of them."""
    if name not in FORMATS:
        raise UsageError(
            f"There is no tool format {name!r}.{suggest_names(name, FORMATS)} --model-arg {OPTION}=NAME takes one of "
            f"{', '.join(FORMATS)}."
        )
    return FORMATS[name]


def takes_tools(template: str) -> bool:
    """Whether a template reads the variable `tools`; a word in a text or the field of a message does not count."""
    return any(TOOLS.search(STRING.sub("''", code)) for code in CODE.findall(template))


def family_of(template: str) -> str | None:
    """The family whose marks a template with tools holds (docs/formats.md has the table)."""
    if "<tool_call>" in template and "arguments" in template and not any(mark in template for mark in NOT_JSON):
        return "hermes"
    if "[TOOL_CALLS]" in template:
        return "mistral"
    if "[func_name1(" in template or "<function_calls>" in template:
        return "pythonic"
    if "<|start_header_id|>" in template and "ipython" in template and '"parameters"' in template:
        return "llama3"
    return None


# --- without a template -----------------------------------------------------------------------------------------


def plain_messages(messages: Sequence[Message], tools: Sequence[Tool], family: Format) -> list[Message]:
    """The conversation as messages of system, user and assistant alone, with tools, calls and results in their text.

    What the model then writes is read by `family.parse`. See harness/formats/plain.py.
    """
    return write_plainly(messages, tools, family.wording, family.render)


# --- calls that nobody read --------------------------------------------------------------------------------------

SHOWN = (
    ("hermes", re.compile(r"</?tool_call>")),
    ("mistral", re.compile(r"\[TOOL_CALLS\]|\[ARGS\]")),
    ("pythonic", re.compile(r"<\|python_start\|>|<\|tool_call_start\|>|<function_calls>")),
    ("llama3", re.compile(r"<\|python_tag\|>")),
)
"""Marks that show a format, whatever the tool is called."""


@dataclass(frozen=True, slots=True)
class UnreadCalls:
    """Calls that a text still holds, well-formed or not, and the format that they look like, a name of FORMATS."""

    format: str
    calls: tuple[ToolCall, ...]


def find_unread_calls(text: str, tools: Collection[str]) -> UnreadCalls | None:
    """The calls that a model attempted in a text which counts as an answer; None: there are none.

    `tools` are the names of those that there are. A text without a format's marks holds a call only of one of these: a
    JSON object or array, a list in Python's syntax, or lines of ReAct. A mark that prose only mentions is no call.
    """
    for name, mark in SHOWN:
        if mark.search(text) and (
            calls := tuple(filter(_is_attempt, FORMATS[name].parse(text, tools=tools).tool_calls))
        ):
            return UnreadCalls(name, calls)
    for name in ("react", "hermes", "pythonic"):
        read = FORMATS[name].parse(text, tools=tools).tool_calls if name != "react" or "Action" in text else ()
        if calls := tuple(call for call in read if call.name in tools):
            return UnreadCalls("llama3" if name == "hermes" and '"parameters"' in text else name, calls)
    return None


def _is_attempt(call: ToolCall) -> bool:
    return call.arguments is not None or bool(call.name) or call.raw.startswith(("{", "["))


def parse_reply(
    family: Format, text: str, turn: int = 0, *, thinking: bool = False, tools: Collection[str] = ()
) -> Message:
    """The message of a generated text, as `family` reads it. Calls in another format are malformed ones, so that an
    attempt is counted and answered; their text stays in the content."""
    message = family.parse(text, turn, thinking=thinking, tools=tools)
    unread = None if message.tool_calls or not tools else find_unread_calls(message.content, tools)
    if unread is None:
        return message
    error = f"it is written as {unread.format} calls are, where this model's format ({family.name}) has none"
    calls = [
        ToolCall(make_call_id(turn, index), call.name, None, call.raw, error) for index, call in enumerate(unread.calls)
    ]
    return replace(message, tool_calls=tuple(calls))


# --- whether a server read the same --------------------------------------------------------------------------------


def find_difference(ours: Sequence[ToolCall], theirs: Sequence[ToolCall]) -> str | None:
    """One sentence when a server parsed other calls from a text than we did, else None.

    Names and arguments are compared, arguments as JSON values; a string that holds a JSON object counts as the object.
    """
    if len(ours) != len(theirs):
        return f"the server parsed {_listed(theirs)} where the text has {_listed(ours)}"
    for index, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        if our.name != their.name:
            return f"the server parsed call {index} as {their.name!r} where the text has {our.name!r}"
        if not _same(_arguments(our), _arguments(their)):
            return f"the server parsed other arguments of call {index} ({our.name}) than the text has"
    return None


def _listed(calls: Sequence[ToolCall]) -> str:
    names = [call.name if call.arguments is not None else f"{call.name or '?'} (malformed)" for call in calls]
    return f"{len(calls)} call{'' if len(calls) == 1 else 's'}" + (f" ({', '.join(names)})" if names else "")


def _arguments(call: ToolCall) -> object:
    """Arguments as a value; those that a server encoded twice are decoded once more."""
    if call.arguments is not None:
        return call.arguments
    try:
        inner = json.loads(call.raw)
        return parse_json_object(inner) if isinstance(inner, str) else None
    except (ValueError, RecursionError):
        return None


def _same(one: object, other: object) -> bool:
    """Equality of JSON values: 1 and 1.0 are one number, 1 and true are not the same. Readers bound the depth."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other
