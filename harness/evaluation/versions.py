"""Names that keep versions of a task apart where runs are shown and compared.

On disk a task has its plain name in every version: names are part of keys, and old runs stay as they are. What is read
for tables, comparisons and the report is renamed: a task of another version than the current one is NAME@N, and so is a
group or table with such a task, so no mean, row or pair holds two versions.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

from harness.data.schema import Manifest, Summary
from harness.registry import current_versions, versioned_name
from harness.runs.averages import column_tasks
from harness.runs.identity import version_of
from harness.runs.results import EpisodeResult

Names = Mapping[str, str]
Value = TypeVar("Value")


def name_tasks(manifest: Manifest) -> Names:
    """The run's tasks that are not shown by their own names, with the names that they are shown by."""
    current = current_versions()
    versions = {name: version_of(entry) for name, entry in manifest["tasks"].items()}
    return {
        name: versioned_name(name, version) for name, version in versions.items() if version != current.get(name, 1)
    }


def name_manifest(manifest: Manifest, tasks: Names) -> Manifest:
    """The manifest with the names that are shown: `tasks`, as `name_tasks` gives them."""
    if not tasks:
        return manifest
    groups = _name_groups(manifest, tasks)
    identity = dict[str, Any](manifest["identity"])
    identity |= {part: _renamed(identity[part], tasks) for part in ("tasks", "turns", "users") if part in identity}
    named: dict[str, Any] = {
        **manifest,
        "identity": identity,
        "tasks": _renamed(manifest["tasks"], tasks),
        "groups": {groups.get(name, name): _listed(found, tasks) for name, found in manifest["groups"].items()},
    }
    if tables := manifest.get("tables"):
        named["tables"] = {
            groups.get(name, name): {metric: _listed(found, tasks) for metric, found in columns.items()}
            for name, columns in tables.items()
        }
    return cast(Manifest, named)


def name_summary(summary: Summary, manifest: Manifest, tasks: Names) -> Summary:
    """The summary with the names that are shown; `manifest` is the run's own."""
    if not tasks:
        return summary
    groups = _renamed(summary["groups"], _name_groups(manifest, tasks))
    return {**summary, "tasks": _renamed(summary["tasks"], tasks), "groups": groups}


def name_results(results: Sequence[EpisodeResult], tasks: Names) -> Sequence[EpisodeResult]:
    """The results with the names that are shown."""
    if not tasks:
        return results
    return [replace(one, order=(tasks.get(one.task, one.task), *one.order[1:])) for one in results]


def _name_groups(manifest: Manifest, tasks: Names) -> Names:
    """The names of groups and tables with renamed tasks: with the version of the first of these."""
    tables = {name: column_tasks(columns) for name, columns in manifest.get("tables", {}).items()}
    first = {
        group: next((name for name in names if name in tasks), None)
        for group, names in {**manifest["groups"], **tables}.items()
    }
    return {group: versioned_name(group, version_of(manifest["tasks"][name])) for group, name in first.items() if name}


def _renamed(values: Mapping[str, Value], names: Names) -> dict[str, Value]:
    return {names.get(name, name): value for name, value in values.items()}


def _listed(found: Iterable[str], names: Names) -> list[str]:
    return [names.get(name, name) for name in found]
