"""A run directory that somebody mailed: reading it runs no code of theirs, follows no link, waits for no FIFO and
writes nowhere else, by whatever command."""

import json
import lzma
import os
import socket
import sys
import time

import pytest
from builders import record, write_records
from commands import command as words_of
from commands import environment
from result_runs import write_run

from harness.cli import main
from harness.data.disk import remove_folder
from harness.registry import code_digest

PROGRAM = """
from pathlib import Path
Path({marker!r}).write_text("ran")
def tasks(data):
    from harness.task import file_task
    return [file_task(Path({records!r}))]
"""
SOON = 20
"""Seconds: a command that waits for a FIFO waits for ever."""
READERS = ["show", "list of runs", "transcripts", "report", "rescore", "compare", "table"]


@pytest.fixture
def run(capsys):
    """Runs a command in this process: its status, and what it said."""

    def called(*words):
        began = time.monotonic()
        try:
            status = main([str(word) for word in words])
        except SystemExit as end:
            status = end.code
        assert time.monotonic() - began < SOON
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        return status, said.out + said.err

    return called


def words(name, path, out):
    """The words of one of READERS."""
    return {
        "show": ("show", path),
        "list of runs": ("show", path.parent),
        "transcripts": ("show", path, "s1"),
        "report": ("report", path, "--out", out / "report.html"),
        "rescore": ("rescore", path),
        "compare": ("compare", path, path),
        "table": ("table", path),
    }[name]


@pytest.fixture
def mailed(tmp_path):
    """A run whose manifest says that a program beside it has its tasks, and the file that this would write."""
    marker, file = tmp_path / "marker", tmp_path / "evil.py"
    records = write_records(tmp_path / "towns.jsonl", [record(id="s1")])
    file.write_text(PROGRAM.format(marker=str(marker), records=str(records)))
    path = write_run(tmp_path / "runs" / "mailed", {"towns": {"s1": [{"solve_f1": 1.0}]}})
    change(path, sources={"tasks": ["demo_*", f" {file} "], "data": {}})
    return path, file, marker


def change(path, **parts):
    manifest = json.loads((path / "manifest.json").read_text())
    (path / "manifest.json").write_text(json.dumps({**manifest, **parts}))


@pytest.mark.parametrize("name", READERS)
def test_no_command_runs_the_code_that_a_run_names(mailed, run, tmp_path, name):
    path, file, marker = mailed
    status, said = run(*words(name, path, tmp_path))
    assert not marker.exists()
    assert status == (2 if name == "rescore" else 0), said
    if name in ("transcripts", "report", "rescore"):
        places = [said.find(part) for part in (str(file), code_digest(file), "--trust-code")]
        assert -1 < places[0] < places[1] < places[2], said
        assert said.count("--trust-code") == 1


def test_the_option_runs_it(mailed, run):
    path, _, marker = mailed
    assert run("show", path, "s1", "--trust-code")[0] == 0
    assert marker.exists()


@pytest.mark.slow
def test_training_on_a_run_does_not_run_it_either(mailed, tmp_path):
    import subprocess

    path, file, marker = mailed
    done = subprocess.run(
        words_of("train", "--recipe", "tiny-base", "--set", f"trajectories={path}", "--out", tmp_path / "trained"),
        env=environment(), capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 2 and str(file) in done.stderr and "--trust-code" in done.stderr, done.stderr
    assert not marker.exists()


@pytest.mark.parametrize("command", ["eval", "collect"])
def test_a_task_file_is_compared_before_it_is_run(mailed, run, command):
    path, file, marker = mailed
    identity = json.loads((path / "manifest.json").read_text())["identity"]
    change(path, identity={**identity, "code": {"evil.py": "0" * 16}})
    status, said = run(command, "--model", "policy/oracle", "--tasks", file, "--out", path, "--resume")
    assert status == 2 and "holds another run (code.evil.py: 0000000000000000 there" in said
    assert not marker.exists()


# --- what is no file ---------------------------------------------------------------------------------------------


def put_fifo(path):
    os.mkfifo(path)


def put_link(path):
    path.symlink_to("/dev/zero")


def put_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        os.chdir(path.parent)  # names of sockets are short
        server.bind(path.name)


def put_device(path):
    try:
        os.mknod(path, 0o020666, os.makedev(1, 5))  # zero
    except PermissionError:
        pytest.skip("making a device needs root")


KINDS = {"a FIFO": put_fifo, "a link": put_link, "a socket": put_socket, "a device": put_device}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["manifest.json", "samples.jsonl", "summary.json", ".lock"])
def test_what_is_no_file_is_one_sentence_at_once(mailed, run, tmp_path, monkeypatch, name, kind):
    monkeypatch.chdir(tmp_path)
    path, _, _ = mailed
    change(path, sources={})
    (path / name).unlink(missing_ok=True)
    KINDS[kind](path / name)
    for reader in ["rescore"] if name == ".lock" else ["table", "report", "transcripts"]:
        status, said = run(*words(reader, path, tmp_path))
        if name != "summary.json":
            assert status == 2, (reader, said)
        if name != "summary.json" or reader == "table":
            assert f"{name} is {kind}" in said and said.count("\n") == 1, said


def test_a_link_to_a_secret_is_not_read(mailed, run, tmp_path):
    path, _, _ = mailed
    secret = tmp_path / "secret"
    (path / "samples.jsonl").rename(secret)
    (path / "samples.jsonl").symlink_to(secret)
    status, said = run("show", path)
    assert status == 2 and "is a link, which is not followed" in said


