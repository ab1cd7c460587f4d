"""Efficiency and necessity: which calls of an episode were needed, by leaving each out."""

from dataclasses import replace
from functools import partial

import pytest
from builders import call, record, sample, tool, write_records
from commands import harness, summary

from harness.data.records import sample_from_record
from harness.environment import make_call_record
from harness.evaluation.economy import Economy, measure_necessity
from harness.evaluation.rescore import score_anew
from harness.runs.directory import RunDirectory
from harness.sandbox import Sandbox
from harness.task import environment_task
from harness.types import ToolResult, Trajectory, Usage, Verdict

COUNTS = '''
def count(state, word):
    """Tells the secret once it was asked twice."""
    state["asked"] = state.get("asked", 0) + 1
    return "Turku" if state["asked"] > 1 else "ask again"
'''


@pytest.fixture(scope="module")
def economy():
    with Sandbox() as sandbox:
        yield Economy(sandbox)


def played(the_sample, *made):
    """An episode with calls (name, arguments, output or fault), one a turn, and an answer that is right."""
    calls = tuple(
        make_call_record(
            turn, call(name, arguments), output if isinstance(output, ToolResult) else ToolResult("ok", output)
        )
        for turn, (name, arguments, output) in enumerate(made)
    )
    return Trajectory((), calls, len(calls), "ok", "no_tool_calls", Usage(), {})


def scores(economy, the_sample, *made, right=1.0, state=None):
    trajectory = played(the_sample, *made)
    task = replace(environment_task("t", lambda: [the_sample]), state=state)
    solves = tuple(0 if "Turku" in c.output or "45210" in c.output else None for c in trajectory.calls)
    return economy(task, the_sample, trajectory, Verdict(solves, solves, {"answer_accuracy": right}))


ASKED = ("population", {"town": "Corrie"}, '{"inhabitants": 45210}')
OTHER = ("population", {"town": "Brill"}, '{"inhabitants": 998}')
TORN = ("population", None, ToolResult("malformed", "no JSON"))
FAULT = ("population", {"town": "Corrie"}, ToolResult("raised", "HTTP 500", "500"))


@pytest.mark.parametrize(
    ("made", "efficiency", "necessity"),
    [
        ((ASKED,), 1.0, 1.0),
        ((OTHER, ASKED, TORN, FAULT), 0.25, 0.25),
        ((ASKED, ASKED), 1.0, 0.0),  # either would do; the verdict of this test gives both their due
        ((), None, None),
    ],
)
def test_what_a_call_found_is_lost_without_it(economy, made, efficiency, necessity):
    assert scores(economy, sample(), *made) == {"efficiency": efficiency, "necessity": necessity}
    assert scores(economy, sample(), *made, right=0.0) == {"efficiency": None, "necessity": necessity}


def test_what_a_call_left_behind_is_gone_with_it(economy):
    """The tool remembers, so that a call which itself finds nothing is needed by the next."""
    fields = record(
        tools=[tool("count", {"word": {"type": "string"}}, ["word"])],
        codes={"count": COUNTS},
        unsolved_set={"count": ["Turku"]},
        gold_calls=...,
    )
    one = sample_from_record(fields, 0, "here")
    made = ("count", {"word": "a"}, "ask again"), ("count", {"word": "b"}, "Turku")
    counted = partial(scores, economy, one, state=lambda _: "{}")
    assert counted(*made)["necessity"] == 1.0
    assert counted(*made, ("count", {"word": "c"}, "Turku"))["necessity"] == 0.0


def test_a_sample_without_sub_answers_has_neither(economy):
    assert scores(economy, sample(unsolved_set={}, gold_calls=...)) == {}
    assert measure_necessity((), sample(), list) is None


def test_they_are_columns_once_a_run_was_scored_for_them(tmp_path):
    task = write_records(tmp_path / "towns.jsonl", [record()])
    run = tmp_path / "run"
    assert harness("eval", "--model", "policy/oracle", "--tasks", task, "--out", run).returncode == 0
    before = (run / "summary.json").read_bytes()
    said = harness("rescore", run, "--economy").stdout
    assert said.splitlines()[3].split()[-3:] == ["1.000", "1.000", "0"]
    assert all("necessity: of an episode's calls" in text for text in (said, harness("table", run).stdout))
    metrics = summary(run)["tasks"]["towns"]["metrics"]
    assert metrics["efficiency"]["value"] == metrics["necessity"]["value"] == 1.0
    score_anew(RunDirectory.open(run))
    assert (run / "summary.json").read_bytes() == before
