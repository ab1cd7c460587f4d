"""The first half of a report: the result in words, its tables, figures and causes, as HTML. Text is escaped here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from harness.console.tables import format_cell, format_legend, format_number, table_rows, verifier_marks
from harness.data.schema import Manifest, MetricJSON, Summary, SummaryEntry
from harness.metrics import ANSWERS, title_of
from harness.runs import averages
from harness.runs.results import EpisodeResult
from harness.runs.summary import PASS_METRIC, heeded_reasoning
from results.causes import CAUSE_LABELS, count_causes
from results.comparison.changes import DETECTABLE_NOTE, MetricChange, format_p
from results.report.data import Report, ReportedRun
from results.report.differences import RunDifference, compare_with_first
from results.report.figures import Figure, assign_colours, draw_causes, draw_figures, link_episodes
from results.report.svg import element

Cells = Sequence[Sequence[str]]


def build_overview(report: Report) -> str:
    """Everything before the episodes."""
    palette, found = assign_colours(report.runs), compare_with_first(report.runs)
    words = _remarks(report.remarks) + _cards(report.runs, palette) + _words(report.runs, found)
    return "\n".join(
        [
            section("The result", words),
            section("Tables", _tables(report.runs)),
            section("Figures", element("div", "".join(map(figure, draw_figures(report, found))), class_="figures")),
            section("Why episodes failed", _causes(report.runs)),
        ]
    )


def section(title: str, content: str) -> str:
    name = title.lower().replace(" ", "-")
    return element("section", element("h2", escape(title), id=name) + content, aria_labelledby=name)


def figure(shown: Figure) -> str:
    """A figure with its caption and legend."""
    heading = element("h3", escape(shown.name)) + element("p", escape(shown.says))
    keys = "".join(element("li", element("i", class_=class_) + escape(name)) for name, class_ in shown.legend)
    said = element("figcaption", heading + (element("ul", keys, class_="legend") if len(shown.legend) > 1 else ""))
    several = "drawings several" if len(shown.drawings) > 1 else "drawings"
    drawn = element("div", "".join(shown.drawings), class_=several)
    return element("figure", said + drawn, class_="wide" if shown.wide else "half")


def table(
    heads: Sequence[str],
    body: Cells,
    left: int = 1,
    class_: str = "",
    links: Mapping[tuple[int, int], str] | None = None,
) -> str:
    """A table of text cells; the first `left` columns are names. `links`: addresses by row and column."""
    head = element(
        "tr", "".join(element("th", escape(name), scope="col", class_=_side(i, left)) for i, name in _of(heads))
    )
    lines = "".join(
        element(
            "tr",
            "".join(
                element("td", _linked(escape(cell), (links or {}).get((row, i))), class_=_side(i, left))
                for i, cell in _of(line)
            ),
        )
        for row, line in enumerate(body)
    )
    inner = element("thead", head) + element("tbody", lines)
    return element("div", element("table", inner, class_=class_), class_="scroll", tabindex=0)


def _linked(markup: str, address: str | None) -> str:
    return element("a", markup, href=address) if address else markup


def _of(items: Sequence[str]) -> Iterator[tuple[int, str]]:
    return enumerate(items)


def _side(column: int, left: int) -> str:
    return "name" if column < left else "number"


# --- in words ----------------------------------------------------------------------------------------------------


def _remarks(remarks: Sequence[str]) -> str:
    items = "".join(element("li", escape(remark)) for remark in remarks)
    return element("ul", items, class_="remarks", role="note") if items else ""


def top_entries(summary: Summary, manifest: Manifest) -> dict[str, SummaryEntry]:
    """A run's groups, and its tasks that are in none."""
    groups, inside = summary["groups"], _members(manifest, summary["groups"])
    return {**groups, **{name: entry for name, entry in summary["tasks"].items() if name not in inside}}


def list_names(manifest: Manifest) -> list[str]:
    """The names of a run's groups, and of its tasks that are in none, before there is a summary."""
    inside = _members(manifest, manifest["groups"])
    return [*manifest["groups"], *(name for name in manifest["tasks"] if name not in inside)]


def _members(manifest: Manifest, groups: Iterable[str]) -> set[str]:
    return {task for name in groups for task in manifest["groups"].get(name, ())}


