"""`harness collect --branch entropy`: further attempts from where a network hesitated, with a real network."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from commands import episodes

from harness import cli
from harness.data import files
from harness.data.messages import message_from_json
from harness.errors import ModelFailure, UsageError
from harness.evaluation.command import Evaluation
from harness.models import ModelOptions, load_model
from harness.models.local.hf import load_weights
from harness.registry import load_samples, select_tasks
from harness.types import ModelRequest, Sampling
from trainer import branches
from trainer.branches import Branch, BranchModel, deal_branches, mean_entropy, read_branches
from trainer.pairs import PairRules, read_paired_runs

torch = pytest.importorskip("torch", reason="NO BRANCH TEST RAN: they need the local extra")
MODEL = "bundled/tiny-trained"
OPTIONS = ("--epochs", "2", "--temperature", "0.3", "--max-tokens", "64", "--max-turns", "3", "--quiet")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Small training environments."""
    path = tmp_path_factory.mktemp("built") / "train.jsonl"
    assert cli.main(f"build --n 4 --level micro --split train --seed 3 --workers 1 --quiet --out {path}".split()) == 0
    return path


@pytest.fixture(scope="module")
def command(built, tmp_path_factory):
    """The command, with a directory of its own for all that is read of it."""
    out = tmp_path_factory.mktemp("branched") / "run"
    words = ["collect", "--model", MODEL, "--tasks", built, *OPTIONS, "--branch", "entropy", "--branches", "3"]
    return [*map(str, words), "--out", str(out)]


@pytest.fixture(scope="module")
def collected(command):
    """What the command leaves behind."""
    assert cli.main(command) == 0
    return Path(command[-1])


def test_every_environment_has_its_branches_the_most_hesitant_first(collected):
    found = read_branches(collected / "branches.jsonl")
    own = {(one["task"], one["sample"]): [] for one in episodes(collected)}
    for branch in found:
        own[branch.task, branch.sample].append(branch)
    assert len(own) == 4
    for chosen in own.values():
        assert [one.epoch for one in chosen] == [0, 1, 2]
        assert chosen[0].entropy >= chosen[1].entropy > 0
        assert dataclasses.replace(chosen[2], epoch=0) == chosen[0]  # of two episodes the third branches again
        assert all(10 <= one.tokens <= 50 for one in chosen)
    assert any({one.parent_epoch for one in chosen} == {0, 1} for chosen in own.values())
    assert max(branch.turn for branch in found) > 0


def test_a_branch_repeats_its_parent_up_to_the_turn_and_says_so(collected):
    parents = {(one["sample"], one["epoch"]): one for one in episodes(collected)}
    branched = {(one["sample"], one["epoch"]): one for one in episodes(collected / "branches")}
    found = read_branches(collected / "branches.jsonl")
    assert len(branched) == len(found) == 12
    differ = 0
    for branch in found:
        mine, theirs = branched[branch.sample, branch.epoch], parents[branch.sample, branch.parent_epoch]
        messages = [message_from_json(message) for message in theirs["messages"]]
        before, _ = branches.split_at_turn(messages, 1, branch.turn)
        assert [message_from_json(message) for message in mine["messages"][: len(before)]] == list(before)
        assert f"turn {branch.turn}: {branch.note}" in mine["notes"]
        assert mine["usage"]["requests"] == mine["scores"]["turns"] - branch.turn  # what was repeated costs nothing
        differ += mine["messages"] != theirs["messages"]
    assert differ > 0


def test_branches_that_were_cut_short_go_on_as_they_would_have(collected, command):
    kept, path = [collected / "samples.jsonl", collected / "branches.jsonl"], collected / "branches" / "samples.jsonl"
    before, whole = [one.read_bytes() for one in kept], path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole[:4]))
    assert cli.main([*command, "--resume"]) == 0
    assert [one.read_bytes() for one in kept] == before
    assert path.read_text().startswith("".join(whole[:4]))

    def told(lines):
        rows = map(json.loads, lines)
        return sorted((row["sample"], row["epoch"], json.dumps(row["messages"]), row["notes"]) for row in rows)

    assert told(path.read_text().splitlines()) == told(whole)


def test_an_interruption_says_how_the_branches_go_on(collected, command, capsys, monkeypatch):
    def interrupted(evaluation):
        if evaluation.out.name == branches.FOLDER:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(Evaluation, "run", interrupted)
    assert cli.main([*command, "--resume"]) == 130
    assert capsys.readouterr().err.endswith(f"goes on with them has --out {collected}.\n")


def test_a_run_that_is_not_complete_is_not_branched_off(collected, command, capsys, monkeypatch):
    monkeypatch.setattr(Evaluation, "run", lambda evaluation: (evaluation.out / "summary.json").unlink() or 0)
    assert cli.main([*command, "--resume"]) == 1
    assert "not complete, so nothing was branched off" in capsys.readouterr().err


