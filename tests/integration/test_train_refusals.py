"""What `harness train` refuses before its directory is claimed, and what stops it: one sentence, never a result."""

import json
import shutil
from importlib.util import find_spec

import pytest
import torch
from builders import record, write_records
from safetensors.torch import load_file, save_file

from harness import cli
from harness.errors import HarnessError
from harness.models.local import packages
from trainer import bundled
from trainer.precision import save_model
from trainer.recipes import run
from trainer.rl import run as rl_run


@pytest.fixture
def base(tmp_path):
    """A copy of a bundled network."""
    shutil.copytree(bundled.model_path("tiny-base"), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def towns(tmp_path):
    """Two training environments."""
    return write_records(tmp_path / "towns.jsonl", [record(id=f"town-{number}", split="train") for number in range(2)])


def refused(capsys, out, *words):
    """What is said of a training that is refused: one sentence, and nothing was claimed."""
    assert cli.main(["train", *map(str, words), "--out", str(out), "--quiet"]) == 2
    said = capsys.readouterr()
    assert not said.out and said.err.count("\n") == 1 and not out.exists(), said
    return said.err


def drop_tensor(weights):
    tensors = load_file(weights)
    del tensors["model.layers.0.mlp.down_proj.weight"]
    save_file(tensors, weights, {"format": "pt"})


def cut(weights):
    weights.write_bytes(weights.read_bytes()[:-1000])


@pytest.mark.parametrize("regime", ["sft", "episode", "dpo"])
@pytest.mark.parametrize(
    ("damage", "says"), [(drop_tensor, "layers.0.mlp.down_proj.weight is missing"), (cut, "cannot be loaded")]
)
def test_damaged_weights_are_refused(regime, damage, says, base, tmp_path, capsys):
    damage(base / "model.safetensors")
    words = ("--regime", regime, "--model", base, "--set", "learning_rate=1e-4")
    assert says in refused(capsys, tmp_path / "out", *words)


@pytest.mark.parametrize("values", [["tensorboard=true"], ["wandb=true"], ["lora_rank=2"]])
def test_a_package_that_a_recipe_alone_asks_for_is_missed_at_once(values, towns, tmp_path, capsys, monkeypatch):
    absent = ("tensorboard", "wandb", "peft")
    for module in (packages, rl_run):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name in absent else find_spec(name))
    words = ("--regime", "episode", "--model", "bundled/tiny-base", "--tasks", towns, "--set", "prompts=2", *values)
    said = refused(capsys, tmp_path / "out", *words)
    assert values[0].partition("=")[0] in said and "pip install" in said


