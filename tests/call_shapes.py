"""The shapes in which models write calls, well-formed and not: what servers leave in `content` and networks generate.

One place for the tests of the text formats and for those of endpoints. A shape makes a text of a tool's name and its
arguments; `TOOLS` are the tools that there are. `PROSE` is what only looks like a call.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import strategies as st

from harness.formats import FORMATS
from harness.types import ToolCall

TOOLS = ("find", "count")
KEY = "town"
"""The first argument of every call here: a text cut behind it is still an attempt."""

Shape = Callable[[str, Mapping[str, Any]], str]


def as_json(name: str, arguments: Mapping[str, Any], key: str = "arguments", indent: int | None = None) -> str:
    return json.dumps({"name": name, key: arguments}, ensure_ascii=False, indent=indent)


def _json(template: str, key: str = "arguments", indent: int | None = None) -> Shape:
    """@CALL in a template is the call as JSON."""
    return lambda name, arguments: template.replace("@CALL", as_json(name, arguments, key, indent))


def _arguments(template: str, indent: int | None = None) -> Shape:
    """NAME and ARGS in a template are the name and the arguments as JSON."""
    return lambda name, arguments: template.replace("NAME", name).replace(
        "ARGS}", json.dumps(arguments, ensure_ascii=False, indent=indent)
    )


def _python(template: str) -> Shape:
    """LIST in a template is the call as a list in Python's syntax, ONE the call alone."""

    def write(name: str, arguments: Mapping[str, Any]) -> str:
        written = FORMATS["pythonic"].render([ToolCall("", name, dict(arguments), "")])
        return template.replace("LIST", written).replace("ONE", written[1:-1])

    return write


MARKED: Mapping[str, tuple[str, Shape]] = {
    "hermes": ("hermes", _json("<tool_call>\n@CALL\n</tool_call>")),
    "hermes on one line": ("hermes", _json("<tool_call>@CALL</tool_call>")),
    "hermes with parameters": ("hermes", _json("<tool_call>@CALL</tool_call>", "parameters")),
    "hermes without its end": ("hermes", _json("<tool_call>\n@CALL\n")),
    "hermes without its beginning": ("hermes", _json("@CALL\n</tool_call>")),
    "hermes, several between two tags": ("hermes", _json("<tool_call>\n@CALL\n@CALL\n</tool_call>")),
    "hermes, an array between two tags": ("hermes", _json("<tool_call>[@CALL, @CALL]</tool_call>")),
    "hermes, a fence between two tags": ("hermes", _json("<tool_call>\n```json\n@CALL\n```\n</tool_call>")),
    "hermes with a brace too many": ("hermes", _json("<tool_call>\n@CALL}\n</tool_call>")),
    "llama3 behind its tag": ("llama3", _json("<|python_tag|>@CALL", "parameters")),
    "mistral": ("mistral", _arguments("[TOOL_CALLS]NAME[ARGS]ARGS}")),
    "mistral with an id": ("mistral", _arguments("[TOOL_CALLS]NAME[CALL_ID]abc123456[ARGS]ARGS}")),
    "mistral without its tag": ("mistral", _arguments("NAME[ARGS]ARGS}")),
    "mistral with its tag twice": ("mistral", _arguments("[TOOL_CALLS][TOOL_CALLS]NAME[ARGS]ARGS}")),
    "mistral, older": ("mistral", _json("[TOOL_CALLS][@CALL]")),
    "mistral, a later array": ("mistral", _json("[TOOL_CALLS][@CALL]\n[@CALL]")),
    "mistral, later objects": ("mistral", _json("[TOOL_CALLS] @CALL, @CALL\n@CALL")),
    "pythonic in Llama 4's tags": ("pythonic", _python("<|python_start|>LIST<|python_end|>")),
    "pythonic in LFM2's tags": ("pythonic", _python("<|tool_call_start|>LIST<|tool_call_end|>")),
    "pythonic in Olmo 3's tags": ("pythonic", _python("<function_calls>\nONE\nONE\n</function_calls>")),
}
"""Shapes that show by their marks, wherever they stand: the format that they look like, and the text."""

