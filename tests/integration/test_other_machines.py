"""Machines that are not one's own: names of directories, file systems without locks, terminals without UTF-8, few open
files."""

import errno
import fcntl
import json
import re
import resource
from pathlib import Path

import pytest
from builders import record
from commands import episodes, harness, one_sentence
from hypothesis import given
from hypothesis import strategies as st

from harness import cli
from harness.errors import UsageError
from harness.evaluation import descriptors
from harness.runs.claims import lock_directory
from harness.runs.names import directory_name

# --- names -------------------------------------------------------------------------------------------------------


@given(st.text(min_size=1))
def test_a_directory_name_is_short_and_has_nothing_that_a_path_reads_its_own_way(model):
    name = directory_name(model)
    assert len(name.encode()) <= 100 and not set(name) & set('/:\\"*?<>|\0\n ')


def test_a_usual_name_stays_and_long_ones_stay_apart():
    assert directory_name("openai/gpt-4.1-mini") == "openai-gpt-4.1-mini"
    assert directory_name("openai/llama3:8b") == "openai-llama3-8b"
    first, second = (directory_name("hf/" + "x" * 200 + end) for end in "ab")
    assert first != second and len(first) == 100


def test_the_default_directory_of_a_url_has_no_colon(tmp_path):
    model = ("--model", "http://127.0.0.1:9/v1/" + "m" * 200, "--base-url", "http://127.0.0.1:9")
    harness("eval", *model, "--tasks", "demo_single_hop", "--limit", 1, "--model-arg", "max_retries=0", cwd=tmp_path)
    (made,) = (tmp_path / "results" / "runs").iterdir()
    assert re.fullmatch(r"\d{8}T\d{6}Z-[\w.@-]+", made.name) and len(made.name) <= 117


# --- locks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "says"),
    [
        (errno.EWOULDBLOCK, "Another process is writing"),
        (errno.ENOLCK, "No locks available.*its file system has no locks.*local disk"),
        (errno.EOPNOTSUPP, "its file system has no locks"),
    ],
)
def test_what_a_lock_is_refused_for_is_told_apart(tmp_path, monkeypatch, number, says):
    def flock(file, kind):
        raise OSError(number, errno.errorcode[number] if number != errno.ENOLCK else "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(UsageError, match=says), lock_directory(tmp_path):
        pytest.fail("it is not held")


# --- encodings ---------------------------------------------------------------------------------------------------

ASCII = (
    {"PYTHONIOENCODING": "ascii"},
    {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"},
)


@pytest.fixture
def umlauts(tmp_path):
    said = "Wie viele Einwohner hat Zürich? 数"
    (tmp_path / "towns.jsonl").write_text(json.dumps(record(id="zürich", messages=[{"role": "user", "content": said}])))
    return tmp_path


@pytest.mark.parametrize("locale", ASCII)
def test_a_terminal_without_utf8_gets_escapes(umlauts, locale):
    run = ("eval", "--model", "policy/oracle", "--tasks", "towns.jsonl", "--out", "run")
    done = harness(*run, cwd=umlauts, **locale)
    assert done.returncode == 0, done.stderr
    assert episodes(umlauts / "run")[0]["sample"] == "zürich"
    shown = harness("show", "run", cwd=umlauts, **locale)
    assert shown.returncode == 0 and "z\\xfcrich" in shown.stdout and not shown.stderr


def test_a_path_that_the_locale_cannot_name_is_one_sentence(umlauts):
    model = ("--model", "m", "--base-url", "http://127.0.0.1:9", "--tasks", "towns.jsonl")
    said = one_sentence(harness("eval", *model, "--out", "run", "--prices", "\u6570.toml", cwd=umlauts, **ASCII[1]))
    assert "There is no price file" in said


# --- open files --------------------------------------------------------------------------------------------------


@pytest.fixture
def limits(monkeypatch):
    """Stands for the process's limits of open files: [soft, hard]."""
    now = [256, 1_000]
    monkeypatch.setattr(resource, "getrlimit", lambda kind: tuple(now))
    monkeypatch.setattr(resource, "setrlimit", lambda kind, both: now.__setitem__(slice(None), both))
    return now


def test_enough_is_left_as_it_is(limits, capsys):
    assert descriptors.fit_concurrency(16) == 16 and limits == [256, 1_000]
    assert capsys.readouterr().err == ""


def test_the_soft_limit_is_raised_to_what_is_needed(limits, capsys):
    assert descriptors.fit_concurrency(100) == 100 and limits == [928, 1_000]
    assert capsys.readouterr().err == ""


def test_episodes_at_once_are_fitted_to_the_hard_limit(limits, capsys):
    assert descriptors.fit_concurrency(500) == 109 and limits == [1_000, 1_000]
    assert "--concurrency 500 needs about 4,128 open files, and the limit here is 1,000" in capsys.readouterr().err


def test_no_limit_is_enough(limits, capsys):
    limits[:] = [256, resource.RLIM_INFINITY]
    assert descriptors.fit_concurrency(1_000) == 1_000 and limits[0] == 8_128


def test_a_run_says_so_and_plays(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(descriptors, "BASE", resource.getrlimit(resource.RLIMIT_NOFILE)[1] - 8)
    run = ["eval", "--model", "policy/silent", "--tasks", "demo_single_hop", "--limit", "1", "--concurrency", "3"]
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        assert cli.main([*run, "--out", str(Path(tmp_path) / "run")]) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, soft)
    assert "1 episodes are played at once" in capsys.readouterr().err
