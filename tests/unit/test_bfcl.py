"""BFCL's episodes, gold, schemas and isolation, on a small wheel written here; test_bfcl_golden.py has the real one."""

import ast
import json
from functools import cache

import pytest
from builders import call, says
from hypothesis import given, settings
from hypothesis import strategies as st
from small_wheel import AREA, write_wheel

from harness.errors import MissingData, UsageError
from harness.models import ModelOptions
from harness.models.policies import load as load_policy
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox, SandboxConfig
from harness.types import Limits, Reply
from tasks.bfcl import WEIGHTS, gold, schemas, tasks, wheel
from tasks.bfcl.environments import MORE_TOOLS, STEPS
from tasks.bfcl.inside import as_text
from tasks.bfcl.samples import CONVERSATIONS


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(SandboxConfig(workers=1)) as tools:
        yield tools


@pytest.fixture
def play(folder, sandbox):
    @cache
    def loaded(category):
        task = next(each for each in tasks({"bfcl": folder}) if each.name == f"bfcl_{category}")
        return task, task.load()[0]

    def played(category, model):
        task, sample = loaded(category)
        with sandbox.episode(task.state and sandbox.preload(task.state(sample))) as tools:
            episode = Episode(sample, limits=Limits(task.max_turns or 20), task=task.name)
            trajectory = play_episode(episode, task.environment(sample), model, tools)
        return task.score(sample, trajectory).scores, trajectory

    return played


def policy(name):
    return load_policy(name, ModelOptions())


def script(*turns):
    """A model that says these turns: a text, or a list of (name, arguments)."""

    def model(request):
        turn = turns[request.turn] if request.turn < len(turns) else ""
        if isinstance(turn, str):
            return Reply(says(turn))
        calls = [call(name, arguments, 10 * request.turn + place) for place, (name, arguments) in enumerate(turn)]
        return Reply(says("", *calls))

    return model


RIGHT = ("geometry_area", {"width": 2.0, "height": 3})


# --- single turns ------------------------------------------------------------------------------------------------


def test_gold_of_a_single_turn(play):
    scores, trajectory = play("simple_python", policy("oracle"))
    assert scores["official_accuracy"] == 1.0
    assert [(record.call.name, record.call.arguments) for record in trajectory.calls] == [RIGHT]
    assert (trajectory.turns, trajectory.outcome) == (1, "ok")


@pytest.mark.parametrize(
    ("turn", "error_type"),
    [
        ([("geometry_area", {"width": 2.0, "height": 4})], "simple:no"),
        ([RIGHT, RIGHT], "simple:no"),
        ([RIGHT, ("geometry_area", None)], "ast_decoder:decoder_failed"),
        ("6", "ast_decoder:decoder_failed"),
        ([("crash", {})], "checker:raised"),
    ],
)
def test_what_is_not_right(play, turn, error_type):
    scores, trajectory = play("simple_python", script(turn))
    assert scores["official_accuracy"] == 0.0
    assert trajectory.facts["error_type"] == error_type


@pytest.mark.parametrize(
    ("category", "turn", "right"),
    [
        ("irrelevance", "I am a model.", 1.0),
        ("irrelevance", "", 1.0),
        ("irrelevance", [RIGHT], 0.0),
        ("irrelevance", [("geometry_area", None)], 1.0),  # officially, what cannot be read is no call
        ("live_relevance", [("anything", {})], 1.0),
        ("live_relevance", [RIGHT, ("geometry_area", None)], 0.0),
        ("live_relevance", "6", 0.0),
    ],
)
def test_a_call_or_none(play, category, turn, right):
    assert play(category, script(turn))[0]["official_accuracy"] == right


def test_a_model_that_never_spoke_has_not_declined(play):
    def breaks(request):
        raise ValueError("the endpoint is gone")

    scores, trajectory = play("irrelevance", breaks)
    assert (scores["official_accuracy"], trajectory.outcome) == (0.0, "infrastructure_error")


# --- conversations -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("category", ["multi_turn_base", "multi_turn_miss_func"])
def test_gold_of_a_conversation(play, category):
    scores, trajectory = play(category, policy("oracle"))
    assert scores["official_accuracy"] == 1.0, trajectory.facts
    assert trajectory.facts["user_turns"] == 3
    assert scores["tool_error_rate"] == 0.0


def test_the_user_goes_on_when_the_model_stops_calling(play):
    _, trajectory = play("multi_turn_base", script("hello", "still here", "bye"))
    said = [message.content for message in trajectory.messages if message.role == "user"]
    assert said == ["Open a ticket about the lift.", "The stairs too.", "Now close the lift's."]
    assert trajectory.facts["error_type"] == "empty"


