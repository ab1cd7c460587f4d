"""The figures of a report, from its runs: a name, what it shows in a sentence, and its drawing."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from urllib.parse import quote, urlencode

from harness.data.schema import MetricJSON
from harness.metrics import HEADLINE, title_of
from harness.runs.summary import PASS_METRIC
from harness.stats import Estimate, Observation, estimate_mean
from results.causes import CAUSE_LABELS, Cause
from results.comparison.changes import format_p
from results.report.curves import TrainingCurves
from results.report.data import Report, ReportedRun
from results.report.differences import RunDifference
from results.report.svg import PlotLine, PlotMark, plot_bubbles, plot_intervals, plot_lines, plot_stacked_bars

UNIT = (0.0, 1.0)
COLOURS, GREYS = 12, 8
"""How many of each report.css has."""


@dataclass(frozen=True, slots=True)
class Figure:
    """`says` may hold text of others: it is escaped where it is shown. `wide` ones take the whole width."""

    name: str
    says: str
    drawings: Sequence[str]
    legend: Sequence[tuple[str, str]] = ()
    wide: bool = False


def assign_colours(runs: Sequence[ReportedRun]) -> dict[str, str]:
    """A class for every run's label: greys for policies among models, else the palette in turn."""
    models = [run for run in runs if not run.is_policy] or list(runs)
    floors = [run for run in runs if run not in models]
    found = {run.label: f"c{index % COLOURS}" for index, run in enumerate(models)}
    return found | {run.label: f"p{index % GREYS}" for index, run in enumerate(floors)}


def draw_figures(report: Report, found: Sequence[RunDifference]) -> Iterator[Figure]:
    """All figures for which there is something to show."""
    palette = assign_colours(report.runs)
    legend = list(palette.items())
    yield from _by_task(report.runs, palette, legend)
    yield from _by_hops(report.runs, palette, legend)
    yield from _by_calls(report.runs, palette)
    yield from _over_epochs(report.runs, palette, legend)
    yield from _differences(found, palette)
    yield from _training(report.curves)


def draw_causes(runs: Sequence[ReportedRun]) -> Figure:
    """Shares of episodes by cause, a bar a run."""
    rows = []
    for number, run in enumerate(runs):
        found = Counter(None if diagnosis is None else diagnosis.cause for diagnosis in run.diagnoses)
        shares = [("k-fine", "no failure", found[None], link_episodes(number, None))] if found[None] else []
        shares += [
            (f"k-{cause}", label, found[cause], link_episodes(number, cause))
            for cause, label in CAUSE_LABELS.items()
            if found[cause]
        ]
        rows.append((run.label, shares))
    present = {class_ for _, shares in rows for class_, *_ in shares}
    legend = [("no failure", "k-fine"), *((label, f"k-{cause}") for cause, label in CAUSE_LABELS.items())]
    shown = [(label, class_) for label, class_ in legend if class_ in present]
    says = "Every episode of a run by its one cause of failure; a part leads to its episodes."
    return Figure("Causes", says, [plot_stacked_bars(rows, says)], shown, wide=True)


def link_episodes(run: int, cause: Cause | None, **more: str) -> str:
    """The address inside the report of a run's episodes with a cause; None is no failure."""
    asked = {"run": run, **more, "cause": cause or "fine"}
    return "#episodes&" + urlencode(asked, quote_via=quote, errors="replace")  # a name may hold half a surrogate pair


def _by_task(
    runs: Sequence[ReportedRun], palette: Mapping[str, str], legend: list[tuple[str, str]]
) -> Iterator[Figure]:
    names = dict.fromkeys(name for run in runs for name in run.summary["tasks"])
    rows = [(name, [marks for run in runs if (marks := list(_task_marks(run, name, palette)))]) for name in names]
    rows = [(name, _floors_together(marks)) for name, marks in rows if marks]
    if rows:
        own = {str(entry["headline"]) for run in runs for entry in run.summary["tasks"].values()}
        axis = title_of(HEADLINE) if own == {HEADLINE} else "each task's headline metric"
        shown = f"{axis[0].upper()}{axis[1:]} with its 95 % interval (filled)"
        says = f"{shown}; hollow: the paper's rule, where its value differs."
        yield Figure("Score by task", says, [plot_intervals(rows, UNIT, says, axis)], legend)


def _floors_together(marks: Sequence[list[PlotMark]]) -> list[list[PlotMark]]:
    """A line a run; policies share one, without their intervals, where there are models."""
    floors = [replace(mark, interval=None) for line in marks for mark in line if mark.colour.startswith("p")]
    return [line for line in marks if not line[0].colour.startswith("p")] + ([floors] if floors else [])


def _task_marks(run: ReportedRun, task: str, palette: Mapping[str, str]) -> Iterator[PlotMark]:
    """The task's headline metric, and the paper's where it has another value."""
    entry = run.summary["tasks"].get(task)
    if entry is None:
        return
    headline = entry["headline"]
    strict, paper = (entry["metrics"].get(name) for name in (headline, f"paper_{headline}"))
    for cell, rule in ((strict, headline), (paper, f"{headline} by the paper's rule")):
        if cell and cell["value"] is not None and (cell is strict or not strict or cell["value"] != strict["value"]):
            ends = _ends(cell)
            title = f"{run.label}, {task}, {rule}: {_told(cell['value'], ends)}, n = {cell['n']}"
            yield PlotMark(cell["value"], ends, palette[run.label], title, hollow=cell is paper)


def _ends(cell: MetricJSON) -> tuple[float, float] | None:
    """The ends of a metric's interval."""
    return (cell["ci95"][0], cell["ci95"][1]) if cell["ci95"] else None


