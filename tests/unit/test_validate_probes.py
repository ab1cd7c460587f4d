"""One small environment for each fault, and exactly that check fires."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from builders import ROOT

from envbuilder.audit.arguments import Sentinels, make_wrong_value
from envbuilder.audit.code import STEMS, TELLING, find_code_faults, is_telling
from envbuilder.audit.environment import CHECKS, audit_environment
from harness.data.records import sample_from_record
from harness.sandbox import Sandbox, SandboxConfig
from tasks import demo

Record = dict[str, Any]

MAYOR = """
MAYORS = {"corrie": "Hedda Flint", "arden": "Jonas Quill", "brill": "Petra Vane"}


def mayor_of(town):
    name = " ".join(str(town).casefold().split())
    if name not in MAYORS:
        return {"error": "No town of that name."}
    return {"mayor": MAYORS[name]}
"""
BIRTH = """
BIRTHS = {"hedda flint": "1871-03-04", "jonas quill": "1880-11-23", "petra vane": "1869-06-30"}


def born_on(person, calendar="civil"):
    day = BIRTHS.get(" ".join(str(person).casefold().split()))
    if day is None:
        return {"error": "Nobody of that name is in the parish book."}
    return {"born": day}
"""
RIVER = """
LENGTHS = {"ouse": 84.5, "wend": 31.2}


def river_length(river):
    length = LENGTHS.get(str(river).strip().casefold())
    return {"error": "No river of that name."} if length is None else {"kilometres": length}
