"""`harness build --scenario when` and runs of twins: begun builds go on, bad input is one sentence, records rescore."""

import argparse

import pytest
from commands import harness

from envbuilder.commands import build
from envbuilder.pipeline import PartialFile
from envbuilder.plan import BuildPlan
from envbuilder.records import TWINS
from envbuilder.spec import preset_of
from harness.data.files import read_rows
from harness.errors import UsageError
from harness.runs.directory import RecordAppender
from harness.scoring.decisions import SITUATIONS
from tasks import when
from tasks.synthesised import SEED, SIZE


def test_a_build_that_stopped_inside_a_world_ends_with_the_same_bytes(tmp_path):
    words = ("build", "--scenario", "when", "--n", 10, "--level", "micro", "--seed", 1, "--workers", 1, "--quiet")
    done = harness(*words, "--out", tmp_path / "a.jsonl")
    assert done.returncode == 0, done.stderr
    rows = list(read_rows(tmp_path / "a.jsonl"))
    assert [row["data_source"] for row in rows] == 2 * [f"when/{situation}" for situation in SITUATIONS]
    assert len({row["world"] for row in rows}) == 2
    plan = BuildPlan((TWINS,), 10, "micro", preset_of("micro", 2).levels, 1, "train")
    out = tmp_path / "b.jsonl"
    begun = PartialFile(out, plan)
    with RecordAppender(begun.path, out) as lines:
        begun.resume(lines)
        for row in rows[:7]:
            lines.append(row)
    done = harness(*words, "--out", out)
    assert done.returncode == 0, done.stderr
    assert out.read_bytes() == (tmp_path / "a.jsonl").read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--n", "12"], "a world of --scenario when has 5 twins; give a multiple"),
        (["--n", "10", "--keep-stages", "stages"], "keeps no stages"),
        (["--n", "10", "--generation", "1"], "of generation 2"),
        (["--n", "10", "--generator", "openai/x"], "made by the procedural generator"),
        (["--n", "10", "--scenario", "when", "single_hop"], "is built alone"),
    ],
)
def test_what_is_not_made_is_one_sentence(tmp_path, words, sentence):
    parser = argparse.ArgumentParser()
    build.configure(parser)
    args = parser.parse_args(["--scenario", "when", "--out", str(tmp_path / "a.jsonl"), *words])
    with pytest.raises(UsageError, match=sentence):
        build.run(args)


def test_a_run_says_what_it_measures_and_is_scored_anew_from_its_records(tmp_path):
    played = harness("eval", "--model", "policy/silent", "--tasks", "when_*", "--out", tmp_path / "run", "--quiet")
    assert played.returncode == 0, played.stderr
    assert "decision accuracy: the first action is right" in played.stdout
    assert "when 0.400, when_no_tool 1.000, when_tool_gone 1.000" in " ".join(played.stdout.split())
    rows = [line.split() for line in played.stdout.splitlines() if line.startswith("policy/silent")]
    assert [row[1] for row in rows[:5]] == [f"when_{situation}" for situation in SITUATIONS]
    assert rows[5][1:6] == ["mean", "of", "when", "200", "0.400"]
    done = harness("rescore", tmp_path / "run")
    assert "200 episodes rescored" in done.stdout and "; 0 changed" in done.stdout


def test_a_set_of_twins_passes_its_audit_and_a_limit_of_ones_own_holds(tmp_path):
    out = tmp_path / "twins.jsonl"
    done = harness("build", "--scenario", "when", "--n", 5, "--level", "micro", "--workers", 1, "--quiet", "--out", out)
    assert done.returncode == 0, done.stderr
    done = harness("validate", out, "--quiet")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "twins: 5 samples, 5 solved by their gold" in done.stdout
    done = harness("validate", out, "--quiet", "--max-floor", "silent=0")
    assert done.returncode == 1
    assert "the silent policy gets decision_accuracy 0.400 in twins; at most 0 allowed" in done.stdout


@pytest.mark.slow
def test_the_bundled_twins_are_what_their_command_writes(tmp_path):
    out = tmp_path / "again.jsonl"
    done = harness("build", "--n", SIZE, "--seed", SEED, "--out", out, *when.BUNDLED.options)
    assert done.returncode == 0, done.stderr
    assert list(read_rows(out)) == list(read_rows(when.BUNDLED.path))
