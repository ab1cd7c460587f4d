"""The optional parts of the package, and the command that installs one."""

from __future__ import annotations

PACKAGE = "tool-harness"


def install_command(extra: str) -> str:
    """The command that installs an extra in a checkout, and the one for a package index that has this project."""
    return f"pip install '.[{extra}]' in a checkout, pip install '{PACKAGE}[{extra}]' from a package index"
