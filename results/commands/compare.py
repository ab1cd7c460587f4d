"""Compare runs of the same samples with a base: paired differences, how sure they are, and which episodes flipped.

The first run is the base; a folder stands for the runs in it, so `harness compare DIR` compares the two modes that
`harness eval --reasoning both` wrote there. Runs whose tasks, samples or epochs differ are refused. What each figure
means: docs/comparing.md
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

from harness.errors import UsageError
from results.commands.table import add_format_option

if TYPE_CHECKING:
    from results.comparison.changes import Change, Contrary
    from results.comparison.flips import Flips
    from results.comparison.pairs import EpisodePair
    from results.render import Table, TableRow
    from results.runs import Run

HELP = "paired differences between runs of the same samples, and whether they are real"
LISTED = 5
LEGEND = (
    "A, B: means over the n pairs that have the metric in both runs, of groups as in tables; 95 %: clustered t.",
    "p: paired permutation test, seeded; Holm: adjusted over the metrics of one block; -: no value.",
)


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "run", type=Path, nargs="+", metavar="RUN", help="the base, then what is compared with it; folders hold several"
    )
    add("--by-task", action="store_true", help="every task too, not only groups")
    add("--metric", nargs="+", action="extend", default=[], metavar="GLOB", help="which metrics (default: the usual)")
    add("--shared", action="store_true", help="leave out tasks that only one of the runs has")
    add("--all", action="store_true", help=f"list every episode that flipped, not only the first {LISTED}")
    add("--brief", action="store_true", help="the table alone, without what flipped or changed sign")
    add_format_option(parser)


def run(args: argparse.Namespace) -> int:
    """Raises UsageError for fewer than two runs, and for runs that cannot be paired."""
    from results.render import TABLE_FORMATS, dump_json
    from results.runs import read_runs

    runs = read_runs(args.run)
    if len(runs) < 2:
        raise UsageError(f"{args.run[0]} is one run; name another one to compare it with.")
    compared = [_compared(runs[0], other, args) for other in runs[1:]]
    if args.format == "json":
        print(dump_json({"base": _about(runs[0]), "comparisons": [one.to_json() for one in compared]}))
    else:
        print(TABLE_FORMATS[args.format](_grid(runs[0], compared, args)))
    return 0


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run beside the base: all that is shown of the two."""

    run: Run
    differing: dict[str, tuple[object, object]]
    changes: Sequence[Change]
    contrary: Sequence[Contrary]
    flips: Flips

    def to_json(self) -> dict[str, object]:
        return {
            "run": _about(self.run),
            "also_different": {name: list(both) for name, both in self.differing.items()},
            "changes": [change.as_json() for change in self.changes],
            "contrary": [one.as_json() for one in self.contrary],
            "flips": self.flips.to_json(),
        }


def _about(run: Run) -> dict[str, object]:
    return {"path": str(run.path), "model": run.summary["model"], "reasoning": run.summary["reasoning"]}


def _compared(base: Run, other: Run, args: argparse.Namespace) -> ComparedRun:
    from results.comparison.changes import changes, contrary, metrics_of, scopes
    from results.comparison.flips import count_flips
    from results.comparison.pairs import find_other_differences, pair_episodes

    pairs = pair_episodes(base, other, args.shared)
    parts = scopes(base, other, args.by_task)
    headlines = dict.fromkeys(
        str(base.manifest["tasks"][task]["headline"]) for names in parts.values() for task in names
    )
    found = changes(pairs, parts, metrics_of(pairs, args.metric, list(headlines)))
    return ComparedRun(
        run=other,
        differing=find_other_differences(base, other),
        changes=found,
        contrary=contrary(pairs, parts, found),
        flips=count_flips(pairs, base.manifest["tasks"]),
    )


# --- as a table --------------------------------------------------------------------------------------------------


def _letter(index: int) -> str:
    return ascii_uppercase[index] if index < len(ascii_uppercase) else f"run {index + 1}"


