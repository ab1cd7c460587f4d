"""A network's size, read from its config.json or the header of a GGUF file: every tensor that it would have.

Known are the dense networks of the kinds in KINDS. Left out: mixtures of experts, networks that see, and kinds whose
layers are made otherwise; those are refused, because a guess would look like a count.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.types import JSONObject
from trainer.sft.settings import SFTRecipe

Tensors = dict[str, tuple[int, ...]]
"""Each tensor's name, as transformers names it, and its shape."""

KINDS = ("llama", "mistral", "qwen2", "qwen3")
GGUF_NAMES = {
    "hidden_size": "embedding_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "attention.head_count",
    "num_key_value_heads": "attention.head_count_kv",
    "intermediate_size": "feed_forward_length",
    "head_dim": "attention.key_length",
}
"""What the sizes of config.json are called in a GGUF file, behind the kind's name."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Sizes of a dense network, in the words of config.json.

    qkv_bias, output_bias, mlp_bias    which projections have one
    head_norms    queries and keys have a norm a head
    tied          the head is the table of embeddings
    """

    kind: str
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head: int
    intermediate: int
    vocabulary: int
    tied: bool = False
    qkv_bias: bool = False
    output_bias: bool = False
    mlp_bias: bool = False
    head_norms: bool = False

    @property
    def query(self) -> int:
        """Numbers of a token's queries, all heads together."""
        return self.heads * self.head

    @property
    def key(self) -> int:
        """Numbers of a token's keys, and of its values."""
        return self.kv_heads * self.head

    @property
    def parameters(self) -> int:
        return sum(map(prod, list_tensors(self).values()))

    @property
    def embeddings(self) -> int:
        """Numbers in the table of embeddings."""
        return self.vocabulary * self.hidden

    @property
    def layer_parameters(self) -> int:
        return sum(prod(size) for _, size in _layer(self))


def list_tensors(shape: ModelShape) -> Tensors:
    """Every tensor of a network of this shape."""
    layer = list(_layer(shape))
    tensors: Tensors = {"model.embed_tokens.weight": (shape.vocabulary, shape.hidden)}
    tensors |= {f"model.layers.{number}.{name}": size for number in range(shape.layers) for name, size in layer}
    tensors["model.norm.weight"] = (shape.hidden,)
    return tensors if shape.tied else tensors | {"lm_head.weight": (shape.vocabulary, shape.hidden)}


def list_projections(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """The linear maps of a layer: numbers out and in."""
    return {
        "self_attn.q_proj": (shape.query, shape.hidden),
        "self_attn.k_proj": (shape.key, shape.hidden),
        "self_attn.v_proj": (shape.key, shape.hidden),
        "self_attn.o_proj": (shape.hidden, shape.query),
        "mlp.gate_proj": (shape.intermediate, shape.hidden),
        "mlp.up_proj": (shape.intermediate, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.intermediate),
    }


def _layer(shape: ModelShape) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, (wide, narrow) in list_projections(shape).items():
        yield f"{name}.weight", (wide, narrow)
        if _has_bias(shape, name):
            yield f"{name}.bias", (wide,)
    yield "input_layernorm.weight", (shape.hidden,)
    yield "post_attention_layernorm.weight", (shape.hidden,)
    if shape.head_norms:
        yield "self_attn.q_norm.weight", (shape.head,)
        yield "self_attn.k_norm.weight", (shape.head,)


def _has_bias(shape: ModelShape, projection: str) -> bool:
    if projection.startswith("mlp"):
        return shape.mlp_bias
    return shape.output_bias if projection.endswith("o_proj") else shape.qkv_bias


# --- reading -----------------------------------------------------------------------------------------------------


def read_shape(name: str, config: Mapping[str, Any]) -> ModelShape:
    """The shape that a config.json tells. Raises UsageError for a kind not in KINDS, and where a size is missing."""
    kind = config.get("model_type")
    if kind not in KINDS:
        raise UsageError(
            f"{name} is of the kind {str(kind)[:60]!r}, and --dry-run knows the arithmetic of {', '.join(KINDS)} alone."
        )
    hidden, heads = _size(name, config, "hidden_size"), _size(name, config, "num_attention_heads")
    biased = bool(config.get("attention_bias", False))
    return ModelShape(
        kind=str(kind),
        hidden=hidden,
        layers=_size(name, config, "num_hidden_layers"),
        heads=heads,
        kv_heads=_size(name, config, "num_key_value_heads", heads),
        head=_size(name, config, "head_dim", hidden // heads),
        intermediate=_size(name, config, "intermediate_size"),
        vocabulary=_size(name, config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=kind == "qwen2" or (kind != "mistral" and biased),
        output_bias=kind in ("llama", "qwen3") and biased,
        mlp_bias=kind == "llama" and bool(config.get("mlp_bias", False)),
        head_norms=kind == "qwen3",
    )


def _size(name: str, config: Mapping[str, Any], key: str, otherwise: int | None = None) -> int:
    value = config.get(key)
    value = otherwise if value is None else value
    if type(value) is not int or value < 1:
        raise UsageError(f"{name}: its configuration gives no usable {key}, so it cannot be estimated.")
    return value


def read_gguf_config(path: Path) -> JSONObject:
    """The header of a GGUF file, which was checked to be one, in the words of config.json."""
    reader = importlib.import_module("gguf").GGUFReader(path)
    said = {name: field for name, field in reader.fields.items() if not name.startswith("tokenizer.")}
    kind = said["general.architecture"].contents()
    tensors = {tensor.name: [int(size) for size in tensor.shape] for tensor in reader.tensors}
    found = {key: said.get(f"{kind}.{other}") for key, other in GGUF_NAMES.items()}
    return {
        "model_type": kind,
        "vocab_size": tensors.get("token_embd.weight", [0])[-1],
        "tie_word_embeddings": "output.weight" not in tensors,
        **{key: field.contents() for key, field in found.items() if field is not None},
    }


def new_shape(recipe: SFTRecipe) -> ModelShape:
    """The network that warm-up makes where it goes on from none (trainer.sft.network)."""
    return ModelShape(
        kind="qwen3",
        hidden=recipe.width,
        layers=recipe.layers,
        heads=recipe.heads,
        kv_heads=max(1, recipe.heads // 2),
        head=recipe.head,
        intermediate=recipe.inner,
        vocabulary=recipe.vocabulary,
        tied=True,
        head_norms=True,
    )
