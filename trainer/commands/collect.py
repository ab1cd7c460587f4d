"""Collect training prompts: a model plays training environments, and each episode is cut after every turn.

DIR is an ordinary run directory, as `harness eval` writes it, plus DIR/prefixes.jsonl (or .parquet): the prompt of each
environment and every state that the model got into, with what is still unsolved there, one record each. The file is
made of the run's stored episodes at the end, so --resume with other filters makes it anew without playing again.

The options are those of `harness eval`, for one model in one reasoning mode, at temperature 1 unless said otherwise.
Test environments are refused.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from harness.commands import eval as evaluation
from harness.commands.options import at_least, parse_share
from harness.console.text import printable
from harness.environment import ToolEnvironment
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.evaluation.plan import Plan
    from harness.runs.directory import RunDirectory
    from trainer.prefixes import Prefix

HELP = "play training environments with a model and cut the episodes into training prompts"
TEMPERATURE = 1.0
"""The paper's, for collecting (method: interaction and score)."""
FORMATS = {"jsonl": "prefixes.jsonl", "parquet": "prefixes.parquet"}


def configure(parser: argparse.ArgumentParser) -> None:
    evaluation.configure(parser)
    parser.set_defaults(temperature=TEMPERATURE)
    add = parser.add_argument_group("training prompts").add_argument
    add("--format", choices=list(FORMATS), default="jsonl", help="of the prompts' file (parquet needs the data extra)")
    add("--rule", choices=["strict", "paper"], default="strict", help="which rule says what is unsolved")
    add(
        "--keep",
        choices=["all", "unsolved", "solved"],
        default="all",
        help="all prompts, those with something unsolved, or those with nothing unsolved",
    )
    add("--max-prompt-characters", type=at_least(1), metavar="N", help="leave out longer prompts, tools included")
    add(
        "--min-solved",
        type=parse_share,
        default=0.0,
        metavar="SHARE",
        help="at least this share with nothing unsolved: others are left out, as --seed decides",
    )


def run(args: argparse.Namespace) -> int:
    """Plays as `harness eval` does, then writes the prompts. Raises UsageError before anything is played."""
    from harness.evaluation.from_options import make_plan, play_plan
    from trainer.prefixes import refuse_test_data

    _check(args)
    options = evaluation.read_options(args)
    plan = make_plan(options)
    refuse_test_data(plan.tasks, plan.samples, options.data)
    _check_tasks(plan)
    status = play_plan(options, plan)
    return status if args.dry_run else max(status, _write(args, plan))


def _check(args: argparse.Namespace) -> None:
    from harness.models import expand_names

    if args.out is None:
        raise UsageError("--out is missing: the directory for the episodes and the prompts.")
    if len(names := expand_names(args.model)) > 1:
        raise UsageError(f"One model collects, not {len(names)}: name one, and run the command again for another.")
    if len(args.reasoning) > 1:
        raise UsageError("--reasoning both is for comparisons; collect with off or on.")
    if args.keep == "unsolved" and args.min_solved:
        raise UsageError("--keep unsolved leaves nothing for --min-solved; leave one of them out.")
    if args.format == "parquet":
        _check_parquet()


def _check_parquet() -> None:
    from importlib.util import find_spec

    if find_spec("pyarrow") is None:
        raise UsageError("--format parquet needs the data extra: pip install 'tool-harness[data]'.")


def _check_tasks(plan: Plan) -> None:
    """A prompt must hold all that the next turn depends on, and something must be there to reward."""
    for task in plan.tasks:
        for sample in plan.samples[task.name]:
            if not isinstance(task.environment(sample), ToolEnvironment):
                raise UsageError(f"{task.name} has an environment with a state, which no prompt holds; leave it out.")
            if not sample.codes or not any(sample.gold.sub_answers.values()):
                raise UsageError(f"{task.name}, sample {sample.id!r} has no tools or no sub-answers; leave it out.")


# --- from the run to the file ------------------------------------------------------------------------------------


def _write(args: argparse.Namespace, plan: Plan) -> int:
    """Writes the prompts of the run's episodes. Returns 1 where the filters leave none."""
    from harness.data.files import write_rows
    from harness.runs.claims import lock_directory
    from harness.runs.directory import RunDirectory
    from trainer.prefixes import PrefixFilter, drop_duplicates, prefix_to_record

    filters = PrefixFilter(args.keep, args.max_prompt_characters, args.min_solved, args.seed or 0)
    directory = RunDirectory.open(args.out)
    with lock_directory(directory.path):
        cut = list(_cut(directory, plan, args.rule))
        different = list(drop_duplicates(cut))
        kept = filters(different)
        if not kept:
            print("No prompt passes these filters; no file was written or replaced.", file=sys.stderr)
            return 1
        for name in FORMATS.values():
            (directory.path / name).unlink(missing_ok=True)
        path = directory.path / FORMATS[args.format]
        rows = map(prefix_to_record, kept)
        write_rows(path, rows if args.format == "jsonl" else map(_flat, rows))
    solved = sum(not prefix.unsolved_count for prefix in kept)
    print(printable(f"Training prompts: {path}: {len(kept)}, {solved} of them with nothing unsolved"))
    print(
        f"({len(cut)} states of episodes, {len(different)} different, {len(different) - len(kept)} left out by filters)"
    )
    return 0


def _cut(directory: RunDirectory, plan: Plan, rule: str) -> Iterator[Prefix]:
    """Every prefix of every episode, in (task, sample, epoch, turn) order."""
    from harness.runs.record import to_trajectory
    from trainer.prefixes import cut_prefixes

    samples = {(task, sample.id): sample for task, chosen in plan.samples.items() for sample in chosen}
    for record in directory.read_records():
        sample = samples[record["task"], record["sample"]]
        played = to_trajectory(record)
        yield from cut_prefixes(
            record["task"], sample, played, record["epoch"], "paper" if rule == "paper" else "strict"
        )


def _flat(row: dict[str, object]) -> dict[str, object]:
    """A row for Parquet: messages as a JSON string too, because they do not all have the same fields."""
    return {**row, "messages": json.dumps(row["messages"], ensure_ascii=False)}