def _told(value: float, ends: tuple[float, ...] | None) -> str:
    return f"{value:.3f}" + (f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else "")


def _by_hops(
    runs: Sequence[ReportedRun], palette: Mapping[str, str], legend: list[tuple[str, str]]
) -> Iterator[Figure]:
    series = []
    for run in runs:
        by_hops: dict[int, list[Observation]] = defaultdict(list)
        for result in run.results:
            sample = run.samples.get((result.task, result.sample))
            if sample is not None and (value := result.scores.get(HEADLINE)) is not None:
                cluster = run.manifest["tasks"][result.task]["clusters"][result.sample]
                by_hops[sum(map(len, sample.gold.sub_answers.values()))].append((cluster, float(value)))
        points = [(float(hops), estimate_mean([found], UNIT)) for hops, found in sorted(by_hops.items())]
        if points:
            ends = [None if palette[run.label].startswith("p") else mean.ci95 for _, mean in points]
            line = [
                (hops, mean.value, interval)
                for (hops, mean), interval in zip(points, ends, strict=True)
                if mean.value is not None
            ]
            series.append(PlotLine(line, palette[run.label], run.label))
    if len({point[0] for line in series for point in line.points}) > 1:
        says = "Mean strict Solve-F1 by the number of sub-answers an episode asks for, all tasks together."
        drawn = plot_lines(series, UNIT, says, ("sub-answers (hops)", "strict Solve-F1"), whole=True)
        yield Figure("Score against hops", says, [drawn], legend)


def _by_calls(runs: Sequence[ReportedRun], palette: Mapping[str, str]) -> Iterator[Figure]:
    most = max((result.calls for run in runs for result in run.results), default=0)
    drawings = []
    for run in runs:
        counts: Counter[tuple[int, float]] = Counter()
        for result in run.results:
            if (value := result.scores.get(HEADLINE)) is not None:
                counts[result.calls, round(float(value), 1)] += 1
        if counts:
            says = f"{run.label}: calls against strict Solve-F1"
            drawings.append(plot_bubbles(counts, max(most, 1), palette[run.label], says, run.label))
    if drawings:
        says = "Episodes by their number of calls and their strict Solve-F1; a circle's area is their number."
        yield Figure("Calls against score", says, drawings, wide=True)


def _over_epochs(
    runs: Sequence[ReportedRun], palette: Mapping[str, str], legend: list[tuple[str, str]]
) -> Iterator[Figure]:
    series = []
    for run in runs:
        for rule in ("pass@", "pass^"):
            points = [(float(k), mean.value, mean.ci95) for k, mean in _passes(run, rule) if mean.value is not None]
            if len(points) > 1:
                series.append(PlotLine(points, palette[run.label], f"{run.label}, {rule}k", dashed=rule == "pass@"))
    if series:
        says = "A right answer in all of k attempts (pass^k, solid) and in at least one (pass@k, dashed), tasks' mean."
        yield Figure("Reliability", says, [plot_lines(series, UNIT, says, ("k", "share"), whole=True)], legend)


def _passes(run: ReportedRun, rule: str) -> Iterator[tuple[int, Estimate]]:
    """The mean over the run's groups, or its tasks where it has no group, of each pass metric; no interval of its own
    where there are several."""
    entries = list((run.summary["groups"] or run.summary["tasks"]).values())
    found = [PASS_METRIC.fullmatch(name) for name in entries[0]["metrics"]] if entries else []
    for k in sorted(int(one[2]) for one in found if one and one[1] == rule):
        name = f"{rule}{k}"
        cells = [entry["metrics"][name] for entry in entries if name in entry["metrics"]]
        values = [cell["value"] for cell in cells if cell["value"] is not None]
        ends = _ends(cells[0]) if len(cells) == 1 else None
        mean = sum(values) / len(values) if values else None
        yield k, Estimate(mean, None, ends, len(values))


def _differences(found: Sequence[RunDifference], palette: Mapping[str, str]) -> Iterator[Figure]:
    rows: list[tuple[str, list[list[PlotMark]]]] = []
    for one in found:
        for name, change in one.changes.items():
            title = f"{one.run.label} minus {one.base.label}, {name}: {_told(change.value, change.difference.ci95)}"
            title += f", n = {change.n}, p {format_p(change.p)}"
            mark = PlotMark(change.value, change.difference.ci95, palette[one.run.label], title)
            rows.append((f"{one.run.label}: {name}", [[mark]]))
    if rows:
        ends = [end for _, [[mark]] in rows for end in (mark.interval or (mark.value,))]
        reach = max(0.05, 1.1 * max(map(abs, ends)))
        base = found[0].base.label
        says = f"Each run minus {base}, paired on the same episodes, with 95 % intervals; 0 is no difference."
        drawn = plot_intervals(rows, (-reach, reach), says, f"difference from {base}")
        yield Figure("Paired differences", says, [drawn])


def _training(curves: Sequence[TrainingCurves]) -> Iterator[Figure]:
    for curve in curves:
        for found, says in ((curve.trained, "Logged while training."), (curve.validated, "Found by validations.")):
            series = [
                PlotLine([(step, value, None) for step, value in points], f"c{index % COLOURS}", name)
                for index, (name, points) in enumerate(found.items())
            ]
            if series and len({point[0] for line in series for point in line.points}) > 1:
                values = [point[1] for line in series for point in line.points]
                ends = (min(0.0, *values), max(1.0, *values))
                legend = [(line.title, line.colour) for line in series]
                yield Figure(f"Training: {curve.label}", says, [plot_lines(series, ends, says, ("step", ""))], legend)
