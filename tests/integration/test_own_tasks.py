"""Tasks that somebody else wrote, with faults: one sentence each, and nothing lost in silence."""

import json

import pytest
from commands import harness, one_sentence

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
    "score=scored((None, 0), solve_f1=1)": "solves has 2 places for 0 calls",
    "score=scored(solve_f1=float('nan'))": "the metric solve_f1 is nan, neither a finite number nor None",
    "score=scored(solve_f1='yes')": "the metric solve_f1 is 'yes', neither a finite number nor None",
    "score=scored(f1=1)": "the headline metric solve_f1 is not among its metrics (f1)",
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
        done = harness(*command, "--trust-code")
        assert done.returncode == 0, done.stderr


def test_a_run_goes_on_with_the_code_that_began_it_only(tmp_path):
    path, out = tmp_path / "own.py", tmp_path / "run"
    path.write_text(HEAD % "description=''")
    words = ("eval", "--model", "policy/silent", "--tasks", path, "--out", out, "--quiet")
    assert harness(*words).returncode == 0
    assert harness(*words, "--resume").returncode == 0
    path.write_text(HEAD % OWN)
    assert "code" in one_sentence(harness(*words, "--resume"))
    assert "when it was played" in one_sentence(harness("rescore", out))
    assert harness("rescore", out, "--trust-code").returncode == 0


def test_a_file_without_the_function(tmp_path):
    path = tmp_path / "own.py"
    path.write_text("x = 1")
    done = harness("eval", "--model", "policy/silent", "--tasks", path, "--out", tmp_path / "run")
    assert "has no function tasks(data)" in one_sentence(done)


@pytest.fixture
def broken_package(tmp_path):
    """A site of installed packages, of which one offers a task and a command that cannot be imported."""
    info = tmp_path / "site" / "elsewhere-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: elsewhere\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[harness.tasks]\nfar = elsewhere:t\n[harness.commands]\nfar = elsewhere\n")
    return {"PYTHONPATH": str(tmp_path / "site")}


def test_a_broken_package_of_somebody_elses_is_left_out_aloud(broken_package):
    done = harness("list", "demo_*", **broken_package)
    assert done.returncode == 0 and "demo_single_hop" in done.stdout
    assert done.stderr.splitlines() == [
        "Left out: The package elsewhere offers 'far' but cannot be imported: No module named 'elsewhere'."
    ]
    done = harness("--help", **broken_package)
    assert done.returncode == 0 and "eval" in done.stdout
    assert "The package elsewhere offers 'far' but cannot be imported" in one_sentence(harness("far", **broken_package))
