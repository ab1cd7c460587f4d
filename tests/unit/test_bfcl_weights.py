"""Tasks that count differently in the mean of their group, as BFCL's do."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.runs.summary import summarise_run
from harness.stats import estimate_mean

VALUES = st.lists(st.floats(0, 1), min_size=2, max_size=6)


def strata(lists):
    return [[(f"{place}-{index}", value) for index, value in enumerate(values)] for place, values in enumerate(lists)]


@settings(deadline=None)
@given(st.lists(VALUES, min_size=1, max_size=4), st.floats(0.1, 10))
def test_equal_weights_are_no_weights(lists, weight):
    plain, weighted = estimate_mean(strata(lists)), estimate_mean(strata(lists), weights=[weight] * len(lists))
    assert weighted.value == pytest.approx(plain.value)
    assert weighted.stderr == (None if plain.stderr is None else pytest.approx(plain.stderr))


def test_a_weight_is_a_share():
    found = estimate_mean(strata([[0, 1], [1, 1, 0, 0], [0, 0]]), weights=[1, 3, 0])
    assert found.value == pytest.approx(0.5)
    # each mean's own variance (sum of squares over n, times G / (G - 1)), by the square of its share
    assert found.stderr**2 == pytest.approx((1 / 16) * (2 * 2 * 0.25 / 4) + (9 / 16) * (4 / 3 * 4 * 0.25 / 16))


@settings(deadline=None)
@given(VALUES)
def test_what_weighs_nothing_changes_nothing(values):
    one, both = estimate_mean(strata([[0, 1]])), estimate_mean(strata([[0, 1], values]), weights=[2, 0])
    assert both.value == one.value and both.stderr == pytest.approx(one.stderr)


def record(task, sample, value):
    return {
        "key": f"{task}/{sample}", "task": task, "sample": sample, "epoch": 0, "outcome": "ok", "stop": "no_tool_calls",
        "error": None, "messages": [], "calls": [], "usage": {}, "scores": {"official_accuracy": value},
    }  # fmt: skip


def test_a_groups_mean_goes_by_the_manifest():
    def entry(**weight):
        return {"headline": "official_accuracy", "success": [], "clusters": {"0": "0", "1": "1"}, **weight}

    manifest = {
        "identity": {"model": "m", "reasoning": "default", "verifier": 1, "epochs": 1},
        "tasks": {"a": entry(weight=3.0), "b": entry()},
        "groups": {"both": ["a", "b"]},
        "sandbox": {},
    }
    records = [record("a", "0", 1.0), record("a", "1", 1.0), record("b", "0", 0.0), record("b", "1", 0.0)]
    found = summarise_run(manifest, records)
    assert found["groups"]["both"]["metrics"]["official_accuracy"]["value"] == 0.75
    assert found["tasks"]["b"]["metrics"]["official_accuracy"]["value"] == 0.0
