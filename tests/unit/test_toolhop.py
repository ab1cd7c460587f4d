"""ToolHop's three rules, where they disagree, and its rows in both shapes; rows and tools are written here."""

import json

import pytest
from builders import call, says, write_records

from harness.errors import MissingData, UsageError
from harness.models import ModelOptions
from harness.models.policies import load as load_policy
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox, SandboxConfig
from harness.scoring.paper import contains
from harness.types import CallRecord, Limits, Message, Trajectory, Usage
from tasks.toolhop import official, read, sample_of, score, tasks

FOUNDER = 'def founder(company):\n    return {"acme": "Mary Stone"}.get(company.lower(), "unknown")\n'
BORN = 'def born(person):\n    return {"born": 1920 if person == "Mary Stone" else None}\n'


def schema(name, parameter):
    properties = {parameter: {"type": "string"}}
    return {"name": name, "description": "", "parameters": {"type": "object", "properties": properties}}


def row(**changes):
    fields = {
        "id": 7,
        "question": "When was the founder of Acme born?",
        "answer": "1920",
        "sub_task": {"Who founded Acme?": "Mary Stone", "When was Mary Stone born?": "1920"},
        "tools": {
            "Who founded Acme?": schema("founder", "company"),
            "When was Mary Stone born?": schema("born", "person"),
        },
        "functions": [FOUNDER, BORN],
        "domain": "Companies",
        "answer_type": "number",
        "previous_answer_type": "name",
    }
    return {**fields, **changes}


def sample(scenario="free", **changes):
    return sample_of(row(**changes), scenario, 0, "row 1")


def ended(*messages, calls=(), answer="1920"):
    """The scores of an episode that ends with these messages."""
    known = sample(answer=answer)
    trajectory = Trajectory((*known.messages, *messages), calls, 1, "ok", "no_tool_calls", Usage(), {})
    return score(known, trajectory).scores


def marks(text, answer="1920"):
    """(strict, official, paper) of a last message."""
    scores = ended(says(text), answer=answer)
    return tuple(scores[f"{rule}answer_accuracy"] == 1 for rule in ("", "official_", "paper_"))


DISAGREEMENTS = [  # answer, output, strict, official, paper
    ("10", "21", False, True, False),
    ("100", "1", False, True, False),
    ("2000", "1832", False, True, False),
    ("0", "7", False, True, False),
    ("1,000", "1000", True, False, True),
    ("Smith, John", "John Smith", False, False, True),
    ("2", "12", False, True, True),
]


@pytest.mark.parametrize(("answer", "output", "strict", "by_benchmark", "by_paper"), DISAGREEMENTS)
def test_where_the_rules_disagree(answer, output, strict, by_benchmark, by_paper):
    assert (official(output, answer), contains(output, answer)) == (by_benchmark, by_paper)
    assert marks(f"<answer>{output}</answer>", answer) == (strict, by_benchmark, by_paper)


@pytest.mark.parametrize(
    ("text", "answer", "found"),
    [
        ("<answer>1920</answer>", "1920", (True, True, True)),
        ("It was 1920.", "1920", (False, True, True)),
        ("<answer>in 1920</answer>", "1920", (True, True, True)),
        ("<answer>1919</answer> no, <answer>1920</answer>", "1920", (True, True, True)),
        ("<answer>1920</answer> no, <answer>1921</answer>", "1920", (False, True, True)),
        ("<think><answer>1920</answer></think> I do not know.", "1920", (False, True, True)),
        ("<ANSWER>\nthe river thames\n</ANSWER>", "The River Thames", (True, True, True)),
        ("<answer>12,500.0</answer>", "12500", (True, True, True)),
        ("<answer>1 May 2007</answer>", "2007-05-01", (True, False, False)),
        ("<answer>...</answer>", "1920", (False, False, False)),
        ("", "1920", (False, False, False)),
    ],
)
def test_the_last_message(text, answer, found):
    assert marks(text, answer) == found


def test_the_tool_before_the_last_message_counts_by_the_other_rules():
    calls = (CallRecord(0, call("born", {"person": "Mary Stone"}), "ok", '{"born": 1920}'),)
    output = Message("tool", '{"born": 1920}', tool_call_id="call_0")
    scores = ended(says("", calls[0].call), output, says("That is it."), calls=calls)
    assert [scores[f"{rule}answer_accuracy"] for rule in ("", "official_", "paper_")] == [0.0, 1.0, 1.0]
    silent = ended(says("", calls[0].call), output, says(""), calls=calls)
    cut_off = ended(says("", calls[0].call), output, calls=calls)
    assert silent["official_answer_accuracy"] == cut_off["official_answer_accuracy"] == 0.0


