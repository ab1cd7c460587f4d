"""What a network has read, as keys and values: read once for every episode, and kept from turn to turn.

A prompt begins as the last one of its episode ended, so most of it was read before. A batch is made in three moves:

    recall   what is kept of each row, as far as its tokens are still those of the new prompt
    read     the rest of each prompt but its last token, rows with equally much to read together, equal prompts once
    join     all rows side by side, padded on the left, as `generate` wants them

Tokens decide what is used again and not the episode's name, so a template that rewrites earlier turns costs time only.
Left out: layers that remember otherwise than by keys and values of every token (sliding windows, states), and sharing
between episodes whose prompts are not wholly the same.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from harness.models.local.rows import PromptRow

READ_TOGETHER, PADDING = 4096, 512
"""New tokens that rows are read together up to, and how many of them may be padding: reading those costs about as much
as another pass does. A longer prompt is a pass of its own."""
STRETCHED = ("longrope", "dynamic")
"""Positions whose meaning changes with the length of a prompt: what was read under a shorter one is no longer true."""

LayerStates = list[tuple[torch.Tensor, torch.Tensor]]
"""Keys and values of each layer, each of shape (heads, tokens, size); heads and size may differ between layers."""


@dataclass(frozen=True, slots=True)
class CachedPrefix:
    """The first tokens of a row, and what the network's layers hold of them."""

    ids: tuple[int, ...]
    layers: LayerStates

    def truncate(self, length: int) -> CachedPrefix:
        return CachedPrefix(self.ids[:length], [(keys[:, :length], values[:, :length]) for keys, values in self.layers])


NOTHING = CachedPrefix((), [])
USED_UP: Any = (None, None)


class PrefixCache:
    """The pasts of the `capacity` episodes that were generated last."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self._kept: dict[tuple[str, str, int], CachedPrefix] = {}
        self._forgotten = 0

    def find_prefix(self, row: PromptRow) -> CachedPrefix:
        """What is known of a row's prompt, all but its last token at the most. It is not kept any longer."""
        past = self._kept.pop(_key(row), NOTHING)
        return past.truncate(_common(past.ids, row.ids[:-1]))

    def store(self, row: PromptRow, generated: Sequence[int], cache: Cache, index: int, start: int) -> None:
        """Keeps the row at `index` of a cache, whose first token is in column `start`."""
        if not self.capacity:
            return
        layers = [(keys.clone(), values.clone()) for keys, values in _row(cache, index, start, None)]
        self._keep(row, CachedPrefix((*row.ids, *generated)[: layers[0][0].shape[1]], layers))

    def take_over(
        self, rows: Sequence[PromptRow], generated: Sequence[Sequence[int]], cache: Cache, starts: Sequence[int]
    ) -> None:
        """Keeps all rows of a cache, which is used up, layer by layer: the batch would otherwise be in memory twice."""
        layers: list[LayerStates] = [[] for _ in rows]
        length = 0
        for layer in cache.layers:
            states: Any = layer
            for index, start in enumerate(starts):
                layers[index].append((states.keys[index, :, start:].clone(), states.values[index, :, start:].clone()))
            length = states.keys.shape[2]
            states.drop()
        for row, new, start, kept in zip(rows, generated, starts, layers, strict=True):
            self._keep(row, CachedPrefix((*row.ids, *new)[: length - start], kept))

    def _keep(self, row: PromptRow, past: CachedPrefix) -> None:
        self._kept[_key(row)] = past
        while len(self._kept) > self.capacity:
            del self._kept[next(iter(self._kept))]

    def clear(self) -> None:
        """Lets go of everything; the second time for good, because the live episodes alone are too many then."""
        self._kept.clear()
        self._forgotten += 1
        if self._forgotten > 1:
            self.capacity = 0


