"""Where in a network a tensor belongs, read from its name: stack, layer, module, and what kind of part that is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["attention", "mlp", "norm", "embedding", "head", "other"]
KINDS: tuple[Kind, ...] = ("attention", "mlp", "norm", "embedding", "head", "other")
NUMBER = re.compile(r"(?:^|\.)(\d+)(?=\.|$)")
WORDS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("norm", re.compile(r"norm\d*$|^ln_", re.IGNORECASE)),
    ("attention", re.compile(r"attn|attention", re.IGNORECASE)),
    ("mlp", re.compile(r"mlp|feed_forward|ffn|moe|expert", re.IGNORECASE)),
    ("head", re.compile(r"lm_head|embed_out|^output$", re.IGNORECASE)),
    ("embedding", re.compile(r"embed|^wte$|^wpe$|\.wte$|\.wpe$", re.IGNORECASE)),
)


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor belongs. `stack` is the path before the layer's number; `layer` None: outside of the layers."""

    stack: str
    layer: int | None
    module: str
    kind: Kind


def place_tensor(name: str) -> TensorPlace:
    """Where a tensor belongs, read from its name: `model.layers.3.mlp.up_proj.weight` is layer 3, `mlp.up_proj`."""
    path = name.removesuffix(".weight")
    found = NUMBER.search(path)
    if found is None or found.end() == len(path):
        return TensorPlace("", None, path, _kind(path))
    module = NUMBER.sub(lambda match: match.group().replace(match[1], "*"), path[found.end() + 1 :])
    return TensorPlace(path[: found.start()], int(found[1]), module, _kind(module))


def _kind(module: str) -> Kind:
    path = module.removesuffix(".bias")
    last = path.rpartition(".")[2]
    return next((kind for kind, word in WORDS if word.search(last if kind == "norm" else path)), "other")
