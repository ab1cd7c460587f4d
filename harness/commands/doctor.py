"""Say what this machine can do: Python, the sandbox's layers, optional packages, and every backend of models.

Exits with 1 where tools cannot be run in isolation.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from importlib.util import find_spec

import harness
from harness.errors import SandboxError, UsageError
from harness.extras import install_command

HELP = "say what this machine can run, and what is missing"
EXTRAS = {
    "pyarrow": ("data", "Parquet files"),
    "mcp": ("mcp", "harness serve for an MCP client"),
    "ray": ("ray", "many cores and machines by --ray"),
    "gymnasium": ("gym", "samples as environments of Gymnasium"),
}
PROBE = "def probe(a, b):\n    return a + b\n"


def configure(parser: argparse.ArgumentParser) -> None:
    """No options."""


def run(args: argparse.Namespace) -> int:
    """Prints one line a finding."""
    from harness.models import load_backends

    system = f"{platform.machine()} {sys.platform}"
    _say(True, f"harness {harness.__version__} on Python {platform.python_version()}, {system}")
    isolated = _sandbox()
    for package, (extra, purpose) in EXTRAS.items():
        there = find_spec(package) is not None
        _say(there, purpose if there else f"{purpose}: {install_command(extra)}", optional=True)
    for prefix, backend in load_backends().items():
        if isinstance(backend, UsageError):
            missing: str | None = str(backend)
        else:
            missing = backend.ready(os.environ) if hasattr(backend, "ready") else None
        _say(missing is None, f"{prefix}/ models" + (f": {missing}" if missing else ""), optional=True)
    return 0 if isolated else 1


def _sandbox() -> bool:
    from harness.sandbox import Sandbox

    try:
        with Sandbox() as sandbox, sandbox.episode() as tools:
            [result] = tools.run({"probe": PROBE}, [("probe", {"a": 2, "b": 3})])
            layers = ", ".join(f"{name} {value}" for name, value in sandbox.layers.items())
    except SandboxError as error:
        _say(False, f"sandbox: {error}")
        return False
    _say(result.output == "5", f"sandbox: {layers}")
    return result.output == "5"


def _say(good: bool, text: str, optional: bool = False) -> None:
    print(f"{'ok  ' if good else '-   ' if optional else 'FAIL'} {text}")
