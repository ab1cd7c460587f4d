"""What a run directory must hold to be read: every field that some command looks at, checked once.

A run may come from anywhere, and one field that is gone or of another type is a traceback in whatever command meets it
first. So whoever reads a run reads it through `harness.runs.directory`, which asks here and names file and line.

Left out: fields that are only copied or printed as they are, fields that this version does not know, and whether the
values are true: `harness rescore` computes those anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import NoneType
from typing import Any, NamedTuple, get_args

from harness.data.jsonio import LARGEST, is_number
from harness.types import CallStatus, FaultKind, Outcome, Role, Usage


class FieldKind(NamedTuple):
    """What a field may be, in a word for the reader: of one of these types and, where that is not all, what `holds` of
    every value but null."""

    name: str
    types: tuple[type, ...]
    holds: Callable[[Any], bool] | None = None

    def fits(self, value: Any) -> bool:
        return isinstance(value, self.types) and (self.holds is None or value is None or self.holds(value))


Fields = Mapping[str, FieldKind]


def _or_null(kind: FieldKind) -> FieldKind:
    return kind._replace(types=(*kind.types, NoneType))


def _list_of(kind: FieldKind) -> FieldKind:
    return FieldKind(f"list of {kind.name}s", (list,), lambda values: all(map(kind.fits, values)))


def _object_of(kind: FieldKind) -> FieldKind:
    return FieldKind(f"object of {kind.name}s", (dict,), lambda value: all(map(kind.fits, value.values())))


def _one_of(name: str, words: tuple[str, ...]) -> FieldKind:
    return FieldKind(name, (str,), frozenset(words).__contains__)


def _object_with(name: str, required: Fields, optional: Fields) -> FieldKind:
    return FieldKind(name, (dict,), lambda value: _fault(value, required, optional) is None)


TEXT = FieldKind("text", (str,))
LINE = FieldKind("line of text", (str,), lambda value: "\n" not in value)
NUMBER = FieldKind("number", (int, float), is_number)
WEIGHT = FieldKind("number of 0 or more", (int, float), lambda value: 0 <= value < LARGEST)
COUNT = FieldKind("count", (int,), range(10**15).__contains__)
EPOCHS = FieldKind("number of epochs", (int,), range(1, 10**15).__contains__)
OBJECT = FieldKind("object", (dict,))
LIST = FieldKind("list", (list,))

USED = frozenset(Usage.__dataclass_fields__)
TOKENS = FieldKind("usage by kinds of token", (dict,), lambda v: v.keys() <= USED and all(map(is_number, v.values())))

FUNCTION = _object_with("function", {"name": TEXT, "arguments": TEXT}, {})
TOOL_CALL = _object_with(
    "tool call", {"id": TEXT, "function": FUNCTION}, {"parse_error": _or_null(TEXT), "echo": _or_null(OBJECT)}
)

MESSAGE: Fields = {"role": _one_of("role", get_args(Role)), "content": TEXT}
OF_MESSAGE: Fields = {
    **dict.fromkeys(("reasoning", "tool_call_id", "raw"), _or_null(TEXT)),
    "tool_calls": _list_of(TOOL_CALL),
    "echo": _list_of(OBJECT),
}
MADE: Fields = {
    "turn": COUNT,
    **dict.fromkeys(("name", "raw", "output"), TEXT),
    "arguments": _or_null(OBJECT),
    "status": _one_of("status", get_args(CallStatus)),
}
CALL: Fields = {
    **MADE,
    **dict.fromkeys(("solves", "paper_solves"), _or_null(COUNT)),
}
OF_CALL: Fields = {"fault": _one_of("fault", get_args(FaultKind))}
RECORD: Fields = {
    **dict.fromkeys(("key", "task", "sample", "stop"), TEXT),
    "epoch": COUNT,
    "outcome": _one_of("outcome", get_args(Outcome)),
    **dict.fromkeys(("messages", "calls"), LIST),
    "scores": OBJECT,
    "usage": TOKENS,
    "timing": _object_of(NUMBER),
    "error": _or_null(TEXT),
}
OF_RECORD: Fields = {
    "reasoning": _object_with(
        "account of reasoning", {}, {"asked": TEXT, **dict.fromkeys(("turns", "characters", "tokens"), NUMBER)}
    ),
    "notes": _list_of(TEXT),
    "answer_read": TEXT,
    "user_usage": TOKENS,
    "facts": OBJECT,
}
"""Fields that only some records have: of a simulated user, or of older runs none."""

IDENTITY: Fields = {
    **dict.fromkeys(("model", "reasoning"), LINE),
    "tasks": _object_of(LINE),
    "epochs": EPOCHS,
    "verifier": COUNT,
}
OF_IDENTITY: Fields = {
    "model_fingerprint": LINE,
    "users": _object_of(_object_with("user", {"model": TEXT}, {"model_fingerprint": LINE})),
    "tool_faults": _object_with(
        "account of tool faults",
        {
            "probability": FieldKind("share", (int, float), lambda value: 0 < value <= 1),
            "kinds": _list_of(OF_CALL["fault"]),
            "seed": FieldKind("seed", (int,)),
        },
        {},
    ),
}
PRICED = {"input", "output", "cached_input"}
PRICE = FieldKind("price", (dict, NoneType), lambda v: v.keys() == PRICED and all(map(WEIGHT.fits, v.values())))
LEARNT = _object_with("rule", {"field": LINE, "value": _or_null(NUMBER), "episodes_before": COUNT}, {})
MANIFEST: Fields = dict.fromkeys(("identity", "tasks", "groups", "sources", "sandbox"), OBJECT)
OF_MANIFEST: Fields = {
    **dict.fromkeys(("model", "user"), OBJECT),
    **dict.fromkeys(("price", "user_price"), PRICE),
    "base_urls": _list_of(TEXT),
    "learnt": _list_of(LEARNT),
}
TASK: Fields = {"headline": TEXT, "clusters": _object_of(TEXT)}
OF_TASK: Fields = {"success": _list_of(TEXT), "version": COUNT, "weight": WEIGHT, "floor": WEIGHT}


MOST_METRICS = 1000
"""Of a run, for the same reason as there are so many groups."""
MOST_GROUPS = 100
"""Beside one for each task: the means of each take time, and a group is a few bytes."""


def find_record_fault(record: Any) -> str | None:
    """Why a value is no episode record, in words that follow a colon; None where it is one."""
    if fault := _fault(record, RECORD, OF_RECORD):
        return fault
    if len(record["scores"]) > MOST_METRICS:
        return f"it has {len(record['scores']):,} scores"
    for name, value in record["scores"].items():
        if value is not None and not is_number(value):
            return f"its score {name!r} is no number"
    messages = _first_fault("message", record["messages"], MESSAGE, OF_MESSAGE)
    return messages or _first_fault("call", record["calls"], CALL, OF_CALL)


def find_call_fault(call: Any) -> str | None:
    """Why a value is no call with what it gave, as a training prompt has them; None where it is one."""
    return _fault(call, MADE, {})


def find_manifest_fault(manifest: Mapping[str, Any]) -> str | None:
    """Why an object is no manifest of a run, in words that follow a colon; None where it is one."""
    if fault := _fault(manifest, MANIFEST, OF_MANIFEST) or _fault(manifest["identity"], IDENTITY, OF_IDENTITY):
        return fault
    for name, task in manifest["tasks"].items():
        if fault := _fault(task, TASK, OF_TASK):
            return f"of the task {name!r}, {fault}"
    named = list(_named(manifest["groups"], manifest.get("tables", {})))
    if len(named) > len(manifest["tasks"]) + MOST_GROUPS:
        return f"there are {len(named):,} groups and columns of tables"
    for names in named:
        if not _is_some_of(names, manifest["tasks"]):
            return "a group or table has no tasks of the run"
        if len(set(names)) < len(names):
            return "a group or table has a task twice"
        if not any(manifest["tasks"][name].get("weight", 1.0) for name in names):
            return "the tasks of a group or table have no weight"
    return None


def _named(groups: Mapping[str, Any], tables: Any) -> Iterator[Any]:
    """What should be lists of tasks: those of groups, and of every column of a table; None where a table is none."""
    yield from groups.values()
    for columns in tables.values() if isinstance(tables, dict) else [None]:
        yield from columns.values() if isinstance(columns, dict) else [None]


def _is_some_of(names: Any, tasks: Mapping[str, Any]) -> bool:
    return isinstance(names, list) and bool(names) and all(isinstance(n, str) and n in tasks for n in names)


def _first_fault(what: str, values: list[Any], required: Fields, optional: Fields) -> str | None:
    """What is wrong with the first of several objects that is not as it should be; they are counted from 1."""
    for number, value in enumerate(values, start=1):
        if fault := _fault(value, required, optional):
            return f"of {what} {number}, {fault}"
    return None


def _fault(value: Any, required: Fields, optional: Fields) -> str | None:
    """The first field of an object that is missing or of another kind."""
    if not isinstance(value, dict):
        return "it is no object"
    for name, (kind, types, holds) in required.items():
        if name not in value:
            return f"its {name} is missing"
        found = value[name]
        if not isinstance(found, types) or (holds is not None and found is not None and not holds(found)):
            return f"its {name} is no {kind}"
    if len(value) > len(required):
        for name in optional:
            if name in value and not optional[name].fits(value[name]):
                return f"its {name} is no {optional[name].name}"
    return None
