"""No text is lost or doubled by any template of TRL's, whoever said it; a template that cannot show one is mended."""

import json
from functools import cache

import pytest
from chat_templates import PATHS, TREATED, UNKNOWN, make_prompter
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.models.local.proof import mend_template
from harness.types import Message, Tool, ToolCall

MARKS = ("<think", "</think", "[THINK", "[/THINK", "<|", "|>", "<end", "<start", "<image", "<s>", "</s>", "Q")
"""What the text must not hold: tokens of the templates and, of reasoning, what they cut; Q sets off the places."""
PIECES = ("{{ x }}", "{% if %}", '"', "'", "\\", "\n", "</tool_call>", "é", "<b>", "&", " ", "\t", "{")
TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30),
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
).filter(lambda text: not any(mark in text for mark in MARKS))  # fmt: skip
PLACES = ("system", "user", "tool", "beside", "value", "output", "answer", "second")


@cache
def prompter(name):
    known = TREATED[name.removesuffix("_training")] != UNKNOWN
    return mend_template(make_prompter(name, None if known else "react"))


def conversation(said):
    calls = (ToolCall("call_0_0", "find", {"town": said["value"]}, json.dumps({"town": said["value"]})),)
    return [
        Message("system", said["system"]),
        Message("user", said["user"]),
        Message("assistant", said["beside"], tool_calls=calls),
        Message("tool", said["output"], tool_call_id="call_0_0"),
        Message("assistant", said["answer"]),
        Message("user", said["second"]),
    ]


def spellings(text):
    """A text as it is, as JSON of either kind, and as JSON within JSON."""
    once = {text, *(json.dumps(text, ensure_ascii=ascii)[1:-1] for ascii in (True, False))}
    return once | {json.dumps(one, ensure_ascii=False)[1:-1] for one in once}


@pytest.mark.parametrize("name", PATHS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_every_text_comes_out_once(name, data):
    texts = {place: data.draw(TEXTS, label=place) for place in PLACES}
    said = {place: f"Qa{place}Q{text}Qb{place}Q" for place, text in texts.items()}
    tool = Tool("find", said["tool"], {"type": "object", "properties": {"town": {"type": "string"}}})
    prompt = prompter(name).write(conversation(said), [tool], {}).text
    for place, text in texts.items():
        begin, end = f"Qa{place}Q", f"Qb{place}Q"
        assert (prompt.count(begin), prompt.count(end)) == (1, 1), place
        shown = prompt[prompt.index(begin) + len(begin) : prompt.index(end)]
        assert shown in spellings(text), place
