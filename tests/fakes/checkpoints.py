"""A checkpoint as a trainer leaves it, without a trainer."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file


def write_checkpoint(checkpoints: Path, step: int) -> Path:
    """A whole one after a step."""
    folder = checkpoints / f"checkpoint-{step}"
    folder.mkdir(parents=True)
    save_file({"a": torch.ones(1000)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"a": torch.ones(1000)}, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": step}))
    return folder
