"""RoTBench's three rules on rows written here, and data that is not what it should be."""

import json

import pytest

from harness.errors import MissingData, UsageError
from harness.models import ModelOptions
from harness.models.policies import load as load_policy
from harness.rollout import Episode, play_episode
from harness.types import Message, Trajectory, Usage
from tasks.rotbench import load, official, paper, score, strict, tasks

TOOLS = ["find_book", "find_song", "ask_to_user", "finish"]
GOLD = {"title": "Emma", "year": "1815", "shelf": "None"}


def prompt(names=TOOLS):
    listed = [{"name": name, "description": "", "parameters": {"type": "object", "properties": {}}} for name in names]
    return f"Use the tools:\n{json.dumps(listed)}\n\nLet's Begin!"


def said(name="find_book", parameters=None, after=""):
    return f"Thought: so\nAction: {name}\nAction Input: {json.dumps(GOLD if parameters is None else parameters)}{after}"


def row(golds, names=TOOLS, **changes):
    turns = [("system", prompt(names)), ("user", "Where is Emma?\nBegin!\n"), ("assistant", golds)]
    conversations = [{"from": role, "value": value} for role, value in turns]
    return {"id": "Where is Emma?", "scenario": "IR", "conversations": conversations, **changes}


def write(folder, *rows, level="clean"):
    (folder / "First_Turn").mkdir(parents=True, exist_ok=True)
    (folder / "First_Turn" / f"{level}.json").write_text(json.dumps(list(rows)), encoding="utf-8")
    return folder


def rules(text, golds=None, names=TOOLS):
    """The marks of one answer: strict, paper, official, as the number of metrics it has right."""
    golds = golds or [said()]
    return sum(strict(text, golds, names)), sum(paper(text, golds)), sum(official(text, golds, names))


@pytest.mark.parametrize(
    ("text", "marks"),
    [
        (said(), (3, 3, 3)),
        (said("find_song"), (0, 0, 0)),
        (said(parameters={"title": "Emma", "year": "1815"}), (1, 1, 1)),
        (said(parameters={**GOLD, "year": "1816"}), (2, 2, 2)),
        (said(parameters={**GOLD, "year": 1815}), (2, 2, 2)),
        (said(parameters={**GOLD, "shelf": "3"}), (3, 2, 3)),  # what the gold leaves open
        (said(parameters={"title": "1815", "year": "Emma", "shelf": "None"}), (2, 3, 2)),  # values of other parameters
        (said(after="\nObservation: 3"), (3, 0, 0)),  # text behind the JSON
        (f"<think>{said('find_song')}</think>\n{said()}", (3, 0, 0)),  # an action inside of reasoning
        (f"{said('find_song')}\n{said()}", (3, 0, 0)),  # the last action counts, or the first
        (f"<think>{said()}", (0, 3, 3)),  # nothing was said
        (said().replace("Action: ", "Action:"), (3, 0, 0)),
        (said().replace("Action Input: ", "Action Input:"), (3, 0, 3)),
        (said(parameters=["Emma"]), (0, 0, 1)),
        (said(parameters={**GOLD, "year": ["1815"]}), (2, 2, 2)),
        ("Action: find_book", (0, 0, 0)),
        ("I do not know.", (0, 0, 0)),
        ("", (0, 0, 0)),
    ],
)
def test_the_three_rules(text, marks):
    assert rules(text) == marks


def test_an_empty_input_is_an_input_but_officially(name="find_book"):
    gold = said(parameters={})
    assert rules(gold, [gold]) == (3, 3, 0)


def test_any_of_the_golds_counts():
    golds = [said("find_song", {"name": "x"}), said()]
    assert rules(said(), golds) == (3, 3, 3)
    assert rules(said("find_song", {"name": "x"}), golds) == (3, 3, 3)
    assert rules(said("find_song"), golds) == (1, 1, 1)


def test_a_value_that_cannot_be_counted_ends_the_papers_comparison():
    listed = said(parameters={**GOLD, "year": ["1815"]})
    assert rules(listed, [listed]) == (3, 2, 3)


def test_questions_and_final_answers_are_free_text():
    gold = said("ask_to_user", {"question": "Which Emma?"})
    assert rules(said("ask_to_user", {"question": "By whom?"}), [gold]) == (3, 2, 3)


