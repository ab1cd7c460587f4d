"""Playing the harness's own evaluation while a network trains, and comparing the model before and after.

A validation is an ordinary run directory, made by harness.evaluation.evaluate with the weights as they are, greedy. So
is each of the two runs on the test environments at the end, which are played once, from the directories of the two
models.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from tabulate import tabulate

from harness.data.schema import Summary
from harness.evaluation.evaluate import evaluate
from harness.evaluation.plan import Plan, Player
from harness.metrics import find_metric, shown_in
from harness.models import ModelOptions
from harness.models.local.hf import Generate, HFModel, load_directory, play_folder
from harness.models.local.tokenizer import ModelTokenizer
from harness.runs.averages import compare_results
from harness.runs.directory import RunDirectory
from harness.sandbox import Sandbox
from harness.task import file_task
from harness.types import Limits, Reasoning, Sampling

EPISODE_BATCH_SIZE = 128
"""Episodes that are played together."""

Watch = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class EvaluationSet:
    """What is played: a file of environment records, and how."""

    path: Path
    limits: Limits
    reasoning: Reasoning
    max_tokens: int

    def plan(self) -> Plan:
        task = file_task(self.path)
        return Plan(
            tasks=[task],
            samples={task.name: list(task.load())},
            groups={},
            sampling=Sampling(0.0, self.max_tokens),
            limits=self.limits,
            reasoning=self.reasoning,
            sources={"tasks": [str(self.path.resolve())], "data": {}},
        )


def run_validation(
    evaluation_set: EvaluationSet,
    local: ModelTokenizer,
    generate: Generate,
    settings: Mapping[str, str],
    sandbox: Sandbox,
    out: Path,
) -> dict[str, float]:
    """Plays the environments with a network as it is; `out` becomes the run directory, whatever was there before.
    `settings` tell the network from itself at another time: the step, and who played.

    Returns the means of the metrics that the episodes have.
    """
    if out.exists():
        shutil.rmtree(out)
    name = f"{local.folder.name}@{settings['step']}"
    model = HFModel(name, local, EPISODE_BATCH_SIZE, settings, generate)
    return means(evaluate(evaluation_set.plan(), Player(model, sandbox), out))


def means(summary: Summary) -> dict[str, float]:
    """The means of a run's one task."""
    (entry,) = summary["tasks"].values()
    return {name: one["value"] for name, one in entry["metrics"].items() if one["value"] is not None}


def run_test(evaluation_set: EvaluationSet, model: HFModel, sandbox: Sandbox, out: Path, watch: Watch) -> None:
    """Plays the environments with a model, as `harness eval` would; a run that is there is gone on with. `watch` is
    told how many episodes are played, and of how many."""
    play_watched(evaluation_set.plan(), Player(model, sandbox), out, watch)


def play_watched(plan: Plan, player: Player, out: Path, watch: Watch) -> Summary:
    """Plays what is missing of a run, as run_test."""
    played = count(1)
    return evaluate(plan, player, out, resume=True, watch=lambda record: watch(next(played), plan.episodes))


def load_trained(name: str, path: Path) -> HFModel:
    """The model of a directory that was trained here, with the template that it was trained with."""
    return load_directory(name, str(path), ModelOptions(concurrency=EPISODE_BATCH_SIZE))


def load_untrained(local: ModelTokenizer) -> HFModel:
    """The model that training began with, with the template that it is trained with, as both are compared."""
    return play_folder(local, EPISODE_BATCH_SIZE)


@dataclass(frozen=True, slots=True)
class MetricDifference:
    """After minus before on the same episodes; `ci95` is None where there are too few."""

    metric: str
    before: float
    after: float
    value: float
    ci95: tuple[float, float] | None


def compare_metrics(before: Path, after: Path) -> list[MetricDifference]:
    """What two run directories of the same environments say, metric by metric."""
    runs = [RunDirectory.open(path) for path in (before, after)]
    played = [run.read_results() for run in runs]
    values = [means(run.read_summary()) for run in runs]
    found = []
    for metric in (row.name for row in shown_in("exam")):
        change = compare_results(runs[0].manifest, played[0], played[1], metric)
        if change.value is not None and all(metric in value for value in values):
            interval = None if change.ci95 is None else (change.ci95[0], change.ci95[1])
            found.append(MetricDifference(metric, values[0][metric], values[1][metric], change.value, interval))
    return found


def format_differences(found: Sequence[MetricDifference], episodes: int) -> str:
    """Before and after, for people."""
    rows = [
        {
            "": find_metric(one.metric).heading,
            "before": f"{one.before:.3f}",
            "after": f"{one.after:.3f}",
            "difference": f"{one.value:+.3f}",
            "95 %": "-" if one.ci95 is None else f"[{one.ci95[0]:+.3f}, {one.ci95[1]:+.3f}]",
        }
        for one in found
    ]
    title = f"{episodes} test environments, greedy, strict; difference paired by environment\n"
    return title + tabulate(rows, headers="keys", disable_numparse=True)
