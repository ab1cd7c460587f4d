"""How far training moved each part of a network: ||trained - base|| / ||base||, by layer and module.

The question is the paper's (its analysis of FTRL-trained models): do the gains come with updates in the MLPs of the
lower layers? Every tensor of two models is compared, read slice by slice; norms are Frobenius norms, summed in float64.
Modules keep the names that the model's own files give them (trainer.tensor_places). A LoRA adapter is its product:
alpha / r * B A.

A share of the squared change adds up over parts; a relative change does not, so its share is that of the sum over the
cells of the table. Both stand beside the share of parameters, which is what an even change would give.

Left out: directions and ranks of a change, activations, models whose tensors differ in name or shape.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from harness.errors import UsageError
from harness.models.local.adapter import LORA, WHOLE, find_special, lora_scale, read_adapter
from harness.models.local.folder import check_base
from harness.types import JSONObject
from trainer.analysis.weights import SLICE, Numbers, StoredTensor, Weights, slice_spans
from trainer.tensor_places import KINDS, Kind, TensorPlace, place_tensor

LOWER = (("third", 1 / 3), ("half", 1 / 2))
PRECISION = {"BF16": 8, "F16": 11, "F32": 24, "F64": 53}
"""Bits of a number that each format of weights keeps."""
MOSTLY, FEW = 0.99, 0.05
"""Shares of the changed numbers, and of all, at which a difference is called rounding, or to have suffered by it."""
TURNS = ("q_proj", "k_proj", "v_proj", "qkv_proj", "o_proj", "gate_proj", "up_proj", "gate_up_proj", "down_proj")
"""The order in which a layer uses them."""
HEAD = "lm_head.weight"
EMBEDDING = re.compile(r"(^|\.)embed_tokens\.weight$")


@dataclass(frozen=True, slots=True)
class TensorChange:
    """What happened to one tensor: squared Frobenius norms of the change and of the base; how many of its numbers
    changed at all, and how many of those by no more than storing the base in the trained model's format does."""

    name: str
    parameters: int
    squared_change: float
    squared_base: float
    changed: int = 0
    rounded: int = 0


@dataclass(frozen=True, slots=True)
class LayerCell:
    """One or more tensors taken together; `tensors` is how many."""

    place: TensorPlace
    parameters: int
    squared_change: float
    squared_base: float
    tensors: int = 1
    changed: int = 0
    rounded: int = 0

    @property
    def relative(self) -> float | None:
        """||change|| / ||base||; None where the base is zero and the change is not."""
        if self.squared_base == 0:
            return None if self.squared_change else 0.0
        return math.sqrt(self.squared_change / self.squared_base)


# --- from two models to changes ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TensorPair:
    """A tensor of the base and what tells its change: `change(first, count)` gives those numbers of it, flat."""

    name: str
    base: StoredTensor
    change: Callable[[int, int, Numbers], Numbers]
    stored: str = "F64"
    """The format of the trained model, where it is coarser than that of the base: what rounding to it may explain."""


def pair_tensors(base: Weights, trained: Weights) -> list[TensorPair]:
    """What is to be compared, in the order of the base. Raises UsageError where the two do not fit together."""
    if base.adapter is not None:
        raise UsageError(f"{base.path} is a LoRA adapter: BASE must be the whole model that it was trained on.")
    if trained.adapter is not None:
        return _adapted(base, trained, trained.adapter)
    kinds = [weights.config.get("model_type") for weights in (base, trained)]
    if None not in kinds and kinds[0] != kinds[1]:
        raise UsageError(f"{base.path} is a {kinds[0]} and {trained.path} a {kinds[1]}: they cannot be compared.")
    old, new = _untied(base, trained)
    for one, other, path, without in ((old, new, base.path, trained.path), (new, old, trained.path, base.path)):
        if lacking := [name for name in one if name not in other]:
            more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
            raise UsageError(f"{path} has {lacking[0]!r}{more}, which {without} lacks: they cannot be compared.")
    return [_difference(name, old[name], new[name]) for name in old]


def _untied(base: Weights, trained: Weights) -> tuple[dict[str, StoredTensor], dict[str, StoredTensor]]:
    """The tensors without heads that are the embeddings under another name; a tied head beside an untied one stays."""
    both = [dict(weights.tensors) for weights in (base, trained)]
    tied = [
        HEAD not in tensors or weights.config.get("tie_word_embeddings") is True
        for weights, tensors in zip((base, trained), both, strict=True)
    ]
    for tensors, own in zip(both, tied, strict=True):
        embedding = next((name for name in tensors if EMBEDDING.search(name)), None)
        if own and embedding:
            tensors.pop(HEAD, None)
            if not all(tied):
                tensors[HEAD] = tensors[embedding]
    return both[0], both[1]


