"""What recipes' values are held to, whatever the regime."""

from __future__ import annotations

from harness.errors import UsageError

LARGEST_SEED = 2**32 - 1
"""numpy takes none above."""


def require_value(fits: bool, name: str, what: str) -> None:
    """Raises UsageError in a recipe's words."""
    if not fits:
        raise UsageError(f"The recipe's {name} must be {what}.")


def require_seeds(**seeds: int) -> None:
    """Raises UsageError for seeds that not everything can draw by."""
    for name, seed in seeds.items():
        require_value(0 <= seed <= LARGEST_SEED, name, f"from 0 to {LARGEST_SEED}")
