"""The model generator's parts without a model: replies, graphs, leaks, wrong arguments, requests."""

import json
import sys

import pytest

from envbuilder.model import (
    EnvironmentRequest,
    checks,
    effects,
    final_answer,
    read_questions,
    requests_from_topics,
    stages,
    trial,
)
from envbuilder.model.author import Author, InvalidReply, extract_json_object, fill_prompt, schema_validator
from envbuilder.model.requests import ScalingTargets
from envbuilder.records import QUESTION_KINDS, Document, Hop, HopCall, Scenario
from envbuilder.spec import MICRO, Levels
from harness.errors import UsageError
from harness.types import Sampling, ToolResult


def hops(*depends_on):
    return tuple(Hop(f"Question {n}?", f"Answer {n}", earlier) for n, earlier in enumerate(depends_on))


def scenario(*found, kind="multi_hop", question="What of the house of Halvek?", answer=None):
    return Scenario("s", "w", kind, question, answer or found[-1].answer, found)


def parameters(required=(), **properties):
    return {"type": "object", "properties": properties, "required": list(required)}


def document(name="find_it", serves=(0,), **properties):
    return Document(name, "Finds what is asked for.", parameters(list(properties), **properties), serves)


TEXT = {"type": "string"}


# --- replies -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 1}',
        'Here you are: {"a": 1} and {"b": 2}',
        '```json\n{"a": 1}\n```',
        'A {brace} first\n```\n{"a": 1}\n``` {"b": 2}',
        "{'no'} but then {\"a\": 1}",
    ],
)
def test_the_first_object_of_a_reply_is_read(text):
    assert extract_json_object(text) == {"a": 1}


def test_line_breaks_in_strings_are_forgiven_and_lone_surrogates_replaced():
    assert extract_json_object('{"code": "def f():\n    return 1"}') == {"code": "def f():\n    return 1"}
    assert extract_json_object('{"a": "\\ud800"}') == {"a": "\ufffd"}


@pytest.mark.parametrize(
    "text",
    ["[1, 2]", '{"a": 1', '{"a": NaN}', '{"a": 1e999}', "{" * 100_000, '{"a":' * 5000 + "1" + "}" * 5000,
     '{"a": ' + "9" * 5000 + "}", "x" * 200_001],
)  # fmt: skip
def test_nonsense_is_refused_with_a_sentence(text):
    with pytest.raises(InvalidReply) as caught:
        extract_json_object(text)
    assert caught.value.reason == "not_json"
    assert 10 < len(caught.value.sentence) < 600


def test_an_empty_reply_is_said_to_be():
    assert refusal(extract_json_object, " \n") == "empty"


def test_values_are_never_read_as_fields_of_a_prompt():
    assert fill_prompt("question", question="Is $answer a $field worth $5?", answer="") == (
        "The question is given and stays as it is, word for word:\nIs $answer a $field worth $5?"
    )


def test_a_missing_jsonschema_names_the_extra(monkeypatch):
    schema_validator.cache_clear()
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    with pytest.raises(UsageError, match=r"tool-harness\[build\]"):
        Author(None, Sampling(), 3)


def test_references_and_patterns_are_no_keywords():
    for keyword in ({"$ref": "http://127.0.0.1/"}, {"pattern": "(a+)+$"}, {"oneOf": []}):
        reply = {"documents": [{**vars_of(document(firm={**TEXT, **keyword}))}]}
        assert [error.validator for error in schema_validator("documents").iter_errors(reply)] == [
            "additionalProperties"
        ]


@pytest.mark.parametrize("name", ["find it", "Find", "find_it\n", "f", "_find", "find" * 20, "détail"])
def test_names_of_tools(name):
    reply = {"documents": [vars_of(document(name, firm=TEXT))]}
    assert [error.validator for error in schema_validator("documents").iter_errors(reply)] == ["pattern"]


def vars_of(made):
    return {"name": made.name, "description": made.description, "parameters": made.parameters, "serves": [0]}


# --- graphs and leaks --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ([()], "single_hop"),
        ([(), ()], "parallel_single_hop"),
        ([(), (0,), (1,)], "multi_hop"),
        ([(), (0,), (0, 1)], "multi_hop"),
        ([(), (), (0,), (1,), (2, 3)], "parallel_multi_hop"),
        ([(), (0,), (), (2,)], "parallel_multi_hop"),
        ([(), (0,), (0,)], None),
    ],
)
def test_the_kind_of_a_graph(graph, kind):
    assert checks.kind_of(hops(*graph)) == kind


