"""Tasks that somebody else wrote, with faults: one sentence each, and nothing lost in silence."""

import json

import pytest
from commands import harness, one_sentence
from documents import block, page

HEAD = """
from dataclasses import replace
from harness.registry import load_samples, select_tasks

def tasks(data):
    (demo,) = select_tasks(["demo_single_hop"], {})
    (samples,) = load_samples([demo]).values()
    return [replace(demo, name="own", group=None, %s)]
"""
FAULTS = {
    "load=lambda: samples[:1] * 2": "has 2 samples with the id",
    "load=lambda: []": "loads no samples",
    "load=lambda: [{}]": "must return harness.types.Sample objects",
    "score=lambda sample, trajectory: 1 / 0": "cannot score the episode of",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_sentence(fault, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(HEAD % fault)
    done = harness("eval", "--model", "policy/silent", "--tasks", path, "--out", tmp_path / "run", "--quiet")
    assert FAULTS[fault] in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode


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
