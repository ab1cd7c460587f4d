"""Preference pairs from runs in which a model played environments several times: one attempt preferred to another.

By the share of its attempts that are right an environment is easy (right with the fewest calls over right with more,
and over wrong), hard (the longest right over the shortest wrong), or neither, and then gives none. Each row says why.
Test environments are refused. docs/collecting.md
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from harness.commands.options import add_trust_option, parse_number, parse_share
from harness.console.text import printable
from harness.errors import UsageError

HELP = "preference pairs from runs with several epochs, each with its reason"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("run", type=Path, nargs="+", metavar="RUN", help="run directories of one model, played with --epochs K")
    add("--out", type=Path, required=True, metavar="FILE", help="where the pairs go: a .jsonl file")
    add("--metric", default="", metavar="NAME", help="what says that an attempt is right (default: the right answer)")
    add("--least", type=parse_number, default=1.0, metavar="X", help="from which value of it (default 1)")
    add("--easy", type=parse_share, default=0.7, metavar="SHARE", help="easy from this share of right attempts (0.7)")
    add("--hard", type=parse_share, default=0.4, metavar="SHARE", help="hard up to this share (0.4)")
    add("--random-positives", action="store_true", help="prefer any right attempt, as a control")
    add("--seed", type=int, default=0, metavar="S", help="draws these")
    add_trust_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for runs that give no pairs by what they are; returns 1 where the rules find none in them."""
    from harness.data.files import write_rows
    from trainer.outputs import check_output
    from trainer.pairs import REASONS, PairRules, read_paired_runs

    if args.hard >= args.easy:
        raise UsageError("--hard must be below --easy: no environment is both.")
    if args.out.suffix != ".jsonl":
        raise UsageError(f"--out {args.out} is no .jsonl file; name one.")
    check_output(args.out, args.run)
    rules = PairRules(args.metric, args.least, args.easy, args.hard, args.random_positives, args.seed)
    found = read_paired_runs(args.run, rules, args.trust_code)
    choices = found.choose(rules)
    if not choices:
        right = [attempt.right for attempts in found.attempts.values() for attempt in attempts]
        print(
            f"No environment gives a pair by these rules; no file was written. {sum(right):,} of {len(right):,} "
            f"attempts at {len(found.attempts):,} environments are right; a pair needs a right one beside another."
        )
        return 1
    args.out.parent.mkdir(parents=True, exist_ok=True)
    write_rows(args.out, found.rows(choices))
    counts = Counter(reason for *_, reason in choices)
    environments = len({(chosen.result.task, chosen.result.sample) for chosen, *_ in choices})
    print(printable(f"Pairs: {args.out}: {len(choices)}, from {environments} of {len(found.attempts)} environments"))
    print("\n".join(f"{counts[reason]:6}  {words}" for reason, words in REASONS.items()))
    if len(found.models) > 1:
        several = printable(", ".join(found.models))
        print(f"These are attempts of several models ({several}): whichever is trained on them learns from others too.")
    return 0