def refusal(check, *arguments):
    with pytest.raises(InvalidReply) as caught:
        check(*arguments)
    return caught.value.reason


@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (scenario(*hops((), (1,))), "dependencies"),
        (scenario(*hops((), ())), "kind"),
        (scenario(Hop("Who?", "No"), Hop("When?", "1931-04-05", (0,))), "trivial"),
        (scenario(Hop("Who?", "7"), Hop("When?", "1931-04-05", (0,))), "trivial"),
        (scenario(Hop("Who?", "?!"), Hop("When?", "1931-04-05", (0,))), "trivial"),
        (scenario(Hop("Who?", "Mira"), Hop("Who else?", "mira", (0,))), "trivial"),
        (scenario(Hop("Who is Mira?", "Mira"), Hop("When?", "1931", (0,))), "leak"),
        (scenario(Hop("Who?", "Mira"), Hop("When?", "1931", (0,)), question="Was Mira born?"), "leak"),
        (scenario(Hop("Who?", "Mira"), Hop("When?", "912", (0,)), question="In 1912?"), None),
        (scenario(Hop("Who?", "Mira"), Hop("How many?", "12", (0,))), "trivial"),
        (scenario(Hop("How many?", "1,284"), Hop("How far?", "1284", (0,))), "trivial"),
        (scenario(Hop("Who, not Osk?", "Mira"), Hop("Who?", "Osk", (0,))), "dependencies"),
        (scenario(Hop("Who?", "Mira"), kind="single_hop", answer="Osk"), "answer"),
    ],
)
def test_scenarios(made, reason):
    if reason is None:
        checks.check_scenario(made, EnvironmentRequest(0))
    else:
        assert refusal(checks.check_scenario, made, EnvironmentRequest(0)) == reason


TWO = (Hop("How many?", "120 seals"), Hop("How many?", "95 seals"))


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (scenario(*TWO, kind="parallel_single_hop", answer="120 seals; 95"), None),
        (scenario(*TWO, kind="parallel_single_hop", answer="120, 95"), None),
        (scenario(*TWO, kind="parallel_single_hop", answer="25"), None),
        (scenario(*TWO, kind="parallel_single_hop", answer="26"), "neither"),
        (scenario(*TWO, kind="parallel_single_hop", answer="Halvek"), None),
        (scenario(*TWO, kind="parallel_single_hop", answer="Borrun"), "neither"),
        (scenario(*TWO, kind="parallel_single_hop", answer="120 seals were counted"), "neither"),
        (scenario(*TWO, kind="parallel_single_hop", answer="120 seals", question="How many seals, Halvek?"), "alone"),
        (scenario(*TWO, kind="parallel_single_hop", answer="120", question="How many seals, Halvek?"), None),
        (scenario(Hop("Who?", "Mira Tolven"), Hop("When?", "1931-04-05", (0,)), answer="1931-04-05"), None),
        (scenario(Hop("Who?", "Mira Tolven"), Hop("When?", "1931-04-05", (0,)), answer="Mira Tolven"), "is not"),
        (scenario(Hop("Who?", "Mira Tolven"), Hop("When?", "1931", (0,)), answer="Born in 1931"), "neither"),
    ],
)
def test_a_final_answer_is_made_of_values(made, said):
    if said is None:
        final_answer.check_final(made, None)
    else:
        with pytest.raises(InvalidReply, match=said):
            final_answer.check_final(made, None)


@pytest.mark.parametrize(
    ("value", "answers", "held"),
    [
        ("215", ["120 seals", "95 seals"], True),
        ("107.5", ["120", "95"], True),
        ("1.26", ["120", "95"], True),
        ("1.27", ["120", "95"], False),
        ("31 days", ["1931-04-05", "1931-05-06"], True),
        ("Mira", ["120", "95"], False),
    ],
)
def test_what_follows_from_answers(value, answers, held):
    assert final_answer.is_computed(value, answers) is held


