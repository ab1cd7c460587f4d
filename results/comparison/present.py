"""What `harness compare` prints: every run beside the base, as a table with sentences below it, or as JSON."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from harness.console.tables import UNHEEDED_NOTE, count_failed, failed_mark
from harness.console.text import printable
from harness.errors import UsageError
from harness.metrics import find_metric
from harness.runs.summary import heeded_reasoning
from results.comparison.changes import (
    DETECTABLE_NOTE,
    ContraryTask,
    MetricChange,
    find_contrary_tasks,
    format_p,
    measure_changes,
    select_metrics,
    select_scopes,
)
from results.comparison.flips import Flips, count_flips
from results.comparison.pairs import EpisodePair, find_other_differences, pair_episodes
from results.render import (
    TABLE_FORMATS,
    Table,
    TableCell,
    TableColumn,
    TableRow,
    dump_json,
    number_cell,
    text_cell,
)
from results.runs import Run, read_runs

INTERVAL = "95 % interval"
LEGEND = (
    "A, B: means over the n pairs that have the metric in both runs, of groups as in tables; 95 %: clustered.",
    "p: paired permutation test, seeded; Holm: adjusted over the metrics of one block; -: no value.",
)


@dataclass(frozen=True, slots=True)
class ComparisonOptions:
    """What is compared and said: `metrics` are globs, `listed` is how many flipped episodes are named (None: all)."""

    by_task: bool
    metrics: Sequence[str]
    shared: bool
    listed: int | None
    brief: bool


def format_comparison(paths: Sequence[Path], form: str, options: ComparisonOptions) -> str:
    """The runs of the paths, compared with the first of them, in a format of `TABLE_FORMATS`. Raises UsageError for
    fewer than two runs, and for runs that cannot be paired."""
    runs = read_runs(paths)
    if len(runs) < 2:
        raise UsageError(f"{paths[0]} is one run; name another one to compare it with.")
    _warn_of_failures(runs)
    compared = [_compared(runs[0], other, options) for other in runs[1:]]
    if form == "json":
        return dump_json({"base": _about(runs[0]), "comparisons": [one.to_json() for one in compared]})
    return TABLE_FORMATS[form](_grid(runs[0], compared, options))


def _warn_of_failures(runs: Sequence[Run]) -> None:
    """On stderr, so that every format has it: a difference to a run that failed is none between models."""
    for run in runs:
        if failed := _failed(run):
            said = f"WARNING: {run.label}, {run.path}{failed}: what failed counts as played."
            print(printable(said), file=sys.stderr)


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run beside the base: all that is shown of the two."""

    run: Run
    differing: dict[str, tuple[object, object]]
    changes: Sequence[MetricChange]
    contrary: Sequence[ContraryTask]
    flips: Flips

    def to_json(self) -> dict[str, object]:
        return {
            "run": _about(self.run),
            "also_different": {name: list(both) for name, both in self.differing.items()},
            "changes": [change.to_json() for change in self.changes],
            "contrary": [one.to_json() for one in self.contrary],
            "flips": self.flips.to_json(),
        }


def _about(run: Run) -> dict[str, object]:
    about: dict[str, object] = {
        "path": str(run.path),
        "model": run.summary["model"],
        "reasoning": run.summary["reasoning"],
    }
    failed = sum(map(count_failed, run.summary["tasks"].values()))
    return about | ({"failed": failed} if failed else {})


def _compared(base: Run, other: Run, options: ComparisonOptions) -> ComparedRun:
    pairs = pair_episodes(base, other, options.shared)
    parts = select_scopes(base, other, options.by_task)
    headlines = dict.fromkeys(
        str(base.manifest["tasks"][task]["headline"]) for names in parts.values() for task in names
    )
    found = measure_changes(pairs, parts, select_metrics(pairs, options.metrics, list(headlines)))
    return ComparedRun(
        run=other,
        differing=find_other_differences(base, other),
        changes=found,
        contrary=find_contrary_tasks(pairs, parts, found),
        flips=count_flips(pairs, base.manifest["tasks"]),
    )


# --- as a table --------------------------------------------------------------------------------------------------


def _letter(index: int) -> str:
    return ascii_uppercase[index] if index < len(ascii_uppercase) else f"run {index + 1}"


