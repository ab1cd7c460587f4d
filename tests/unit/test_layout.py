"""How registers are played by their layout: which entry is tried, where a value leads, what is told of a reference."""

import json

import pytest

from harness.models.layout import goes_by_layout, play_layout, read_layout
from harness.models.wording import Question
from harness.types import Tool

MILL = "Registered title of the mill, in full."
RIVER = "Reference of the watercourse, of the form WC-000."
QUESTION = Question("How much does the works called Oak Prophet weigh?")


def register(name, subject, entries):
    told = "; ".join(f"{code}: {text}" for code, text in entries.items())
    field = {"type": "string", "enum": [*entries], "description": f"Entry wanted. {told}."}
    properties = {"ref": {"type": "string", "description": subject}, "fld": field}
    return Tool(name, "A register.", {"type": "object", "properties": properties, "required": ["ref", "fld"]})


def played(question, outputs, *tools):
    """The calls, and the answer; `outputs` are what they give in turn."""
    game, left, calls = play_layout(Question(question), tools), list(outputs), []
    try:
        said = next(game)
        while True:
            calls += said
            said = game.send([json.dumps(left.pop(0))])
    except StopIteration as end:
        return calls, end.value


def test_the_entry_that_one_tool_alone_has_is_tried_first():
    one = register("one", MILL, {"A": "height", "B": "mass"})
    two = register("two", MILL, {"A": "height", "C": "depth (yearly)"})
    calls, answer = played(QUESTION.text, [{"title": "Oak Prophet", "value": 7}], one, two)
    assert (calls, answer) == ([("one", {"ref": "Oak Prophet", "fld": "B"})], "7")


@pytest.mark.parametrize("text", ["weight of the works", "mass (yearly)"])
def test_lures_and_yearly_entries_weigh_little(text):
    layout = read_layout(QUESTION, [register("one", MILL, {"A": text, "B": "mass"})])
    assert [one.choice["fld"] for one in layout.of(layout.kinds[0])] == ["B", "A"]


def test_an_entry_leads_to_the_kind_that_its_text_names():
    mills = register("mills", MILL, {"A": "watercourse that drives it", "B": "height"})
    layout = read_layout(QUESTION, [mills, register("rivers", RIVER, {"A": "length", "B": "depth"})])
    assert {one.choice["fld"]: bool(layout.target(one)) for one in layout.of(layout.kinds[0])} == {
        "A": True,
        "B": False,
    }


def test_a_reference_in_the_question_goes_to_the_tool_that_takes_its_form():
    mills, rivers = register("mills", MILL, {"A": "height"}), register("rivers", RIVER, {"B": "length"})
    calls, _ = played("How long is the stream Olan (WC-123)?", [{"value": 3}], mills, rivers)
    assert calls == [("rivers", {"ref": "WC-123", "fld": "B"})]


def test_registers_are_known_by_marked_entries_or_bare_nouns():
    assert goes_by_layout([register("one", MILL, {"A": "mass (yearly)", "B": "height"})])
    assert not goes_by_layout([register("one", "Full name of the mill.", {"A": "mass", "B": "height"})])