def test_a_users_answer_may_be_longer_than_the_models():
    made = scenario(Hop("Who?", "Mira Tolven"), kind="single_hop", answer="Mira Tolven")
    checks.check_scenario(made, EnvironmentRequest(0, "single_hop", answer="It was Mira Tolven.", hops=1))
    assert refusal(checks.check_scenario, made, EnvironmentRequest(0, answer="Osk Brandel")) == "answer"
    assert refusal(checks.check_scenario, made, EnvironmentRequest(0, "multi_hop")) == "kind"
    assert refusal(checks.check_scenario, made, EnvironmentRequest(0, hops=2)) == "kind"


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        ([document(firm=TEXT), document(firm=TEXT, serves=(1,))], "name"),
        ([document("lambda", firm=TEXT, serves=(0, 1))], "name"),
        ([document(firm=TEXT)], "unserved"),
        ([document(firm=TEXT, serves=(0, 1)), document("other", firm=TEXT, serves=(1,))], "unserved"),
        ([document(firm=TEXT, serves=(0, 1, 2))], "unserved"),
        ([document(serves=(0, 1))], "parameters"),
        ([Document("it", "Finds it.", parameters(["a"], b=TEXT), (0, 1))], "parameters"),
        ([document(serves=(0, 1), firm={**TEXT, "default": "x"})], "parameters"),
        ([document(serves=(0, 1), **{"class": TEXT})], "parameters"),
        ([document(serves=(0, 1), firm={**TEXT, "enum": ["Answer 1", "Answer 9"]})], "leak"),
        ([document("find_answer_1", serves=(0, 1), firm=TEXT)], "leak"),
        ([document(serves=(0, 1), firm=TEXT)], None),
    ],
)
def test_documents(found, reason):
    made = scenario(*hops((), (0,)))
    if reason is None:
        checks.check_documents(made, found)
    else:
        assert refusal(checks.check_documents, made, found) == reason


def test_merged_documents_stand_for_whole_ones():
    before = [document(f"find_{n}", serves=(n,), firm=TEXT) for n in range(3)]
    both = document("find_any", serves=(0, 2), firm=TEXT)
    checks.check_merged(before, [both])
    assert [made.name for made in stages.with_merged(before, [both])] == ["find_any", "find_1"]
    assert refusal(checks.check_merged, before, [document(serves=(0,), firm=TEXT)]) == "scope"
    assert refusal(checks.check_merged, before, [both, document(serves=(0, 1), firm=TEXT)]) == "scope"


def test_changes_add_to_documents_and_keep_the_rest():
    before = document(firm=TEXT)
    [after] = stages.with_changes([before], [{"name": "find_it", "properties": {"year": {"type": "integer"}}}])
    assert after.parameters == parameters(["firm"], firm=TEXT, year={"type": "integer"})
    assert (after.description, after.serves) == (before.description, before.serves)
    assert refusal(checks.check_changes, [before], [{"name": "find_that"}]) == "scope"
    assert refusal(checks.check_changes, [before], [{"name": "find_it"}, {"name": "find_it"}]) == "scope"


@pytest.mark.parametrize(
    ("schema", "now", "some"),
    [
        ({"type": "boolean"}, None, [True, False]),
        ({"type": "boolean", "default": False}, None, [True]),
        ({"type": "string", "enum": ["a", "b"]}, "a", ["b"]),
        ({"type": "integer", "minimum": 3, "maximum": 4}, 4, [3]),
        ({"type": "string", "format": "date"}, None, list(effects.DATES)),
        ({"type": "string", "format": "uri"}, None, []),
        ({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}}, ["a"], [["b"], [], ["a", "a"]]),
        ({"type": "object", "properties": {"x": {"type": "boolean"}}}, {"x": True}, [{"x": False}]),
    ],
)
def test_other_valid_values_of_a_parameter(schema, now, some):
    made = Document("find_it", "Finds it.", parameters(["firm"], firm=TEXT, extra=schema))
    call = {"firm": "Halvek"} | ({} if now is None else {"extra": now})
    assert [changed["extra"] for changed in effects.changed_calls(made, call, "extra")] == some


@pytest.mark.parametrize(
    ("value", "answer", "held"),
    [
        ("Mira Tolven", "Mira Tolven", True),
        (["x", {"y": "mira tolven"}], "Mira Tolven", True),
        (45.5, "45.5 km", True),
        ("1 May 1931", "1931-05-01", True),
        ("Mira", "Mira Tolven", False),
        (4, "45.5 km", False),
    ],
)
def test_an_argument_passes_an_earlier_answer_on(value, answer, held):
    assert checks.passes_answer_on(value, answer) is held


