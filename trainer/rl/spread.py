"""Groups in which every sample earned the same: nothing is learnt from comparing them; what is done about it."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError

if TYPE_CHECKING:
    from torch import Tensor

SHARE = "groups_without_spread"
"""The name in metrics.jsonl of the share of groups in which all samples earned the same."""
ROUNDING = 1e-6


def find_spread(rewards: Tensor, group: int) -> list[bool]:
    """Whether the samples of each group differ in any of their rewards: (N, M), NaN where there is none."""
    grouped = rewards.reshape(-1, group, rewards.shape[1])
    most = grouped.nan_to_num(nan=-float("inf")).amax(1)
    least = grouped.nan_to_num(nan=float("inf")).amin(1)
    return [bool(one) for one in (most - least > ROUNDING).any(1)]


def choose_again(flat: Sequence[int], rows: Sequence[str], used: Iterable[str], seed: str) -> Mapping[int, str]:
    """Prompts to draw instead of groups without spread, by the group's number: none that was used in this generation,
    and fewer groups where the prompts run out."""
    taken = set(used)
    left = [row for row in rows if row not in taken]
    chosen = random.Random(seed).sample(left, min(len(flat), len(left)))
    return dict(zip(flat, chosen, strict=False))


class FlatGenerations:
    """Counts generations in a row from whose rewards nothing can be learnt, and speaks up."""

    def __init__(self, most: int, lines: Sequence[Mapping[str, Any]] = ()) -> None:
        """`lines` are those of metrics of the steps that were made before."""
        self._most = most
        self._count = 0
        for line in lines:
            if SHARE in line:
                self._count = self._count + 1 if line[SHARE] == 1 else 0
        self._said = self._count > 0

    def see(self, step: int, learns: bool, reward: float, speaks: bool) -> None:
        """After each generation. Raises HarnessError where there were too many without anything to learn."""
        self._count = 0 if learns else self._count + 1
        if learns:
            return
        if speaks and not self._said:
            print(
                f"Step {step}: the samples of no prompt differ in what they earn (mean {reward:.3f}), so there is "
                "nothing to learn from it.",
                file=sys.stderr,
            )
            self._said = True
        if self._count == self._most:
            raise HarnessError(
                f"Training has stopped at step {step}: in {self._count} generations in a row the samples of no prompt "
                f"differed in what they earn (mean {reward:.3f}), so nothing was learnt; warm the model up first "
                "(--regime sft), choose environments that it sometimes solves, or raise temperature or samples."
            )