def _entries(run: ReportedRun) -> dict[str, SummaryEntry]:
    return top_entries(run.summary, run.manifest)


def _cards(runs: Sequence[ReportedRun], palette: Mapping[str, str]) -> str:
    """The headline of every model, in large; of the policies only where there is nothing else."""
    models = [run for run in runs if not run.is_policy] or list(runs)
    cards = [_card(run, name, entry, palette[run.label]) for run in models for name, entry in _benchmarks(run).items()]
    return element("div", "".join(cards[:12]), class_="cards") if cards else ""


def _benchmarks(run: ReportedRun) -> dict[str, SummaryEntry]:
    """The entries without the averages over several benchmarks, which have no second rule, answers or floor."""
    return {name: entry for name, entry in _entries(run).items() if not averages.is_average(str(entry["headline"]))}


def _card(run: ReportedRun, name: str, entry: SummaryEntry, colour: str) -> str:
    metrics = entry["metrics"]
    headline = metrics.get(entry["headline"]) or {"value": None, "ci95": None}
    between = "{:.3f} to {:.3f}".format(*headline["ci95"]) if headline["ci95"] else "no interval"
    answer = next((metrics[name] for name in ANSWERS if metrics.get(name)), {"value": None})
    facts = [("by the paper’s rule", _value(metrics, f"paper_{entry['headline']}"))]
    facts += [("right answers", format_number(answer["value"]))]
    facts += [("calls an episode", format_cell(metrics, "calls"))]
    inner = element("p", element("i", class_=colour) + escape(run.label), class_="who")
    inner += element("p", escape(f"{name}, {title_of(str(entry['headline']))}"), class_="what")
    inner += element("p", format_number(headline["value"]), class_="big") + element(
        "p", escape(between), class_="between"
    )
    inner += element("dl", "".join(element("dt", name) + element("dd", escape(told)) for name, told in facts))
    return element("article", inner, class_="card")


def _value(metrics: Mapping[str, MetricJSON], metric: str) -> str:
    return format_number((metrics.get(metric) or {"value": None})["value"])


def _words(runs: Sequence[ReportedRun], found: Sequence[RunDifference]) -> str:
    said = [_sentence(run) for run in runs if not run.is_policy] + [_floor(runs), *map(_difference, found)]
    if any(one.changes for one in found):
        said.append(f"p: paired permutation test, each by itself; {DETECTABLE_NOTE}")
    return element("div", "".join(element("p", escape(text)) for text in said if text), class_="words")


def _sentence(run: ReportedRun) -> str:
    """What a run reached, how many of its episodes fell short and why, and which ended badly."""
    failed = [diagnosis for diagnosis in run.diagnoses if diagnosis is not None]
    reached = "; ".join(_reached(run))
    said = f"{run.label} reached {reached}. " if reached else f"{run.label}: "
    said += f"{len(failed):,} of its {len(run.results):,} episodes fell short of perfect"
    for cause, count in Counter(diagnosis.cause for diagnosis in failed).most_common(1):
        said += f", most often: {CAUSE_LABELS[cause]} ({count:,})"
    lost = Counter(result.outcome.replace("_", " ") for result in run.results if result.outcome != "ok")
    ends = ", ".join(f"{outcome} {count:,}" for outcome, count in sorted(lost.items()))
    said += f". Ended otherwise than by its own words: {ends}; these stay in the denominator." if ends else "."
    return said + (" It did not heed its reasoning switch." if heeded_reasoning(run.summary) is False else "")


def _reached(run: ReportedRun) -> Iterator[str]:
    for name, entry in _entries(run).items():
        headline = str(entry["headline"])
        cell = entry["metrics"].get(headline)
        if cell and cell["value"] is not None:
            ends = f" (95 % interval {cell['ci95'][0]:.3f} to {cell['ci95'][1]:.3f})" if cell["ci95"] else ""
            paper = entry["metrics"].get(f"paper_{headline}")
            besides = f", {format_number(paper['value'])} by the paper’s rule" if paper else ""
            yield f"{title_of(headline)} {cell['value']:.3f}{ends} on {name}{besides}"


