"""The prompts of an export: files that `harness collect` wrote, and environments, whose first prompts they are then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.data.files import file_suffix
from harness.errors import UsageError
from harness.registry import load_samples, select_tasks, split_patterns
from harness.task import file_task
from trainer.prefixes import Prefix, first_prefix, read_prefixes, refuse_test_data, require_promptable


def read_training_prompts(patterns: Sequence[str], data: Mapping[str, Path]) -> list[Prefix]:
    """The prompts of files and the first prompts of tasks. Raises UsageError for test data and what is no tool task."""
    named = split_patterns(patterns)
    files = [Path(name) for name in named if file_suffix(Path(name))]
    others = [name for name in named if not file_suffix(Path(name))]
    found = {file_task(path).name: read_prefixes(path) for path in files}
    if len(found) < len(files):
        raise UsageError("Two of these files have the same name; rename one.")
    tasks = select_tasks(others, data) if others else []
    found |= {name: [first_prefix(name, sample) for sample in samples] for name, samples in load_samples(tasks).items()}
    all_tasks = [*map(file_task, files), *(task for task in tasks if task.name in found)]
    refuse_test_data(all_tasks, {name: [prefix.sample for prefix in some] for name, some in found.items()}, data)
    for task in all_tasks:
        for prefix in found[task.name]:
            require_promptable(task, prefix.sample, repr(prefix.id))
    return [prefix for task in all_tasks for prefix in found[task.name]]
