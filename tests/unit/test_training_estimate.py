"""What a training would take: parameters, memory by part, tokens and operations, against figures reckoned by hand."""

from math import prod

import pytest
from builders import sample
from fakes import gguf_file
from fakes.tiny_model import template

from harness.data import jsonio
from harness.errors import UsageError
from harness.types import ModelRequest, Sampling
from trainer import bundled
from trainer.analysis.weights import open_weights
from trainer.dpo.settings import DPORecipe
from trainer.estimate.lengths import EpisodeLength, cut_anywhere, measure_episode, measure_turn, summarise_lengths
from trainer.estimate.memory import (
    LEARNING,
    PLAYING,
    Batch,
    MemoryUse,
    cache_bytes,
    count_activations,
    count_trained,
    estimate_memory,
    find_peak,
    sum_phase,
)
from trainer.estimate.model import EstimatedModel
from trainer.estimate.shape import list_tensors, new_shape, read_gguf_config, read_shape
from trainer.estimate.show import Estimate, describe_estimate, tell_fit
from trainer.estimate.step import StepTokens, count_operations, count_tokens, describe_use, find_batch, find_least_batch
from trainer.recipes.load import load_recipe
from trainer.rl.settings import RLRecipe
from trainer.sft.settings import SFTRecipe

QWEN25_7B = {
    "model_type": "qwen2",
    "hidden_size": 3584,
    "num_hidden_layers": 28,
    "num_attention_heads": 28,
    "num_key_value_heads": 4,
    "intermediate_size": 18944,
    "vocab_size": 152064,
    "tie_word_embeddings": False,
}
QWEN3_8B = {
    "model_type": "qwen3",
    "hidden_size": 4096,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12288,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}
SMOLLM2_135M = {
    "model_type": "llama",
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "tie_word_embeddings": True,
}
TINY = read_shape("tiny", jsonio.read_json(bundled.model_path("tiny-base") / "config.json", links=False))
EIGHT = read_shape("8B", QWEN3_8B)
LENGTHS = summarise_lengths([EpisodeLength(100, 30, 20, 3), EpisodeLength(300, 50, 40, 4)])


def rounded(parts):
    return {part.name.partition(",")[0]: round(part.bytes / 1e9) for part in parts}


# --- parameters --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(QWEN25_7B, 7_615_616_512), (QWEN3_8B, 8_190_735_360), (SMOLLM2_135M, 134_515_008)],
)
def test_parameters_are_those_of_the_published_weights(config, parameters):
    assert read_shape("a model", config).parameters == parameters


def test_the_tensors_are_those_of_real_weights():
    real = open_weights(bundled.model_path("tiny-base")).tensors
    assert {name: prod(size) for name, size in list_tensors(TINY).items()} == {n: one.size for n, one in real.items()}


def test_a_new_network_is_that_of_its_recipe():
    recipe = load_recipe("tiny-base", {})
    assert isinstance(recipe, SFTRecipe)
    assert new_shape(recipe) == TINY


def test_a_gguf_file_tells_its_sizes(tmp_path):
    gguf = pytest.importorskip("gguf")
    path = gguf_file.write(tmp_path / "tiny.gguf", template())
    shape = read_shape("tiny", read_gguf_config(path))
    assert shape.parameters == sum(int(tensor.n_elements) for tensor in gguf.GGUFReader(path).tensors)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_type": "mixtral"}, "'mixtral', and --dry-run knows the arithmetic of llama"),
        ({"hidden_size": None}, "no usable hidden_size"),
        ({"num_hidden_layers": "36"}, "no usable num_hidden_layers"),
        ({"vocab_size": 0}, "no usable vocab_size"),
    ],
)
def test_what_cannot_be_reckoned_is_refused(changes, told):
    with pytest.raises(UsageError, match=told):
        read_shape("a model", {**QWEN3_8B, **changes})


# --- memory ------------------------------------------------------------------------------------------------------


def test_eight_billion_parameters_take_148_gb_before_any_token_is_read():
    parts = rounded(estimate_memory(EIGHT, MemoryUse(reference="bfloat16"), Batch(0)))
    assert parts == {
        "master weights": 33,
        "gradients": 33,
        "Adam's two moments": 66,
        "reference model": 16,
        "activations of a micro-batch": 0,
    }
    assert sum(parts.values()) == 148


def test_the_reference_is_held_as_trl_loads_it():
    recipe = load_recipe("paper-qwen3-8b", {})
    assert describe_use(recipe).reference == "float32"
    assert describe_use(load_recipe("paper-qwen3-8b", {"lora_rank": "16"})).reference == ""
    assert describe_use(DPORecipe("dpo")).reference == "float32"


