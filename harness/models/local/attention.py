"""Attention of one new token a row, in half precision on a CPU.

torch's kernel for it is made for long queries: for 8 rows of 857 tokens, 9 heads over 3 of keys, it takes 7 to 9 ms a
layer where two products of matrices take 1.5 to 2.2 (torch 2.13, one core with AVX512-BF16), and that was two thirds of
a decoding step of 135 million parameters. In float32 the kernel is as fast as the products.

Left out: attention with a bias by position, a cap on its scores, or whatever else a network asks for besides a mask;
torch's kernel does those.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "harness_decoding"
HALF = (torch.bfloat16, torch.float16)
OTHERWISE = ("position_bias", "softcap", "s_aux", "head_mask")
"""What networks ask of attention that is not done here."""


@contextmanager
def decoding_attention(model: Any) -> Iterator[None]:
    """While it lasts, a network that attends by torch's kernel on a CPU attends by `attend`."""
    config = model.config.get_text_config(decoder=True)  # its own alone: what sees images goes on as it does
    if model.device.type != "cpu" or getattr(config, "_attn_implementation", None) != "sdpa":
        yield
        return
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **more: Any,
) -> tuple[torch.Tensor, None]:
    """What each token takes from those before it, of shape (rows, tokens, heads, size), as transformers wants it.

    query           (rows, heads, tokens, size)
    key, value      (rows, heads of keys, all tokens, size); heads are a multiple of those
    attention_mask  (rows or 1, 1, tokens, all tokens): True where a token is seen, or a number to add
    """
    rows, heads, tokens, size = query.shape
    others = dropout or any(more.get(name) is not None for name in OTHERWISE)
    by_head = attention_mask is not None and attention_mask.shape[1] != 1
    if tokens != 1 or key.dtype not in HALF or others or by_head:
        found: tuple[torch.Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return found
    shared = key.shape[1]
    # Scaled before the product: what is above 65,504 is infinite in float16, and large keys get there unscaled.
    scaled = (query * (size**-0.5 if scaling is None else scaling)).to(key.dtype)
    grouped = scaled.view(rows, shared, heads // shared, size)
    scores = (grouped @ with_room(key).transpose(2, 3))[..., : key.shape[2]].float()
    if attention_mask is not None:
        seen = attention_mask.dtype == torch.bool
        scores = scores.masked_fill(~attention_mask, -torch.inf) if seen else scores + attention_mask
    room = with_room(value)
    taken = torch.nn.functional.pad(scores.softmax(-1).to(value.dtype), (0, room.shape[2] - value.shape[2])) @ room
    return taken.view(rows, 1, heads, value.shape[-1]), None


def with_room(states: torch.Tensor) -> torch.Tensor:
    """States that are the beginning of a cache's larger tensor (kv_cache.PreallocatedLayer), as all of that tensor.

    A product with a part of it copies the part first, which takes twice as long as the product. What stands in the room
    are zeros, or states of before: finite, so that a weight of 0 takes nothing from them.
    """
    rows, heads, tokens, size = states.shape
    length = states.stride(1) // size
    whole = (heads * length * size, length * size, size, 1)
    inside = states.storage_offset() + rows * whole[0] <= states.untyped_storage().size() // states.element_size()
    if length <= tokens or states.stride() != whole or not inside:
        return states
    return states.as_strided((rows, heads, length, size), whole)
