"""The samples of a prompt are learnt from behind one copy of it.

Most of an episode is its prompt, and the samples of a group have the same one: in rows of their own n samples have
n (P + C) tokens, and P + n C as a tree of depth one. The root, the columns that all rows begin with, goes through the
network once, as one row; the branches go on from its keys and values, which pass their gradients back to it. No mask of
blocks is needed, and attention is not computed where such a mask would hide it.

Log-probabilities and gradients are those of whole rows but for rounding. Left out: networks whose layers remember
otherwise than by keys and values of every token, recomputed activations (they keep no cache), weights in shards,
routers of experts, and trees that part more than once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers.cache_utils import DynamicCache

from harness.models.local.kv_cache import cache_argument
from trainer.rl.loss import plan_pieces

Tensor = torch.Tensor
IGNORED = -100
"""The label of a token that no loss is taken on."""
SAVED = 64
"""Tokens that must be saved for a pass more to be worth its while."""


def plan_by_prompt(
    prompts: Sequence[tuple[int, ...]], lengths: Sequence[int], rows: int, tokens: int
) -> list[list[int]]:
    """As plan_pieces, in pieces of one prompt each, which counts once in a piece."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for place, prompt in enumerate(prompts):
        groups.setdefault(prompt, []).append(place)
    pieces: list[list[int]] = []
    for prompt, places in groups.items():
        branches = [lengths[place] - len(prompt) for place in places]
        room = max(1, tokens - len(prompt)) if tokens else 0
        pieces += [[places[index] for index in piece] for piece in plan_pieces(branches, rows, room)]
    return sorted(pieces, key=lambda piece: -lengths[piece[0]] * len(piece))


def count_shared(rows: Mapping[str, Tensor]) -> int:
    """Columns at the left in which all rows are the same and that no loss is taken on, but for the last: what the first
    loss is taken after belongs to a branch. 0 where sharing would save too little."""
    ids, seen, labels = rows["input_ids"], rows["attention_mask"], rows["labels"]
    differs = (ids != ids[:1]).any(0) | (seen != seen[:1]).any(0)
    differs[:-1] |= (labels[:, 1:] != IGNORED).any(0)
    places = differs.nonzero()
    shared = int(places[0]) if len(places) else 0
    return shared if shared * (len(ids) - 1) >= SAVED else 0


def run_tree(model: Any, network: Any, rows: Mapping[str, Tensor], shared: int) -> Any:
    """What `model` makes of the branches of rows without padding on their left; `network` is the same, unwrapped.

    Its values are those of the columns behind the first `shared`.
    """
    cache = DynamicCache(config=network.config)
    adapted = hasattr(network, "get_base_model")
    remembers = {cache_argument(network.get_base_model() if adapted else network): cache}
    network(input_ids=rows["input_ids"][:1, :shared], **remembers, use_cache=True, logits_to_keep=1)
    cache.batch_repeat_interleave(len(rows["input_ids"]))
    branches = {name: rows[name][:, shared:] for name in ("input_ids", "labels")}
    return model(**branches, **remembers, attention_mask=rows["attention_mask"], fused_lm_head=True)
