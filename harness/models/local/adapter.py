"""A LoRA adapter in a directory, as peft, TRL and `harness train` write it: checked, and added to its model's weights.

    harness eval --model hf/ADAPTER --tasks 'micro_*'

adapter_config.json names the model that an adapter was trained on; `--model-arg base=` says where that lies here. An
adapter of an adapter is added to the sum. The product is added in float32 and rounded to the weights' own precision.

Left out: what is more than alpha / r * B A of linear maps (DoRA, patterns, new tokens, initialisations that change the
model itself): such an adapter is refused, because without its other part it would be another model.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.errors import UsageError
from harness.models import GROUP, load_backend
from harness.models.local.packages import first_line
from harness.registry import find_entry_points
from harness.types import JSONObject

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
LORA = re.compile(r"^base_model\.model\.(?P<name>.+)\.lora_(?P<side>[AB])\.weight$")
WHOLE = re.compile(r"^base_model\.model\.(?P<name>.+?)(\.modules_to_save(\.default)?)?(?P<end>\.(weight|bias))$")
"""The names of an adapter's tensors: one of two matrices, or what stands in place of the model's own."""
MOST = 8
"""Adapters on top of each other."""

SPECIAL = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "fan_in_fan_out",
    "layer_replication",
    "lora_bias",
    "target_parameters",
    "trainable_token_indices",
    "use_dora",
    "use_qalora",
)
"""Settings of peft's LoraConfig that make an adapter more than products of two matrices."""
PLAIN_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")
"""`init_lora_weights` that leave the model's own weights as they are; PiSSA, OLoRA, CorDA and LoftQ change them."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A directory whose adapter_config.json passed the checks; `base` is what it says that it was trained on."""

    path: Path
    config: JSONObject
    base: str


def is_adapter(path: Path) -> bool:
    """Whether a directory holds an adapter, whatever else is in it."""
    return (path / CONFIG).is_file()


def read_adapter(name: str, path: Path) -> Adapter:
    """The adapter of a directory; its weights are not read. Raises UsageError for one that cannot be added."""
    try:
        config = jsonio.read_json(path / CONFIG, links=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: {path / CONFIG} cannot be read as JSON: {error}.") from None
    if not isinstance(config, dict):
        raise UsageError(f"{name}: {path / CONFIG} holds no JSON object.")
    if special := find_special(config):
        raise UsageError(f"{name}: {path} is an adapter with {special}: merge it into its model, and name that.")
    if not (path / WEIGHTS).is_file():
        raise UsageError(f"{name}: {path} has a {CONFIG} and no {WEIGHTS}; pickled adapters are never read.")
    base = config.get("base_model_name_or_path")
    return Adapter(path, config, base if isinstance(base, str) else "")


def find_special(config: Mapping[str, Any]) -> str:
    """What makes an adapter another than plain LoRA; "" where nothing does."""
    kind, beginning = config.get("peft_type", "LORA"), config.get("init_lora_weights")
    if kind != "LORA":
        return str(kind)[:60]
    if not any(beginning is plain or (isinstance(plain, str) and beginning == plain) for plain in PLAIN_BEGINNINGS):
        return f"init_lora_weights {str(beginning)[:60]}"
    return next((name for name in SPECIAL if config.get(name)), "")


def lora_scale(name: str, config: Mapping[str, Any], rank: int) -> float:
    """What a product of that rank is multiplied by: alpha / r, alpha / sqrt(r) with use_rslora. Raises UsageError."""
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not math.isfinite(alpha):
        raise UsageError(f"{name}: its {CONFIG} gives no lora_alpha.")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def find_base(name: str, adapter: Adapter, given: str | None) -> Path:
    """Where the model of an adapter lies: `given`, or what it names itself, as hf/PATH, bundled/NAME or a plain path.

    Raises UsageError where nothing lies there; nothing is fetched from a hub."""
    base = adapter.base if given is None else given
    prefix, _, rest = base.partition("/")
    if prefix in find_entry_points(GROUP) and hasattr(backend := load_backend(prefix), "model_path"):
        path = Path(backend.model_path(rest))
    else:
        path = Path(base)
    if not base or not path.exists():
        said = f"of {base[:200]!r}, which is not here" if base else "that does not say of what model"
        raise UsageError(f"{name} is a LoRA adapter {said}: name its model by --model-arg base=PATH.")
    return path


def list_adapters(name: str, path: Path, given: str | None = None) -> tuple[Path, tuple[Adapter, ...]]:
    """The whole model below a directory, and the adapters to add to it in order; the path itself, and none, for a
    whole model. Raises UsageError as read_adapter and find_base do."""
    found: list[Adapter] = []
    while is_adapter(path):
        if len(found) == MOST:
            raise UsageError(f"{name} is an adapter of an adapter, more than {MOST} deep: merge them, and name that.")
        found.insert(0, read_adapter(name, path))
        path, given = find_base(name, found[0], given), None
    return path, tuple(found)


def add_adapter(network: Any, name: str, adapter: Adapter) -> None:
    """Adds an adapter's products to the weights of `network`, in place, and puts there what stands in place of them.

    Raises UsageError where they do not fit."""
    import torch

    path = adapter.path / WEIGHTS
    weights = dict(network.named_parameters())
    products, wholes = _sort_tensors(name, path)
    with torch.no_grad():
        for plain, tensor in wholes.items():
            if plain not in weights or weights[plain].shape != tensor.shape:
                raise UsageError(f"{name}: {plain[:200]!r} in {path} does not fit its model.")
            weights[plain].copy_(tensor)
        for plain, sides in products.items():
            if plain not in weights or len(sides) != 2 or not _fits(weights[plain], sides["A"], sides["B"]):
                raise UsageError(f"{name}: the matrices for {plain[:200]!r} in {path} do not fit its model.")
            weight = weights[plain]
            scale = lora_scale(name, adapter.config, sides["A"].shape[0])
            product = scale * (sides["B"].float() @ sides["A"].float()).to(weight.device)
            weight.copy_((weight.float() + product).to(weight.dtype))


def _sort_tensors(name: str, path: Path) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """By the weight that they are for: the matrices A and B, and what stands in its place. Raises UsageError."""
    from safetensors import safe_open

    try:
        with safe_open(path, "pt") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
    except Exception as error:
        # Whatever is wrong with a file, safetensors has exceptions of its own for it.
        raise UsageError(f"{name}: {path} cannot be read: {first_line(error)}.") from None
    products: dict[str, dict[str, Any]] = {}
    wholes: dict[str, Any] = {}
    for key, tensor in tensors.items():
        if lora := LORA.match(key):
            products.setdefault(f"{lora['name']}.weight", {})[lora["side"]] = tensor
        elif whole := WHOLE.match(key):
            wholes[whole["name"] + whole["end"]] = tensor
        else:
            raise UsageError(f"{name}: {key[:200]!r} in {path} is no known part of a LoRA adapter: merge it first.")
    return products, wholes


def _fits(weight: Any, inner: Any, outer: Any) -> bool:
    """Whether weight (out, in) can have outer (out, r) @ inner (r, in) added."""
    if any(one.dim() != 2 for one in (weight, inner, outer)) or not inner.shape[0]:
        return False
    return bool(inner.shape[0] == outer.shape[1] and (outer.shape[0], inner.shape[1]) == tuple(weight.shape))
