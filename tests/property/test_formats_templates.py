"""Calls through the real chat templates that TRL ships: what a template writes for calls is read back as these calls.

TRL ships no template of Mistral's; its format is tested on the texts of the unit tests.
"""

import json
from pathlib import Path

import pytest
import trl
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers.utils.chat_template_utils import render_jinja_template

from harness.errors import UsageError
from harness.formats import choose_format

USER = {"role": "user", "content": "How many?"}
TOOL = {
    "type": "function",
    "function": {"name": "a", "description": "", "parameters": {"type": "object", "properties": {}}},
}
PIECES = (
    "<tool_call>", "</tool_call>", "<think>", "</think>", "<|python_tag|>", "<|im_end|>", "<|eot_id|>", "; ",
    '{"name": "b", "parameters": {}}', '"', "'", "\\", "\n", "\t", "é", "名", "\U0001f600",
)  # fmt: skip
STRINGS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    st.lists(st.sampled_from(PIECES), max_size=4).map("".join),
)
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False), STRINGS
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(STRINGS, inner, max_size=3), max_leaves=6
)
# Templates put the name between quotes as it is: a name with a quote, a backslash or a line break cannot be carried.
CALLS = st.tuples(
    st.from_regex(r"[A-Za-z_][A-Za-z0-9_.\-]{0,20}", fullmatch=True), st.dictionaries(STRINGS, VALUES, max_size=4)
)
CONTENTS = st.text(st.sampled_from("abc é,."), max_size=10).map(str.strip)


def templates():
    for path in sorted((Path(trl.__file__).parent / "chat_templates").glob("*.jinja")):
        template = path.read_text(encoding="utf-8")
        try:
            family = choose_format(template)
        except UsageError:
            continue
        if family.name != "react":
            yield pytest.param(template, family, id=path.stem)


TEMPLATES = list(templates())


def render(template, messages, *, prompt=False):
    rendered, _ = render_jinja_template(
        [messages], tools=[TOOL], chat_template=template, add_generation_prompt=prompt, bos_token=""
    )
    return rendered[0]


def turn(template, calls, content, *, as_text=False):
    """What the template writes for an assistant's turn: the whole conversation without the prompt."""
    functions = [
        {"name": name, "arguments": json.dumps(fields, ensure_ascii=False) if as_text else fields}
        for name, fields in calls
    ]
    said = {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"type": "function", "function": function} for function in functions],
    }
    whole, prompt = render(template, [USER, said]), render(template, [USER], prompt=True)
    assert whole.startswith(prompt)
    return whole[len(prompt) :]


@pytest.mark.parametrize(("template", "family"), TEMPLATES)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_a_real_template_writes_is_read_back(template, family, data):
    # Llama's templates take one call a turn and no content beside it.
    llama = family.name == "llama3"
    calls = data.draw(st.lists(CALLS, min_size=1, max_size=1 if llama else 3))
    content = data.draw(CONTENTS)
    message = family.parse(turn(template, calls, content))
    assert [(call.name, call.arguments) for call in message.tool_calls] == calls
    assert message.content == ("" if llama else content)
    assert message.reasoning is None


@pytest.mark.parametrize(("template", "family"), TEMPLATES)
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_arguments_kept_as_text_are_read_back_as_an_object(template, family, data):
    """Qwen2.5's and Llama's templates encode them twice."""
    calls = data.draw(st.lists(CALLS, min_size=1, max_size=1))
    message = family.parse(turn(template, calls, "", as_text=True))
    assert [(call.name, call.arguments) for call in message.tool_calls] == calls


def test_there_are_templates_of_both_families():
    found = [parameter.values[1].name for parameter in TEMPLATES]
    assert (found.count("hermes"), found.count("llama3")) == (8, 2)


def test_llamas_templates_refuse_two_calls():
    for parameter in TEMPLATES:
        if parameter.values[1].name == "llama3":
            with pytest.raises(Exception, match="single tool-calls"):
                turn(parameter.values[0], [("a", {}), ("b", {})], "")