def _key(row: PromptRow) -> tuple[str, str, int]:
    return row.request.task, row.request.sample.id, row.request.epoch


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with together."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """A layer of a cache with room for tokens to come.

    DynamicLayer copies all keys and values for every token that is added; here they are copied once in SPARE tokens.
    """

    SPARE = 64
    keys: Any
    values: Any
    _rooms: tuple[torch.Tensor, torch.Tensor]

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Adds states of shape (rows, heads, tokens, size); returns all."""
        key_states, value_states = _as_computed(key_states), _as_computed(value_states)
        if not self.is_initialized:
            self.fill(key_states, value_states, key_states.shape[2])
        else:
            self.keys, key_room = _appended(self.keys, key_states, self._rooms[0])
            self.values, value_room = _appended(self.values, value_states, self._rooms[1])
            self._rooms = key_room, value_room
        return self.keys, self.values

    def batch_select_indices(self, indices: torch.Tensor) -> None:
        """Goes on with some of the rows, and lets go of the others."""
        super().batch_select_indices(indices)
        self._rooms = self.keys, self.values

    def drop(self) -> None:
        """Lets go of all: nothing is asked of it any more."""
        self.keys = self.values = self._rooms = USED_UP

    def fill(self, keys: torch.Tensor, values: torch.Tensor, length: int) -> None:
        """Begins with the first `length` tokens of these states; what is behind them is room."""
        self.lazy_initialization(keys, values)
        self._rooms = keys, values
        self.keys, self.values = keys[:, :, :length], values[:, :, :length]