def test_functions_that_are_held_back_come_with_a_message(play):
    seen = []

    def model(request):
        seen.append([tool.name for tool in request.tools])
        return Reply(says(""))

    _, trajectory = play("multi_turn_miss_func", model)
    assert seen == [["open_ticket"], ["open_ticket", "close_ticket"], ["open_ticket", "close_ticket"]]
    assert MORE_TOOLS in [message.content for message in trajectory.messages]


def test_what_the_model_is_told(play):
    turns = [("open_ticket", {"title": "x", "colour": "red"}), ("nobody", {}), ("open_ticket", None)]
    _, trajectory = play("multi_turn_base", script(turns, [("close_ticket", {"title": "door"})]))
    assert [(record.status, record.output) for record in trajectory.calls] == [
        ("ok", "Error during execution: TicketAPI.open_ticket() got an unexpected keyword argument 'colour'"),
        ("unknown_tool", "an error occured when call nobody: 'nobody'"),
        ("malformed", "an error occured when call open_ticket: the arguments are not JSON"),
        ("ok", "closed"),
    ]


def test_too_many_steps_end_it(play):
    step = [("open_ticket", {"title": "lift"})]
    scores, trajectory = play("multi_turn_base", script(*[step] * 30))
    assert (trajectory.turns, trajectory.stop) == (STEPS + 1, "step_limit")
    assert scores["official_accuracy"] == 0.0
    assert trajectory.facts["error_type"] == "multi_turn:force_terminated"


def test_state_does_not_leak_into_the_next_episode(play):
    wrong = script([("open_ticket", {"title": "door"})], "", "", "")
    for _ in range(2):
        assert play("multi_turn_base", wrong)[0]["official_accuracy"] == 0.0
        assert play("multi_turn_base", policy("oracle"))[0]["official_accuracy"] == 1.0


NASTY = "__import__('os').system('id')"


@pytest.mark.parametrize("arguments", [{NASTY: 1}, {f"title={NASTY}, x": 1}, {"title": f"') or {NASTY} or ('"}])
def test_what_a_model_writes_reaches_eval_as_a_literal(arguments):
    seen = []

    def open_ticket(**given):
        seen.append(given)

    eval(as_text(["open_ticket", arguments]), {"open_ticket": open_ticket, "__builtins__": {}})
    assert seen == [arguments]


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)
HARMLESS = (ast.Expression, ast.Call, ast.Name, ast.Load, ast.keyword, ast.Constant, ast.List, ast.Dict)


@settings(deadline=None)
@given(st.dictionaries(st.text(), JSON))
def test_a_call_is_nothing_but_its_name_and_literals(arguments):
    nodes = list(ast.walk(ast.parse(as_text(["f", arguments]), mode="eval")))
    assert all(isinstance(node, (*HARMLESS, ast.UnaryOp, ast.USub)) for node in nodes)
    assert {node.id for node in nodes if isinstance(node, ast.Name)} <= {"f", "nan", "inf"}
    assert sum(isinstance(node, ast.Call) for node in nodes) == 1


# --- data --------------------------------------------------------------------------------------------------------


def test_names_and_types_as_endpoints_want_them():
    found = schemas.make_tool(AREA, "simple_python")
    assert found.name == "geometry_area"
    kinds = {name: value["type"] for name, value in found.parameters["properties"].items()}
    assert kinds == {"width": "number", "height": "integer", "unit": "string"}
    assert found.parameters["required"] == ["width"]


def test_nested_types():
    sizes = {"type": "tuple", "items": {"type": "float"}}
    inner = {"type": "dict", "properties": {"when": {"type": "any"}, "size": sizes}}
    parameters = {"type": "dict", "required": [], "properties": {"x": inner}}
    function = {"name": "f", "description": "", "parameters": parameters}
    value = schemas.make_tool(function, "multiple").parameters["properties"]["x"]
    assert value["type"] == "object"
    assert value["properties"]["when"]["type"] == "string"
    assert value["properties"]["size"] == {"type": "array", "items": {"type": "number", "format": "float"}}


def possible(values, schema, category="simple_python", required=()):
    function = {"name": "f", "parameters": {"required": list(required), "properties": {"x": schema}}}
    return gold.make_gold_calls([{"f": {"x": values}}], [function], category)[0].arguments


@pytest.mark.parametrize(
    ("values", "schema", "arguments"),
    [
        ([3, 4], {"type": "integer"}, {"x": 3}),
        (["", 4], {"type": "integer"}, {}),
        ([4, ""], {"type": "integer"}, {}),
        ([], {"type": "array"}, {"x": []}),
        ([[1, 2]], {"type": "array", "items": {"type": "integer"}}, {"x": [1, 2]}),
        ([{"a": [1, 2], "b": ["", 3]}], {"type": "dict"}, {"x": {"a": 1}}),
        ([[{"a": [1]}]], {"type": "array", "items": {"type": "dict"}}, {"x": [{"a": 1}]}),
    ],
)
def test_values_that_count(values, schema, arguments):
    assert possible(values, schema) == arguments


