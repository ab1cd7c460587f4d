"""The twelve demo environments keep what they promise: solvable, in order only, and by nothing but the right calls.

Their code is our own, so it runs here directly, without the sandbox.
"""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import date
from functools import cache
from types import FunctionType
from typing import Any

import jsonschema
import pytest

from harness.data.records import sample_from_record
from harness.scoring import score
from harness.scoring.leaves import leaf, leaves
from harness.types import CallRecord, Message, ToolCall, Trajectory, Usage
from tasks import demo

Record = dict[str, Any]
Arguments = dict[str, Any]

RECORDS = {record["id"]: record for record in demo.records()}
TOOLS = {
    f"{name}-{tool['function']['name']}": (record, tool["function"])
    for name, record in RECORDS.items()
    for tool in record["tools"]
}
GOLD = {
    f"{name}-{place}": (record, call)
    for name, record in RECORDS.items()
    for place, call in enumerate(record["gold_calls"])
}
CHAINS = {name: record for name, record in RECORDS.items() if record["data_source"].endswith("multi_hop")}
each_record = pytest.mark.parametrize("record", RECORDS.values(), ids=list(RECORDS))
each_tool = pytest.mark.parametrize(("record", "tool"), TOOLS.values(), ids=list(TOOLS))
each_gold_call = pytest.mark.parametrize(("record", "call"), GOLD.values(), ids=list(GOLD))

SENTINEL = "Zyxwv Qutsrp"
MODULES = {"datetime", "json", "math", "re"}
BANNED_NAMES = {"eval", "exec", "getattr", "setattr", "open", "globals", "locals", "vars", "input", "print", "compile"}
BANNED_NODES = (ast.ClassDef, ast.Global, ast.Nonlocal, ast.AsyncFunctionDef, ast.With, ast.While)
NUMBER_WORDS = {1: "one", 3: "three"}


# --- playing, and reading what comes back ------------------------------------------------------------------------


@cache
def function(source: str, name: str) -> FunctionType:
    space: dict[str, Any] = {}
    exec(compile(source, name, "exec"), space)
    found = space[name]
    assert isinstance(found, FunctionType)
    return found


def run(record: Record, name: str, arguments: Arguments) -> str:
    """The text that a call gives; exceptions get the sentence that a model would read."""
    try:
        output = function(record["codes"][name], name)(**deepcopy(arguments))
    except Exception as error:
        return f"an error occured when call {name}: {error}"
    return output if isinstance(output, str) else json.dumps(output, ensure_ascii=False)


def is_error(output: str) -> bool:
    return output.startswith(("Error", "an error", '{"error"'))


def within(part: tuple[str, ...], whole: tuple[str, ...]) -> bool:
    return any(whole[start : start + len(part)] == part for start in range(len(whole) - len(part) + 1))


def states(text: str, answer: str) -> bool:
    """Whether a text (JSON or prose) has the answer's tokens in a row."""
    return any(within(leaf(answer).tokens, piece.tokens) for piece in leaves(text))


def answers_of(record: Record, name: str | None = None) -> list[str]:
    return [part["answer"] for part in record["sub_questions"] if name in (None, part["tool"])]


def question(record: Record) -> str:
    return str(record["messages"][0]["content"])


def schema_of(record: Record, name: str) -> Record:
    return next(tool["function"]["parameters"] for tool in record["tools"] if tool["function"]["name"] == name)


# --- walking through arguments and schemas -----------------------------------------------------------------------


def values(arguments: Any, schema: Record) -> Iterator[tuple[Any, Record]]:
    """Every scalar of the arguments with the schema that declares it."""
    if isinstance(arguments, dict):
        for name, value in arguments.items():
            yield from values(value, schema["properties"][name])
    elif isinstance(arguments, list):
        for value in arguments:
            yield from values(value, schema["items"])
    else:
        yield arguments, schema


def changed(arguments: Any, schema: Record, change: Callable[[Any, Record], list[Any]]) -> Iterator[Any]:
    """Copies of the arguments in which one scalar has another value, for every scalar and each of its changes."""
    if isinstance(arguments, dict):
        for name, value in arguments.items():
            for other in changed(value, schema["properties"][name], change):
                yield {**arguments, name: other}
    elif isinstance(arguments, list):
        for place, value in enumerate(arguments):
            for other in changed(value, schema["items"], change):
                yield [*arguments[:place], other, *arguments[place + 1 :]]
    else:
        yield from change(arguments, schema)