@pytest.mark.parametrize(
    "functions", [[FOUNDER, BORN], {"founder": FOUNDER, "born": BORN}, json.dumps([FOUNDER, BORN])]
)
def test_functions_in_every_shape(functions):
    assert dict(sample(functions=functions).codes) == {"founder": FOUNDER, "born": BORN}


def test_broken_and_missing_functions_are_answers_to_calls_and_not_errors_of_the_data():
    known = sample("mandatory", functions=["def founder(company:\n    return 1\n"])
    with Sandbox(SandboxConfig(workers=1)) as sandbox, sandbox.episode() as tools:
        results = tools.run(known.codes, [("founder", {"company": "Acme"}), ("born", {"person": "x"})])
    assert [result.status for result in results] == ["raised", "unknown_tool"]


def test_scenarios_ask_differently_and_share_their_questions():
    texts = {}
    for scenario in ("direct", "mandatory", "free"):
        known = sample(scenario)
        texts[scenario] = known.messages[0].content
        assert known.id == "7" and known.metadata["world"] == "toolhop-7"
        assert [tool.name for tool in known.tools] == ([] if scenario == "direct" else ["founder", "born"])
        assert "<answer>" in texts[scenario] and texts[scenario].endswith(row()["question"])
    assert len(set(texts.values())) == 3


def test_two_tools_of_one_name_are_offered_once():
    known = sample(tools={"a": schema("born", "person"), "b": schema("born", "name")})
    assert [tool.name for tool in known.tools] == ["born"]


@pytest.mark.parametrize("name", ["ToolHop.json", "toolhop.jsonl"])
def test_both_files(tmp_path, name):
    path = tmp_path / name
    rows = [row(id=None), row(id=8)]
    if name.endswith(".json"):
        path.write_text(json.dumps(rows), encoding="utf-8")
    else:
        write_records(path, rows)
    found = tasks({"toolhop": path})
    assert [each.name for each in found] == ["toolhop_direct", "toolhop_mandatory", "toolhop_free"]
    assert [sample.id for sample in found[2].load()] == ["0", "8"]
    assert {each.max_turns for each in found} == {9}


def test_the_oracle_says_the_answer_and_silence_gets_nothing(tmp_path):
    path = write_records(tmp_path / "toolhop.jsonl", [row()])
    for each in tasks({"toolhop": path}):
        [known] = each.load()
        for policy, value in (("oracle", 1.0), ("silent", 0.0)):
            model = load_policy(policy, ModelOptions())
            played = play_episode(Episode(known, limits=Limits(9)), each.environment(known), model, None)
            scores = each.score(known, played).scores
            assert {scores[f"{rule}answer_accuracy"] for rule in ("", "official_", "paper_")} == {value}


@pytest.mark.parametrize(
    ("changes", "says_what"),
    [
        ({"question": None}, "no question"),
        ({"answer": None}, "no question and answer"),
        ({"tools": [1]}, "'tools' must be a JSON object"),
        ({"tools": {"a": {}}}, "needs a name"),
        ({"tools": {"a": {"name": "born", "parameters": []}}}, None),
        ({"tools": {"a": {"name": "born", "parameters": [1]}}}, "JSON Schema"),
        ({"functions": "not JSON"}, "not JSON"),
        ({"functions": [1]}, "source texts"),
    ],
)
def test_rows_that_cannot_be_used(changes, says_what):
    if says_what is None:
        assert sample(**changes).tools[0].parameters["type"] == "object"
        return
    with pytest.raises(UsageError, match=says_what):
        sample(**changes)


def test_missing_data_names_the_data_set_and_the_path(tmp_path):
    with pytest.raises(MissingData, match=r"bytedance-research/ToolHop.*--data toolhop=FILE"):
        tasks({})[0].load()
    gone = tmp_path / "gone.json"
    with pytest.raises(MissingData, match=f"bytedance-research/ToolHop.*{gone}"):
        tasks({"toolhop": gone})[0].load()
    empty = tmp_path / "empty.json"
    for text, what in (("[]", "no rows"), ("{}", "JSON array"), ("[", "cannot be read")):
        empty.write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=what):
            read(empty)
