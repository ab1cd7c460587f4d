"""The samples of a prompt are learnt from behind one copy of it.

Most of an episode is its prompt, and the samples of a group have the same one: in rows of their own n samples have
n (P + C) tokens, and P + n C as a tree of depth one. The root, the columns that all rows begin with, goes through the
network once, as one row; the branches go on from its keys and values, which pass their gradients back to it. Short
branches stand one behind another in rows as long as the longest, where a mask keeps them apart: half of a group was
padding, and no row is longer than it was.

Log-probabilities and gradients are those of whole rows but for rounding. Left out: networks whose layers remember
otherwise than by keys and values of every token, recomputed activations (they keep no cache), weights in shards,
routers of experts, and trees that part more than once; kernels of attention that take no mask of blocks have one branch
a row.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
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


def can_pack(network: Any) -> bool:
    """Whether several branches may share a row: attention takes a mask of blocks, and tokens are told where they stand
    and do not count columns."""
    plain = network.get_base_model() if hasattr(network, "get_base_model") else network
    told = "position_ids" in inspect.signature(plain.base_model.forward).parameters
    return told and plain.config._attn_implementation == "sdpa" and not getattr(plain.config, "alibi", False)


class Tree:
    """Rows without padding on their left that begin with the same `shared` columns, for `network`."""

    def __init__(self, network: Any, rows: Mapping[str, Tensor], shared: int) -> None:
        self._network = network
        self._root = rows["input_ids"][:1, :shared]
        self._ids, self._labels, seen = (rows[name][:, shared:] for name in ("input_ids", "labels", "attention_mask"))
        self._lengths: list[int] = seen.sum(1).tolist()
        self._bins = pack_branches(self._lengths) if can_pack(network) else []
        self._seen = None
        if len(self._bins) in (0, len(self._lengths)):  # a row each
            self._bins, self._seen = [[row] for row in range(len(self._lengths))], rows["attention_mask"]

    def run(self, model: Any, **more: Any) -> Any:
        """What `model`, which is the network or a wrapper of it, makes of the branches, told `more`. See `unpack`."""
        cache = DynamicCache(config=self._network.config)
        adapted = hasattr(self._network, "get_base_model")
        remembers = {cache_argument(self._network.get_base_model() if adapted else self._network): cache}
        self._network(input_ids=self._root, **remembers, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(self._bins))
        return model(**self._branches(), **remembers, **more, fused_lm_head=True)

    def unpack(self, values: Tensor) -> Tensor:
        """(rows, columns behind the shared ones but the first) of what `run` gave by token, 0 where a row has ended."""
        wide = values.shape[1]
        places = torch.full((len(self._lengths), self._ids.shape[1] - 1), -1)
        for number, row, start in self._starts():
            length = self._lengths[row] - 1
            places[row, :length] = torch.arange(length) + number * wide + start
        places = places.to(values.device)
        return values.flatten()[places].masked_fill(places < 0, 0)

    def _starts(self) -> Iterator[tuple[int, int, int]]:
        """Bin, row and first column of every branch."""
        for number, places in enumerate(self._bins):
            start = 0
            for row in places:
                yield number, row, start
                start += self._lengths[row]

    def _branches(self) -> dict[str, Tensor]:
        """What goes through the network behind the root. A branch's first token has no label, so none is taken for
        what follows the branch in front of it."""
        if self._seen is not None:
            return {"input_ids": self._ids, "labels": self._labels, "attention_mask": self._seen}
        ids, shared = self._ids, self._root.shape[1]
        size = len(self._bins), max(sum(self._lengths[row] for row in places) for places in self._bins)
        taken = {"input_ids": ids.new_zeros(size), "labels": ids.new_full(size, IGNORED)}
        owner, place = torch.full(size, -1), torch.zeros(size, dtype=torch.long)
        for number, row, start in self._starts():
            length = self._lengths[row]
            columns = slice(start, start + length)
            taken["input_ids"][number, columns] = ids[row, :length]
            taken["labels"][number, columns] = self._labels[row, :length]
            owner[number, columns], place[number, columns] = row, torch.arange(length)
        owner = owner.to(ids.device)
        own = (owner[:, :, None] == owner[:, None, :]).tril()
        mask = torch.cat([own.new_ones((*size, shared)), own], dim=2)[:, None]
        return {**taken, "position_ids": (place + shared).to(ids.device), "attention_mask": mask}


def pack_branches(lengths: Sequence[int]) -> list[list[int]]:
    """Which branches share a row, none longer than the longest branch: by first fit, the longest first."""
    bins: list[list[int]] = []
    room: list[int] = []
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        found = next((number for number, left in enumerate(room) if left >= lengths[place]), len(bins))
        if found == len(bins):
            bins.append([])
            room.append(max(lengths))
        bins[found].append(place)
        room[found] -= lengths[place]
    return bins
