"""A conversation with tools as plain text, in every format: three roles, and calls that can be read again."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats import FORMATS, find_unread_calls, plain_messages
from harness.types import Message, Tool, ToolCall

TOOL = Tool("find", "Finds {things}.", {"type": "object", "properties": {"town": {"type": "string"}}})
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
CALLS = st.builds(
    lambda fields: ToolCall("", "find", fields, json.dumps(fields)),
    st.dictionaries(
        STRINGS, st.one_of(STRINGS, st.integers(), st.none(), st.booleans(), st.lists(STRINGS, max_size=2))
    ),
)


def conversation(calls, content=""):
    results = [Message("tool", f"gave {index} {{}}", tool_call_id=call.id) for index, call in enumerate(calls)]
    return [
        Message("system", "Be brief."),
        Message("user", "Which?"),
        Message("assistant", content, tool_calls=tuple(calls)),
        *results,
        Message("assistant", "That one."),
        Message("user", "Sure?"),
    ]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_calls_that_were_written_are_read_back(name, data):
    family = FORMATS[name]
    calls = data.draw(st.lists(CALLS, min_size=1, max_size=1 if name == "react" else 3))
    content = data.draw(st.sampled_from(["", "I look.", "First the town:"]))
    plain = plain_messages(conversation(calls, content), [TOOL], family)
    assert [message.role for message in plain] == ["system", "user", "assistant", "user", "assistant", "user"]
    assert not any(message.tool_calls for message in plain)
    read = family.parse(plain[2].content, tools=["find"])
    assert [(call.name, call.arguments) for call in read.tool_calls] == [(call.name, call.arguments) for call in calls]
    assert read.content == content


@pytest.mark.parametrize("name", FORMATS)
def test_the_system_message_tells_of_the_tools_and_the_results_are_the_users(name):
    calls = [ToolCall("a", "find", {"town": "Brill"}, ""), ToolCall("b", "find", {}, "")]
    plain = plain_messages(conversation(calls), [TOOL], FORMATS[name])
    assert plain[0].content.startswith("Be brief.\n\nYou can use tools.")
    assert '{"name": "find", "description": "Finds {things}."' in plain[0].content
    assert "gave 0 {}" in plain[3].content
    assert "gave 1 {}" in plain[3].content
    assert [message.content for message in plain[4:]] == ["That one.", "Sure?"]


@pytest.mark.parametrize("name", FORMATS)
def test_without_tools_nothing_is_told(name):
    said = [Message("user", "Which?"), Message("assistant", "That one.")]
    assert plain_messages(said, [], FORMATS[name]) == said


@pytest.mark.parametrize("name", FORMATS)
def test_a_malformed_call_is_shown_as_it_was_written(name):
    torn = FORMATS[name].parse(FORMATS[name].render([ToolCall("", "find", {"town": "Brill"}, "")])[:-3], tools=["find"])
    [shown] = plain_messages([torn], [], FORMATS[name])
    assert torn.tool_calls[0].arguments is None
    assert torn.tool_calls[0].raw in shown.content
    assert '{"town": "Br' in shown.content or 'town="Br' in shown.content


@pytest.mark.parametrize("name", FORMATS)
def test_the_example_in_the_instructions_is_the_format(name):
    """A model that copies the form of the instructions, with a tool's name in it, attempts a call in this format."""
    told = FORMATS[name].wording.instructions.format(tools="")
    example = told.replace("the name of one tool, nothing else", "find").replace("the name of one tool", "find")
    found = find_unread_calls(example.replace("name_of_a_tool", "find"), ["find"])
    assert found is not None
    assert found.format == name
