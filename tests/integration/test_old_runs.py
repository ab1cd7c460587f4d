"""Runs go on: one that was committed long ago, and one whose endpoint has moved."""

import json
import lzma
import shutil
import subprocess
import time

import pytest
from builders import ROOT, record, write_records
from commands import command, environment, episodes, harness, one_sentence, summary
from fakes.chat_server import ChatServer, call, calls, delayed, error, text

OLD = ROOT / "results" / "published" / "version-1"
"""Made by harness eval --model 'policy/*' --tasks 'ftrl_*', when that was the first version."""
DROPPED = slice(3, None, 40)
SCORED = ("task", "sample", "epoch", "key", "scores", "calls", "outcome")


@pytest.fixture
def old(tmp_path):
    """A copy of a committed run without some of its episodes, and the whole run's records by their keys."""
    run = shutil.copytree(OLD / "policy-random", tmp_path / "run")
    lines = lzma.decompress((run / "samples.jsonl.xz").read_bytes()).splitlines(keepends=True)
    kept = {record["key"]: record for record in map(json.loads, lines)}
    del lines[DROPPED]
    (run / "samples.jsonl").write_bytes(b"".join(lines))
    for name in ("samples.jsonl.xz", "summary.json"):
        (run / name).unlink()
    return run, kept


def scored(records):
    return sorted(([record[name] for name in SCORED] for record in records), key=lambda fields: fields[:3])


def test_a_committed_run_is_rescored_and_resumed_with_the_keys_it_has(old):
    run, kept = old
    done = harness("rescore", run)
    assert done.returncode == 0, done.stderr
    there = episodes(run)
    assert "0 changed" in done.stdout and 0 < len(there) < len(kept)
    assert scored(there) == scored(kept[record["key"]] for record in there)
    done = harness(
        *("eval", "--model", "policy/random", "--tasks", "ftrl_*@1", "--out", run, "--resume", "--concurrency", 4)
    )
    assert done.returncode == 0, done.stderr
    assert episodes(run)[: len(there)] == there
    assert scored(episodes(run)) == scored(kept.values())
    before = json.loads((OLD / "policy-random" / "summary.json").read_text())
    assert {part: summary(run)[part] for part in ("tasks", "groups")} == {
        part: before[part] for part in ("tasks", "groups")
    }


# --- an endpoint that moves --------------------------------------------------------------------------------------


def answered(asked):
    return calls(call("population", {"town": "Corrie"})) if asked.turn == 0 else text("Answer: 45,210")


def evaluating(tmp_path, url, *words):
    paths = ("--tasks", tmp_path / "towns.jsonl", "--out", tmp_path / "run")
    return "eval", "--model", "m", *paths, "--base-url", url, "--model-arg", "max_retries=0", *words


def play(tmp_path, url, *words):
    return harness(*evaluating(tmp_path, url, *words))


def wait_for(found):
    deadline = time.monotonic() + 60
    while not found() and time.monotonic() < deadline:
        time.sleep(0.02)
    assert found()


def test_a_run_goes_on_at_another_address_with_the_keys_it_began_with(tmp_path):
    rows = [record(id=f"town-{n}", messages=[{"role": "user", "content": f"Number {n}"}]) for n in range(3)]
    write_records(tmp_path / "towns.jsonl", rows)
    run = tmp_path / "run"
    broken = {"Number 1": [error(500, "down")], "": [calls(call("population", {"town": "Corrie"})), text("45,210")]}
    with ChatServer(broken) as first, ChatServer(answered) as second:
        assert play(tmp_path, first.url).returncode == 1
        begun = json.loads((run / "manifest.json").read_text())
        lost = {record["sample"]: record["key"] for record in episodes(run)}
        for _ in range(2):  # the second time nothing is left to play
            done = play(tmp_path, second.url, "--resume")
            assert done.returncode == 0, done.stderr
            assert len(second.requests) == 2
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest == {**begun, "base_urls": [first.url, second.url]}
    assert [record["sample"] for record in episodes(run)].count("town-1") == 2
    assert {record["sample"]: record["key"] for record in episodes(run)} == lost
    assert summary(run)["tasks"]["towns"]["outcomes"] == {"ok": 3}


def mixed(asked):
    """Right but for one sample, which is told by its text."""
    return text("Answer: 1") if asked.conversation == "Number 2" and asked.turn else answered(asked)


class Ending:
    """Answers so many requests, and then none."""

    def __init__(self, answers):
        self.left = answers

    def __call__(self, asked):
        self.left -= 1
        return delayed(mixed(asked), 0.0 if self.left >= 0 else 60.0)


def test_a_run_that_was_killed_goes_on_elsewhere_with_more_epochs(tmp_path):
    rows = [record(id=f"town-{n}", messages=[{"role": "user", "content": f"Number {n}"}]) for n in range(4)]
    write_records(tmp_path / "towns.jsonl", rows)
    run, words = tmp_path / "run", ("--concurrency", "1")
    with ChatServer(Ending(7)) as first, ChatServer(mixed) as second:
        doomed = subprocess.Popen(command(*evaluating(tmp_path, first.url, "--epochs", 2, *words)), env=environment())
        wait_for(lambda: len(first.requests) == 8)
        doomed.kill()
        doomed.wait(30)
        began, identity = episodes(run), json.loads((run / "manifest.json").read_text())["identity"]
        assert [(record["sample"], record["epoch"]) for record in began] == [
            ("town-0", 0), ("town-0", 1), ("town-1", 0)
        ]  # fmt: skip
        done = play(tmp_path, second.url, "--resume", "--epochs", "3", *words)
        assert done.returncode == 0, done.stderr
        assert len(second.requests) == 2 * (4 * 3 - 3)
        refused = play(tmp_path, second.url, "--resume", "--epochs", "2", *words)
        assert "epochs: 3 there, 2 now" in one_sentence(refused)
        (tmp_path / "whole").mkdir()
        shutil.copy(tmp_path / "towns.jsonl", tmp_path / "whole")
        assert play(tmp_path / "whole", second.url, "--epochs", "3", *words).returncode == 0
    assert episodes(run)[: len(began)] == began
    places = [(record["sample"], record["epoch"]) for record in episodes(run)]
    assert len(places) == len(set(places)) == 12
    assert len({record["key"] for record in episodes(run)}) == 12
    assert summary(run) == summary(tmp_path / "whole" / "run")
    assert 0 < summary(run)["tasks"]["towns"]["metrics"]["pass@1"]["value"] < 1
    manifest = json.loads((run / "manifest.json").read_text())
    assert manifest["identity"] == {**identity, "epochs": 3}
    assert manifest["base_urls"] == [first.url, second.url]


def test_another_model_at_another_address_is_another_run(tmp_path):
    write_records(tmp_path / "towns.jsonl", [record()])
    with ChatServer(answered) as first, ChatServer(answered) as second:
        assert play(tmp_path, first.url).returncode == 0
        done = play(tmp_path, second.url, "api=chat", "--resume")
    assert done.returncode == 2
    assert "another run (model.args.api: null there, chat now)" in done.stderr
