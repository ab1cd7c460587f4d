"""Memory of a training by part, for one GPU that holds everything and for one of several that hold it in shards.

What is counted is what this product's trainings keep: float32 weights under the optimiser, their gradients, Adam's two
moments, the bfloat16 copy that autocast makes of every matrix, a reference in the precision that TRL loads it in, what
a micro-batch leaves for its backward pass, keys and values of the episodes that are played. docs/training.md has the
table. Left out: what libraries, kernels and the allocator take, tiles of the loss, masks, the copies of the parallel
wrappers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from trainer.estimate.shape import ModelShape, list_projections, list_tensors
from trainer.trained_layers import find_trained

LEARNING, PLAYING = "learning", "playing"
BOTH = (LEARNING, PLAYING)
BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
GPU = 80e9
"""Bytes of the GPU that the advice is for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """The tokens that are in memory at once on a process, at most: of a micro-batch, of them those that logits are kept
    for, and of all episodes that are played side by side."""

    learnt: int
    logits: int = 0
    played: int = 0


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """How a training uses a network.

    compute       float32 or bfloat16
    reference     what a second, frozen network is held in; "" where there is none
    lora_rank, train_layers, checkpointing    the recipe's
    apart         playing is a phase of its own, without the optimiser (dpo)
    vllm          bytes that a vLLM beside the training takes, with its own weights, keys and values
    """

    compute: str = "float32"
    reference: str = ""
    lora_rank: int = 0
    train_layers: str = ""
    checkpointing: bool = False
    apart: bool = False
    vllm: float = 0.0


@dataclass(frozen=True, slots=True)
class MemoryPart:
    """Bytes of one part, and when they are held."""

    name: str
    bytes: float
    phases: Sequence[str] = BOTH


def find_peak(parts: Sequence[MemoryPart]) -> float:
    """The most that is held at once: of learning, or of playing."""
    return max(sum_phase(parts, phase) for phase in BOTH)


def sum_phase(parts: Sequence[MemoryPart], phase: str) -> float:
    """What is held at once in a phase."""
    return sum(part.bytes for part in parts if phase in part.phases)


def estimate_memory(shape: ModelShape, use: MemoryUse, batch: Batch, shards: int = 1) -> list[MemoryPart]:
    """The parts on each of `shards` GPUs, which share weights, gradients, moments and reference among them."""
    trained = count_trained(shape, use)
    optimiser = (LEARNING,) if use.apart else BOTH
    parts = [
        *_weights(shape, use, shards),
        MemoryPart("gradients, float32", 4 * trained / shards, (LEARNING,)),
        MemoryPart("Adam's two moments, float32", 8 * trained / shards, optimiser),
    ]
    if use.reference:
        size = BYTES[use.reference] * shape.parameters / shards
        parts.append(MemoryPart(f"reference model, {use.reference}", size, optimiser))
    if copy := _compute_copy(shape, use, shards):
        parts.append(MemoryPart(f"compute copy, {use.compute}", copy))
    if shards > 1 and batch.played:  # what is in shards does not play: a whole one does
        parts.append(MemoryPart("whole network that plays, float32", 4 * shape.parameters))
        if whole := _compute_copy(shape, use, 1):
            parts.append(MemoryPart(f"its compute copy, {use.compute}", whole, (PLAYING,)))
    parts.append(MemoryPart("activations of a micro-batch", count_activations(shape, use, batch.learnt), (LEARNING,)))
    if batch.logits:
        wide = 12 if use.compute == "float32" else 14  # logits, their float32, softmax, and the gradient
        parts.append(MemoryPart("logits", wide * batch.logits * shape.vocabulary, (LEARNING,)))
    if batch.played:
        parts.append(MemoryPart("keys and values", batch.played * cache_bytes(shape, use.compute), (PLAYING,)))
    if use.vllm:
        parts.append(MemoryPart("vLLM, its own share", use.vllm))
    return parts


def _weights(shape: ModelShape, use: MemoryUse, shards: int) -> list[MemoryPart]:
    if not use.lora_rank:
        return [MemoryPart("master weights, float32", 4 * shape.parameters / shards)]
    frozen = BYTES[use.compute] * shape.parameters / shards
    return [
        MemoryPart(f"frozen weights, {use.compute}", frozen),
        MemoryPart("adapters, float32", 4 * count_trained(shape, use) / shards),
    ]


def count_trained(shape: ModelShape, use: MemoryUse) -> int:
    """Weights that an optimiser steps on: all, adapters on all linear maps of the layers, or the MLPs of some layers.
    Raises UsageError where the network has no such layers."""
    if use.lora_rank:
        return shape.layers * use.lora_rank * sum(map(sum, list_projections(shape).values()))
    if use.train_layers:
        tensors = list_tensors(shape)
        return sum(prod(tensors[name]) for name in find_trained(use.train_layers, tensors))
    return shape.parameters


def _compute_copy(shape: ModelShape, use: MemoryUse, shards: int) -> float:
    """Autocast keeps a copy of every matrix; shards are gathered a layer at a time, beside embeddings and head."""
    outside = shape.embeddings * (1 if shape.tied else 2)
    if shards > 1:
        return BYTES[use.compute] * (shape.layer_parameters + outside)
    if use.compute == "float32" or use.lora_rank:
        return 0.0
    matrices = shape.layers * sum(map(prod, list_projections(shape).values())) + shape.embeddings
    return float(BYTES[use.compute] * matrices)


def count_activations(shape: ModelShape, use: MemoryUse, tokens: int) -> float:
    """Bytes that the forward pass keeps for the backward pass, with attention that keeps no table of scores."""
    layer = _layer_activations(shape, use.compute)
    if use.checkpointing:  # the input of every layer, and one layer at a time
        return float(tokens * (4 * shape.hidden * shape.layers + layer))
    return float(tokens * layer * shape.layers)


def _layer_activations(shape: ModelShape, compute: str) -> int:
    """Bytes a token of one layer: of two norms, of queries, keys, values and output of attention (keys and values are
    repeated for every head), of the norms of heads, of the MLP's four."""
    inner, attended, normed = 4 * shape.intermediate, 4 * shape.query, shape.query + shape.key
    if compute == "float32":
        return 4 * (6 * shape.hidden + attended + inner) + (8 * normed if shape.head_norms else 0)
    # Norms compute in float32: input and normed input of 4 bytes, and what the next matrix reads of 2.
    return 20 * shape.hidden + 2 * (attended + inner) + (6 * normed if shape.head_norms else 0)


def cache_bytes(shape: ModelShape, compute: str) -> int:
    """Bytes of a token's keys and values in all layers."""
    return 2 * shape.layers * shape.key * BYTES[compute]
