"""Collecting training prompts: what may be played for them, and how a run's stored episodes become one file of prompts.

The file is made of the stored episodes alone, so other filters make it anew without playing again. docs/collecting.md
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from harness.console.text import printable
from harness.data.files import write_rows
from harness.data.schema import Record
from harness.errors import UsageError
from harness.evaluation.plan import Plan
from harness.metrics import ANSWERS
from harness.models import expand_names
from harness.runs.claims import lock_directory
from harness.runs.directory import RunDirectory
from harness.runs.record import to_trajectory
from trainer.prefixes import (
    Prefix,
    PrefixFilter,
    SolveRule,
    cut_prefixes,
    drop_duplicates,
    find_breakpoint,
    prefix_to_record,
    refuse_test_data,
    require_promptable,
)

Format = Literal["jsonl", "parquet"]
FILES: Mapping[Format, str] = {"jsonl": "prefixes.jsonl", "parquet": "prefixes.parquet"}


def require_one_model(patterns: Sequence[str]) -> None:
    """Raises UsageError where these name several models."""
    if len(names := expand_names(patterns)) > 1:
        raise UsageError(f"One model collects, not {len(names)}: name one, and run the command again for another.")


def check_plan(plan: Plan, data: Mapping[str, Path]) -> None:
    """Raises UsageError for test environments, and for those that make no prompts."""
    refuse_test_data(plan.tasks, plan.samples, data)
    for task in plan.tasks:
        for sample in plan.samples[task.name]:
            require_promptable(task, sample, f"sample {sample.id!r}")


def has_episodes(out: Path) -> bool:
    """Whether anything was played: a run whose endpoint accepted nothing has said so already."""
    return any(True for _ in RunDirectory.open(out).stream_attempts())


def write_prompts(out: Path, plan: Plan, rule: SolveRule, filters: PrefixFilter, format: Format) -> int:
    """Writes the prompts of the run in `out`, and says how many. Returns 1 where the filters leave none."""
    directory = RunDirectory.open(out)
    with lock_directory(directory.path):
        cut = list(cut_run(directory, plan, rule, breakpoints=filters.keep == "breakpoints"))
        different = list(drop_duplicates(cut))
        kept = filters(different)
        if not kept:
            print("No prompt passes these filters; no file was written or replaced.", file=sys.stderr)
            return 1
        for name in FILES.values():
            (directory.path / name).unlink(missing_ok=True)
        path = directory.path / FILES[format]
        rows = map(prefix_to_record, kept)
        write_rows(path, rows if format == "jsonl" else map(_flat, rows))
    solved = sum(not prefix.unsolved_count for prefix in kept)
    print(printable(f"Training prompts: {path}: {len(kept)}, {solved} of them with nothing unsolved"))
    print(
        f"({len(cut)} states of episodes, {len(different)} different, {len(different) - len(kept)} left out by filters)"
    )
    return 0


def cut_run(directory: RunDirectory, plan: Plan, rule: SolveRule, breakpoints: bool = False) -> Iterator[Prefix]:
    """Every prefix of every episode of a run, or its breakpoint alone, in (task, sample, epoch, turn) order."""
    samples = {(task, sample.id): sample for task, chosen in plan.samples.items() for sample in chosen}
    for record in directory.stream_records(directory.read_results()):
        sample = samples[record["task"], record["sample"]]
        prefixes = cut_prefixes(record["task"], sample, to_trajectory(record), record["epoch"], rule)
        yield from _breakpoint(record, list(prefixes)) if breakpoints else prefixes


def _breakpoint(record: Record, prefixes: Sequence[Prefix]) -> list[Prefix]:
    """Where an episode has something to mend; an end that says nothing about the model is nobody's to mend."""
    wrong = prefixes[-1].unsolved_count > 0 or any(record["scores"].get(metric) == 0 for metric in ANSWERS)
    found = find_breakpoint(prefixes, ended_well=not wrong or record["outcome"] == "infrastructure_error")
    return [] if found is None else [found]


def _flat(row: dict[str, object]) -> dict[str, object]:
    """A row for Parquet: messages as a JSON string too, because they do not all have the same fields."""
    return {**row, "messages": json.dumps(row["messages"], ensure_ascii=False)}
