"""Tasks made of environment records: what most benchmarks need, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.checks import has_checks, read_first_row, task_with_checks
from harness.data.files import file_stem
from harness.data.records import read_samples
from harness.environment import ToolEnvironment
from harness.scoring import decisions, score
from harness.types import Sample, Task


def environment_task(
    name: str,
    load: Callable[[], Sequence[Sample]],
    *,
    group: str | None = None,
    columns: Mapping[str, tuple[str, ...]] | None = None,
    description: str = "",
    source: str = "",
    size: int | None = None,
) -> Task:
    """A task whose samples carry tools and code, scored by the strict verifier and the paper's rule side by side."""
    return Task(
        name=name,
        load=load,
        environment=ToolEnvironment,
        score=score,
        group=group,
        columns=columns or {},
        description=description,
        source=source,
        size=size,
    )


def file_task(path: Path) -> Task:
    """A file of environment records or of rows with checks (JSONL, plain or compressed, or Parquet), named by its
    stem; its first row says which."""
    row = read_first_row(path)
    if has_checks(row):
        return task_with_checks(path, stateful=row.get("state") is not None)
    make = decision_task if decisions.is_twin(row) else environment_task
    return make(
        file_stem(path), lambda: read_samples(path), description="environment records from a file", source=str(path)
    )


def decision_task(name: str, load: Callable[[], Sequence[Sample]], floor: float = 0.0, **about: Any) -> Task:
    """An environment task of twins that ask when to call a tool (docs/decisions.md). `floor`: what never calling gets;
    `about` is as in environment_task."""
    task = environment_task(name, lambda: [decisions.check_twin(sample) for sample in load()], **about)
    return replace(task, score=decisions.score, headline=decisions.HEADLINE, floor=floor)