def _difference(name: str, old: StoredTensor, new: StoredTensor) -> TensorPair:
    if old.shape != new.shape:
        shapes = [" x ".join(map(str, tensor.shape)) or "a number" for tensor in (old, new)]
        raise UsageError(f"{name!r} is {shapes[0]} in {old.file} and {shapes[1]} in {new.file}.")
    stored = new.dtype if PRECISION[new.dtype] < PRECISION[old.dtype] else "F64"
    return TensorPair(name, old, lambda first, count, numbers: new.read(first, count) - numbers, stored)


def _adapted(base: Weights, trained: Weights, config: Mapping[str, Any]) -> list[TensorPair]:
    """The tensors of the base with an adapter's products, zero where it has none."""
    products = list(_products(base, trained, config))
    name = str(trained.path)
    check_base(name, base.path, (read_adapter(name, trained.path),))
    found = {pair.name: pair for pair in products}
    return [found.get(name) or TensorPair(name, tensor, _nothing) for name, tensor in _untied(base, base)[0].items()]


def _nothing(first: int, count: int, numbers: Numbers) -> Numbers:
    return np.zeros_like(numbers)


def _products(base: Weights, trained: Weights, config: Mapping[str, Any]) -> Iterator[TensorPair]:
    if special := find_special(config):
        raise UsageError(f"{trained.path} is an adapter with {special}: merge it into its model and compare that.")
    for name, tensor in trained.tensors.items():
        if matched := LORA.match(name):
            if matched["side"] == "B":
                yield _product(base, trained, config, matched["name"])
        elif matched := WHOLE.match(name):
            plain = matched["name"] + matched["end"]
            yield _difference(plain, _of_base(base, trained, plain), tensor)
        else:
            raise UsageError(f"{trained.path}: {name!r} is no known part of a LoRA adapter: merge it first.")


def _of_base(base: Weights, trained: Weights, name: str) -> StoredTensor:
    if name not in base.tensors:
        raise UsageError(f"{trained.path} adapts {name!r}, which {base.path} lacks: they cannot be compared.")
    return base.tensors[name]


def _product(base: Weights, trained: Weights, config: Mapping[str, Any], module: str) -> TensorPair:
    """alpha / r * B A, row by row; alpha / sqrt(r) where the adapter says use_rslora."""
    old = _of_base(base, trained, f"{module}.weight")
    outer = trained.tensors[f"base_model.model.{module}.lora_B.weight"]
    inner = trained.tensors.get(f"base_model.model.{module}.lora_A.weight")
    fits = inner is not None and len(outer.shape) == 2 and outer.shape[1:] == inner.shape[:1]
    if inner is None or not fits or (outer.shape[0], *inner.shape[1:]) != old.shape:
        raise UsageError(f"{trained.path}: the adapter of {module!r} does not fit the shape that {base.path} has.")
    rank, width = inner.shape[0], old.shape[1]
    right = inner.read().reshape(inner.shape) * lora_scale(str(trained.path), config, rank)

    def change(first: int, count: int, numbers: Numbers) -> Numbers:
        top, bottom = first // width, -(-(first + count) // width)
        left = outer.read(top * rank, (bottom - top) * rank).reshape(-1, rank)
        return (left @ right).ravel()[first - top * width :][:count]

    return TensorPair(f"{module}.weight", old, change)


def measure_change(pair: TensorPair, step: int = SLICE) -> TensorChange:
    """The change of one tensor, in `step` numbers of memory. Raises UsageError for numbers that are not finite."""
    squared_change = squared_base = 0.0
    changed = rounded = 0
    half_step = 2.0 ** -PRECISION[pair.stored]
    for first, count in slice_spans(pair.base.size, step):
        numbers = pair.base.read(first, count)
        squared_base += float(numbers @ numbers)
        change = pair.change(first, count, numbers)
        squared_change += float(change @ change)
        moved = np.flatnonzero(change)
        changed += moved.size
        if moved.size:
            steps = np.ldexp(half_step, _exponents((numbers + change)[moved]))
            rounded += int((np.abs(change[moved]) <= steps).sum())
    if not math.isfinite(squared_base + squared_change):
        raise UsageError(f"{pair.name!r} holds numbers that are not finite in one of the two models.")
    return TensorChange(pair.name, pair.base.size, squared_change, squared_base, changed, rounded)


def _exponents(numbers: Numbers) -> Any:
    """Of the greatest powers of two that are not above the numbers' sizes; of 0 the least there is."""
    return np.where(numbers == 0, -1074, np.frexp(numbers)[1] - 1)


