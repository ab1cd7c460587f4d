"""The keyword matcher: words, names, codes that a schema explains, values of outputs, and what it plays."""

import pytest
from builders import sample

from harness.models import ModelOptions, load_model
from harness.models.keyword import read_options
from harness.models.wording import (
    Question,
    explained,
    likeliest_key,
    listed_codes,
    offered_names,
    read_output,
    stem,
    stems,
)
from harness.types import Message, ModelRequest, Sampling, Tool

CODES = "What is paid: B11: moneys paid out for wages; B12: moneys paid out for coal."


def made(name, parameters, needed, description="."):
    return Tool(name, description, {"type": "object", "properties": parameters, "required": needed})


PERSON = {"type": "string", "description": "Full name of the captain."}
MINE = {"type": "string", "description": "Full name of the mine."}
SHIPS = made("ship_register", {"ship": {"type": "string"}, "field": {"enum": ["captain", "owner"]}}, ["ship", "field"])
BOOKS = made("mine_books", {"mine_no": MINE, "line": {"type": "string", "description": CODES}}, ["mine_no", "line"])
CREWS = made("crews", {"captain": PERSON, "field": {"enum": ["mine", "height"]}}, ["captain", "field"])


def turn(messages, *tools):
    """What the policy says next."""
    request = ModelRequest(tuple(messages), tools, Sampling(), sample(), task="t")
    return load_model("policy/keyword", ModelOptions())(request).message


def played(question, outputs, *tools):
    """Plays a question; `outputs` are what the calls give in turn. Returns the calls and the last message."""
    messages = [Message("user", f"Question: {question}\nEnd with one line `Answer: ...`.")]
    left, calls = list(outputs), []
    while (said := turn(messages, *tools)).tool_calls:
        messages.append(said)
        for call in said.tool_calls:
            calls.append((call.name, call.arguments))
            messages.append(Message("tool", left.pop(0), tool_call_id=call.id))
    return calls, said.content


@pytest.mark.parametrize("words", [("drafted", "drafter", "drafts"), ("born", "birth"), ("supplier", "supplies")])
def test_words_of_one_stem(words):
    assert len({stem(word) for word in words}) == 1


def test_names_become_words_without_stop_words():
    assert stems("get_birth_date of the person") == {"birth", stem("date"), stem("person")}


def test_starts_are_names_and_not_who_asks():
    asked = Question("Telegram, Ida Norr: who drafted the act that Old Corrie's governor signed in 1990?")
    assert [start.value for start in asked.starts if not start.doubtful] == ["Old Corrie"]
    assert [start.value for start in asked.starts if start.doubtful] == ["Ida Norr"]
    assert asked.number(frozenset({"year"}), 0) == 1990
    assert [start.value for start in Question("What is owed on the account AB-1207?").starts] == ["AB-1207"]


def test_codes_are_explained_up_to_the_next_separator():
    assert explained("B11", CODES) == "moneys paid out for wages"
    assert explained("TMP", "temperature (TMP), wind (WND)").strip() == "temperature"
    assert explained("price", "the price of a dish") == ""
    assert listed_codes(CODES) == ["B11", "B12"]
    assert listed_codes("One code only. X1: the first.") == []


def test_a_parameter_with_explained_codes_is_a_choice():
    assert [option.choice for option in read_options(BOOKS)] == [{"line": "B11"}, {"line": "B12"}]


def test_values_of_outputs():
    assert read_output('{"error": "Unknown ship."}', frozenset()) == {}
    assert read_output("The register says: Old Corrie.", frozenset()) == {"": ["Old Corrie"]}
    assert read_output('[{"value": 12}]', frozenset()) == {"value": [12]}
    rows = '[{"owner": "Ida Norr", "year": 1990}, {"owner": "Per Lund", "year": 1995}]'
    assert read_output(rows, frozenset())["owner"] == ["Per Lund"]
    assert read_output(rows, stems("norr"))["owner"] == ["Ida Norr"]
    assert likeliest_key(["id", "owner_name"], stems("owner")) == "owner_name"
    assert offered_names('{"error": "Did you mean \'Old Corrie Mine\'?"}', "Corrie Mine") == ["Old Corrie Mine"]


def test_it_follows_what_it_finds():
    outputs = ['{"captain": "Per Lund"}', '{"name": "Corrie", "mine_no": "M-7"}', '{"paid": 1200}']
    asked = "How much does the mine of the captain of the Sea Otter spend on wages?"
    calls, said = played(asked, outputs, SHIPS, CREWS, BOOKS)
    assert calls == [
        ("ship_register", {"ship": "Sea Otter", "field": "captain"}),
        ("crews", {"captain": "Per Lund", "field": "mine"}),
        ("mine_books", {"mine_no": "M-7", "line": "B11"}),
    ]
    assert said == "Answer: 1200"


def test_an_error_costs_a_try_and_ends_go_to_a_calculator():
    heights = '{"height": 181}', '{"height": 176}'
    differ = made("difference", {"first": {"type": "number"}, "second": {"type": "number"}}, ["first", "second"])
    asked = "What is the difference between the height of the captain Per Lund and that of the captain Ida Norr?"
    calls, said = played(asked, [*heights, '{"difference": 5}'], CREWS, differ)
    assert calls[2:] == [("difference", {"first": 181, "second": 176})]
    assert said == "Answer: 5"
    calls, said = played("Who is the owner of the Sea Otter?", ['{"error": "no such ship"}'], SHIPS)
    assert len(calls) == 1 and said == "Answer: "


def test_nothing_to_match_is_no_call():
    assert played("Why?", [], SHIPS) == ([], "Answer: ")
