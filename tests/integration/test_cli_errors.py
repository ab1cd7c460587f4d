"""Bad input: one sentence, exit status 2, nothing lost."""

import json

import pytest
from builders import ROOT, record, write_records
from commands import harness, one_sentence

EVAL = ("eval", "--model", "policy/silent", "--tasks")


def test_no_task_matches_and_near_names_are_given():
    said = one_sentence(harness(*EVAL, "dmeo_single_hop"))
    assert "'dmeo_single_hop'" in said and "demo_single_hop" in said


def test_missing_key():
    said = one_sentence(harness("eval", "--model", "gpt-x", "--tasks", "demo_*"))
    assert "OPENAI_API_KEY" in said and "--base-url" in said


def test_a_cost_limit_needs_a_price_of_every_model_that_is_not_free():
    limited = ("--tasks", "demo_single_hop", "--max-cost", "1", "--dry-run")
    assert harness("eval", "--model", "policy/silent", *limited).returncode == 0
    models = ("policy/silent", "gpt-x", "--base-url", "http://localhost:1")
    said = one_sentence(harness("eval", "--model", *models, *limited))
    assert "a price of openai/gpt-x" in said and "--prices" in said


def test_missing_file(tmp_path):
    said = one_sentence(harness(*EVAL, tmp_path / "nowhere.jsonl"))
    assert "nowhere.jsonl" in said


def test_missing_data_set():
    assert "--data paper=PATH" in one_sentence(harness(*EVAL, "paper_*"))


def test_unknown_data_set():
    assert "'papers'" in one_sentence(harness(*EVAL, "paper_*", "--data", "papers=x"))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"unsolved_set": ...}, "'unsolved_set'"),
        ({"codes": {"population": "def population(:"}}, "does not compile"),
        ({"codes": {}}, "has no code"),
    ],
)
def test_a_record_that_does_not_fit(tmp_path, changes, said):
    path = write_records(tmp_path / "towns.jsonl", [record(**changes)])
    assert said in one_sentence(harness(*EVAL, path))


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.jsonl").touch()
    assert "no records" in one_sentence(harness(*EVAL, tmp_path / "empty.jsonl"))


def test_a_directory_that_holds_another_run(tmp_path):
    run = (*EVAL, "demo_single_hop", "--out", tmp_path / "run")
    assert harness(*run).returncode == 0
    before = (tmp_path / "run" / "samples.jsonl").read_bytes()
    assert "--resume" in one_sentence(harness(*run))
    assert "max_turns" in one_sentence(harness(*run, "--max-turns", 3, "--resume"))
    assert (tmp_path / "run" / "samples.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--concurrency", "0"), "at least 1"),
        (("--temperature", "-1"), "0 or more"),
        (("--temperature", "warm"), "not a number"),
        (("--top-p", "0"), "must be above 0 and at most 1, not 0"),
        (("--top-p", "nan"), "must be above 0 and at most 1, not nan"),
        (("--top-k", "0"), "must be at least 1"),
        (("--min-p", "1.1"), "from 0 to 1"),
        (("--presence-penalty", "-2.1"), "must be from -2 to 2, not -2.1"),
        (("--frequency-penalty", "3"), "must be from -2 to 2, not 3"),
        (("--repetition-penalty", "0"), "a number above 0"),
        (("--limit", "many"), "not a whole number"),
        (("--samples", "lighthose_keepers"), "lighthouse_keepers"),
        (("--resume",), "--out"),
        (("--model-arg", "oops"), "NAME=VALUE"),
        (("--sandbox", "none"), "invalid choice"),
        (("--nonsense",), "unrecognized"),
        (("--out", "/dev/null/run"), "Not a directory"),
        (("--data", "paper=a", "paper=b"), "twice"),
    ],
)
def test_bad_options(words, said):
    assert said in one_sentence(harness(*EVAL, "demo_*", *words))


def test_an_empty_base_url_is_not_the_providers_own():
    said = one_sentence(harness("eval", "--model", "m", "--tasks", "demo_*", "--base-url", ""))
    assert "--base-url is empty" in said


@pytest.mark.parametrize(
    "model", ["policy/oracel", "policy/z*", "replay/nowhere.jsonl", "policy/", "replay/", "", "./model", "/tmp"]
)
def test_a_model_that_is_none(model):
    assert one_sentence(harness("eval", "--model", model, "--tasks", "demo_*"))


@pytest.mark.parametrize(
    "source",
    ["tasks = None", "def tasks(data): return []", "def tasks(data): return [1]", "raise SystemExit(7)", "1 / 0", "(",
     "from harness.task import environment_task\ndef tasks(data): return [environment_task('t', lambda: 1 / 0)]"],
)  # fmt: skip
def test_a_task_file_that_gives_no_tasks(tmp_path, source):
    (tmp_path / "task.py").write_text(source)
    assert "task" in one_sentence(harness(*EVAL, tmp_path / "task.py"))


def test_no_task_named():
    assert "No task was named" in one_sentence(harness(*EVAL, ","))


def test_half_a_surrogate_pair(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps(record(id="\ud800")) + "\n")
    assert "surrogate" in one_sentence(harness(*EVAL, tmp_path / "a.jsonl"))


def test_the_oracle_without_gold(tmp_path):
    path = write_records(tmp_path / "towns.jsonl", [record(gold_calls=...)])
    assert "gold_calls" in one_sentence(harness("eval", "--model", "policy/oracle", "--tasks", path))


def test_an_unknown_command():
    assert "eval" in one_sentence(harness("evil"))


@pytest.mark.parametrize("command", ["show", "rescore", "table"])
def test_what_is_no_run(tmp_path, command):
    assert "no run directory" in one_sentence(harness(command, tmp_path))


def test_an_ambiguous_recording(tmp_path):
    path = write_records(
        tmp_path / "both.jsonl", [{"line": 0, "policy": p, "turns": [], "final": ""} for p in ("a", "b")]
    )
    said = one_sentence(harness("eval", "--model", f"replay/{path}", "--tasks", "demo_*"))
    assert "policy=NAME" in said


def test_help_of_every_command():
    text = harness("--help").stdout
    for name in ("eval", "rescore", "list", "show", "table", "doctor"):
        assert f"    {name} " in text
        assert harness(name, "--help").returncode == 0
    assert (ROOT / "README.md").exists()
