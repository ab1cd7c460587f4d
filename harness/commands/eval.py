"""Evaluate models on tasks: one run directory a model and reasoning mode, then one table."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.options import (
    add_data_option,
    add_user_options,
    at_least,
    load_simulated_user,
    parse_data_paths,
    parse_pairs,
    parse_positive,
    parse_reasoning,
    parse_temperature,
)
from harness.console.text import printable
from harness.errors import UsageError
from harness.types import Limits, Model, Reasoning, Sampling

if TYPE_CHECKING:
    from harness.evaluation.plan import Plan

HELP = "evaluate models on tasks, with the scores' uncertainty, failures and transcripts"
MAX_TURNS = 20
MAX_TOKENS = {"default": 8192, "paper": 1024}
"""New tokens a turn by --settings; the paper gives 1,024 without reasoning (method: interaction and score)."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", nargs="+", action="extend", required=True, metavar="M", help="model names; globs over policy/*")
    add(
        "--tasks",
        nargs="+",
        action="extend",
        required=True,
        metavar="GLOB",
        help="task names, globs, paths of data or task files",
    )
    add_data_option(parser)
    add("--limit", type=at_least(1), metavar="N", help="N samples a task: a seeded, stratified subset")
    add("--samples", nargs="+", action="extend", metavar="ID", help="only these samples")
    add("--epochs", type=at_least(1), default=1, metavar="K", help="play every sample K times (default 1)")
    add("--settings", choices=list(MAX_TOKENS), default="default", help="paper: 1,024 new tokens a turn, not 8,192")
    add("--max-turns", type=at_least(1), metavar="N", help="turns an episode (default 20, or what the benchmark says)")
    add(
        "--temperature",
        type=parse_temperature,
        default=0.0,
        metavar="T",
        help="sampling temperature (eval 0, collect 1)",
    )
    add("--max-tokens", type=at_least(1), metavar="N", help="new tokens a turn")
    add("--max-episode-tokens", type=at_least(1), metavar="N", help="output tokens an episode (default: no limit)")
    add("--max-episode-seconds", type=parse_positive, default=3600.0, metavar="S", help="an episode's time (3600)")
    add(
        "--reasoning",
        type=parse_reasoning,
        default=(Reasoning(),),
        metavar="MODE",
        help="off, on, low, medium, high, budget:N (tokens), or both: off and on, compared",
    )
    add(
        "--reasoning-history",
        choices=["none", "last", "all"],
        default="all",
        help="whose reasoning goes back to the model in later turns: no turn's, the last one's, every one's (default)",
    )
    add("--concurrency", type=at_least(1), default=16, metavar="N", help="episodes at once (default 16)")
    add("--seed", type=int, metavar="S", help="seeds subsets, policy/random and, where given, the provider's sampling")
    add("--sandbox", choices=["jail", "weak"], default="jail", help="weak: run tools even where isolation is missing")
    add("--out", type=Path, metavar="DIR", help="run directory (default results/runs/TIME-MODEL)")
    add("--resume", action="store_true", help="go on with the run in --out")
    add("--max-cost", type=parse_positive, metavar="USD", help="begin no episode once this much is spent")
    add("--max-tokens-total", type=at_least(1), metavar="N", help="begin no episode once so many tokens are used")
    add("--prices", type=Path, metavar="FILE", help="what tokens cost, as TOML (default ~/.config/harness/prices.toml)")
    add("--dry-run", action="store_true", help="estimate requests, tokens and cost; send nothing")
    add("--base-url", metavar="URL", help="the endpoint's base URL (also OPENAI_BASE_URL, ANTHROPIC_BASE_URL)")
    add("--model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="options of the model's backend")
    add("--quiet", action="store_true", help="no progress bar")
    add_user_options(parser.add_argument_group("simulated user", "the other side of a conversation, as in taubench_*"))


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is played if the input is bad."""
    if args.resume and args.out is None:
        raise UsageError("--resume needs --out: the directory of the run to go on with.")
    return play_plan(args, make_plan(args))


def play_plan(args: argparse.Namespace, plan: Plan) -> int:
    """Plays what was planned and reports. Returns the exit status."""
    from harness.evaluation import cost
    from harness.evaluation.command import Evaluation, reasoning_modes_of
    from harness.models import ModelOptions, expand_names, is_free, load_models
    from harness.redaction import Redactor
    from harness.runs.prices import Budget, price_of
    from harness.sandbox import SandboxConfig

    if args.base_url is not None and not args.base_url.strip():
        raise UsageError("--base-url is empty: give the endpoint's URL, or leave the option out.")
    names = expand_names(args.model)
    redact = Redactor()
    given = parse_pairs(args.model_arg, "--model-arg")
    models = load_models(names, ModelOptions(given, args.base_url, args.concurrency, args.seed, redact=redact))
    models = _able(models, plan, named={pattern for pattern in args.model if "*" not in pattern})
    reasonings = [replace(mode, history=args.reasoning_history) for mode in args.reasoning]
    found = {model.name: price_of(model.name, args.prices, os.environ) for model in models}
    prices = {name: price for name, price in found.items() if price is not None}
    unpriced = [name for name in found if name not in prices and not is_free(name)]
    if args.max_cost is not None and unpriced:
        raise UsageError(f"--max-cost needs a price of {unpriced[0]}: write one into a file and name it with --prices.")
    user = load_simulated_user(args, plan, models, redact)
    user_price = price_of(user.model.name, args.prices, os.environ) if user else None
    if args.max_cost is not None and user and user_price is None and not is_free(user.model.name):
        raise UsageError(f"--max-cost needs a price of {user.model.name} too, which plays the user (--prices).")
    if args.dry_run:
        runs = [(model, reasoning_modes_of(model, reasonings, len(models) > 1)) for model in models]
        print(printable(cost.format_estimates(plan, runs, prices)))
        return 0
    return Evaluation(
        plan=plan,
        models=models,
        reasonings=reasonings,
        out=args.out or _default_out(models),
        resume=args.resume,
        quiet=args.quiet,
        concurrency=args.concurrency,
        sandbox=SandboxConfig(mode=args.sandbox),
        redact=redact,
        budget=Budget(args.max_tokens_total, args.max_cost),
        prices=prices,
        user=user,
        user_price=user_price,
    ).run()


def _default_out(models: Sequence[Model]) -> Path:
    time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    label = models[0].name.replace("/", "-") if len(models) == 1 else f"{len(models)}-models"
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


def make_plan(args: argparse.Namespace) -> Plan:
    """What the arguments ask to play. Raises UsageError for tasks and samples that are not there."""
    from harness.evaluation.plan import Plan, select_samples, select_subset
    from harness.registry import groups_of, is_path, load_samples, select_tasks, split_patterns, tables_of

    data = parse_data_paths(args.data)
    tasks = select_tasks(args.tasks, data)
    samples = load_samples(tasks)
    tasks = [task for task in tasks if task.name in samples]
    if args.samples:
        samples = select_samples(samples, args.samples)
        tasks = [task for task in tasks if samples[task.name]]
        samples = {task.name: samples[task.name] for task in tasks}
    seed = args.seed or 0
    return Plan(
        tasks=tasks,
        samples={name: select_subset(chosen, name, args.limit, seed) for name, chosen in samples.items()},
        groups=groups_of(tasks, data),
        tables=tables_of(tasks, data),
        sampling=Sampling(args.temperature, args.max_tokens or MAX_TOKENS[args.settings], args.seed),
        limits=Limits(args.max_turns or MAX_TURNS, args.max_episode_tokens, args.max_episode_seconds),
        epochs=args.epochs,
        seed=seed,
        sources={
            "tasks": [str(Path(part).resolve()) if is_path(part) else part for part in split_patterns(args.tasks)],
            "data": {name: str(path.resolve()) for name, path in data.items()},
        },
        turns={task.name: task.max_turns for task in tasks if task.max_turns and args.max_turns is None},
    )