def test_nothing_is_written_through_a_link(mailed, run, tmp_path, monkeypatch):
    path, _, _ = mailed
    victim = tmp_path / "victim"
    victim.write_text("mine")
    change(path, sources={"tasks": [str(tmp_path / "towns.jsonl")], "data": {}})
    for name in ("manifest.json", "samples.jsonl", "summary.json"):
        for planted in (f".{name}.{os.getpid()}", f".{os.getpid()}.{name}"):
            (path / planted).symlink_to(victim)
    run("rescore", path)
    (path / ".lock").unlink()
    (path / ".lock").symlink_to(victim)
    status, said = run("rescore", path)
    assert status == 2 and ".lock is a link" in said
    assert victim.read_text() == "mine"


def test_curves_and_metrics_are_no_way_in(mailed, run, tmp_path):
    path, _, _ = mailed
    put_fifo(path / "metrics.jsonl")
    assert run("report", path, "--out", tmp_path / "report.html")[0] == 0
    (path / "metrics.jsonl").unlink()
    put_link(path / "metrics.jsonl")
    assert run("report", path, "--out", tmp_path / "report.html")[0] == 0


@pytest.mark.skipif(sys.platform != "linux", reason="names of files that are no files")
@pytest.mark.parametrize("option", ["--prices", "--tasks"])
def test_a_named_file_must_be_one_too(run, tmp_path, option):
    given = tmp_path / "given.jsonl"
    put_fifo(given)
    named = {"--tasks": "demo_single_hop", "--prices": tmp_path / "none", option: given}
    status, said = run("eval", "--model", "policy/oracle", "--dry-run", *(x for pair in named.items() for x in pair))
    assert status == 2 and said.count("\n") == 1, said


# --- names -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["half \ud800 a pair", "\x1b[2J\u2028\u202e<script>", "../../up", "nul\0", ""])
def test_a_task_of_any_name_is_shown(run, tmp_path, name):
    path = write_run(tmp_path / "runs" / "mailed", {"towns": {"s1": [{"solve_f1": 0.0}]}})
    for file in ("manifest.json", "samples.jsonl", "summary.json"):
        (path / file).write_text((path / file).read_text().replace('"towns"', json.dumps(name)))
    for reader in ("show", "transcripts", "report", "compare", "table"):
        status, said = run(*words(reader, path, tmp_path))
        assert status == 0, said
        assert not set(said) & set("\x1b\u2028\u202e\0"), said


# --- what becomes too much ---------------------------------------------------------------------------------------


def test_a_packed_run_that_becomes_gigabytes_is_one_sentence(mailed, run, tmp_path):
    path, _, _ = mailed
    (path / "samples.jsonl").unlink()
    (path / "samples.jsonl.xz").write_bytes(lzma.compress(b" " * 200_000_000, preset=0))
    for reader in ("table", "transcripts", "report"):
        status, said = run(*words(reader, path, tmp_path))
        assert status == 2 and "--read-limit" in said and said.count("\n") == 1, said


@pytest.mark.parametrize("spread", [1, 4])
def test_a_thousand_metrics_are_one_sentence(mailed, run, tmp_path, spread):
    """Each of them takes milliseconds to estimate, and twenty bytes to write."""
    path, _, _ = mailed
    [line] = (path / "samples.jsonl").read_text().splitlines()
    names = [f"metric {number}" for number in range(2000)]
    lines = [{**json.loads(line), "scores": dict.fromkeys(names[part::spread], 1.0)} for part in range(spread)]
    (path / "samples.jsonl").write_text("".join(json.dumps(each) + "\n" for each in lines))
    for reader in ("show", "table", "report"):
        status, said = run(*words(reader, path, tmp_path))
        assert status == 2 and said.count("\n") == 1, said
        assert ("it has 2,000 scores" if spread == 1 else "more than 1,000 metrics") in said


def test_limits_are_raised_by_an_option(mailed, run):
    path, _, _ = mailed
    status, said = run("table", path, "--read-limit", "line=10")
    assert status == 2 and "longer than 10 bytes; --read-limit line=N" in said
    assert run("table", path, "--read-limit", "line=100000", "--read-limit", "depth=50")[0] == 0
    assert run("table", path, "--read-limit", "depth=1")[0] == 2


def test_room_is_made_without_going_through_a_link(tmp_path):
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "kept").write_text("mine")
    (tmp_path / ".model").symlink_to(tmp_path / "theirs")
    remove_folder(tmp_path / ".model")
    assert not (tmp_path / ".model").is_symlink()
    assert (tmp_path / "theirs" / "kept").read_text() == "mine"


# --- what the tasks do not have ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sample", "task"])
def test_an_episode_of_what_the_tasks_do_not_have_is_one_sentence(run, tmp_path, kind):
    """A run's identity has a digest of its samples: what else its manifest names was never played."""
    data = write_records(tmp_path / "towns.jsonl", [record(id="s1")])
    out = tmp_path / "run"
    collect = ("collect", "--model", "policy/shotgun", "--tasks", data, "--out", out, "--quiet")
    assert run(*collect)[0] == 0
    tasks = json.loads((out / "manifest.json").read_text())["tasks"]
    towns = {**tasks["towns"], "clusters": {"s1": "shire", "s9": "shire"}}
    change(out, tasks={"towns": towns} if kind == "sample" else {**tasks, "s9": tasks["towns"]})
    (out / "summary.json").unlink()
    [line] = (out / "samples.jsonl").read_text().splitlines()
    with (out / "samples.jsonl").open("a") as file:
        file.write(json.dumps({**json.loads(line), kind: "s9", "key": "0" * 16}) + "\n")
    for words in ((*collect, "--resume"), ("rescore", out)):
        status, said = run(*words)
        assert status == 2 and said.count("\n") == 1, said
    status, said = run("report", out, "--out", tmp_path / "report.html")
    assert status == 0 and "Without gold" in said, said
