"""Several processes of one run, as accelerate or torchrun start them: who leads, and waiting for one another.

The leader alone claims the run directory, builds environments and plays the test; the others read what it wrote. A
process that fails ends the others: the launcher sees to that. One process alone never touches torch here.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from harness.errors import UsageError


def is_distributed() -> bool:
    """Whether a launcher started more processes than this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def is_main_process() -> bool:
    """Whether this is the only process of the run, or the first of several."""
    return int(os.environ.get("RANK", "0")) == 0


def wait_for_everyone() -> None:
    """Until all processes are here."""
    if is_distributed():
        _state().wait_for_everyone()


def part_from_others() -> None:
    """Waits for all processes and closes the connections between them, for good: a process that ends while its
    threads still hold them may be aborted, and torch says so of GPUs."""
    if is_distributed():
        import torch

        state = _state()
        if torch.distributed.is_initialized():
            state.wait_for_everyone()
            state.destroy_process_group()


def asks_for_shards(environ: Mapping[str, str]) -> bool:
    """Whether a launcher asks for a network in shards, as accelerate launch --use_fsdp does."""
    return environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"


def refuse_other_shards(environ: Mapping[str, str], adapters: bool) -> None:
    """Raises UsageError where a launcher asks for shards of another kind than FSDP 2, of adapters or of one process."""
    if environ.get("ACCELERATE_USE_DEEPSPEED", "").lower() == "true":
        raise UsageError("DeepSpeed (ZeRO) is not supported: accelerate launch --use_fsdp --fsdp_version 2, or DDP.")
    if not asks_for_shards(environ):
        return
    if environ.get("FSDP_VERSION", "1") != "2":
        raise UsageError("Of FSDP the second version alone is supported: accelerate launch --fsdp_version 2.")
    if adapters:
        raise UsageError("Adapters are not trained in shards: set lora_rank=0, or launch without FSDP.")
    if int(environ.get("WORLD_SIZE", "1")) == 1:
        raise UsageError("There are no shards of one process: launch more of them (--num_processes), or without FSDP.")


@contextmanager
def main_process_first() -> Iterator[None]:
    """The leader goes through the block alone, then the others do."""
    if not is_distributed():
        yield
        return
    with _state().main_process_first():
        yield


def _state() -> Any:
    import torch
    from accelerate import PartialState

    return PartialState(cpu=not torch.cuda.is_available())
