"""`harness pairs`: what is preferred to what, why, and the file that says so."""

import json
import shutil

import pytest
from commands import harness

from harness import cli
from harness.data.messages import message_from_json
from harness.errors import UsageError
from harness.runs.directory import RunDirectory
from harness.runs.results import result_of
from trainer.pairs import Attempt, PairRules, choose_pairs, read_paired_runs
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import identify_named_data


def attempt(number, calls, right):
    record = {
        "key": str(number),
        "task": "t",
        "sample": "s",
        "epoch": number,
        "outcome": "ok",
        "stop": "no_tool_calls",
        "error": None,
        "scores": {},
        "usage": {},
        "messages": [],
        "calls": [{}] * calls,
    }
    return Attempt(0, result_of(record), right)


def chosen(attempts, **rules):
    made = [attempt(number, calls, right) for number, (calls, right) in enumerate(attempts)]
    found = choose_pairs(made, PairRules(**rules))
    return [(better.result.epoch, worse.result.epoch, reason) for better, worse, reason in found]


def test_easy_environments_prefer_few_calls_and_hard_ones_the_longest_right():
    right, wrong = True, False
    easy = [(3, right), (2, right), (5, right), (1, wrong), (4, wrong), (2, right), (3, right), (3, right)]
    assert chosen(easy) == [(1, 2, "fewer_calls"), (1, 4, "right_over_wrong")]
    assert chosen([(2, right), (2, right)]) == []  # equal
    hard = [(2, right), (4, right), (3, wrong), (1, wrong), (1, wrong)]
    assert chosen(hard) == [(1, 3, "longest_right")]
    middle = [(2, right), (1, wrong)]
    assert chosen(middle) == chosen([(2, wrong), (1, wrong)]) == chosen([]) == []
    assert chosen(middle, hard=0.5) == [(0, 1, "longest_right")]
    assert chosen(middle, easy=0.5) == [(0, 1, "right_over_wrong")]


def test_a_control_prefers_any_right_one():
    many = [(number, True) for number in range(1, 21)] + [(3, False)]
    found = {chosen(many, random=True, seed=seed)[-1] for seed in range(40)}
    assert len(found) > 5 and {worse for _, worse, _ in found} == {20}
    assert chosen(many, random=True, seed=1) == chosen(many, random=True, seed=1)


# --- from runs ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two policies, four times on eight environments whose tools fail: one gives up, the other repeats its calls."""
    folder = tmp_path_factory.mktemp("runs")
    train = folder / "train.jsonl"
    build = ("build", "--n", "8", "--level", "micro", "--split", "train", "--seed", "3", "--workers", "1")
    assert harness(*build, "--out", train).returncode == 0
    play = ("--tasks", str(train), "--epochs", "4", "--tool-faults", "0.3:500", "--quiet")
    for policy in ("oracle", "retry"):
        assert cli.main(["eval", "--model", f"policy/{policy}", *play, "--out", str(folder / policy)]) == 0
    return folder


def pairs(runs, *words):
    out = runs / "pairs.jsonl"
    status = cli.main(["pairs", str(runs / "oracle"), str(runs / "retry"), "--out", str(out), *words])
    return status, [json.loads(line) for line in out.read_text().splitlines()] if status == 0 else []


def test_every_row_has_both_attempts_whole_and_says_why(runs, capsys):
    status, rows = pairs(runs, "--metric", "solve_rate", "--easy", "0.6", "--hard", "0.5")
    assert status == 0 and {row["reason"] for row in rows} == {"fewer_calls", "right_over_wrong"}
    said = capsys.readouterr().out
    assert f"{len(rows)}, from " in said and "of 8 environments" in said
    assert "several models (policy/oracle, policy/retry)" in said
    episodes = {
        (name, record["sample"], record["epoch"]): record
        for name in ("oracle", "retry")
        for record in RunDirectory.open(runs / name).read_records()
    }
    for row in rows:
        sides = [(row[side], row[f"{side}_from"]) for side in ("chosen", "rejected")]
        for messages, origin in sides:
            episode = episodes[origin["run"], row["sample"], origin["epoch"]]
            assert [*row["prompt"], *messages] == episode["messages"]
            assert origin["calls"] == len(episode["calls"])
            assert origin["right"] == (episode["scores"]["solve_rate"] == 1.0)
            assert message_from_json(messages[0]).role == "assistant"
        better, worse = (origin for _, origin in sides)
        assert better["right"] and (not worse["right"] or worse["calls"] > better["calls"])
        assert {tool["function"]["name"] for tool in json.loads(row["tools"])}
    assert pairs(runs, "--metric", "solve_rate", "--easy", "0.6", "--hard", "0.5")[1] == rows


