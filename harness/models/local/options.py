"""What --model-arg says to a local model, read and checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.errors import UsageError
from harness.models import ModelOptions


def check_args(name: str, args: Mapping[str, str], known: Sequence[str]) -> None:
    """Raises UsageError for an argument that the backend does not know."""
    if unknown := sorted(set(args) - set(known)):
        raise UsageError(f"--model-arg {unknown[0]} is unknown to {name}; it knows {', '.join(known)}.")


def whole_number(args: Mapping[str, str], key: str, default: int) -> int:
    """A positive whole number. Raises UsageError for anything else."""
    text = args.get(key, str(default))
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UsageError(f"--model-arg {key}={text!r} is not a whole number of at least 1.")
    return int(text)


def batch_width(options: ModelOptions) -> int:
    """Episodes played at once: --model-arg batch_size, else --concurrency."""
    return whole_number(options.args, "batch_size", max(1, options.concurrency))