def everywhere(arguments: Any, schema: Record, change: Callable[[Any, Record], Any]) -> Any:
    """The arguments with every scalar changed at once."""
    if isinstance(arguments, dict):
        return {name: everywhere(value, schema["properties"][name], change) for name, value in arguments.items()}
    if isinstance(arguments, list):
        return [everywhere(value, schema["items"], change) for value in arguments]
    return change(arguments, schema)


def filled(schema: Record, text: str) -> Any:
    """A value for a schema whose strings (and, where it is no number, whose numbers) are all `text`."""
    if schema["type"] == "object":
        return {name: filled(part, text) for name, part in schema["properties"].items()}
    return [filled(schema["items"], text)] * 2 if schema["type"] == "array" else text


def plain(schema: Record, spans: list[str], numbers: list[int]) -> list[Any]:
    """What someone who only read the question may try for a schema."""
    if "enum" in schema:
        return list(schema["enum"])
    match schema["type"]:
        case "object":
            needed = schema["required"]
            choices = [plain(schema["properties"][name], spans, numbers) for name in needed]
            return [dict(zip(needed, choice, strict=True)) for choice in itertools.product(*choices)]
        case "array":
            items = plain(schema["items"], spans, numbers)
            return [[item] for item in items] + [list(pair) for pair in itertools.permutations(items, 2)]
        case "boolean":
            return [True, False]
        case "integer" | "number":
            return numbers or [1]
    return spans


def constants(source: str) -> list[str]:
    """Every string that a tool's code holds: all the names that it can know."""
    found = {node.value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant)}
    return sorted(value for value in found if isinstance(value, str) and len(value) > 2)


# --- the collection ----------------------------------------------------------------------------------------------


def test_four_tasks_of_three_environments() -> None:
    tasks = demo.tasks({})
    assert [task.name for task in tasks] == [f"demo_{scenario}" for scenario in demo.SCENARIOS]
    assert {task.group for task in tasks} == {"demo"}
    assert [len(task.load()) for task in tasks] == [3, 3, 3, 3]
    assert all(task.description and task.source for task in tasks)


def test_every_environment_has_its_own_world_and_tools() -> None:
    assert len(RECORDS) == 12
    assert len({record["world"] for record in RECORDS.values()}) == 12
    names = Counter(name for record in RECORDS.values() for name in record["codes"])
    assert names.most_common(1)[0][1] == 1
    assert all(4 <= len(record["tools"]) <= 9 for record in RECORDS.values())


def test_parameters_are_of_many_types() -> None:
    types = {part["type"] for _, tool in TOOLS.values() for part in tool["parameters"]["properties"].values()}
    assert types == {"string", "integer", "number", "boolean", "array", "object"}


@each_record
def test_shape_of_the_scenario(record: Record) -> None:
    depends = [part["depends_on"] for part in record["sub_questions"]]
    match record["data_source"].removeprefix("demo/"):
        case "single_hop":
            assert depends == [[]]
        case "parallel_single_hop":
            assert 2 <= len(depends) <= 3 and not any(depends)
        case "multi_hop":
            assert 3 <= len(depends) <= 5 and depends == [[], *([place] for place in range(len(depends) - 1))]
        case "parallel_multi_hop":
            starts = [place for place, needs in enumerate(depends) if not needs]
            assert len(starts) == 2 and len(depends[-1]) == 2 and len(depends) >= 5
            assert all(len(needs) == 1 for place, needs in enumerate(depends[:-1]) if place not in starts)


@each_record
def test_the_answer_follows_from_the_sub_answers(record: Record) -> None:
    answers = answers_of(record)
    match record["id"]:
        case "cheese_cooperative":
            expected = f"{sum(int(answer.replace(',', '')) for answer in answers):,}"
        case "chess_league":
            expected = ["Iolanthe Varga", "Tobias Wren", "Marguerite Oakes"][answers.index(max(answers))]
        case "observatory":
            expected = min(answers)
        case _:
            expected = answers[-1]
    assert record["answer"] == expected


