"""Where BFCL's data and checker are: the wheel bfcl-eval, read as files and never imported here.

The checker evaluates text that a model wrote, so its sources are handed to the sandbox and run there. The wheel's table
of models wants every provider's client; the checker asks it one thing (whether dots in names were replaced), which a
stand-in answers. Left out: memory and web search, which need services outside.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness.data import disk, jsonio
from harness.errors import MissingData, UsageError

DATA_SET = "BFCL v4 (bfcl-eval on PyPI)"
INSTALL = "pip install --no-deps --target FOLDER bfcl-eval==2026.3.23 mpmath==1.3.0"
PACKAGE = "bfcl_eval"
VERSION = "BFCL_v4"

DOCUMENTS = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}
"""Class behind a conversation to the file that describes its functions, which is also its module's name."""

CONSTANTS = ("enums", "type_mappings", "executable_backend_config")
SINGLE_TURN = ("ast_checker", "type_convertor.java_type_converter", "type_convertor.js_type_converter")
CONVERSATION = ("multi_turn_checker", "multi_turn_utils")
PACKAGES = (
    "",
    ".constants",
    ".eval_checker",
    ".eval_checker.ast_eval",
    ".eval_checker.ast_eval.type_convertor",
    ".eval_checker.multi_turn_eval",
    ".eval_checker.multi_turn_eval.func_source_code",
)
STAND_INS = {
    f"{PACKAGE}.constants.model_config": (
        "class Any(dict):\n"
        "    underscore_to_dot = True\n"
        "    def __missing__(self, name):\n"
        "        return self\n"
        "MODEL_CONFIG_MAPPING = Any()\n"
    ),
    "subprocess": "",  # imported by the file system's class, and used for nothing
    "colorsys": "hsv_to_rgb = hls_to_rgb = None\n",  # imported by mpmath, for plots
}


def find_package(folder: Path | None) -> Path:
    """The wheel's package: in `folder`, or installed beside the harness. Raises MissingData where it is not."""
    if folder is not None:
        found = folder / PACKAGE
        if not found.is_dir():
            raise MissingData(f"bfcl_* looked for {DATA_SET} at {found}, where there is no package: {INSTALL}.")
        return found
    if (installed := _installed(PACKAGE)) is None:
        raise MissingData(f"bfcl_* needs {DATA_SET}, which is not installed: {INSTALL}, then --data bfcl=FOLDER.")
    return installed


def _installed(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    places = spec.submodule_search_locations if spec else None
    return Path(next(iter(places))) if places else None


def read_questions(root: Path, category: str) -> list[Any]:
    return _rows(root / "data" / f"{VERSION}_{category}.json")


def read_answers(root: Path, category: str) -> list[Any]:
    return _rows(root / "data" / "possible_answer" / f"{VERSION}_{category}.json")


@cache
def read_functions(root: Path, name: str) -> list[Any]:
    """The descriptions of a class's functions."""
    return _rows(root / "data" / "multi_turn_func_doc" / f"{DOCUMENTS[name]}.json")


def _rows(path: Path) -> list[Any]:
    """The rows of one of the wheel's files: JSON lines under a name that ends in .json."""
    if not path.is_file():
        raise MissingData(f"bfcl_* looked for {DATA_SET} at {path}, where there is no file: {INSTALL}.")
    try:
        with disk.open_file(path, links=True) as file:
            return [jsonio.parse_json(line) for line in disk.read_lines(file, path) if line.strip()]
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} cannot be read as JSON lines: {error}.") from None


# --- the checker's sources ---------------------------------------------------------------------------------------


@cache
def checker_sources(root: Path, conversation: bool) -> str:
    """The document that the tools in inside.py take: {modules: {name: [source, whether it is a package]}}."""
    modules = {name: [source, False] for name, source in STAND_INS.items()}
    modules |= {f"{PACKAGE}{name}": ["", True] for name in PACKAGES}
    modules |= {name: [_text(path), False] for name, path in _files(root, conversation)}
    if conversation:
        modules |= dict(_mpmath(root))
    return jsonio.canonical_json({"modules": modules})


@cache
def checker_digest(root: Path, conversation: bool) -> str:
    """What tells one version of the checker from another."""
    return jsonio.digest(checker_sources(root, conversation))


def _files(root: Path, conversation: bool) -> Iterator[tuple[str, Path]]:
    names = [f"constants.{name}" for name in CONSTANTS]
    if conversation:
        names += [f"eval_checker.multi_turn_eval.{name}" for name in CONVERSATION]
        sources = ("long_context", *DOCUMENTS.values())
        names += [f"eval_checker.multi_turn_eval.func_source_code.{name}" for name in sources]
    else:
        names += [f"eval_checker.ast_eval.{name}" for name in SINGLE_TURN]
    for name in names:
        yield f"{PACKAGE}.{name}", root.joinpath(*name.split(".")).with_suffix(".py")


def _mpmath(root: Path) -> Iterator[tuple[str, list[Any]]]:
    """The arithmetic behind one function of the calculator: beside the wheel, or installed beside the harness."""
    beside = root.parent / "mpmath"
    folder = beside if beside.is_dir() else _installed("mpmath")
    if folder is None:
        raise MissingData(f"bfcl_* looked for mpmath, which {DATA_SET} calculates with, at {beside}: {INSTALL}.")
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        if "tests" not in parts:
            package = parts[-1] == "__init__"
            yield ".".join(parts[:-1] if package else parts), [_text(path), package]


def _text(path: Path) -> str:
    try:
        return disk.read_file(path, links=True).decode("utf-8")
    except (OSError, ValueError) as error:
        raise MissingData(f"bfcl_* looked for {DATA_SET} at {path}, which cannot be read: {error}.") from None
