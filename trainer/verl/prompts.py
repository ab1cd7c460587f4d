"""The prompts of an export: files that `harness collect` wrote, and environments, whose first prompts they are then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from harness.data.files import file_suffix
from harness.errors import UsageError
from harness.registry import load_samples, select_tasks, split_patterns
from harness.runs.directory import read_json_object
from harness.task import file_task
from trainer.prefixes import Prefix, first_prefix, read_prefixes, refuse_test_data, require_promptable


def find_reasoning(patterns: Sequence[str], asked: str | None) -> str:
    """The reasoning mode that prompts are trained in: the one in which their run was played, where they are a run's.

    `asked` is --reasoning. Raises UsageError where runs differ from it or from one another: a prompt holds the turns of
    its run, so training would go on from thoughts that the model is told not to have, or without them.
    """
    found = {name: mode for name in split_patterns(patterns) if (mode := _played_in(Path(name))) is not None}
    modes = set(found.values()) | ({asked} if asked else set())
    if len(modes) > 1:
        said = ", ".join(f"{name} was played with {mode}" for name, mode in found.items())
        raise UsageError(
            f"These prompts differ in reasoning: {said}" + (f", --reasoning says {asked}." if asked else ".")
        )
    return next(iter(modes), "off")


def _played_in(path: Path) -> str | None:
    """The mode of the run that a file of prompts lies in; None where it is in none."""
    manifest = path.parent / "manifest.json"
    if not file_suffix(path) or not manifest.is_file():
        return None
    identity = read_json_object(manifest, f"{manifest} cannot be read.").get("identity")
    label = identity.get("reasoning") if isinstance(identity, dict) else None
    return label if label in (None, "off", "default") else "on"


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
