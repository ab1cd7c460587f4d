"""What a tool's source says about the arguments it wants: literals, and which parameter each is compared with.

A search for arguments starts here: released tools compare parameters with literals, look them up in dictionaries, or
filter a list of records by fields that are named like the parameters. Left out: what is computed from a parameter.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from harness.data.source import parse_source

Values = dict[str, Any]
MAX_DEPTH = 6
MAX_JOINT = 200
LONGEST = 160
"""A longer text is a message or a docstring."""
COMMENT = re.compile(r"#.*")
DATE_TEXT = re.compile(r"\b\d{4}-\d\d-\d\d\b")


ANY_ARGUMENT = object()
"""Stands for any value that counts as true."""


@dataclass
class ArgumentHints:
    """`near`: values that the code holds against a parameter; `joint`: values for several at once; `all`: the rest."""

    parameters: list[str] = field(default_factory=list)
    near: dict[str, list[Any]] = field(default_factory=dict)
    joint: list[Values] = field(default_factory=list)
    all: list[Any] = field(default_factory=list)

    def add(self, name: str, values: list[Any]) -> None:
        self.near.setdefault(name, []).extend(values)


@lru_cache(maxsize=256)
def read_hints(source: str, name: str) -> ArgumentHints:
    """The hints in the source of the function `name`."""
    parsed = parse_source(source)
    function = next((n for n in parsed.nodes if isinstance(n, ast.FunctionDef) and n.name == name), None)
    if function is None:
        return ArgumentHints()
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    found = ArgumentHints([argument.arg for argument in arguments])
    _Reader(parsed.nodes, function, found).read()
    found.all += [date for comment in COMMENT.findall(source) for date in DATE_TEXT.findall(comment)]
    return found


class _Reader:
    """One pass over a source. `tables`: literals by name; `means`: the parameters that a name was made from."""

    def __init__(self, nodes: Sequence[ast.AST], function: ast.FunctionDef, found: ArgumentHints) -> None:
        self.nodes, self.function, self.found = nodes, function, found
        self.tables: dict[str, Any] = {}
        self.tuples: dict[str, ast.Tuple] = {}
        self.means: dict[str, set[str]] = {name: {name} for name in found.parameters}

    def read(self) -> None:
        for node in self.nodes:
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self._assigned(node.targets[0].id, node.value)
        self._branches(self.function.body, {})
        for node in self.nodes:
            if isinstance(node, ast.Compare):
                self._compared([node.left, *node.comparators])
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                self._compared([node.func.value, *node.args])
            elif isinstance(node, ast.Subscript):
                self._compared([node.value, node.slice])
            elif isinstance(node, ast.Dict | ast.List | ast.Tuple | ast.Set):
                self._literal(node)
            elif isinstance(node, ast.Constant) and _is_value(node.value):
                self.found.all.append(node.value)

    def _assigned(self, name: str, value: ast.expr) -> None:
        literal = _literal(value)
        if literal is not None:
            self.tables[name] = literal
            return
        if isinstance(value, ast.Tuple):
            self.tuples[name] = value
        if name not in self.found.parameters:
            self.means.setdefault(name, set()).update(self._parameters(value))

    def _parameters(self, node: ast.AST) -> set[str]:
        names = {inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)}
        return {parameter for name in names for parameter in self.means.get(name, ())}

    def _compared(self, sides: list[ast.expr]) -> None:
        """Literals on one side are meant for the parameters on another."""
        for side in sides:
            parameters = self._parameters(side)
            if not parameters:
                continue
            for other in sides:
                if other is not side and not self._parameters(other) & parameters:
                    self._held_against(side, parameters, list(self._values(other)))

    def _held_against(self, side: ast.expr, parameters: set[str], values: list[Any]) -> None:
        if isinstance(side, ast.Name) and side.id in self.tuples:
            side = self.tuples[side.id]
        if isinstance(side, ast.Tuple):
            names = [next(iter(self._parameters(part)), "") for part in side.elts]
            rows = [value for value in values if isinstance(value, tuple) and len(value) == len(names)]
            self._join(*[{n: v for n, v in zip(names, row, strict=True) if n} for row in rows])
        for parameter in parameters:
            self.found.add(parameter, [value for value in values if not isinstance(value, tuple)])

    def _values(self, node: ast.expr) -> Iterator[Any]:
        """Literals that an expression can stand for: itself, a table's keys and elements, a field of all records."""
        for inner in ast.walk(node):
            if isinstance(inner, ast.Constant) and _is_value(inner.value):
                yield inner.value
                if isinstance(inner.value, str):
                    yield from self._field(inner.value)
            elif isinstance(inner, ast.Name):
                if inner.id in self.tables:
                    yield from _spread(self.tables[inner.id])
                else:
                    for table in self.tables.values() if inner.id not in self.means else ():
                        yield from _spread(table, keys_only=True)

    def _field(self, name: str) -> Iterator[Any]:
        for table in self.tables.values():
            for record in _records(table):
                if name in record:
                    yield from _spread(record[name])

    def _literal(self, node: ast.expr) -> None:
        literal = _literal(node)
        if literal is None:
            return
        for record in _records(literal):
            known = {name: value for name, value in record.items() if name in self.found.parameters}
            for name, value in known.items():
                self.found.add(name, [value, *_spread(value)])
            self._join(known)
        if isinstance(literal, list):
            self.found.all.append(literal)

    def _join(self, *many: Values) -> None:
        for values in many:
            if values and values not in self.found.joint and len(self.found.joint) < MAX_JOINT:
                self.found.joint.append(values)

    def _branches(self, body: list[ast.stmt], known: Values) -> None:
        """What the conditions on the way to each statement ask for, together."""
        for statement in body:
            if isinstance(statement, ast.If):
                for wanted in self._wanted(statement.test):
                    joined = {**known, **wanted}
                    self._join(joined)
                    self._branches(statement.body, joined)
                self._branches(statement.orelse, known)
            elif isinstance(statement, ast.For | ast.While | ast.With | ast.Try):
                self._branches(statement.body, known)

    def _wanted(self, test: ast.expr) -> list[Values]:
        """The assignments under which a condition holds, as far as they can be read."""
        if isinstance(test, ast.BoolOp):
            each = [self._wanted(part) for part in test.values]
            if isinstance(test.op, ast.Or):
                return [values for part in each for values in part][:8]
            joined: list[Values] = [{}]
            for part in each:
                joined = [{**one, **other} for one in joined for other in part[:4] or [{}]][:16]
            return joined
        if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.In):
            return self._equal(test.left, test.comparators[0]) or self._equal(test.comparators[0], test.left) or [{}]
        if isinstance(test, ast.Name) and test.id in self.found.parameters:
            return [{test.id: ANY_ARGUMENT}]
        if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and len(test.args) == 1:
            return self._equal(test.func.value, test.args[0]) or [{}]  # x.startswith("...")
        return [{}]

    def _equal(self, side: ast.expr, other: ast.expr) -> list[Values]:
        literal = _literal(other)
        parameters = self._parameters(side)
        if literal is None or not parameters:
            return []
        if isinstance(side, ast.Tuple) and isinstance(literal, tuple) and len(side.elts) == len(literal):
            names = [next(iter(self._parameters(part)), "") for part in side.elts]
            return [{name: value for name, value in zip(names, literal, strict=True) if name}]
        if len(parameters) > 1 and isinstance(side, ast.Name | ast.BinOp):
            return []
        name = min(parameters, key=self.found.parameters.index)
        return [{name: value} for value in ([literal] if not isinstance(literal, list | tuple) else literal)]


