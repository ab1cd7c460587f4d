"""The files of `harness export verifiers`: a package that verifiers loads by its name, and prime-rl with it.

DIR/pyproject.toml, DIR/NAME/__init__.py, which is small and made to be read, and DIR/NAME/environments.jsonl. NAME
begins with `harness_`, so that it is no other module's. Left out: publishing it, and tasks of packages.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from harness.data.exports import Content, write_files
from harness.data.files import write_rows
from harness.interop.inspect_files import DATA, SEPARATOR, identifier, is_set, to_record
from harness.types import Sample, Task

PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "{project}"
version = "0.1.0"
description = "Episodes of {name}, played and scored by the harness, for verifiers"
requires-python = ">=3.11"
dependencies = ["tool-harness", "verifiers"]

[tool.hatch.build.targets.wheel]
packages = ["{module}"]
"""
MODULE = '''\
"""{name} for verifiers, written by `harness export verifiers`.

pip install -e . && vf-eval {project}
"""

from pathlib import Path

import verifiers

DATA = {data}


def load_environment(max_turns: int = 20, sandbox: str = "jail"):
    """For verifiers 0.1, whose environments are loaded by this function."""
    from harness.interop.verifiers_env import Episodes

    return Episodes(DATA, max_turns, sandbox)


if not hasattr(verifiers, "load_environment"):  # a later one: it finds a taskset and what plays it by __all__
    from harness.interop import verifiers_taskset

    class Episodes(verifiers_taskset.Episodes):
        PATH = DATA

    class Rollout(verifiers_taskset.Rollout):
        PATH = DATA

    __all__ = ["Episodes", "Rollout"]
'''


def name_module(name: str) -> str:
    """A module for a task: no two underscores and none at the end, with which no project may be named after it."""
    spelt = identifier(name).strip("_") or "task"
    return re.sub("_+", "_", f"harness_{spelt}".lower())


def write_package(folder: Path, task: Task, samples: Sequence[Sample], pattern: str) -> str:
    """Writes the package and returns its project name. Raises UsageError where another file would be lost."""
    module = name_module(task.name)
    project, whole = module.replace("_", "-"), is_set(task, samples)
    data = f'str(Path(__file__).with_name("{DATA}"))'
    if not whole:
        data = repr(f"{Path(pattern).resolve()}{SEPARATOR}{task.name}")
    files: dict[str, Content] = {
        "pyproject.toml": PROJECT.format(project=project, module=module, name=identifier(task.name)),
        f"{module}/__init__.py": MODULE.format(project=project, name=identifier(task.name), data=data),
    }
    if whole:
        files[f"{module}/{DATA}"] = lambda path: write_rows(path, map(to_record, samples))
    write_files(folder, files)
    return project