BARE: Mapping[str, tuple[str, Shape]] = {
    "JSON": ("hermes", _json("@CALL")),
    "JSON over several lines": ("hermes", _json("@CALL", indent=2)),
    "JSON with parameters": ("llama3", _json("@CALL", "parameters")),
    "JSON, joined by a comma": ("hermes", _json("@CALL, @CALL")),
    "JSON, joined by a semicolon": ("llama3", _json("@CALL; @CALL", "parameters")),
    "JSON, joined by a line break": ("hermes", _json("@CALL\n@CALL")),
    "JSON, prose between": ("hermes", _json("@CALL and then @CALL")),
    "an array": ("hermes", _json("[@CALL, @CALL]")),
    "a fence": ("hermes", _json("```json\n@CALL\n```")),
    "a fence on one line": ("hermes", _json("```@CALL```")),
    "as APIs write it": ("hermes", _json('{"type": "function", "function": @CALL}')),
    "a list item": ("hermes", _json("- @CALL")),
    "react": ("react", _arguments("Action: NAME\nAction Input: ARGS}")),
    "react with a thought": ("react", _arguments("Thought: I look.\nAction: NAME\nAction Input: ARGS}")),
    "react, input on the next line": ("react", _arguments("Action: NAME\nAction Input:\nARGS}")),
    "react, input over several lines": ("react", _arguments("Action: NAME\nAction Input: ARGS}", indent=2)),
    "react, input in a fence": ("react", _arguments("Action: NAME\nAction Input:\n```json\nARGS}\n```")),
    "react on one line": ("react", _arguments("Action: NAME Action Input: ARGS}")),
    "react in bold": ("react", _arguments("**Action**: NAME\n**Action Input:** ARGS}")),
    "pythonic": ("pythonic", _python("LIST")),
    "pythonic without brackets": ("pythonic", _python("ONE")),
    "pythonic in a fence": ("pythonic", _python("```python\nLIST\n```")),
    "pythonic, two lists": ("pythonic", _python("LIST\nLIST")),
}
"""Shapes that are calls where they begin a line and name a tool that there is."""

SHAPES = {**MARKED, **BARE}

PROSE = (
    "I looked it up, and there are 5.",
    "A call ends with </tool_call> there.",
    "The call would be " + as_json("find", {KEY: "Corrie"}) + ", I think.",
    "I would call [find(town='Corrie')] for that, if I had to.",
    '{"population": 5}',
    '{"name": "Corrie", "age": 3}',
    '{"title": "Corrie", "find": {"town": "Corrie"}}',
    "find (the tool) would help.",
    "[1] A source. [find](https://example.org) it.",
    "- count the towns\n- find the largest",
    "```python\nprint(5)\n```",
    "<think>\n<tool_call>\n" + as_json("find", {KEY: "Corrie"}) + "\n</tool_call>\n</think>",
    "<think>Action: find\nAction Input: {}</think>",
    "[THINK][find(town='Corrie')][/THINK]",
)
"""Texts without a call: prose by the guards that docs/formats.md states. Each is a line of its own."""

SAID = tuple(text for text in PROSE if not text.startswith(("<think>", "[THINK]")))
MENTIONS = ("[TOOL_CALLS] is a token of Mistral's.", "Calls stand in <tool_call> tags.")
"""A format's own mark, which its reader takes for an attempt whatever follows; nobody else does."""

# A tag of reasoning in a string of another format ends what counts as reasoning, which is a guard of its own.
STRINGS = st.one_of(
    st.sampled_from(["Corrie", "</tool_call>", "<tool_call>", "[TOOL_CALLS]", 'a"b', "it's", "}", "]", "é\n"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
)
ARGUMENTS = st.builds(
    lambda town, more: {KEY: town, **more},
    STRINGS,
    st.dictionaries(
        st.sampled_from(["n", "deep"]), st.one_of(st.integers(), st.lists(STRINGS, max_size=2)), max_size=2
    ),
)


@st.composite
def attempts(draw: st.DrawFn) -> str:
    """One shape, well-formed or torn behind the key of its first argument."""
    text = SHAPES[draw(st.sampled_from(sorted(SHAPES)))][1](draw(st.sampled_from(TOOLS)), draw(ARGUMENTS))
    return text if draw(st.booleans()) else text[: draw(st.integers(text.index(KEY) + len(KEY) + 1, len(text)))]


@st.composite
def replies(draw: st.DrawFn) -> str:
    """Prose, then at least one attempt at the beginning of a line, with more of both behind it; no reasoning behind a
    torn call, whose text would hide where it begins."""
    before = [draw(st.sampled_from(PROSE)) + "\n" for _ in range(draw(st.integers(0, 1)))]
    joints = st.sampled_from(["\n", "\n\n", ", ", "; ", " ", "\nThen:\n"])
    after = [draw(joints) + draw(st.one_of(attempts(), st.sampled_from(SAID))) for _ in range(draw(st.integers(0, 2)))]
    return "".join([*before, draw(attempts()), *after])