# --- the tools ---------------------------------------------------------------------------------------------------


@each_tool
def test_code_is_plain(record: Record, tool: Record) -> None:
    tree = ast.parse(record["codes"][tool["name"]])
    for node in ast.walk(tree):
        assert not isinstance(node, BANNED_NODES), ast.dump(node)
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= MODULES
        if isinstance(node, ast.ImportFrom):
            assert node.module in MODULES
        if isinstance(node, ast.Name):
            assert node.id not in BANNED_NAMES and not node.id.startswith("__")
        if isinstance(node, ast.Attribute):
            assert isinstance(node.ctx, ast.Load) and not node.attr.startswith("_") and node.attr != "format"
            assert node.attr not in {"now", "today", "time"}


@each_tool
def test_schema_is_valid_and_is_the_signature(record: Record, tool: Record) -> None:
    schema = tool["parameters"]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object" and tool["description"].endswith(".")
    parameters = inspect.signature(function(record["codes"][tool["name"]], tool["name"])).parameters
    declared = {name: part for name, part in parameters.items() if part.kind is not part.VAR_KEYWORD}
    assert list(declared) == list(schema["properties"])
    assert [name for name, part in declared.items() if part.default is part.empty] == schema["required"]
    assert all(part["description"] for part in schema["properties"].values())


@each_tool
def test_nothing_given_comes_back(record: Record, tool: Record) -> None:
    name, schema = tool["name"], tool["parameters"]
    gold = [call["arguments"] for call in record["gold_calls"] if call["name"] == name]
    mine = [*gold, {part: filled(schema["properties"][part], SENTINEL) for part in schema["properties"]}]
    tries = [{part: filled(schema["properties"][part], SENTINEL) for part in schema["required"]}, *mine]
    tries += [other for arguments in mine for other in changed(arguments, schema, lambda value, part: [SENTINEL])]
    for arguments in tries:
        assert SENTINEL.casefold() not in run(record, name, arguments).casefold()


@each_tool
def test_an_unknown_parameter_is_refused_by_python_itself(record: Record, tool: Record) -> None:
    """Its text repeats the keyword, which the paper's rule takes for a result: the demo shows what that is worth."""
    gold = [call["arguments"] for call in record["gold_calls"] if call["name"] == tool["name"]]
    for arguments in [*gold, dict.fromkeys(tool["parameters"]["required"], "x")]:
        said = run(record, tool["name"], {**arguments, SENTINEL: 1})
        assert said.endswith(f"got an unexpected keyword argument '{SENTINEL}'")


@each_tool
def test_odd_values_are_answered_not_raised(record: Record, tool: Record) -> None:
    schema = tool["parameters"]
    rest = {name: plain(part, ["x"], [1961])[0] for name, part in schema["properties"].items()}
    gold = [call["arguments"] for call in record["gold_calls"] if call["name"] == tool["name"]]
    odd: list[Any] = [
        None,
        True,
        -1,
        0,
        10**30,
        1e300,
        float("nan"),
        "",
        " ",
        "٣",
        "x" * 5000,
        [],
        [None],
        {},
        {"a": []},
    ]
    for arguments, name, value in itertools.product([*gold, rest], schema["properties"], odd):
        assert "an error occured" not in run(record, tool["name"], {**arguments, name: value}), (name, value)


@each_tool
def test_no_known_name_comes_back(record: Record, tool: Record) -> None:
    name, schema = tool["name"], tool["parameters"]
    known = constants(record["codes"][name])
    gold = [call["arguments"] for call in record["gold_calls"] if call["name"] == name]
    free = [part for part in schema["required"] if "enum" not in schema["properties"][part]]
    for part, value in itertools.product(free, known):
        if schema["properties"][part]["type"] != "string":
            continue
        rest = {other: plain(schema["properties"][other], ["x"], [1961])[0] for other in schema["required"]}
        for arguments in [*gold, rest]:
            output = run(record, name, {**arguments, part: value})
            assert is_error(output) or not states(output, value), (value, output)


