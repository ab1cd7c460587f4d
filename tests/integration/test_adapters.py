"""LoRA adapters in folders: those of training and those of peft are played as the sums that they stand for, are gone on
from, and are refused where they would be another model."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import replace
from pathlib import Path

import peft
import pytest
import torch
from builders import record, sample, write_records
from fakes import gguf_file, tiny_model
from safetensors.torch import load_file, save_file

from harness.errors import UsageError
from harness.models import ModelOptions, load_model
from harness.models.local.adapter import BASE, CONFIG, WEIGHTS
from harness.models.local.folder import check_folder, digest_model, folder_digest
from harness.models.local.hf import check_weights, load_weights
from harness.models.local.tokenizer import open_tokenizer
from harness.types import ModelRequest, Reply, Sampling
from trainer.analysis.changes import pair_tensors
from trainer.analysis.weights import open_weights
from trainer.commands import train
from trainer.rewards import Reward
from trainer.rl.data import prepare_training
from trainer.rl.settings import RLRecipe
from trainer.rl.trl_trainer import train_network
from trainer.sft.network import CHAT_TEMPLATE
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import InitialWeights, check_chat_model, train_sft

UP = "base_model.model.model.layers.0.mlp.up_proj."
SUMMED = 3e-6
"""Two ways to add the same products differ by rounding."""


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny_model.random_model(tmp_path_factory.mktemp("base") / "model", CHAT_TEMPLATE)


@pytest.fixture(scope="module")
def towns(tmp_path_factory) -> Path:
    return write_records(tmp_path_factory.mktemp("data") / "towns.jsonl", [record(split="train")])


def weights_of(path: Path, **args: str) -> dict[str, torch.Tensor]:
    network = load_weights(open_tokenizer(check_folder("m", path, args), args), "float32", "cpu")
    return dict(network.named_parameters())


def furthest(one, other) -> float:
    assert one.keys() == other.keys()
    return max(float((one[name] - other[name]).detach().abs().max()) for name in one)


def said(path: Path, **args: str) -> str:
    one = sample()
    model = load_model(f"hf/{path}", ModelOptions(args=args))
    (reply,) = model.batch([ModelRequest(one.messages, one.tools, Sampling(0.0, 12), one)])
    assert isinstance(reply, Reply)
    return reply.message.raw or ""


def write_by_peft(base: Path, folder: Path, seed: int = 1, **settings) -> peft.PeftModel:
    """An adapter that moves what is said, as peft itself saves it: no tokenizer, and the base's path."""
    torch.manual_seed(seed)
    network = load_weights(open_tokenizer(check_folder("m", base, {}), {}), "float32", "cpu")
    config = {"r": 4, "lora_alpha": 6, "target_modules": "all-linear", "init_lora_weights": False, **settings}
    network = peft.get_peft_model(network, peft.LoraConfig(task_type="CAUSAL_LM", **config))
    network.peft_config["default"].base_model_name_or_path = str(base)
    network.save_pretrained(folder, save_embedding_layers=False)
    return network


@pytest.fixture(scope="module")
def by_peft(base, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("peft") / "adapter"
    write_by_peft(base, folder)
    return folder


def change_config(folder: Path, **changes) -> None:
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


# --- what an adapter says ------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"use_rslora": True},
        {"rank_pattern": {"q_proj": 2}},
        {"target_modules": ["q_proj", "down_proj"], "init_lora_weights": "gaussian"},
        {"target_modules": ["q_proj", "c_attn"], "modules_to_save": ["norm"]},  # of which the model has none
    ],
)
def test_an_adapter_is_the_sum_that_peft_makes(base, tmp_path, settings):
    merged = write_by_peft(base, tmp_path / "adapter", **settings).merge_and_unload()
    assert furthest(weights_of(tmp_path / "adapter"), dict(merged.named_parameters())) < SUMMED


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_speaks_with_its_models_tokenizer_and_is_told_from_it(base, by_peft, tmp_path):
    assert said(by_peft) != said(base)
    moved = shutil.copytree(base, tmp_path / "elsewhere")
    change_config(shutil.copytree(by_peft, tmp_path / "adapter"), base_model_name_or_path="Qwen/Qwen3-0.6B")
    assert said(tmp_path / "adapter", base=str(moved)) == said(by_peft)
    digests = {folder_digest(base), folder_digest(by_peft), digest_model(by_peft)}
    assert len(digests) == 3
    other = load_model(f"hf/{tmp_path / 'adapter'}", ModelOptions(args={"base": str(moved)}))
    assert other.fingerprint["sha256"] == digest_model(by_peft)  # wherever it and its model lie
    assert load_model(f"hf/{by_peft}", ModelOptions()).fingerprint["sha256"] == digest_model(by_peft)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_an_adapter_of_an_adapter_is_added_to_the_sum(base, by_peft, tmp_path):
    first = weights_of(by_peft)
    merged = write_by_peft(by_peft, tmp_path / "second", seed=2).merge_and_unload()
    both = weights_of(tmp_path / "second")
    assert furthest(both, dict(merged.named_parameters())) < SUMMED
    assert furthest(both, first) > 0.01
    assert furthest(first, weights_of(base)) > 0.01


