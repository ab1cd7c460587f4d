"""Rows that are learnt from as a tree: the same log-probabilities and gradients as whole rows, of fewer tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from fakes import tiny_model
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    BartForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    set_seed,
)
from trl.trainer.utils import add_fused_lm_head

from trainer.rl.loss import plan_pieces
from trainer.rl.shared_prompt import IGNORED, SAVED, Tree, can_pack, count_shared, pack_branches, plan_by_prompt

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "vocab_size": 600,
}


def qwen3(folder: Path) -> Any:
    return AutoModelForCausalLM.from_pretrained(tiny_model.random_model(folder / "model"), dtype=torch.float32)


def llama(folder: Path) -> Any:
    set_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(**SHAPE, num_key_value_heads=2, initializer_range=0.2, tie_word_embeddings=True)
    )


def falcon(folder: Path) -> Any:
    """Its bias by position is made of a mask by row."""
    set_seed(0)
    return FalconForCausalLM(FalconConfig(**SHAPE, alibi=True, new_decoder_architecture=False))


def bart(folder: Path) -> Any:
    """It counts columns, and takes no positions."""
    set_seed(0)
    sizes = {"d_model": 64, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 96}
    return BartForCausalLM(BartConfig(**sizes, vocab_size=600, max_position_embeddings=256, dropout=0.0))


@pytest.fixture(scope="module", params=[qwen3, llama])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    network = request.param(tmp_path_factory.mktemp("shared")).train()
    add_fused_lm_head(network, outputs=("log_probs", "entropy"))
    return network


def group(prompt: int, completions: list[int]) -> dict[str, torch.Tensor]:
    """Samples of a prompt, padded on the right; of a completion every third token was put there by a tool."""
    draw = torch.Generator().manual_seed(3)
    width = prompt + max(completions)
    ids = torch.randint(10, 500, (len(completions), width), generator=draw)
    ids[:, :prompt] = ids[0, :prompt].clone()
    ids[:, prompt] = ids[0, prompt].clone()  # samples often begin with the same word, which is learnt all the same
    seen = (torch.arange(width) < prompt + torch.tensor(completions)[:, None]).long()
    said = (seen == 1) & (torch.arange(width) >= prompt) & (torch.arange(width) % 3 > 0)
    said[:, prompt] = True
    return {"input_ids": ids * seen, "attention_mask": seen, "labels": ids.masked_fill(~said, IGNORED)}


def learn(model: Any, rows: dict[str, torch.Tensor], shared: int) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Log-probabilities and entropies by column, and the gradients of a weighted sum of them."""
    model.zero_grad()
    tree = Tree(model, rows, shared)
    output = tree.run(model) if shared else model(**rows, fused_lm_head=True)
    width = rows["labels"].shape[1]
    values = [output.log_probs, output.entropy]
    values = [torch.nn.functional.pad(tree.unpack(one) if shared else one, (shared + 1, 0)) for one in values]
    weights = torch.linspace(-1, 2, values[0].numel()).view(-1, width)
    (values[0] * weights + 0.1 * values[1] * weights).sum().backward()
    return [one.detach() for one in values], [one.grad.clone() for one in model.parameters() if one.grad is not None]


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_log_probabilities_and_gradients_are_those_of_whole_rows(
    attention: str, model: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model.config, "_attn_implementation", attention)
    rows = group(70, [20, 5, 33, 11])
    shared = count_shared(rows)
    assert shared == 69, "the last token of the prompt is what the first loss is taken after"
    (expected, whole), (found, ours) = (learn(model, rows, columns) for columns in (0, shared))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(ours, whole, strict=True):
        assert float(other.abs().max()) > 0
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4 * float(other.abs().max()))


@pytest.mark.parametrize(
    ("attention", "branches"), [("sdpa", 3), ("eager", 4)], ids=["34, 21 and 12, and 6 tokens", "a row each"]
)
def test_the_prompt_is_read_once(attention: str, branches: int, model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.config, "_attn_implementation", attention)
    read: list[int] = []
    hook = model.base_model.register_forward_pre_hook(
        lambda network, args, given: read.append(given["input_ids"].numel()), with_kwargs=True
    )
    rows = group(70, [20, 5, 33, 11])
    Tree(model, rows, count_shared(rows)).run(model)
    hook.remove()
    assert read == [69, branches * 34]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(1, 300), min_size=1, max_size=32))
def test_branches_share_rows_that_are_no_longer_than_the_longest(lengths: list[int]) -> None:
    bins = pack_branches(lengths)
    assert sorted(place for places in bins for place in places) == list(range(len(lengths)))
    sizes = sorted(sum(lengths[place] for place in places) for places in bins)
    assert sizes[-1] == max(lengths)
    assert len(sizes) < 2 or sizes[0] + sizes[1] > max(lengths), "no two rows fit into one"


@pytest.mark.parametrize("make", [falcon, bart])
def test_branches_have_a_row_each_where_a_mask_of_blocks_is_not_enough(make: Any, tmp_path: Path) -> None:
    network = make(tmp_path).train()
    add_fused_lm_head(network, outputs=("log_probs", "entropy"))
    assert not can_pack(network)
    rows = group(70, [20, 5, 33, 11])
    (expected, _), (found, _) = (learn(network, rows, columns) for columns in (0, count_shared(rows)))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_nothing_is_shared_where_it_would_save_nothing() -> None:
    rows = group(70, [20, 5])
    assert count_shared(rows) == 69
    assert count_shared({name: value[:1] for name, value in rows.items()}) == 0, "a row alone"
    assert count_shared(group(SAVED // 3, [20, 5])) == 0, "too short"
    rows["input_ids"][1, 0] += 1
    assert count_shared(rows) == 0, "another beginning"
    padded = group(70, [20, 5])
    padded["attention_mask"][0, :9] = 0
    assert count_shared(padded) == 0


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 300)), min_size=1, max_size=40),
    st.integers(1, 8),
    st.sampled_from([0, 50, 500]),
)
def test_pieces_are_of_one_prompt_and_within_the_bounds(rows: list[tuple[int, int]], most: int, tokens: int) -> None:
    prompts = [(number,) * (10 * number) for number, _ in rows]
    lengths = [len(prompt) + said for prompt, (_, said) in zip(prompts, rows, strict=True)]
    pieces = plan_by_prompt(prompts, lengths, most, tokens)
    assert sorted(place for piece in pieces for place in piece) == list(range(len(rows)))
    for piece in pieces:
        (prompt,) = {prompts[place] for place in piece}
        branches = [lengths[place] - len(prompt) for place in piece]
        assert len(piece) <= most
        assert not tokens or len(piece) == 1 or len(prompt) + len(piece) * max(branches) <= tokens
    if len(set(prompts)) == 1 and not tokens:
        assert sorted(map(len, pieces)) == sorted(map(len, plan_pieces(lengths, most, tokens)))
