"""Progress: on a terminal a bar shows score, failures and time left; elsewhere a line says so every half minute."""

import os
import pty
import re
import subprocess
import termios
import threading
import time
from collections import Counter
from types import SimpleNamespace

import pytest
from commands import command, environment, harness

from envbuilder import pipeline
from harness import cli
from harness.console import progress


def on_a_terminal(tmp_path, *words):
    """What `harness eval` writes to a terminal as its stderr."""
    master, slave = pty.openpty()
    termios.tcsetwinsize(slave, (24, 140))
    process = subprocess.Popen(
        command(
            "eval", "--model", "policy/random", "--tasks", "demo_*", "--epochs", 20, "--out", tmp_path / "r", *words
        ),
        env=environment(COLUMNS="120", TERM="xterm"),
        stdout=subprocess.DEVNULL,
        stderr=slave,
    )
    os.close(slave)
    seen = b""
    try:
        while part := os.read(master, 65536):
            seen += part
    except OSError:  # the terminal is closed when its last writer is gone
        pass
    os.close(master)
    assert process.wait() == 0
    return seen.decode()


def test_a_terminal_sees_score_failures_and_time(tmp_path):
    seen = on_a_terminal(tmp_path)
    assert "policy/random" in seen and "240/240" in seen
    assert "solve_f1 0.0" in seen and "failed 0" in seen
    assert "episode/s" in seen


def test_quiet_is_quiet(tmp_path):
    assert on_a_terminal(tmp_path, "--quiet") == ""


def test_a_pipe_sees_nothing_of_what_is_over_soon(tmp_path):
    done = harness("eval", "--model", "policy/silent", "--tasks", "demo_*", "--out", tmp_path / "r")
    assert done.stderr == ""


def lines_of(stage, steps):
    """The line of a log after each of the (seconds, done, note)."""
    now = 0.0
    seen = progress.StageProgress(*stage, lambda: now)
    for seconds, done, note in steps:
        now += seconds
        seen.advance(done, note)
        yield seen.line()


def test_a_line_says_rate_failures_and_time_left():
    *_, first, last = lines_of(("m", 240, "episode"), [(10, 30, "failed 1"), (20, 30, "failed 2")])
    assert first == "m: 30 of 240 episodes, 3.0/s, failed 1, 01:10 left"
    assert last == "m: 60 of 240 episodes, 2.0/s, failed 2, 01:30 left"


def test_slow_steps_are_told_by_the_minute_and_the_end_has_no_time_left():
    assert list(lines_of(("train", 2, "it"), [(60, 1, ""), (60, 1, "")])) == [
        "train: 1 of 2, 1.0/min, 01:00 left",
        "train: 2 of 2, 1.0/min",
    ]


def test_what_was_there_before_says_nothing_of_the_rate():
    kept = [(5, 1, ""), *[(0.0001, 1, "")] * 99]
    *_, last = lines_of(("m", 200, "episode"), [*kept, (50, 25, "")])
    assert last == "m: 125 of 200 episodes, 30.0/min, 02:30 left"


def test_steps_from_before_an_interruption_say_nothing_of_the_rate(monkeypatch, capsys):
    now = 100.0
    monkeypatch.setattr(progress, "EVERY", 3600)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with progress.ProgressBar() as bar:
        bar.watch("train", 21, 60)
        now += 120
        bar.watch("train", 22, 60)
        assert bar._log._stage.line() == "train: 22 of 60, 0.5/min, 1:16:00 left"


@pytest.mark.parametrize("quiet", [False, True])
def test_a_log_gets_a_line_also_where_nothing_moves(monkeypatch, capsys, quiet):
    monkeypatch.setattr(progress, "EVERY", 0.02)
    with progress.ProgressBar("episode", quiet) as bar:
        bar.begin("m", 10)
        bar.advance(4, "failed 1")
        time.sleep(0.1)
        bar.watch("next, 0.5", 1, 3)
        time.sleep(0.1)
    said = capsys.readouterr().err.splitlines()
    assert bool(said) is not quiet
    if not quiet:
        assert said[0].startswith("m: 4 of 10 episodes") and said[-1].startswith("next: 1 of 3 episodes")
        assert "0.5" in said[-1] and len(said) >= 4
    assert not [thread for thread in threading.enumerate() if thread.name == "progress"]


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "--model", "policy/oracle", "--tasks", "demo_*", "--out"),
        ("validate", "demo_single_hop", "--no-floors"),
    ],
)
def test_long_commands_write_lines(monkeypatch, capsys, tmp_path, words):
    monkeypatch.setattr(progress, "EVERY", 0.002)
    assert cli.main([*words, *([str(tmp_path / "run")] if words[-1] == "--out" else [])]) == 0
    assert re.search(r" of \d+ ", capsys.readouterr().err)


def test_a_build_writes_lines_with_what_was_refused(monkeypatch, capsys, tmp_path):
    def slowly(plan, out, watch, **_):
        watch(Counter(duplicate=2))
        time.sleep(0.1)

    monkeypatch.setattr(progress, "EVERY", 0.02)
    monkeypatch.setattr(pipeline, "build_file", slowly)
    pipeline.build_file_in_sight(SimpleNamespace(n=3, worlds=3), tmp_path, workers=1, keep_stages=None, quiet=False)
    assert "build: 1 of 3 environments" in (said := capsys.readouterr().err) and "refused 2" in said
