"""Progress on a terminal: how far, how long still, and what else is worth a look. Silent where nobody watches."""

from __future__ import annotations

import sys

from tqdm import tqdm

from harness.data.schema import Record
from harness.types import FAILED_OUTCOMES


class ProgressBar:
    """A bar that begins anew with every stage; nothing where stderr is no terminal, or all should be `quiet`.

    scaled  large numbers are shown as 1.5k and 2.0M
    leave   the bar still stands when all is done
    """

    def __init__(self, unit: str = "it", quiet: bool = False, scaled: bool = False, leave: bool = True) -> None:
        self._unit, self._scaled, self._leave = unit, scaled, leave
        self._hidden = quiet or not sys.stderr.isatty()
        self._stage: str | None = None
        self._bar = tqdm(disable=True)

    def begin(self, stage: str, total: int) -> None:
        """A new bar, from 0 to `total`."""
        self._bar.close()
        self._stage = stage
        self._bar = tqdm(
            total=total,
            desc=stage,
            unit=self._unit,
            unit_scale=self._scaled,
            leave=self._leave,
            file=sys.stderr,
            disable=self._hidden,
            dynamic_ncols=True,
        )

    def advance(self, count: int = 1, note: str = "") -> None:
        """So many more are done; the note stands behind the bar."""
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)

    def watch(self, stage: str, done: int, total: int) -> None:
        """So many of a stage are done. What follows a comma in `stage` is shown behind the bar."""
        stage, _, note = stage.partition(", ")
        if stage != self._stage:
            self.begin(stage, total)
        self.advance(done - int(self._bar.n), note)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()


class RunningScore:
    """Told each record of a run, it moves the bar and shows the mean of the headline metric and the failures."""

    def __init__(self, progress: ProgressBar, headline: str) -> None:
        self._progress = progress
        self._headline = headline
        self._total = 0.0
        self._scored = 0
        self._failures = 0

    def __call__(self, record: Record) -> None:
        value = record["scores"].get(self._headline)
        if value is not None:
            self._total += value
            self._scored += 1
        self._failures += record["outcome"] in FAILED_OUTCOMES
        score = f"{self._total / self._scored:.3f}" if self._scored else "-"
        self._progress.advance(note=f"{self._headline} {score}, failed {self._failures}")