def test_processes_that_cannot_share_an_update_are_refused(towns, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    words = ("--regime", "episode", "--model", "bundled/tiny-base", "--tasks", towns, "--set", "prompts=2")
    assert "16 sequences an update cannot be shared by 3" in refused(capsys, tmp_path / "out", *words)


@pytest.mark.parametrize("size", ["width=100000000", "layers=1000000000", "inner=1000000000000"])
def test_a_network_that_cannot_be_held_is_refused(size, tmp_path, capsys):
    said = refused(capsys, tmp_path / "out", "--recipe", "tiny-base", "--set", size)
    assert "GB of memory; lower width" in said


def test_numbers_that_are_none_are_no_result(towns, tmp_path, capsys):
    out, few = tmp_path / "out", ("steps=3", "batch=2", "log_every=1", "warmup=0")
    words = ["train", "--regime", "sft", "--model", "bundled/tiny-base", "--quiet", "--out", str(out), "--set", *few]
    assert cli.main([*words, f"train_file={towns}", "learning_rate=1e20"]) == 2
    assert "of step 2 is nan, so training has stopped; lower learning_rate" in capsys.readouterr().err
    assert "NaN" not in (out / "metrics.jsonl").read_text() and not (out / "model").exists()


def test_a_checkpoint_that_cannot_be_loaded_is_one_sentence(towns, tmp_path, capsys):
    out, few = tmp_path / "out", ("steps=2", "batch=2", "save_every=1", f"train_file={towns}")
    words = ["train", "--regime", "sft", "--model", "bundled/tiny-base", "--quiet", "--out", str(out), "--set", *few]
    assert cli.main(words) == 0
    shutil.rmtree(out / "model")
    torch.save({"nothing": 1}, out / "checkpoints" / "checkpoint-2" / "optimizer.pt")
    capsys.readouterr()
    assert cli.main([*words, "--resume"]) == 2
    said = capsys.readouterr().err
    assert "checkpoint-2 cannot be loaded" in said and "; delete " in said and said.count("\n") == 1


def test_weights_that_are_no_numbers_are_not_saved(tmp_path):
    network = torch.nn.Linear(1, 1)
    network.weight.data.fill_(1e6)
    with pytest.raises(HarnessError, match=r"weight has no numbers in float16 any more.*learning_rate"):
        save_model(network, tmp_path / "model", "float16", lambda folder: None)
    assert not (tmp_path / "model").exists()


HELD_OUT = {"split": "test"}
TINY = ("--model", "bundled/tiny-base", "--set")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("sft", *TINY, "train_file=DIR/nowhere.jsonl"), "nowhere.jsonl"),
        (("sft", *TINY, "train_file=DIR/torn.jsonl"), "torn.jsonl, record 2"),
        (("sft", *TINY, "train_file=DIR/held.jsonl"), "of the test split, which nothing is trained on"),
        (("sft", *TINY, "trajectories=DIR"), "is no run directory"),
        (("dpo", *TINY, "batch=2", "--tasks", "nomatch_*"), "No task matches 'nomatch_*'"),
        (("dpo", *TINY, "batch=2", "--tasks", "DIR/held.jsonl"), "held is no training data"),
        (("episode", *TINY, "prompts=3", "--tasks", "DIR/towns.jsonl"), "takes 3 prompts, and there are 2"),
        (("episode", *TINY, "prompts=3", "environments=2"), "takes 3 prompts, and there are 2"),
        (("episode", *TINY, "prompts=2", "max_prompt=9", "--tasks", "DIR/towns.jsonl"), "tokens and may have 9"),
        (("step", *TINY, "prompts=2", "prefixes=given", "max_prompt=9", "--tasks", "DIR/towns.jsonl"), "may have 9"),
        (("step", *TINY, "prompts=3", "prefixes=given", "--tasks", "DIR/towns.jsonl"), "there are 2; lower prompts"),
        (("step", *TINY, "scenario=when"), "scenario must be all in the step regime"),
        (("episode", *TINY, "scenario=when", "validation=8"), "validation must be a multiple of 5"),
        (("episode", *TINY, "scenario=when", "--reward", "episode_f1"), "Twins have no solve_f1 for the reward"),
        (("dpo", *TINY, "scenario=when", "test=8"), "test must be a multiple of 5"),
        (("dpo", *TINY, "scenario=when", "metric=solve_f1"), "metric must be one that twins have"),
        (("sft", *TINY, "train_file=DIR/bare.jsonl"), "'twin' has no gold calls with an answer"),
    ],
)
def test_data_that_cannot_be_trained_on_are_refused(words, says, towns, tmp_path, capsys):
    write_records(tmp_path / "held.jsonl", [record(**HELD_OUT)])
    (tmp_path / "torn.jsonl").write_text(towns.read_text()[:-20])
    write_records(tmp_path / "bare.jsonl", [record(id="twin", data_source="when/answerable", gold_calls=[])])
    named = [word.replace("DIR", str(tmp_path)) for word in words]
    assert says in refused(capsys, tmp_path / "out", "--regime", *named)
    assert cli.main(["train", "--dry-run", "--regime", *named]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("regime", ["sft", "episode", "step", "dpo"])
def test_a_run_is_of_what_its_files_held(regime, towns, tmp_path, capsys, monkeypatch):
    def interrupt(*given):
        raise KeyboardInterrupt

    for name in ("train_sft", "train_rl", "train_dpo"):
        monkeypatch.setattr(run, name, interrupt)
    out, given = tmp_path / "out", {"sft": [f"train_file={towns}"]}.get(regime, ["--tasks", str(towns)])
    sets = {"episode": ["prompts=2"], "step": ["prompts=2", "prefixes=given"]}.get(regime, ["batch=2"])
    words = ["train", "--regime", regime, "--quiet", "--out", str(out), *TINY, *sets, *given]
    assert cli.main(words) == cli.main([*words, "--resume"]) == 130
    write_records(towns, [record(id=f"town-{number}", split="train", answer="7") for number in range(2)])
    capsys.readouterr()
    assert cli.main([*words, "--resume"]) == 2
    assert "holds another training run (another data)" in capsys.readouterr().err
    before = {name: value for name, value in json.loads((out / "run.json").read_text()).items() if name != "data"}
    (out / "run.json").write_text(json.dumps(before))  # as earlier versions wrote it
    assert cli.main([*words, "--resume"]) == 130
