"""Summaries as tables for people. A missing value is a dash, never 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tabulate import tabulate

from harness.summary import heeded

DASH = "-"
COLUMNS: dict[str, str] = {
    "F1": "solve_f1",
    "P": "solve_precision",
    "R": "solve_rate",
    "answer": "answer_accuracy",
    "paper F1": "paper_solve_f1",
    "paper P": "paper_solve_precision",
    "paper R": "paper_solve_rate",
    "calls": "calls",
}
"""Heading to metric. The answer's column falls back to the lenient rule, and says so with a tilde."""

LEGEND = (
    "F1, P, R: strict Solve-F1 with its 95 % interval, precision and recall of tool use; answer: right final answers\n"
    "(~ leniently); paper: the paper's rule on the same episodes; calls: tool calls an episode; n: episodes, failed\n"
    "ones included; failed: episodes that ended in an error of the model or the infrastructure; -: no value."
)

NOT_HEEDED = "(!) beside a reasoning mode: the model did not do as it was asked; see the warning of its run."

Rows = list[dict[str, str]]
Members = Mapping[str, Sequence[str]]
"""Group to its tasks, as a run's manifest has it."""


def number(value: float | None, digits: int = 3) -> str:
    return DASH if value is None else f"{value:.{digits}f}"


def cell(metrics: Mapping[str, Any], metric: str) -> str:
    """One metric as text; the headline with its interval."""
    entry = metrics.get(metric)
    if entry is None and metric == "answer_accuracy" and "answer_accuracy_lenient" in metrics:
        return "~" + cell(metrics, "answer_accuracy_lenient")
    if entry is None or entry["value"] is None:
        return DASH
    if metric == "solve_f1" and entry["ci95"]:
        return f"{number(entry['value'])} [{number(entry['ci95'][0], 2)}, {number(entry['ci95'][1], 2)}]"
    return number(entry["value"], 1 if metric == "calls" else 3)


def rows(summary: Mapping[str, Any], groups: Members, by_task: bool) -> Rows:
    """A row for every group of the run, and for every task where asked or in no group."""
    entries = dict(summary["groups"])
    if by_task or not entries:
        entries = {**summary["tasks"], **{f"mean of {name}": entry for name, entry in entries.items()}}
    else:
        grouped = {task for group in entries for task in groups.get(group, ())}
        entries |= {name: entry for name, entry in summary["tasks"].items() if name not in grouped}
    shown = {"model": summary["model"], "reasoning": mode(summary)}
    return [{**shown, "tasks": name, **_values(entry), **_passes(entry)} for name, entry in entries.items()]


def _passes(entry: Mapping[str, Any]) -> dict[str, str]:
    """pass@k and pass^k for the largest k there is, where samples were played more than once."""
    largest = max((int(name.partition("@")[2]) for name in entry["metrics"] if name.startswith("pass@")), default=0)
    names = (f"pass@{largest}", f"pass^{largest}") if largest else ()
    return {name: cell(entry["metrics"], name) for name in names}


def mode(summary: Mapping[str, Any]) -> str:
    """The reasoning mode that was asked for, with a mark where the model did not heed it."""
    return str(summary["reasoning"]) + (" (!)" if heeded(summary) is False else "")


def legend(summaries: Sequence[Mapping[str, Any]]) -> str:
    """What the columns of a table of these runs mean."""
    return "\n".join([LEGEND, *([NOT_HEEDED] if any(heeded(summary) is False for summary in summaries) else [])])


def _values(entry: Mapping[str, Any]) -> dict[str, str]:
    outcomes = entry["outcomes"]
    failed = outcomes.get("infrastructure_error", 0) + outcomes.get("model_error", 0)
    values = {heading: cell(entry["metrics"], metric) for heading, metric in COLUMNS.items()}
    return {"n": str(entry["n"]), **values, "failed": str(failed)}


def table(
    summaries: Sequence[Mapping[str, Any]], groups: Sequence[Members], by_task: bool, style: str = "simple"
) -> str:
    """A table of runs in one of tabulate's formats: a row a group (or task) and model. `groups`: each run's."""
    found = [row for summary, members in zip(summaries, groups, strict=True) for row in rows(summary, members, by_task)]
    if all(row["reasoning"] == "default" for row in found):
        found = [{heading: text for heading, text in row.items() if heading != "reasoning"} for row in found]
    for heading in dict.fromkeys(heading for row in found for heading in row):
        for row in found:
            row.setdefault(heading, DASH)
    place = {row["tasks"]: index for index, row in reversed(list(enumerate(found)))}
    found.sort(key=lambda row: place[row["tasks"]])
    return tabulate(found, headers="keys", tablefmt=style, disable_numparse=True, colalign=_alignment(found))


def _alignment(found: Rows) -> tuple[str, ...]:
    return (
        tuple("left" if heading in ("model", "reasoning", "tasks") else "right" for heading in found[0])
        if found
        else ()
    )


def ill_ends(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """How episodes ended otherwise than ok: a line for every outcome and reason, with one error in full."""
    counts: Counter[tuple[str, str]] = Counter()
    errors: dict[tuple[str, str], str] = {}
    for record in records:
        if record["outcome"] != "ok":
            end = record["outcome"], record["stop"]
            counts[end] += 1
            errors.setdefault(end, record["error"] or "")
    return [
        f"{count} {outcome} ({stop})" + (f", for example: {errors[outcome, stop]}" if errors[outcome, stop] else "")
        for (outcome, stop), count in counts.most_common()
    ]
