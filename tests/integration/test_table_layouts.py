"""`harness table`: layouts, blocks and bases, and runs that are not what they say."""

import json
import re

import pytest
from commands import harness, one_sentence
from result_runs import group, one_task, solved, write_run

FLAT = ((0.4,) * 2, (0.4,) * 2, (0.4,) * 2, (0.4,) * 2)
HIGH = ((0.6,) * 2, (0.6,) * 2, (0.6,) * 2, (0.6,) * 2)


def printed(*arguments):
    done = harness("table", *arguments)
    assert done.returncode == 0, done.stderr
    return done


def rows_of(*arguments):
    return json.loads(printed(*arguments, "--format", "json").stdout)["rows"]


# --- layouts -----------------------------------------------------------------------------------------------------


def test_the_default_layout_has_its_rows_in_every_format(tmp_path):
    run = write_run(tmp_path / "run", solved("micro", FLAT), model="a|b<i>", groups=group("micro"))
    said = {
        form: printed(run, "--format", form).stdout for form in ("simple", "markdown", "latex", "csv", "html", "json")
    }
    assert all("0.400" in said[form] for form in ("simple", "markdown", "latex", "html")) and ",0.4,0.3" in said["csv"]
    assert "a\\|b\\<i\\>" in said["markdown"] and "a|b&lt;i&gt;" in said["html"]
    (row,) = json.loads(said["json"])
    assert (row["tasks"], row["n"], row["metrics"]["solve_f1"]["value"]) == ("micro", 8, pytest.approx(0.4))
    assert len(json.loads(printed(run, "--by-task", "--format", "json").stdout)) == 5


@pytest.mark.parametrize("layout", ["default", "paper"])
def test_runs_stand_in_the_order_in_which_they_are_named(tmp_path, layout):
    named = [("b", "off"), ("a", "off"), ("b", "on"), ("a", "on")]
    runs = [
        write_run(tmp_path / f"{at}", solved("paper", FLAT), model=model, reasoning=mode, groups=group("paper"))
        for at, (model, mode) in enumerate(named)
    ]
    for form in ("simple", "markdown", "csv"):
        said = printed(*runs, "--layout", layout, "--format", form).stdout
        modes = re.findall(r"^\W*([ab])\b.{0,12}?\b(off|on)\b", said, re.MULTILINE)
        assert modes == named, said


def test_scenarios_stand_side_by_side_and_one_that_was_not_played_is_a_dash(tmp_path):
    played = solved("micro", ((0.1, 0.3), (0.5,), (0.6,), (0.7,)))
    whole = write_run(tmp_path / "whole", played | solved("ftrl", HIGH), groups=group("micro") | group("ftrl"))
    part = write_run(tmp_path / "part", {"micro_multi_hop": played["micro_multi_hop"]}, model="test/part")
    micro, ftrl, half = rows_of(whole, part, "--layout", "scenario")
    assert micro["values"]["single-hop F1"] == pytest.approx(0.2)
    assert micro["values"]["parallel multi-hop P"] == pytest.approx(0.6)
    assert micro["values"]["mean F1"] == pytest.approx((0.2 + 0.5 + 0.6 + 0.7) / 4)
    assert ftrl["values"]["tasks"] == "ftrl_*"
    assert half["values"]["multi-hop F1"] == pytest.approx(0.6)
    assert half["values"]["mean F1"] is half["values"]["single-hop F1"] is None
    paper = rows_of(whole, "--layout", "scenario", "--rule", "paper")
    assert paper[0]["values"]["single-hop F1"] == pytest.approx(0.25)


def test_the_average_needs_all_its_parts(tmp_path):
    run = write_run(tmp_path / "run", solved("paper", FLAT), groups=group("paper"))
    (row,) = rows_of(run, "--layout", "paper")
    assert row["values"]["Solve-F1"] == 45.0  # by the paper's rule
    assert row["values"]["Avg"] is row["values"]["ToolHop AC"] is None
    assert rows_of(run, "--layout", "paper", "--rule", "strict")[0]["values"]["Solve-F1"] == 40.0


def test_published_averages_are_the_mean_of_their_columns(tmp_path):
    run = write_run(tmp_path / "run", solved("paper", FLAT), groups=group("paper"))
    published = [r["values"] for r in rows_of(run, "--layout", "paper", "--with-published")][1:]
    assert len(published) == 27
    for values in published:
        *parts, average = [value for name, value in values.items() if name != "model"]
        assert average == pytest.approx(sum(parts) / 8, abs=0.0051)
        assert values["model"].endswith("(published)")


def test_solve_columns_are_of_one_kind_of_environments(tmp_path):
    both = write_run(
        tmp_path / "a", solved("ftrl", FLAT) | solved("micro", HIGH), groups=group("ftrl") | group("micro")
    )
    only = write_run(tmp_path / "b", solved("micro", HIGH), model="test/b", groups=group("micro"))
    first = [row["values"]["Solve-F1"] for row in rows_of(both, only, "--layout", "paper")]
    assert first == [45.0, None]
    micro = rows_of(both, only, "--layout", "paper", "--environments", "micro")
    assert [row["values"]["Solve-F1"] for row in micro] == [65.0, 65.0]
    said = printed(both, "--layout", "paper", "--with-published").stdout
    assert "ftrl_* environments" in said and "of paper_* environments, not of ftrl_*" in said


