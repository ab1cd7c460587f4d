"""`harness collect` end to end: an ordinary run, and the prompts made of it."""

import json
import os
import signal
import subprocess
import time
from dataclasses import replace

import pytest
from builders import record, write_records
from commands import command, environment, episodes, harness, one_sentence, summary
from fakes import tiny_model

from harness.data.records import read_samples, sample_from_record
from harness.errors import UsageError
from trainer.prefixes import PrefixFilter, find_breakpoint, read_prefixes
from trainer.rewards import REWARDS


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """Sixteen small training environments."""
    path = tmp_path_factory.mktemp("built") / "train.jsonl"
    done = harness(
        "build", "--n", 16, "--level", "micro", "--split", "train", "--seed", 3, "--out", path, "--workers", 1
    )
    assert done.returncode == 0, done.stderr
    return path


@pytest.fixture(scope="module")
def solved(train, tmp_path_factory):
    """What policy/oracle, which plays the gold calls, leads to."""
    out = tmp_path_factory.mktemp("oracle") / "run"
    done = harness("collect", "--model", "policy/oracle", "--tasks", train, "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def ids(path):
    return [row["id"] for row in rows(path / "prefixes.jsonl")]


def test_every_state_of_every_episode_is_a_prompt(solved, train):
    out, said = solved
    found = rows(out / "prefixes.jsonl")
    assert summary(out)["tasks"]["train"]["metrics"]["solve_f1"]["value"] == 1.0
    assert f"{len(found)}, 16 of them with nothing unsolved" in said
    for played in episodes(out):
        own = [row for row in found if row["sample"] == played["sample"]]
        turns = int(played["scores"]["turns"])
        assert [row["turn"] for row in own] == list(range(turns))
        assert [row["solve_rate"] for row in own] == sorted(row["solve_rate"] for row in own)
        assert (own[0]["solve_rate"], own[-1]["solve_rate"]) == (0.0, 1.0)
        assert own[0]["messages"] == played["messages"][:1]
        assert own[-1]["messages"] == played["messages"][:-1]  # all but the answer
        assert [row["messages"][-1]["role"] for row in own[1:]] == ["tool"] * (turns - 1)


def test_the_records_are_the_papers_with_fields_of_ours(solved, train):
    out, _ = solved
    originals = {row["id"]: row for row in rows(train)}
    for row in rows(out / "prefixes.jsonl"):
        original = originals[row["sample"]]
        assert set(row) == {
            *("messages", "tools", "codes", "unsolved_set", "solve_rate", "data_source", "split", "answer"),
            *("id", "world", "task", "sample", "epoch", "turn", "rule", "sub_answers", "calls"),
        }
        for name in ("world", "data_source", "split", "answer"):
            assert row[name] == original[name]
        for name, of in (("tools", "tools"), ("codes", "codes"), ("sub_answers", "unsolved_set")):
            assert json.loads(row[name]) == json.loads(original[of])


def test_a_prompt_is_an_environment_record(solved, tmp_path):
    out, _ = solved
    for line, row in enumerate(rows(out / "prefixes.jsonl")):
        sample = sample_from_record(row, line, "here")
        assert sum(map(len, sample.gold.sub_answers.values())) == sum(
            map(len, json.loads(row["unsolved_set"]).values())
        )
    done = harness(
        "eval", "--model", "policy/silent", "--tasks", out / "prefixes.jsonl", "--out", tmp_path / "run"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert {line["sample"] for line in episodes(tmp_path / "run")} == set(ids(out))


def test_the_recorded_turns_earn_what_they_solved(solved):
    """Each prompt is answered by what the oracle said next, as a network would write it."""
    out, _ = solved
    prefixes = read_prefixes(out / "prefixes.jsonl")
    played = {line["sample"]: line for line in episodes(out)}
    turns = []
    for prefix in prefixes:
        said = [m for m in played[prefix.sample.id]["messages"] if m["role"] == "assistant"][prefix.turn]
        calls = [call["function"] for call in said.get("tool_calls", ())]
        texts = [f'<tool_call>{{"name": "{c["name"]}", "arguments": {c["arguments"]}}}</tool_call>' for c in calls]
        turns.append(prefix.to_turn("".join(texts) or said["content"]))
    assert REWARDS["mended_f1"].steps(turns) == [1.0] * len(turns)


def test_equal_prompts_are_kept_once(solved, train, tmp_path):
    out, _ = solved
    done = harness("collect", "--model", "policy/oracle", "--tasks", train, "--out", tmp_path / "run", "--epochs", 3)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "prefixes.jsonl").read_bytes() == (out / "prefixes.jsonl").read_bytes()


def test_prompts_of_the_paper_rule(train, tmp_path):
    """An echo solves by the paper's rule and leaves everything open strictly."""
    run = ("collect", "--model", "policy/echo", "--tasks", train, "--out", tmp_path / "run")
    assert harness(*run).returncode == 0
    strict = rows(tmp_path / "run" / "prefixes.jsonl")
    assert harness(*run, "--resume", "--rule", "paper").returncode == 0
    paper = rows(tmp_path / "run" / "prefixes.jsonl")
    assert [row["id"] for row in strict] == [row["id"] for row in paper]
    assert {row["solve_rate"] for row in strict} == {0.0}
    assert any(row["solve_rate"] > 0 for row in paper)
    assert {row["rule"] for row in paper} == {"paper"}


def test_other_filters_make_the_file_anew_without_playing(solved, train, tmp_path):
    subprocess.run(["cp", "-r", solved[0], tmp_path / "run"], check=True)
    run = ("collect", "--model", "policy/oracle", "--tasks", train, "--out", tmp_path / "run", "--resume")
    done = harness(*run, "--min-solved", 0.5, "--max-prompt-characters", 100_000)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == (solved[0] / "samples.jsonl").read_bytes()
    expected = PrefixFilter(min_solved=0.5)(read_prefixes(solved[0] / "prefixes.jsonl"))
    assert ids(tmp_path / "run") == [prefix.id for prefix in expected]


def test_what_filters_keep(solved):
    everything = read_prefixes(solved[0] / "prefixes.jsonl")
    done = [prefix for prefix in everything if prefix.solve_rate == 1.0]
    assert (len(everything), len(done)) == (48, 16)
    assert PrefixFilter(keep="solved")(everything) == done
    assert PrefixFilter(keep="unsolved")(everything) == [prefix for prefix in everything if prefix not in done]
    half, other = PrefixFilter(min_solved=0.5)(everything), PrefixFilter(min_solved=0.5, seed=1)(everything)
    assert len(half) == len(other) == 32 and half != other
    assert half == [prefix for prefix in everything if prefix in half]
    assert len(PrefixFilter(min_solved=0.75)(everything)) == 21  # 16 of at most 21.33
    assert PrefixFilter(min_solved=0.1)(everything) == everything
    longest = sorted(prefix.characters for prefix in everything)[24]
    short = PrefixFilter(max_characters=longest)(everything)
    assert short == [prefix for prefix in everything if prefix.characters <= longest] != everything


def test_breakpoints_are_where_a_tool_first_failed(train, tmp_path):
    run = (
        "collect",
        "--model",
        "policy/retry",
        "--tasks",
        train,
        "--out",
        tmp_path / "run",
        "--tool-faults",
        "0.4:500",
    )
    done = harness(*run, "--keep", "breakpoints")
    assert done.returncode == 0, done.stderr
    found = {row["sample"]: row for row in rows(tmp_path / "run" / "prefixes.jsonl")}
    played = {row["sample"]: row["calls"] for row in episodes(tmp_path / "run")}
    failing = {name: calls for name, calls in played.items() if any("fault" in call for call in calls)}
    assert 0 < len(failing) < 16 and found.keys() == failing.keys()
    for name, row in found.items():
        calls = json.loads(row["calls"])
        assert ["fault" in call for call in calls] == [False] * (len(calls) - 1) + [True]
        assert calls == [
            {part: made[part] for part in calls[0].keys() | {"fault"} if part in made}
            for made in played[name][: len(calls)]
        ]
    assert len(read_prefixes(tmp_path / "run" / "prefixes.jsonl")) == len(found)


def test_a_breakpoint_is_the_first_turn_that_went_wrong_or_the_last_state_of_a_bad_end(solved):
    everything = read_prefixes(solved[0] / "prefixes.jsonl")
    names = {prefix.sample.id for prefix in everything if prefix.turn == 2}
    whole = [prefix for prefix in everything if prefix.sample.id == min(names)]
    assert find_breakpoint(whole, ended_well=True) is None
    assert find_breakpoint(whole, ended_well=False) is whole[-1]
    first, second = whole[0], replace(whole[1], unsolved_set=whole[0].unsolved_set)  # its calls solved nothing
    assert find_breakpoint([first, second, whole[2]], ended_well=True) is second
    failed = replace(whole[1], calls=(replace(whole[1].calls[0], status="raised"),))
    assert find_breakpoint([first, failed, whole[2]], ended_well=True) is failed


def test_filters_that_leave_nothing(train, tmp_path):
    run = ("collect", "--model", "policy/silent", "--tasks", train, "--out", tmp_path / "run")
    done = harness(*run, "--min-solved", 0.25)
    assert done.returncode == 1
    assert "No prompt passes these filters" in done.stderr
    assert not (tmp_path / "run" / "prefixes.jsonl").exists()


def test_parquet_holds_the_same(solved, train, tmp_path):
    subprocess.run(["cp", "-r", solved[0], tmp_path / "run"], check=True)
    run = ("collect", "--model", "policy/oracle", "--tasks", train, "--out", tmp_path / "run", "--resume")
    assert harness(*run, "--format", "parquet").returncode == 0
    assert not (tmp_path / "run" / "prefixes.jsonl").exists()
    assert read_prefixes(tmp_path / "run" / "prefixes.parquet") == read_prefixes(solved[0] / "prefixes.jsonl")
    assert len(read_samples(tmp_path / "run" / "prefixes.parquet")) == len(ids(solved[0]))


def test_plain_environments_are_prompts_at_turn_0(train, solved):
    plain = read_prefixes(train)
    first = [prefix for prefix in read_prefixes(solved[0] / "prefixes.jsonl") if prefix.turn == 0]
    assert {(p.id, p.messages, p.unsolved_count) for p in plain} == {
        (p.id, p.messages, p.unsolved_count) for p in first
    }


def test_a_prefix_without_its_calls_is_refused(solved, tmp_path):
    row = next(row for row in rows(solved[0] / "prefixes.jsonl") if row["turn"] == 1)
    path = write_records(tmp_path / "torn.jsonl", [{**row, "calls": None}])
    with pytest.raises(UsageError, match="without its calls"):
        read_prefixes(path)


@pytest.mark.slow
def test_what_a_network_wrote_earns_what_the_evaluation_found(tmp_path):
    """Ten sampled episodes of a real network: its own words, answered to its own prompts."""
    network = tiny_model.trained_model(tmp_path / "model")
    task = write_records(tmp_path / "towns.jsonl", [record()])
    run = ("collect", "--model", f"hf/{network}", "--tasks", task, "--epochs", 10, "--max-turns", 4)
    done = harness(*run, "--max-tokens", 64, "--seed", 1, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    played = episodes(tmp_path / "run")
    solving, turns = [], []
    for prefix in read_prefixes(tmp_path / "run" / "prefixes.jsonl"):
        origin = next(line for line in played if line["epoch"] == prefix.epoch)
        said = [message for message in origin["messages"] if message["role"] == "assistant"]
        if prefix.turn < len(said):
            turns.append(prefix.to_turn(said[prefix.turn]["raw"]))
            calls = [call for call in origin["calls"] if call["turn"] == prefix.turn]
            called = any(call["status"] != "malformed" for call in calls)
            solving.append(sum(call["solves"] is not None for call in calls) if called else None)
    earned = REWARDS["strict_rate"].steps(turns)
    assert 1 in solving and None in solving
    assert [value for value, s in zip(earned, solving, strict=True) if s is not None] == [
        s for s in solving if s is not None
    ]


# --- what is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["demo_*", "micro_single_hop", "ftrl_*", "written_*"])
def test_benchmarks_are_no_training_data(task, tmp_path):
    done = harness("collect", "--model", "policy/oracle", "--tasks", task, "--out", tmp_path / "run")
    assert "no training data" in one_sentence(done)
    assert not (tmp_path / "run").exists()


def test_a_test_split_is_no_training_data(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record(split="train"), record(id="other", split="test")])
    done = harness("collect", "--model", "policy/oracle", "--tasks", path, "--out", tmp_path / "run")
    assert "towns is no training data, because its split is test" in one_sentence(done)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--model", "policy/oracle"), "--out is missing"),
        (("--model", "policy/*", "--out", "OUT"), "One model collects, not 6"),
        (("--model", "policy/oracle", "--out", "OUT", "--reasoning", "both"), "--reasoning both"),
        (("--model", "policy/oracle", "--out", "OUT", "--min-solved", "1.5"), "must be from 0 to 1"),
        (("--model", "policy/oracle", "--out", "OUT", "--keep", "unsolved", "--min-solved", ".5"), "--min-solved"),
    ],
)
def test_bad_options_are_one_sentence(words, said, tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record()])
    words = [tmp_path / "run" if word == "OUT" else word for word in words]
    assert said in one_sentence(harness("collect", "--tasks", path, *words))
    assert not (tmp_path / "run").exists()