def test_finish_means_the_tool_that_finishes():
    names = ["find_book", "find_song", "yxz", "abc"]
    gold = said("abc", {"answer": "It is on shelf 3"})
    assert rules(said("finish", {"answer": "Shelf 3"}), [gold], names) == (3, 0, 3)
    assert rules(said("finish"), [said()], names) == (0, 0, 0)


def test_strictly_a_tool_is_known_by_its_place_when_names_are_exchanged():
    names = ["finish", "find_song", "find_book", "ask_to_user"]
    gold = said("finish")  # the noise gave the finding tool this name
    wrong = said("finish", {**GOLD, "title": "Persuasion"})
    assert rules(wrong, [gold], names) == (2, 2, 3)
    ends = said("ask_to_user", {"answer": "Shelf 3"})
    assert rules(said("finish", {"answer": "Shelf 3"}), [ends], names) == (0, 0, 3)


def test_the_oracle_says_the_first_gold(tmp_path):
    golds = [said(), said("find_song", {"name": "Emma"})]
    [sample] = load(write(tmp_path, row(golds)), "clean")
    task = tasks({"rotbench": tmp_path})[0]
    trajectory = play_episode(Episode(sample), task.environment(sample), load_policy("oracle", ModelOptions()), None)
    assert trajectory.messages[-1].content == golds[0]
    assert (trajectory.outcome, trajectory.turns) == ("ok", 1)
    scores = task.score(sample, trajectory).scores
    assert [scores[name] for name in ("ts", "pi", "cf", "paper_cf", "official_cf")] == [1.0] * 5


def test_an_episode_without_an_answer_scores_nothing(tmp_path):
    [sample] = load(write(tmp_path, row([said()])), "clean")
    lost = Trajectory(sample.messages, (), 0, "infrastructure_error", "http_500", Usage(), {})
    assert score(sample, lost).scores["official_ts"] == 0.0


def test_an_action_that_the_readers_took_for_a_call_is_still_text(tmp_path):
    from builders import call

    [sample] = load(write(tmp_path, row([said()])), "clean")
    turn = Message("assistant", "", tool_calls=(call("find_book", GOLD),), raw=said())
    read = Trajectory((*sample.messages, turn), (), 1, "ok", "done", Usage(), {})
    assert score(sample, read).scores["cf"] == 1.0


def test_rows_of_one_question_are_one_cluster(tmp_path):
    samples = load(write(tmp_path, row([said()]), row([said()])), "clean")
    assert [sample.id for sample in samples] == ["clean-0", "clean-1"]
    assert {sample.metadata["world"] for sample in samples} == {"Where is Emma?"}
    assert [message.role for message in samples[0].messages] == ["system", "user"]


def test_other_golds_make_another_task(tmp_path):
    from harness.data.records import fingerprint

    one = fingerprint(load(write(tmp_path / "a", row([said()])), "clean"))
    two = fingerprint(load(write(tmp_path / "b", row([said(), said("find_song")])), "clean"))
    assert one != two


@pytest.mark.parametrize(
    "broken",
    [
        [],
        {"rows": []},
        ["row"],
        [{"id": "x"}],
        [row([])],
        [row([7])],
        [row("Action: x")],
        [row([said()], names=["only"])],
        [row([said()], conversations=[{"from": "user", "value": "x"}])],
    ],
)
def test_broken_data_is_one_sentence(tmp_path, broken):
    (tmp_path / "First_Turn").mkdir()
    (tmp_path / "First_Turn" / "clean.json").write_text(json.dumps(broken), encoding="utf-8")
    with pytest.raises(UsageError, match=r"clean\.json"):
        load(tmp_path, "clean")


def test_what_is_no_json_is_one_sentence(tmp_path):
    write(tmp_path)
    (tmp_path / "First_Turn" / "clean.json").write_bytes(b"\xff[")
    with pytest.raises(UsageError, match="cannot be read as JSON"):
        load(tmp_path, "clean")


def test_missing_data_names_the_set_and_the_path(tmp_path):
    with pytest.raises(MissingData, match=r"Junjie-Ye/RoTBench.*--data rotbench=FOLDER"):
        tasks({})[0].load()
    with pytest.raises(MissingData, match=rf"Junjie-Ye/RoTBench.*{tmp_path}/First_Turn/heavy\.json"):
        load(write(tmp_path, row([said()])), "heavy")
