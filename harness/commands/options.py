"""Command-line values that several commands take, and their errors."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from math import isfinite
from pathlib import Path

from harness.data.limits import NAMES
from harness.errors import UsageError
from harness.tool_faults.draws import KINDS, ToolFaults
from harness.types import Reasoning


def at_least(least: int) -> Callable[[str], int]:
    """An argparse type: a whole number from `least`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
        if value < least:
            raise argparse.ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return parse


def parse_number(text: str) -> float:
    """An argparse type: a finite number."""
    value = _number(text)
    if not isfinite(value):
        raise argparse.ArgumentTypeError(f"must be a finite number, not {text}")
    return value


def parse_positive(text: str) -> float:
    """An argparse type: a number above 0."""
    value = _number(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be a number above 0, not {text}")
    return value


def parse_temperature(text: str) -> float:
    """An argparse type: a sampling temperature from 0."""
    value = _number(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return value


def parse_share(text: str) -> float:
    """An argparse type: a number from 0 to 1."""
    value = _number(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"must be from 0 to 1, not {text}")
    return value


def parse_mass(text: str) -> float:
    """An argparse type: a share of the probability above 0, to 1."""
    value = _number(text)
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 and at most 1, not {text}")
    return value


def parse_penalty(text: str) -> float:
    """An argparse type: a penalty from -2 to 2."""
    value = _number(text)
    if not -2 <= value <= 2:
        raise argparse.ArgumentTypeError(f"must be from -2 to 2, not {text}")
    return value


def parse_tool_faults(text: str) -> ToolFaults:
    """An argparse type: P or P:KIND."""
    share, colon, kind = text.partition(":")
    if colon and kind not in KINDS:
        raise argparse.ArgumentTypeError(f"{kind!r} is none of {', '.join(KINDS)}")
    return ToolFaults(parse_share(share), tuple(one for one in KINDS if one == kind) if colon else KINDS)


def parse_reasoning(text: str) -> tuple[Reasoning, ...]:
    """An argparse type: off, on, low, medium, high, budget:N, or both, which are two."""
    match text.split(":"):
        case ["both"]:
            return Reasoning("off"), Reasoning("on")
        case ["off"]:
            return (Reasoning("off"),)
        case ["on"]:
            return (Reasoning("on"),)
        case ["low" | "medium" | "high" as effort]:
            return (Reasoning("on", effort=effort),)
        case ["budget", tokens]:
            return (Reasoning("on", budget=at_least(1)(tokens)),)
    raise argparse.ArgumentTypeError(f"{text!r} is none of off, on, low, medium, high, budget:N, both")


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def parse_pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts as a dict. Raises UsageError for one without a name; the value is never repeated in it."""
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{option} takes NAME=VALUE, and one of those given has no NAME= in front.")
        if name in found:
            raise UsageError(f"{option} gives {name} twice.")
        found[name] = value
    return found


def parse_headers(texts: Sequence[str], option: str) -> dict[str, str]:
    """NAME=VALUE texts as headers. Raises UsageError, in which no value stands."""
    from harness.models.api.headers import read_headers

    pairs = [text.partition("=") for text in texts]
    if not all(equals for _, equals, _ in pairs):
        raise UsageError(f"{option} takes NAME=VALUE, and one of those given has no NAME= in front.")
    found: dict[str, str] = {}
    for name, _, value in pairs:
        read_headers({name: value}, option)
        if name in found:
            raise UsageError(f"{option} gives {name} twice.")
        found[name] = value
    return read_headers(found, option)


def parse_data_paths(texts: Sequence[str]) -> dict[str, Path]:
    """--data NAME=PATH texts as paths."""
    return {name: Path(path) for name, path in parse_pairs(texts, "--data").items()}


def add_trust_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trust-code", action="store_true", help="run the Python files that a run names as its tasks; read them first"
    )


def add_ray_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="on all cores here, or on the Ray cluster at ADDRESS (auto: this machine's); docs/scaling.md",
    )


def add_read_limit_option(parser: argparse.ArgumentParser) -> None:
    """For every command, or each of its kinds: all of them read files that somebody else may have written."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for kind in action.choices.values():
                add_read_limit_option(kind)
            return
    parser.add_argument(
        "--read-limit",
        action="append",
        default=[],
        metavar="NAME=N",
        help=f"read more, or less, of each file, for NAME of {', '.join(NAMES)} (docs/runs.md)",
    )


def add_data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        nargs="+",
        action="extend",
        default=[],
        metavar="NAME=PATH",
        help="where a data set is: paper=FILE, or ftrl=FOLDER for all of the paper's",
    )
