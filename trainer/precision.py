"""In which precision a network computes, and in which it is saved.

What an optimiser steps on is float32, always: an update of 1e-6 of a weight is smaller than half a step of bfloat16 and
would round away. `bfloat16` means that the network computes so (autocast) while its master weights stay whole. Frozen
weights, below adapters, may be bfloat16 themselves. What is saved is the masters, rounded only where a recipe says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from harness.data import disk, jsonio
from harness.errors import HarnessError
from trainer.adapters import has_adapters, merge_adapters
from trainer.run_directory import require_space

COMPUTED = ("float32", "bfloat16")
SAVED = ("float32", "bfloat16", "float16")
ADVICE = "lower learning_rate and train anew"
"""Where weights are no numbers any more."""


def compute_in(dtype: str, device: str) -> AbstractContextManager[Any]:
    """Around everything that a network computes: autocast where `dtype` is bfloat16."""
    import torch

    return torch.autocast(device.partition(":")[0], torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def report_slow_bfloat16(dtype: str, device: str) -> None:
    """Says on stderr where this CPU computes bfloat16 in software."""
    if dtype == "bfloat16" and device == "cpu" and not has_bfloat16_units():
        print(
            "This CPU has no AVX512-BF16, so bfloat16 is slower here than float32: --set dtype=float32.",
            file=sys.stderr,
        )


def has_bfloat16_units() -> bool:
    """Whether the CPU multiplies bfloat16 itself; True where nothing tells."""
    import torch

    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return True if asked is None else bool(asked())


# --- saving ------------------------------------------------------------------------------------------------------


def save_model(
    network: Any,
    folder: Path,
    dtype: str,
    write_rest: Callable[[Path], object],
    weights: Mapping[str, Any] | None = None,
) -> None:
    """A model directory, whole or not at all: the network's weights in `dtype`, adapters merged in, or `weights` where
    they were gathered. `write_rest` adds the tokenizer and what else belongs there.

    Raises HarnessError for weights that are no numbers, which those beyond a `dtype` become."""
    partial = folder.with_name(f".{folder.name}")
    disk.remove_folder(partial)
    require_space(folder.parent, checkpoint_bytes(network))
    if has_adapters(network):
        network = merge_adapters(network)
    state = round_weights(network.state_dict() if weights is None else weights, dtype)
    if spoilt := [name for name, value in state.items() if not value.isfinite().all()]:
        raise HarnessError(f"{spoilt[0]} has no numbers in {dtype} any more, so nothing was saved; {ADVICE}.")
    network.save_pretrained(partial, state_dict=state)
    _write_dtype(partial / "config.json", dtype)
    write_rest(partial)
    for file in partial.iterdir():
        file.chmod(0o644)  # weights are written for their owner alone, and a network may be for everybody
    disk.remove_folder(folder)
    partial.replace(folder)


def round_weights(state: Mapping[str, Any], dtype: str) -> dict[str, Any]:
    """Floating numbers in another precision; tensors that are one in memory stay one."""
    import torch

    rounded: dict[tuple[int, Any], Any] = {}
    return {
        name: rounded.setdefault((value.data_ptr(), value.shape), value.to(getattr(torch, dtype)))
        if value.is_floating_point()
        else value
        for name, value in state.items()
    }


def _write_dtype(path: Path, dtype: str) -> None:
    """transformers writes the precision of the network that it was given, not that of the weights."""
    config = jsonio.parse_json(path.read_bytes())
    config["dtype"] = dtype
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def checkpoint_bytes(model: Any) -> int:
    """What a checkpoint takes: weights, and two moments of every weight that is trained."""
    weights = sum(one.numel() * one.element_size() for one in model.parameters())
    moments = sum(2 * one.numel() * one.element_size() for one in model.parameters() if one.requires_grad)
    return int(1.1 * (weights + moments)) + (1 << 20)
