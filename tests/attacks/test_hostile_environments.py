"""Environment records that were made to break what reads them: values of any type in every field, schemas that ask for
more than there is, and more of everything than can be compared with each other."""

import json
import math
import random
import time
from functools import reduce

import pytest
from builders import record, sample, tool, write_records

from envbuilder.audit.arguments import make_wrong_value
from envbuilder.audit.environment import ObservedEnvironment
from harness.cli import main
from harness.console.text import printable_json
from harness.data.limits import reading_within
from harness.data.records import sample_from_record
from harness.data.schema_values import RandomValues, plain_value
from harness.errors import LONGEST, HarnessError, UsageError
from harness.models.policies import MOST_CALLS, POLICIES, find_spans
from harness.runs.prices import price_of
from harness.task import file_task
from harness.types import ModelRequest, Sampling, Tool
from trainer.prefixes import prefix_from_record
from trainer.recipes.load import load_recipe

VALUES = [
    None,
    True,
    -1,
    1e308,
    10**400,
    math.inf,
    math.nan,
    "",
    "\x1b]0;x\x07",
    "\ud800",
    [],
    {},
    [[]],
    [{}],
    {"a": 1},
]
CALL = {"id": "c", "type": "function", "function": {"name": "population", "arguments": "{}"}, "parse_error": None}
CALLED = {"role": "assistant", "content": "", "tool_calls": [CALL]}
PREFIX = record(
    messages=[{"role": "user", "content": "?"}, {**CALLED, "reasoning": "r", "raw": "x", "echo": [{}]},
              {"role": "tool", "content": "{}", "tool_call_id": "c"}],
    task="towns", sample="s1", epoch=0, turn=1, rule="strict", sub_answers={"population": ["45,210"]},
    calls=[{"turn": 0, "name": "population", "arguments": {}, "raw": "{}", "status": "ok", "output": "{}"}],
    sub_questions=[{"question": "?", "tool": "population", "answer": "45,210", "depends_on": [0]}],
    checks=[{"type": "tool_output_contains", "tool": "population", "value": "45,210"}],
)  # fmt: skip


def places(value, at=()):
    if at:
        yield at
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*at, name))


def changed(value, at, new):
    copy = json.loads(json.dumps(value))
    reduce(lambda inner, name: inner[name], at[:-1], copy)[at[-1]] = new
    return copy


def read_by_all(folder, row):
    """Everything that readers of rows make of one; what they refuse, in one sentence each."""
    path = folder / "rows.jsonl"
    path.write_text(json.dumps(row) + "\n")
    for read in (
        lambda: prefix_from_record(json.loads(path.read_text()), 0, "row 1"),
        lambda: file_task(path).load(),
        lambda: ObservedEnvironment(sample_from_record(row, 0, "row 1"), (), ()).told,
    ):
        try:
            yield read()
        except HarnessError as error:
            assert "\n" not in str(error) and len(str(error)) < 5000, str(error)
            yield None


@pytest.mark.parametrize("at", list(places(PREFIX)), ids=lambda at: ".".join(map(str, at)))
def test_a_field_of_any_type_is_read_or_refused(tmp_path, at):
    for value in VALUES:
        for found in read_by_all(tmp_path, changed(PREFIX, at, value)):
            for message in getattr(found, "messages", ()):
                parts = (message.reasoning, message.tool_call_id, message.raw)
                assert all(isinstance(part, str | None) for part in parts), (at, value)


@pytest.mark.parametrize(
    ("what", "row"),
    [
        ("tools", record(tools=[tool(f"f{n}", {}) for n in range(6)])),
        ("parameters of 'population'", record(tools=[tool("population", {f"p{n}": {} for n in range(6)})])),
        ("codes", record(codes={f"f{n}": f"def f{n}(): 0" for n in range(6)})),
        ("sub-answers", record(unsolved_set={"population": list("abcdef")})),
        ("gold calls", record(gold_calls=[{"name": "population", "arguments": {}}] * 6)),
        ("sub-questions", record(sub_questions=[{}] * 6)),
        ("characters", record(unsolved_set={"population": ["long " * 500]})),
        ("characters", record(tools=[tool("population", {"p": {"description": "long " * 1000}})])),
        ("values", record(tools=[tool("population", {"p": {"enum": list(range(200))}})])),
        ("checks", record(checks=[{"type": "final_answer", "value": "7"}] * 6)),
    ],
)
def test_more_than_can_be_compared_is_one_sentence_that_an_option_raises(tmp_path, what, row):
    task = lambda: file_task(write_records(tmp_path / "rows.jsonl", [row])).load()  # noqa: E731
    with (
        reading_within({"items": 5}),
        pytest.raises(UsageError, match=rf"more than [0-9,]+ {what}.*--read-limit items=N"),
    ):
        task()
    if what not in ("tools", "codes"):  # theirs have no code
        assert len(task()) == 1


