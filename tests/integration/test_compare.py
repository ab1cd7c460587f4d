"""`harness compare`: what is paired, what is said of it, and what is refused."""

import argparse
import json

import pytest
from result_runs import group, one_task, solved, write_run

from harness.errors import UsageError
from harness.runs.averages import compare_results
from harness.runs.directory import RunDirectory
from results.commands import compare

LOW = ((0.2, 0.4, 0.3), (0.4, 0.5, 0.6), (0.3, 0.2, 0.4), (0.6, 0.5, 0.7))
HIGH = ((0.4, 0.4, 0.6), (0.5, 0.8, 0.6), (0.5, 0.3, 0.4), (0.5, 0.5, 0.6))


@pytest.fixture
def compared(capsys):
    """What the command prints for these words."""

    def run(*words):
        parser = argparse.ArgumentParser()
        compare.configure(parser)
        assert compare.run(parser.parse_args([str(word) for word in words])) == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def as_json(compared):
    return lambda *words: json.loads(compared(*words, "--format", "json"))["comparisons"]


def refusal(compared, *words):
    """The one sentence of a refusal."""
    with pytest.raises(UsageError) as error:
        compared(*words)
    assert "\n" not in str(error.value)
    return str(error.value)


def two(tmp_path, a, b, **about):
    return [write_run(tmp_path / name, tasks, model=f"m/{name}", **about) for name, tasks in (("a", a), ("b", b))]


def answers(values):
    return one_task([float(value) for value in values], "answer_accuracy")


# --- what changed ------------------------------------------------------------------------------------------------


def test_a_group_is_weighed_as_its_table_weighs_it(tmp_path, as_json):
    tasks = {"t": {"x": [{"solve_f1": 0.0}], "y": [{"solve_f1": 0.2}]}, "u": {"x": [{"solve_f1": 0.5}]}}
    after = {"t": {"x": [{"solve_f1": 0.4}], "y": [{"solve_f1": 0.4}]}, "u": {"x": [{"solve_f1": 0.1}]}}
    a, b = two(tmp_path, tasks, after, groups={"both": ["t", "u"]}, weights={"t": 3.0})
    (change,) = as_json(a, b)[0]["changes"]
    table = [RunDirectory.open(run).read_summary()["groups"]["both"]["metrics"]["solve_f1"]["value"] for run in (a, b)]
    assert [change["base"], change["run"]] == pytest.approx(table) == [0.2, 0.325]
    assert change["difference"]["value"] == pytest.approx(0.125)


@pytest.mark.parametrize("weights", [{}, {"micro_single_hop": 3.0, "micro_multi_hop": 0.5}])
def test_the_difference_is_the_one_that_eval_prints(tmp_path, as_json, weights):
    a, b = two(tmp_path, solved("micro", LOW), solved("micro", HIGH), groups=group("micro"), weights=weights)
    change = as_json(a, b)[0]["changes"][0]
    runs = [RunDirectory.open(run) for run in (a, b)]
    theirs = compare_results(runs[0].manifest, *(run.read_results() for run in runs), "solve_f1").to_json()
    assert (change["tasks"], change["metric"]) == ("micro", "solve_f1")
    for name, value in theirs.items():
        assert change["difference"][name] == pytest.approx(value), name
    assert change["run"] - change["base"] == pytest.approx(theirs["value"])


@pytest.mark.parametrize("metric", ["own", "calls"])
def test_the_interval_of_values_that_leave_0_to_1_is_not_cut(tmp_path, as_json, metric):
    a, b = two(tmp_path, one_task([0.0, 1.0, 2.0], metric), one_task([4.0, 4.0, 5.0], metric), headline=metric)
    (change,) = as_json(a, b)[0]["changes"]
    low, high = change["difference"]["ci95"]
    assert low == pytest.approx(1.899, abs=1e-3) and high == pytest.approx(4.768, abs=1e-3)


def test_the_table_has_groups_and_on_request_tasks(tmp_path, compared):
    a, b = two(tmp_path, solved("micro", LOW), solved("micro", HIGH), groups=group("micro"))
    assert "micro_multi_hop  " not in compared(a, b)
    said = compared(a, b, "--by-task", "--metric", "solve_f1")
    (row,) = [line.split() for line in said.splitlines() if line.startswith("micro_multi_hop ")]
    assert row[1:5] == ["solve_f1", "0.300", "0.400", "+0.100"]
    assert row[-1] == "3"


def test_holm_is_over_the_metrics_shown(tmp_path, as_json):
    a, b = two(tmp_path, solved("micro", LOW), solved("micro", HIGH), groups=group("micro"))
    (alone,) = as_json(a, b, "--metric", "solve_f1")[0]["changes"]
    assert alone["p_holm"] == alone["p"] > 0.01
    three = as_json(a, b, "--metric", "solve_*")[0]["changes"]
    assert [change["p_holm"] for change in three] == pytest.approx([min(1.0, 3 * alone["p"])] * 3)


