"""What a build came to: at each stage what passed, was repaired and was dropped, why, and what it cost in tokens.

Made from a checkpoint's files alone, so that it can be had at any time, of an interrupted build too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tabulate import tabulate

from envbuilder.model.checkpoint import REJECTED, STAGE_FILES, read_lines
from envbuilder.model.stages import STAGES
from harness.types import JSONObject, Usage


@dataclass
class StageCount:
    """One stage. `refused` counts replies by reason; `repaired` and `dropped` count environments by reason.

    An environment is repaired for every reason that one of its replies was refused for, if it came through in the end.
    """

    passed: int = 0
    mended: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)
    usage: Usage = Usage()

    def add(self, line: Mapping[str, Any]) -> None:
        self.usage += Usage(**line["usage"])
        self.refused.update(line["faults"])
        if "reason" in line:
            self.dropped[line["reason"]] += 1
        else:
            self.passed += 1
            self.mended += bool(line["faults"])
            self.repaired.update(set(line["faults"]))

    def to_json(self) -> JSONObject:
        requests, read, written = spent(self.usage)
        return {
            "passed": self.passed,
            "repaired": self.mended,
            "dropped": dict(sorted(self.dropped.items())),
            "refused": dict(sorted(self.refused.items())),
            "requests": requests,
            "input_tokens": read,
            "output_tokens": written,
        }


@dataclass(frozen=True)
class ModelReport:
    """A build's account, stage by stage."""

    stages: Mapping[str, StageCount]

    @classmethod
    def from_directory(cls, directory: Path) -> ModelReport:
        """The report of a checkpoint's directory. Raises UsageError where a line is broken."""
        counts = {stage: StageCount() for stage in STAGES}
        for stage, name in STAGE_FILES.items():
            for line in read_lines(directory / name):
                counts[stage].add(line)
        for line in read_lines(directory / REJECTED):
            counts[line["stage"]].add(line)
        return cls(counts)

    @property
    def usage(self) -> Usage:
        """All tokens of the build."""
        return sum((count.usage for count in self.stages.values()), Usage())

    def format_tables(self) -> str:
        """Two tables to print: stages with their tokens, and the reasons for which replies were refused."""
        heads = ("stage", "entered", "passed", "repaired", "dropped", "requests", "input tokens", "output tokens")
        text = tabulate(list(self._stage_rows()), heads, tablefmt="github", intfmt=",")
        rows = list(self._reason_rows())
        if not rows:
            return f"{text}\n\nNo reply was refused."
        reasons = ("stage", "reason", "replies refused", "environments repaired", "environments dropped")
        return f"{text}\n\n{tabulate(rows, reasons, tablefmt='github', intfmt=',')}"

    def to_json(self) -> JSONObject:
        """The same account as plain JSON, to stand beside what was built."""
        return {stage: count.to_json() for stage, count in self.stages.items()}

    def _stage_rows(self) -> Iterator[tuple[object, ...]]:
        for stage, count in self.stages.items():
            dropped = count.dropped.total()
            yield stage, count.passed + dropped, count.passed, count.mended, dropped, *spent(count.usage)
        dropped = sum(count.dropped.total() for count in self.stages.values())
        mended = sum(count.mended for count in self.stages.values())
        first, last = self.stages[STAGES[0]], self.stages[STAGES[-1]]
        entered = first.passed + first.dropped.total()
        yield "all", entered, last.passed, mended, dropped, *spent(self.usage)

    def _reason_rows(self) -> Iterator[tuple[object, ...]]:
        for stage, count in self.stages.items():
            for reason in sorted({*count.refused, *count.dropped}):
                yield stage, reason, count.refused[reason], count.repaired[reason], count.dropped[reason]


def spent(usage: Usage) -> tuple[int, int, int]:
    return usage.requests, usage.input_tokens, usage.output_tokens