def test_an_adapter_of_a_gguf_file_brings_its_own_template(by_peft, tmp_path):
    file = gguf_file.write(tmp_path / "tiny.gguf", "{{ messages }}")
    folder = shutil.copytree(by_peft, tmp_path / "adapter")
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    opened = open_tokenizer(check_folder("m", folder, {"base": str(file)}), {})
    assert opened.prompter.template == CHAT_TEMPLATE
    assert opened.folder.path == file


# --- what training writes ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("adapted", [False, True])
def test_a_warm_up_with_adapters_is_decided_by_its_seed(base, by_peft, towns, tmp_path, adapted):
    """Whatever was drawn before; also from an adapter, which has no tokenizer of its own."""
    path = by_peft if adapted else base
    found = []
    for name in ("one", "two"):
        recipe = SFTRecipe("sft", train_file=str(towns), steps=1, batch=1, warmup=0, lora_rank=2, save_dtype="float32")
        start, out = InitialWeights(path, f"hf/{path}"), tmp_path / name
        out.mkdir()
        torch.manual_seed(len(found))
        manifest = train_sft(recipe, start, check_chat_model(recipe, start), out, [], lambda *told: None)
        found.append(load_file(out / "adapter" / WEIGHTS))
        assert furthest(weights_of(out / "adapter"), weights_of(out / "model")) < SUMMED
        assert furthest(weights_of(out / "adapter"), weights_of(path)) > 0
        assert manifest["parameters"] == sum(one.numel() for one in weights_of(base).values())
    one = tmp_path / "one" / "adapter"
    assert said(one) == said(tmp_path / "one" / "model")
    assert json.loads((one / CONFIG).read_text())["base_model_name_or_path"] == str(path)
    assert all(torch.equal(value, found[1][name]) for name, value in found[0].items())
    assert (one / CONFIG).read_bytes() == (tmp_path / "two" / "adapter" / CONFIG).read_bytes()


