"""What training must not lose: small updates in bfloat16, the weight of a token, precision when saved; and when it
learns nothing, it says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from builders import record, write_records
from fakes import tiny_model
from fakes.checkpoints import write_checkpoint
from safetensors.torch import load_file

from harness.errors import HarnessError
from harness.models.local import hf
from harness.models.local.folder import check_folder
from harness.models.local.hf import load_weights
from harness.models.local.rows import PromptRow
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.sandbox import Sandbox, SandboxConfig
from harness.task import file_task
from harness.types import Gold, Limits, Message, ModelRequest, Reasoning, Sample, Sampling
from trainer import precision, run_directory
from trainer.rewards import Reward
from trainer.rl import actor
from trainer.rl.actor import Actor, EpisodeRequest, NetworkGenerator, RolloutSettings, play_episodes
from trainer.rl.data import TrainingSetup, prepare_training
from trainer.rl.settings import RLRecipe
from trainer.rl.spread import choose_again, find_spread
from trainer.rl.trl_trainer import train_network
from trainer.sft.network import CHAT_TEMPLATE

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rollout_func.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]
FEW = {
    "steps": 10, "prompts": 2, "samples": 4, "max_turns": 2, "max_tokens": 16, "validation": 0, "test": 0,
    "learning_rate": 1e-6, "save_every": 100,
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ModelTokenizer:
    folder = tiny_model.random_model(tmp_path_factory.mktemp("random"), CHAT_TEMPLATE)
    return open_tokenizer(check_folder("tiny", folder, {}), {})


@pytest.fixture(scope="module")
def towns(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("data") / "towns.jsonl"
    return write_records(path, [record(id=f"town-{number}", split="train") for number in range(6)])


def by_length(sample, trajectory, verdict):
    return len(trajectory.messages[-1].raw or "") % 7 / 7


def setup_of(towns: Path, out: Path, reward=by_length, **changes) -> TrainingSetup:
    out.mkdir(parents=True, exist_ok=True)
    setup = prepare_training(RLRecipe("episode", **{**FEW, **changes}), [str(towns)], {}, out, lambda *told: None)
    return replace(setup, reward=Reward("episode", reward))


def trained(model, towns, out, **changes):
    setup = setup_of(towns, out, **changes)
    network = load_weights(model, setup.settings.dtype if setup.settings.lora_rank else "float32", "cpu")
    train_network(setup, model, network, out, lambda *told: None)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return load_file(out / "model" / "model.safetensors"), lines


def share_moved(model, weights) -> float:
    began = load_file(model.folder.path / "model.safetensors")
    moved = sum(int((value.float() != began[name].float()).sum()) for name, value in weights.items())
    return moved / sum(value.numel() for value in weights.values())


def test_bfloat16_moves_the_weights_that_float32_moves(model, towns, tmp_path):
    """At 1e-6: stepping on weights in bfloat16 moves one in two hundred."""
    whole, lines = trained(model, towns, tmp_path / "float32")
    half, others = trained(model, towns, tmp_path / "bfloat16", dtype="bfloat16")
    assert share_moved(model, whole) > 0.5
    assert share_moved(model, half) >= 0.95 * share_moved(model, whole)
    assert {str(value.dtype) for value in half.values()} == {"torch.float32"}
    differences = [abs(one["entropy"] - other["entropy"]) for one, other in zip(lines, others, strict=True)]
    assert max(differences) < 0.3  # other draws, the same distribution
    assert max(differences) > 0


def test_what_is_saved_is_rounded_only_where_asked(model, towns, tmp_path):
    weights, _ = trained(model, towns, tmp_path, save_dtype="bfloat16")
    assert {str(value.dtype) for value in weights.values()} == {"torch.bfloat16"}
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "bfloat16"
    assert share_moved(model, weights) < 1  # rounded, and read again as it was written
    loaded = load_weights(open_tokenizer(check_folder("t", tmp_path / "model", {}), {}), "auto", "cpu")
    assert loaded.dtype == torch.bfloat16


def test_adapters_are_merged_in_float32(model, towns, tmp_path):
    """On frozen weights in bfloat16, so small a change would vanish in them."""
    weights, _ = trained(model, towns, tmp_path, dtype="bfloat16", lora_rank=2, steps=2)
    began = load_file(model.folder.path / "model.safetensors")
    name = "model.layers.0.mlp.up_proj.weight"
    change = weights[name] - began[name].bfloat16().float()
    assert 0 < change.abs().max() < began[name].abs().max() / 256 / 4
    assert (weights[name].bfloat16() == began[name].bfloat16()).float().mean() > 0.99


def test_a_slow_cpu_is_reported(monkeypatch, capsys):
    monkeypatch.setattr(precision, "has_bfloat16_units", lambda: False)
    precision.report_slow_bfloat16("float32", "cpu")
    assert capsys.readouterr().err == ""
    precision.report_slow_bfloat16("bfloat16", "cpu")
    assert "no AVX512-BF16" in capsys.readouterr().err


# --- nothing to learn --------------------------------------------------------------------------------------------


def nothing_earned(*given):
    return 0.0


def test_a_model_that_earns_nothing_is_told_of_and_stopped(model, towns, tmp_path, capsys):
    setup = setup_of(towns, tmp_path, nothing_earned, max_flat=3)
    told = []
    with pytest.raises(HarnessError, match=r"stopped at step 3: in 3 generations in a row .*mean 0\.000") as caught:
        train_network(setup, model, load_weights(model, "float32", "cpu"), tmp_path, lambda *one: told.append(one[0]))
    assert "\n" not in str(caught.value)
    said = capsys.readouterr().err
    assert said.startswith("Step 1: the samples of no prompt differ") and said.count("\n") == 1
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["groups_without_spread"] for line in lines] == [1.0, 1.0]
    assert told[-1] == "train, reward 0.000, 100% of groups without spread"


def test_groups_without_spread_are_drawn_again(model, towns, tmp_path):
    """Only town-5 can be learnt from, so every generation draws until it has it; the rest stays within its bound."""

    def only_one(sample, trajectory, verdict):
        return by_length(sample, trajectory, verdict) if sample.id == "town-5" else 0.0

    _, lines = trained(model, towns, tmp_path, reward=only_one, dynamic=3, steps=3, temperature=2.0)
    assert all(line["groups_without_spread"] == 0.5 for line in lines)
    assert all(line["groups_drawn_again"] in range(1, 5) for line in lines)


def test_spread_is_of_any_turn_and_prompts_are_used_once():
    nan = float("nan")
    rewards = torch.tensor([[0.1, nan], [0.1, nan], [1.0, 0.5], [1.0, 0.7], [nan, nan], [nan, nan]])
    assert find_spread(rewards, 2) == [False, True, False]
    assert set(choose_again([0, 4], ["a", "b", "c"], ["a"], "s").items()) in (
        {(0, "b"), (4, "c")},
        {(0, "c"), (4, "b")},
    )
    assert list(choose_again([0, 4], ["a", "b"], ["a"], "s")) == [0]


# --- memory and the context --------------------------------------------------------------------------------------

SETTINGS = RolloutSettings(Sampling(1.0, 30, 3), Limits(max_turns=6), Reasoning("off"))


def play(model, towns, width=5):
    task = file_task(towns)
    requests = [EpisodeRequest(task, one, 0) for one in task.load()]
    player = Actor(
        model, NetworkGenerator(model, load_weights(model, "float32", "cpu"), "float32", width, kept=width), width
    )
    with Sandbox(SandboxConfig(workers=1)) as sandbox:
        played = play_episodes(player, requests, SETTINGS, sandbox)
    return played, [player.pop_tokens(request.key) for request in requests]


def test_what_was_read_is_kept_and_memory_that_runs_out_costs_time_only(model, towns, monkeypatch):
    expected = [one.ids for one in play(model, towns)[1]]
    generate, sizes = hf.generate_rows, []

    def scarce(network, local, rows, *more):
        sizes.append(len(rows))
        if len(rows) > 2:
            raise RuntimeError("out of memory")
        return generate(network, local, rows, *more)

    monkeypatch.setattr(actor, "generate_rows", scarce)
    assert [one.ids for one in play(model, towns)[1]] == expected
    assert sizes[0] == 5 and max(sizes[2:]) == 2


def test_an_update_that_needs_too_much_memory_is_made_in_smaller_pieces(model, towns, tmp_path, monkeypatch):
    from trainer.rl.environment_trainer import EnvironmentTrainer

    whole, _ = trained(model, towns, tmp_path / "whole", steps=1, learning_rate=1e-3)
    piece, sizes = EnvironmentTrainer._piece_loss, []

    def scarce(self, network, rows):
        sizes.append(len(rows["advantages"]))
        if sizes[-1] > 2 or len(sizes) == 4:
            raise RuntimeError("out of memory")
        return piece(self, network, rows)

    monkeypatch.setattr(EnvironmentTrainer, "_piece_loss", scarce)
    halved, _ = trained(model, towns, tmp_path / "halved", steps=1, learning_rate=1e-3, micro_batch=8)
    assert sizes[:4] == [8, 4, 2, 2] and sizes[4:] == [1] * 8
    for name, value in whole.items():
        torch.testing.assert_close(halved[name], value, atol=1e-5, rtol=1e-3)


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 255
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "name", "says"),
    [
        (lambda file: file.write_bytes(file.read_bytes()[:2000]), "optimizer.pt", r"optimizer\.pt is damaged"),
        (flip, "optimizer.pt", r"optimizer\.pt is damaged"),
        (
            lambda file: file.write_bytes(file.read_bytes()[:2000]),
            "model.safetensors",
            r"model\.safetensors is damaged",
        ),
        (lambda file: file.write_text("{}"), "trainer_state.json", r"trainer_state\.json is damaged"),
        (lambda file: file.unlink(), "model.safetensors", "checkpoint-5 has no weights"),
        (lambda file: file.unlink(), "optimizer.pt", "checkpoint-5 has no optimizer"),
    ],
)
def test_a_damaged_part_of_a_checkpoint_is_one_sentence(damage, name, says, tmp_path):
    folder = write_checkpoint(tmp_path, 5)
    assert run_directory.find_last_checkpoint(tmp_path) == folder
    damage(folder / name)
    with pytest.raises(HarnessError, match=f"{says}.*delete .*checkpoint-5") as caught:
        run_directory.find_last_checkpoint(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_are_cast_once_a_batch_and_not_for_every_token(model, dtype):
    """Autocast keeps nothing in inference mode, where generating would be slower than in float32."""
    network, modes = load_weights(model, "float32", "cpu"), []
    network.lm_head.register_forward_pre_hook(lambda *given: modes.append(torch.is_inference_mode_enabled()))
    request = ModelRequest((Message("user", "?"),), (), Sampling(0.0, 4), Sample("s", (), (), {}, Gold({})))
    row = PromptRow(request, model.prompter.prompt(request), tuple(range(5, 20)), 4)
    actor.NetworkGenerator(model, network, dtype, 1, kept=0)([row])
    assert set(modes) == {dtype == "float32"}
