"""Audit environments: solvable, floors, leaks, echoes, order, ambiguity, duplicates, and code not to be trusted.

docs/validation.md says what each check means. Exit status 1 when something falls short of the thresholds.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness.commands.options import add_data_option, at_least, parse_data_paths, parse_share
from harness.console.text import printable, shorten_text
from harness.errors import UsageError
from harness.metrics import HEADLINE, shown_in
from harness.types import Sample, Task

if TYPE_CHECKING:
    from envbuilder.audit.sets import AuditReport

HELP = "audit environments: solvable, hard to game, no leaks, no duplicates"
FLOORS = {
    "silent": 0.0,
    "echo": 0.0,
    "random": 0.1,
    "default": 0.05,
    "shotgun": 0.35,
    "shotgun:single_hop": 0.25,
    "shotgun:multi_hop": 0.05,
    "shotgun:parallel_multi_hop": 0.05,
}
"""The highest mean strict F1 that a policy may get, in any scenario or in the one that is named."""
PROOF = ("no_gold", "unsolvable")
"""Checks that --min-solvable is about."""


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
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything runs where thresholds or tasks are not understood."""
    from harness.registry import select_tasks

    limits = Thresholds.of(args)
    samples = _samples(select_tasks(args.tasks, parse_data_paths(args.data)), args)
    report = _audited(samples, args)
    short = limits.shortfalls(report)
    if args.json:
        print(json.dumps(_as_json(report, limits, short), indent=2, ensure_ascii=False))
    else:
        print(printable(_as_text(report, limits, args)))
    for sentence in short:
        print(printable(f"Falls short: {sentence}"), file=sys.stderr if args.json else sys.stdout)
    return 1 if short else 0


def _samples(tasks: Sequence[Task], args: argparse.Namespace) -> dict[str, list[Sample]]:
    from harness.evaluation.plan import select_subset
    from harness.registry import load_samples

    for task in tasks:
        if task.headline != HEADLINE:
            raise UsageError(
                f"`harness validate` is for environments with sub-answers, and {task.name} is told by {task.headline}; "
                "play it by policy/oracle and policy/silent instead."
            )
    return {name: select_subset(samples, name, args.limit, args.seed) for name, samples in load_samples(tasks).items()}


def _audited(samples: Mapping[str, Sequence[Sample]], args: argparse.Namespace) -> AuditReport:
    from envbuilder.audit.sets import AuditOptions, Auditor
    from harness.console.progress import ProgressBar
    from harness.sandbox import Sandbox, SandboxConfig

    options = AuditOptions(args.search, not args.no_floors, args.names, args.seed)
    config = SandboxConfig(workers=1, call_timeout=2.0)
    with Sandbox(config) as first, Sandbox(config) as second:
        auditor = Auditor(first, second, options)
        with ProgressBar("environment", args.quiet) as progress:
            progress.begin("validate", sum(len(chosen) for chosen in samples.values()))
            for task, chosen in samples.items():
                for sample in chosen:
                    auditor.audit_sample(task, sample)
                    progress.advance()
    return auditor.report()


# --- thresholds --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thresholds:
    """What a set must keep to. `floors`: highest mean strict F1 by policy or policy:scenario; `allowed`: by check."""

    solvable: float
    reached: float | None
    floors: Mapping[str, float]
    allowed: Mapping[str, float]

    @classmethod
    def of(cls, args: argparse.Namespace) -> Thresholds:
        """Raises UsageError for a policy or check that does not exist."""
        from envbuilder.audit.checks import CHECKS
        from envbuilder.audit.sets import FLOOR_POLICIES

        floors = dict(FLOORS)
        for name, value in sorted(_pairs(args.max_floor, "--max-floor")):
            policy, _, scenario = name.partition(":")
            _known(policy, FLOOR_POLICIES, "policy")
            if not scenario:
                floors = {key: most for key, most in floors.items() if key.partition(":")[0] != policy}
            floors[name] = value
        allowed = {name: 0.0 if check.fatal else 1.0 for name, check in CHECKS.items() if name not in PROOF}
        allowed |= {_known(name, allowed, "check"): value for name, value in _pairs(args.allow, "--allow")}
        return cls(args.min_solvable, args.min_reached, floors, allowed)

    def floor(self, policy: str, scenario: str) -> float:
        return self.floors.get(f"{policy}:{scenario}", self.floors[policy])

    def shortfalls(self, report: AuditReport) -> list[str]:
        """One sentence for each threshold that the report does not keep."""
        n = len(report.environments)
        short = []
        if report.solvable_count < self.solvable * n:
            short.append(
                f"{report.solvable_count} of {n} environments are solvable; --min-solvable is {self.solvable:g}."
            )
        wanted, reached = _total(report, "sub_answers"), _total(report, "either")
        if self.reached is not None and reached < self.reached * wanted:
            short.append(f"{reached} of {wanted} sub-answers are reached; --min-reached is {self.reached:g}.")
        for name, row in report.count_findings().items():
            if row["share"] > self.allowed.get(name, 1.0):
                short.append(f"{name} in {row['environments']} of {n} environments; {self.allowed[name]:.0%} allowed.")
        for scenario, policies in report.mean_floors().items():
            for policy in (policy for policy in policies if policy != "environments"):
                f1, most = policies[policy][HEADLINE], self.floor(policy, scenario)
                if f1 is not None and f1 > most:
                    short.append(f"the {policy} policy gets F1 {f1:.3f} in {scenario}; at most {most:g} allowed.")
        return short


