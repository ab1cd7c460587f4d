"""`harness build` without a model: the same bytes every time, however it was interrupted, and nothing shared."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from builders import ROOT
from commands import command, environment, harness, one_sentence

from envbuilder.commands.build import RESERVED_SEED
from harness.data.files import read_rows
from tasks.synthesised import BUILDS, FOLDER, SCENARIOS, SEED, SIZE


def build(out, *words, n=24, seed=1):
    done = harness("build", "--n", n, "--seed", seed, "--out", out, *words)
    assert done.returncode == 0, done.stderr
    return list(read_rows(out))


def question(row):
    return row["messages"][0]["content"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    out = tmp_path_factory.mktemp("built") / "a.jsonl"
    return out, build(out)


def test_the_same_command_gives_the_same_bytes(built, tmp_path):
    out, _ = built
    build(tmp_path / "b.jsonl", "--workers", 1)
    assert (tmp_path / "b.jsonl").read_bytes() == out.read_bytes()


def test_another_seed_asks_other_questions(built, tmp_path):
    _, rows = built
    others = build(tmp_path / "b.jsonl", seed=2)
    assert not {question(row) for row in rows} & {question(row) for row in others}


def test_splits_share_nothing(built, tmp_path):
    _, rows = built
    others = build(tmp_path / "b.jsonl", "--split", "test")
    assert {row["split"] for row in others} == {"test"}
    assert not {row["world"] for row in rows} & {row["world"] for row in others}
    audited = audit(built[0], tmp_path / "b.jsonl", "--names", "shared")
    assert audited.returncode == 0, audited.stderr


def test_splits_share_no_name(built, tmp_path):
    build(tmp_path / "b.jsonl", "--split", "test")
    audited = audit(built[0], tmp_path / "b.jsonl", "--names", "disjoint")
    assert audited.returncode == 0, audited.stdout


def audit(*words):
    """So few environments say little of a floor under words."""
    return harness("validate", *words, "--max-floor", "keyword=0.3", "--quiet")


def test_every_scenario_has_its_share(built):
    _, rows = built
    kinds = [row["data_source"] for row in rows]
    assert {kind: kinds.count(kind) for kind in kinds} == dict.fromkeys(
        ["self/single_hop", "self/parallel_single_hop", "self/multi_hop", "self/parallel_multi_hop"], 6
    )


def test_a_file_is_readable_by_the_papers_tools_and_a_task(built, tmp_path):
    out, rows = built
    for row in rows:
        assert all(isinstance(row[name], str) for name in ("tools", "codes", "unsolved_set", "answer"))
        assert set(json.loads(row["unsolved_set"])) <= set(json.loads(row["codes"]))
    done = harness("eval", "--model", "policy/oracle", "policy/echo", "--tasks", out, "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    oracle, echo = (
        json.loads((tmp_path / "run" / f"policy-{name}" / "summary.json").read_text())["tasks"]["a"]["metrics"]
        for name in ("oracle", "echo")
    )
    for metric in ("solve_precision", "solve_rate", "solve_f1", "paper_solve_f1", "answer_accuracy"):
        assert oracle[metric]["value"] == 1.0
    assert echo["solve_f1"]["value"] == 0.0


def test_parquet_holds_the_same_environments(built, tmp_path):
    _, rows = built
    stored = build(tmp_path / "b.parquet")
    assert [row["codes"] for row in stored] == [row["codes"] for row in rows]
    assert [json.loads(row["gold_calls"]) for row in stored] == [row["gold_calls"] for row in rows]


def test_stages_are_kept_on_request(tmp_path):
    rows = build(tmp_path / "a.jsonl", "--keep-stages", tmp_path / "stages", n=4)
    kept = sorted(path.name for path in (tmp_path / "stages").iterdir())
    assert [name.partition("-")[0] for name in kept] == ["1", "2", "3", "4", "5"]
    for name in kept:
        lines = [json.loads(line) for line in (tmp_path / "stages" / name).read_text().splitlines()]
        assert [line["index"] for line in lines] == [0, 1, 2, 3]
    assert json.loads(rows[0]["codes"]) == lines[0]["codes"]


def test_a_strategy_can_be_set_by_itself(tmp_path):
    plain = build(tmp_path / "a.jsonl", "--scale", "distractors=0", n=4)
    assert all(len(json.loads(row["tools"])) == len(json.loads(row["unsolved_set"])) for row in plain)


def test_a_set_is_about_the_kinds_that_are_named(tmp_path):
    rows = build(tmp_path / "a.jsonl", "--level", "micro", "--about", "club", "athlete", n=8)
    asked = " ".join(row["messages"][0]["content"] for row in rows)
    assert "club " in asked and "athlete " in asked
    texts = {json.dumps(row["tools"]).casefold() for row in rows}
    assert all("affiliate" in text or "competitor" in text for text in texts)
    assert not any("establishment" in text or "undertaking" in text or "municipalit" in text for text in texts)


def test_twins_are_about_the_kinds_that_are_named(tmp_path):
    rows = build(tmp_path / "a.jsonl", "--level", "micro", "--about", "school", "club", "--scenario", "when", n=20)
    assert all("the school " in (text := row["messages"][0]["content"]) or "the club " in text for row in rows)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--level", "micro", "--about", "town"], "No multi_hop question of level micro is found about town alone"),
        (["--about", "clubb"], "no kind of things 'clubb'. Did you mean club"),
        (["--about", "club", "--generation", "1"], "first generation has kinds of things of its own"),
        (["--about", "athlete", "club", "--scenario", "when"], "Twins are not made about athlete; take"),
        (["--about", "club", "--generator", "openai/x"], "by --topics"),
    ],
)
def test_kinds_that_cannot_be_are_one_sentence(tmp_path, words, said):
    done = harness("build", "--n", 10, "--out", tmp_path / "a.jsonl", *words)
    assert said in one_sentence(done)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.slow
def test_a_killed_build_ends_with_the_same_bytes(tmp_path):
    words = ("build", "--n", 300, "--seed", 5, "--level", "easy", "--keep-stages", tmp_path / "stages", "--out")
    assert harness(*words, tmp_path / "whole.jsonl").returncode == 0
    stages = {path.name: path.read_bytes() for path in (tmp_path / "stages").iterdir()}
    for path in (tmp_path / "stages").iterdir():
        path.unlink()
    partial = tmp_path / ".torn.jsonl.partial"
    for wanted in (1, 60, 150):
        process = subprocess.Popen(command(*words, tmp_path / "torn.jsonl"), env=environment())
        while not partial.exists() or partial.read_bytes().count(b"\n") <= wanted:
            assert process.poll() is None
            time.sleep(0.005)
        makers = [pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert makers
        for _ in range(3000):  # of 10 ms
            if not any(map(is_running, makers)):
                break
            time.sleep(0.01)
        else:
            raise AssertionError("processes of a killed build are still there")
    assert harness(*words, tmp_path / "torn.jsonl").returncode == 0
    assert (tmp_path / "torn.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert {path.name: path.read_bytes() for path in (tmp_path / "stages").iterdir()} == stages
    assert not partial.exists()


LONG = ("build", "--n", 2000, "--level", "easy", "--out")


def begin(out):
    """A build that has made a few environments and will go on for long."""
    process = subprocess.Popen(
        command(*LONG, out),
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    partial = out.with_name(f".{out.name}.partial")
    while not partial.exists() or partial.read_bytes().count(b"\n") < 5:
        assert process.poll() is None
        time.sleep(0.01)
    return process


def test_a_second_build_of_a_file_and_a_process_that_dies_are_a_sentence_each(tmp_path):
    process = begin(tmp_path / "a.jsonl")
    second = harness(*LONG, tmp_path / "a.jsonl")
    assert one_sentence(second) == f"harness build: Another process is writing to {tmp_path / 'a.jsonl'}.\n"
    made = next(pid for pid in children(process.pid) if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes())
    os.kill(made, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 2
    assert said.startswith("harness build: A process that makes environments was killed") and said.count("\n") == 1


def is_running(pid):
    """Whether a process is there and no zombie, which whoever adopts orphans may leave."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def children(pid):
    return map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


