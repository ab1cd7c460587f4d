"""Progress of a run on a terminal: running score, failures, time left. Silent where nobody watches."""

from __future__ import annotations

import sys
from types import TracebackType

from tqdm import tqdm

from harness.runs import Record


class Progress:
    """A bar over episodes; call it with each record."""

    def __init__(self, label: str, total: int, headline: str, quiet: bool) -> None:
        self._headline = headline
        self._total = 0.0
        self._scored = 0
        self._failures = 0
        self._bar = tqdm(
            total=total,
            desc=label,
            unit="episode",
            file=sys.stderr,
            disable=quiet or not sys.stderr.isatty(),
            dynamic_ncols=True,
        )

    def __call__(self, record: Record) -> None:
        value = record["scores"].get(self._headline)
        if value is not None:
            self._total += value
            self._scored += 1
        self._failures += record["outcome"] in ("infrastructure_error", "model_error")
        if not self._bar.disable:
            score = f"{self._total / self._scored:.3f}" if self._scored else "-"
            self._bar.set_postfix_str(f"{self._headline} {score}, failed {self._failures}", refresh=False)
        self._bar.update()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
