"""From the options of `harness eval` to what is played: the plan, the models, the simulated user, and prices.

The options are what harness.commands.eval.read_options returns. Everything that they get wrong is a UsageError.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from harness.console.text import printable
from harness.errors import UsageError
from harness.evaluation import cost
from harness.evaluation.command import Evaluation, reasoning_modes_of
from harness.evaluation.descriptors import fit_concurrency
from harness.evaluation.plan import Plan, check_sampling, plan_tasks, sources_of
from harness.evaluation.run_tasks import admit_recorded
from harness.models import ModelOptions, expand_names, is_free, is_policy, load_models
from harness.redaction import Redactor
from harness.registry import select_tasks
from harness.runs.names import directory_name
from harness.runs.prices import Budget, price_of
from harness.sandbox import SandboxConfig, ToolLimits
from harness.tool_faults import ToolFaults, check_tools
from harness.types import SAMPLING_OPTIONS, Limits, Model, Sampling, SimulatedUser

MAX_TURNS = 20
MAX_TOKENS = {"default": 8192, "paper": 1024}
"""New tokens a turn by --settings; the paper gives 1,024 without reasoning (method: interaction and score)."""
TOOL_LIMITS = {
    "max_turn_calls": "turn_calls",
    "max_turn_seconds": "turn_seconds",
    "max_tool_seconds": "episode_seconds",
    "max_turn_output": "turn_bytes",
    "max_tool_output": "episode_bytes",
    "max_tool_processes": "processes",
    "max_tool_memory": "process_bytes",
    "max_tool_files": "descriptors",
}
"""Options to fields of ToolLimits."""
SCRIPTED_USER = "policy/scripted"
"""The user that reference policies meet, asked for by name: free, and the same for every model."""
USER_MAX_TOKENS = 2048
"""New tokens a turn of a simulated user, unless said otherwise."""


def make_plan(args: argparse.Namespace) -> Plan:
    """What the options ask to play. Raises UsageError for tasks and samples that are not there."""
    tasks = select_tasks(args.tasks, args.data, admit_recorded(args.out))
    plan = plan_tasks(tasks, args.data, args.samples or (), args.limit, args.seed or 0)
    return replace(
        plan,
        sampling=Sampling(
            args.temperature,
            args.max_tokens or MAX_TOKENS[args.settings],
            args.seed,
            **{name: getattr(args, name) for name in SAMPLING_OPTIONS},
        ),
        limits=Limits(args.max_turns or MAX_TURNS, args.max_episode_tokens, args.max_episode_seconds),
        epochs=args.epochs,
        sources=sources_of(args.tasks, args.data),
        turns=plan.turns if args.max_turns is None else {},
    )


def play_plan(args: argparse.Namespace, plan: Plan) -> int:
    """Plays what was planned and reports. Returns the exit status."""
    if args.base_url is not None and not args.base_url.strip():
        raise UsageError("--base-url is empty: give the endpoint's URL, or leave the option out.")
    if args.ray_keys and args.ray is None:
        raise UsageError("--ray-keys sends variables to where --ray plays: give --ray too, or leave it out.")
    names = expand_names(args.model)
    args.concurrency = fit_concurrency(args.concurrency) if args.ray is None else args.concurrency
    redact = Redactor()
    own = "--max-tokens" if args.max_tokens else None
    options = ModelOptions(args.model_arg, args.base_url, args.concurrency, args.seed, redact=redact)
    models = load_models(names, replace(options, headers=args.header, max_tokens_option=own))
    models = _able(models, plan, named={pattern for pattern in args.model if "*" not in pattern})
    reasonings = [replace(mode, history=args.reasoning_history) for mode in args.reasoning]
    found = {model.name: price_of(model.name, args.prices, os.environ) for model in models}
    prices = {name: price for name, price in found.items() if price is not None}
    unpriced = [name for name in found if name not in prices and not is_free(name)]
    if args.max_cost is not None and unpriced:
        raise UsageError(f"--max-cost needs a price of {unpriced[0]}: write one into a file and name it with --prices.")
    user = _load_user(args, plan, models, redact)
    user_price = price_of(user.model.name, args.prices, os.environ) if user else None
    if args.max_cost is not None and user and user_price is None and not is_free(user.model.name):
        raise UsageError(f"--max-cost needs a price of {user.model.name} too, which plays the user (--prices).")
    for model in models:
        check_sampling(model, plan.sampling)
    faults = _faults_of(args, plan)
    if args.dry_run:
        runs = [(model, reasoning_modes_of(model, reasonings, len(models) > 1)) for model in models]
        print(printable(cost.format_estimates(plan, runs, prices)))
        return 0
    evaluation = Evaluation(
        plan=plan,
        models=models,
        reasonings=reasonings,
        out=args.out or _default_out(models),
        resume=args.resume,
        quiet=args.quiet,
        concurrency=args.concurrency,
        sandbox=SandboxConfig(mode=args.sandbox, limits=tool_limits_of(args)),
        redact=redact,
        budget=Budget(args.max_tokens_total, args.max_cost),
        prices=prices,
        user=user,
        user_price=user_price,
        max_wait=args.max_wait,
        faults=faults,
    )
    if args.ray is None:
        return evaluation.run()
    from harness.evaluation.crew_options import run_with_crews

    return run_with_crews(args, evaluation)


def _faults_of(args: argparse.Namespace, plan: Plan) -> ToolFaults | None:
    """None where nothing is to fail. Raises UsageError for tasks whose tools cannot."""
    asked: ToolFaults | None = args.tool_faults
    if asked is None or not asked.probability:
        return None
    check_tools(plan.samples)
    return replace(asked, seed=plan.seed)


def tool_limits_of(args: argparse.Namespace) -> ToolLimits:
    """Those that were given, the others at their defaults."""
    given = {name: getattr(args, option) for option, name in TOOL_LIMITS.items()}
    return replace(ToolLimits(), **{name: value for name, value in given.items() if value is not None})


def _default_out(models: Sequence[Model]) -> Path:
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    label = directory_name(models[0].name) if len(models) == 1 else f"{len(models)}-models"
    path = Path("results") / "runs" / f"{time}-{label}"
    again = (path.with_name(f"{path.name}-{number}") for number in count(2))
    return path if not path.exists() else next(other for other in again if not other.exists())


def _able(models: list[Model], plan: Plan, named: set[str]) -> list[Model]:
    """The models that can play the plan. One that a glob brought in is left out aloud; one that was named, or when
    none is left, is an error."""
    samples = [sample for chosen in plan.samples.values() for sample in chosen]
    able: list[Model] = []
    reason: UsageError | None = None
    for model in models:
        try:
            model.check(samples)
            able.append(model)
        except UsageError as error:
            if model.name in named:
                raise
            reason = error
            print(printable(f"Left out {model.name}: {error}"), file=sys.stderr)
    if reason is not None and not able:
        raise reason
    return able


def _load_user(args: argparse.Namespace, plan: Plan, models: Sequence[Model], redact: Redactor) -> SimulatedUser | None:
    """The user that was named; None where none was, which only reference policies can do with.

    Raises UsageError where one is needed and not named, or the other way round, and for names that are wrong.
    """
    simulated = [task.name for task in plan.tasks if task.scripted_user is not None]
    if args.user_model is None:
        _refuse_without(args, simulated, [model.name for model in models])
        return None
    if not simulated:
        raise UsageError(f"--user-model {args.user_model} has nobody to play: none of these tasks simulates a user.")
    if args.user_model == SCRIPTED_USER:
        if _says_more_of_user(args):
            raise UsageError(f"--user-model {SCRIPTED_USER} takes none of the other --user-... options.")
        return None
    names = expand_names([args.user_model])
    if len(names) > 1 or is_policy(names[0]):
        raise UsageError(f"--user-model takes one model that can talk, not {args.user_model!r}.")
    base_url = args.user_base_url or args.base_url
    own = "--user-max-tokens" if args.user_max_tokens else None
    options = ModelOptions(args.user_model_arg, base_url, args.concurrency, args.user_seed, redact=redact)
    (model,) = load_models(names, replace(options, headers=args.user_header, max_tokens_option=own))
    return SimulatedUser(
        model, Sampling(args.user_temperature or 0.0, args.user_max_tokens or USER_MAX_TOKENS, args.user_seed)
    )


def _refuse_without(args: argparse.Namespace, simulated: Sequence[str], models: Sequence[str]) -> None:
    """No user is fine where there is nobody to simulate, or only reference policies to talk to."""
    if _says_more_of_user(args):
        raise UsageError("The other --user-... options need --user-model, which they belong to.")
    talking = [name for name in models if not is_policy(name)]
    if simulated and talking:
        raise UsageError(
            f"{simulated[0]} simulates a user, and {talking[0]} needs somebody to talk to: name one with --user-model."
        )


def _says_more_of_user(args: argparse.Namespace) -> bool:
    """Whether any option but --user-model says something of the user."""
    given = [
        args.user_base_url,
        args.user_model_arg or None,
        args.user_header or None,
        args.user_temperature,
        args.user_max_tokens,
        args.user_seed,
    ]
    return any(value is not None for value in given)