def test_a_required_parameter_is_given():
    assert possible(["", 4], {"type": "integer"}, required=["x"]) == {"x": 4}
    assert possible([""], {"type": "string"}, required=["x"]) == {}


@pytest.mark.parametrize(
    ("category", "value", "schema", "text"),
    [
        ("simple_java", 5, {"type": "long"}, "5L"),
        ("simple_java", 0.5, {"type": "float"}, "0.5f"),
        ("simple_java", True, {"type": "boolean"}, "true"),
        (
            "simple_java",
            [1, 2],
            {"type": "ArrayList", "items": {"type": "long"}},
            "new ArrayList<>(Arrays.asList(1L, 2L))",
        ),
        ("simple_java", ["a b"], {"type": "Array", "items": {"type": "String"}}, "new String[]{a b}"),
        ("simple_java", {"k": ["v"]}, {"type": "HashMap"}, 'new HashMap<>() {{ put("k", "v"); }}'),
        ("simple_javascript", 5, {"type": "Bigint"}, "5n"),
        ("simple_javascript", ["a"], {"type": "array", "items": {"type": "String"}}, '["a"]'),
        ("simple_javascript", "name", {"type": "any"}, "name"),
    ],
)
def test_values_as_source_text(category, value, schema, text):
    assert possible([value], schema, category) == {"x": text}


@pytest.mark.parametrize("text", ["f(", "f", "a.f()", "g()", "f(__import__('os'))", "1"])
def test_answers_that_are_no_calls_of_literals(text):
    with pytest.raises(UsageError, match="cannot be read as a call"):
        gold.parse_gold_call(text, {"f": ["x"]}, "row")


def test_positional_values_get_their_names():
    assert gold.parse_gold_call("f(1, y=[2])", {"f": ["x", "y"]}, "row").arguments == {"x": 1, "y": [2]}


def test_variants_of_a_conversation_are_one_cluster(folder):
    loaded = {task.name: task.load for task in tasks({"bfcl": folder})}
    worlds = {
        name: loaded[f"bfcl_{name}"]()[0].metadata["world"] for name in ("multi_turn_base", "multi_turn_miss_func")
    }
    assert set(worlds.values()) == {"bfcl-conversation-0"}
    assert loaded["bfcl_live_relevance"]()[0].metadata["world"] == "bfcl-live_relevance-functions-0"
    assert loaded["bfcl_irrelevance"]()[0].metadata["world"] == "bfcl-irrelevance-0"


def test_the_weights_are_the_leaderboards():
    assert sum(WEIGHTS.values()) == pytest.approx(60)
    assert sum(WEIGHTS[name] for name in CONVERSATIONS) == 30
    assert sum(WEIGHTS[name] for name in WEIGHTS if name.startswith("live_") and "relevance" not in name) == (
        pytest.approx(10)
    )
    assert WEIGHTS["simple_python"] == pytest.approx(WEIGHTS["multiple"] / 3)


def test_without_the_wheel(tmp_path, monkeypatch):
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingData, match=r"bfcl_\* needs BFCL v4 .*not installed: pip install --no-deps"):
        tasks({})[0].load()
    with pytest.raises(MissingData, match=f"looked for BFCL v4 .* at {tmp_path / 'bfcl_eval'}"):
        tasks({"bfcl": tmp_path})[0].load()


def test_parts_of_the_wheel_that_are_missing(tmp_path, monkeypatch):
    folder = write_wheel(tmp_path)
    found = {task.name: task for task in tasks({"bfcl": folder})}
    with pytest.raises(MissingData, match=r"BFCL_v4_parallel\.json"):
        found["bfcl_parallel"].load()
    monkeypatch.setattr(wheel.importlib.util, "find_spec", lambda name: None)
    (folder / "mpmath" / "inner.py").unlink()
    (folder / "mpmath" / "__init__.py").unlink()
    (folder / "mpmath").rmdir()
    wheel.checker_sources.cache_clear()
    with pytest.raises(MissingData, match="looked for mpmath"):
        found["bfcl_multi_turn_base"].load()


def test_entries_in_another_format(tmp_path):
    folder = write_wheel(tmp_path)
    data = folder / "bfcl_eval" / "data"
    found = {task.name: task for task in tasks({"bfcl": folder})}
    (data / "BFCL_v4_simple_python.json").write_text(json.dumps({"id": "x"}) + "\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"bfcl_simple_python, row 1 is not in BFCL v4's format"):
        found["bfcl_simple_python"].load()
    (data / "possible_answer" / "BFCL_v4_multi_turn_base.json").write_text("", encoding="utf-8")
    with pytest.raises(UsageError, match="1 questions and 0 answers"):
        found["bfcl_multi_turn_base"].load()
