"""Summaries as tables for people. A missing value is a dash, never 0."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from harness.data.schema import MetricJSON, Summary, SummaryEntry
from harness.metrics import HEADLINE, METRICS, Metric, find_metric, shown_in
from harness.runs import averages
from harness.runs.results import EpisodeResult
from harness.runs.summary import PASS_METRIC, heeded_reasoning
from harness.types import FAILED_OUTCOMES

DASH = "-"
LENIENTLY = "~"
WIDTH = 118
LEGEND_WIDTH = 112
OWN_LEGEND = (
    "Benchmarks with metrics of their own: the headline metric with its 95 % interval, then the others; official and\n"
    "paper: by the benchmark's own rule and by the paper's, on the same episodes."
)
COUNTS = (
    "n: episodes, failed ones included",
    "failed: episodes that ended in an error of the model or the infrastructure",
    "-: no value.",
)

AVERAGES = (
    "paper_average, average: mean of the columns of a table over benchmarks, by the paper's rule and strictly;\n"
    "`harness table --layout paper` shows the columns."
)

UNHEEDED_NOTE = "(!) beside a reasoning mode: the model did not do as it was asked; see the warning of its run."


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure of a table: as people read it, and as machines do; `interval` where the text has it too."""

    text: str = DASH
    value: float | None = None
    interval: tuple[float, float] | None = None


TableRows = list[dict[str, str]]
FigureRows = list[dict[str, Shown]]
Members = Mapping[str, Sequence[str]]
"""Group to its tasks, as a run's manifest has it."""


def format_number(value: float | None, digits: int = 3) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def format_cell(metrics: Mapping[str, MetricJSON], metric: str) -> str:
    """One metric as text; the headline with its interval."""
    return _shown(metrics, metric).text


def _shown(metrics: Mapping[str, MetricJSON], metric: str) -> Shown:
    entry, row = metrics.get(metric), find_metric(metric)
    if entry is None and row.lenient in metrics:
        lenient = _shown(metrics, row.lenient)
        return replace(lenient, text=LENIENTLY + lenient.text)
    if entry is None or entry["value"] is None:
        return Shown()
    if metric == HEADLINE:
        return _with_interval(entry)
    return Shown(format_number(entry["value"], row.digits), entry["value"])


def _with_interval(entry: MetricJSON) -> Shown:
    """A metric that has a value, with its interval where there is one."""
    text = format_number(entry["value"])
    if not entry["ci95"]:
        return Shown(text, entry["value"])
    low, high = entry["ci95"]
    return Shown(f"{text} [{format_number(low, 2)}, {format_number(high, 2)}]", entry["value"], (low, high))


def table_rows(summary: Summary, groups: Members, by_task: bool, mark: str = "") -> TableRows:
    """A row for every group of the run, and for every task where asked or in no group; `mark` follows the model."""
    return [_texts(row) for row in figure_rows(summary, groups, by_task, mark)]


def figure_rows(summary: Summary, groups: Members, by_task: bool, mark: str = "") -> FigureRows:
    """The rows of `table_rows`, each figure also as a number."""
    return [row for _, row in _rows(summary, groups, by_task, mark)]


def _texts(row: Mapping[str, Shown]) -> dict[str, str]:
    return {heading: shown.text for heading, shown in row.items()}


def _rows(summary: Summary, groups: Members, by_task: bool, mark: str) -> list[tuple[str, dict[str, Shown]]]:
    """The rows, each with its headline metric: rows of different ones have different columns."""
    entries = dict(summary["groups"])
    if by_task or not entries:
        entries = {**summary["tasks"], **{_mean_of(name, entry): entry for name, entry in entries.items()}}
    else:
        grouped = {task for group in entries for task in groups.get(group, ())}
        entries |= {name: entry for name, entry in summary["tasks"].items() if name not in grouped}
    shown = {
        "model": Shown(summary["model"] + faults_mark(summary) + mark),
        "reasoning": Shown(format_reasoning(summary)),
    }
    return [
        (_headline(entry), {**shown, "tasks": Shown(name), **_values(entry), **_passes(entry)})
        for name, entry in entries.items()
    ]


def _mean_of(name: str, entry: SummaryEntry) -> str:
    return name if averages.is_average(_headline(entry)) else f"mean of {name}"


def _headline(entry: SummaryEntry) -> str:
    return str(entry.get("headline", HEADLINE))


