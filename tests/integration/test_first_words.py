"""What newcomers write first: groups, files, folders and mistyped names either work or are answered by what to do."""

import json

import pytest
from builders import record
from commands import harness, one_sentence

from harness import cli
from harness.data.limits import reading_within
from harness.errors import UsageError
from harness.registry import match_tasks

EVAL = ("eval", "--model", "policy/oracle", "--tasks")


def run(capsys, *words):
    """The exit status and what was printed, in this process."""
    try:
        status = cli.main([str(word) for word in words])
    except SystemExit as end:
        status = int(end.code or 0)
    return status, capsys.readouterr()


@pytest.mark.parametrize(("short", "glob"), [("demo", "demo_*"), ("micro@1", "micro_*@1"), ("step", "step_*")])
def test_a_group_names_its_tasks(short, glob):
    named = [(task.name, task.version) for task in match_tasks(short, {})]
    assert named and named == [(task.name, task.version) for task in match_tasks(glob, {})]


def test_part_of_a_name_is_no_group():
    assert match_tasks("micro_parallel", {}) == [] and match_tasks("dem", {}) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("towns.ndjson", "{}\n"),
        ("towns.json", "[{}]"),
        ("towns.json", "{}\n"),
        ("towns.jsonl", "{}\n"),
    ],
)
def test_json_by_any_ending_is_listed_and_played(tmp_path, capsys, name, text):
    path = tmp_path / name
    path.write_text(text.replace("{}", json.dumps(record())))
    status, said = run(capsys, "list", path)
    assert status == 0 and said.out.splitlines()[2].split()[:2] == ["towns", "1"]
    assert run(capsys, *EVAL, path, "--dry-run")[0] == 0


def test_json_with_a_row_a_line_is_read_too(tmp_path, capsys):
    path = tmp_path / "towns.json"
    path.write_text("\n".join(json.dumps(record(id=name)) for name in "ab"))
    status, said = run(capsys, *EVAL, path, "--dry-run")
    assert status == 0 and "2 episodes of towns" in said.out


def test_a_list_in_json_that_is_too_long_is_refused(tmp_path, capsys):
    (tmp_path / "towns.json").write_text(json.dumps([record()]))
    with reading_within({"line": 10}):
        status, said = run(capsys, "list", tmp_path / "towns.json")
    assert status == 2 and "write it as JSONL" in said.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("eval", "--modle", "policy/oracle"), "harness eval: unrecognized arguments: --modle; did you mean --model"),
        (("eval", "--model", "m", "--tasks", "demo", "--limt=3"), "--limt; did you mean --limit"),
        (("list", "--bogus"), "harness list: unrecognized arguments: --bogus. See `harness list --help`"),
        (("--verison",), "harness: unrecognized arguments: --verison; did you mean --version"),
        (("export", "verl", "--algoritm", "grpo"), "harness export verl: unrecognized arguments: --algoritm"),
        (("show", "-full", "x"), "-full; did you mean --full"),
    ],
)
def test_an_unknown_option_is_named_first_with_a_near_one(capsys, words, says):
    status, said = run(capsys, *words)
    assert status == 2 and says in said.err and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("hf/{}/weights.gguf", "cannot be read as GGUF"),
        ("hf/{}/nowhere", "Nothing is fetched from a hub"),
        ("nosuch/foo", "No backend is called nosuch/"),
        ("vllm/{}/nowhere", "there is no directory"),
    ],
)
def test_a_model_that_cannot_be_had(tmp_path, model, says):
    (tmp_path / "weights.gguf").touch()
    said = one_sentence(harness("eval", "--model", model.format(tmp_path), "--tasks", "demo", "--dry-run"))
    assert says in said


def test_a_folder_of_runs_is_listed(tmp_path, capsys):
    both = ("eval", "--model", "policy/oracle", "policy/silent", "--tasks", "demo_single_hop", "--limit", "1")
    assert run(capsys, *both, "--out", tmp_path / "runs")[0] == 0
    status, said = run(capsys, "show", tmp_path / "runs")
    rows = [line.split() for line in said.out.splitlines() if "policy/" in line]
    assert status == 0 and [row[1] for row in rows] == ["policy/oracle", "policy/silent"]
    assert all(row[-1] == "complete" for row in rows)
    status, said = run(capsys, "show", tmp_path / "runs", "lost_property")
    assert status == 2 and "holds 2 runs; name one of them" in said.err


def test_a_hint_names_a_command_that_works_in_a_checkout(monkeypatch):
    from harness.models.local import packages

    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install '\.\[vllm\]' in a checkout"):
        packages.check_packages("vllm/folder", ["vllm"], "vllm")
