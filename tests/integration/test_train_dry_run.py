"""`harness train --dry-run`: what is told of models without weights, that nothing is made, and what is refused."""

import argparse
import json
import shutil

import pytest
from builders import record, write_records
from commands import harness, one_sentence

from harness.errors import UsageError
from trainer import bundled
from trainer.commands import train

SETS = ["learning_rate=1e-4", "prompts=2", "samples=2", "max_tokens=24", "max_turns=3"]


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "towns.jsonl"
    return write_records(path, [record(id=f"town-{number}", split="train") for number in range(4)])


@pytest.fixture
def bare(tmp_path):
    """A folder with nothing but a config.json."""
    folder = tmp_path / "bare"
    folder.mkdir()
    shutil.copy(bundled.model_path("tiny-base") / "config.json", folder)
    return folder


def told(capsys, *words):
    parser = argparse.ArgumentParser()
    train.configure(parser)
    assert train.run(parser.parse_args([*map(str, words)])) == 0
    return capsys.readouterr().out


def test_a_config_is_enough_and_nothing_is_made(bare, towns, tmp_path, monkeypatch, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    words = ["--regime", "episode", "--model", bare, "--tasks", towns, "--dry-run", "--set", *SETS]
    alone = told(capsys, *words)
    assert "951,936 parameters (qwen3, 4 layers of 128)" in alone
    assert "master weights, float32" in alone
    assert "Prompts: 4 of 4" in alone
    assert "no tokenizer is at hand" in alone
    shared = told(capsys, *words, "--processes", 2, "--flops", 1e12, "--out", tmp_path / "run")
    assert "each of 2, whole" in shared
    assert "seconds" in shared
    assert not any(empty.iterdir())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("regime", ["step", "dpo"])
def test_a_models_own_tokenizer_measures_where_it_is_at_hand(regime, towns, capsys):
    sets = ["learning_rate=1e-4", *(["prompts=2", "samples=2"] if regime == "step" else ["batch=2"])]
    words = ["--regime", regime, "--model", "bundled/tiny-base", "--tasks", towns, "--dry-run", "--set", *sets]
    assert "By the model's tokenizer." in told(capsys, *words)


def test_demonstrations_are_measured_for_a_new_network(towns, capsys):
    said = told(capsys, "--recipe", "tiny-base", "--dry-run", "--set", f"train_file={towns}")
    assert "the regime sft trains 951,936 of them" in said
    assert "logits" in said


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"--set": ["prompts=3", "samples=2"], "--processes": ["4"]},
            "6 sequences an update cannot be shared",
        ),
        ({"--regime": ["dpo"], "--set": [], "--processes": ["2"]}, "dpo trains in one process; leave --processes out"),
        ({"--regime": ["sft"], "--set": []}, "sft takes its environments from the recipe"),
        ({"--tasks": ["demo_nothing"]}, "demo_nothing"),
        ({"--reward": ["no_such"]}, "no_such"),
        ({"--set": ["train_layers=7-9"]}, "the model has no such layers"),
        ({"--set": ["vllm=server"]}, "needs the server's address"),
        ({"--model": ["nowhere"]}, "there is no directory nowhere"),
    ],
)
def test_bad_input_is_refused_as_without(changes, sentence, bare, towns, capsys):
    given = {"--regime": ["episode"], "--model": [bare], "--tasks": [towns], "--set": ["prompts=2"], **changes}
    with pytest.raises(UsageError, match=sentence):
        told(capsys, *(word for option, words in given.items() if words for word in (option, *words)), "--dry-run")


def test_a_large_model_needs_a_learning_rate_here_too(bare, towns, capsys):
    config = json.loads((bare / "config.json").read_text())
    (bare / "config.json").write_text(json.dumps({**config, "vocab_size": 500_000}))
    with pytest.raises(UsageError, match="65 million parameters, and the default learning_rate"):
        told(capsys, "--regime", "episode", "--model", bare, "--tasks", towns, "--dry-run")


def test_options_that_need_a_dry_run(tmp_path):
    assert "--out is missing" in one_sentence(harness("train", "--recipe", "tiny", "--model", "bundled/tiny-base"))
    asked = ["train", "--recipe", "tiny", "--model", "bundled/tiny-base", "--out", tmp_path / "run", "--processes", 2]
    assert "--processes and --flops are for --dry-run" in one_sentence(harness(*asked))
    assert not (tmp_path / "run").exists()
