"""The run directory under crashes, second writers and other configurations."""

import json

import pytest

from harness.errors import UsageError
from harness.runs import SCHEMA, RunDirectory, line


def manifest(**identity):
    return {"schema": SCHEMA, "identity": {"model": "m", "seed": 0, **identity}}


def entry(key, sample="s", outcome="ok"):
    return {"key": key, "task": "t", "sample": sample, "epoch": 0, "outcome": outcome}


def test_the_last_line_of_a_key_counts_and_order_is_fixed(tmp_path):
    run = RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    with run.appender() as appender:
        appender.append(entry("b", "2"))
        appender.append(entry("a", "1", "infrastructure_error"))
        appender.append(entry("a", "1"))
    assert [(r["sample"], r["outcome"]) for r in run.records()] == [("1", "ok"), ("2", "ok")]


def test_a_torn_last_line_is_dropped_and_then_overwritten(tmp_path):
    run = RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    whole = line(entry("a", "1"))
    for cut in range(len(whole)):
        run.samples_path.write_text(whole + line(entry("b", "2"))[:cut])
        assert [r["key"] for r in run.records()] == ["a"]
    with run.appender() as appender:
        appender.append(entry("c", "3"))
    assert [r["key"] for r in run.records()] == ["a", "c"]
    assert len(run.samples_path.read_text().splitlines()) == 2


def test_a_broken_line_in_the_middle_is_not_passed_over(tmp_path):
    run = RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    run.samples_path.write_text("{oops\n" + line(entry("a")))
    with pytest.raises(UsageError, match="line 1 is no episode record"):
        run.records()


def test_another_configuration_is_refused_and_named(tmp_path):
    RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    with pytest.raises(UsageError, match="another run \\(seed: 0 there, 1 now\\)"):
        RunDirectory.start(tmp_path / "run", manifest(seed=1), resume=True)


def test_the_same_run_needs_resume(tmp_path):
    RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    with pytest.raises(UsageError, match="by --resume"):
        RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    assert RunDirectory.start(tmp_path / "run", manifest(), resume=True).records() == []


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.start(tmp_path, manifest(), resume=True)


def test_two_writers_are_refused(tmp_path):
    run = RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    with run.appender(), pytest.raises(UsageError, match="Another process"):
        run.appender()
    with run.appender() as appender:
        appender.append(entry("a"))


def test_every_line_passes_the_redactor(tmp_path):
    run = RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    with run.appender(lambda text: text.replace("hunter2", "***")) as appender:
        appender.append({**entry("a"), "error": "bad key hunter2"})
    assert "hunter2" not in run.samples_path.read_text()


def test_what_is_no_run_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.open(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(UsageError, match="cannot be read"):
        RunDirectory.open(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"schema": 99}))
    with pytest.raises(UsageError, match="another format"):
        RunDirectory.open(tmp_path)


def test_a_run_without_a_summary_says_how_to_finish(tmp_path):
    run = RunDirectory.start(tmp_path / "run", manifest(), resume=False)
    with pytest.raises(UsageError, match="--resume"):
        run.summary()
