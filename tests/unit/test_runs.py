"""The run directory under crashes, second writers and other configurations."""

import json
from contextlib import contextmanager

import pytest

from harness.errors import UsageError
from harness.runs.claims import lock_directory
from harness.runs.directory import RUN_SCHEMA, RecordAppender, RunDirectory, record_to_line


def manifest(**identity):
    return {
        "schema": RUN_SCHEMA,
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
    nothing = {"messages": [], "calls": [], "scores": {}, "usage": {}, "timing": {}, "error": None}
    return {"schema": RUN_SCHEMA, **fields, "stop": "no_tool_calls", **nothing}


@contextmanager
def writing(path):
    with RunDirectory.claim(path, manifest(), resume=True) as run, RecordAppender(run.samples_path) as appender:
        yield run, appender


def test_the_last_line_of_a_key_counts_and_order_is_fixed(tmp_path):
    with writing(tmp_path / "run") as (run, appender):
        appender.append(entry("b", "2"))
        appender.append(entry("a", "1", "infrastructure_error"))
        appender.append(entry("a", "1"))
    assert [(r["sample"], r["outcome"]) for r in run.read_records()] == [("1", "ok"), ("2", "ok")]


def test_a_torn_last_line_is_dropped_and_then_overwritten(tmp_path):
    with writing(tmp_path / "run") as (run, _):
        pass
    whole = record_to_line(entry("a", "1"))
    for cut in range(len(whole)):
        run.samples_path.write_text(whole + record_to_line(entry("b", "2"))[:cut])
        assert [r["key"] for r in run.read_records()] == ["a"]
    with writing(tmp_path / "run") as (run, appender):
        appender.append(entry("c", "3"))
    assert [r["key"] for r in run.read_records()] == ["a", "c"]
    assert len(run.samples_path.read_text().splitlines()) == 2


@pytest.mark.parametrize(
    "bad",
    ["{oops", "{}", "[]", record_to_line({**entry("x"), "task": "u"}), record_to_line({**entry("x"), "sample": "?"})],
)
def test_a_broken_line_in_the_middle_is_not_passed_over(tmp_path, bad):
    with writing(tmp_path / "run") as (run, _):
        pass
    run.samples_path.write_text(bad.strip() + "\n" + record_to_line(entry("a")))
    with pytest.raises(UsageError, match="line 1 is no episode record"):
        run.read_records()


def test_another_configuration_is_refused_and_named(tmp_path):
    with writing(tmp_path / "run"):
        pass
    for other, said in [({"seed": 1}, "another run \\(seed: 0 there, 1 now\\)"), ({"verifier": 2}, "harness rescore")]:
        with pytest.raises(UsageError, match=said):
            RunDirectory.check(tmp_path / "run", manifest(**other), resume=True)


def test_another_model_is_named_by_what_differs(tmp_path):
    first = {**manifest(model_fingerprint="1"), "model": {"args": {"api": "chat"}}}
    with RunDirectory.claim(tmp_path / "run", first, resume=False):
        pass
    second = {**manifest(model_fingerprint="2"), "model": {"args": {"api": "responses"}}}
    with pytest.raises(UsageError, match=r"model\.args\.api: chat there, responses now"):
        RunDirectory.check(tmp_path / "run", second, resume=True)


def test_another_model_that_looks_the_same_is_still_another(tmp_path):
    first, second = ({**manifest(model_fingerprint=digest), "model": {"token": "[redacted]"}} for digest in "12")
    with RunDirectory.claim(tmp_path / "run", first, resume=False):
        pass
    with pytest.raises(UsageError, match=r"another run \(model_fingerprint: 1 there, 2 now\)"):
        RunDirectory.check(tmp_path / "run", second, resume=True)


def test_episodes_of_two_runs_are_not_counted_together(tmp_path):
    with writing(tmp_path / "run") as (run, appender):
        for key in "aba":
            appender.append(entry(key, "1"))
    with pytest.raises(UsageError, match="line 2: an earlier line has this episode of another run"):
        run.read_records()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"epoch": ...}, "its epoch is missing"),
        ({"key": 1}, "its key is no text"),
        ({"epoch": 1}, "the run has no epoch 1"),
        ({"task": "u"}, "the run has no task 'u'"),
        ({"sample": "?"}, "t has no sample '\\?'"),
        ({"usage": {"tokens": 1}}, "its usage is no usage by kinds of token"),
        ({"outcome": []}, "its outcome is no outcome"),
        ({"scores": {"a\nb": "x"}}, r"its score 'a\\nb' is no number"),
        ({"messages": [{"role": "user", "content": ""}, {}]}, "of message 2, its role is missing"),
        ({"calls": [{"turn": -1}]}, "of call 1, its turn is no count"),
    ],
)
def test_a_damaged_record_is_named_by_its_line_and_what_is_wrong(tmp_path, changes, said):
    with writing(tmp_path / "run") as (run, _):
        pass
    damaged = {name: value for name, value in {**entry("b", "2"), **changes}.items() if value is not ...}
    run.samples_path.write_text(record_to_line(entry("a", "1")) + record_to_line(damaged))
    with pytest.raises(UsageError, match=f"line 2 is no episode record of this run: {said}") as refused:
        run.read_records()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"price": {"input": 1, "output": 1}}, "its price is no price"),
        ({"model": []}, "its model is no object"),
        (
            {"tasks": {"t": {"headline": "x", "clusters": {"s": 1}}}},
            "of the task 't', its clusters is no object of text",
        ),
        ({"groups": {"g": ["t", "u"]}}, "a group or table has no tasks of the run"),
        ({"groups": {"g": ["t", "t"]}}, "a group or table has a task twice"),
        ({"groups": {f"g{n}": ["t"] for n in range(2000)}}, "there are 2,000 groups and columns of tables"),
        ({"tasks": {"t": {"headline": "x", "clusters": {}, "weight": 0}}, "groups": {"g": ["t"]}}, "have no weight"),
    ],
)
def test_a_damaged_manifest_says_what_is_wrong(tmp_path, changes, said):
    (tmp_path / "manifest.json").write_text(json.dumps({**manifest(), **changes}))
    with pytest.raises(UsageError, match=f"damaged: .*{said}"):
        RunDirectory.open(tmp_path)


def test_the_same_run_needs_resume(tmp_path):
    with writing(tmp_path / "run"):
        pass
    with pytest.raises(UsageError, match="by --resume"):
        RunDirectory.check(tmp_path / "run", manifest(), resume=False)
    assert RunDirectory.check(tmp_path / "run", manifest(), resume=True).read_records() == []


def test_a_directory_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="no run directory"):
        RunDirectory.check(tmp_path, manifest(), resume=True)


def test_what_a_killed_start_leaves_is_no_obstacle(tmp_path):
    (tmp_path / "run").mkdir()
    for name in (".manifest.json.77", ".lock"):
        (tmp_path / "run" / name).touch()
    with writing(tmp_path / "run") as (run, _):
        assert run.read_records() == []


def test_two_writers_are_refused(tmp_path):
    with writing(tmp_path / "run"):
        with pytest.raises(UsageError, match="Another process"), writing(tmp_path / "run"):
            pass
        with pytest.raises(UsageError, match="Another process"), lock_directory(tmp_path / "run"):
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
        (json.dumps({"schema": RUN_SCHEMA}), "damaged"),
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
        run.read_summary()
    run.summary_path.write_text("{}")
    with pytest.raises(UsageError, match="no summary"):
        run.read_summary()
