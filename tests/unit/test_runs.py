"""The run directory under crashes, second writers and other configurations."""

import json
from contextlib import contextmanager

import pytest

from harness.errors import UsageError
from harness.runs import SCHEMA, Appender, RunDirectory, line, locked


def manifest(**identity):
    return {
        "schema": SCHEMA,
        "identity": {
            "model": "m",
            "reasoning": "default",
            "tasks": {},
            "epochs": 1,
            "verifier": 1,
            "seed": 0,
            **identity,
        },
        "model": {"name": "m"},
        "tasks": {"t": {"headline": "solve_f1", "clusters": dict.fromkeys("s1234", "w")}},
        **{name: {} for name in ("groups", "sources", "sandbox")},
    }


def entry(key, sample="s", outcome="ok"):
    fields = {"key": key, "task": "t", "sample": sample, "epoch": 0, "outcome": outcome}
    return {"schema": SCHEMA, **fields, "calls": [], "scores": {}}


@contextmanager
def writing(path):
    with RunDirectory.claim(path, manifest(), resume=True) as run, Appender(run.samples_path) as appender:
        yield run, appender


def test_the_last_line_of_a_key_counts_and_order_is_fixed(tmp_path):
    with writing(tmp_path / "run") as (run, appender):
        appender.append(entry("b", "2"))
        appender.append(entry("a", "1", "infrastructure_error"))
        appender.append(entry("a", "1"))
    assert [(r["sample"], r["outcome"]) for r in run.records()] == [("1", "ok"), ("2", "ok")]


def test_a_torn_last_line_is_dropped_and_then_overwritten(tmp_path):
    with writing(tmp_path / "run") as (run, _):
        pass
    whole = line(entry("a", "1"))
    for cut in range(len(whole)):
        run.samples_path.write_text(whole + line(entry("b", "2"))[:cut])
        assert [r["key"] for r in run.records()] == ["a"]
    with writing(tmp_path / "run") as (run, appender):
        appender.append(entry("c", "3"))
    assert [r["key"] for r in run.records()] == ["a", "c"]
    assert len(run.samples_path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "bad", ["{oops", "{}", "[]", line({**entry("x"), "task": "u"}), line({**entry("x"), "sample": "?"})]
)
def test_a_broken_line_in_the_middle_is_not_passed_over(tmp_path, bad):
    with writing(tmp_path / "run") as (run, _):
        pass
    run.samples_path.write_text(bad.strip() + "\n" + line(entry("a")))
    with pytest.raises(UsageError, match="line 1 is no episode record"):
        run.records()


def test_another_configuration_is_refused_and_named(tmp_path):
    with writing(tmp_path / "run"):
        pass
    for other, said in [({"seed": 1}, "another run \\(seed: 0 there, 1 now\\)"), ({"verifier": 2}, "harness rescore")]:
        with pytest.raises(UsageError, match=said):
            RunDirectory.check(tmp_path / "run", manifest(**other), resume=True)


def test_another_model_is_named_by_what_differs(tmp_path):
    first = {**manifest(model_fingerprint="1"), "model": {"base_url": "http://a/v1"}}
    with RunDirectory.claim(tmp_path / "run", first, resume=False):
        pass
    second = {**manifest(model_fingerprint="2"), "model": {"base_url": "http://b/v1"}}
    with pytest.raises(UsageError, match=r"model\.base_url: http://a/v1 there, http://b/v1 now"):
        RunDirectory.check(tmp_path / "run", second, resume=True)


def test_the_same_run_needs_resume(tmp_path):
    with writing(tmp_path / "run"):
        pass
    with pytest.raises(UsageError, match="by --resume"):
        RunDirectory.check(tmp_path / "run", manifest(), resume=False)
    assert RunDirectory.check(tmp_path / "run", manifest(), resume=True).records() == []


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.check(tmp_path, manifest(), resume=True)


def test_what_a_killed_start_leaves_is_no_obstacle(tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".manifest.json.77", ".lock"):
        (tmp_path / "run" / name).touch()
    with writing(tmp_path / "run") as (run, _):
        assert run.records() == []


def test_two_writers_are_refused(tmp_path):
    with writing(tmp_path / "run"):
        with pytest.raises(UsageError, match="Another process"), writing(tmp_path / "run"):
            pass
        with pytest.raises(UsageError, match="Another process"), locked(tmp_path / "run"):
            pass
    with writing(tmp_path / "run") as (_, appender):
        appender.append(entry("a"))


def test_what_is_no_run_is_one_sentence(tmp_path):
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.open(tmp_path)
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.open(tmp_path / "file" / "in")
    for text, said in [
        ("{", "cannot be read"),
        ("[]", "no JSON object"),
        (json.dumps({"schema": 99}), "another format"),
        (json.dumps({"schema": SCHEMA}), "damaged"),
        (json.dumps({**manifest(), "identity": []}), "damaged"),
        (json.dumps({**manifest(), "tasks": {"t": {}}}), "damaged"),
    ]:
        (tmp_path / "manifest.json").write_text(text)
        with pytest.raises(UsageError, match=said):
            RunDirectory.open(tmp_path)


def test_a_run_without_a_summary_says_how_to_finish(tmp_path):
    with writing(tmp_path / "run") as (run, _):
        pass
    with pytest.raises(UsageError, match="--resume"):
        run.summary()
    run.summary_path.write_text("{}")
    with pytest.raises(UsageError, match="no summary"):
        run.summary()
