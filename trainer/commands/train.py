"""Train a model on environments, by a recipe.

--regime episode: whole episodes, rewarded at their end. --regime step: turn by turn. Both are judged by
the evaluation's own verifier. --regime sft: supervised warm-up of a small network on what a demonstrator with
documented flaws plays; a new network is made where no --model is given, any chat model that hf/ plays can be.
--regime dpo: the model plays each environment several times and learns which of its attempts to prefer.

    harness train --recipe tiny --model bundled/tiny-base --out trained

--dry-run prints what that would take, memory a GPU by part, tokens and operations a step, and makes nothing: a model
directory needs no more than its config.json for it.

What is not said is the recipe's, or the regime's default. An interrupted run goes on with --resume.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from harness.commands.options import (
    add_data_option,
    add_trust_option,
    at_least,
    parse_data_paths,
    parse_pairs,
    parse_positive,
)
from harness.console.text import printable
from harness.errors import UsageError
from trainer.recipes import OPTIONS, names
from trainer.rl.algorithms import join_algorithm_names

HELP = "train a model on environments, by a recipe"
REGIMES = ("step", "episode", "sft", "dpo")
MODEL_ARGS = ("chat_template", "format")


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--regime",
        choices=REGIMES,
        help="what is rewarded: turns, whole episodes; or (sft) demonstrations imitated, (dpo) own attempts preferred",
    )
    add("--recipe", metavar="R", help=f"a path to a TOML file, or a recipe's name: {', '.join(names())}")
    add(
        "--model",
        metavar="M",
        help="go on from hf/PATH, a directory or GGUF file, or bundled/NAME (sft only: default a new network)",
    )
    add(
        "--tasks",
        nargs="+",
        action="extend",
        default=[],
        metavar="T",
        help="training tasks or files (default: built by the recipe)",
    )
    add("--algorithm", metavar="A", help=join_algorithm_names())
    add("--reward", metavar="R", help="the reward's name (default: mended_f1 a step, episode_f1 an episode)")
    add(
        "--loops",
        type=at_least(1),
        metavar="N",
        help="of dpo: play, pair and train N times, until validation is no better (default 1)",
    )
    add("--out", type=Path, metavar="DIR", help="the run directory; DIR/model is the result")
    add(
        "--dry-run", action="store_true", help="print memory, tokens and operations; train nothing, --out is not needed"
    )
    add("--processes", type=at_least(1), metavar="N", help="with --dry-run: how many a launcher would start, one a GPU")
    add("--flops", type=parse_positive, metavar="F", help="with --dry-run: operations that a GPU makes in a second")
    add_data_option(parser)
    add("--model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="chat_template=FILE, format=NAME")
    add("--set", nargs="+", action="extend", default=[], metavar="K=V", help="single values of the recipe")
    add("--resume", action="store_true", help="go on with an interrupted run in DIR")
    add_trust_option(parser)
    add("--quiet", action="store_true", help="no progress bar, and no lines in a log")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is built if the input is bad."""
    from trainer.recipes.run import TrainingRequest, train_by_recipe

    check_options(args)
    said = {name: str(value) for name in OPTIONS if (value := getattr(args, name)) is not None}
    said |= read_model_args(args.model_arg)
    request = TrainingRequest(
        recipe=args.recipe,
        changes={**parse_pairs(args.set, "--set"), **said},
        regime=args.regime,
        model=args.model,
        tasks=args.tasks,
        data=parse_data_paths(args.data),
        out=args.out or Path(),
        command=repeat_command(args),
        resume=args.resume,
        quiet=args.quiet,
        trust_code=args.trust_code,
    )
    if args.dry_run:
        from trainer.estimate.run import estimate_training

        told = estimate_training(request, args.processes, args.flops)
    else:
        told = train_by_recipe(request)
    if told:
        print(printable(told))
    return 0


def check_options(args: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together."""
    if args.dry_run:
        return
    if args.out is None:
        raise UsageError("--out is missing: name a run directory; only --dry-run goes without.")
    if args.processes is not None or args.flops is not None:
        raise UsageError("--processes and --flops are for --dry-run; a launcher starts several processes.")


def read_model_args(given: Sequence[str]) -> dict[str, str]:
    """What --model-arg says, which are values of the recipe here. Raises UsageError for others than MODEL_ARGS."""
    found = parse_pairs(given, "--model-arg")
    if unknown := [name for name in found if name not in MODEL_ARGS]:
        raise UsageError(f"--model-arg {unknown[0]} is unknown to training; it knows {', '.join(MODEL_ARGS)}.")
    return dict(found)


def repeat_command(args: argparse.Namespace) -> list[str]:
    """The command that gives this run again."""
    words = ["harness", "train"]
    for name in ("regime", "recipe", "model", *OPTIONS):
        words += [f"--{name}", str(value)] if (value := getattr(args, name)) else []
    for name in ("tasks", "data", "model_arg", "set"):
        words += [f"--{name.replace('_', '-')}", *value] if (value := getattr(args, name)) else []
    return words