@each_tool
def test_a_default_call_gives_nothing_away(record: Record, tool: Record) -> None:
    """No sub-answer of any tool is in what the dullest valid calls return, errors included."""
    schema = tool["parameters"]["properties"]
    choices = [plain(part, ["x", "2024-01-15"], [0, 1, 7, 100, 1950]) for part in schema.values()]
    for choice in itertools.islice(itertools.product(*choices), 2000):
        output = run(record, tool["name"], dict(zip(schema, choice, strict=True)))
        assert not [answer for answer in answers_of(record) if states(output, answer)], output


# --- the sub-answers ---------------------------------------------------------------------------------------------


@each_record
def test_sub_answers_are_distinct_and_not_short(record: Record) -> None:
    answers = answers_of(record)
    assert all(len(answer) >= 3 for answer in answers)
    for one, other in itertools.permutations(answers, 2):
        assert not within(leaf(one).tokens, leaf(other).tokens)


@each_record
def test_sub_answers_are_not_in_the_prompt_or_the_schemas(record: Record) -> None:
    for answer in answers_of(record):
        assert not states(question(record), answer)
        for tool in record["tools"]:
            assert not states(json.dumps(tool), answer)
            assert not states(tool["function"]["description"], answer)


@each_record
def test_gold_solves_everything_in_the_strict_and_in_the_papers_way(record: Record) -> None:
    calls = [
        CallRecord(turn, ToolCall(f"call_{turn}", call["name"], call["arguments"], ""), "ok", output)
        for turn, call in enumerate(record["gold_calls"])
        for output in [run(record, call["name"], call["arguments"])]
    ]
    said = Message("assistant", f"Done.\n\nAnswer: {record['answer']}")
    trajectory = Trajectory((said,), tuple(calls), len(calls) + 1, "ok", "answered", Usage(), {})
    verdict = score(sample_from_record(record, 0, record["id"]), trajectory)
    assert None not in verdict.solves and verdict.solves == verdict.paper_solves
    for name in ("solve_precision", "solve_rate", "solve_f1"):
        assert verdict.scores[name] == verdict.scores[f"paper_{name}"] == 1.0
    assert verdict.scores["answer_accuracy"] == 1.0


@each_gold_call
def test_a_gold_output_states_its_own_sub_answer_and_no_other(record: Record, call: Record) -> None:
    output = run(record, call["name"], call["arguments"])
    answers = answers_of(record)
    assert not is_error(output)
    assert record["sub_questions"][call["solves"]]["tool"] == call["name"]
    assert [place for place, answer in enumerate(answers) if states(output, answer)] == [call["solves"]]
    for value, _ in values(call["arguments"], schema_of(record, call["name"])):
        assert isinstance(value, bool) or not states(output, str(value))
        assert isinstance(value, bool) or not states(str(value), answers[call["solves"]])


@each_record
def test_gold_calls_respect_the_order(record: Record) -> None:
    done: set[int] = set()
    for call in record["gold_calls"]:
        needs = record["sub_questions"][call["solves"]]["depends_on"]
        assert all(0 <= place < call["solves"] for place in needs) and done.issuperset(needs)
        done.add(call["solves"])
    assert done == set(range(len(record["sub_questions"]))) and len(record["gold_calls"]) == len(done)


@each_gold_call
def test_every_argument_can_be_known_and_links_only_from_an_earlier_output(record: Record, call: Record) -> None:
    jsonschema.validate(call["arguments"], schema_of(record, call["name"]))
    links = [
        record["sub_questions"][place]["answer"] for place in record["sub_questions"][call["solves"]]["depends_on"]
    ]
    used = set()
    for value, schema in values(call["arguments"], schema_of(record, call["name"])):
        found = [answer for answer in links if leaf(str(value)).tokens == leaf(answer).tokens]
        used.update(found)
        asked = question(record)
        known = states(asked, str(value)) or states(asked, NUMBER_WORDS.get(value, str(value)))
        assert found or known or value in schema.get("enum", [True, False])
    assert used == set(links)


