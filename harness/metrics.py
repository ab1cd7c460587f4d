"""What is known of each metric, a row a metric: tables, summaries, comparisons, reports, validation, exports and
training logs read these rows, so a column is added by one of them (docs/extending.md).

A metric without a row, such as a task's own, is a fraction of which more is better, shown under its name wherever all
metrics are. Left out: how a metric is computed (harness.scoring and the tasks), and the columns of the paper's Table 2,
which are that table's (results.layouts.paper).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Place = Literal["table", "own", "compare", "modes", "report", "rules", "validate", "log", "exam", "curves"]
"""Where a metric is shown, besides where it is a task's headline:

table     the tables of `eval`, `table` and reports
own       under its heading, in such tables of a benchmark with a headline of its own
compare   `harness compare`
modes     what `eval --reasoning both` says below its table
report    a report's differences between runs
rules     the scenario layout and `harness show`, by the strict rule and as paper_* by the paper's
validate  what reference policies get, in `harness validate`
log       a training run's metrics.jsonl
exam      the table of before and after training
curves    a report's curves of validations
"""

FRACTION = (0.0, 1.0)
HEADLINE = "solve_f1"
"""What tasks with sub-answers are told by."""
LENIENT = "answer_accuracy_lenient"
ANSWERS = ("answer_accuracy", LENIENT)
"""Whether the final answer is right; an episode has one of them at most."""


RULES = {"strict": "", "paper": "paper_"}
"""What the names of a rule's metrics begin with."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `bounds`: those of its values, None for a count; `title`: its name in sentences and on axes; `lenient`:
    what a table shows in its place, with a tilde, where it has none.

    `common`: any episode has it, whatever its task; tables of a benchmark's own metrics have it last or not at all.
    `rare`: tables show it only where a run has it.
    `legend` is said below tables that show it. `pooled`: the scores of episodes of which it is the mean, over all those
    of a group that have them, not over its tasks.
    """

    name: str
    heading: str
    shown: tuple[Place, ...] = ()
    digits: int = 3
    bounds: tuple[float, float] | None = FRACTION
    more_is_better: bool = True
    common: bool = False
    title: str = ""
    lenient: str = ""
    rare: bool = False
    legend: str = ""
    pooled: tuple[str, ...] = ()


ABSTENTION = ("abstention_precision", "abstention_recall")
"""Of an episode: whether an abstention was right, and whether one that was due was made."""
ROWS = (
    Metric("success", "success", ("log",)),
    Metric(
        "decision_accuracy",
        "decision",
        ("compare", "log", "exam", "curves"),
        title="decision accuracy",
        legend="decision accuracy: the first action is right, a call where one is needed and none where not",
    ),
    Metric(
        "abstention_precision",
        "abstention P",
        ("own", "log"),
        pooled=("abstention_precision",),
        legend="abstention P, R, F1: saying that something cannot be answered, where that is so",
    ),
    Metric("abstention_recall", "R", ("own", "log"), pooled=("abstention_recall",)),
    Metric("abstention_f1", "F1", ("own",), pooled=ABSTENTION),
    Metric(
        "needless_calls",
        "needless",
        ("own", "compare", "log"),
        digits=2,
        bounds=None,
        more_is_better=False,
        legend="needless: calls an episode that the question did not need",
    ),
    Metric(
        "decision_f1",
        "decision F1",
        ("own", "compare", "log", "exam"),
        legend="decision F1: of needed calls and answers among those made, 0 after a wrong decision",
    ),
    Metric(
        HEADLINE,
        "F1",
        ("table", "compare", "modes", "report", "rules", "validate", "log", "exam", "curves"),
        title="strict Solve-F1",
        legend="F1, P, R: strict Solve-F1 with its 95 % interval, precision and recall of tool use",
    ),
    Metric("solve_precision", "P", ("table", "compare", "modes", "rules", "log", "exam")),
    Metric("solve_rate", "R", ("table", "compare", "modes", "rules", "validate", "log", "exam")),
    Metric(
        "answer_accuracy",
        "answer",
        ("table", "compare", "modes", "report", "log", "exam", "curves"),
        lenient=LENIENT,
        legend="answer: right final answers (~ leniently)",
    ),
    Metric(LENIENT, "answer (lenient)", ("compare",)),
    Metric(
        "paper_solve_f1",
        "paper F1",
        ("table", "report", "validate"),
        legend="paper: the paper's rule on the same episodes",
    ),
    Metric("paper_solve_precision", "paper P", ("table",)),
    Metric("paper_solve_rate", "paper R", ("table", "validate")),
    Metric(
        "calls",
        "calls",
        ("table", "compare", "log", "exam"),
        digits=1,
        bounds=None,
        more_is_better=False,
        common=True,
        legend="calls: tool calls an episode",
    ),
    Metric("turns", "turns", ("log",), digits=1, bounds=None, more_is_better=False, common=True),
    Metric("malformed_call_rate", "malformed", ("log",), more_is_better=False, common=True),
    Metric("tool_error_rate", "tool errors", more_is_better=False, common=True),
    Metric(
        "efficiency",
        "efficiency",
        ("table", "compare"),
        common=True,
        rare=True,
        legend="efficiency: sub-answers a call, in episodes with the right answer",
    ),
    Metric(
        "necessity",
        "necessity",
        ("table", "compare"),
        common=True,
        rare=True,
        legend="necessity: of an episode's calls, the share that cannot be left out without changing what is found",
    ),
    Metric(
        "recovery_rate",
        "recovered",
        ("table", "compare"),
        common=True,
        rare=True,
        legend="recovered: sub-answers found after their tool had failed on purpose, of those whose tool had",
    ),
    Metric(
        "give_up_rate",
        "gave up",
        ("table", "compare"),
        more_is_better=False,
        common=True,
        rare=True,
        legend="gave up: of episodes with such faults, those that the model ended with one of these still open",
    ),
    Metric(
        "dead_tool_calls",
        "dead calls",
        ("table", "compare"),
        digits=1,
        bounds=None,
        more_is_better=False,
        common=True,
        rare=True,
        legend="dead calls: calls of a tool after it had refused permission, in episodes where one did",
    ),
)
"""In the order in which they are shown."""
METRICS = {row.name: row for row in ROWS}


def find_metric(name: str) -> Metric:
    """The row of a metric, or what holds for one without."""
    return METRICS.get(name) or Metric(name, name.replace("_", " "))


def shown_in(place: Place) -> list[Metric]:
    return [row for row in METRICS.values() if place in row.shown]


def shown_by_rule() -> list[Metric]:
    """Precision and recall before the F1 that is made of them."""
    return sorted(shown_in("rules"), key=lambda row: row.name == HEADLINE)


def title_of(name: str) -> str:
    """A metric in a sentence."""
    return find_metric(name).title or name.replace("_", " ")


def bounds_of(name: str, values: Iterable[float]) -> tuple[float, float] | None:
    """What intervals of a metric are cut to; None for a count, and where its values are seen to leave the bounds."""
    bounds = find_metric(name).bounds
    return bounds if bounds and all(bounds[0] <= value <= bounds[1] for value in values) else None