"""
CODES = {"mayor_of": MAYOR, "born_on": BIRTH, "river_length": RIVER}


def tool(name: str, description: str, required: str, **properties: Record) -> Record:
    parameters = {"type": "object", "properties": properties, "required": [required]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def clean() -> Record:
    """An environment without faults."""
    return {
        "id": "mayors",
        "data_source": "test/multi_hop",
        "messages": [{"role": "user", "content": "Question: On what date was the mayor of Corrie born?"}],
        "tools": [
            tool(
                "mayor_of", "The mayor of a town.", "town", town={"type": "string", "description": "Name of the town."}
            ),
            tool(
                "born_on",
                "When a person was born.",
                "person",
                person={"type": "string", "description": "Name and surname."},
                calendar={"type": "string", "enum": ["civil", "church"], "default": "civil"},
            ),
            tool("river_length", "How long a river is.", "river", river={"type": "string"}),
        ],
        "codes": dict(CODES),
        "unsolved_set": {"mayor_of": ["Hedda Flint"], "born_on": ["1871-03-04"]},
        "answer": "1871-03-04",
        "sub_questions": [
            {"question": "Who is the mayor?", "tool": "mayor_of", "answer": "Hedda Flint", "depends_on": []},
            {"question": "When was she born?", "tool": "born_on", "answer": "1871-03-04", "depends_on": [0]},
        ],
        "gold_calls": [
            {"name": "mayor_of", "arguments": {"town": "Corrie"}, "solves": 0},
            {"name": "born_on", "arguments": {"person": "Hedda Flint"}, "solves": 1},
        ],
    }


@pytest.fixture(scope="module")
def sandboxes() -> Iterator[tuple[Sandbox, Sandbox]]:
    config = SandboxConfig(workers=1, call_timeout=0.4)
    with Sandbox(config) as first, Sandbox(replace(config, fixed_addresses=False)) as second:
        yield first, second


def found(record: Record, sandboxes: tuple[Sandbox, Sandbox]) -> set[str]:
    """The checks that find something; that Python repeats an unknown keyword goes without saying."""
    first, second = sandboxes
    with first.episode() as episode, second.episode() as again:
        findings = audit_environment(sample_from_record(record, 0, "record 1"), episode, again)
    assert all(one.fatal == CHECKS[one.check].fatal and one.where and one.detail for one in findings)
    return {one.check for one in findings} - {"echo_keyword"}


# --- the faults --------------------------------------------------------------------------------------------------

Fault = Callable[[Record], None]


def schema(record: Record, number: int, parameter: str) -> Record:
    found: Record = record["tools"][number]["function"]["parameters"]["properties"][parameter]
    return found


def replaced(name: str, old: str, new: str) -> Fault:
    def change(record: Record) -> None:
        assert old in record["codes"][name]
        record["codes"][name] = record["codes"][name].replace(old, new)

    return change


def answered(hop: int, answer: str) -> Fault:
    """Another sub-answer, in the code too."""

    def change(record: Record) -> None:
        part = record["sub_questions"][hop]
        old, part["answer"] = part["answer"], answer
        record["unsolved_set"][part["tool"]] = [answer]
        record["codes"][part["tool"]] = record["codes"][part["tool"]].replace(old, answer)

    return change


def leak_in_question(record: Record) -> None:
    record["messages"][0]["content"] += " (Not on 4 March 1871.)"


def leak_in_tool_description(record: Record) -> None:
    record["tools"][2]["function"]["description"] += " Measured on 1871-03-04."


def leak_in_parameter_description(record: Record) -> None:
    schema(record, 0, "town")["description"] += " Asked for first on March 4, 1871."


def leak_in_enumeration(record: Record) -> None:
    schema(record, 2, "river")["enum"] = ["ouse", "wend", "1871-03-04"]
    record["codes"]["river_length"] = "def river_length(river):\n    return {'error': 'No river of that name.'}\n"


def leak_in_default(record: Record) -> None:
    schema(record, 1, "calendar")["default"] = "since 1871-03-04"


def leak_in_example(record: Record) -> None:
    schema(record, 2, "river")["examples"] = ["1871-03-04"]


def order_known_from_question(record: Record) -> None:
    record["messages"][0]["content"] += " He was registered as FLINT."
    record["sub_questions"][0]["answer"] = "Hedda Flint of Corrie"
    record["unsolved_set"]["mayor_of"] = ["Hedda Flint of Corrie"]
    record["codes"]["mayor_of"] = MAYOR.replace("Hedda Flint", "Hedda Flint of Corrie")
    record["codes"]["born_on"] = BIRTH.replace("hedda flint", "flint")
    record["gold_calls"][1]["arguments"] = {"person": "Flint"}


def order_without_link(record: Record) -> None:
    record["codes"]["born_on"] = BIRTH.replace("hedda flint", "head of the council")
    record["gold_calls"][1]["arguments"] = {"person": "head of the council"}


def order_by_an_argument_that_does_not_matter(record: Record) -> None:
    record["codes"]["born_on"] = BIRTH.replace("day is None", 'str(calendar) != "church"').replace(
        'day = BIRTHS.get(" ".join(str(person).casefold().split()))', 'day = BIRTHS["hedda flint"]'
    )
    record["gold_calls"][1]["arguments"] = {"person": "Hedda Flint", "calendar": "church"}


def no_gold(record: Record) -> None:
    del record["gold_calls"]


def gold_in_vain(record: Record) -> None:
    record["gold_calls"][1]["arguments"] = {"person": "Hedda Flintstone"}


def gold_by_the_wrong_name(record: Record) -> None:
    record["sub_questions"][0]["answer"] = "Somebody Else"


def equal_answers(record: Record) -> None:
    record["codes"]["river_length"] = RIVER.replace(
        '"error": "No river of that name."', '"error": "No river."'
    ).replace("84.5", '"1871-03-04"')
    record["sub_questions"].append({"question": "?", "tool": "river_length", "answer": "1871-03-04", "depends_on": []})
    record["unsolved_set"]["river_length"] = ["1871-03-04"]
    record["gold_calls"].append({"name": "river_length", "arguments": {"river": "Ouse"}, "solves": 2})


def later_date_in_the_first_output(record: Record) -> None:
    record["codes"]["mayor_of"] = MAYOR.replace(
        '{"mayor": MAYORS[name]}', '{"mayor": MAYORS[name], "born": "4 March 1871" if name == "corrie" else "unknown"}'
    )


def echo_of_any_keyword(record: Record) -> None:
    record["codes"]["river_length"] = """
def river_length(river, **more):
    return {"kilometres": 84.5 if str(river).casefold() == "ouse" else None, **more}
"""


def the_same_whatever_the_arguments(record: Record) -> None:
    """But for a default call, which is another fault."""
    record["codes"]["mayor_of"] = """