def _passes(entry: SummaryEntry) -> dict[str, Shown]:
    """pass@k and pass^k for the largest k there is, where samples were played more than once."""
    largest = max((int(found[2]) for name in entry["metrics"] if (found := PASS_METRIC.fullmatch(name))), default=0)
    names = (f"pass@{largest}", f"pass^{largest}") if largest else ()
    return {name: _shown(entry["metrics"], name) for name in names}


def format_reasoning(summary: Summary) -> str:
    """The reasoning mode that was asked for, with a mark where the model did not heed it."""
    return str(summary["reasoning"]) + (" (!)" if heeded_reasoning(summary) is False else "")


def count_failed(entry: SummaryEntry) -> int:
    """How many of a task's or group's episodes ended in an error of the model or the infrastructure."""
    return sum(count for outcome, count in entry["outcomes"].items() if outcome in FAILED_OUTCOMES)


def failed_mark(entries: Iterable[SummaryEntry | None]) -> str:
    """What follows the name of a row over these tasks or groups: how many episodes failed; nothing where none did."""
    found = [entry for entry in entries if entry is not None]
    failed = sum(map(count_failed, found))
    return f" [{failed} of {sum(entry['n'] for entry in found)} failed]" if failed else ""


def faults_mark(summary: Summary) -> str:
    """What follows the name of a run whose tools failed on purpose; nothing where they did not."""
    return f" [tool faults {summary['tool_faults']}]" if "tool_faults" in summary else ""


def verifier_marks(summaries: Sequence[Summary]) -> list[str]:
    """What follows the name of each run: the verifier that scored it, where not all have the same; else nothing."""
    versions = [summary["verifier"] for summary in summaries]
    return [f" [verifier {version}]" if len(set(versions)) > 1 else "" for version in versions]


def verifier_note(summaries: Sequence[Summary]) -> list[str]:
    """A sentence where not all runs were scored by the same verifier: which by which."""
    scored: dict[int, dict[str, None]] = {}
    for summary in summaries:
        shown = "" if summary["reasoning"] == "default" else f" ({summary['reasoning']})"
        scored.setdefault(summary["verifier"], {})[f"{summary['model']}{shown}"] = None
    if len(scored) < 2:
        return []
    told = "; ".join(f"{version}: {', '.join(names)}" for version, names in sorted(scored.items()))
    return [
        f"Not to be compared: different versions of the verifier scored these runs ({told}); see `harness rescore`."
    ]


def format_legend(summaries: Sequence[Summary]) -> str:
    """What the columns of a table of these runs mean."""
    headlines = [_headline(entry) for summary in summaries for entry in summary["tasks"].values()]
    own = any(headline != HEADLINE for headline in headlines)
    if HEADLINE in headlines or not own:
        columns = [_legend(summaries, common=False), *([OWN_LEGEND] if own else [])]
    else:
        columns = [OWN_LEGEND, _legend(summaries, common=True)]
    columns += [_wrapped(f"{text}.") for text in _own_legends(summaries)]
    if any(averages.is_average(_headline(entry)) for summary in summaries for entry in summary["groups"].values()):
        columns.append(AVERAGES)
    unheeded = any(heeded_reasoning(summary) is False for summary in summaries)
    notes = [_wrapped(note) for note in (*_floor_note(summaries), *verifier_note(summaries))]
    return "\n".join([*columns, *([UNHEEDED_NOTE] if unheeded else []), *notes])


def _wrapped(note: str) -> str:
    return textwrap.fill(note, WIDTH, break_long_words=False, break_on_hyphens=False)


def _legend(summaries: Sequence[Summary], common: bool) -> str:
    """What the columns of a table mean; `common`: only those that tables of any benchmark have."""
    found = {name for summary in summaries for entry in summary["tasks"].values() for name in entry["metrics"]}
    rows = [row for row in shown_in("table") if (row.common or not common) and (not row.rare or row.name in found)]
    said = [row.legend for row in rows if row.legend]
    return textwrap.fill("; ".join([*said, *COUNTS]), LEGEND_WIDTH)


def _own_legends(summaries: Sequence[Summary]) -> list[str]:
    """What is said of metrics that only some benchmarks have, where one of these has them."""
    there = {name for summary in summaries for entry in summary["tasks"].values() for name in entry["metrics"]}
    said = [row.legend for row in METRICS.values() if row.legend and row.name in there and "table" not in row.shown]
    return ["; ".join(said)] if said else []