# --- blocks ------------------------------------------------------------------------------------------------------


def modes(folder, model, off, on):
    for name, values in (("off", off), ("on", on)):
        write_run(folder / name, solved("micro", values), model=model, reasoning=name, groups=group("micro"))
    return folder


@pytest.mark.parametrize("base", ["folder", "model"])
def test_a_row_is_compared_with_the_base_of_its_reasoning_mode(tmp_path, base):
    before = modes(tmp_path / "before", "hf/before", FLAT, HIGH)
    after = modes(tmp_path / "after", "hf/after", HIGH, FLAT)
    found = rows_of(before, after, "--layout", "paper", "--base", before if base == "folder" else "hf/before")
    shown = [(row["values"]["model"], row["block"], row["trends"].get("Solve-F1")) for row in found]
    assert shown == [
        ("hf/before (off)", 0, None),
        ("hf/after (off)", 0, "up"),
        ("hf/before (on)", 1, None),
        ("hf/after (on)", 1, "down"),
    ]


def test_without_a_base_every_model_is_a_block_without_arrows(tmp_path):
    found = rows_of(
        modes(tmp_path / "a", "hf/a", FLAT, HIGH), modes(tmp_path / "b", "hf/b", HIGH, FLAT), "--layout", "paper"
    )
    assert [row["block"] for row in found] == [0, 0, 1, 1]
    assert not any(row["trends"] for row in found)
    assert [row["marks"]["Solve-F1"] for row in found] == ["second", "best", "best", "second"]


def test_two_runs_of_one_model_are_told_apart(tmp_path):
    runs = [write_run(tmp_path / name, solved("micro", FLAT), groups=group("micro")) for name in "ab"]
    names = [row["values"]["model"] for row in rows_of(*runs, "--layout", "paper")]
    assert len(set(names)) == 2 and all(str(run) in name for run, name in zip(runs, names, strict=True))


def test_a_base_that_is_none_of_them(tmp_path):
    run = write_run(tmp_path / "run", solved("micro", FLAT), model="hf/before", groups=group("micro"))
    said = one_sentence(harness("table", run, "--layout", "paper", "--base", "hf/befor"))
    assert "Did you mean hf/before?" in said


@pytest.mark.parametrize(
    "option", [["--rule", "paper"], ["--with-published"], ["--base", "x"], ["--environments", "micro"]]
)
def test_options_of_another_layout_are_refused(tmp_path, option):
    assert f"{option[0]} belongs to --layout" in one_sentence(harness("table", tmp_path, *option))


# --- floors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["simple", "markdown"])
def test_what_doing_nothing_reaches_is_said_below(tmp_path, form):
    played = {task: {"x": [{"success": 1.0, "paper_success": 1.0}]} for task in ("taubench_airline", "taubench_retail")}
    about = {"groups": {"taubench": list(played)}, "headline": "success"}
    run = write_run(tmp_path / "run", played, **about, floors={"taubench_airline": 0.4})
    done = printed(run, "--format", form)
    said = "reaches by the headline metric on all samples: taubench 0.200, taubench_airline 0.400."
    assert said in " ".join(done.stdout.replace("\\", "").split()) and done.stderr == ""
    assert "policy/silent reaches: tau-bench 20.00." in printed(run, "--layout", "paper").stdout
    assert "policy/silent" not in printed(write_run(tmp_path / "without", played, **about)).stdout


# --- runs that are not what they say -----------------------------------------------------------------------------


def test_a_summary_that_disagrees_is_named_and_not_believed(tmp_path):
    run = write_run(tmp_path / "run", one_task([0.2, 0.4]))
    text = (run / "summary.json").read_text()
    (run / "summary.json").write_text(re.sub(r'"value": 0\.3\d*', '"value": 0.999', text))
    done = printed(run)
    assert done.stderr.count("\n") == 1 and str(run) in done.stderr and "disagrees" in done.stderr
    assert "0.300" in done.stdout and "0.999" not in done.stdout


def test_an_honest_summary_is_not_warned_about(tmp_path):
    assert printed(write_run(tmp_path / "run", solved("micro", FLAT), groups=group("micro"))).stderr == ""


@pytest.mark.parametrize("torn", [0, 10])
def test_a_cut_file_is_named_and_counted_as_it_is(tmp_path, torn):
    run = write_run(tmp_path / "run", one_task([0.2, 0.4, 0.9]))
    whole = (run / "samples.jsonl").read_bytes().split(b"\n")
    (run / "samples.jsonl").write_bytes(b"\n".join(whole[:2]) + b"\n" + whole[2][:torn])
    done = printed(run)
    assert done.stderr.count("\n") == 1 and "2 of its 3 episodes" in done.stderr
    assert "0.300" in done.stdout


