"""LoRA: adapters around a network that is trained, and what is saved of them.

The network's own weights stay as they are, in the precision that it computes in; two thin matrices beside each linear
map are trained in float32. Saved are both: the sum, a model like any other, and the adapter alone, which is small and
which hf/ plays on its model (harness.models.local.adapter).
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.data import disk, jsonio
from harness.errors import HarnessError
from harness.models.local.adapter import BASE, WEIGHTS
from harness.models.local.folder import ModelFolder
from harness.models.local.packages import check_packages, import_quietly

FOLDER = "adapter"
"""Where in a run's directory the adapter lies."""


def check_adapters(rank: int) -> None:
    """Raises UsageError where a recipe asks for adapters and their package is missing."""
    if rank:
        check_packages("lora_rank", ("peft",), "lora")


def adapter_config(rank: int, alpha: int) -> Any:
    """LoRA's configuration, of all linear maps of the layers; None where all weights are trained."""
    if not rank:
        return None
    return import_quietly("peft").LoraConfig(
        r=rank, lora_alpha=alpha, target_modules="all-linear", task_type="CAUSAL_LM"
    )


def surround_with_adapters(network: Any, rank: int, alpha: int, seed: int) -> Any:
    """The network inside of new adapters that a seed draws, its own weights frozen; itself where `rank` is 0."""
    if not rank:
        return network
    import_quietly("transformers").set_seed(seed)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)  # peft asks by the older name
        return import_quietly("peft").get_peft_model(network, adapter_config(rank, alpha))


def has_adapters(network: Any) -> bool:
    """Whether a network is one inside of adapters."""
    return hasattr(network, "merge_adapter")


def merge_adapters(network: Any) -> Any:
    """A copy with the adapters added in float32, on the CPU: what they change is often less than a step of bfloat16."""
    import torch

    return copy.deepcopy(network).to("cpu", torch.float32).merge_and_unload()


def count_own_parameters(network: Any) -> int:
    """Of the network's own; adapters around it are not counted."""
    return sum(weights.numel() for name, weights in network.named_parameters() if ".lora_" not in name)


def save_adapter(
    network: Any, folder: Path, base: ModelFolder, dtype: str, write_tokenizer: Callable[[Path], object]
) -> None:
    """An adapter's directory, whole or not at all, in `dtype`, with the tokenizer and template that it was trained
    with; `base` is the model that it is of. Raises HarnessError for weights that are no numbers."""
    import torch
    from safetensors.torch import save_file

    peft = import_quietly("peft")
    partial = folder.with_name(f".{folder.name}")
    disk.remove_folder(partial)
    partial.mkdir(parents=True)
    state = peft.get_peft_model_state_dict(network, save_embedding_layers=False)
    rounded = {name: value.detach().to("cpu", getattr(torch, dtype)).contiguous() for name, value in state.items()}
    if spoilt := [name for name, value in rounded.items() if not value.isfinite().all()]:
        raise HarnessError(f"{spoilt[0]} has no numbers in {dtype} any more, so nothing was saved.")
    save_file(rounded, partial / WEIGHTS, metadata={"format": "pt"})
    config = copy.deepcopy(network.peft_config["default"])
    config.base_model_name_or_path, config.inference_mode = name_base(base), True
    config.target_modules = sorted(config.target_modules)  # a set of no fixed order
    config.save_pretrained(str(partial))
    jsonio.write_json(partial / BASE, {"sha256": base.digest})
    write_tokenizer(partial)
    for file in partial.iterdir():
        file.chmod(0o644)
    disk.remove_folder(folder)
    partial.replace(folder)


def name_base(base: ModelFolder) -> str:
    """What an adapter calls its model: bundled/NAME, else where it lies."""
    if base.name.startswith("bundled/") and not Path(base.name).exists():
        return base.name
    return str((base.adapters[-1].path if base.adapters else base.path).resolve())
