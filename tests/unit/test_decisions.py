"""When to call: the table of docs/decisions.md, floors, what is needless, abstentions, pooled metrics and rewards."""

import json
import re
from dataclasses import replace

import pytest
from builders import ROOT
from result_runs import write_run

from harness.errors import UsageError
from harness.metrics import METRICS
from harness.models.policies import Policy
from harness.rollout import Episode, play_episode
from harness.runs.directory import RunDirectory
from harness.sandbox import Sandbox, SandboxConfig
from harness.scoring.decisions import ABSTENTION, SITUATIONS, score
from harness.task import decision_task, file_task
from harness.types import CallRecord, Message, Sample, ToolCall, Trajectory, Usage
from tasks import when
from trainer.rewards import REWARDS

TASKS = {task.name.removeprefix("when_"): task for task in when.tasks({})}
NO_RECORD = '{"error": "title: nothing is registered under it."}'


@pytest.fixture(scope="module")
def twins() -> dict[str, Sample]:
    """The five of the first world."""
    return {situation: task.load()[0] for situation, task in TASKS.items()}


def call(name: str, arguments: dict[str, object], output: str = NO_RECORD, turn: int = 0) -> CallRecord:
    return CallRecord(turn, ToolCall("id", name, arguments, json.dumps(arguments)), "ok", output)


def episode(*calls: CallRecord, final: str = "") -> Trajectory:
    turns = 1 + max((record.turn for record in calls), default=-1 if final else 0)
    return Trajectory((Message("assistant", final),), calls, turns + bool(final), "ok", "stop", Usage(), {})


def means(trajectory: Trajectory) -> dict[str, float]:
    """The mean of each metric where every twin of the set is played like this."""
    scores = [score(sample, trajectory).scores for task in TASKS.values() for sample in task.load()]
    return {
        name: sum(found) / len(found)
        for name in scores[0]
        if (found := [s[name] for s in scores if s[name] is not None])
    }


def test_floors_are_what_the_table_says() -> None:
    never, always = means(episode(final="I do not know.")), means(episode(call("no_such_tool", {})))
    assert (never["decision_accuracy"], never["needless_calls"], never["decision_f1"]) == (0.4, 0.0, 0.0)
    assert (always["decision_accuracy"], always["needless_calls"], always["decision_f1"]) == (0.6, 1.0, 0.0)
    assert never["answer_accuracy"] == never["abstention_recall"] == always["abstention_recall"] == 0.0
    assert "abstention_precision" not in never | always
    assert [task.floor for task in TASKS.values()] == [float(not one.due) for one in SITUATIONS.values()]


def test_always_abstaining_is_right_in_one_of_five_and_due_in_three() -> None:
    found = means(episode(final=f"Answer: {ABSTENTION}."))
    assert (found["answer_accuracy"], found["abstention_precision"], found["abstention_recall"]) == (0.4, 0.6, 1.0)
    assert found["decision_f1"] == pytest.approx(0.2)  # tool_gone alone: missing_record had to be looked up


def test_the_oracle_has_everything() -> None:
    with Sandbox(SandboxConfig(workers=1)) as sandbox, sandbox.episode() as tools:
        for task in TASKS.values():
            for sample in task.load()[:3]:
                played = play_episode(Episode(sample), task.environment(sample), Policy("oracle", 0), tools)
                found = task.score(sample, played).scores
                assert (found["decision_accuracy"], found["answer_accuracy"], found["decision_f1"]) == (1.0, 1.0, 1.0)
                assert found["needless_calls"] == 0.0
                assert found["calls"] == SITUATIONS[sample.id.rpartition("-")[2]].needed
                assert found["abstention_recall"] in (None, 1.0) and found["abstention_precision"] in (None, 1.0)


def test_the_page_has_the_table() -> None:
    page = (ROOT / "docs" / "decisions.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (no call|call) \| (\d) \| [^|]+ \| ([^|]+) \|$", page, re.MULTILINE)
    said = {name: (first == "call", int(needed), "abstention" in line) for name, first, needed, line in rows}
    assert said == {name: (one.due, one.needed, one.abstains) for name, one in SITUATIONS.items()}
    assert ABSTENTION in page
    assert {name for name in METRICS if name.startswith(("decision", "abstention", "needless"))} <= {
        *re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    }