def test_environments_without_anything_to_reward(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record(unsolved_set={}, gold_calls=...)])
    done = harness("collect", "--model", "policy/silent", "--tasks", path, "--out", tmp_path / "run")
    assert "'towns' has no tools or no sub-answers" in one_sentence(done)


def test_a_dry_run_writes_nothing(train, tmp_path):
    done = harness("collect", "--model", "policy/oracle", "--tasks", train, "--out", tmp_path / "run", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "run").exists()


def test_the_temperature_is_one_unless_said_otherwise(solved):
    manifest = json.loads((solved[0] / "manifest.json").read_text())
    assert manifest["identity"]["sampling"]["temperature"] == 1.0


# --- interrupted -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_killed_and_resumed_it_gives_the_same_prompts(train, tmp_path):
    run = ("collect", "--model", "policy/random", "--tasks", train, "--epochs", 40, "--seed", 7, "--quiet")
    assert harness(*run, "--out", tmp_path / "whole").returncode == 0
    torn = tmp_path / "torn"
    process = subprocess.Popen(
        command(*run, "--out", torn, "--concurrency", 2),
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    while not (torn / "samples.jsonl").exists() or (torn / "samples.jsonl").stat().st_size < 50_000:
        assert process.poll() is None
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert 0 < len(episodes(torn, torn=True)) < 40 * 16
    assert not (torn / "prefixes.jsonl").exists()
    assert harness(*run, "--out", torn, "--resume").returncode == 0
    assert (torn / "prefixes.jsonl").read_bytes() == (tmp_path / "whole" / "prefixes.jsonl").read_bytes()