# --- from changes to a table ---------------------------------------------------------------------------------------


def merge_cells(place: TensorPlace, cells: Iterable[LayerCell]) -> LayerCell:
    """Several cells as one."""
    found = list(cells)
    return LayerCell(
        place,
        sum(cell.parameters for cell in found),
        math.fsum(cell.squared_change for cell in found),
        math.fsum(cell.squared_base for cell in found),
        sum(cell.tensors for cell in found),
        sum(cell.changed for cell in found),
        sum(cell.rounded for cell in found),
    )


@dataclass(frozen=True, slots=True)
class WeightAnalysis:
    """The cells of two models, one a layer and module, in the order of the network."""

    base: str
    trained: str
    cells: tuple[LayerCell, ...]
    stored_coarsely: bool = False

    @property
    def stack(self) -> str:
        """The stack of layers with the most parameters: the language model, where there are others."""
        sizes: dict[str, int] = {}
        for cell in self.cells:
            if cell.place.layer is not None:
                sizes[cell.place.stack] = sizes.get(cell.place.stack, 0) + cell.parameters
        return max(sizes, key=lambda stack: sizes[stack], default="")

    @property
    def layers(self) -> tuple[int, ...]:
        """The numbers of that stack's layers."""
        return tuple(sorted({cell.place.layer for cell in self.grid if cell.place.layer is not None}))

    @property
    def grid(self) -> tuple[LayerCell, ...]:
        """The cells of that stack."""
        stack = self.stack
        return tuple(cell for cell in self.cells if cell.place.layer is not None and cell.place.stack == stack)

    @property
    def rest(self) -> tuple[LayerCell, ...]:
        """The cells outside of it: embeddings, the last norm, the head, other stacks."""
        inside = set(self.grid)
        return tuple(cell for cell in self.cells if cell not in inside)

    @property
    def modules(self) -> tuple[str, ...]:
        """The modules of that stack: attention first, then MLP, norms and others; files sort them by name."""
        kinds = {cell.place.module: cell.place.kind for cell in self.grid}
        return tuple(sorted(kinds, key=lambda module: (KINDS.index(kinds[module]), _turn(module))))

    def lower(self, share: float) -> tuple[int, ...]:
        """The lower `share` of the layers, rounded to whole layers, at least one."""
        return self.layers[: max(1, round(len(self.layers) * share))] if self.layers else ()

    def part(self, name: str, chosen: Callable[[LayerCell], bool]) -> JSONObject:
        """A part of the network and its shares; a share is None where nothing changed at all."""
        cells = [cell for cell in self.cells if chosen(cell)]
        all_of, part = (
            merge_cells(TensorPlace("", None, "", "other"), self.cells),
            merge_cells(TensorPlace("", None, "", "other"), cells),
        )
        sums = [math.fsum(cell.relative or 0.0 for cell in some) for some in (cells, self.cells)]
        return {
            "part": name,
            "parameters": part.parameters,
            "parameter_share": part.parameters / all_of.parameters if all_of.parameters else None,
            "squared_change_share": part.squared_change / all_of.squared_change if all_of.squared_change else None,
            "cells": len(cells),
            "cell_share": len(cells) / len(self.cells) if self.cells else None,
            "relative_change_share": sums[0] / sums[1] if sums[1] else None,
            "relative_change": part.relative,
        }

    def parts(self) -> list[JSONObject]:
        """The whole, each kind of module, and the lower layers' MLPs."""
        found = [self.part("all", lambda cell: True)]
        present = {cell.place.kind for cell in self.cells}
        found += [self.kind(kind) for kind in KINDS if kind in present]
        return found + [self.lower_mlps(name, share) for name, share in LOWER]

    def kind(self, kind: Kind) -> JSONObject:
        """All modules of a kind."""
        return self.part(kind, lambda cell: cell.place.kind == kind)

    def lower_mlps(self, name: str, share: float) -> JSONObject:
        """The MLPs of the lower `share` of the layers."""
        layers, inside = set(self.lower(share)), set(self.grid)
        return self.part(
            f"mlp, lower {name}",
            lambda cell: cell.place.kind == "mlp" and cell in inside and cell.place.layer in layers,
        )

    def answer(self) -> str:
        """The paper's question, answered in one sentence."""
        whole = self.part("all", lambda cell: True)
        if whole["squared_change_share"] is None:
            return f"{self.trained} and {self.base} are equal in every one of their {whole['parameters']:,} parameters."
        if not any(cell.place.kind == "mlp" for cell in self.grid):
            return "Neither model names an MLP in its layers, so the paper's question has no answer here."
        said = "; ".join(self._answer(name, share) for name, share in LOWER)
        return (
            f"{said}; the whole network changed by {format_percent(whole['relative_change'])} of its norm."
            f"{self._say_frozen()}{self._say_rounding()}"
        )

    def _say_frozen(self) -> str:
        """A sentence where nothing but the MLPs of some layers changed, as after training with `train_layers`."""
        moved = [cell.place for cell in self.cells if cell.squared_change]
        layers = sorted({place.layer for place in moved if place.kind == "mlp" and place.layer is not None})
        if any(place.kind != "mlp" or place.layer is None for place in moved) or layers == list(self.layers):
            return ""
        whole = layers == list(range(layers[0], layers[-1] + 1))
        named = f"{layers[0]} to {layers[-1]}" if whole else ", ".join(map(str, layers))
        return f" Nothing but the MLPs of layers {named} changed."

    def _say_rounding(self) -> str:
        """A sentence where what changed may be no training: stored too coarsely, or in too few of the numbers."""
        whole = merge_cells(TensorPlace("", None, "", "other"), self.cells)
        if not whole.changed:
            return ""
        if whole.rounded >= MOSTLY * whole.changed:
            return (
                f" The difference is rounding: {format_percent(whole.rounded / whole.changed)} of the numbers that "
                "differ do so by no more than half a step of the format in which they are stored."
            )
        if self.stored_coarsely and whole.changed < FEW * whole.parameters:
            return (
                f" Only {format_percent(whole.changed / whole.parameters)} of the numbers differ at all, and they are "
                "stored in half precision: smaller changes, if there were any, were rounded away."
            )
        return ""

    def _answer(self, name: str, share: float) -> str:
        part, layers = self.lower_mlps(name, share), self.lower(share)
        return (
            f"{'the' if name == 'half' else 'The'} MLPs of the lower {name} (layers {layers[0]} to {layers[-1]} of "
            f"{len(self.layers)}) hold {format_percent(part['squared_change_share'])} of the squared change with "
            f"{format_percent(part['parameter_share'])} of the parameters, and "
            f"{format_percent(part['relative_change_share'])} of the relative changes summed over layers and modules "
            f"with {format_percent(part['cell_share'])} of those"
        )

    def to_json(self) -> JSONObject:
        """Everything: the answer, the parts and the cells."""
        return {
            "schema": 1,
            "base": self.base,
            "trained": self.trained,
            "answer": self.answer(),
            "layers": len(self.layers),
            "changed": sum(cell.changed for cell in self.cells),
            "rounded": sum(cell.rounded for cell in self.cells),
            "parts": self.parts(),
            "cells": [cell_to_json(cell) for cell in self.cells],
        }