# --- code, before it runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("def find_it(firm: str, *, limit=3):\n    return {'a': firm}", None),
        ("def find_it(**given):\n    return {'a': given}", None),
        ("import re\n\ndef find_it(firm):\n    return {'a': re.sub('\\d', '', firm)}", None),
        ("def find_it(firm, limit):\n    return 1", "signature"),
        ("def find_it(firm, *, limit):\n    return 1", "signature"),
        ("def find_it(firm, /):\n    return 1", "signature"),
        ("def find_it(limit=3):\n    return 1", "signature"),
        ("find_it = lambda firm: 1", "no_function"),
        ("def outer():\n    def find_it(firm):\n        return 1", "no_function"),
        ("def find_it(firm):\n    return (", "syntax"),
        ("(" * 30_000, "syntax"),
        ("x = '\0'", "syntax"),
        ("import os\ndef find_it(firm):\n    return 1", "unsafe"),
        ("from . import os\ndef find_it(firm):\n    return 1", "unsafe"),
        ("def find_it(firm):\n    return getattr(firm, 'x')", "unsafe"),
        ("def find_it(firm):\n    return firm.__class__", "unsafe"),
        ("def find_it(firm):\n    return __builtins__", "unsafe"),
        ("N = 0\ndef find_it(firm):\n    global N\n    N += 1\n    return N", "unsafe"),
        ("import random\ndef find_it(firm):\n    return random.random()", "nondeterministic"),
        ("from datetime import date\ndef find_it(firm):\n    return str(date.today())", "nondeterministic"),
    ],
)
def test_code(source, reason):
    if reason is None:
        checks.check_code(document(firm=TEXT), source)
    else:
        assert refusal(checks.check_code, document(firm=TEXT), source) == reason


# --- wrong arguments ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("Halvek", TEXT),
        ("AB-123", TEXT),
        ("1931-04-05", {"type": "string", "format": "date"}),
        ("9999-12-31", TEXT),
        ("red", {"type": "string", "enum": ["red", "green"]}),
        (5, {"type": "integer"}),
        (5, {"type": "integer", "minimum": 1, "maximum": 12}),
        (1, {"type": "integer", "minimum": 0, "maximum": 1}),
        (10**18, {"type": "integer", "minimum": -1e308, "maximum": 1e308}),
        (2.5, {"type": "number", "minimum": 0, "maximum": 10}),
        (True, {"type": "boolean"}),
        (["a", "b"], {"type": "array", "items": TEXT}),
        ([], {"type": "array"}),
        ({"a": 1, "b": "x"}, {"type": "object", "properties": {"a": {"type": "integer"}}}),
    ],
)
@pytest.mark.parametrize("salt", [0, 1, 2])
def test_another_value_differs_and_keeps_its_type_and_limits(value, schema, salt):
    found = trial.other_value(value, schema, salt, 0)
    assert found != value
    assert type(found) is type(value)
    if "maximum" in schema and schema["maximum"] < 100:
        assert schema["minimum"] <= found <= schema["maximum"]
    assert "enum" not in schema or found in schema["enum"]


def test_changes_of_two_values_do_not_cancel_out():
    made = document(first=TEXT, second=TEXT, a={"type": "integer"}, b={"type": "integer"})
    call = HopCall("find_it", {"first": "1931-04-05", "second": "1931-04-15", "a": 5, "b": 7}, 0)
    for salt in range(3):
        found = trial.change_arguments(made, call, call.arguments, salt)
        assert found["b"] - found["a"] != 2
        assert int(found["second"][-2:]) - int(found["first"][-2:]) != 10


def test_an_earlier_answer_is_changed_alone_and_choices_stay_once():
    made = document(person=TEXT, register=TEXT, mode={**TEXT, "enum": ["short", "long"]})
    call = HopCall("find_it", {"person": "Answer 0", "register": "north", "mode": "short"}, 1)
    found = list(trial.make_probes(scenario(*hops((), (0,))), made, call, [call]))
    alone = [probe.arguments for probe in found if probe.reason == "order"]
    assert [(one["register"], one["mode"]) for one in alone] == [("north", "short")] * 2
    assert all(one["person"] != "Answer 0" for one in alone)
    constant = [probe.arguments for probe in found if probe.reason == "constant"]
    assert [one["mode"] for one in constant] == ["long"] * 3 + ["short"] * 2
    assert all(one["person"] != "Answer 0" and one["register"] != "north" for one in constant)
    assert [probe.arguments for probe in found if probe.reason == "default"] == [
        {},
        {"person": "x", "register": "x", "mode": "short"},
        {"person": "", "register": "north", "mode": "short"},
        {"person": "Answer 0", "register": "", "mode": "short"},
    ]


