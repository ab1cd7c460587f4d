"""Which calls fail, and how: drawn from what the call is, never from who makes it.

A draw depends on the run's seed, the sample, the epoch, the tool and how many calls of that tool came before in the
episode. So every model that makes the same calls meets the same faults, whatever it says between them, in which turns
it makes them, and how many episodes are played at once. Arguments are no part of it: writing them otherwise dodges no
fault.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import get_args

from harness.errors import UsageError
from harness.types import FaultKind, JSONObject, Sample

KINDS: tuple[FaultKind, ...] = get_args(FaultKind)
DEAD: FaultKind = "permission"
"""The kind that does not pass: a tool that refuses permission refuses every call of the episode."""
LONGEST_WAIT = 30
"""Seconds that a 429 may name."""


@dataclass(frozen=True, slots=True)
class ToolFaults:
    """A call fails with `probability`, in one of `kinds`, each as likely as the others."""

    probability: float
    kinds: tuple[FaultKind, ...] = KINDS
    seed: int = 0

    def find_fault(self, sample: str, epoch: int, tool: str, earlier: int) -> FaultKind | None:
        """How a tool's call fails that `earlier` calls of that tool came before in the episode; None where it runs."""
        dead = self.probability / len(self.kinds) if DEAD in self.kinds else 0.0
        place = f"{self.seed}:{sample}:{epoch}:{tool}"
        if random.Random(f"{place}:dead").random() < dead:
            return DEAD
        passing = [kind for kind in self.kinds if kind != DEAD]
        call = random.Random(f"{place}:{earlier}")
        # of the tools that live, so many more fail that every call has the same probability
        if not passing or call.random() * (1 - dead) >= self.probability - dead:
            return None
        return call.choice(passing)

    @property
    def label(self) -> str:
        """As --tool-faults takes it."""
        kind = "" if self.kinds == KINDS else f":{','.join(self.kinds)}"
        return f"{self.probability:g}{kind}"

    def to_json(self) -> JSONObject:
        """As it stands in a run's identity."""
        return {"probability": self.probability, "kinds": list(self.kinds), "seed": self.seed}


def draw_wait(sample: str, epoch: int, tool: str, earlier: int) -> int:
    """The seconds that a 429 names. They are said and not kept: an episode has no clock."""
    return random.Random(f"wait:{sample}:{epoch}:{tool}:{earlier}").randint(1, LONGEST_WAIT)


def check_tools(samples: Mapping[str, Iterable[Sample]]) -> None:
    """Raises UsageError for a task none of whose samples carries the code of a tool that it offers: there is nothing
    to stand in front of."""
    for task, chosen in samples.items():
        if not any(tool.name in sample.codes for sample in chosen for tool in sample.tools):
            raise UsageError(f"--tool-faults needs tools that fail, and {task} brings none of its own; leave it out.")
