"""Who plays the simulated user of a command: its options, and the model that they name."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from harness.commands.options import at_least, pairs, temperature
from harness.errors import UsageError
from harness.types import Model, Sampling, SimulatedUser

if TYPE_CHECKING:
    from harness.evaluate import Plan
    from harness.redaction import Redactor

MAX_TOKENS = 2048


def add_user_options(group: Any) -> None:
    """The options, on an argument group."""
    add = group.add_argument
    add("--user-model", metavar="M", help="who plays it; without it reference policies meet a scripted one")
    add("--user-base-url", metavar="URL", help="the endpoint of --user-model (default: as for models)")
    add("--user-model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="options of its backend")
    add("--user-temperature", type=temperature, metavar="T", help="its temperature (default 0)")
    add("--user-max-tokens", type=at_least(1), metavar="N", help=f"its new tokens a message ({MAX_TOKENS})")
    add("--user-seed", type=int, metavar="S", help="its seed; each episode has its own from it")


def user_of(args: argparse.Namespace, plan: Plan, models: Sequence[Model], redact: Redactor) -> SimulatedUser | None:
    """The user that was named; None where none was, which only reference policies can do with.

    Raises UsageError where one is needed and not named, or the other way round, and for names that are wrong.
    """
    from harness.models import ModelOptions, expand, is_policy, load_all

    simulated = [task.name for task in plan.tasks if task.scripted_user is not None]
    if args.user_model is None:
        _refuse_without(args, simulated, [model.name for model in models])
        return None
    if not simulated:
        raise UsageError(f"--user-model {args.user_model} has nobody to play: none of these tasks simulates a user.")
    names = expand([args.user_model])
    if len(names) > 1 or is_policy(names[0]):
        raise UsageError(f"--user-model takes one model that can talk, not {args.user_model!r}.")
    given = pairs(args.user_model_arg, "--user-model-arg")
    base_url = args.user_base_url or args.base_url
    (model,) = load_all(names, ModelOptions(given, base_url, args.concurrency, args.user_seed, redact=redact))
    return SimulatedUser(
        model, Sampling(args.user_temperature or 0.0, args.user_max_tokens or MAX_TOKENS, args.user_seed)
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