def _as_computed(states: torch.Tensor) -> torch.Tensor:
    """States as attention takes them. Autocast leaves rotated keys in float32 and rounds them at every use: rounded
    once, they are the same numbers, and half as many bytes are kept and read for each token."""
    device = states.device.type
    return states.to(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else states


def _appended(held: torch.Tensor, more: torch.Tensor, room: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """`held` and `more` as one tensor, and the larger tensor of which it is the beginning."""
    length, needed = held.shape[2], held.shape[2] + more.shape[2]
    if held.data_ptr() != room.data_ptr() or room.shape[2] < needed:
        room = held.new_zeros((*held.shape[:2], needed + PreallocatedLayer.SPARE, held.shape[3]))
        room[:, :, :length] = held
    room[:, :, length:needed] = more
    return room[:, :, :needed], room


# --- a batch -----------------------------------------------------------------------------------------------------


def has_token_cache(model: Any) -> bool:
    """Whether all that a network keeps of its past are keys and values of every token, layer by layer, and whether they
    stay true as the text goes on: not where tokens see what follows them, nor where positions are STRETCHED."""
    config = model.config.get_text_config(decoder=True)
    rope = getattr(config, "rope_parameters", None) or {}
    if config.is_encoder_decoder or not getattr(config, "is_decoder", True) or rope.get("rope_type") in STRETCHED:
        return False
    return bool(model._supports_default_dynamic_cache()) and all(
        type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers
    )


def cache_argument(model: Any) -> str:
    """The name under which a network takes its cache: `cache` since transformers 5.24, `past_key_values` before."""
    return "cache" if "cache" in inspect.signature(model.forward).parameters else "past_key_values"


def prefill_cache(model: Any, rows: Sequence[PromptRow], memory: PrefixCache) -> Cache | None:
    """A cache that rows can leave. It holds every row's prompt but its last token, padded on the left to the longest.

    It holds nothing yet for networks whose layers remember a window of tokens, and is None for those that remember
    otherwise: their rows cannot be told apart.
    """
    if not has_token_cache(model):
        if not model._supports_default_dynamic_cache():
            return None
        cache = DynamicCache(config=model.config)
        # Not isinstance: layers that have a state besides are DynamicLayers too, and rows do not leave their state.
        divisible = all(type(layer) in (DynamicLayer, DynamicSlidingWindowLayer) for layer in cache.layers)
        return cache if divisible else None
    pasts = [memory.find_prefix(row) for row in rows]
    equal = find_equal_prompts(rows, pasts)
    unread = [
        len(row.ids) - 1 - len(past.ids) if equal[place] == place else 0
        for place, (row, past) in enumerate(zip(rows, pasts, strict=True))
    ]
    for together in plan_passes(unread):
        found = _read_prompts(model, [rows[place] for place in together], [pasts[place] for place in together])
        for place, past in zip(together, found, strict=True):
            pasts[place] = past
    for place, first in enumerate(equal):
        if first != place:  # the list is its own, because joining uses it up
            pasts[place] = replace(pasts[first], layers=list(pasts[first].layers))
    return _join_caches(model, pasts, PreallocatedLayer.SPARE)


def find_equal_prompts(rows: Sequence[PromptRow], pasts: Sequence[CachedPrefix]) -> list[int]:
    """For each row the first one that has the same prompt, of those that nothing was read of; else itself. The samples
    of a group begin alike, and their prompt is read once."""
    first: dict[tuple[int, ...], int] = {}
    return [
        place if past.ids else first.setdefault(row.ids, place)
        for place, (row, past) in enumerate(zip(rows, pasts, strict=True))
    ]


def plan_passes(unread: Sequence[int]) -> list[list[int]]:
    """Which rows are read together, by how many tokens each has to be read: the longest first, because where memory
    runs out at all it then runs out at once. Rows without any are left out."""
    found: list[list[int]] = []
    padding = longest = 0
    for place in sorted(range(len(unread)), key=lambda place: -unread[place]):
        if not unread[place]:
            break
        padding += longest - unread[place]
        if not found or padding > PADDING or longest * (len(found[-1]) + 1) > READ_TOGETHER:
            found.append([])
            padding, longest = 0, unread[place]
        found[-1].append(place)
    return found


def _read_prompts(model: Any, rows: Sequence[PromptRow], pasts: Sequence[CachedPrefix]) -> list[CachedPrefix]:
    """The pasts with the rest of their rows' prompts but the last tokens.

    What was known stands at the right of its columns and what is new at the left of its own, so that the tokens of a
    row are neighbours. Padding behind the new tokens is seen by nothing that counts.
    """
    known = [len(past.ids) for past in pasts]
    new = [row.ids[length:-1] for row, length in zip(rows, known, strict=True)]
    before, wide = max(known), max(map(len, new))
    cache = _join_caches(model, pasts, wide)
    columns: Any = {"device": model.device}
    inputs: dict[str, Any] = {cache_argument(model.base_model): cache}
    inputs |= {"input_ids": torch.tensor([[*piece, *[0] * (wide - len(piece))] for piece in new], **columns)}
    if "position_ids" in inspect.signature(model.base_model.forward).parameters:
        pairs = zip(known, new, strict=True)
        places = [[length + min(at, len(piece) - 1) for at in range(wide)] for length, piece in pairs]
        inputs["position_ids"] = torch.tensor(places, **columns)
    if before:
        mask = [[0] * (before - length) + [1] * (length + wide) for length in known]
        inputs["attention_mask"] = torch.tensor(mask, **columns)
    model.base_model(**inputs, use_cache=True)
    return [
        CachedPrefix(row.ids[:-1], _row(cache, index, before - length, before + len(piece)))
        for index, (row, length, piece) in enumerate(zip(rows, known, new, strict=True))
    ]


def _join_caches(model: Any, pasts: Sequence[CachedPrefix], room: int) -> Cache:
    """The pasts as rows of one cache, padded on the left to the longest, with room for more tokens.

    The pasts are used up, layer by layer: a batch would otherwise be in memory twice.
    """
    layers: list[Any] = [PreallocatedLayer() for _ in DynamicCache(config=model.config).layers]  # type: ignore[no-untyped-call]
    length = max(len(past.ids) for past in pasts)
    if length:
        for number, layer in enumerate(layers):
            held = [past.layers[number] if past.layers else (None, None) for past in pasts]
            keys, values = (_side_by_side([one[side] for one in held], length, room) for side in (0, 1))
            layer.fill(keys, values, length)
            del held
            for past in pasts:
                if past.layers:
                    past.layers[number] = USED_UP
    return Cache(layers=layers)


def _side_by_side(rows: Sequence[torch.Tensor | None], length: int, room: int) -> torch.Tensor:
    """Tensors of shape (heads, tokens, size) as (rows, heads, length + room, size), each ending at `length`.

    Padding is zeros and not what happened to be in memory: attention gives it the weight 0, and 0 times NaN is NaN.
    """
    heads, _, size = (example := next(row for row in rows if row is not None)).shape
    whole = example.new_zeros((len(rows), heads, length + room, size))
    for index, row in enumerate(rows):
        if row is not None:
            whole[index, :, length - row.shape[1] : length] = row
    return whole


def _row(cache: Cache, index: int, start: int, end: int | None) -> LayerStates:
    """What every layer holds of one row in some columns."""
    layers: list[Any] = cache.layers
    return [(layer.keys[index, :, start:end], layer.values[index, :, start:end]) for layer in layers]