# --- what is needless --------------------------------------------------------------------------------------------


def needless(sample: Sample, *calls: CallRecord) -> float | None:
    return score(sample, episode(*calls)).scores["needless_calls"]


def test_after_a_look_up_that_shows_no_record_every_call_is_needless(twins) -> None:
    sample = twins["missing_record"]
    (gold,) = sample.gold.calls
    subject, other = gold.arguments, {**gold.arguments, "more": 1}
    assert needless(sample, call(gold.name, subject)) == 0
    assert needless(sample, call(gold.name, subject), call(gold.name, other)) == 0  # one for each question
    assert needless(sample, call(gold.name, subject), call(gold.name, other, turn=1)) == 1
    assert needless(sample, call(gold.name, subject), call(gold.name, subject)) == 1
    spelled = {name: value.upper() if isinstance(value, str) else value for name, value in subject.items()}
    assert needless(sample, call(gold.name, spelled)) == 0


def test_only_a_look_up_of_the_thing_itself_shows_that_there_is_no_record(twins) -> None:
    sample = twins["missing_record"]
    (gold,) = sample.gold.calls
    first = next(iter(gold.arguments))
    assert needless(sample, call(gold.name, {**gold.arguments, first: "Somebody Else"})) == 1
    assert needless(sample, call("another_tool", gold.arguments)) == 1
    assert needless(sample, call(gold.name, gold.arguments, '{"title": "x", "value": 3}')) == 1


def test_where_no_call_is_due_every_call_is_needless(twins) -> None:
    for situation in ("no_tool", "tool_gone"):
        sample = twins[situation]
        assert needless(sample, call(sample.tools[0].name, {})) == 1


# --- answers and abstentions -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "final", "right", "precision", "recall"),
    [
        ("tool_gone", "Answer: {a}", 1.0, 1.0, 1.0),
        ("tool_gone", "**Answer:** `{a}`, `{a}`", 1.0, 1.0, 1.0),
        ("tool_gone", "{a}", 0.0, None, 0.0),
        ("tool_gone", "Answer: {first}, {a}", 0.0, 1.0, 1.0),
        ("no_tool", "Answer: {first}, {second}", 1.0, None, None),
        ("no_tool", "Answer: {a}", 0.0, 0.0, None),
        ("partial", "Answer: {a}", 0.0, 1.0, 1.0),
    ],
)
def test_what_an_answer_line_says(twins, situation, final, right, precision, recall) -> None:
    first, second = twins["no_tool"].gold.answer.split(", ")
    said = final.format(a=ABSTENTION, first=first, second=second)
    found = score(twins[situation], episode(final=said)).scores
    assert (found["answer_accuracy"], found["abstention_precision"], found["abstention_recall"]) == (
        right, precision, recall,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["{first} and {second}", "{first}, {second}", "{first}; {second}."])
def test_no_way_to_write_the_answer_is_worth_more_than_all(twins, form) -> None:
    first, second = twins["no_tool"].gold.answer.split(", ")
    found = score(twins["no_tool"], episode(final=f"Answer: {form.format(first=first, second=second)}")).scores
    assert (found["answer_accuracy"], found["decision_f1"]) == (1.0, 1.0)


@pytest.mark.parametrize(
    "answer",
    [
        "{a} ({both})", "{both} ({a})", "{a} because {both}", "Can not be answered with these tools", "{both} or {a}",
        "It " + "cannot be answered with these tools", "\uff23annot be answered with these tools, {both}",
    ],
)  # fmt: skip
def test_an_abstention_beside_something_else_is_one_everywhere(twins, answer) -> None:
    final = f"Answer: {answer.format(a=ABSTENTION, both=twins['no_tool'].gold.answer)}"
    assert score(twins["tool_gone"], episode(final=final)).scores["abstention_recall"] == 1.0
    assert score(twins["no_tool"], episode(final=final)).scores["abstention_precision"] == 0.0


def test_a_look_up_that_is_only_spelt_otherwise_is_needless(twins) -> None:
    sample = twins["missing_record"]
    (gold,) = sample.gold.calls
    spaced = ToolCall("id", gold.name, gold.arguments, json.dumps(gold.arguments, indent=1))
    again = CallRecord(0, spaced, "ok", NO_RECORD)
    assert needless(sample, call(gold.name, gold.arguments), again) == 1


