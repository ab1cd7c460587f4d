"""`harness` with FSDP on a CPU, under a launcher: `cpu_shards.py ARGUMENTS`.

accelerate makes shards on every kind of device but the CPU, which its list lacks; torch makes them there too (gloo).
Everything else is what it is on GPUs.
"""

from __future__ import annotations

import sys
from typing import Any

SHARDS = {
    "ACCELERATE_USE_FSDP": "true",
    "FSDP_VERSION": "2",
    "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
}
"""What `accelerate launch --use_fsdp --fsdp_version 2` sets."""


def shard_on_cpu() -> None:
    """Lets accelerate take the plugin that it was given on a CPU as well."""
    from accelerate.state import AcceleratorState, PartialState
    from accelerate.utils import DistributedType

    begin = AcceleratorState.__init__

    def take(self: Any, *given: Any, fsdp_plugin: Any = None, **more: Any) -> None:
        begin(self, *given, fsdp_plugin=fsdp_plugin, **more)
        if self.distributed_type == DistributedType.MULTI_CPU and fsdp_plugin is not None:
            self.distributed_type = PartialState._shared_state["distributed_type"] = DistributedType.FSDP
            self.fsdp_plugin = fsdp_plugin

    AcceleratorState.__init__ = take


if __name__ == "__main__":
    from harness.cli import main
    from harness.models.local.packages import set_library_defaults

    set_library_defaults()
    shard_on_cpu()
    raise SystemExit(main(sys.argv[1:]))
