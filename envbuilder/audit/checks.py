"""The one table of checks, what a check reports, and the usual limits of floors.

docs/validation.md says which fault each check guards against.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from harness.scoring.decisions import HEADLINE as DECISIONS


class Check(NamedTuple):
    """`fatal`: an environment with such a finding should not be used. `scope`: environment or set."""

    fatal: bool
    scope: str
    meaning: str


CHECKS: dict[str, Check] = {
    "no_gold": Check(True, "environment", "no gold calls: nothing proves that it can be solved"),
    "mismatch": Check(True, "environment", "sub_questions do not fit unsolved_set"),
    "unsolvable": Check(True, "environment", "the gold calls do not give P = R = F1 = 1 under both rules"),
    "order": Check(True, "environment", "a later hop can be called without what an earlier one finds"),
    "constant": Check(True, "environment", "the sub-answer comes back when every gold argument is wrong"),
    "leak_question": Check(True, "environment", "the prompt states a sub-answer"),
    "leak_description": Check(True, "environment", "a name or description of a tool or parameter states one"),
    "leak_choice": Check(True, "environment", "an enumeration, default or example states one"),
    "leak_default": Check(True, "environment", "the output of a default call states one"),
    "leak_other": Check(True, "environment", "the gold call of another sub-question states one"),
    "echo": Check(True, "environment", "a tool's answer repeats what it was given"),
    "empty_answer": Check(True, "environment", "a sub-answer without a word, or of articles only"),
    "short_answer": Check(True, "environment", "a sub-answer of one or two characters"),
    "same_answer": Check(True, "environment", "equal sub-answers, or two of one tool that state each other"),
    "nondeterministic": Check(True, "environment", "the same calls in another process give another output"),
    "clock": Check(True, "environment", "code reads the clock"),
    "random": Check(True, "environment", "code draws unseeded random values"),
    "unsafe": Check(True, "environment", "code evaluates text, opens files or reaches for the system"),
    "stopped": Check(True, "environment", "a call ran out of time, memory or output"),
    "signature": Check(True, "environment", "code and schema disagree about the parameters"),
    "raises": Check(False, "environment", "a default call raises instead of answering with an error"),
    "loose_argument": Check(False, "environment", "one wrong required argument still gives the sub-answer"),
    "echo_error": Check(False, "environment", "an error text repeats what the tool was given (paper rule only)"),
    "echo_keyword": Check(False, "environment", "Python's TypeError repeats an unknown keyword (paper rule only)"),
    "own_worker": Check(False, "environment", "the sandbox's screen does not know the code to be harmless"),
    "duplicate_question": Check(True, "set", "two environments ask the same question"),
    "near_duplicate": Check(True, "set", "two questions share most of their five-word runs"),
    "shared_code": Check(True, "set", "a tool with its facts occurs in two splits"),
    "shared_world": Check(True, "set", "a world occurs in two splits"),
    "shared_name": Check(True, "set", "an entity's name occurs in two splits"),
    "duplicate_code": Check(False, "set", "a tool with its facts occurs in two environments of one split"),
}

PROOF = ("no_gold", "unsolvable")
"""Checks of whether an environment can be solved at all."""
FLOOR_POLICIES = ("silent", "random", "default", "shotgun", "echo", "keyword")
"""The policies that are played for their scores: what doing nothing, guessing, spelling, echoing and words get."""
FLOORS = {
    "silent": 0.0,
    "echo": 0.0,
    "random": 0.1,
    "default": 0.05,
    "shotgun": 0.35,
    "shotgun:single_hop": 0.25,
    "shotgun:multi_hop": 0.05,
    "shotgun:parallel_multi_hop": 0.05,
    "keyword": 0.15,
}
"""The highest mean strict F1 that a policy may get, in any scenario or in the one that is named."""
OWN_FLOORS = {f"{policy}:{DECISIONS}": 1.0 for policy in FLOOR_POLICIES}
"""The same of other headline metrics. Who always calls, or never, is right wherever that happens to be right, so first
actions have no usual limit."""


@dataclass(frozen=True, slots=True)
class Finding:
    """`where` names the tool, parameter, hop or other environment; `detail` is one sentence's worth of evidence."""

    check: str
    where: str
    detail: str
    fatal: bool


def make_finding(check: str, where: str, detail: str) -> Finding:
    """A finding as severe as its check."""
    return Finding(check, where, detail, CHECKS[check].fatal)