@pytest.mark.parametrize(
    ("situation", "changed"),
    [
        ("missing_record", {"gold": {"calls": None}}),
        ("missing_record", {"gold": {"calls": ()}}),
        ("no_tool", {"gold": {"answer": None}}),
        ("no_tool", {"gold": {"answer": " , "}}),
        ("no_tool", {"metadata": {"data_source": "when/bogus"}}),
        ("no_tool", {"metadata": {"data_source": "train/x"}}),
    ],
)
def test_what_is_no_twin_is_refused_before_it_is_played(twins, situation, changed) -> None:
    sample = twins[situation]
    gold = replace(sample.gold, **changed.get("gold", {}))
    other = replace(sample, gold=gold, metadata={**sample.metadata, **changed.get("metadata", {})})
    with pytest.raises(UsageError, match=re.escape(repr(sample.id))):
        decision_task("x", lambda: [sample, other]).load()


@pytest.mark.parametrize("line", ["", "null", "[]", "1", '""', '[{"data_source": "when/no_tool"}]'])
def test_a_file_whose_first_row_is_no_record_is_refused_by_a_sentence(tmp_path, line) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(f"{line}\n")
    with pytest.raises(UsageError):
        file_task(path).load()


def test_half_an_answer_is_half_of_the_acts(twins) -> None:
    first, _ = twins["no_tool"].gold.answer.split(", ")
    assert score(twins["no_tool"], episode(final=f"Answer: {first}, wrong")).scores["decision_f1"] == 0.5


def test_an_episode_in_which_the_model_never_spoke_decided_nothing(twins) -> None:
    silent = replace(episode(), turns=0, messages=(), outcome="model_error")
    assert score(twins["tool_gone"], silent).scores["decision_accuracy"] == 0.0


# --- over episodes -----------------------------------------------------------------------------------------------


def test_abstentions_are_pooled_over_the_twins_and_f1_is_that_of_precision_and_recall(tmp_path) -> None:
    made = {"abstention_precision": 1.0, "abstention_recall": 1.0}
    false = {"abstention_precision": 0.0, "abstention_recall": None}
    missed = {"abstention_precision": None, "abstention_recall": 0.0}
    neither = {"abstention_precision": None, "abstention_recall": None}
    rows = {"a": [made, made, missed], "b": [neither, false, neither]}
    tasks = {
        name: {
            f"s{place}": [{"decision_accuracy": 1.0, **one, "abstention_f1": None}] for place, one in enumerate(found)
        }
        for name, found in rows.items()
    }
    path = write_run(tmp_path / "run", tasks, headline="decision_accuracy", groups={"when": ["a", "b"]})
    metrics = RunDirectory.open(path).read_summary()["groups"]["when"]["metrics"]
    values = {name: metrics[f"abstention_{name}"]["value"] for name in ("precision", "recall", "f1")}
    assert values == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3})
    assert [metrics[f"abstention_{name}"]["n"] for name in ("precision", "recall", "f1")] == [3, 3, 6]


# --- rewards -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("situation", "final", "autotir", "acts"),
    [
        ("answerable", "Answer: {both}", -0.1, 0.0),
        ("no_tool", "{both}", 0.0, 0.0),
        ("no_tool", "Answer: nothing known", 0.1, 0.0),
        ("no_tool", "Answer: {both}", 1.0, 1.0),
        ("tool_gone", "Answer: {a}", 1.0, 1.0),
        ("tool_gone", "Answer: {both}", 0.1, 0.0),
    ],
)
def test_rewards_of_a_first_turn_in_words(twins, situation, final, autotir, acts) -> None:
    sample = twins[situation]
    played = episode(final=final.format(a=ABSTENTION, both=twins["no_tool"].gold.answer))
    verdict = score(sample, played)
    assert REWARDS["autotir"].episode(sample, played, verdict) == autotir
    assert REWARDS["decision_f1"].episode(sample, played, verdict) == acts


def test_a_malformed_call_is_a_fault_of_form(twins) -> None:
    sample = twins["answerable"]
    bad = CallRecord(0, ToolCall("id", "x", None, "{", "not JSON"), "malformed", "not JSON")
    played = episode(bad, final=f"Answer: {sample.gold.answer}")
    assert REWARDS["autotir"].episode(sample, played, score(sample, played)) == 0.0
