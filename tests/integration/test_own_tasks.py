"""Tasks that somebody else wrote, with faults: one sentence each, and nothing lost in silence."""

import json

import pytest
from commands import harness, one_sentence
from documents import block, page

HEAD = """
from dataclasses import replace
from harness.environment import ToolEnvironment
from harness.registry import load_samples, select_tasks
from harness.types import Verdict

def tasks(data):
    (demo,) = select_tasks(["demo_single_hop"], {})
    (samples,) = load_samples([demo]).values()
    return [replace(demo, name="own", group=None, %s)]

class Raises(ToolEnvironment):
    def step(self, message, turn):
        yield from ()
        raise KeyError("till")

class Forgets(ToolEnvironment):
    def step(self, message, turn):
        yield from ()

def scored(verdict=(), **scores):
    return lambda sample, trajectory: Verdict(verdict, (), scores)
"""
FAULTS = {
    "load=lambda: samples[:1] * 2": "has 2 samples with the id",
    "load=lambda: []": "loads no samples",
    "load=lambda: [{}]": "must return harness.types.Sample objects",
    "score=lambda sample, trajectory: 1 / 0": "ZeroDivisionError: division by zero (own.py:",
    "environment=Raises": "KeyError: 'till' (own.py:",
    "environment=Forgets": "its step returned NoneType, not a Step",
    "score=lambda sample, trajectory: {'f1': 1}": "its score returned dict, not a Verdict",
    "score=scored((None, 0), f1=1)": "solves has 2 places for 0 calls",
    "score=scored(f1=float('nan'))": "the metric f1 is nan, neither a finite number nor None",
    "score=scored(f1='yes')": "the metric f1 is 'yes', neither a finite number nor None",
}
OWN = "score=scored(reward=5, passed=.5, **{'pass@best': .25}), headline='reward', success=('reward',)"


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(fault, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(HEAD % fault)
    done = harness("eval", "--model", "policy/silent", "--tasks", path, "--out", tmp_path / "run", "--quiet")
    assert FAULTS[fault] in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode


def test_metrics_of_any_name_and_size_are_shown_counted_and_scored_anew(tmp_path):
    path, out = tmp_path / "own.py", tmp_path / "run"
    path.write_text(HEAD % OWN)
    done = harness("eval", "--model", "policy/silent", "--tasks", path, "--out", out, "--quiet")
    assert done.returncode == 0, done.stderr
    header, _, row = done.stdout.splitlines()[:3]
    assert [header.split().index(name) for name in ("reward", "passed", "pass@best", "calls")] == [3, 4, 5, 6]
    assert row.split()[3:] == ["5.000", "0.500", "0.250", "0.0", "0"]
    sample = json.loads((out / "samples.jsonl").read_text().splitlines()[0])["sample"]
    for command in (("show", out, sample), ("rescore", out), ("report", out, "--out", tmp_path / "report.html")):
        done = harness(*command)
        assert done.returncode == 0, done.stderr


def test_a_file_without_the_function(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("x = 1")
    done = harness("eval", "--model", "policy/silent", "--tasks", path, "--out", tmp_path / "run")
    assert "has no function tasks(data)" in one_sentence(done)


def test_validate_is_for_environments_with_sub_answers(tmp_path):
    path = tmp_path / "lamp.jsonl"
    path.write_text(json.dumps(json.loads(block(page("docs/benchmarks.md"), "checks"))))
    assert "is for environments with sub-answers, and lamp is told by success" in one_sentence(
        harness("validate", path)
    )
