"""Whatever a model writes, RoTBench's rules give marks, each of which needs the one before."""

import json

from hypothesis import given
from hypothesis import strategies as st

from tasks.rotbench import official, paper, strict

NAMES = ["find", "play", "ask_to_user", "finish"]
MARKS = ["Action:", "Action: ", "Action Input:", "Action Input: ", "<think>", "</think>", "\n"]
INPUTS = ["{}", '{"a": 1}', '{"a": "None"}', '{"a": [1]}', "[1]", "5", "null", '"x"', "{", "NaN", "[" * 3000]
PIECES = st.sampled_from([*MARKS, *INPUTS, *NAMES])
WORDS = st.text(st.characters(exclude_characters="<:", codec="utf-8"))
TEXTS = st.one_of(st.text(), st.lists(PIECES).map("".join))


@given(TEXTS, st.lists(TEXTS, min_size=1, max_size=3))
def test_marks_are_a_chain_and_nothing_raises(text, golds):
    for ts, pi, cf in (strict(text, golds, NAMES), paper(text, golds), official(text, golds, NAMES)):
        assert ts >= pi >= cf


@given(st.dictionaries(WORDS, st.none() | st.booleans() | st.integers() | WORDS), st.sampled_from(NAMES))
def test_gold_is_right_strictly(parameters, name):
    gold = f"Thought:\nAction: {name}\nAction Input: {json.dumps(parameters)}"
    assert strict(gold, [gold], NAMES) == (True, True, True)
