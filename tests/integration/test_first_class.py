"""Tasks with checks, a state, a score or an environment of their own: every command takes them by their path."""

import asyncio
import json

import pytest
from builders import ROOT, call, says, write_records

from envbuilder.audit import own_tasks
from harness import cli
from harness.errors import ModelFailure, UsageError
from harness.interop.inspect_files import to_record
from harness.interop.live import LiveRollout, state_of, untimed_limits
from harness.interop.serve import plan_episode
from harness.registry import load_samples, select_tasks
from harness.rollout import Episode
from harness.sandbox import Sandbox, SandboxConfig
from harness.types import Reply
from tasks.lmeval.documents import find_task, process_results
from tasks.lmeval.task_files import make_task_files

MOVE = 'def move(data, item, to):\n    data[item] = to\n    return f"{item} is in the {to}"\n'
ROW = {
    "id": "lamp",
    "messages": [{"role": "user", "content": "Put the lamp into the study."}],
    "tools": [{"name": "move", "parameters": {"type": "object", "properties": {"item": {}, "to": {}}}}],
    "codes": {"move": MOVE},
    "state": {"lamp": "hall"},
    "gold_calls": [{"name": "move", "arguments": {"item": "lamp", "to": "study"}}],
    "checks": [{"type": "state_eq"}],
}
OWN = """
from dataclasses import replace
from harness.environment import ToolEnvironment
from harness.types import Verdict
from tasks.demo import tasks as demo

class Mine(ToolEnvironment):
    pass

def score(sample, trajectory):
    nothing = (None,) * len(trajectory.calls)
    return Verdict(nothing, nothing, {"called": float(bool(trajectory.calls))})

def tasks(data):
    [task] = [task for task in demo(data) if task.name == "demo_single_hop"]
    return [
        replace(task, name=name, load=lambda: task.load()[:2], environment=Mine, score=score, headline="called")
        for name in ("mine", "other")
    ]
"""


@pytest.fixture(scope="module")
def rooms(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("rooms") / "rooms.jsonl", [ROW])


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    path = tmp_path_factory.mktemp("own") / "own.py"
    path.write_text(OWN)
    return path


@pytest.fixture
def run(capsys):
    def ran(*words):
        status = cli.main([str(word) for word in words])
        return status, capsys.readouterr()

    return ran


# --- validate ----------------------------------------------------------------------------------------------------


def test_its_oracle_and_its_floors_are_played(run, rooms):
    status, said = run("validate", rooms, "--quiet", "--json")
    (found,) = json.loads(said.out)["own_tasks"]
    assert status == 0 and (found["task"], found["metric"], found["solvable"]) == ("rooms", "success", 1)
    assert set(found["floors"]) == set(own_tasks.FLOOR_POLICIES) and found["floors"]["silent"] == 0.0


def test_gold_that_fails_and_a_floor_that_is_no_floor_fall_short(run, tmp_path):
    undone = {**ROW, "id": "undone", "checks": [{"type": "state_eq", "value": {"lamp": "attic"}}]}
    nothing = {**ROW, "id": "nothing", "gold_calls": []}
    none = {name: value for name, value in ROW.items() if name != "gold_calls"} | {"id": "none"}
    none["checks"] = undone["checks"]
    path = write_records(tmp_path / "poor.jsonl", [undone, nothing, none])
    status, said = run("validate", path, "--quiet")
    assert status == 1 and "undone: success 0, ok" in said.out and "none: it has no gold_calls" in said.out
    assert "Falls short: 1 of 3 samples of poor are solved by their gold" in said.out
    assert "Falls short: the silent policy gets success 0.333 in poor; at most 0 allowed." in said.out
    allowed = ("--min-solvable", "0.3", "--max-floor", *(f"{name}=0.4" for name in own_tasks.FLOOR_POLICIES))
    assert run("validate", path, "--quiet", *allowed)[0] == 0


def test_a_file_of_several_tasks_and_usual_environments_side_by_side(run, own):
    words = ("validate", own, "demo_single_hop", "--limit", "1", "--quiet", "--max-floor", "keyword=1", "shotgun=1")
    status, said = run(*words, "random=1", "echo=1", "--json")
    found = json.loads(said.out)
    assert status == 0 and [one["task"] for one in found["own_tasks"]] == ["mine", "other"]
    assert found["environments"] == 1


# --- served ------------------------------------------------------------------------------------------------------


