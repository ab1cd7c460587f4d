"""A tool's source as Python reads it: one tree for all who look at it, be it loading, the sandbox's screen or an audit.

A tree takes tens of times the memory of its source, so only the last few are kept: they are asked for together, one
environment after the other. Left out: what any of them makes of a tree, and running code.
"""

from __future__ import annotations

import ast
import gc
import symtable
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock

KEPT = 64
"""Trees: those of a few environments, seven megabytes of tools as long as ours are."""
LONGEST_KEPT = 20_000
"""Characters of a source whose tree is kept. So the trees never take more than about seventy megabytes."""

_trees: dict[str, ParsedSource] = {}
_lock = Lock()


class ParsedSource:
    """The tree of a source, and its nodes in the order of ast.walk: by depth, then as written."""

    def __init__(self, source: str) -> None:
        self._has_imports = "import" in source  # the word itself: a keyword has no other spelling
        self.tree = _parse(source)

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of them but contexts (Load, Store)."""
        found: list[ast.AST] = [self.tree]
        for node in found:  # which grows meanwhile
            found += child_nodes(node)
        return tuple(found)

    @cached_property
    def imports(self) -> tuple[ast.Import | ast.ImportFrom, ...]:
        found = self.nodes if self._has_imports else ()
        return tuple(node for node in found if isinstance(node, ast.Import | ast.ImportFrom))

    def defines(self, name: str) -> bool:
        """Whether there is a function of that name, wherever it stands."""
        if any(isinstance(node, ast.FunctionDef) and node.name == name for node in self.tree.body):
            return True
        return any(isinstance(node, ast.FunctionDef) and node.name == name for node in self.nodes)


def parse_source(source: str) -> ParsedSource:
    """A source, parsed unless it was among the last. Raises SyntaxError, ValueError, RecursionError or MemoryError for
    what is no Python."""
    if len(source) > LONGEST_KEPT:
        return ParsedSource(source)
    found = _find(source) or ParsedSource(source)
    with _lock:
        _trees.pop(source, None)
        _trees[source] = found
        if len(_trees) > KEPT:
            del _trees[next(iter(_trees))]
    return found


def _find(source: str) -> ParsedSource | None:
    """The tree of a source that was among the last."""
    with _lock:
        return _trees.get(source)


def defines_function(source: str, name: str) -> bool:
    """Whether there is a function of that name, wherever it stands. Raises what parse_source does."""
    known = _find(source)
    return known.defines(name) if known else _declares(source, name) or parse_source(source).defines(name)


_UNNAMED = ("lambda", "genexpr", "listcomp", "setcomp", "dictcomp")


def _declares(source: str, name: str) -> bool:
    """Whether Python's symbol table has such a function at the top, which takes half the time of a tree. Where it has
    not, or is no help, that tells nothing."""
    if "async" in source or name in _UNNAMED:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = symtable.symtable(source, "<string>", "exec").get_children()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return any(one.get_name() == name and one.get_type() == "function" for one in found)


def child_nodes(node: ast.AST) -> list[ast.AST]:
    """What ast.iter_child_nodes gives but contexts, in a quarter of the time."""
    found: list[ast.AST] = []
    for field in _FIELDS.get(type(node), node._fields):
        value = getattr(node, field, None)
        if type(value) is list:
            found += [item for item in value if isinstance(item, ast.AST)]
        elif isinstance(value, ast.AST):
            found.append(value)
    return found


_FIELDS: dict[type[ast.AST], tuple[str, ...]] = {
    **dict.fromkeys((ast.Constant, ast.Name), ()),
    **dict.fromkeys((ast.List, ast.Tuple), ("elts",)),
    **dict.fromkeys((ast.Attribute, ast.keyword, ast.Expr, ast.Starred), ("value",)),
    ast.Subscript: ("value", "slice"),
    ast.arg: ("annotation",),
}
"""The fields that hold nodes, of the kinds that are most of a tree."""


def _parse(source: str) -> ast.Module:
    with warnings.catch_warnings(), no_collection():
        warnings.simplefilter("ignore")  # that its author wrote "\d" without an r is no concern of a reader's
        return ast.parse(source)


@contextmanager
def no_collection() -> Iterator[None]:
    """For what makes thousands of objects that are all alive, such as a tree: the collector would go through them again
    and again, for more than half of the time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()
