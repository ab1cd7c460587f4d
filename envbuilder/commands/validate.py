"""Audit environments: solvable, floors, leaks, echoes, order, ambiguity, duplicates, and code not to be trusted.

docs/validation.md says what each check means. Exit status 1 when something falls short of the thresholds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from envbuilder.audit.checks import FLOORS
from harness.commands.options import add_data_option, add_ray_option, at_least, parse_data_paths, parse_share
from harness.console.text import printable, printable_json
from harness.errors import UsageError

HELP = "audit environments: solvable, hard to game, no leaks, no duplicates"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("tasks", nargs="+", metavar="TASKS|FILE", help="task names, globs, paths of data or task files")
    add_data_option(parser)
    add("--search", action="store_true", help="find arguments for rows without gold calls, or whose gold fails")
    add("--limit", type=at_least(1), metavar="N", help="N samples a task: a seeded, stratified subset")
    add("--seed", type=int, default=0, metavar="S", help="seeds subsets and policy/random (default 0)")
    add("--names", choices=["disjoint", "shared"], default="disjoint", help="whether splits may share entity names")
    add("--no-floors", action="store_true", help="do not play the reference policies")
    add(
        "--min-solvable",
        type=parse_share,
        default=1.0,
        metavar="X",
        help="share of environments solved by gold (default 1)",
    )
    add("--min-reached", type=parse_share, metavar="X", help="share of sub-answers reached under either rule")
    add(
        "--max-floor",
        nargs="+",
        action="extend",
        default=[],
        metavar="POLICY[:SCENARIO]=F1",
        help="highest mean strict F1 (default " + " ".join(f"{p}={most:g}" for p, most in FLOORS.items()) + ")",
    )
    add(
        "--allow",
        nargs="+",
        action="extend",
        default=[],
        metavar="CHECK=X",
        help="share of environments that a check may find something in (default 0 for fatal checks, else 1)",
    )
    add("--json", action="store_true", help="print everything as JSON")
    add_ray_option(parser)
    add("--quiet", action="store_true", help="no progress bar, and no lines in a log")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything runs where thresholds or tasks are not understood."""
    from envbuilder.audit import own_tasks, present, sets, thresholds
    from harness.distributed.cluster import connect_if
    from harness.registry import select_tasks

    floors, allowed = _shares(args.max_floor, "--max-floor"), _shares(args.allow, "--allow")
    limits = thresholds.Thresholds.replaced_by(args.min_solvable, args.min_reached, floors, allowed)
    data = parse_data_paths(args.data)
    own = own_tasks.load_own(select_tasks(args.tasks, data), args.limit, args.seed)
    judged = own_tasks.audit_own_tasks(own, not args.no_floors, args.seed, args.quiet) if own else []
    samples = sets.load_environments(args.tasks, data, args.limit, args.seed)
    samples = {name: some for name, some in samples.items() if name not in {task.name for task, _ in own}}
    options = sets.AuditOptions(args.search, not args.no_floors, args.names, args.seed)
    with connect_if(args.ray if samples else None) as cluster:
        report = sets.audit_environments(samples, options, args.quiet, cluster) if samples else None
    short = [sentence for one in judged for sentence in one.shortfalls(limits)]
    short += limits.shortfalls(report) if report else []
    if args.json:
        said = present.audit_to_json(report, limits, short) if report else {"schema": 1, "falls_short": short}
        said |= {"own_tasks": [one.to_json() for one in judged]} if judged else {}
        print(printable_json(said))
    else:
        parts = [own_tasks.format_own_tasks(judged, limits)] if judged else []
        parts += [present.format_audit(report, limits, args.search)] if report else []
        print(printable("\n\n".join(parts)))
    for sentence in short:
        print(printable(f"Falls short: {sentence}"), file=sys.stderr if args.json else sys.stdout)
    return 1 if short else 0


def _shares(texts: Sequence[str], option: str) -> list[tuple[str, float]]:
    found = []
    for text in texts:
        name, equals, value = text.rpartition("=")
        try:
            found.append((name, parse_share(value)))
        except argparse.ArgumentTypeError as error:
            raise UsageError(f"{option} {text}: the value {error}.") from None
        if not equals or not name:
            raise UsageError(f"{option} takes NAME=VALUE, not {text!r}.")
    return found