@each_gold_call
def test_no_other_argument_gives_a_sub_answer_of_the_tool(record: Record, call: Record) -> None:
    """One argument at a time: other names that the tool knows, other choices, the next numbers, or nothing at all."""
    known = constants(record["codes"][call["name"]])
    schema = schema_of(record, call["name"])

    def wrong(value: Any, part: Record) -> list[Any]:
        if isinstance(value, bool):
            return [not value]
        if isinstance(value, int | float):
            return [value - 1, value + 1, value * 10, -value, 0]
        if part.get("format") == "date":
            day = date.fromisoformat(value).toordinal()
            return [str(date.fromordinal(day + shift)) for shift in (-30, -1, 1, 365)]
        return list(part.get("enum", [*known, SENTINEL, value[:-1], value + "s"]))

    right = [spoken(other["arguments"]) for other in record["gold_calls"] if other["name"] == call["name"]]
    defaults = {name: part["default"] for name, part in schema["properties"].items() if "default" in part}
    dropped = [{k: v for k, v in call["arguments"].items() if k != name} for name in call["arguments"]]
    for arguments in [*changed(call["arguments"], schema, wrong), *dropped]:
        if spoken(arguments) in right or spoken({**defaults, **arguments}) in right:
            continue  # the same names, as the code spells them
        output = run(record, call["name"], arguments)
        assert not [answer for answer in answers_of(record, call["name"]) if states(output, answer)], arguments


def spoken(arguments: Arguments) -> list[list[tuple[str, ...]]]:
    """Arguments without the spelling: two lists are equal where a tolerant tool takes them for the same."""
    return [[piece.tokens for piece in leaves(json.dumps({name: arguments[name]}))] for name in sorted(arguments)]


@each_gold_call
def test_spelling_does_not_matter(record: Record, call: Record) -> None:
    schema = schema_of(record, call["name"])

    def wide(text: str) -> str:
        return "  " + text.replace(" ", "   ") + " "

    def spelt(change: Callable[[str], str]) -> Callable[[Any, Record], Any]:
        return lambda value, part: change(value) if isinstance(value, str) else value

    def other_date(value: Any, part: Record) -> Any:
        return f"{date.fromisoformat(value):%d %B %Y}" if part.get("format") == "date" else value

    tries = [everywhere(call["arguments"], schema, spelt(change)) for change in (str.upper, str.lower, wide)]
    tries.append(everywhere(call["arguments"], schema, other_date))
    tries.append(everywhere(call["arguments"], schema, lambda value, part: str(value)))
    answer = record["sub_questions"][call["solves"]]["answer"]
    for arguments in tries:
        assert states(run(record, call["name"], arguments), answer), arguments


@each_gold_call
def test_calls_are_deterministic_and_change_nothing(record: Record, call: Record) -> None:
    arguments = deepcopy(call["arguments"])
    first = function(record["codes"][call["name"]], call["name"])(**arguments)
    assert arguments == call["arguments"]
    again = function(record["codes"][call["name"]], call["name"])(**arguments)
    fresh = function.__wrapped__(record["codes"][call["name"]], call["name"])(**arguments)
    assert first == again == fresh


@pytest.mark.parametrize("record", CHAINS.values(), ids=list(CHAINS))
def test_guessing_from_the_question_starts_a_chain_and_gets_no_further(record: Record) -> None:
    """Every tool with all names and telling words of the question, all choices and all numbers, in any combination."""
    text = question(record).split("Question: ")[1].split("\n")[0]
    names = re.findall(r"[A-Z][\w-]*(?:'s)?(?: [A-Z][\w-]*(?:'s)?)*", text)
    spans = list(dict.fromkeys([*names, *re.findall(r"\b[a-z]{9,}\b", text)]))
    numbers = [int(number) for number in dict.fromkeys(re.findall(r"\d+", text))]
    solved: set[str] = set()
    for tool in (tool["function"] for tool in record["tools"]):
        schema = tool["parameters"]
        choices = [plain(schema["properties"][name], spans, numbers) for name in schema["required"]]
        for choice in itertools.product(*choices):
            output = run(record, tool["name"], dict(zip(schema["required"], choice, strict=True)))
            mine = answers_of(record, tool["name"])
            solved.update(answer for answer in mine if not is_error(output) and states(output, answer))
    starts = {part["answer"] for part in record["sub_questions"] if not part["depends_on"]}
    assert solved <= starts
    assert solved or record["id"] == "tea_auction"  # whose lots are asked for by an optional parameter as well
