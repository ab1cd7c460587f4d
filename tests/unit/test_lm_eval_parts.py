"""What lies between lm-eval and the harness and needs neither: continuations, first turns, files."""

import json

import pytest
from builders import call, record, says, write_records
from hypothesis import given
from hypothesis import strategies as st

from harness.environment import ToolEnvironment
from harness.errors import UsageError
from harness.registry import all_tasks, select_tasks
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox
from harness.types import Message, Reply, Trajectory, Usage
from tasks.lmeval import code
from tasks.lmeval.benchmarks import BENCHMARKS
from tasks.lmeval.replies import continuation, read_chat, stop_strings, write_chat
from tasks.lmeval.task_files import make_task_files


def spoken(text):
    return Trajectory((Message("user", "?"), says(text)), (), 1, "ok", "no_tool_calls", Usage(), {})


@pytest.mark.parametrize(
    ("text", "until", "begun", "expected"),
    [
        ("7\nQ: what?", ["Q:", "</s>"], False, "7\n"),
        ("7</s>Q:", ["Q:", "</s>"], False, "7"),
        ("7", [], False, "7"),
        ("7", [""], False, "7"),
        ("<think>8</think>7", ["8"], False, "7"),
        ("Here:\n```python\ndef f():\n    pass\n```\nBye", ["\ndef"], True, "\ndef f():\n    pass\n```\nBye"),
        ("Here:\n```python\ndef f():", ["\ndef"], False, "Here:\n```python"),
        ("    return 1\ndef g():", ["\ndef"], True, "    return 1"),  # no block: as a network goes on
        ("", ["Q:"], True, ""),
    ],
)
def test_a_reply_as_a_continuation(text, until, begun, expected):
    assert continuation(spoken(text), until, begun) == expected


def test_an_episode_without_a_reply_says_nothing():
    silent = Trajectory((Message("user", "?"),), (), 1, "model_error", "http_400", Usage(), {})
    assert continuation(silent, [], False) == ""


@given(st.lists(st.tuples(st.sampled_from(["system", "user", "assistant"]), st.text()), min_size=1))
def test_prompts_survive_as_text(turns):
    messages, begun = read_chat(write_chat([{"role": role, "content": content} for role, content in turns]))
    expected = [Message(role, content) for role, content in turns]
    assert begun == (expected[-1].role == "assistant")
    assert list(messages) == expected[: len(expected) - begun]


@pytest.mark.parametrize("prompt", ["Question: 5", "5", '{"role": "user"}', "[]", "[1]", "null", '"text"'])
def test_a_prompt_in_words_is_one_message(prompt):
    assert read_chat(prompt) == ((Message("user", prompt),), False)


def test_stop_strings_come_in_two_shapes():
    assert stop_strings({"until": "Q:"}) == ["Q:"]
    assert stop_strings({"until": ["Q:", "</s>"]}) == ["Q:", "</s>"]
    assert stop_strings({}) == stop_strings(None) == []


# --- first turns -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", select_tasks(["step_*"], {}), ids=lambda task: task.name)
def test_the_gold_of_a_first_turn_scores_one(task):
    wholes = {sample.id: sample for sample in all_tasks({})[task.name.removeprefix("step_")].load()}
    with Sandbox() as sandbox:
        for sample in task.load()[::10]:
            whole = wholes[sample.id]
            free = [i for i, q in enumerate(whole.metadata["sub_questions"]) if not q["depends_on"]]
            made = [call(c.name, c.arguments, n) for n, c in enumerate(whole.gold.calls) if c.solves in free]
            with sandbox.episode() as tools:
                episode = Episode(sample, task=task.name)
                played = play_episode(
                    episode, task.environment(sample), lambda _, made=made: Reply(says("", *made)), tools
                )
            scores = task.score(sample, played).scores
            assert (played.turns, played.outcome, scores["solve_f1"], scores["solve_rate"]) == (1, "ok", 1.0, 1.0)
            assert "answer_accuracy" not in scores
            assert (sample.gold.calls is None) == (len(made) > 1)


def test_a_first_turn_is_a_task_of_its_own():
    whole, first = all_tasks({})["micro_multi_hop"].load()[0], all_tasks({})["step_micro_multi_hop"].load()[0]
    assert len(whole.gold.sub_answers) > len(first.gold.sub_answers) == 1
    assert isinstance(all_tasks({})["micro_multi_hop"].environment(whole), ToolEnvironment)
    assert first.metadata["digest"]


# --- files for lm-eval -------------------------------------------------------------------------------------------


def test_every_task_that_lm_eval_can_run_has_a_file_by_its_name():
    ours = all_tasks({})
    found = {name.removesuffix(".yaml") for name in make_task_files({}) if not name.endswith(".group.yaml")}
    theirs = {benchmark.name for benchmark in BENCHMARKS.values()}
    with_others = {name for name, task in ours.items() if task.scripted_user or task.state}
    assert found == set(ours) - theirs - with_others
    assert {"micro_single_hop", "step_micro_single_hop", "paper_multi_hop"} <= found


def test_data_paths_are_in_the_files_and_metrics_follow_the_data(tmp_path):
    without = make_task_files({})["paper_single_hop.yaml"]
    assert '"data": {}' in without and without.count('"metric"') == 1
    path = write_records(tmp_path / "test.jsonl", [record(data_source="self/single_hop")])
    found = make_task_files({"paper": path})
    assert json.dumps({"paper": str(path.resolve())}) in found["paper_single_hop.yaml"]
    assert found["paper_single_hop.yaml"].count('"metric"') > 5
    assert found["paper_multi_hop.yaml"].count('"metric"') == 1


def test_code_needs_leave(monkeypatch):
    monkeypatch.setenv(code.ALLOWED, "1")
    code.check_code_allowed("general_mbpp")
    for value in ("", "0", "yes"):
        monkeypatch.setenv(code.ALLOWED, value)
        with pytest.raises(UsageError, match="HF_ALLOW_CODE_EVAL=1"):
            code.check_code_allowed("general_mbpp")
