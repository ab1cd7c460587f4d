"""RoTBench's figures on the released rows, and that gold is right by the strict rule for every one of them.

The figures are those of the benchmark's and the paper's own scorers on the same data.
"""

import json
from collections import Counter

import pytest
from builders import SHARED, needs, says
from commands import harness, summary

from harness.types import Trajectory, Usage
from tasks.rotbench import load, score

DATA = SHARED / "data" / "rotbench"


def totals(level, answer):
    needs(DATA / "First_Turn" / f"{level}.json")
    found = Counter()
    for sample in load(DATA, level):
        turn = says(answer(sample))
        trajectory = Trajectory((*sample.messages, turn), (), 1, "ok", "no_tool_calls", Usage(), {})
        found.update(score(sample, trajectory).scores)
    return found


def gold(sample):
    return sample.gold.message


def swapped(sample):
    """The first gold with its values handed on to the next parameter."""
    before, _, after = gold(sample).partition("Action Input: ")
    parameters = json.loads(after)
    values = list(parameters.values())
    moved = dict(zip(parameters, values[1:] + values[:1], strict=True))
    return f"{before}Action Input: {json.dumps(moved)}"


@pytest.mark.parametrize(("level", "rows", "official"), [("clean", 105, 97), ("heavy", 210, 200)])
def test_gold(level, rows, official):
    found = totals(level, gold)
    for metric in ("ts", "pi", "cf"):
        assert found[metric] == found[f"paper_{metric}"] == rows
        assert found[f"official_{metric}"] == official


def test_swapped_values():
    found = totals("clean", swapped)
    assert (found["paper_cf"], found["official_cf"]) == (105, 58)
    assert (found["pi"], found["cf"]) == (105, 66)  # 58, and 8 rows whose input is empty


def test_text_behind_the_gold_is_nothing_to_both_and_no_matter_strictly():
    found = totals("clean", lambda sample: f"{gold(sample)}\nI hope this helps.")
    assert (found["cf"], found["paper_ts"], found["official_ts"]) == (105, 0, 0)


def test_the_oracle_through_the_command_line(tmp_path):
    needs(DATA / "First_Turn" / "clean.json")
    done = harness(
        "eval", "--model", "policy/oracle", "policy/silent", "--tasks", "rotbench_*", "--data", f"rotbench={DATA}",
        "--out", tmp_path / "run", "--quiet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [
        f"Skipped rotbench_{level}" for level in ("slight", "medium", "union")
    ]
    oracle, silent = (summary(tmp_path / "run" / f"policy-{name}") for name in ("oracle", "silent"))
    assert {name: (task["n"], task["metrics"]["cf"]["value"]) for name, task in oracle["tasks"].items()} == {
        "rotbench_clean": (105, 1.0),
        "rotbench_heavy": (210, 1.0),
    }
    assert oracle["groups"] == {}
    assert silent["tasks"]["rotbench_clean"]["metrics"]["official_ts"]["value"] == 0.0


def test_benchmarks_of_different_metrics_have_tables_of_their_own(tmp_path):
    needs(DATA / "First_Turn" / "clean.json")
    done = harness(
        "eval", "--model", "policy/oracle", "--tasks", "demo_multi_hop", "rotbench_clean", "--data", f"rotbench={DATA}",
        "--limit", "3", "--out", tmp_path / "run", "--quiet",
    )  # fmt: skip
    first, second, legend, *_ = done.stdout.split("\n\n")
    assert first.split()[:4] == ["model", "tasks", "n", "F1"] and "rotbench" not in first
    assert second.split()[:6] == ["model", "tasks", "n", "cf", "ts", "pi"] and "1.000 [" in second
    assert "official" in legend and "Solve-F1" in legend