def test_an_interrupt_says_how_to_go_on(tmp_path):
    process = begin(tmp_path / "a.jsonl")
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: every process of the build
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == "Interrupted. What was built is kept; the same command goes on.\n"


def test_a_build_killed_before_its_first_line_begins_anew(tmp_path):
    (tmp_path / ".a.jsonl.partial").write_text('{"plan": {"se')
    assert len(build(tmp_path / "a.jsonl", "--level", "micro", n=4)) == 4


def test_a_begun_build_is_not_another(tmp_path):
    (tmp_path / ".a.jsonl.partial").write_text('{"plan": {"seed": 9}}\n')
    assert "another build" in one_sentence(harness("build", "--n", 4, "--out", tmp_path / "a.jsonl"))


# --- what ships --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bundled", BUILDS, ids=lambda bundled: bundled.path.name)
def test_the_bundled_environments_come_from_their_seed(bundled, tmp_path):
    rebuilt = build(tmp_path / "again.jsonl", *bundled.options, n=SIZE, seed=SEED)
    assert rebuilt == list(read_rows(bundled.path))


@pytest.mark.slow
def test_the_bundled_environments_pass_their_audit():
    done = harness("validate", "ftrl_*", "--names", "disjoint", "--quiet")
    assert done.returncode == 0, done.stdout
    assert "200 environments: 200 solvable" in done.stdout


def test_the_written_environments_pass_their_audit_and_are_ten_a_scenario():
    done = harness("validate", "written_*", "--names", "disjoint", "--max-floor", "keyword=0.01", "--quiet")
    assert done.returncode == 0, done.stdout
    assert "40 environments: 40 solvable" in done.stdout
    listed = [line.split()[:2] for line in harness("list", "written_*").stdout.splitlines() if line.startswith("wri")]
    assert listed == [[f"written_{kind}", "10"] for kind in SCENARIOS]


def test_the_bundled_environments_are_small_and_listed():
    assert sum(path.stat().st_size for path in FOLDER.glob("*.jsonl.xz")) < 2_200_000
    listed = harness("list", "*_hop").stdout
    for family in {bundled.family for bundled in BUILDS}:
        assert sum(line.startswith(f"{family}_") for line in listed.splitlines()) == 4
    assert f"--seed {SEED}" in listed
    assert SEED == RESERVED_SEED
    for path in FOLDER.glob("*.jsonl.xz"):
        assert path.read_bytes() == (ROOT / "tasks" / "data" / path.name).read_bytes()