def test_shards_divide_what_is_held_and_gather_a_layer():
    use = MemoryUse("bfloat16", reference="float32")
    whole, parts = (rounded(estimate_memory(EIGHT, use, Batch(0), shards)) for shards in (1, 8))
    assert [parts[name] for name in ("master weights", "gradients", "Adam's two moments")] == [4, 4, 8]
    assert whole["compute copy"] == 15  # 2 bytes of 7.57e9: all matrices, without the table of embeddings
    assert parts["compute copy"] == 3  # 2 x (0.193e9 of a layer + 2 x 0.622e9 of embeddings and head)
    assert "whole network that plays" not in {**whole, **parts}
    plays = rounded(estimate_memory(EIGHT, use, Batch(0, played=1), 8))
    assert (plays["whole network that plays"], plays["its compute copy"]) == (33, 15)


def test_what_playing_needs_is_not_held_with_gradients():
    parts = estimate_memory(TINY, MemoryUse(), Batch(10, played=7), 1)
    fixed = 12 * TINY.parameters
    learning = 4 * TINY.parameters + count_activations(TINY, MemoryUse(), 10)
    playing = 7 * cache_bytes(TINY, "float32")
    assert (sum_phase(parts, LEARNING), sum_phase(parts, PLAYING)) == (fixed + learning, fixed + playing)
    assert find_peak(parts) == fixed + max(learning, playing)


def test_adapters_leave_the_weights_frozen():
    shape = read_shape("7B", QWEN25_7B)
    use = MemoryUse("bfloat16", lora_rank=16)
    assert count_trained(shape, use) == 40_370_176
    parts = {part.name: part.bytes for part in estimate_memory(shape, use, Batch(0))}
    assert parts["frozen weights, bfloat16"] == 2 * 7_615_616_512
    assert parts["gradients, float32"] == parts["adapters, float32"] == 4 * 40_370_176
    assert not any(name.startswith(("master", "compute")) for name in parts)


def test_layers_that_are_trained_alone_have_gradients_alone():
    assert count_trained(TINY, MemoryUse(train_layers="0-1")) == 2 * 3 * 128 * 320
    parts = {part.name: part.bytes for part in estimate_memory(TINY, MemoryUse(train_layers="0-1"), Batch(0))}
    assert parts["master weights, float32"] == 4 * TINY.parameters
    assert parts["Adam's two moments, float32"] == 8 * 245_760