def _grid(base: Run, compared: Sequence[ComparedRun], options: ComparisonOptions) -> Table:
    several = len(compared) > 1
    after = "run" if several else "B"
    columns = [TableColumn(name, left=True) for name in (*(["run"] if several else []), "tasks", "metric")]
    shown = ("A", "mean" if several else "B", f"{after} - A", INTERVAL, "p", "p (Holm)", "detectable", "n")
    columns += [TableColumn(name, ends=("low", "high") if name == INTERVAL else None) for name in shown]
    rows: list[TableRow] = []
    digits = max((find_metric(change.metric).digits for one in compared for change in one.changes), default=3)
    for index, one in enumerate(compared, start=1):
        rows += _rows(one, [_letter(index)] if several else [], len(rows), f".{digits}f")
    notes = [f"{_letter(index)}: {_named(one)}" for index, one in enumerate([base, *(one.run for one in compared)])]
    for index, one in enumerate(compared, start=1):
        notes += [] if options.brief else _told(one, _letter(index), options.listed)
    unheeded = any(heeded_reasoning(run.summary) is False for run in (base, *(one.run for one in compared)))
    return Table(columns, rows, [*notes, *LEGEND, DETECTABLE_NOTE, *([UNHEEDED_NOTE] if unheeded else [])])


def _named(run: Run) -> str:
    return f"{run.label}, {run.path}{_failed(run)}"


def _failed(run: Run) -> str:
    return failed_mark(run.summary["tasks"].values())


def _rows(one: ComparedRun, first: Sequence[str], start: int, digits: str) -> list[TableRow]:
    rows, block, scope = [], start, None
    for change in one.changes:
        if change.scope != scope:
            block, scope = block + 1, change.scope
        interval = change.difference.ci95
        between = TableCell() if interval is None else TableCell(_between(interval, digits), list(interval))
        cells = [*map(text_cell, (*first, change.scope, change.metric)), number_cell(change.before, digits)]
        cells += [number_cell(change.after, digits), number_cell(change.value, "+" + digits), between]
        cells += [TableCell(format_p(p), p) for p in (change.p, change.p_holm)]
        rows.append(TableRow([*cells, number_cell(change.detectable, digits), text_cell(change.n)], block))
    return rows


def _between(interval: tuple[float, float], digits: str = ".3f") -> str:
    return f"[{interval[0]:+{digits}}, {interval[1]:+{digits}}]"


# --- in sentences ------------------------------------------------------------------------------------------------


def _told(one: ComparedRun, letter: str, listed: int | None) -> Iterator[str]:
    """What the table does not say of a run: other settings, tasks that went the other way, episodes that flipped."""
    if one.differing:
        parts = ", ".join(f"{name} {_setting(a)} and {_setting(b)}" for name, (a, b) in one.differing.items())
        yield f"A and {letter} also differ in {parts}."
    for other in one.contrary:
        ends = other.difference.ci95
        shown = f"{other.difference.value:+.3f}" + ("" if ends is None else f" {_between(ends)}")
        yield f"Other sign than its group: {other.metric} in {other.task}, {letter} - A {shown}"
    yield from _flipped(one.flips, letter, listed)


def _setting(value: object) -> object:
    """A setting as people write it."""
    if isinstance(value, list):
        return "/".join(map(str, value))
    return "none" if value is None else value


def _flipped(found: Flips, letter: str, listed: int | None) -> Iterator[str]:
    if not found.n:
        return
    test = "" if found.p is None else f"; exact McNemar p {format_p(found.p)}"
    yield f"Right or wrong by {', '.join(found.metrics)}, {found.n} pairs, A to {letter}{test}:"
    sides = (("wrong to right", found.gained, found.gained95), ("right to wrong", found.lost, found.lost95))
    for name, pairs, interval in sides:
        rate = "" if interval is None else ", {:.3f} [{:.3f}, {:.3f}]".format(len(pairs) / found.n, *interval)
        yield f"  {name}: {len(pairs)}{rate}"
        shown = pairs[:listed]
        yield from (f"    {_episode(pair)}" for pair in shown)
        if len(shown) < len(pairs):
            yield f"    and {len(pairs) - len(shown)} more (--all)"


def _episode(pair: EpisodePair) -> str:
    task, sample, epoch = pair.where
    return f"{task} {sample}" + (f" epoch {epoch}" if epoch else "")
