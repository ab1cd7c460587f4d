"""What is kept of a record is a small part of it, and enough to find the record again."""

import dataclasses
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from result_runs import one_task, write_run

from harness.errors import UsageError
from harness.runs.directory import RecordAppender, RunDirectory, pack_records, record_to_line
from harness.runs.results import result_of
from harness.runs.summary import summarise_results, summarise_run

ROOT = Path(__file__).parents[2]
EPISODES, TEXT = 200, 20_000
MOST = 2_000
"""Bytes that may be kept of an episode."""


@pytest.fixture
def run(tmp_path):
    """Episodes with a long text each, in another order than they count in."""
    path = write_run(tmp_path / "run", one_task([number / EPISODES for number in range(EPISODES)]))
    records = RunDirectory.open(path).read_records()
    for number, record in enumerate(records):
        record["messages"] = [{"role": "assistant", "content": f"{number} " + "x" * TEXT}]
        record["usage"] = {"input_tokens": 10_000 + number}
    (path / "samples.jsonl").write_text("".join(map(record_to_line, reversed(records))))
    return RunDirectory.open(path)


def pack(run):
    run.packed_path.write_bytes(pack_records(run.samples_path.read_bytes()))
    run.samples_path.unlink()


@pytest.mark.parametrize("packed", [False, True])
def test_what_is_kept_of_records_is_small(run, packed):
    if packed:
        pack(run)
    run.read_results()  # what is made once is made now
    tracemalloc.start()
    results = run.read_results()
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(results) == EPISODES
    assert kept < MOST * EPISODES < TEXT * EPISODES
    texts = [value for one in results for value in dataclasses.astuple(one) if isinstance(value, str)]
    assert max(map(len, texts)) < 100


@pytest.mark.parametrize("packed", [False, True])
def test_a_record_is_found_again_by_its_place(run, packed):
    lines = {record["key"]: record for record in map(json.loads, run.samples_path.read_text().splitlines())}
    if packed:
        pack(run)
    results = run.read_results()
    assert [result.order for result in results] == sorted(result.order for result in results)
    with run.open_records() as read:
        for result in (*results[::7], *results[::-31]):
            assert read(result) == lines[result.key]
            assert result_of(read(result), result.place) == result


def test_a_record_that_is_no_longer_there_is_one_sentence(run):
    results = run.read_results()
    run.samples_path.write_text(run.samples_path.read_text()[1:])
    with pytest.raises(UsageError, match="were replaced while they were read"):
        list(run.stream_records(results))


def test_results_give_the_summary_that_records_give(run):
    assert summarise_results(run.manifest, run.read_results()) == summarise_run(run.manifest, run.read_records())


@pytest.mark.parametrize("content", ["", "torn", "a\n", "a\nto" + "r" * 70_000 + "n", "a\nb\n", "\n" + "x" * 65_535])
def test_the_end_of_the_last_whole_line_is_found(tmp_path, content):
    path = tmp_path / "samples.jsonl"
    path.write_text(content)
    with RecordAppender(path) as appender:
        place = appender.append({"key": "k"})
    whole = content[: content.rfind("\n") + 1]
    assert place == len(whole)
    assert path.read_text() == whole + '{"key":"k"}\n'


def test_the_benchmark_of_long_runs_runs():
    command = [sys.executable, "benchmarks/long_runs.py", "--smoke"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("eval --resume", "compare", "show, a transcript", "report"))
