"""Arguments as models write them: what is read, what is malformed, and why."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.data.arguments import parse_json_object, read_arguments, replace_surrogates

TEXT = st.text(st.characters(), max_size=5)
"""With lone surrogates."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)


@pytest.mark.parametrize(
    ("arguments", "parsed", "raw"),
    [
        ('{"word": "a"}', {"word": "a"}, '{"word": "a"}'),
        ("", {}, ""),
        (None, {}, ""),
        ({"word": "é"}, {"word": "é"}, '{"word": "é"}'),
        ({}, {}, "{}"),
    ],
)
def test_arguments(arguments: Any, parsed: Any, raw: str) -> None:
    assert read_arguments(arguments) == (parsed, raw, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ('{"word": ', "invalid JSON: Expecting value: line 1 column 10 (char 9)"),
        ('{"word": "a"} extra', "invalid JSON: Extra data"),
        ('{"word": NaN}', "invalid JSON: NaN is no JSON number"),
        ('{"word": 1e999}', "invalid JSON: 1e999 is no JSON number"),
        ('{"word": ' + "9" * 5000 + "}", "invalid JSON"),
        ("[1]", "not a JSON object"),
        ('"{}"', "not a JSON object"),
        ([1], "not a JSON object"),
        (5, "not a JSON object"),
        (False, "not a JSON object"),
        ('{"a":' * 65 + "1" + "}" * 65, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ('{"a": "' + "x" * 1_000_000 + '"}', "longer than 1000000 characters"),
    ],
)
def test_malformed_arguments(arguments: Any, error: str) -> None:
    read, raw, said = read_arguments(arguments)
    assert read is None
    assert said is not None
    assert said.startswith(error)
    assert raw == (arguments if isinstance(arguments, str) else json.dumps(arguments))


def test_an_object_nested_too_deeply_is_malformed() -> None:
    deep: dict[str, Any] = {}
    for _ in range(200):
        deep = {"a": deep}
    assert read_arguments(deep) == (None, "", "nested too deeply")


@pytest.mark.parametrize(
    ("text", "whole"),
    [("a", "a"), ("é 😀", "é 😀"), ("a\ud800b", "a\ufffdb"), ("\ud83d\ude00", "😀"), ("\udc00", "\ufffd")],
)
def test_lone_surrogates_are_replaced(text: str, whole: str) -> None:
    assert replace_surrogates(text) == whole


def test_surrogates_that_were_escaped_are_replaced_in_names_and_values() -> None:
    assert parse_json_object(r'{"a\ud800": ["\udc00", "\ud83d\ude00"]}') == {"a\ufffd": ["\ufffd", "😀"]}


@settings(max_examples=200, deadline=None)
@given(TEXT | JSON | JSON.map(json.dumps))
def test_arguments_are_an_object_that_can_be_written_or_malformed(arguments: Any) -> None:
    read, raw, said = read_arguments(arguments)
    assert (read is None) == (said is not None)
    raw.encode()
    json.dumps(read, ensure_ascii=False, allow_nan=False).encode()