def test_where_no_rule_fits_nothing_is_written(runs, capsys, tmp_path):
    out = tmp_path / "none.jsonl"
    words = [
        "pairs",
        str(runs / "oracle"),
        str(runs / "retry"),
        "--out",
        str(out),
        "--metric",
        "calls",
        "--least",
        "99",
    ]
    assert cli.main(words) == 1
    said = capsys.readouterr().out
    assert "No environment gives a pair" in said and " 0 of " in said and not out.exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--easy", "0.4", "--hard", "0.4"), "--hard must be below --easy"),
        (("--out", "pairs.csv"), "is no .jsonl file"),
        (("--metric", "wit"), "episodes of train have no wit"),
    ],
)
def test_bad_input_is_one_sentence(runs, words, said, capsys):
    assert cli.main(["pairs", str(runs / "oracle"), "--out", str(runs / "bad.jsonl"), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (runs / "bad.jsonl").exists()


def test_a_run_is_not_written_into_and_counts_once(runs, capsys):
    run = runs / "oracle"
    before = (run / "samples.jsonl").read_bytes()
    for out in (run / "samples.jsonl", run / "pairs.jsonl"):
        assert cli.main(["pairs", str(run), "--out", str(out)]) == 2
        assert f"would write into {run}, which is read" in capsys.readouterr().err
    assert (run / "samples.jsonl").read_bytes() == before
    assert cli.main(["pairs", str(run), str(runs / "retry" / ".." / "oracle"), "--out", str(runs / "bad.jsonl")]) == 2
    assert "is given twice" in capsys.readouterr().err
    (runs / "folder.jsonl").mkdir()
    assert cli.main(["pairs", str(run), "--out", str(runs / "folder.jsonl")]) == 2
    assert "which is a folder" in capsys.readouterr().err


def test_a_run_that_lacks_episodes_is_told(runs, tmp_path, capsys):
    cut = tmp_path / "cut"
    shutil.copytree(runs / "retry", cut)
    text = (cut / "samples.jsonl").read_text()
    (cut / "samples.jsonl").write_text(text[:-20])
    read_paired_runs([cut], PairRules())
    recipe = SFTRecipe("sft", trajectories=str(cut))
    identify_named_data(recipe, trust_code=False)
    line = f"{cut} is cut: 31 of its 32 episodes are there; what is shown counts these alone.\n"
    assert capsys.readouterr().err == 2 * line


def test_no_attempt_is_right_from_a_value_that_is_no_number(runs, capsys):
    with pytest.raises(SystemExit):
        cli.main(["pairs", str(runs / "oracle"), "--out", str(runs / "bad.jsonl"), "--least", "nan"])
    assert "--least: must be a finite number, not nan" in capsys.readouterr().err


def test_runs_that_do_not_belong_together_are_refused(runs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs / "oracle", other)
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["identity"]["tool_faults"]["probability"] = 0.5
    (other / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UsageError, match="did not fail alike"):
        read_paired_runs([runs / "oracle", other], PairRules())
    once = ["eval", "--model", "policy/oracle", "--tasks", str(runs / "train.jsonl"), "--quiet", "--out"]
    assert cli.main([*once, str(tmp_path / "once")]) == 0
    with pytest.raises(UsageError, match="Nothing was played twice"):
        read_paired_runs([tmp_path / "once"], PairRules())
    assert cli.main(["eval", "--model", "policy/oracle", "--tasks", "micro_single_hop", "--limit", "2", "--quiet",
                     "--epochs", "2", "--out", str(tmp_path / "test")]) == 0  # fmt: skip
    with pytest.raises(UsageError, match="no training data"):
        read_paired_runs([tmp_path / "test"], PairRules())