def headline_floors(summaries: Sequence[Summary]) -> dict[str, float]:
    """What policy/silent reaches by the headline metric, of every group and task of which that is not 0."""
    entries = [entry for summary in summaries for part in ("groups", "tasks") for entry in summary[part].items()]
    return {name: entry["floor"] for name, entry in entries if "floor" in entry}


def _floor_note(summaries: Sequence[Summary]) -> list[str]:
    reached = ", ".join(f"{name} {format_number(value)}" for name, value in headline_floors(summaries).items())
    return [f"Floor, what policy/silent reaches by the headline metric on all samples: {reached}."] if reached else []


def _values(entry: SummaryEntry) -> dict[str, Shown]:
    values = {row.heading: _shown(entry["metrics"], row.name) for row in _columns(entry)}
    if _headline(entry) != HEADLINE:
        values = _own_values(entry)
    return {"n": _count(entry["n"]), **values, "failed": _count(count_failed(entry))}


def _count(number: int) -> Shown:
    return Shown(str(number), number)


def _own_values(entry: SummaryEntry) -> dict[str, Shown]:
    """The columns of a benchmark with metrics of its own, as it orders them after the headline."""
    metrics, headline = entry["metrics"], _headline(entry)
    first = metrics.get(headline)
    leading = {headline: Shown() if first is None or first["value"] is None else _with_interval(first)}
    if averages.is_average(headline):
        return {**leading, averages.AVERAGE: _shown(metrics, averages.AVERAGE)}
    others = [
        name for name in metrics if name != headline and not (find_metric(name).common or PASS_METRIC.fullmatch(name))
    ]
    return {
        **leading,
        **{_own_heading(name): _shown(metrics, name) for name in others},
        **{row.heading: _shown(metrics, row.name) for row in _columns(entry) if row.common},
    }


def _own_heading(name: str) -> str:
    row = find_metric(name)
    return row.heading if "own" in row.shown else name.replace("_", " ")


def _columns(entry: SummaryEntry) -> list[Metric]:
    """The metrics that a row of a table shows."""
    return [row for row in shown_in("table") if not row.rare or row.name in entry["metrics"]]


def format_table(
    summaries: Sequence[Summary], groups: Sequence[Members], by_task: bool, marks: Sequence[str] | None = None
) -> str:
    """A table of runs: a row a group (or task) and model. `groups`: each run's; `marks`: what follows each one's model,
    its verifier where nothing else is said. Tasks with another headline metric have a table of their own below."""
    runs = zip(summaries, groups, verifier_marks(summaries) if marks is None else marks, strict=True)
    found = [
        (head, _texts(row)) for summary, members, mark in runs for head, row in _rows(summary, members, by_task, mark)
    ]
    blocks = dict.fromkeys(headline for headline, _ in found)
    return "\n\n".join(_block([row for head, row in found if head == block]) for block in blocks)


def _block(found: TableRows) -> str:
    """A table of rows with the same headline."""
    if all(row["reasoning"] == "default" for row in found):
        found = [{heading: text for heading, text in row.items() if heading != "reasoning"} for row in found]
    headings = order_headings(found)
    found = [{heading: row.get(heading, DASH) for heading in headings} for row in found]
    place = {row["tasks"]: index for index, row in reversed(list(enumerate(found)))}
    found.sort(key=lambda row: place[row["tasks"]])
    return tabulate(found, headers="keys", disable_numparse=True, colalign=_alignment(found))


def order_headings(rows: Iterable[Mapping[str, object]]) -> list[str]:
    """The columns of a table whose rows may lack some: as the fullest row has them, then what others add."""
    fullest_first = sorted(rows, key=len, reverse=True)
    return list(dict.fromkeys(heading for row in fullest_first for heading in row))


def _alignment(found: TableRows) -> tuple[str, ...]:
    return (
        tuple("left" if heading in ("model", "reasoning", "tasks") else "right" for heading in found[0])
        if found
        else ()
    )


def describe_failures(results: Iterable[EpisodeResult]) -> list[str]:
    """How episodes ended otherwise than ok: a line for every outcome and reason, with one error in full."""
    counts: Counter[tuple[str, str]] = Counter()
    errors: dict[tuple[str, str], str] = {}
    for result in results:
        if result.outcome != "ok":
            end = result.outcome, result.stop
            counts[end] += 1
            errors.setdefault(end, result.error or "")
    return [
        f"{count} {outcome} ({stop})" + (f", for example: {errors[outcome, stop]}" if errors[outcome, stop] else "")
        for (outcome, stop), count in counts.most_common()
    ]
