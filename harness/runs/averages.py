"""A metric's values in records, the paired difference of two runs, and tables over several benchmarks: their columns,
and the mean of those as one number with an interval.

A task says which columns of which table it fills (`Task.columns`). A column is the macro mean of its tasks, and the
average is the plain mean of the columns, whatever they measure: so it is formed in the paper's Table 2, whose printed
digits agree with no other weighting tried. Each rule (strict without prefix, the paper's with `paper_`) has columns and
an average of its own; a column without a value leaves the average without one. Weights of tasks
(`Task.weight`) are not applied.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from harness.data.schema import Manifest, MetricJSON, SummaryEntry
from harness.metrics import bounds_of
from harness.runs.results import EpisodeResult
from harness.stats import Estimate, Observation, PairedObservation, estimate_mean, paired_difference, weights_of

Columns = Mapping[str, Sequence[str]]
"""A table's metrics, without the prefix of a rule, each with the tasks that it is the mean of."""

RULES = ("", "paper_")
AVERAGE = "average"
BOUNDS = (0.0, 1.0)


def metric_observations(
    clusters: Mapping[str, str], results: Sequence[EpisodeResult], metric: str
) -> list[Observation]:
    """The values of a metric. A sample without a world is a cluster of its own, which its epochs share."""
    return [
        (clusters[result.sample], float(value))
        for result in results
        if (value := result.scores.get(metric)) is not None
    ]


def task_weights(manifest: Manifest, names: Sequence[str]) -> list[float] | None:
    """What tasks count in a mean over them; None where all count the same."""
    return weights_of([float(manifest["tasks"][name].get("weight", 1.0)) for name in names])


def compare_results(
    manifest: Manifest, before: Sequence[EpisodeResult], after: Sequence[EpisodeResult], metric: str
) -> Estimate:
    """The paired difference of a metric over the episodes that have it in both, weighed and clustered as in the first
    run's summary; a task without any is left out. `n` counts pairs."""
    values = {result.order: result.scores.get(metric) for result in after}
    found: dict[str, list[PairedObservation]] = defaultdict(list)
    for result in before:
        first, second = result.scores.get(metric), values.get(result.order)
        if first is not None and second is not None:
            cluster = manifest["tasks"][result.task]["clusters"][result.sample]
            found[result.task].append((cluster, float(first), float(second)))
    bounds = bounds_of(metric, (value for pairs in found.values() for _, *both in pairs for value in both))
    return paired_difference(list(found.values()), bounds, task_weights(manifest, list(found)))


def table_entry(manifest: Manifest, columns: Columns, by_task: Mapping[str, Sequence[EpisodeResult]]) -> SummaryEntry:
    """What summary.json says of a table, in the shape of a task's entry. `n` of the average is that of its episodes."""
    results = [result for name in column_tasks(columns) for result in by_task[name]]
    metrics: dict[str, MetricJSON] = {}
    for rule in RULES:
        strata = {
            metric: [
                metric_observations(manifest["tasks"][name]["clusters"], by_task[name], rule + metric) for name in names
            ]
            for metric, names in columns.items()
        }
        if not any(map(any, strata.values())):
            continue
        for metric, of_tasks in strata.items():
            metrics[rule + metric] = estimate_mean(of_tasks, BOUNDS).to_json()
        weights = [1 / len(of_tasks) for of_tasks in strata.values() for _ in of_tasks]
        average = estimate_mean([values for of_tasks in strata.values() for values in of_tasks], BOUNDS, weights)
        metrics[rule + AVERAGE] = replace(average, n=len(results) if average.n else 0).to_json()
    outcomes = Counter(result.outcome for result in results)
    return {
        "n": len(results),
        "headline": next((name for name in (f"paper_{AVERAGE}", AVERAGE) if name in metrics), AVERAGE),
        "metrics": metrics,
        "outcomes": dict(sorted(outcomes.items())),
    }


def is_average(headline: str) -> bool:
    """Whether an entry is that of a table. The paper's rule comes first: the average is its way to tell a model."""
    return headline in {rule + AVERAGE for rule in RULES}


def column_tasks(columns: Columns) -> list[str]:
    """The tasks of a table, each once."""
    return list(dict.fromkeys(name for names in columns.values() for name in names))