@pytest.mark.parametrize(
    ("config", "compute", "a_token"),
    [
        # float32, a layer: 4 bytes of 6 x 576 + 4 x 576 + 4 x 1536
        (SMOLLM2_135M, "float32", 30 * 4 * (3456 + 2304 + 6144)),
        # bfloat16, a layer: 20 x 576, and 2 bytes of 4 x 576 + 4 x 1536
        (SMOLLM2_135M, "bfloat16", 30 * (11520 + 2 * (2304 + 6144))),
        # with norms of heads: 6 bytes of 4096 + 1024 more
        (QWEN3_8B, "bfloat16", 36 * (20 * 4096 + 2 * (4 * 4096 + 4 * 12288) + 6 * 5120)),
    ],
)
def test_activations_by_hand(config, compute, a_token):
    shape = read_shape("a model", config)
    assert count_activations(shape, MemoryUse(compute), 7) == 7 * a_token
    inputs = 4 * shape.hidden * shape.layers
    assert count_activations(shape, MemoryUse(compute, checkpointing=True), 7) == 7 * (inputs + a_token // shape.layers)


def test_keys_and_values_by_hand():
    assert cache_bytes(EIGHT, "bfloat16") == 2 * 36 * 8 * 128 * 2
    assert cache_bytes(read_shape("7B", QWEN25_7B), "bfloat16") == 57_344
    assert cache_bytes(TINY, "float32") == 2 * 4 * 64 * 4


# --- a step ------------------------------------------------------------------------------------------------------

EPISODE = RLRecipe("episode", prompts=4, samples=8, max_turns=2, max_tokens=50, micro_batch=8)


def test_tokens_of_a_step_by_hand():
    assert (LENGTHS.prompt, LENGTHS.answered, LENGTHS.longest) == (200, 70, 390)
    together = 4 * (200 + 8 * 70)
    assert count_tokens(EPISODE, LENGTHS, 70, 99) == StepTokens(together, 0, together)
    apart = RLRecipe("episode", prompts=4, samples=8, updates=2, checkpointing=True, kl=0.1, save_every=2, refresh=2)
    assert count_tokens(apart, LENGTHS, 70, 99) == StepTokens(together / 2, 2 * 2 * 8 * 270, 2 * 8 * 270)
    assert count_tokens(SFTRecipe("sft", batch=3), LENGTHS, 70, 99) == StepTokens(0, 0, 3 * 270)
    pairs = DPORecipe("dpo", batch=3, attempts=5, steps=10)
    assert count_tokens(pairs, LENGTHS, 70, 40) == StepTokens(40 * (200 + 5 * 70) / 10, 6 * 270, 6 * 270)


def test_operations_are_two_a_weight_to_read_and_six_to_learn():
    tokens = StepTokens(5, 3, 2)
    assert count_operations(10, MemoryUse(), tokens) == StepTokens(100, 60, 120)
    assert count_operations(10, MemoryUse(checkpointing=True), tokens).learnt == 160
    assert count_operations(10, MemoryUse(lora_rank=1), tokens).learnt == 80


@pytest.mark.parametrize(
    ("changes", "learnt"),
    [
        ({}, 300 + 8 * 140),  # a prompt once, and 2 x 50 said and 40 read behind it, of 8 samples
        ({"micro_batch": 3}, 300 + 3 * 140),
        ({"micro_tokens": 1000}, 300 + 5 * 140),
        ({"micro_tokens": 1000, "checkpointing": True}, 2 * 440),
        ({"micro_tokens": 10}, 440),
    ],
)
def test_tokens_that_go_through_the_network_at_once(changes, learnt):
    recipe = RLRecipe("episode", **{"prompts": 4, "max_turns": 2, "max_tokens": 50, "micro_batch": 8, **changes})
    assert find_batch(recipe, LENGTHS, None) == Batch(learnt, played=32 * 440)
    assert find_least_batch(recipe, LENGTHS, None) == Batch(440, played=440)


def test_processes_share_a_step_and_a_context_bounds_an_episode():
    assert find_batch(EPISODE, LENGTHS, None, processes=4, shards=4) == Batch(8 * 440, played=8 * 440)
    assert find_batch(EPISODE, LENGTHS, 400) == Batch(300 + 8 * 100, played=32 * 400)
    with pytest.raises(UsageError, match="cannot be shared by 3 processes"):
        find_batch(EPISODE, LENGTHS, None, processes=3)


# --- lengths -----------------------------------------------------------------------------------------------------


def test_without_a_tokenizer_lengths_are_characters():
    one = sample()
    request = ModelRequest(list(one.messages), one.tools, Sampling(), one)
    found = measure_episode(request, None)
    assert found.turns == 2
    assert found.prompt > len(one.messages[0].content) / 3.3
    call = '<tool_call>\n{"name": "population", "arguments": {"town": "Corrie"}}\n</tool_call>'
    assert found.said == round(len(call) / 3.3) + 1 + round(len("Answer: 45210") / 3.3) + 1
    turn = measure_turn(request, None)
    assert (turn.prompt, turn.said, turn.read) == (found.prompt, found.said // 2, 0)
    assert cut_anywhere(EpisodeLength(100, 30, 20, 3)) == EpisodeLength(125, 10, 0, 1)


# --- what is told ------------------------------------------------------------------------------------------------


def estimate(shape, recipe, **more):
    return Estimate(recipe, EstimatedModel("a model", shape, None, 40960), LENGTHS, 2, False, **more)


def test_what_does_not_fit_is_told_with_what_would():
    recipe = RLRecipe("episode", kl=0.1, dtype="bfloat16", max_tokens=50, max_turns=2)
    told = tell_fit(estimate(EIGHT, recipe))
    assert "do not fit on a GPU of 80 GB: master weights 33, gradients 33, Adam's two moments 66, reference" in told
    assert "What would: shards over 16 GPUs (FSDP 2) (" in told
    assert "; or lora_rank=16 (" in told
    pairs = tell_fit(estimate(EIGHT, DPORecipe("dpo")))
    assert "What would: nothing that a recipe can say; take a smaller model." in pairs
    assert "fit on a GPU of 80 GB." in tell_fit(estimate(TINY, recipe))
    long = tell_fit(estimate(read_shape("small", SMOLLM2_135M), RLRecipe("episode", max_tokens=2000, prompts=64)))
    assert "one sequence at a time takes" in long
    assert "pieces are halved" in long


def test_a_rate_gives_seconds_and_processes_share_them():
    alone = describe_estimate(estimate(TINY, EPISODE, operations=1e9))
    shared = describe_estimate(estimate(TINY, EPISODE, operations=1e9, processes=4))
    made = 8 * TINY.parameters * 4 * (200 + 8 * 70)  # 2 to play and 6 to learn
    assert f" {made / 1e9:,.3g} " in alone
    assert f" {made / 4e9:,.3g} " in shared
    assert "each of 4, whole" in shared
    assert "in shards" not in alone
    assert "Divide the operations" in describe_estimate(estimate(TINY, EPISODE))