def test_a_state_is_served_and_judged(rooms):
    [(task, sample, _)] = plan_episode(str(rooms), "lamp", {}, 5)

    async def played(*replies):
        with Sandbox(SandboxConfig(workers=1)) as jail, jail.episode(state_of(task, sample, jail)) as tools:
            live = LiveRollout(Episode(sample, limits=untimed_limits(5)), task.environment(sample), tools)
            for reply in replies:
                results = await live.play_turn(reply)
            return live.trajectory, results

    right = Reply(says("", call("move", {"item": "lamp", "to": "study"})))
    for reply, success in ((right, 1.0), (Reply(says("", call("move", {"item": "rug", "to": "attic"}))), 0.0)):
        trajectory, last = asyncio.run(played(reply, Reply(says("Answer: done"))))
        assert task.score(sample, trajectory).scores["success"] == success and last == []


def test_an_episode_that_is_left_is_judged_as_it_stands(rooms):
    [(task, sample, _)] = plan_episode(str(rooms), "lamp", {}, 5)
    with Sandbox(SandboxConfig(workers=1)) as jail, jail.episode(state_of(task, sample, jail)) as tools:
        live = LiveRollout(Episode(sample, limits=untimed_limits(5)), task.environment(sample), tools)
        live.end_with_failure(ModelFailure("gone", outcome="infrastructure_error", stop="ended"))
    assert live.trajectory.stop == "ended" and task.score(sample, live.trajectory).scores["success"] == 0.0


def test_an_environment_of_a_file_is_served(own, tmp_path):
    one = tmp_path / "one.py"
    one.write_text(OWN.replace('("mine", "other")', '("mine",)'))
    name = select_tasks([str(one)], {})[0].load()[0].id
    [(task, sample, _)] = plan_episode(str(one), name, {}, 5)
    assert (task.name, sample.id) == ("mine", name)


# --- exported ----------------------------------------------------------------------------------------------------


def test_rows_with_checks_are_exported_whole(run, rooms, tmp_path):
    status, said = run("export", "inspect", rooms, "--out", tmp_path / "out")
    assert status == 0 and "1 environments" in said.out
    [first], [again] = (
        load_samples(select_tasks([str(path)], {})).values()
        for path in (rooms, tmp_path / "out" / "environments.jsonl")
    )
    assert first == again and to_record(first[0])["checks"] == ROW["checks"]


def test_a_task_of_a_file_is_exported_by_its_path(run, own, tmp_path):
    assert "means 2 tasks" in run("export", "inspect", own, "--out", tmp_path / "two")[1].err
    one = tmp_path / "one.py"
    one.write_text(OWN.replace('("mine", "other")', '("mine",)'))
    assert run("export", "inspect", one, "--out", tmp_path / "out")[0] == 0
    assert f"DATA = '{one}::mine'" in (tmp_path / "out" / "task.py").read_text()
    assert not (tmp_path / "out" / "environments.jsonl").exists()


def test_lm_eval_finds_them_by_a_path(rooms, own):
    found = make_task_files({}, [str(rooms), str(own)])
    assert sorted(found) == ["mine.yaml", "other.yaml", "rooms.yaml"]
    assert f"{own}::other" in found["other.yaml"] and '"called"' in found["other.yaml"]
    task, samples = find_task(f"{rooms}::rooms", "{}")
    document = {"task": f"{rooms}::rooms", "sample": "lamp", "data": "{}", "format": "react", "thinking": False}
    said = 'Action: move\nAction Input: {"item": "lamp", "to": "study"}'
    assert task.name == "rooms" and list(samples) == ["lamp"]
    with pytest.raises(UsageError, match="conversation of several turns"):
        process_results(document, [said])


def test_only_what_is_named_is_written(run, tmp_path):
    status, said = run(
        "lm-eval-path", "demo_single_hop", ROOT / "examples" / "ticket_office.py", "--out", tmp_path / "x"
    )
    assert status == 0 and said.out.strip() == str(tmp_path / "x")
    assert sorted(path.name for path in (tmp_path / "x").iterdir()) == ["demo_single_hop.yaml", "ticket_office.yaml"]
    (tmp_path / "x" / "demo_single_hop.yaml").write_text("mine: true")
    status, said = run("lm-eval-path", "demo_single_hop", "--out", tmp_path / "x")
    assert status == 2 and "demo_single_hop.yaml holds something else" in said.err
    assert (tmp_path / "x" / "demo_single_hop.yaml").read_text() == "mine: true"
