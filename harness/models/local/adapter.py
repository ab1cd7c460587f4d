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
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.data import jsonio
from harness.errors import UsageError
from harness.models import load_backend
from harness.models.local.packages import first_line
from harness.types import JSONObject

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
BASE = "base.json"
"""The digest of the model below, which `harness train` writes."""
LORA = re.compile(r"^base_model\.model\.(?P<name>.+)\.lora_(?P<side>[AB])\.weight\Z")
WHOLE = re.compile(r"^base_model\.model\.(?P<name>.+?)(\.modules_to_save(\.default)?)?(?P<end>\.(weight|bias))\Z")
"""The names of an adapter's tensors: one of two matrices, or what stands in place of the model's own."""
LONGEST = 4096
"""Characters of a path."""
LARGEST = 1e6
"""What an alpha is below."""

SPECIAL = (
    "alora_invocation_tokens",
    "alpha_pattern",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_dora",
    "use_qalora",
    "velora_config",
)
"""Settings of peft's LoraConfig that make an adapter more than products of two matrices."""
PLAIN_BEGINNINGS = (None, True, False, "gaussian", "eva", "orthogonal")
"""`init_lora_weights` that leave the model's own weights as they are; PiSSA, OLoRA, CorDA and LoftQ change them."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """A directory whose adapter_config.json passed the checks; `base` is what it says that it was trained on, and
    `base_digest` that model's digest, where it was written here."""

    path: Path
    config: JSONObject
    base: str
    base_digest: str | None = None

    @property
    def settings(self) -> JSONObject:
        """Its configuration, but for where its model lies."""
        return {key: value for key, value in self.config.items() if key != "base_model_name_or_path"}


def is_adapter(path: Path) -> bool:
    """Whether a directory holds an adapter, whatever else is in it."""
    return (path / CONFIG).is_file()


def read_adapter(name: str, path: Path) -> Adapter:
    """The adapter of a directory; its weights are not read. Raises UsageError for one that cannot be added."""
    config = read_object(name, path / CONFIG)
    if special := find_special(config):
        raise UsageError(f"{name}: {path} is an adapter with {special}: merge it into its model, and name that.")
    if not (path / WEIGHTS).is_file():
        raise UsageError(
            f"{name}: {path} has {CONFIG} and no {WEIGHTS}; pickled adapters are never read, and beside a whole model "
            "that file has no place."
        )
    base, written = config.get("base_model_name_or_path"), path / BASE
    digest = read_object(name, written).get("sha256") if written.is_file() else None
    return Adapter(path, config, base if isinstance(base, str) else "", digest if isinstance(digest, str) else None)


