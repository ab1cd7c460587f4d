"""The files that lm-eval reads: YAML that names the functions of documents.py, one a task and one a group."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.data import jsonio
from harness.data.exports import write_files
from harness.errors import UsageError
from harness.metrics import find_metric
from harness.registry import all_tasks, groups_of, is_path, select_tasks, split_patterns
from harness.types import Task, Trajectory, Usage
from tasks.lmeval.benchmarks import BENCHMARKS
from tasks.lmeval.documents import SEPARATOR, find_task

DOCUMENTS = "tasks.lmeval.documents"
NEW_TOKENS = 1024
"""As --settings paper; --gen_kwargs max_gen_toks=N changes it."""


def write_task_files(data: Mapping[str, Path], out: Path | None = None, patterns: Sequence[str] = ()) -> Path:
    """Writes the files, into a directory of the cache named by their content where none is given; returns it. Raises
    UsageError where a file in the one that is given would be lost."""
    found = make_task_files(data, patterns)
    if out is not None:
        write_files(out, found)
        return out.resolve()
    folder = _cache() / "harness" / "lm-eval" / jsonio.digest(found)
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in found.items():
        jsonio.write_atomically(folder / name, text)
    return folder.resolve()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def make_task_files(data: Mapping[str, Path], patterns: Sequence[str] = ()) -> dict[str, str]:
    """A file a task and a file a group, by name: those that lm-eval can run with one model or another. `data` is where
    the data sets are; a task whose data is missing is listed too, and says so when it is run. With `patterns` the files
    are those of the tasks that these mean, paths among them. Raises UsageError where one of them cannot be run."""
    own = {benchmark.name for benchmark in BENCHMARKS.values()}
    named = _named(patterns, data)
    tasks = [
        task
        for task in (named or all_tasks(data)).values()
        if task.name not in own and task.scripted_user is None and (named or task.state is None)
    ]
    if refused := named.keys() - {task.name for task in tasks}:
        raise UsageError(f"{sorted(refused)[0]} is lm-eval's own, or has a simulated user; lm-eval cannot run it so.")
    paths = {name: str(path.resolve()) for name, path in data.items()}
    found_by = _places(patterns, data)
    known = {task.name: task for task in tasks}
    groups = groups_of(tasks, data)
    return {
        **{f"{task.name}.yaml": _task(task, found_by.get(task.name, task.name), paths) for task in tasks},
        **{f"{group}.group.yaml": _group(group, [known[name] for name in names]) for group, names in groups.items()},
    }


def _named(patterns: Sequence[str], data: Mapping[str, Path]) -> dict[str, Task]:
    return {task.name: task for task in select_tasks(patterns, data)} if patterns else {}


def _places(patterns: Sequence[str], data: Mapping[str, Path]) -> dict[str, str]:
    """By what a task of a path is found again, from wherever lm-eval is called."""
    return {
        task.name: f"{Path(path).resolve()}{SEPARATOR}{task.name}"
        for path in filter(is_path, split_patterns(patterns))
        for task in select_tasks([path], data)
    }


def _task(task: Task, place: str, paths: Mapping[str, str]) -> str:
    """lm-eval's configuration of a task. YAML holds JSON; only the two functions are not JSON."""
    fields = {
        "task": task.name,
        "dataset_kwargs": {"task": place, "data": paths},
        "test_split": "test",
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "generation_kwargs": {"until": ["\nObservation:"], "do_sample": False, "max_gen_toks": NEW_TOKENS},
        "metric_list": _metrics(place, task.headline, paths),
        "num_fewshot": 0,
        "metadata": {"version": task.version},
    }
    functions = {"custom_dataset": "dataset", "process_results": "process_results"}
    lines = [f"{key}: {json.dumps(value)}" for key, value in fields.items()]
    lines += [f"{key}: !function {DOCUMENTS}.{function}" for key, function in functions.items()]
    return "\n".join(lines) + "\n"


def _metrics(name: str, headline: str, paths: Mapping[str, str]) -> list[dict[str, object]]:
    """The metrics that a silent episode has; the headline alone where the data is not there to make one."""
    try:
        task, samples = find_task(name, jsonio.canonical_json(dict(paths)))
        silent = Trajectory((), (), 0, "ok", "no_tool_calls", Usage(), {})
        metrics = list(task.score(next(iter(samples.values())), silent).scores)
    except UsageError:
        metrics = [headline]
    return [
        {"metric": metric, "aggregation": "mean", "higher_is_better": find_metric(metric).more_is_better}
        for metric in metrics
    ]


def _group(group: str, tasks: Sequence[Task]) -> str:
    """A group as here: the mean of its tasks, each counted once."""
    fields = {
        "group": group,
        "task": [task.name for task in tasks],
        "aggregate_metric_list": [{"metric": tasks[0].headline, "aggregation": "mean", "weight_by_size": False}],
        "metadata": {"version": max(task.version for task in tasks)},
    }
    return "\n".join(f"{key}: {json.dumps(value)}" for key, value in fields.items()) + "\n"
