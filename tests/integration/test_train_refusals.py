"""What `harness train` refuses before its directory is claimed, and what stops it: one sentence, never a result."""

import shutil

import pytest
from builders import record, write_records
from safetensors.torch import load_file, save_file

from harness import cli
from trainer import bundled

FEW = ["steps=1", "batch=2", "log_every=1"]


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