def _pairs(texts: Sequence[str], option: str) -> list[tuple[str, float]]:
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


def _known(name: str, known: Sequence[str] | Mapping[str, Any], what: str) -> str:
    from harness.registry import suggest_names

    if name not in known:
        hint = suggest_names(name, known) or f" There are {', '.join(known)}."
        raise UsageError(f"There is no {what} {name!r}.{hint}")
    return name


def _total(report: AuditReport, name: str) -> int:
    return sum(getattr(one.solved, name) for one in report.environments)


# --- as text and as JSON -----------------------------------------------------------------------------------------


def _as_text(report: AuditReport, limits: Thresholds, args: argparse.Namespace) -> str:
    from tabulate import tabulate

    checks = [
        {
            "check": name + ("" if row["fatal"] else " *"),
            "environments": row["environments"],
            "share": f"{row['share']:.1%}",
            "findings": row["findings"],
            "worst example": _example(row["example"]),
        }
        for name, row in report.count_findings().items()
    ]
    floors = [
        {
            "scenario": scenario,
            "policy": policy,
            **{row.heading: _number(policies[policy][row.name]) for row in shown_in("validate")},
            "allowed": f"{limits.floor(policy, scenario):g}",
        }
        for scenario, policies in report.mean_floors().items()
        for policy in policies
        if policy != "environments"
    ]
    align = ("left", "right", "right", "right", "left")
    parts = [_summary(report, args.search), tabulate(checks, headers="keys", disable_numparse=True, colalign=align)]
    parts.append("* a remark: allowed in any number of environments unless --allow says otherwise")
    if floors:
        parts.append("What policies get that do not understand (allowed: the strict F1):")
        sides = ("left", "left", *["right"] * (len(floors[0]) - 2))
        parts.append(tabulate(floors, headers="keys", disable_numparse=True, colalign=sides))
    return "\n\n".join(parts)


def _summary(report: AuditReport, searched: bool) -> str:
    n, answers = len(report.environments), _total(report, "sub_answers")
    reached = [
        f"{rule} {_total(report, name)} ({_total(report, name) / max(1, answers):.1%})"
        for rule, name in (("strict", "strict"), ("paper", "paper"), ("either", "either"))
    ]
    how = "gold calls, or calls that the search found" if searched else "gold calls"
    proven = sum(one.solved.gold for one in report.environments)
    return (
        f"{n} environments: {report.solvable_count} solvable (P = R = F1 = 1 under both rules) by {how}; "
        f"{proven} by their own gold calls.\n{answers} sub-answers reached: {', '.join(reached)}."
    )


def _example(example: Mapping[str, str] | None) -> str:
    if example is None:
        return ""
    return shorten_text(f"{example['environment']}: {example['where']}: {example['detail']}", 90).partition(" ... (")[0]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _as_json(report: AuditReport, limits: Thresholds, short: Sequence[str]) -> dict[str, Any]:
    return {
        "schema": 1,
        "environments": len(report.environments),
        "solvable": report.solvable_count,
        "proven": sum(one.solved.gold for one in report.environments),
        "sub_answers": {name: _total(report, name) for name in ("sub_answers", "strict", "paper", "either")},
        "checks": report.count_findings(),
        "floors": report.mean_floors(),
        "thresholds": {
            "min_solvable": limits.solvable,
            "min_reached": limits.reached,
            "max_floor": dict(limits.floors),
            "allow": dict(limits.allowed),
        },
        "falls_short": list(short),
        "findings": [
            {"environment": label, "check": f.check, "fatal": f.fatal, "where": f.where, "detail": f.detail}
            for label, f in report.findings()
        ],
    }