@pytest.mark.filterwarnings("ignore:.*rollout_func.*:UserWarning")
def test_a_reward_leaves_the_adapter_of_its_best_model(base, towns, tmp_path):
    few = {"steps": 1, "prompts": 1, "samples": 2, "max_turns": 1, "max_tokens": 8, "validation": 0, "test": 0}
    recipe = RLRecipe("episode", **few, learning_rate=1e-2, lora_rank=2, save_every=2)
    setup = prepare_training(recipe, [str(towns)], {}, tmp_path, lambda *told: None)
    setup = replace(setup, reward=Reward("episode", lambda *given: float(len(given[1].messages[-1].raw or "") % 2)))
    local = open_tokenizer(check_folder(f"hf/{base}", base, {}), {})
    train_network(setup, local, load_weights(local, "float32", "cpu"), tmp_path, lambda *told: None)
    assert furthest(weights_of(tmp_path / "adapter"), weights_of(tmp_path / "model")) < SUMMED
    assert (tmp_path / "adapter" / "tokenizer.json").is_file()


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"peft_type": "LOHA"}, "an adapter with LOHA"),
        ({"use_dora": True}, "with use_dora: merge it into its model"),
        ({"init_lora_weights": "pissa"}, "with init_lora_weights pissa"),
        ({"alpha_pattern": {"q_proj": 3}}, "with alpha_pattern"),
        ({"bias": "lora_only"}, "with bias lora_only"),
        (
            {"base_model_name_or_path": None},
            "does not say of what model: say where its model lies, to an evaluation by",
        ),
        ({"base_model_name_or_path": "hf/"}, "of 'hf/', which is not here"),
        ({"base_model_name_or_path": "."}, "of '.', which is not here"),
        ({"base_model_name_or_path": "x" * 5000}, "of 'x{200}', which is not here"),
        ({"r": 16}, "matrices of rank 4, and its adapter_config.json another r"),
        ({"target_modules": ["q_proj", "lm_head"]}, "has nothing for 'lm_head', which its adapter_config.json lists"),
        ({"base_model_name_or_path": "Qwen/Qwen3-0.6B"}, "of 'Qwen/Qwen3-0.6B', which is not here"),
        ({"base_model_name_or_path": "bundled/none"}, "No network called 'none'"),
        ({"lora_alpha": "two"}, "gives no lora_alpha"),
        ({"lora_alpha": 10**400}, "gives no lora_alpha"),
    ],
)
def test_what_would_be_another_model_is_refused(by_peft, tmp_path, changes, says):
    folder = shutil.copytree(by_peft, tmp_path / "adapter")
    change_config(folder, **changes)
    with pytest.raises(UsageError, match=says) as caught:
        check_weights(check_folder("hf/adapter", folder, {}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tensors", "says"),
    [
        ({}, "the matrices for 'model.layers.0.mlp.up_proj.weight'"),
        ({UP + "lora_A.weight": torch.zeros(4, 3)}, "do not fit its model"),
        ({UP + "lora_embedding_A": torch.zeros(4, 3)}, "no known part"),
        ({"base_model.model.nothing.weight": torch.zeros(4, 3)}, "'nothing.weight' in .* does not fit"),
        ({"base_model.model.model.embed_tokens.weight": torch.zeros(4, 3)}, "than the head that is the same"),
        (
            {"base_model.model.model.embed_tokens.lora_A.weight": torch.zeros(4, 3)},
            "'model.embed_tokens.weight' in .* do not",
        ),
        ({UP + "lora_A.weight": torch.zeros(4, 64, dtype=torch.int8)}, "no known part"),
        (
            {"base_model.model.x.weight": torch.ones(1), "base_model.model.x.modules_to_save.weight": torch.ones(1)},
            "no known",
        ),
    ],
)
def test_matrices_that_do_not_fit_are_told_before_anything_is_trained(base, tmp_path, tensors, says):
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps({"base_model_name_or_path": str(base), "lora_alpha": 4}))
    save_file({UP + "lora_B.weight": torch.zeros(4, 4), **tensors}, folder / WEIGHTS)
    with pytest.raises(UsageError, match=says):
        check_weights(check_folder("hf/adapter", folder, {}))


def test_damaged_folders_are_one_sentence(by_peft, tmp_path):
    torn, pickled, deep = (shutil.copytree(by_peft, tmp_path / name) for name in ("torn", "pickled", "deep"))
    (torn / WEIGHTS).write_bytes((torn / WEIGHTS).read_bytes()[:99])
    (pickled / WEIGHTS).rename(pickled / "adapter_model.bin")
    change_config(deep, base_model_name_or_path=str(deep))
    empty = shutil.copytree(by_peft, tmp_path / "empty")
    save_file({}, empty / WEIGHTS)
    change_config(empty, target_modules="all-linear")
    for folder, says in (
        (torn, "cannot be read"),
        (pickled, "pickled adapters are never read"),
        (deep, "names itself as its model"),
        (empty, "has no matrices"),
    ):
        with pytest.raises(UsageError, match=says) as caught:
            check_weights(check_folder("hf/adapter", folder, {}))
        assert "\n" not in str(caught.value)
    (torn / CONFIG).write_text("[]")
    with pytest.raises(UsageError, match="holds no JSON object"):
        check_folder("hf/adapter", torn, {})
    with pytest.raises(UsageError, match="is a LoRA adapter, which hf/ plays"):
        load_model(f"vllm-server/{by_peft}", ModelOptions())


