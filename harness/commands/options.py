"""Command-line values that several commands take, and their errors."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import UsageError
from harness.types import Model, Reasoning, Sampling, SimulatedUser

if TYPE_CHECKING:
    from harness.evaluation.plan import Plan
    from harness.redaction import Redactor

USER_MAX_TOKENS = 2048
"""New tokens a turn of a simulated user, unless said otherwise."""


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


def parse_data_paths(texts: Sequence[str]) -> dict[str, Path]:
    """--data NAME=PATH texts as paths."""
    return {name: Path(path) for name, path in parse_pairs(texts, "--data").items()}


def add_data_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", nargs="+", action="extend", default=[], metavar="NAME=PATH", help="where a data set is: paper=FILE"
    )


def add_user_options(group: Any) -> None:
    """The options, on an argument group."""
    add = group.add_argument
    add("--user-model", metavar="M", help="who plays it; without it reference policies meet a scripted one")
    add("--user-base-url", metavar="URL", help="the endpoint of --user-model (default: as for models)")
    add("--user-model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="options of its backend")
    add("--user-temperature", type=parse_temperature, metavar="T", help="its temperature (default 0)")
    add("--user-max-tokens", type=at_least(1), metavar="N", help=f"its new tokens a message ({USER_MAX_TOKENS})")
    add("--user-seed", type=int, metavar="S", help="its seed; each episode has its own from it")


def load_simulated_user(
    args: argparse.Namespace, plan: Plan, models: Sequence[Model], redact: Redactor
) -> SimulatedUser | None:
    """The user that was named; None where none was, which only reference policies can do with.

    Raises UsageError where one is needed and not named, or the other way round, and for names that are wrong.
    """
    from harness.models import ModelOptions, expand_names, is_policy, load_models

    simulated = [task.name for task in plan.tasks if task.scripted_user is not None]
    if args.user_model is None:
        _refuse_without(args, simulated, [model.name for model in models])
        return None
    if not simulated:
        raise UsageError(f"--user-model {args.user_model} has nobody to play: none of these tasks simulates a user.")
    names = expand_names([args.user_model])
    if len(names) > 1 or is_policy(names[0]):
        raise UsageError(f"--user-model takes one model that can talk, not {args.user_model!r}.")
    given = parse_pairs(args.user_model_arg, "--user-model-arg")
    base_url = args.user_base_url or args.base_url
    (model,) = load_models(names, ModelOptions(given, base_url, args.concurrency, args.user_seed, redact=redact))
    return SimulatedUser(
        model, Sampling(args.user_temperature or 0.0, args.user_max_tokens or USER_MAX_TOKENS, args.user_seed)
    )


def _refuse_without(args: argparse.Namespace, simulated: Sequence[str], models: Sequence[str]) -> None:
    """No user is fine where there is nobody to simulate, or only reference policies to talk to."""
    from harness.models import is_policy

    given = [
        args.user_base_url,
        args.user_model_arg or None,
        args.user_temperature,
        args.user_max_tokens,
        args.user_seed,
    ]
    if any(value is not None for value in given):
        raise UsageError("The other --user-... options need --user-model, which they belong to.")
    talking = [name for name in models if not is_policy(name)]
    if simulated and talking:
        raise UsageError(
            f"{simulated[0]} simulates a user, and {talking[0]} needs somebody to talk to: name one with --user-model."
        )