def _grid(base: Run, compared: Sequence[ComparedRun], args: argparse.Namespace) -> Table:
    from harness.console.tables import UNHEEDED_NOTE
    from harness.runs.summary import heeded_reasoning
    from results.comparison.changes import DETECTABLE
    from results.render import Table, TableColumn

    several = len(compared) > 1
    after = "run" if several else "B"
    columns = [TableColumn(name, left=True) for name in (*(["run"] if several else []), "tasks", "metric")]
    shown = ("A", "mean" if several else "B", f"{after} - A", "95 % interval", "p", "p (Holm)", "detectable", "n")
    columns += [TableColumn(name) for name in shown]
    rows: list[TableRow] = []
    for index, one in enumerate(compared, start=1):
        rows += _rows(one, [_letter(index)] if several else [], len(rows))
    notes = [f"{_letter(index)}: {_named(one)}" for index, one in enumerate([base, *(one.run for one in compared)])]
    for index, one in enumerate(compared, start=1):
        notes += [] if args.brief else _told(one, _letter(index), args.all)
    unheeded = any(heeded_reasoning(run.summary) is False for run in (base, *(one.run for one in compared)))
    return Table(columns, rows, [*notes, *LEGEND, DETECTABLE, *([UNHEEDED_NOTE] if unheeded else [])])


def _named(run: Run) -> str:
    return f"{run.label}, {run.path}"


def _rows(one: ComparedRun, first: Sequence[str], start: int) -> list[TableRow]:
    from harness.metrics import find_metric
    from results.comparison.changes import shown_p
    from results.render import TableCell, TableRow, number_cell, text_cell

    rows, block, scope = [], start, None
    for change in one.changes:
        if change.scope != scope:
            block, scope = block + 1, change.scope
        digits = f".{find_metric(change.metric).digits}f"
        interval = change.difference.ci95
        between = TableCell() if interval is None else TableCell(_between(interval, digits), list(interval))
        cells = [*map(text_cell, (*first, change.scope, change.metric)), number_cell(change.before, digits)]
        cells += [number_cell(change.after, digits), number_cell(change.value, "+" + digits), between]
        cells += [TableCell(shown_p(p), p) for p in (change.p, change.p_holm)]
        rows.append(TableRow([*cells, number_cell(change.detectable, digits), text_cell(change.n)], block))
    return rows


def _between(interval: tuple[float, float], digits: str = ".3f") -> str:
    return f"[{interval[0]:+{digits}}, {interval[1]:+{digits}}]"


# --- in sentences ------------------------------------------------------------------------------------------------


def _told(one: ComparedRun, letter: str, everything: bool) -> Iterator[str]:
    """What the table does not say of a run: other settings, tasks that went the other way, episodes that flipped."""
    if one.differing:
        parts = ", ".join(f"{name} {a} and {b}" for name, (a, b) in one.differing.items())
        yield f"A and {letter} also differ in {parts}."
    for other in one.contrary:
        ends = other.difference.ci95
        shown = f"{other.difference.value:+.3f}" + ("" if ends is None else f" {_between(ends)}")
        yield f"Other sign than its group: {other.metric} in {other.task}, {letter} - A {shown}"
    yield from _flipped(one.flips, letter, everything)


def _flipped(found: Flips, letter: str, everything: bool) -> Iterator[str]:
    from results.comparison.changes import shown_p

    if not found.n:
        return
    test = "" if found.p is None else f"; exact McNemar p {shown_p(found.p)}"
    yield f"Right or wrong by {', '.join(found.metrics)}, {found.n} pairs, A to {letter}{test}:"
    sides = (("wrong to right", found.gained, found.gained95), ("right to wrong", found.lost, found.lost95))
    for name, pairs, interval in sides:
        rate = "" if interval is None else ", {:.3f} [{:.3f}, {:.3f}]".format(len(pairs) / found.n, *interval)
        yield f"  {name}: {len(pairs)}{rate}"
        listed = pairs if everything else pairs[:LISTED]
        yield from (f"    {_episode(pair)}" for pair in listed)
        if len(listed) < len(pairs):
            yield f"    and {len(pairs) - len(listed)} more (--all)"


def _episode(pair: EpisodePair) -> str:
    task, sample, epoch = pair.where
    return f"{task} {sample}" + (f" epoch {epoch}" if epoch else "")