def test_a_task_that_went_the_other_way_is_told(tmp_path, compared, as_json):
    a, b = two(tmp_path, solved("micro", LOW), solved("micro", HIGH), groups=group("micro"))
    (one,) = as_json(a, b, "--metric", "solve_f1")[0]["contrary"]
    assert one["task"] == "micro_parallel_multi_hop"
    assert one["difference"]["value"] == pytest.approx(-0.2 / 3)
    assert "Other sign than its group: solve_f1 in micro_parallel_multi_hop, B - A -0.067" in compared(a, b)


def test_a_metric_that_an_episode_lacks_leaves_out_its_pair_alone(tmp_path, as_json):
    a, b = two(tmp_path, {"t": {"x": [{"p": None, "q": 0.0}], "y": [{"p": 0.5, "q": 0.0}]}},
               {"t": {"x": [{"p": 1.0, "q": 1.0}], "y": [{"p": 0.7, "q": 0.5}]}})  # fmt: skip
    found = {change["metric"]: change for change in as_json(a, b, "--metric", "*")[0]["changes"]}
    assert (found["p"]["difference"]["n"], found["p"]["base"]) == (1, 0.5)
    assert (found["q"]["difference"]["n"], found["q"]["run"]) == (2, 0.75)


def test_epochs_are_paired_one_by_one_and_count_as_one_cluster(tmp_path, as_json):
    def played(values):
        return {"t": {f"s{i}": [{"answer_accuracy": v} for v in epochs] for i, epochs in enumerate(values)}}

    a, b = two(tmp_path, played([(0, 0), (1, 0), (0, 1)]), played([(1, 0), (1, 1), (1, 1)]))
    found = as_json(a, b)[0]
    assert found["changes"][0]["p"] == 2 / 2**3
    assert found["changes"][0]["p_mcnemar"] is None is found["flips"]["p_mcnemar"]
    assert [(e["sample"], e["epoch"]) for e in found["flips"]["wrong_to_right"]["episodes"]] == [
        ("s0", 0), ("s1", 1), ("s2", 0),
    ]  # fmt: skip


# --- which flipped -----------------------------------------------------------------------------------------------


def test_flips_are_counted_tested_and_listed(tmp_path, compared, as_json):
    a, b = two(tmp_path, answers([0] * 12 + [1] * 8), answers([1] * 9 + [0] * 4 + [1] * 7))
    flips = as_json(a, b)[0]["flips"]
    assert [flips[side]["count"] for side in ("wrong_to_right", "right_to_wrong")] == [9, 1]
    assert flips["p_mcnemar"] == pytest.approx(22 / 1024)
    assert flips["wrong_to_right"]["rate95"][0] < 9 / 20 < flips["wrong_to_right"]["rate95"][1]
    said = compared(a, b)
    assert "exact McNemar p 0.021" in said and "t s12" in said and "and 4 more (--all)" in said
    assert "t s8" not in said
    assert "t s8" in compared(a, b, "--all") and "more (--all)" not in compared(a, b, "--all")


def test_brief_is_the_table_and_which_run_is_which(tmp_path, compared):
    runs = two(tmp_path, answers([0, 0, 1, 1]), answers([1, 0, 1, 0]))
    whole, brief = compared(*runs), compared(*runs, "--brief")
    assert "wrong to right" in whole and "wrong to right" not in brief
    assert [line for line in brief.splitlines() if line not in whole.splitlines()] == []
    assert "answer_accuracy" in brief and "A: m/a" in brief


def test_right_is_the_answer_and_else_a_full_headline(tmp_path, as_json):
    a, b = two(tmp_path, one_task([0.9, 1.0, 0.0]), one_task([1.0, 1.0, 0.5]))
    flips = as_json(a, b)[0]["flips"]
    assert flips["right"] == ["solve_f1"]
    assert [episode["sample"] for episode in flips["wrong_to_right"]["episodes"]] == ["s0"]


# --- several runs ------------------------------------------------------------------------------------------------


def test_a_folder_stands_for_its_runs(tmp_path, compared):
    for mode, values in (("off", [0.2, 0.3, 0.5]), ("on", [0.4, 0.6, 0.5])):
        write_run(tmp_path / "both" / mode, one_task(values), model="m/x", reasoning=mode)
    said = compared(tmp_path / "both")
    assert "A: m/x (off)" in said and "B: m/x (on)" in said and "+0.167" in said


def test_each_further_run_is_compared_with_the_first(tmp_path, compared, as_json):
    runs = [write_run(tmp_path / name, one_task([value, value + 0.1]), model=name) for name, value in
            (("x", 0.1), ("y", 0.3), ("z", 0.2))]  # fmt: skip
    assert [one["changes"][0]["difference"]["value"] for one in as_json(*runs)] == pytest.approx([0.2, 0.1])
    said = compared(*runs, "--format", "csv").splitlines()
    assert [line.split(",")[0] for line in said] == ["run", "B", "C"]