def _floor(runs: Sequence[ReportedRun]) -> str:
    """What policies without understanding reach: a model's numbers mean something above these."""
    told = []
    for run in runs:
        if run.is_policy and run.summary["model"] != "policy/oracle":
            values = [
                f"{name} {_value(entry['metrics'], headline)} ({_value(entry['metrics'], f'paper_{headline}')})"
                for name, entry in _benchmarks(run).items()
                for headline in [str(entry["headline"])]
            ]
            told.append(f"{run.label} {', '.join(values)}")
    reached = "; ".join(told)
    return (
        f"What understands nothing reaches, strictly and (in brackets) by the paper’s rule: {reached}." if told else ""
    )


def _difference(found: RunDifference) -> str:
    if found.refused:
        return f"Not compared: {found.refused}"
    told = "; ".join(f"{name} {_change(change)}" for name, change in found.changes.items())
    return f"{found.run.label} minus {found.base.label}, on the same episodes: {told}." if told else ""


def _change(change: MetricChange) -> str:
    ends = "" if change.difference.ci95 is None else " [{}, {}]".format(*map(_signed, change.difference.ci95))
    least = "" if change.detectable is None else f", detectable {change.detectable:.3f}"
    return f"{_signed(change.value)}{ends}, p {format_p(change.p)}{least}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "\u2212")


# --- tables ------------------------------------------------------------------------------------------------------


def _tables(runs: Sequence[ReportedRun]) -> str:
    whole = _results(runs, by_task=False) + element(
        "p", escape(format_legend([run.summary for run in runs])), class_="note"
    )
    folded = element("summary", "By task") + _results(runs, by_task=True)
    return whole + element("details", folded)


def _results(runs: Sequence[ReportedRun], by_task: bool) -> str:
    """A table for every headline metric there is: rows of different ones have different columns."""
    lines: dict[tuple[str, ...], list[dict[str, str]]] = {}
    for run, scored in zip(runs, verifier_marks([run.summary for run in runs]), strict=True):
        for row in table_rows(run.summary, run.manifest["groups"], by_task):
            mark = (" (!)" if row["reasoning"].endswith("(!)") else "") + scored
            rest = {heading: text for heading, text in row.items() if heading not in ("model", "reasoning")}
            columns = tuple(heading for heading in rest if not PASS_METRIC.fullmatch(heading))
            lines.setdefault(columns, []).append({"run": run.label + mark, **rest})
    return "".join(_block(found) for found in lines.values())


def _block(lines: list[dict[str, str]]) -> str:
    heads = list(dict.fromkeys(heading for line in lines for heading in line))
    place = {line["tasks"]: index for index, line in reversed(list(enumerate(lines)))}
    found = sorted(lines, key=lambda line: place[line["tasks"]])
    return table(heads, [[line.get(heading, "-") for heading in heads] for line in found], left=2)


# --- causes ------------------------------------------------------------------------------------------------------


def _causes(runs: Sequence[ReportedRun]) -> str:
    parts = [figure(draw_causes(runs))]
    for number, run in enumerate(runs):
        inner = element("summary", escape(f"{run.label}: by task and by hops"))
        pairs = list(zip(run.results, run.diagnoses, strict=True))
        inner += _grid("task", count_causes((result.task, d) for result, d in pairs), number)
        if run.samples:
            inner += _grid("hops", count_causes((_hops(run, result), d) for result, d in pairs))
        parts.append(element("details", inner))
    return "".join(parts)


def _hops(run: ReportedRun, result: EpisodeResult) -> int:
    return sum(map(len, run.samples[result.task, result.sample].gold.sub_answers.values()))


def _grid(name: str, found: Mapping[Any, Counter[Any]], run: int | None = None) -> str:
    """Groups down, causes across, counts inside; a dash where there is none. `run`: whose episodes counts lead to,
    where the groups are tasks."""
    present = [cause for cause in CAUSE_LABELS if any(counts[cause] for counts in found.values())]
    heads = [name, "episodes", "no failure", *(CAUSE_LABELS[cause] for cause in present)]
    body = [
        [str(group), str(counts.total()), *(str(counts[cause]) if counts[cause] else "-" for cause in (None, *present))]
        for group, counts in sorted(found.items())
    ]
    links = {
        (row, column): link_episodes(run, cause, task=group)
        for row, (group, counts) in enumerate(sorted(found.items()))
        for column, cause in enumerate((None, *present), start=2)
        if run is not None and counts[cause]
    }
    return table(heads, body, class_="counts", links=links)
