"""Committed results: the tables in README and docs are what their runs give, and a difference is found."""

import json
import lzma
import re
import subprocess
import sys
from statistics import mean

import pytest
from builders import ROOT
from commands import environment, harness, summary
from documents import page as document

from harness.errors import UsageError
from results import published_runs

TRAINED = ROOT / "results" / "published" / "training" / "greedy"
HEADLINE = {"solve_f1": 3, "solve_precision": 3, "solve_rate": 3, "answer_accuracy": 3, "calls": 1}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A folder of committed runs with one in it."""
    place = tmp_path_factory.mktemp("results")
    run = place / "run"
    assert (
        harness("eval", "--model", "policy/oracle", "--tasks", "demo_*", "--limit", "1", "--out", run).returncode == 0
    )
    published_runs.add_run(run, "oracle", "harness eval ...", place / "published")
    return place


def page(store, text):
    (store / "docs").mkdir(exist_ok=True)
    (store / "README.md").write_text(f"# x\n<!-- published: table oracle -->\n```text\n{text}```\nend\n")


def test_every_committed_table_is_what_its_runs_give():
    done = subprocess.run(
        [sys.executable, "-m", "results", "--check"], cwd=ROOT, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "all agree" in done.stdout


def test_the_headline_table_of_training_is_what_its_runs_give():
    shown = re.search(r"<!-- headline -->\n((?:\|.*\n)+)", document("docs/training-results.md"))
    for row in shown[1].splitlines()[2:]:
        _, arm, seeds, *cells = (cell.strip(" `") for cell in row.strip("|").split("|"))
        runs = [run for run in TRAINED.iterdir() if re.fullmatch(re.escape(arm) + r"(-\d)?", run.name)]
        assert len(runs) == int(seeds), arm
        assert cells == [figures(runs, metric, digits) for metric, digits in HEADLINE.items()], arm


def figures(runs, metric, digits):
    """The mean over runs and, of the first metric where there are several, the lowest and highest."""
    values = [next(iter(summary(run)["tasks"].values()))["metrics"][metric]["value"] for run in runs]
    low, middle, high = (f"{value:.{digits}f}".removeprefix("0") for value in (min(values), mean(values), max(values)))
    return f"{middle} ({low} to {high})" if metric == "solve_f1" and len(runs) > 1 else middle


def test_no_committed_run_tells_where_it_was_made():
    for run in published_runs.list_runs():
        for text in ((run / "manifest.json").read_text(), (run / published_runs.COMMAND).read_text()):
            assert not any(place in text for place in ('"/', " /")), run


def test_a_table_that_differs_is_found_and_replaced(store):
    place = store / "published"
    page(store, "model  F1\n")
    (block,) = published_runs.read_tables(place, store)
    assert "-model  F1" in block.difference and "policy/oracle" in block.difference
    assert published_runs.update_pages(place, store) == [block]
    (block,) = published_runs.read_tables(place, store)
    assert not block.difference
    assert (store / "README.md").read_text().endswith("```\nend\n")


def test_a_command_that_fails_is_named(store):
    with pytest.raises(UsageError, match="table nowhere"):
        published_runs.run_command("table nowhere", store / "published")


def test_episodes_that_do_not_give_the_summary_are_a_fault(store):
    packed = store / "published" / "oracle" / published_runs.PACKED_SAMPLES
    kept = packed.read_bytes()
    lines = [json.loads(line) for line in lzma.decompress(kept).splitlines()]
    lines[0]["scores"]["solve_f1"] = 0.0
    packed.write_bytes(lzma.compress("".join(json.dumps(line) + "\n" for line in lines).encode()))
    try:
        assert published_runs.find_faults(store / "published") == ["oracle: its summary disagrees with its episodes."]
    finally:
        packed.write_bytes(kept)


def test_a_run_that_is_cut_is_not_taken_in(store, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    for name in ("manifest.json", "summary.json"):
        (run / name).write_bytes((store / "run" / name).read_bytes())
    (run / "samples.jsonl").write_bytes(b"")
    with pytest.raises(UsageError, match="is cut"):
        published_runs.add_run(run, "cut", "harness eval ...", tmp_path / "published")
