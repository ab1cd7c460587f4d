"""Attention of one token in half precision on a CPU: what torch's kernel gives, and only where it is meant."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import tiny_model
from transformers.cache_utils import DynamicCache
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from harness.models import ModelOptions
from harness.models.local import attention, hf
from harness.models.local.attention import attend, decoding_attention
from harness.models.local.kv_cache import cache_argument

ROWS, HEADS, SHARED, TOKENS, SIZE = 3, 6, 2, 37, 16
MODULE: Any = SimpleNamespace(num_key_value_groups=HEADS // SHARED, is_causal=True, training=False)


def states(tokens: int = 1, dtype: torch.dtype = torch.bfloat16) -> list[torch.Tensor]:
    """Query, keys and values; keys and values are the beginning of larger tensors, as a cache with room holds them."""
    draw = torch.Generator().manual_seed(0)
    shapes = [(ROWS, HEADS, tokens, SIZE), (ROWS, SHARED, TOKENS + 9, SIZE), (ROWS, SHARED, TOKENS + 9, SIZE)]
    query, key, value = (torch.randn(shape, generator=draw).to(dtype) for shape in shapes)
    return [query, key[:, :, :TOKENS], value[:, :, :TOKENS]]


SEEN = torch.arange(TOKENS) >= torch.tensor([0, 5, 30])[:, None]
MASKS = {
    "none": None,
    "padding": SEEN[:, None, None],
    "added": torch.zeros(ROWS, 1, 1, TOKENS)
    .masked_fill(~SEEN[:, None, None], torch.finfo(torch.bfloat16).min)
    .bfloat16(),
}


@pytest.mark.parametrize("scaling", [None, 0.4])
@pytest.mark.parametrize("mask", MASKS)
def test_one_token_attends_as_in_whole_precision(mask: str, scaling: float | None) -> None:
    found, weights = attend(MODULE, *states(), MASKS[mask], scaling=scaling)
    whole = [one.float() for one in states()]
    seen = MASKS[mask]
    seen = seen if seen is None or seen.dtype == torch.bool else seen.float()
    wanted, _ = sdpa_attention_forward(MODULE, *whole, seen, scaling=scaling)
    assert found.shape == (ROWS, 1, HEADS, SIZE)
    assert found.dtype == torch.bfloat16
    assert weights is None
    torch.testing.assert_close(found.float(), wanted, atol=0.02, rtol=0)  # 2 parts of 128: three roundings to 8 bits


def test_large_keys_give_numbers_in_float16() -> None:
    """Products that float16 has no number for, until they are scaled."""
    query, key, value = states(dtype=torch.float16)
    given = [query.sign() * 100, key.sign() * 60 + key, value]
    given[1][:, :, 0] = 60.0 * query[:, :SHARED, 0].sign()  # all of one sign: 16 products of 6,000
    assert (given[0][:, :SHARED] @ given[1].transpose(2, 3)).isinf().any()
    found, _ = attend(MODULE, *given, None)
    wanted, _ = sdpa_attention_forward(MODULE, *(one.float() for one in given), None)
    assert found.isfinite().all()
    torch.testing.assert_close(found.float()[:, :, 0], wanted[:, :, 0], atol=0.01, rtol=0)


def test_all_else_is_left_to_torch() -> None:
    """Several tokens, whole precision, a bias: bit for bit what the kernel gives."""
    bias = torch.full((1, HEADS, 1, TOKENS), 0.5, dtype=torch.bfloat16)
    cases: list[tuple[list[torch.Tensor], dict[str, Any]]] = [
        (states(tokens=4), {}),
        (states(dtype=torch.float32), {}),
        (states(), {"position_bias": bias}),
    ]
    for given, more in cases:
        found, _ = attend(MODULE, *given, None, **more)
        wanted, _ = sdpa_attention_forward(MODULE, *given, None, **more)
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_a_network_decodes_by_it_and_keeps_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """What a network says next is the same within rounding, and afterwards it attends as it did before."""
    local = hf.load_directory("hf/tiny", str(tiny_model.random_model(tmp_path / "model")), ModelOptions())._local
    network = hf.load_weights(local, dtype, "cpu")
    ids, mask = torch.tensor([[5, 6, 7, 8], [9, 9, 5, 6]]), torch.tensor([[1, 1, 1, 1], [0, 0, 1, 1]])
    lengths: list[int] = []

    def watch(module: Any, query: torch.Tensor, *states: Any, **more: Any) -> tuple[torch.Tensor, None]:
        lengths.append(query.shape[2])
        return attend(module, query, *states, **more)

    monkeypatch.setattr(attention, "attend", watch)
    with torch.inference_mode():
        wanted = network(input_ids=ids, attention_mask=mask).logits[:, -1]
        with decoding_attention(network):
            kept = {cache_argument(network): DynamicCache(config=network.config)}
            network(input_ids=ids[:, :-1], attention_mask=mask[:, :-1], use_cache=True, **kept)
            found = network(input_ids=ids[:, -1:], attention_mask=mask, use_cache=True, **kept).logits[:, -1]
    torch.testing.assert_close(found, wanted, atol=0.1 if dtype == "bfloat16" else 1e-4, rtol=0.02)
    assert set(lengths) == {3, 1}
    with pytest.raises(KeyError), decoding_attention(network):
        raise KeyError
    assert network.config._attn_implementation == "sdpa"
