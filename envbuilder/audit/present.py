"""What `harness validate` prints of an audit: tables for people, JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

from envbuilder.audit.sets import AuditReport
from envbuilder.audit.thresholds import Thresholds
from harness.console.text import shorten_text
from harness.metrics import shown_in


def format_audit(report: AuditReport, limits: Thresholds, searched: bool) -> str:
    """Checks and floors as tables; `searched`: whether gold calls were looked for."""
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
    parts = [_summary(report, searched), tabulate(checks, headers="keys", disable_numparse=True, colalign=align)]
    parts.append("* a remark: allowed in any number of environments unless --allow says otherwise")
    if floors:
        parts.append("What policies get that do not understand (allowed: the strict F1):")
        sides = ("left", "left", *["right"] * (len(floors[0]) - 2))
        parts.append(tabulate(floors, headers="keys", disable_numparse=True, colalign=sides))
    return "\n\n".join(parts)


def _summary(report: AuditReport, searched: bool) -> str:
    n, answers = len(report.environments), report.count_sub_answers("sub_answers")
    reached = [
        f"{rule} {report.count_sub_answers(rule)} ({report.count_sub_answers(rule) / max(1, answers):.1%})"
        for rule in ("strict", "paper", "either")
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


def audit_to_json(report: AuditReport, limits: Thresholds, short: Sequence[str]) -> dict[str, Any]:
    """Everything, with each finding; `short` are the sentences of `Thresholds.shortfalls`."""
    return {
        "schema": 1,
        "environments": len(report.environments),
        "solvable": report.solvable_count,
        "proven": sum(one.solved.gold for one in report.environments),
        "sub_answers": {name: report.count_sub_answers(name) for name in ("sub_answers", "strict", "paper", "either")},
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
