"""Recipes: TOML files, and how they are read."""

from pathlib import Path

OPTIONS = ("algorithm", "reward", "loops")
"""Values of a recipe that `harness train` has options for; not every regime has them."""

FOLDER = Path(__file__).parent
SUFFIX = ".toml"


def names() -> list[str]:
    """The recipes that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))
