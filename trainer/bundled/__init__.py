"""Networks that ship with the package, so that a real model can be seen using tools without a download.

Each is a directory as `harness train` writes it; its manifest.json says how it was made. docs/training.md tells the
rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from harness.errors import UsageError
from harness.models import ModelOptions
from harness.models.local import hf
from harness.registry import suggest_names
from harness.types import Model

ARGS = ("batch_size", "device", "dtype")
FOLDER = Path(__file__).parent
NAMES = tuple(sorted(entry.parent.name for entry in FOLDER.glob("*/config.json")))
HELP = "bundled/NAME is a small network that ships with the package, run as hf/ is: " + ", ".join(NAMES)


def model_path(name: str) -> Path:
    """The directory of a bundled network. Raises UsageError where there is none of that name."""
    if name not in NAMES:
        raise UsageError(f"No network called {name!r} ships with the package.{suggest_names(name, NAMES)}")
    return FOLDER / name


def load(name: str, options: ModelOptions) -> Model:
    """The network as hf/ loads it, named bundled/NAME. Raises UsageError as hf/ does."""
    return hf.load_directory(f"bundled/{name}", str(model_path(name)), options)


def ready(environ: Mapping[str, str]) -> str | None:
    """As for hf/."""
    return hf.ready(environ)