def test_what_is_no_run_in_a_folder_is_passed_over(tmp_path):
    write_run(tmp_path / "validation" / "0", one_task([0.5, 0.7]))
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "manifest.json").write_text('{"recipe": "tiny"}')
    begun = write_run(tmp_path / "validation" / "1", one_task([0.1, 0.2]))
    (begun / "summary.json").unlink()
    done = printed(tmp_path)
    assert "0.600" in done.stdout and done.stderr == f"Left out {begun}: it is not finished.\n"


def test_a_run_of_another_schema_is_an_error_by_name_and_left_out_of_a_folder(tmp_path):
    good, old = (write_run(tmp_path / name, one_task([0.5, 0.7])) for name in ("good", "old"))
    manifest = json.loads((old / "manifest.json").read_text())
    (old / "manifest.json").write_text(json.dumps({**manifest, "schema": 0}))
    assert "another format" in one_sentence(harness("table", good, old))
    done = printed(tmp_path)
    assert f"Left out {old}" in done.stderr and "0.600" in done.stdout
    assert "another format" in harness("table", old.parent / "old").stderr


@pytest.mark.parametrize("damage", ['"solve_f1":"high"', '"solve_f1":NaN', '"solve_f1":1e999'])
def test_a_score_that_is_no_number_is_one_sentence(tmp_path, damage):
    run = write_run(tmp_path / "run", one_task([0.5, 0.7]))
    text = (run / "samples.jsonl").read_text()
    (run / "samples.jsonl").write_text(text.replace('"solve_f1":0.5', damage))
    assert "'solve_f1' is no number" in one_sentence(harness("table", run))


@pytest.mark.parametrize("stored", ["[" * 460 + "]" * 460, "1" + "0" * 400, '{"": null}'])
def test_a_summary_of_anything_is_compared_and_named(tmp_path, stored):
    run = write_run(tmp_path / "run", one_task([0.5, 0.7]))
    (run / "summary.json").write_text(f'{{"schema": 1, "groups": {{}}, "tasks": {{"t": {stored}}}}}')
    done = printed(run)
    assert done.stderr.count("\n") == 1 and "disagrees" in done.stderr and "0.600" in done.stdout


@pytest.mark.parametrize("damage", [{"key": None}, {"epoch": "x", "sample": "s1"}])
def test_an_episode_that_has_no_place_is_one_sentence(tmp_path, damage):
    run = write_run(tmp_path / "run", one_task([0.5, 0.7]))
    first, second = map(json.loads, (run / "samples.jsonl").read_text().splitlines())
    first = {name: value for name, value in {**first, **damage}.items() if value is not None}
    (run / "samples.jsonl").write_text(f"{json.dumps(first)}\n{json.dumps(second)}\n")
    assert "line 1 is no episode record of this run" in one_sentence(harness("table", run))


def test_a_summary_without_episodes_is_one_sentence(tmp_path):
    run = write_run(tmp_path / "run", one_task([0.5, 0.7]))
    (run / "samples.jsonl").unlink()
    assert "no episodes" in one_sentence(harness("table", run))


@pytest.mark.parametrize(
    "damage",
    [
        {"groups": {"g": ["nowhere"]}},
        {"groups": {"g": 1}},
        {"groups": {"g": [[1]]}},
        {"groups": {"g": []}},
        {"tasks": {"t": {"headline": [], "clusters": {"s0": "a", "s1": "b"}}}},
        {"tasks": {"t": {"headline": "solve_f1", "success": 3, "clusters": {"s0": "a", "s1": "b"}}}},
        {"tasks": {"t": {"headline": "solve_f1", "clusters": {"s0": [], "s1": {}}}}},
        {"tasks": {"t": {"headline": "solve_f1", "floor": float("nan"), "clusters": {"s0": "a", "s1": "b"}}}},
        {"tasks": {"t": {"headline": "solve_f1", "weight": "x", "clusters": {"s0": "a", "s1": "b"}}}},
        {"identity": {"tasks": [], "epochs": 1}},
        {"identity": {"epochs": "many"}},
    ],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path, damage):
    run = write_run(tmp_path / "run", one_task([0.5, 0.7]))
    manifest = json.loads((run / "manifest.json").read_text())
    if "identity" in damage:
        damage = {"identity": {**manifest["identity"], **damage["identity"]}}
    (run / "manifest.json").write_text(json.dumps({**manifest, **damage}))
    assert "damaged" in one_sentence(harness("table", run))


def test_a_rule_has_its_own_scores_of_every_benchmark(tmp_path):
    played = {f"taubench_{domain}": {"x": [{"success": 1.0, "paper_success": 0.0}]} for domain in ("airline", "retail")}
    run = write_run(tmp_path / "run", played, groups={"taubench": list(played)}, headline="success")
    shown = [rows_of(run, "--layout", "paper", "--rule", rule)[0]["values"] for rule in ("strict", "paper")]
    assert [values["tau-bench pass^1"] for values in shown] == [100.0, 0.0]
