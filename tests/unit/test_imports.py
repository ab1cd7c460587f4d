"""The one direction of imports: harness <- tasks, envbuilder, results <- trainer."""

import ast

import pytest
from builders import ROOT

ROOMS = {"harness", "tasks", "envbuilder", "results", "trainer"}
MAY_IMPORT = {
    "harness": {"harness"},
    "tasks": {"harness", "tasks"},
    "envbuilder": {"harness", "envbuilder"},
    "results": {"harness", "results"},
    "trainer": ROOMS,
}


def imported(source: str) -> set[str]:
    """The top-level names that a module imports, at whatever depth."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_room_imports_against_the_direction(room):
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    for path in paths:
        ours = imported(path.read_text(encoding="utf-8")) & ROOMS
        assert ours <= MAY_IMPORT[room], path


def test_tests_have_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))