def read_object(name: str, path: Path) -> JSONObject:
    """A file of a model's directory that holds a JSON object. Raises UsageError, in one sentence, for another."""
    try:
        value = jsonio.read_json(path, links=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{name}: {path} cannot be read as JSON: {error}.") from None
    if not isinstance(value, dict):
        raise UsageError(f"{name}: {path} holds no JSON object.")
    return value


def find_special(config: Mapping[str, Any]) -> str:
    """What makes an adapter another than plain LoRA; "" where nothing does."""
    kind, beginning = config.get("peft_type", "LORA"), config.get("init_lora_weights")
    if kind != "LORA":
        return str(kind)[:60]
    if not any(beginning is plain or (isinstance(plain, str) and beginning == plain) for plain in PLAIN_BEGINNINGS):
        return f"init_lora_weights {str(beginning)[:60]}"
    if (bias := config.get("bias")) not in (None, "none"):
        return f"bias {str(bias)[:60]}"
    return next((name for name in SPECIAL if config.get(name)), "")


def lora_scale(name: str, config: Mapping[str, Any], rank: int) -> float:
    """What a product of that rank is multiplied by: alpha / r, alpha / sqrt(r) with use_rslora. Raises UsageError."""
    alpha = config.get("lora_alpha")
    if isinstance(alpha, bool) or not isinstance(alpha, int | float) or not abs(alpha) < LARGEST:
        raise UsageError(f"{name}: its {CONFIG} gives no lora_alpha that could be one.")
    return float(alpha) / (math.sqrt(rank) if config.get("use_rslora") else rank)


def find_base(name: str, adapter: Adapter, given: str | None) -> Path:
    """Where the model of an adapter lies: `given`, or what it names itself, a path, hf/PATH or bundled/NAME.

    Raises UsageError where nothing lies there; nothing is fetched from a hub."""
    base = adapter.base if given is None else given
    prefix, _, rest = base.partition("/")
    short = len(base) < LONGEST
    if short and prefix == "bundled" and rest:
        path = Path(load_backend("bundled").model_path(rest))
    else:
        path = Path(rest if prefix == "hf" and rest else base)
    try:
        if short and base.strip("/.") and path.exists():
            return path
    except (OSError, ValueError):  # no name that this system could have
        pass
    said = f"of {base[:200]!r}, which is not here" if base else "that does not say of what model"
    raise UsageError(
        f"{name} is a LoRA adapter {said}: say where its model lies, to an evaluation by --model-arg base=PATH, or in "
        f"its {CONFIG}."
    )


def list_adapters(name: str, path: Path, given: str | None = None) -> tuple[Path, tuple[Adapter, ...]]:
    """The whole model below a directory, and the adapters to add to it in order; the path itself, and none, for a
    whole model. Raises UsageError as read_adapter and find_base do."""
    found: list[Adapter] = []
    while is_adapter(path):
        if path.resolve() in [one.path.resolve() for one in found]:
            raise UsageError(f"{name}: {path} is a LoRA adapter that names itself as its model.")
        found.insert(0, read_adapter(name, path))
        path, given = find_base(name, found[0], given), None
    return path, tuple(found)


def add_adapter(network: Any, name: str, adapter: Adapter) -> None:
    """Adds an adapter's products to the weights of `network`, in place, and puts there what stands in place of them;
    of a network without weights (device meta) shapes alone are checked.

    Raises UsageError where they do not fit, and where parts are missing."""
    import torch

    path = adapter.path / WEIGHTS
    weights = dict(network.named_parameters())
    products, wholes = _sort_tensors(name, path)
    _require_parts(name, adapter, products, wholes, [module for module, _ in network.named_modules()])
    tied = _tied_names(network)
    with torch.no_grad():
        for plain, tensor in wholes.items():
            if plain in tied:
                raise UsageError(
                    f"{name}: {path} has another {plain[:200]!r} than the head that is the same: merge it."
                )
            if plain not in weights or weights[plain].shape != tensor.shape:
                raise UsageError(f"{name}: {plain[:200]!r} in {path} does not fit its model.")
            if not weights[plain].is_meta:
                weights[plain].copy_(tensor)
        for plain, sides in products.items():
            linear = isinstance(_module(network, plain.removesuffix(".weight")), torch.nn.Linear)
            if not linear or len(sides) != 2 or not _fits(weights.get(plain), sides["A"], sides["B"]):
                raise UsageError(f"{name}: the matrices for {plain[:200]!r} in {path} do not fit its model.")
            weight, rank = weights[plain], sides["A"].shape[0]
            _require_rank(name, adapter, rank)
            scale = lora_scale(name, adapter.config, rank)
            if weight.is_meta:
                continue
            total = weight.float() + scale * (sides["B"].float() @ sides["A"].float()).to(weight.device)
            if not total.isfinite().all():
                raise UsageError(f"{name}: with {path} added, {plain[:200]!r} is no numbers any more.")
            weight.copy_(total.to(weight.dtype))


def _module(network: Any, name: str) -> Any:
    try:
        return network.get_submodule(name)
    except AttributeError:
        return None


def _tied_names(network: Any) -> set[str]:
    """What input embeddings and head are called where they are one matrix."""
    ends = (network.get_input_embeddings(), network.get_output_embeddings())
    if None in ends or ends[0].weight is not ends[1].weight:
        return set()
    return {f"{name}.weight" for name, module in network.named_modules() if module in ends}


def _require_parts(
    name: str, adapter: Adapter, products: Iterable[str], wholes: Iterable[str], modules: Sequence[str]
) -> None:
    """Raises UsageError where there is nothing to add, or nothing for one of the network's `modules` that is listed."""
    named = adapter.config.get("target_modules")
    listed = [one for one in named if isinstance(one, str)] if isinstance(named, list) else []
    lacking = [one for one in listed if _names_one(one, modules) and not _names_one(f"{one}.weight", products)]
    if lacking or not (products or wholes):
        what = f"nothing for {lacking[0][:100]!r}, which its {CONFIG} lists" if lacking else "no matrices"
        raise UsageError(f"{name}: {adapter.path / WEIGHTS} has {what}.")


def _names_one(end: str, names: Iterable[str]) -> bool:
    """Whether a name is that, or ends so behind a dot."""
    return any(f".{name}".endswith(f".{end}") for name in names)


def _require_rank(name: str, adapter: Adapter, rank: int) -> None:
    said, pattern = adapter.config.get("r"), adapter.config.get("rank_pattern")
    ranks = [said, *(pattern.values() if isinstance(pattern, dict) else ())]
    if said is not None and rank not in ranks:
        raise UsageError(f"{name}: {adapter.path / WEIGHTS} has matrices of rank {rank}, and its {CONFIG} another r.")


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
        lora, whole = LORA.match(key), WHOLE.match(key)
        plain = "" if whole is None else whole["name"] + whole["end"]
        if not tensor.is_floating_point() or (lora is None and (whole is None or plain in wholes)):
            raise UsageError(f"{name}: {key[:200]!r} in {path} is no known part of a LoRA adapter: merge it first.")
        if lora is not None:
            products.setdefault(f"{lora['name']}.weight", {})[lora["side"]] = tensor
        else:
            wholes[plain] = tensor
    return products, wholes


def _fits(weight: Any, inner: Any, outer: Any) -> bool:
    """Whether weight (out, in) can have outer (out, r) @ inner (r, in) added."""
    if weight is None or any(one.dim() != 2 for one in (weight, inner, outer)) or not inner.shape[0]:
        return False
    fits = inner.shape[0] == outer.shape[1] and (outer.shape[0], inner.shape[1]) == tuple(weight.shape)
    return bool(fits and weight.dtype.is_floating_point and weight.dtype.itemsize > 1)
