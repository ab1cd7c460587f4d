"""No attempt to call goes by unseen: whatever shape it has, in whatever format the model was to write."""

import pytest
from call_shapes import MENTIONS, PROSE, SHAPES, TOOLS, replies
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.formats import FORMATS, find_unread_calls, parse_reply

families = st.sampled_from(sorted(FORMATS))
prose = st.lists(st.sampled_from(PROSE), min_size=1, max_size=3).map("\n".join)
TOWN = {"town": "Corrie"}


@settings(max_examples=150, deadline=None)
@given(families, replies())
def test_a_reply_with_an_attempt_holds_a_call(family, text):
    assert parse_reply(FORMATS[family], text, tools=TOOLS).tool_calls


@settings(max_examples=80, deadline=None)
@given(replies())
def test_an_attempt_that_a_server_left_in_the_content_is_found(text):
    found = find_unread_calls(text, TOOLS)
    assert found is not None
    assert found.format in FORMATS
    assert found.calls


@settings(max_examples=80, deadline=None)
@given(families, prose)
def test_what_only_looks_like_a_call_is_prose(family, text):
    assert parse_reply(FORMATS[family], text, tools=TOOLS).tool_calls == ()
    assert find_unread_calls(text, TOOLS) is None


@settings(max_examples=80, deadline=None)
@given(families, replies(), st.data())
def test_a_cut_reply_runs_only_what_the_whole_reply_runs(family, text, data):
    cut = text[: data.draw(st.integers(0, len(text)))]
    whole = [(call.name, call.arguments) for call in runnable(family, text)]
    assert [(call.name, call.arguments) for call in runnable(family, cut)] == whole[: len(runnable(family, cut))]


def runnable(family, text):
    return [call for call in parse_reply(FORMATS[family], text, tools=TOOLS).tool_calls if call.arguments is not None]


@pytest.mark.parametrize("name", SHAPES)
def test_the_format_that_an_unread_shape_looks_like(name):
    looks_like, shape = SHAPES[name]
    found = find_unread_calls(shape("find", TOWN), TOOLS)
    assert found.format == looks_like
    assert {call.name for call in found.calls} == {"find"}


@pytest.mark.parametrize("name", SHAPES)
def test_a_whole_shape_is_read_in_its_format(name):
    looks_like, shape = SHAPES[name]
    calls = FORMATS[looks_like].parse(shape("find", TOWN), tools=TOOLS).tool_calls
    whole = name not in ("hermes without its end", "hermes with a brace too many")
    assert [call.arguments for call in calls] == [TOWN if whole else None] * len(calls)
    assert calls


@pytest.mark.parametrize("text", MENTIONS)
def test_a_mark_that_prose_mentions_is_no_unread_call(text):
    assert find_unread_calls(text, TOOLS) is None


def test_without_its_mark_a_call_names_a_tool_that_there_is():
    text = '{"name": "no_such_tool", "arguments": {}}'
    assert find_unread_calls(text, TOOLS) is None
    assert find_unread_calls(text, ["no_such_tool"]).format == "hermes"
    assert find_unread_calls(f"<tool_call>{text}</tool_call>", TOOLS).format == "hermes"


def test_a_call_in_another_format_is_malformed_and_says_so():
    message = parse_reply(FORMATS["react"], '<tool_call>{"name": "find", "arguments": {}}</tool_call>', 3, tools=TOOLS)
    (call,) = message.tool_calls
    assert (call.id, call.name, call.arguments) == ("call_3_0", "find", None)
    assert call.parse_error == "it is written as hermes calls are, where this model's format (react) has none"
