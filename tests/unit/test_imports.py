"""The one direction of imports: harness <- tasks, envbuilder, results <- trainer, and no circles below that."""

import ast
import subprocess
from collections.abc import Iterable, Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

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


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def imported(nodes: Iterable[ast.AST]) -> set[str]:
    """The full names that some nodes of a module import; of `from a import b` that is a.b, whatever b is."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_room_imports_against_the_direction(room):
    paths = sorted((ROOT / room).rglob("*.py"))
    assert paths
    for path in paths:
        ours = {name.partition(".")[0] for name in imported(ast.walk(parsed(path)))} & ROOMS
        assert ours <= MAY_IMPORT[room], path


def graph(root: Path, room: str) -> dict[str, set[str]]:
    """Which modules of a room each of them imports; a package is its __init__.py."""
    paths = {module_name(path.relative_to(root)): path for path in sorted((root / room).rglob("*.py"))}
    found: dict[str, set[str]] = {}
    for name, path in paths.items():
        names = imported(running(parsed(path)))
        modules = {other if other in paths else other.rpartition(".")[0] for other in names}
        found[name] = (modules & set(paths)) - {name}
    return found


def running(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below one, at whatever depth, without what only a type checker reads."""
    for child in ast.iter_child_nodes(node):
        if not (isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING"):
            yield child
            yield from running(child)


def module_name(path: Path) -> str:
    return ".".join(path.with_suffix("").parts).removesuffix(".__init__")


def by_package(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same graph between what lies directly in a room: its modules, and its packages as one node each."""
    nodes: dict[str, set[str]] = {}
    for name, imports in modules.items():
        place = package_of(name)
        nodes.setdefault(place, set()).update({package_of(other) for other in imports} - {place})
    return nodes


def package_of(name: str) -> str:
    return ".".join(name.split(".")[:2])


def circle(modules: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, [] where there is none."""
    try:
        TopologicalSorter(modules).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_no_modules_and_no_packages_of_a_room_import_each_other_in_a_circle(room):
    modules = graph(ROOT, room)
    assert not circle(modules)
    assert not circle(by_package(modules))


def test_circles_are_found(tmp_path):
    for package, imported_name in (("formats", "harness.models.wire"), ("models", "harness.formats")):
        (tmp_path / "harness" / package).mkdir(parents=True)
        (tmp_path / "harness" / package / "__init__.py").write_text(f"import {imported_name}\n")
    (tmp_path / "harness" / "models" / "wire.py").touch()
    modules = graph(tmp_path, "harness")
    assert not circle(modules)
    assert set(circle(by_package(modules))) == {"harness.formats", "harness.models"}
    (tmp_path / "harness" / "models" / "wire.py").write_text("def f():\n    from harness import formats\n")
    assert set(circle(graph(tmp_path, "harness"))) == {"harness.formats", "harness.models.wire"}


def test_tests_have_no_packages():
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_no_module_is_ignored():
    """What git ignores is in no clone and in no wheel, whose builder reads .gitignore too."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "--others", "--ignored", "--exclude-standard", "--", *sorted(ROOMS)]
    ignored = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    assert [name for name in ignored if "__pycache__" not in name and not name.startswith("results/runs/")] == []
