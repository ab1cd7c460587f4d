"""The facts of one world: names of each kind, and the value of every relation, filled in when somebody needs them.

A sub-answer is *fixed*: no other cell of the world ever holds it, in any spelling, so that only the right call surfaces
it. The names of a pool are also the values of relations to that pool, so a wrong turn leads on to plausible facts.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any

from envbuilder.generation1.worlds.catalogue import ENTITY_KINDS
from envbuilder.generation1.worlds.names import Namer
from envbuilder.generation1.worlds.schema import Relation, Value
from envbuilder.records import JSONObject

LIST_LENGTH = 3
SHARED_NAMES = 3
MANY = 500
_ENTERED = Value("year", 1961, 2022)


class World:
    """A world in the making. `facts` is what `to_facts` returned in an earlier stage."""

    def __init__(self, random: Random, facts: JSONObject) -> None:
        self._random = random
        self.rows: int = facts["rows"]
        self.split: str | None = facts["split"]
        self.short: bool = facts["short"]
        self.pools: dict[str, list[str]] = {kind: list(names) for kind, names in facts["pools"].items()}
        self.values: dict[str, JSONObject] = {key: dict(cells) for key, cells in facts["values"].items()}
        self._fixed: dict[str, None] = dict.fromkeys(facts["fixed"])
        self._complete: set[str] = set()
        names = tuple(name for pool in self.pools.values() for name in pool)
        self._namer = Namer(random, self.split, self.short, names)

    def to_facts(self) -> JSONObject:
        return {
            "rows": self.rows,
            "split": self.split,
            "short": self.short,
            "pools": self.pools,
            "values": self.values,
            "fixed": list(self._fixed),
        }

    def new_name(self, kind: str) -> str:
        """A fixed name: nothing but a fixed cell leads to it."""
        name = self._namer.draw(ENTITY_KINDS[kind].pattern)
        self.pools.setdefault(kind, []).append(name)
        self._fixed[name] = None
        return name

    def invent(self, pattern: str) -> str:
        """A name of nothing in the world: an office, a clerk."""
        return self._namer.draw(pattern)

    def names(self, kind: str) -> list[str]:
        """The pool of a kind, complete: at least two of its names are nobody's answer."""
        pool = self.pools.setdefault(kind, [])
        if kind not in self._complete:
            self._complete.add(kind)
            free = sum(name not in self._fixed for name in pool)
            for _ in range(max(self.rows - len(pool), 2 - free)):
                pool.append(self._namer.draw(ENTITY_KINDS[kind].pattern))
        return pool

    def reserve(self, value: Any) -> None:
        """No cell that is filled in later holds this value."""
        for token in (*tokens_of(value), *_groups(value)):
            self._fixed[token] = None

    def fix_answer(self, key: str, relation: Relation) -> Any:
        """The answer to a gold hop: a value that is nowhere else. Raises LookupError where all values are taken."""
        cell = self.values.setdefault(key, {})
        value = relation.value
        if value is None:
            cell[relation.id] = self.new_name(relation.target or "")
            return cell[relation.id]
        if value.type == "list":
            cell[relation.id] = sorted(self._namer.draw(ENTITY_KINDS[value.of].pattern) for _ in range(LIST_LENGTH))
        else:
            cell[relation.id] = self._draw(value)
        self.reserve(cell[relation.id])
        return cell[relation.id]

    def value(self, key: str, relation: Relation) -> Any:
        """What the world says about `key` (a name, or `pair_key` of two)."""
        cell = self.values.setdefault(key, {})
        if relation.id not in cell:
            target = relation.target
            cell[relation.id] = self._decoy(target, key) if target else self._other(relation.value)
        return cell[relation.id]

    def example(self, kind: str) -> str:
        """A name of the kind, or of a shared column, that no hop has to do with."""
        return self._decoy(kind, "")

    def is_fixed(self, values: Iterable[str]) -> bool:
        """Whether one of these texts is a sub-answer, so that no schema may name it."""
        return not self._fixed.keys().isdisjoint(values)

    def shared_name(self, key: str, column: str, pattern: str) -> str:
        """A name in a column that belongs to no relation; a few names share all the rows of a world."""
        cells = self.values.setdefault(key, {})
        if column not in cells:
            cells[column] = self.pools[self.ensure_shared_names(column, pattern)][
                int(self._random.random() * SHARED_NAMES)
            ]
        return str(cells[column])

    def ensure_shared_names(self, column: str, pattern: str) -> str:
        """Sees to it that the shared names of a column exist."""
        pool = self.pools.setdefault(column, [])
        while len(pool) < SHARED_NAMES:
            pool.append(self._namer.draw(pattern))
        return column

    def choose_value(self, key: str, column: str, values: Sequence[str]) -> Any:
        """One of `values`; or for the columns of a kind of their own a year, a score, a mark."""
        cells = self.values.setdefault(key, {})
        name = f"{column}:{values[0]}" if values else column
        if name not in cells:
            draw = int(self._random.random() * 1000)
            match column:
                case "_year":
                    cells[name] = self._draw(_ENTERED)
                case "_score":
                    cells[name] = (500 + draw // 2) / 1000
                case "_verified":
                    cells[name] = draw < 700
                case _:
                    cells[name] = values[draw % len(values)]
        return cells[name]

    def _decoy(self, kind: str, key: str) -> str:
        pool = self.pools[kind] if kind.startswith("_") else self.names(kind)
        for _ in range(MANY):
            name = pool[int(self._random.random() * len(pool))]
            if name not in self._fixed and name != key:
                return name
        raise LookupError(f"every {kind} is an answer")

    def _other(self, value: Value | None) -> Any:
        """Some value that is nobody's answer; any at all where everything is an answer."""
        assert value is not None
        try:
            return self._draw(value)
        except LookupError:
            return self._any(value)

    def _draw(self, value: Value) -> Any:
        for _ in range(MANY):
            drawn = self._any(value)
            if self._fixed.keys().isdisjoint(tokens_of(drawn)):
                return drawn
        raise LookupError(f"all values of {value} are answers already")

    def _any(self, value: Value) -> Any:
        random = self._random.random
        low, high = int(value.low), int(value.high)
        match value.type:
            case "integer" | "year":
                return low + int(random() * (high - low + 1))
            case "money":
                step = 10 ** max(1, len(str(high)) - 4)
                return (low // step + 1 + int(random() * (high // step - low // step))) * step
            case "decimal":
                places = 2 if value.high < 100 else 1
                whole = int((value.low + random() * (value.high - value.low)) * 10**places)
                return (whole + 1 if whole % 10 == 0 else whole) / 10**places
            case "date":
                first = datetime.date(low, 1, 1).toordinal()
                return datetime.date.fromordinal(first + int(random() * (high - low + 1) * 365)).isoformat()
            case "choice":
                return value.choices[int(random() * len(value.choices))]
            case "list":
                return sorted(self._members(value.of))

    def _members(self, kind: str) -> list[str]:
        free = [name for name in self.names(kind) if name not in self._fixed]
        return self._random.sample(free, min(LIST_LENGTH, len(free)))


def pair_key(name: str, second: str | int | None) -> str:
    """How a cell is found: by its name, and by its second key where the relation has one."""
    return name if second is None else f"{name}|{second}"


def tokens_of(value: Any) -> list[str]:
    """What a value says: itself, and for a date also its year."""
    if isinstance(value, list):
        return [str(item) for item in value]
    if isinstance(value, str):
        return [value, value[:4]] if is_date(value) else [value]
    return [f"{value:.6f}".rstrip("0").rstrip(".")]


def _groups(value: Any) -> list[str]:
    """A number's groups of thousands, because the verifier reads an argument 1992 as "1_992" too."""
    return f"{int(value):,}".split(",") if isinstance(value, int | float) else []


def is_date(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 10 and value[4] == value[7] == "-" and value[:4].isdigit()
