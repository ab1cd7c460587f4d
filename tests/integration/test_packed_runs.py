"""Runs whose episodes are packed, lost or twice there, by the commands that read them."""

import json
import lzma
import shutil

import pytest
from commands import episodes, harness, one_sentence, summary
from result_runs import one_task, write_run

from harness.runs.directory import RunDirectory, pack_records

READERS = (("show",), ("table",), ("rescore",), ("compare", "--brief"), ("report", "--out", "report.html"))


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    """A run of four episodes."""
    run = tmp_path_factory.mktemp("runs") / "run"
    done = harness("eval", "--model", "policy/echo", "--tasks", "demo_*", "--limit", "1", "--out", run)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture
def run(played, tmp_path):
    return shutil.copytree(played, tmp_path / "run")


def pack(run):
    """What `xz samples.jsonl` does."""
    content = (run / "samples.jsonl").read_bytes()
    (run / "samples.jsonl").unlink()
    (run / "samples.jsonl.xz").write_bytes(pack_records(content))
    return content


def files(run):
    return {path.name: path.read_bytes() for path in run.iterdir() if path.name != ".lock"}


def reading(run, tmp_path, command, *options):
    """One of READERS on a run."""
    return harness(command, *[run] * (2 if command == "compare" else 1), *options, cwd=tmp_path)


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_a_packed_run_is_read_like_any_other(run, tmp_path, words):
    plain = reading(run, tmp_path, *words)
    pack(run)
    done = reading(run, tmp_path, *words)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == (plain.stdout, plain.stderr)


def test_a_folder_of_packed_runs_is_found_and_a_part_of_a_file_is_counted(tmp_path):
    run = write_run(tmp_path / "runs" / "one", one_task([0.2, 0.4, 0.9]))
    content = pack(run)
    assert "0.500" in harness("table", tmp_path / "runs").stdout
    (run / "samples.jsonl.xz").write_bytes(b"".join(map(pack_records, content[:-9].splitlines(keepends=True))))
    done = harness("table", tmp_path / "runs")
    assert "2 of its 3 episodes" in done.stderr and "0.300" in done.stdout


def test_rescoring_keeps_a_packed_run_packed_and_gives_the_same_bytes(run):
    content = pack(run)
    assert harness("rescore", run).returncode == 0
    before = files(run)
    wrong = content.replace(b'"solve_f1":0.0', b'"solve_f1":0.5')
    assert wrong != content
    (run / "samples.jsonl.xz").write_bytes(pack_records(wrong))
    for changed in (len(content.splitlines()), 0):
        done = harness("rescore", run)
        assert done.returncode == 0, done.stderr
        assert f"; {changed} changed" in done.stdout
        assert files(run) == before


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
@pytest.mark.parametrize("empty", [False, True])
def test_a_run_that_lost_its_episodes_is_refused_and_left_alone(run, tmp_path, words, empty):
    (run / "samples.jsonl").write_bytes(b"") if empty else (run / "samples.jsonl").unlink()
    before = files(run)
    assert "it has a summary but no episodes" in one_sentence(reading(run, tmp_path, *words))
    assert files(run) == before


def again(run, *options):
    """The command that made the run, resumed."""
    return harness("eval", "--model", "policy/echo", "--tasks", "demo_*", "--limit", "1", "--out", run, *options)


def test_a_run_that_lost_its_episodes_is_not_played_anew(run):
    (run / "samples.jsonl").unlink()
    assert "no episodes" in one_sentence(again(run, "--resume"))
    assert (run / "summary.json").exists()


@pytest.mark.parametrize("words", READERS, ids=lambda words: words[0])
def test_two_files_of_episodes_are_refused(run, tmp_path, words):
    pack(run)
    (run / "samples.jsonl").write_bytes(b"")
    before = files(run)
    said = one_sentence(reading(run, tmp_path, *words))
    assert "has samples.jsonl and samples.jsonl.xz; remove the one that does not count" in said
    assert files(run) == before


@pytest.mark.parametrize("damage", [lambda data: data[:-20], lambda data: b"no xz", lambda data: b""])
def test_what_cannot_be_decompressed_is_one_sentence(run, damage):
    pack(run)
    (run / "samples.jsonl.xz").write_bytes(damage((run / "samples.jsonl.xz").read_bytes()))
    assert "samples.jsonl.xz cannot be decompressed" in one_sentence(harness("rescore", run))


@pytest.mark.parametrize("more", [(), ("--epochs", "2")])
def test_a_packed_run_is_resumed_once_it_is_unpacked(run, more):
    content = pack(run)
    before = files(run)
    assert "samples.jsonl.xz is packed: unpack it (xz -d)" in one_sentence(again(run, "--resume", *more))
    assert files(run) == before
    (run / "samples.jsonl").write_bytes(lzma.decompress((run / "samples.jsonl.xz").read_bytes()))
    (run / "samples.jsonl.xz").unlink()
    done = again(run, "--resume", *more)
    assert done.returncode == 0, done.stderr
    assert (run / "samples.jsonl").read_bytes().startswith(content)


def test_a_run_in_which_nothing_was_played_is_not_rescored(run):
    for name in ("samples.jsonl", "summary.json"):
        (run / name).unlink()
    before = files(run)
    assert "has been played yet; there is nothing to score anew" in one_sentence(harness("rescore", run))
    assert files(run) == before
    assert RunDirectory.open(run).read_records() == []


def test_more_epochs_play_only_the_new_ones(run):
    one = episodes(run)
    done = again(run, "--resume", "--epochs", "3")
    assert done.returncode == 0, done.stderr
    three = episodes(run)
    assert three[: len(one)] == one
    assert sorted({record["epoch"] for record in three[len(one) :]}) == [1, 2]
    assert len({record["key"] for record in three}) == len(three) == 3 * len(one)
    assert json.loads((run / "manifest.json").read_text())["identity"]["epochs"] == 3
    assert {entry["n"] for entry in summary(run)["tasks"].values()} == {3}
    assert "epochs: 3 there, 2 now" in one_sentence(again(run, "--resume", "--epochs", "2"))
    assert "by --resume" in one_sentence(again(run, "--epochs", "4"))


def test_a_run_with_more_epochs_that_is_interrupted_has_no_summary(run):
    one = episodes(run)
    manifest = RunDirectory.open(run).manifest
    asked = {**manifest, "identity": {**manifest["identity"], "epochs": 2}}
    with RunDirectory.claim(run, asked, resume=True) as begun:
        assert begun.planned_episodes == 2 * len(one)
    assert not (run / "summary.json").exists()
    assert "not complete" in harness("rescore", run).stdout
    assert again(run, "--resume", "--epochs", "2").returncode == 0
    assert len(episodes(run)) == 2 * len(one)
    assert {entry["n"] for entry in summary(run)["tasks"].values()} == {2}