def test_matrices_that_are_no_numbers_are_told_when_they_are_added(by_peft, tmp_path):
    folder = shutil.copytree(by_peft, tmp_path / "adapter")
    tensors = load_file(folder / WEIGHTS)
    first = sorted(tensors)[0]
    save_file({**tensors, first: torch.full_like(tensors[first], torch.nan)}, folder / WEIGHTS)
    with pytest.raises(UsageError, match="is no numbers any more"):
        weights_of(folder)


def test_an_adapter_is_not_added_unasked_nor_to_another_model(base, by_peft, tmp_path):
    """transformers would add what lies beside a GGUF file; an adapter of training knows its model by digest."""
    with pytest.raises(UsageError, match="is a whole model; --model-arg base is for LoRA adapters"):
        check_folder("hf/base", base, {"base": str(base)})
    mixed = shutil.copytree(by_peft, tmp_path / "mixed")
    file = gguf_file.write(mixed / "tiny.gguf", CHAT_TEMPLATE)
    with pytest.raises(UsageError, match=r"lies beside adapter_config.json; give the file a folder of its own"):
        check_folder("hf/file", file, {})
    folder = shutil.copytree(by_peft, tmp_path / "adapter")
    (folder / BASE).write_text(json.dumps({"sha256": folder_digest(base)}))
    check_folder("hf/adapter", folder, {})
    other = tiny_model.random_model(tmp_path / "other", CHAT_TEMPLATE, seed=1)
    with pytest.raises(UsageError, match="was trained on another model than the one in"):
        check_folder("hf/adapter", folder, {"base": str(other)})
    with pytest.raises(UsageError, match="was trained on another model than the one in"):
        pair_tensors(open_weights(other), open_weights(folder))
    assert pair_tensors(open_weights(base), open_weights(folder))


def test_tokenizer_and_template_are_the_outermost_ones(base, by_peft, tmp_path):
    folder = shutil.copytree(by_peft, tmp_path / "adapter")
    words = tiny_model.tokenizer(None)
    words.save_pretrained(folder)
    assert open_tokenizer(check_folder("m", folder, {}), {}).prompter.template == CHAT_TEMPLATE  # the base's
    words = tiny_model.tokenizer("{{ messages }} of its own")
    words.save_pretrained(folder)
    assert "of its own" in open_tokenizer(check_folder("m", folder, {}), {}).prompter.template
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    assert open_tokenizer(check_folder("m", folder, {}), {}).prompter.template == CHAT_TEMPLATE
    words.add_tokens([f"<new{number}>" for number in range(600)])
    words.save_pretrained(folder)
    with pytest.raises(UsageError, match=r"has \d+ tokens, its model \d+: merge the adapter"):
        open_tokenizer(check_folder("m", folder, {}), {})


def test_what_an_adapter_cannot_do_is_refused_before_anything_is_built(base, by_peft, towns, tmp_path):
    def ask(*words: object) -> str:
        parser = argparse.ArgumentParser()
        train.configure(parser)
        with pytest.raises(UsageError) as caught:
            train.run(parser.parse_args([*map(str, words), "--out", str(tmp_path / "out")]))
        return str(caught.value)

    model = ["--model", f"hf/{by_peft}", "--regime"]
    assert "set kl=0" in ask(*model, "episode", "--tasks", towns, "--set", "learning_rate=1e-3", "kl=0.1")
    assert "lora_rank" in ask(*model, "sft", "--set", f"train_file={towns}", "train_layers=lower", "lora_rank=2")
    assert "lora_rank needs a --model to go on from" in ask("--recipe", "tiny-base", "--set", "lora_rank=2")
    assert not (tmp_path / "out").exists()


def test_an_estimate_counts_adapters_of_a_warm_up_and_below_an_adapter(by_peft, base, towns, capsys):
    parser, told = argparse.ArgumentParser(), []
    train.configure(parser)
    for path in (base, by_peft):
        words = ["--regime", "sft", "--dry-run", "--model", f"hf/{path}", "--set", f"train_file={towns}"]
        assert train.run(parser.parse_args([*words, "lora_rank=2", "learning_rate=1e-3"])) == 0
        told.append(capsys.readouterr().out)
    assert "in adapters" in told[0]
    assert told[0].replace(str(base), "") == told[1].replace(str(by_peft), "")
