"""tests/constraints.txt: every dependency of the dev extra has a version there, inside the range of pyproject.toml."""

import tomllib

from builders import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "tests" / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


def wanted(extra: str, project: dict) -> list[Requirement]:
    """What an extra asks for, through the extras of our own that it names."""
    found = []
    for text in project["optional-dependencies"][extra]:
        requirement = Requirement(text)
        if requirement.name == project["name"]:
            found += [inner for name in requirement.extras for inner in wanted(name, project)]
        else:
            found.append(requirement)
    return found


def test_every_dependency_of_the_tests_is_pinned_inside_its_range():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pinned = pins()
    for requirement in [*map(Requirement, project["dependencies"]), *wanted("dev", project)]:
        [pin] = pinned[canonicalize_name(requirement.name)].specifier
        assert pin.operator == "==", requirement
        assert requirement.specifier.contains(pin.version), requirement


def test_a_runs_tests_use_the_same_file():
    assert "-c tests/constraints.txt" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert "constraints = tests/constraints.txt" in (ROOT / "tox.ini").read_text(encoding="utf-8")
