"""Training the MLPs of some layers alone: what `train_layers` names, and the rest frozen.

    lower, middle, upper    a third of the layers, the outer ones rounded as harness analyze rounds its lower third
    A-B                     layers A to B, counted from 0

The question is where learning to call tools can take place at all: the paper finds the updates of its trainings in the
lower layers' MLPs. Left out: other parts of a layer, and adapters.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from harness.errors import UsageError
from trainer.tensor_places import place_tensor

THIRDS = ("lower", "middle", "upper")
SPAN = re.compile(r"(\d{1,4})-(\d{1,4})")
MEANT = "empty, lower, middle, upper or A-B, such as 0-9"


def is_layer_choice(text: str) -> bool:
    """Whether a recipe may say this, of whatever network."""
    span = SPAN.fullmatch(text)
    return text in ("", *THIRDS) or (span is not None and int(span[1]) <= int(span[2]))


def choose_layers(text: str, count: int) -> range:
    """Which of `count` layers are meant. Raises UsageError where there are none such."""
    third = max(1, round(count / 3))
    if span := SPAN.fullmatch(text):
        chosen = range(int(span[1]), int(span[2]) + 1)
    else:
        chosen = {
            "lower": range(third),
            "middle": range(third, count - third),
            "upper": range(count - third, count),
        }[text]
    if not chosen or chosen[0] < 0 or chosen[-1] >= count:
        raise UsageError(f"train_layers = {text}: the model has no such layers; it has MLPs in {count}.")
    return chosen


def find_trained(text: str, names: Iterable[str]) -> list[str]:
    """The tensors of the MLPs that are meant, of all tensors' names, those of the longest stack of layers."""
    places = {name: place for name in names if (place := place_tensor(name)).kind == "mlp" and place.layer is not None}
    stacks: dict[str, set[int]] = {}
    for place in places.values():
        stacks.setdefault(place.stack, set()).add(place.layer or 0)
    longest = max(stacks, key=lambda stack: len(stacks[stack]), default="")
    layers = choose_layers(text, len(stacks.get(longest, ())))
    return [name for name, place in places.items() if place.stack == longest and place.layer in layers]


def freeze_others(network: Any, text: str) -> None:
    """Freezes all weights but those that are meant; nothing where `text` is empty."""
    if not text:
        return
    weights = dict(network.named_parameters())
    trained = set(find_trained(text, weights))
    for name, weight in weights.items():
        weight.requires_grad_(name in trained)