def _turn(module: str) -> int:
    last = module.removesuffix(".bias").rpartition(".")[2]
    return TURNS.index(last) if last in TURNS else len(TURNS)


def cell_to_json(cell: LayerCell) -> JSONObject:
    """A cell as one flat object, for JSON and CSV."""
    return {
        "stack": cell.place.stack,
        "layer": cell.place.layer,
        "module": cell.place.module,
        "kind": cell.place.kind,
        "tensors": cell.tensors,
        "parameters": cell.parameters,
        "squared_change": cell.squared_change,
        "squared_base": cell.squared_base,
        "relative_change": cell.relative,
    }


def format_percent(value: float | None) -> str:
    """Three significant digits, or a dash where there is no value."""
    return "-" if value is None else f"{100 * value:.3g} %"


def group_changes(base: Weights, trained: Weights, changes: Iterable[TensorChange]) -> WeightAnalysis:
    """Changes grouped by layer and module; layers are put in order, everything else stays as it came."""
    placed: Sequence[LayerCell] = [
        LayerCell(
            place_tensor(change.name),
            change.parameters,
            change.squared_change,
            change.squared_base,
            changed=change.changed,
            rounded=change.rounded,
        )
        for change in changes
    ]
    if not placed:
        raise UsageError(f"{base.path} holds no tensors.")
    first = {cell.place: index for index, cell in reversed(list(enumerate(placed)))}
    stacks = {cell.place.stack: index for index, cell in reversed(list(enumerate(placed)))}
    ordered = sorted(
        placed,
        key=lambda cell: (
            cell.place.layer is None,
            stacks[cell.place.stack],
            -1 if cell.place.layer is None else cell.place.layer,
            first[cell.place],
        ),
    )
    cells = tuple(merge_cells(where, cells) for where, cells in groupby(ordered, key=lambda cell: cell.place))
    coarsely = trained.adapter is None and any(PRECISION[one.dtype] < 12 for one in trained.tensors.values())
    return WeightAnalysis(str(base.path), str(trained.path), cells, coarsely)