def test_another_number_of_branches_is_refused(collected, command, capsys):
    assert cli.main([*command, "--resume", "--branches", "1"]) == 2
    assert "has 3 branches an environment, not 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"turn": 99}, "line 1 leaves a turn that nobody took"),
        ({"turn": -1}, "line 1 leaves a turn that nobody took"),
        ({"task": "other"}, "line 1 leaves a turn that nobody took"),
        ({"epoch": 1}, "an environment has not one branch of each epoch"),
        ({"turn": "0"}, "line 1 has a value of another kind"),
        ({"entropy": float("nan")}, "line 1 has a value of another kind"),
    ],
)
def test_branches_of_another_run_are_refused_before_any_is_played(collected, command, tmp_path, capsys, changes, says):
    out = tmp_path / "run"
    shutil.copytree(collected, out, ignore=shutil.ignore_patterns(branches.FOLDER))
    first, *others = (out / "branches.jsonl").read_text().splitlines()
    (out / "branches.jsonl").write_text("\n".join([json.dumps({**json.loads(first), **changes}), *others]) + "\n")
    assert cli.main([*command[:-1], str(out), "--resume"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert says in sentence
    assert not (out / branches.FOLDER).exists()


def test_a_link_in_the_place_of_the_branches_is_not_followed(collected, tmp_path):
    (tmp_path / "branches.jsonl").symlink_to(collected / "branches.jsonl")
    with pytest.raises(UsageError, match="is a link, which is not followed"):
        read_branches(tmp_path / "branches.jsonl")


def test_names_with_separators_of_lines_are_read_as_they_were_written(tmp_path):
    one = Branch("t", "a\u2028b\x85c", 0, 0, 0, 1.0, 20)
    files.write_rows(tmp_path / "branches.jsonl", [dataclasses.asdict(one)])
    assert read_branches(tmp_path / "branches.jsonl") == [one]


def test_pairs_reads_them_as_further_attempts(collected):
    runs = read_paired_runs([collected, collected / "branches"], PairRules())
    assert {len(attempts) for attempts in runs.attempts.values()} == {5}  # two epochs and three branches


# --- parts -------------------------------------------------------------------------------------------------------


def test_the_entropy_is_that_of_the_tokens_that_were_written():
    model = load_model(MODEL, ModelOptions())
    network = load_weights(model.local, "float32", "cpu")
    ids = model.local.encode(
        "<|im_start|>user\nHow many live in Corrie?<|im_end|>\n<|im_start|>assistant\nMany, I say."
    )
    with torch.inference_mode():
        logits = network(input_ids=torch.tensor([ids])).logits[0]
    expected = torch.distributions.Categorical(logits=logits[-5:-1]).entropy().mean()
    assert mean_entropy("tiny", network, ids[:-4], ids[-4:]) == pytest.approx(float(expected), abs=1e-4)


def test_branches_are_dealt_by_entropy():
    def branch(parent, entropy):
        return Branch("t", "s", 0, parent, 1, entropy, 20)

    dealt = deal_branches([branch(0, 0.1), branch(1, 0.9), branch(2, 0.9)], 4)
    assert [(one.epoch, one.parent_epoch) for one in dealt] == [(0, 1), (1, 2), (2, 0), (3, 1)]
    assert deal_branches([], 4) == []


def test_tools_that_answer_otherwise_end_the_branch(built):
    model = load_model(MODEL, ModelOptions())
    (task,) = select_tasks([str(built)], {})
    sample = load_samples([task])[task.name][0]
    said = [*sample.messages, message_from_json({"role": "assistant", "content": "Hm."})]
    gone = {(task.name, sample.id, 0): said}
    branching = BranchModel(model, [Branch(task.name, sample.id, 0, 0, 0, 1.0, 20)], gone)
    other = [dataclasses.replace(sample.messages[0], content="Something else?"), *sample.messages[1:]]
    request = ModelRequest(other, sample.tools, Sampling(1.0, 4), sample, task=task.name)
    (failure,) = branching.batch([request])
    assert isinstance(failure, ModelFailure)
    assert (failure.outcome, failure.stop) == ("infrastructure_error", "no_recording")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--model", "policy/oracle", "--branch", "entropy"],
            "policy/oracle shows no entropies: --branch needs hf/PATH",
        ),
        (["--model", MODEL, "--branch", "entropy", "--temperature", "0"], "at --temperature 0 nothing is drawn"),
        (["--model", MODEL, "--branch", "entropy", "--tool-faults", "0.5"], "it does not do with --tool-faults"),
        (["--model", MODEL, "--branches", "2"], "--branches is how many there are of --branch entropy"),
    ],
)
def test_what_cannot_branch_is_one_sentence(built, tmp_path, capsys, words, says):
    assert cli.main(["collect", *words, "--tasks", str(built), "--out", str(tmp_path / "run")]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert says in sentence
    assert not (tmp_path / "run").exists()


def test_a_file_that_holds_no_branches_is_refused(tmp_path):
    path = tmp_path / "branches.jsonl"
    path.write_text('{"task": "t"}\n')
    with pytest.raises(UsageError, match="is no file of branches"):
        read_branches(path)
