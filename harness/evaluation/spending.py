"""Which episode may begin under --max-cost: those being played, and one more, must fit by what episodes cost so far.

Left out: what an episode that is being played has cost up to now, which is known when it ends.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import fmean, pstdev

from harness.runs.prices import Budget

TOLERANCE = 0.05
"""The share of the limit by which the last episode may pass it, played alone; those side by side are estimated."""
FEW = 8
"""Episodes below which the dearest stands for all, and twice that for those being played: short ones end first.
Later it is halfway between their mean and the dearest, for the same reason."""
CAUTION = 10
"""How many times the estimate of a dry run an episode is taken to cost before the first has ended."""


class SpendingGate:
    """Asked before every episode of a run, told what each has cost. `guess` is what one costs by a dry run; `earlier`
    what those of the same run cost that were played before. Belongs to one event loop."""

    def __init__(self, budget: Budget, guess: float, earlier: Sequence[float] = ()) -> None:
        self._budget = budget
        self._guess = guess * CAUTION
        self._ended = [cost for cost in earlier if cost > 0]
        self._running = 0
        self._changed = asyncio.Condition()

    async def begin(self) -> bool:
        """Whether an episode may begin: at once, or when enough of the others have ended. The first always may."""
        async with self._changed:
            await self._changed.wait_for(lambda: not self._running or self._over or self._fits())
            if not self._over and self._ended and not self._fits():
                self._budget.hold_back(self._estimate(1))
            if self._over:
                self._changed.notify_all()
                return False
            self._running += 1
            return True

    async def end(self, cost: float) -> None:
        """An episode has ended."""
        async with self._changed:
            self._running -= 1
            self._ended.append(cost)
            self._changed.notify_all()

    @property
    def _over(self) -> bool:
        return self._budget.limit_reached is not None

    def _fits(self) -> bool:
        if (limit := self._budget.max_cost) is None:
            return True
        spent = self._budget.cost + self._estimate(self._running + 1)
        return spent <= (limit if self._running else limit * (1 + TOLERANCE))

    def _estimate(self, episodes: int) -> float:
        """What so many episodes cost that are played side by side; of one alone their mean, and twice its spread."""
        if not self._ended:
            return episodes * self._guess
        dearest = max(self._ended)
        if len(self._ended) < max(FEW, 2 * self._running):
            return episodes * dearest * (2 if self._running else 1)
        mean = fmean(self._ended)
        return episodes * (mean + dearest) / 2 if self._running else mean + 2 * pstdev(self._ended)
