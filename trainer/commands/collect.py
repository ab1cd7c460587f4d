"""Collect training prompts: a model plays training environments, and each episode is cut after every turn.

DIR is an ordinary run directory, as `harness eval` writes it, plus DIR/prefixes.jsonl (or .parquet): the prompt of each
environment and every state that the model got into, with what is still unsolved there, one record each. The file is
made of the run's stored episodes at the end, so --resume with other filters makes it anew without playing again.

With --branch, a network plays further attempts in DIR/branches, which begin where an earlier one hesitated.

The options are those of `harness eval`, for one model in one reasoning mode, at temperature 1 unless said otherwise.
Test environments are refused.
"""

from __future__ import annotations

import argparse
from importlib.util import find_spec

from harness.commands import eval as evaluation
from harness.commands.options import at_least, parse_share
from harness.errors import UsageError
from harness.extras import install_command

HELP = "play training environments with a model and cut the episodes into training prompts"
TEMPERATURE = 1.0
"""The paper's, for collecting (method: interaction and score)."""
FORMATS = ("jsonl", "parquet")


def configure(parser: argparse.ArgumentParser) -> None:
    evaluation.configure(parser)
    parser.set_defaults(temperature=TEMPERATURE)
    add = parser.add_argument_group("training prompts").add_argument
    add("--format", choices=FORMATS, default="jsonl", help="of the prompts' file (parquet needs the data extra)")
    add("--rule", choices=["strict", "paper"], default="strict", help="which rule says what is unsolved")
    add(
        "--keep",
        choices=["all", "unsolved", "solved", "breakpoints"],
        default="all",
        help="all prompts, those with something unsolved, those with nothing unsolved, or of each episode the state "
        "from which it has something to mend",
    )
    add("--max-prompt-characters", type=at_least(1), metavar="N", help="leave out longer prompts, tools included")
    add(
        "--min-solved",
        type=parse_share,
        default=0.0,
        metavar="SHARE",
        help="at least this share with nothing unsolved: others are left out, as --seed decides",
    )
    add(
        "--branch",
        choices=["entropy"],
        help="play further attempts from the turns whose first tokens had the highest entropy (hf/ and bundled/)",
    )
    add("--branches", type=at_least(1), metavar="N", help="further attempts an environment (default 1)")


def run(args: argparse.Namespace) -> int:
    """Plays as `harness eval` does, then writes the prompts. Raises UsageError before anything is played."""
    from harness.evaluation.from_options import make_plan, play_plan
    from trainer.branches import open_network, play_branches
    from trainer.collection import check_plan, has_episodes, require_one_model, write_prompts
    from trainer.prefixes import PrefixFilter

    check_options(args)
    options = evaluation.read_options(args)
    require_one_model(args.model)
    plan = make_plan(options)
    check_plan(plan, options.data)
    network = None if args.branch is None else open_network(options)
    status = play_plan(options, plan)
    if args.dry_run or not has_episodes(args.out):
        return status
    if network is not None:
        status = max(status, play_branches(options, plan, network))
    filters = PrefixFilter(args.keep, args.max_prompt_characters, args.min_solved, args.seed or 0)
    return max(status, write_prompts(args.out, plan, args.rule, filters, args.format))


def check_options(args: argparse.Namespace) -> None:
    """Raises UsageError for options that do not go together, and where what they need is not installed."""
    if args.out is None:
        raise UsageError("--out is missing: the directory for the episodes and the prompts.")
    if len(args.reasoning) > 1:
        raise UsageError("--reasoning both is for comparisons; collect with off or on.")
    if args.keep == "unsolved" and args.min_solved:
        raise UsageError("--keep unsolved leaves nothing for --min-solved; leave one of them out.")
    if args.branches and not args.branch:
        raise UsageError("--branches is how many there are of --branch entropy; give that too.")
    if args.format == "parquet" and find_spec("pyarrow") is None:
        raise UsageError(f"--format parquet needs the data extra: {install_command('data')}.")