@pytest.mark.parametrize("kind", ["integer", "number"])
@pytest.mark.parametrize("low", [10**400, -(10**400), 1e308, -1e308])
@pytest.mark.parametrize("high", [10**400, -(10**400), 1e308, -1e308])
def test_a_schema_of_any_numbers_gives_values_that_can_be_written(kind, low, high):
    schema = {"type": kind, "minimum": low, "maximum": high}
    values = [RandomValues(random.Random(0), ["w"]).value(schema), plain_value(schema)]
    values += [make_wrong_value(value, schema, 3) for value in (low, 9 * 10**4299, 1.7e308)]
    assert json.dumps(values, allow_nan=False)


def test_arrays_in_arrays_do_not_multiply():
    schema = reduce(lambda items, _: {"type": "array", "minItems": 1000, "items": items}, range(4), {"type": "string"})
    assert len(json.dumps(RandomValues(random.Random(0), ["w"]).value(schema))) < 1_000_000


@pytest.mark.parametrize("name", ["shotgun", "echo"])
def test_a_policy_makes_no_more_calls_than_are_looked_at(name):
    many = sample(
        tools=[tool(f"f{n}", {f"p{m}": {"type": "string"} for m in range(100)}, ["p1"]) for n in range(50)],
        codes={f"f{n}": f"def f{n}(**k): 0" for n in range(50)},
        unsolved_set={f"f{n}": ["45,210"] for n in range(50)},
        gold_calls=...,
        messages=[{"role": "user", "content": " b ".join(f"W{n}" for n in range(1000))}],
    )
    calls, _ = POLICIES[name](ModelRequest(many.messages, many.tools, Sampling(), many), 0)
    assert len(calls) == MOST_CALLS


def test_quotes_that_do_not_end_take_no_more_than_their_place():
    began = time.process_time()
    assert find_spans("“" * 100_000) == []
    assert time.process_time() - began < 5
    assert find_spans('ask “the mill” or "the well"') == ["the mill", "the well"]


def test_a_name_of_thousands_of_letters_loses_its_middle():
    said = str(UsageError(f"the tool {'x' * 50_000} has no code."))
    assert said.startswith("the tool xxx") and said.endswith("xxx has no code.")
    assert "more characters" in said and len(said) < LONGEST + 100


def test_json_that_is_printed_moves_no_cursor(tmp_path, capsys):
    name = "\x9b2J\x1b]0;x\x07\u202e\u2028half \ud800"
    path = write_records(tmp_path / "rows.jsonl", [record(id="\x9b2J\u202e")])
    assert main(["validate", str(path), "--json", "--no-floors", "--quiet"]) in (0, 1)
    told = capsys.readouterr().out
    assert not set(told) & set("\x9b\u202e") and "\x9b2J\u202e" in json.dumps(json.loads(told), ensure_ascii=False)
    assert json.loads(printable_json({name: [1, "é"]})) == {name.replace("\ud800", "?"): [1, "é"]}
    assert printable_json(Tool("f", "é", {}).description) == '"é"'


def test_a_number_beyond_all_floats_is_refused_by_recipes_and_prices(tmp_path):
    path = tmp_path / "numbers.toml"
    for line in ("learning_rate", "steps"):
        path.write_text(f'regime = "sft"\n{line} = {10**400}\n')
        with pytest.raises(UsageError, match=f"{line} = "):
            load_recipe(str(path), {})
    path.write_text(f'["openai/m"]\ninput = {10**400}\noutput = 1\n')
    with pytest.raises(UsageError, match="must be a number of dollars"):
        price_of("openai/m", path, {})
