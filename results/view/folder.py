"""A folder of runs as it is followed: two threads read and reckon, and requests are told what they have found.

One finds new runs and reads what was appended; the run that somebody looks at comes first, and of the finished ones
only it is read. The other does what may take seconds, means and gold, so that an episode never waits for them.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.runs.folders import find_runs_below
from results.view.live import LiveRun

PAUSE = 0.25
SHARE = 0.2
"""Seconds of reading a round: for the run that is looked at, and for all others together."""
RARELY = 10
"""What costs t seconds is not done again before so many t."""
PAGE = 1000
"""Episodes an answer."""


class LiveFolder:
    """`runs` only grows, so that a run keeps its number."""

    def __init__(self, root: Path) -> None:
        self.named, self.root = str(root), root.resolve()
        self.runs: list[LiveRun] = []
        self._asked: LiveRun | None = None
        self._later = {"find": 0.0, "summarise": 0.0}
        self.find_runs()

    def start(self) -> None:
        """Follows it for as long as the process lasts."""
        for work in (self.read_round, self.think_round):
            threading.Thread(target=_repeat, args=(work,), daemon=True).start()

    def find_runs(self) -> None:
        """Adds the runs that have come."""
        began = time.monotonic()
        known = {run.path for run in self.runs}
        alone = (self.root / "manifest.json").exists()
        for path in [self.root] if alone else find_runs_below(self.root):
            if path not in known:
                run = LiveRun(path, self.root)
                run.attempt(run.read_summary)
                self.runs.append(run)
        self._wait_before("find", began)

    def _wait_before(self, what: str, began: float) -> None:
        now = time.monotonic()
        self._later[what] = now + max(PAUSE, RARELY * (now - began))

    def read_round(self) -> bool:
        """Whether there is more to read at once."""
        if time.monotonic() >= self._later["find"]:
            self.find_runs()
        for run in self.runs:
            run.reconsider()
        asked = self._asked
        others = [run for run in self.runs if run is not asked and not (run.problem or run.is_finished)]
        more = [run.attempt(partial(run.read_on, SHARE / len(others))) for run in others]
        return bool(asked and not asked.problem and asked.attempt(partial(asked.read_on, SHARE))) or any(more)

    def think_round(self) -> bool:
        """Brings means up to date, and finds the gold of the run that is looked at. Never more at once."""
        asked = self._asked
        if asked is not None and asked.samples is None and not asked.problem:
            asked.attempt(asked.find_gold)
        if time.monotonic() >= self._later["summarise"]:
            began = time.monotonic()
            for run in [run for run in self.runs if not run.problem]:
                run.attempt(run.summarise)
            self._wait_before("summarise", began)
        return False

    # --- what requests are told ----------------------------------------------------------------------------------

    def describe(self) -> dict[str, Any]:
        """All runs: those that are played, then the others, the newest first."""
        lines = [{"number": number, **run.describe()} for number, run in enumerate(list(self.runs))]
        return {
            "folder": self.named,
            "runs": sorted(lines, key=lambda line: (not line["finished"], line["created"]), reverse=True),
        }

    def list_episodes(self, number: int, start: int) -> str:
        """JSON of the rows of a run from one on, which is then the one that is looked at. Raises IndexError."""
        run = self.runs[number]
        self._asked = run
        generation, rows = run.generation, run.rows
        there = len(rows)
        part = rows[start : min(start + PAGE, there)]
        return f'{{"generation":{generation},"read":{there},"rows":[{",".join(part)}]}}'

    def read_transcript(self, number: int, episode: int) -> dict[str, Any]:
        """Raises IndexError where there is none, UsageError where it cannot be read."""
        return self.runs[number].read_transcript(episode)


def _repeat(work: Callable[[], bool]) -> None:
    while True:
        if not work():
            time.sleep(PAUSE)
