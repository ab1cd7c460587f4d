"""What a set of environments must keep to, and in which sentences it is said to fall short."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from envbuilder.audit.checks import CHECKS, FLOOR_POLICIES, FLOORS, OWN_FLOORS, PROOF
from envbuilder.audit.sets import AuditReport
from harness.errors import UsageError
from harness.metrics import HEADLINE
from harness.registry import suggest_names

Named = tuple[str, float]
"""A policy or check, and its threshold."""


@dataclass(frozen=True)
class Thresholds:
    """What a set must keep to. `floors`: highest mean strict F1, or what a task has instead, by policy, policy:scenario
    or policy:metric; `allowed`: by check."""

    solvable: float
    reached: float | None
    floors: Mapping[str, float]
    allowed: Mapping[str, float]

    @classmethod
    def replaced_by(
        cls, solvable: float, reached: float | None, floors: Sequence[Named], allowed: Sequence[Named]
    ) -> Thresholds:
        """The usual ones but for those that are given; a policy without a scenario replaces all of its scenarios.
        Raises UsageError for a policy or check that does not exist."""
        limits = {**FLOORS, **OWN_FLOORS}
        for name, value in sorted(floors):
            policy, _, scenario = name.partition(":")
            _known(policy, FLOOR_POLICIES, "policy")
            if not scenario:
                limits = {key: most for key, most in limits.items() if key.partition(":")[0] != policy}
            limits[name] = value
        shares = {name: 0.0 if check.fatal else 1.0 for name, check in CHECKS.items() if name not in PROOF}
        shares |= {_known(name, shares, "check"): value for name, value in allowed}
        return cls(solvable, reached, limits, shares)

    def floor(self, policy: str, scenario: str, metric: str = HEADLINE) -> float:
        """Of a scenario, or of a task with its own headline metric."""
        usual = self.floors.get(f"{policy}:{metric}", self.floors[policy])
        return self.floors.get(f"{policy}:{scenario}", usual)

    def shortfalls(self, report: AuditReport) -> list[str]:
        """One sentence for each threshold that the report does not keep."""
        n = len(report.environments)
        short = []
        if report.solvable_count < self.solvable * n:
            short.append(
                f"{report.solvable_count} of {n} environments are solvable; --min-solvable is {self.solvable:g}."
            )
        wanted, reached = report.count_sub_answers("sub_answers"), report.count_sub_answers("either")
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


def _known(name: str, known: Sequence[str] | Mapping[str, Any], what: str) -> str:
    if name not in known:
        hint = suggest_names(name, known) or f" There are {', '.join(known)}."
        raise UsageError(f"There is no {what} {name!r}.{hint}")
    return name