def test_another_setting_is_told(tmp_path, compared):
    a = write_run(tmp_path / "a", one_task([0.1, 0.2]))
    b = write_run(tmp_path / "b", one_task([0.1, 0.3]), sampling={"max_tokens": 50})
    assert "A and B also differ in sampling.max_tokens 100 and 50." in compared(a, b)
    c = write_run(tmp_path / "c", one_task([0.1, 0.3]), sampling={"max_tokens": None})
    assert "A and B also differ in sampling.max_tokens 100 and none." in compared(a, c)


# --- what is refused ---------------------------------------------------------------------------------------------


def test_tasks_of_one_run_only_need_a_word(tmp_path, compared, as_json):
    a, b = two(tmp_path, one_task([0.1, 0.2]) | one_task([0.3, 0.4], task="u"), one_task([0.4, 0.5]))
    assert f"only {a} played u; --shared" in refusal(compared, a, b)
    assert f"only {a} played u; --shared" in refusal(compared, b, a)
    assert [change["tasks"] for change in as_json(a, b, "--shared")[0]["changes"]] == ["t"]


@pytest.mark.parametrize(
    ("b", "about", "said"),
    [
        (one_task([0.1, 0.2, 0.3]), {}, "t has 2 samples there and 3 here, 2 of them the same"),
        (one_task([0.1, 0.2]), {"fingerprints": {"t": "other"}}, "the same sample ids but other content"),
        (one_task([0.1, 0.2]), {"clusters": {"t": {"s0": "w", "s1": "w"}}}, "other clusters"),
        (one_task([0.1, 0.2]), {"verifier": 2}, "verifier 1 there, 2 here (harness rescore"),
        ({"t": {s: [{"solve_f1": 0.1}] * 2 for s in ("s0", "s1")}}, {}, "epochs 1 there, 2 here"),
        (one_task([0.1, 0.2], task="u"), {}, "no task in common"),
    ],
)
@pytest.mark.parametrize("shared", [[], ["--shared"]])
def test_runs_of_other_things_are_not_paired_and_it_says_how(tmp_path, compared, b, about, said, shared):
    a = write_run(tmp_path / "a", one_task([0.1, 0.2]))
    told = refusal(compared, a, write_run(tmp_path / "b", b, **about), *shared)
    assert said in told and str(a) in told


# --- floors ------------------------------------------------------------------------------------------------------

EPOCHS = {"t": {"s0": [{"solve_f1": 0.5}, {"solve_f1": 0.7}], "s1": [{"solve_f1": 0.9}, {"solve_f1": 0.5}]}}


@pytest.mark.parametrize("floor_first", [True, False])
def test_a_policy_stands_beside_any_run_of_samples_that_it_played_too(tmp_path, as_json, floor_first):
    floor = write_run(tmp_path / "floor", one_task([0.1, 0.2, 0.9]) | one_task([1.0], task="u"), model="policy/keyword")
    mine = write_run(tmp_path / "mine", EPOCHS)
    (one,) = as_json(*((floor, mine) if floor_first else (mine, floor)))
    (change,) = one["changes"]
    sign = 1 if floor_first else -1
    assert change["difference"]["n"] == 4 and change["difference"]["value"] == pytest.approx(sign * 0.5)


def test_what_a_policy_did_not_play_and_chance_are_refused(tmp_path, compared):
    mine = write_run(tmp_path / "mine", EPOCHS)
    fewer = write_run(tmp_path / "fewer", one_task([0.1]), model="policy/keyword")
    assert "t has 2 samples there and 1 here" in refusal(compared, mine, fewer)
    chance = write_run(tmp_path / "chance", one_task([0.1, 0.2]), model="policy/random")
    assert "epochs 2 there, 1 here" in refusal(compared, mine, chance)
    other = write_run(tmp_path / "other", one_task([0.1, 0.2]) | one_task([0.5], task="u"))
    whole = write_run(tmp_path / "whole", one_task([0.1, 0.2]), model="policy/silent")
    assert f"only {other} played u" in refusal(compared, whole, other)


def test_one_run_is_not_enough(tmp_path, compared):
    assert "name another one" in refusal(compared, write_run(tmp_path / "a", one_task([0.1, 0.2])))


def test_a_metric_that_neither_has(tmp_path, compared):
    a, b = two(tmp_path, one_task([0.1, 0.2]), one_task([0.1, 0.2]))
    assert "they have solve_f1" in refusal(compared, a, b, "--metric", "solve_f2")


@pytest.mark.parametrize("form", ["simple", "markdown", "latex", "csv", "html", "json"])
def test_every_format_escapes_what_others_wrote(tmp_path, compared, form):
    hostile = {"t": {"</p><script>\x1b[2J": [{"answer_accuracy": 0.0}], "s": [{"answer_accuracy": 1.0}]}}
    other = {"t": {"</p><script>\x1b[2J": [{"answer_accuracy": 1.0}], "s": [{"answer_accuracy": 0.0}]}}
    said = compared(*two(tmp_path, hostile, other), "--format", form)
    assert "\x1b" not in said
    assert form != "html" or "<script>" not in said