@pytest.mark.parametrize(
    ("result", "reason"),
    [
        (ToolResult("raised", "[Errno 13] Permission denied: '/etc/passwd'"), "unsafe"),
        (ToolResult("raised", "[Errno 1] Operation not permitted"), "unsafe"),
        (ToolResult("timeout", "timed out after 1 seconds"), "timeout"),
        (ToolResult("killed", "the tool's process ended"), "killed"),
    ],
)
def test_what_no_call_may_do(result, reason):
    assert refusal(trial.refuse_danger, result, {}) == reason
    trial.refuse_danger(ToolResult("raised", "missing 1 required argument"), {})


def test_a_call_with_nothing_that_could_be_wrong_is_refused():
    made = document(mode={**TEXT, "enum": ["only"]})
    call = HopCall("find_it", {"mode": "only"}, 0)
    assert refusal(list, trial.make_probes(scenario(*hops(())), made, call, [call])) == "constant"


# --- requests ----------------------------------------------------------------------------------------------------


def test_topics_are_repeatable_and_do_not_repeat():
    found = requests_from_topics(400, seed=3)
    assert found == requests_from_topics(400, seed=3) != requests_from_topics(400, seed=4)
    assert len({request.topic for request in found}) == 400
    assert [request.kind for request in found[:4]] == list(QUESTION_KINDS)
    assert len({request.topic for request in requests_from_topics(50, topics=("bread",))}) == 50
    assert not {r.topic for r in requests_from_topics(900, seed=3)} & {
        r.topic for r in requests_from_topics(900, seed=3, start=900)
    }
    with pytest.raises(UsageError):
        requests_from_topics(1, topics=())


def test_questions_from_a_file(tmp_path):
    path = tmp_path / "questions.txt"
    path.write_text('Who?\n\n  {"question": "When?", "answer": "1931", "kind": "multi_hop"}\nWhere?\n')
    assert read_questions(path, "single_hop") == (
        EnvironmentRequest(0, "single_hop", None, "Who?"),
        EnvironmentRequest(1, "multi_hop", None, "When?", "1931"),
        EnvironmentRequest(2, "single_hop", None, "Where?"),
    )


@pytest.mark.parametrize(
    "line", ["", "{", "{}", '{"question": 3}', '{"question": "Q?", "kind": "hop"}', '{"question": "Q?", "answer": 3}',
             "x" * 2001],
)  # fmt: skip
def test_questions_that_cannot_be_used_are_said_to_be(line, tmp_path):
    path = tmp_path / "questions.jsonl"
    path.write_text(line + "\n")
    with pytest.raises(UsageError, match=r"questions\.jsonl"):
        read_questions(path)
    with pytest.raises(UsageError, match=r"absent"):
        read_questions(tmp_path / "absent")


def test_levels():
    assert [ScalingTargets().distractor_count(kind) for kind in QUESTION_KINDS] == [
        6,
        6,
        5,
        4,
    ]  # the paper's medians are 7, 6, 5, 4
    assert [ScalingTargets(Levels(0, 0, 0, n)).distractor_count("multi_hop") for n in range(4)] == [0, 3, 5, 8]
    assert not ScalingTargets(Levels(0, 0, 0, 0)).is_active
    assert (ScalingTargets().added_parameters, ScalingTargets().typed_parameters) == (2, 2)


def test_the_number_of_sub_questions_is_drawn_from_the_size():
    drawn = [request.hops for request in requests_from_topics(800) if request.kind == "multi_hop"]
    assert 4.5 < sum(drawn) / len(drawn) < 6.5
    assert {request.hops for request in requests_from_topics(80, size=MICRO.size)} == {1, 2, 3}


def test_the_prompts_ask_for_what_the_schemas_check():
    for schema in ("scenario", "documents", "integration", "scaling", "calls", "code"):
        names = json.loads(json.dumps(schema_validator(schema).schema))["required"]
        assert all(f'"{name}"' in prompt_text(schema) for name in names)


def prompt_text(name):
    from envbuilder.model.author import read_package_text

    return read_package_text(f"prompts/{name}.md")