def mayor_of(town):
    return {"mayor": "Hedda Flint"} if len(str(town)) > 1 else {"error": "No town of that name."}
"""


def reads_the_clock(record: Record) -> None:
    code = RIVER.replace("length is None", "length is None or date.today().year < 1900")
    record["codes"]["river_length"] = f"from datetime import date\n{code}"


def draws_by_chance(record: Record) -> None:
    code = RIVER.replace('"kilometres": length', '"kilometres": random.random()')
    record["codes"]["river_length"] = f"import random\n{code}"


def signature_in_code(record: Record) -> None:
    replaced("river_length", "def river_length(river)", "def river_length(river, season)")(record)


def signature_in_schema(record: Record) -> None:
    record["tools"][2]["function"]["parameters"]["properties"]["season"] = {"type": "string"}


FAULTS: dict[str, tuple[Fault, set[str]]] = {
    "no gold": (no_gold, {"no_gold"}),
    "gold in vain": (gold_in_vain, {"unsolvable", "order"}),
    "another answer": (gold_by_the_wrong_name, {"mismatch"}),
    "question": (leak_in_question, {"leak_question"}),
    "description": (leak_in_tool_description, {"leak_description"}),
    "parameter": (leak_in_parameter_description, {"leak_description"}),
    "enumeration": (leak_in_enumeration, {"leak_choice"}),
    "default value": (leak_in_default, {"leak_choice"}),
    "example": (leak_in_example, {"leak_choice"}),
    "default output": (
        replaced("river_length", '{"error": "No river of that name."}', '{"flood": "1871-03-04"}'),
        {"leak_default"},
    ),
    "error of a default call": (
        replaced("mayor_of", "No town of that name.", "No town of that name. Mayors: Hedda Flint, Jonas Quill."),
        {"leak_default"},
    ),
    "another gold output": (later_date_in_the_first_output, {"leak_other"}),
    "echo": (
        replaced("river_length", '{"error": "No river of that name."}', '{"river": river, "kilometres": 0}'),
        {"echo"},
    ),
    "echo in capitals": (
        replaced("river_length", '{"error": "No river of that name."}', 'f"Nothing about {str(river).upper()}."'),
        {"echo"},
    ),
    "echo of an option": (replaced("born_on", '{"born": day}', '{"born": day, "calendar": calendar}'), {"echo"}),
    "echo of any keyword": (echo_of_any_keyword, {"echo"}),
    "echo in an error": (
        replaced("river_length", '"No river of that name."', 'f"No river called {river}."'),
        {"echo_error"},
    ),
    "constant": (the_same_whatever_the_arguments, {"constant"}),
    "known from the question": (order_known_from_question, {"order"}),
    "taken from nowhere": (order_without_link, {"order"}),
    "an argument without weight": (order_by_an_argument_that_does_not_matter, {"order", "loose_argument"}),
    "empty": (answered(1, "--"), {"empty_answer", "unsolvable"}),
    "articles": (answered(1, "the a"), {"empty_answer"}),
    "short": (answered(1, "9b"), {"short_answer"}),
    "equal answers": (equal_answers, {"same_answer"}),
    "by address": (
        replaced(
            "river_length", '{"error": "No river of that name."}', '{"error": "Case " + str(river_length)[-13:-1]}'
        ),
        {"nondeterministic"},
    ),
    "clock": (reads_the_clock, {"clock"}),
    "random": (draws_by_chance, {"random"}),
    "unsafe": (
        replaced("river_length", "length is None", "length is None or eval('1 > 2')"),
        {"unsafe"},
    ),
    "own worker": (
        replaced("river_length", "LENGTHS =", "class Nothing:\n    pass\n\n\nLENGTHS ="),
        {"own_worker"},
    ),
    "endless": (
        replaced("river_length", "    length =", "    while True:\n        pass\n    length ="),
        {"stopped"},
    ),
    "a parameter too many in code": (signature_in_code, {"signature"}),
    "a parameter too many in the schema": (signature_in_schema, {"signature"}),
    "raises": (replaced("river_length", '{"error": "No river of that name."}', "LENGTHS[0]"), {"raises"}),
}


def test_the_clean_environment_has_no_finding(sandboxes):
    assert found(clean(), sandboxes) == set()


@pytest.mark.parametrize(("fault", "checks"), FAULTS.values(), ids=list(FAULTS))
def test_exactly_the_check_that_is_meant_fires(fault, checks, sandboxes):
    record = clean()
    fault(record)
    assert found(record, sandboxes) == checks


@pytest.mark.parametrize("record", demo.records(), ids=lambda record: str(record["id"]))
def test_the_demo_is_clean(record, sandboxes):
    assert found(record, sandboxes) == set()


def test_the_page_explains_every_check():
    page = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`( \*)? \| .* \| .* \|$", page.partition("## Floors")[0], re.MULTILINE)
    assert rows == [(name, "" if check.fatal else " *") for name, check in CHECKS.items()]


def test_sub_questions_that_make_no_sense_are_a_mismatch(sandboxes):
    for told in ([{"tool": "mayor_of"}], ["?"], [{**clean()["sub_questions"][0], "depends_on": [7]}]):
        assert "mismatch" in found({**clean(), "sub_questions": told}, sandboxes)


def test_without_sub_questions_the_calls_say_what_they_are_for(sandboxes):
    record = clean()
    del record["sub_questions"]
    assert found(record, sandboxes) == set()


# --- what the probes are made of ---------------------------------------------------------------------------------


def test_sentinels_have_the_schema_s_types_and_are_all_different():
    sentinels = Sentinels()
    value = sentinels.make_value(
        {
            "type": "object",
            "properties": {
                "names": {"type": "array", "items": {"type": "string"}},
                "count": {"type": "integer"},
                "weight": {"type": "number"},
                "day": {"type": "string", "format": "date"},
                "loud": {"type": "boolean"},
            },
        }
    )
    assert [type(part) for part in value.values()] == [list, int, float, str, bool]
    assert len(set(sentinels.texts)) == len(sentinels.texts) == 4
    assert all(text in json.dumps(value) for text in sentinels.texts)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("Corrie", {}),
        ("1871-03-04", {}),
        ("120", {}),
        (3, {}),
        (0.5, {}),
        (True, {}),
        ("a", {"enum": ["a", "b"]}),
        ([1, 2], {"items": {"type": "integer"}}),
        ({"x": "Corrie"}, {"properties": {"x": {"type": "string"}}}),
    ],
)
def test_a_wrong_value_is_another_of_the_same_type(value, schema):
    other = make_wrong_value(value, schema)
    assert other != value and type(other) is type(value)


def test_two_wrong_dates_do_not_keep_their_distance():
    assert make_wrong_value("2000-01-01", {}, 0) != make_wrong_value("2000-01-01", {}, 1)


@pytest.mark.parametrize(
    ("source", "checks"),
    [
        ("from datetime import datetime as d\ndef f(): return d.now()", {"clock"}),
        ("import time\ndef f(): return time.strftime('%Y')", {"clock"}),
        ("import time\ndef f(x): return time.strftime('%Y', time.gmtime(x))", set()),
        ("from datetime import date\ndef f(x): return date.fromisoformat(x).isoformat()", set()),
        ("import random as r\ndef f(): return r.choice([1, 2])", {"random"}),
        ("import random\ndef f(x): return random.Random(x).random()", set()),
        ("import uuid\ndef f(): return str(uuid.uuid4())", {"random"}),
        ("import os\ndef f(): return os.getcwd()", {"unsafe"}),
        ("def f(): return open('/etc/passwd').read()", {"unsafe"}),
        ("def f(): return ().__class__.__bases__", {"unsafe"}),
        ("def f(now, today='x', open_at=3): return now", set()),
    ],
)
def test_what_code_gives_away(source, checks):
    assert {check for check, _ in find_code_faults(source)} == checks


def test_every_telling_word_has_a_stem():
    words = TELLING.pattern.removeprefix(r"\b(").removesuffix(r")\b").split("|")
    assert len(words) > len(STEMS)
    for word in words:
        assert is_telling(re.sub(r"\\w[*+]", "a", word))