def _literal(node: ast.expr) -> Any:
    """The value of a literal expression; None where it is none, or only None."""
    if not isinstance(node, ast.Constant | ast.Dict | ast.List | ast.Tuple | ast.Set | ast.UnaryOp):
        return None
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return None
    return sorted(value, key=repr) if isinstance(value, set) else value


def _is_value(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip() != "" and len(value) <= LONGEST and "\n" not in value
    return isinstance(value, int | float) and not isinstance(value, bool)


def _spread(value: Any, keys_only: bool = False, depth: int = 0) -> Iterator[Any]:
    """Everything in a literal that can be an argument: scalars, tuples as they are, keys first."""
    if depth > MAX_DEPTH:
        return
    if isinstance(value, dict):
        yield from (key for key in value if isinstance(key, tuple) or _is_value(key))
        for inner in value.values():
            if not keys_only or isinstance(inner, dict | list):
                yield from _spread(inner, keys_only, depth + 1)
    elif isinstance(value, list | tuple):
        if isinstance(value, tuple):
            yield value
        for inner in value:
            yield from _spread(inner, keys_only, depth + 1)
    elif _is_value(value) or isinstance(value, bool):
        yield value


def _records(value: Any, depth: int = 0) -> Iterator[Values]:
    """The dictionaries with string keys in a literal."""
    if isinstance(value, dict) and depth <= MAX_DEPTH:
        if all(isinstance(key, str) for key in value):
            yield value
        for inner in value.values():
            yield from _records(inner, depth + 1)
    elif isinstance(value, list | tuple) and depth <= MAX_DEPTH:
        for inner in value:
            yield from _records(inner, depth + 1)
