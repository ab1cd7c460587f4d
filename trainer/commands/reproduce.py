"""Reproduce a trained row of the paper's Table 2: three rounds of collecting and training, then its eight columns.

Every step is a command that could be run by itself; --dry-run prints them. An interrupted reproduction goes on with
--resume, at the episode or checkpoint where it was. A column whose data is missing is a dash, with the reason below the
table. --rehearse runs everything small: bundled/tiny-base instead of the model, a few samples and steps.

    harness reproduce table2 --row qwen3-8b-grpo --data ftrl=FOLDER --dry-run
    harness reproduce table2 --row qwen3-8b-grpo --data ftrl=FOLDER --rehearse --out rehearsal

docs/reproducing.md
"""

from __future__ import annotations

import argparse
from pathlib import Path

from harness.commands.options import add_data_option, parse_data_paths, parse_pairs
from harness.console.text import printable
from harness.errors import UsageError
from trainer.reproduction.rows import PAPER, REHEARSAL, REHEARSED, ROWS, TrainedRow

HELP = "reproduce a trained row of the paper's table, from the weights to the table"
USER = ("--user-model", "--user-base-url")


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("table", choices=["table2"], help="the paper's main table")
    add("--row", choices=list(ROWS), required=True, metavar="ROW", help=f"one of {', '.join(ROWS)}")
    add_data_option(parser)
    add("--model", metavar="PATH", help="the folder with the row's weights; nothing is fetched")
    add("--backend", choices=["vllm", "hf"], default="vllm", help="who plays (default: vllm)")
    add(
        "--trainer",
        choices=["harness", "verl"],
        default="harness",
        help="verl: each round exports its prompts and waits for you to train (default: harness)",
    )
    add("--set", nargs="+", action="extend", default=[], metavar="K=V", help="values of the recipe, in every round")
    add("--user-model", metavar="U", help="who plays tau-bench's customer; without it that column is missing")
    add("--user-base-url", metavar="URL", help="the endpoint of --user-model")
    add(
        "--out",
        type=Path,
        default=Path("reproduced"),
        metavar="DIR",
        help="where everything goes (default: reproduced)",
    )
    add("--resume", action="store_true", help="go on with the reproduction in --out")
    add("--dry-run", action="store_true", help="print the commands, and run none")
    add("--rehearse", action="store_true", help="everything small, to see it run: minutes on two cores")
    add("--quiet", action="store_true", help="no progress bars")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is run if the input is bad."""
    from trainer.recipes.load import load_recipe
    from trainer.reproduction.plan import BENCHMARKS, Reproduction, find_missing, find_nothing_to_train_on, plan_steps
    from trainer.reproduction.run import call_harness, describe_plan, reproduce

    row: TrainedRow = ROWS[args.row]
    changes = parse_pairs(args.set, "--set")
    if args.trainer == "verl" and (changes or args.rehearse):
        raise UsageError("--set and --rehearse are for --trainer harness; verl's settings go to launch.sh.")
    request = Reproduction(
        row=row,
        weights=find_weights(args, row),
        data=parse_data_paths(args.data),
        out=args.out,
        backend="hf" if args.rehearse else args.backend,
        trainer=args.trainer,
        user=user_words(args),
        changes=changes,
        sizes=REHEARSAL if args.rehearse else PAPER,
        quiet=args.quiet,
    )
    load_recipe(row.recipe, {"algorithm": row.algorithm, **request.sizes.train, **changes})  # days before it is used
    missing = find_missing(request)
    steps = plan_steps(request, missing)
    if args.dry_run:
        print(printable(describe_plan(request, steps, missing)))
        return 0
    if why := find_nothing_to_train_on(request):
        raise UsageError(why)
    if len(missing) == len(BENCHMARKS):
        raise UsageError(f"No column of the table can be played, so nothing is trained: {next(iter(missing.values()))}")
    return reproduce(request, steps, missing, args.resume, call_harness)


def find_weights(args: argparse.Namespace, row: TrainedRow) -> str:
    """The weights to begin with. Raises UsageError where none are named, or there are none."""
    from trainer.recipes.run import find_initial_weights

    if args.rehearse:
        return str(args.model or REHEARSED)
    if args.model is None:
        if args.dry_run:
            return row.weights.rpartition("/")[2]
        raise UsageError(f"--model is missing: the folder with the weights of {row.weights}.")
    if not args.dry_run:
        find_initial_weights(args.model, {})
    return str(args.model)


def user_words(args: argparse.Namespace) -> list[str]:
    """The words that name tau-bench's user; a rehearsal has the scripted one."""
    if args.user_model is None:
        if args.user_base_url is not None:
            raise UsageError("--user-base-url needs --user-model, which it belongs to.")
        return ["--user-model", "policy/scripted"] if args.rehearse else []
    words = ["--user-model", args.user_model]
    return words + (["--user-base-url", args.user_base_url] if args.user_base_url else [])
