"""Chat templates that ship beside the recipes, by name, and what a recipe says of a model's template and format."""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.errors import UsageError
from harness.registry import suggest_names
from harness.types import JSONObject

FOLDER = Path(__file__).parent / "recipes"
SUFFIX = ".jinja"


def names() -> list[str]:
    """The templates that ship with the package."""
    return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def model_args(chat_template: str, format: str) -> dict[str, str]:
    """A recipe's values as a model takes them (--model-arg). Raises UsageError for a template that there is not."""
    template = {"chat_template": str(find_template(chat_template))} if chat_template else {}
    return {**template, **({"format": format} if format else {})}


def template_identity(name: str) -> JSONObject:
    """What of a chat template makes a run this one: its text. Raises UsageError as find_template."""
    return {"template": hashlib.sha256(find_template(name).read_bytes()).hexdigest()} if name else {}


def find_template(name: str) -> Path:
    """A file, or a template by its name. Raises UsageError where there is neither."""
    if Path(name).is_file():
        return Path(name)
    path = FOLDER / f"{name}{SUFFIX}"
    if not path.is_file():
        raise UsageError(
            f"There is no chat template {name!r}, neither a file nor a name.{suggest_names(name, names())}"
        )
    return path
