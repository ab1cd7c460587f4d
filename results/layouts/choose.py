"""What `harness table` prints: runs in one of the layouts, in any format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.console.tables import format_legend, format_table
from harness.console.text import printable
from results.layouts.default import default_json, default_table
from results.layouts.paper import PaperOptions, paper_table
from results.layouts.scenario import scenario_table
from results.render import TABLE_FORMATS
from results.runs import Run, mark_runs, read_runs


@dataclass(frozen=True, slots=True)
class TableOptions:
    """Which table: `by_task` is for the default layout, `rule` for the others, the rest for paper alone."""

    layout: str
    form: str
    by_task: bool
    rule: str | None
    environments: str | None
    bases: Sequence[str]
    published: bool


def format_runs(paths: Sequence[Path], options: TableOptions) -> str:
    """The runs of the paths as one text. Raises UsageError for a directory that holds no finished run."""
    runs = read_runs(paths)
    write = TABLE_FORMATS[options.form]
    if options.layout == "paper":
        rule = options.rule or "paper"
        return write(paper_table(runs, PaperOptions(rule, options.environments, options.bases, options.published)))
    if options.layout == "scenario":
        return write(scenario_table(runs, options.rule or "strict"))
    if options.form == "simple":
        return _as_eval_prints(runs, options.by_task)
    if options.form == "json":
        return default_json(runs, options.by_task)
    return write(default_table(runs, options.by_task))


def _as_eval_prints(runs: Sequence[Run], by_task: bool) -> str:
    summaries = [run.summary for run in runs]
    table = format_table(summaries, [run.groups for run in runs], by_task, mark_runs(runs))
    return printable(f"{table}\n\n{format_legend(summaries)}")
