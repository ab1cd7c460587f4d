"""The gold behind a run on disk: its tasks found again, and checked to be the same.

A run may come from anybody, so a Python file that it names is not run for being named there, but where the person says
--trust-code. A file that the person names is run, once it is known to be the one that the run was played with.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness.data.records import fingerprint
from harness.errors import UsageError
from harness.registry import Admit, all_versions, code_digest, select_tasks
from harness.runs.directory import RunDirectory
from harness.runs.folders import find_runs_below
from harness.runs.identity import describe_differences
from harness.types import Sample, Task


def load_run_tasks(
    run: RunDirectory, given: Sequence[Task] = (), trust_code: bool = False
) -> dict[str, tuple[Task, dict[str, Sample]]]:
    """The tasks of a run, in the versions that it played, with the samples it played, found again or among those
    `given`. Raises UsageError where a task is missing or has changed, where none is given and the run does not say
    where its tasks came from: one that Python code played may not, and where it names code that is not trusted."""
    found: dict[str, tuple[Task, dict[str, Sample]]] = {}
    admit = (lambda path: None) if trust_code else _refuse_code_of(run)
    for versions in [[task] for task in given] or _versions(*sources_of(run), admit):
        if (name := versions[0].name) in run.manifest["tasks"]:
            found[name] = _find_played(run, versions)
    if lost := set(run.manifest["tasks"]) - set(found):
        raise UsageError(
            f"{run.path} was played on {', '.join(map(repr, sorted(lost)))}, which can no longer be found."
        )
    return found


def _refuse_code_of(run: RunDirectory) -> Admit:
    """Refuses every Python file that a run names, by its digest, so that the person can look at what is meant."""

    def admit(path: Path) -> None:
        digest, recorded = code_digest(path), _recorded_code(run, path)
        changed = f", and {recorded} when it was played" if recorded not in (None, digest) else ""
        raise UsageError(
            f"{run.path} names the Python file {path} (digest {digest}{changed}), and what a run names is not run as "
            "code; read the file, then add --trust-code."
        )

    return admit


def admit_recorded(out: Path | None) -> Admit:
    """For the Python files of a command line: refuses one, before it is run, that is not what a run in `out` was
    played with."""

    def admit(path: Path) -> None:
        there = out is not None and (out / "manifest.json").exists()
        for place in [] if out is None else [out] if there else find_runs_below(out):
            try:
                run = RunDirectory.open(place)
            except UsageError:
                continue  # said by who goes on with it
            _refuse_other_code(run, path)

    return admit


def _refuse_other_code(run: RunDirectory, path: Path) -> None:
    now, recorded = code_digest(path), _recorded_code(run, path)
    if recorded not in (None, now):
        said = describe_differences({f"code.{path.name}": (recorded, now)})
        raise UsageError(f"{run.path} holds another run ({said}); name another directory with --out.")


def _recorded_code(run: RunDirectory, path: Path) -> str | None:
    """The digest of a Python file as the run has it, where it has one."""
    code = run.manifest["identity"].get("code")
    found = code.get(path.name) if isinstance(code, dict) else None
    return found if isinstance(found, str) else None


def _versions(patterns: Sequence[str], data: Mapping[str, Path], admit: Admit) -> list[list[Task]]:
    """The tasks that patterns mean, each followed by its other versions."""
    everything = all_versions(data)
    return [
        [task, *(other for other in everything if other.name == task.name and other.version != task.version)]
        for task in select_tasks(patterns, data, admit)
    ]


def _find_played(run: RunDirectory, versions: Sequence[Task]) -> tuple[Task, dict[str, Sample]]:
    """The version of a task whose samples have the run's fingerprint."""
    name = versions[0].name
    played = run.manifest["tasks"][name]["clusters"]
    for task in versions:
        samples = [sample for sample in task.load() if sample.id in played]
        if len(samples) == len(played) and fingerprint(samples) == run.manifest["identity"]["tasks"].get(name):
            return task, {sample.id: sample for sample in samples}
    raise UsageError(f"The data of {name} is not what {run.path} was played on.")


def sources_of(run: RunDirectory) -> tuple[list[str], dict[str, Path]]:
    """The patterns and data paths that the run's tasks were named by. Raises UsageError where it names none."""
    sources: dict[str, Any] = run.manifest["sources"]
    patterns, data = sources.get("tasks"), sources.get("data", {})
    if not isinstance(patterns, list) or not isinstance(data, dict):
        raise UsageError(f"{run.path} does not say where its tasks and their data are.")
    if not all(isinstance(name, str) and "\0" not in name for name in (*patterns, *data.values())):
        raise UsageError(f"{run.path} names tasks or data by what is no path.")
    return patterns, {name: Path(path) for name, path in data.items()}
