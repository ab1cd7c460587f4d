"""Progress: a bar on a terminal, and elsewhere (Slurm, a log) a line every half minute: how far, how fast, how long
still, and what else is worth a look."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tqdm import tqdm

from harness.console.text import printable
from harness.data.schema import Record
from harness.types import FAILED_OUTCOMES

EVERY = 30.0
"""Seconds between the lines of a log."""
AT_ONCE = 0.001
"""Seconds: what is done so soon after what was done before was there already, and says nothing of the rate."""


@dataclass
class StageProgress:
    """How far one stage is, as a line of a log says it."""

    name: str
    total: int
    unit: str
    clock: Callable[[], float]
    done: int = 0
    note: str = ""

    def __post_init__(self) -> None:
        self._there, self._since = self.done, self.clock()
        self._last = self._since

    def advance(self, count: int, note: str) -> None:
        """So many more are done."""
        now = self.clock()
        if self.done - self._there <= 1 and now - self._last < AT_ONCE:
            self._there, self._since = self.done + count, now
        self._last = now
        self.done += count
        self.note = note or self.note

    def line(self) -> str:
        """The stage, how much of it is done, the rate, what else was noted, and the time left."""
        passed = self.clock() - self._since
        rate = (self.done - self._there) / passed if passed > 0 else 0.0
        unit = "" if self.unit.strip() == "it" else f" {self.unit.strip().removesuffix('s')}s"
        parts = [f"{self.done:,} of {self.total:,}{unit}"]
        if rate:
            parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min")
        parts += [self.note] if self.note else []
        if rate and self.done < self.total:
            parts.append(f"{tqdm.format_interval((self.total - self.done) / rate)} left")
        return printable(f"{self.name.strip() or 'progress'}: {', '.join(parts)}")


class ProgressLog:
    """A thread that writes a line about the current stage every half minute, also where nothing moves."""

    def __init__(self, unit: str) -> None:
        self._unit = unit
        self._stage: StageProgress | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write, daemon=True, name="progress")

    def begin(self, name: str, total: int, done: int) -> None:
        self._stage = StageProgress(name, total, self._unit, time.monotonic, done)
        if self._thread.ident is None:
            self._thread.start()

    def advance(self, count: int, note: str) -> None:
        if self._stage is not None:
            self._stage.advance(count, note)

    def close(self) -> None:
        self._over.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _write(self) -> None:
        while not self._over.wait(EVERY):
            if self._stage is not None:
                print(self._stage.line(), file=sys.stderr, flush=True)


class ProgressBar:
    """A bar that begins anew with every stage; lines of a log where stderr is no terminal, nothing where all should be
    `quiet`.

    scaled  large numbers are shown as 1.5k and 2.0M
    leave   the bar still stands when all is done
    """

    def __init__(self, unit: str = "it", quiet: bool = False, scaled: bool = False, leave: bool = True) -> None:
        self._unit, self._scaled, self._leave = unit, scaled, leave
        self._hidden = quiet or not sys.stderr.isatty()
        self._log = None if quiet or sys.stderr.isatty() else ProgressLog(unit)
        self._stage: str | None = None
        self._done = 0
        self._bar = tqdm(disable=True)

    def begin(self, stage: str, total: int, done: int = 0) -> None:
        """A new bar, to `total`. What is `done` already says nothing of the rate."""
        self._bar.close()
        self._stage, self._done = stage, done
        if self._log is not None:
            self._log.begin(stage, total, done)
        self._bar = tqdm(
            initial=done,
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
        self._done += count
        if self._log is not None:
            self._log.advance(count, note)
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(count)

    def watch(self, stage: str, done: int, total: int) -> None:
        """So many of a stage are done. What follows a comma in `stage` is shown behind the bar. What was done when a
        stage is first heard of may be from before an interruption."""
        stage, _, note = stage.partition(", ")
        if stage != self._stage:
            self.begin(stage, total, done)
        self.advance(done - self._done, note)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()
        if self._log is not None:
            self._log.close()


class RunningScore:
    """Told each record of a run, it moves the bar and shows the mean of the headline metric and the failures."""

    def __init__(self, progress: ProgressBar, headline: str) -> None:
        self._progress = progress
        self._headline = headline
        self._total = 0.0
        self._scored = 0
        self._failures = 0
        self._seen: dict[str, tuple[float | None, bool]] = {}

    def __call__(self, record: Record) -> None:
        again = record["key"] in self._seen
        if again:
            self._count(*self._seen[record["key"]], -1)
        one = record["scores"].get(self._headline), record["outcome"] in FAILED_OUTCOMES
        self._seen[record["key"]] = one
        self._count(*one, 1)
        score = f"{self._total / self._scored:.3f}" if self._scored else "-"
        self._progress.advance(0 if again else 1, f"{self._headline} {score}, failed {self._failures}")

    def _count(self, value: float | None, failed: bool, times: int) -> None:
        if value is not None:
            self._total += times * value
            self._scored += times
        self._failures += times * failed
