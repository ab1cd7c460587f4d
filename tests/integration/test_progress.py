"""The progress bar: on a terminal it shows score, failures and time left; elsewhere nothing."""

import os
import pty
import subprocess
import termios

from commands import command, environment, harness


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


def test_a_pipe_sees_nothing(tmp_path):
    done = harness("eval", "--model", "policy/silent", "--tasks", "demo_*", "--out", tmp_path / "r")
    assert done.stderr == ""
