"""The packages that local models need: whether they are here, and how they are imported."""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from harness.errors import UsageError
from harness.extras import install_command

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "GOMP_SPINCOUNT": "0",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "128",
}
"""Set where unset, before torch is imported: waiting threads that spin cost eight times the time on a busy machine, and
nothing may reach a hub."""


def find_missing_packages(packages: Sequence[str], extra: str) -> str | None:
    """None where all packages are installed, else one sentence with the command that installs them."""
    absent = [package for package in packages if find_spec(package) is None]
    return f"{' and '.join(absent)} not installed: {install_command(extra)}" if absent else None


def check_packages(name: str, packages: Sequence[str], extra: str) -> None:
    """Raises UsageError where a package is not installed."""
    if sentence := find_missing_packages(packages, extra):
        raise UsageError(f"{name}: {sentence}")


def set_library_defaults() -> None:
    """To be called before torch or transformers are imported."""
    for key, value in ENVIRONMENT.items():
        os.environ.setdefault(key, value)


def import_quietly(package: str) -> Any:
    """A heavy package, with its own chatter about missing parts kept to errors."""
    module = importlib.import_module(package)
    logging.getLogger(package).setLevel(logging.ERROR)
    return module


def first_line(error: BaseException) -> str:
    """An error of a library, as part of a sentence."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0].rstrip('.')[:300]}" if lines else type(error).__name__
