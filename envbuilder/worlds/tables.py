"""The facts of one world: things with names and identifiers, and every value, filled in when somebody needs it.

A sub-answer is *fixed*: no other cell of the world ever holds it, in any spelling, so that only the right call surfaces
it. Things of a pool are also the values of facts that lead to their kind, so a wrong turn leads on to plausible facts.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import Any

from envbuilder.records import JSONObject
from envbuilder.worlds.catalogue import ENTITY_KINDS
from envbuilder.worlds.names import Namer, is_invented
from envbuilder.worlds.operations import round_figure
from envbuilder.worlds.schema import Fact, Listing, Value

MANY = 500
FORMS = (
    "{LL}{d5}", "{d4}-{LL}", "{L}{d2}-{d4}", "{d3}/{d4}", "{LLL}{d3}", "{L}{d6}", "{d2}.{d3}.{L}", "{LL}-{d4}-{L}",
)  # fmt: skip
"""What references may look like: a world has three numberings, the same for all its things."""
ROW = ("label", "measure", "unit", "mark", "rev")
MIXED_UNITS: Mapping[str, tuple[str, float]] = {
    "t": ("kg", 1000),
    "kg": ("g", 1000),
    "km": ("m", 1000),
    "m": ("cm", 100),
    "cm": ("mm", 10),
    "l": ("ml", 1000),
    "min": ("s", 60),
    "h": ("min", 60),
    "MB": ("kB", 1000),
    "kW": ("W", 1000),
}
"""By unit: another one that rows of the same list may be written in, and how many of it go into one."""
NEAR = 0.25
"""How far the figures of one thing lie from each other at most, as a share of them: other years, other states."""


class World:
    """A world in the making. `facts` is what `to_facts` returned in an earlier stage."""

    def __init__(self, random: Random, facts: JSONObject) -> None:
        self._random = random
        self.rows: int = facts["rows"]
        self.split: str | None = facts["split"]
        self.things: dict[str, JSONObject] = {key: dict(thing) for key, thing in facts["things"].items()}
        self.values: dict[str, Any] = dict(facts["values"])
        self.forms: list[str] = list(facts["forms"])
        self.others: dict[str, list[str]] = {kind: list(names) for kind, names in facts["others"].items()}
        self._fixed: dict[str, None] = dict.fromkeys(facts["fixed"])
        self._levels: dict[str, Value] = {}  # what figures near a level look like
        self._complete: set[str] = set()
        others = [name for names in self.others.values() for name in names]
        names = [*(thing["name"] for thing in self.things.values()), *others]
        codes = [code for thing in self.things.values() for code in thing["ids"]]
        self._namer = Namer(random, self.split, names, codes)

    @classmethod
    def empty(cls, random: Random, rows: int, split: str | None) -> World:
        forms = [*FORMS]
        random.shuffle(forms)
        facts = {"things": {}, "values": {}, "others": {}, "fixed": [], "forms": forms[:3]}
        return cls(random, {"rows": rows, "split": split, **facts})

    def to_facts(self) -> JSONObject:
        return {
            "rows": self.rows,
            "split": self.split,
            "things": self.things,
            "values": self.values,
            "others": self.others,
            "forms": self.forms,
            "fixed": list(self._fixed),
        }

    # --- things --------------------------------------------------------------------------------------------------

    def new_thing(self, kind: str, name: str | None = None, fixed: bool = True) -> str:
        """The key of a new thing; a fixed one is led to by nothing but a fixed cell. `name`: that of a namesake."""
        words = ENTITY_KINDS[kind]
        thing: JSONObject = {
            "kind": kind,
            "name": name or self._namer.draw(words.names),
            "ids": [self._namer.draw(form, apart=False) for form in self.forms],
            "traits": {},
        }
        key = f"{kind}/{sum(other['kind'] == kind for other in self.things.values())}"
        self.things[key] = thing
        if fixed:
            for text in (thing["name"], *thing["ids"]):
                self._fixed[text] = None
        return key

    def pool(self, kind: str) -> list[str]:
        """The keys of all things of a kind: so many as a table has rows, and two that are nobody's answer."""
        keys = [key for key, thing in self.things.items() if thing["kind"] == kind]
        if kind not in self._complete:
            self._complete.add(kind)
            free = sum(not self._is_fixed_thing(key) for key in keys)
            missing = max(self.rows - len(keys), 2 - free)
            keys += [self.new_thing(kind, fixed=False) for _ in range(missing)]
        return keys

    def trait(self, key: str, place: int) -> str:
        """What the trait at `place` of a thing's kind is for it; namesakes differ in every trait."""
        thing = self.things[key]
        traits = thing["traits"]
        trait = ENTITY_KINDS[thing["kind"]].traits[place]
        if trait.key not in traits:
            own = {
                other["traits"].get(trait.key)
                for other in self.things.values()
                if other["kind"] == thing["kind"] and other["name"] == thing["name"]
            }
            for _ in range(MANY):
                drawn = self._other_name(trait.target) if trait.target else str(self._draw(_given(trait.value)))
                if drawn not in own:
                    break
            thing["traits"] = {**traits, trait.key: drawn}
        return str(thing["traits"][trait.key])

    def _other_name(self, kind: str) -> str:
        """The name of a thing that nothing is told about; half of them come again."""
        names = self.others.setdefault(kind, [])
        if not names or self._random.random() >= 0.5:
            names.append(self._namer.draw(ENTITY_KINDS[kind].names))
            return names[-1]
        return names[int(self._random.random() * len(names))]

    def invent(self, pattern: str) -> str:
        """A code of nothing in the world."""
        return self._namer.draw(pattern, apart=False)

    # --- values --------------------------------------------------------------------------------------------------

    def reserve(self, value: Any) -> None:
        """No cell that is filled in later holds this value."""
        for token in (*tokens_of(value), *_groups(value)):
            self._fixed[token] = None

    def is_fixed(self, values: Iterable[str]) -> bool:
        """Whether one of these texts is a sub-answer."""
        return not self._fixed.keys().isdisjoint(values)

    def fix_value(self, key: str, fact: Fact, variant: str = "") -> Any:
        """The answer to a gold hop: a value, or the key of a thing, that is nowhere else.

        Raises LookupError where all values are taken.
        """
        cell = cell_key(key, fact.id, variant)
        if fact.target is not None:
            self.values[cell] = self.new_thing(fact.target)
        else:
            self.values[cell] = self._near(key, fact, strict=True)
            self.reserve(self.values[cell])
        return self.values[cell]

    def value(self, key: str, fact: Fact, variant: str = "") -> Any:
        """What the world says of a thing: a value, or the key of another thing. `variant`: the year, the state, ..."""
        cell = cell_key(key, fact.id, variant)
        if cell not in self.values:
            self.values[cell] = self._other_thing(fact.target, key) if fact.target else self._near(key, fact)
        return self.values[cell]

    def draw_value(self, cell: str, value: Value) -> Any:
        """The value of a cell that belongs to no fact: of a decoy's field, of a column."""
        if cell not in self.values:
            self.values[cell] = self._other(value)
        return self.values[cell]

    def draw_name(self, cell: str, pattern: str) -> str:
        """A name in a cell that belongs to no fact."""
        if cell not in self.values:
            self.values[cell] = self._namer.draw(pattern, apart=False)
        return str(self.values[cell])

    def rows_of(self, key: str, listing: Listing, count: int) -> list[JSONObject]:
        """The rows of a thing's list (label, measure, unit, mark, rev); plain ones where nobody has made others."""
        cell = cell_key(key, f"{listing.kind}.{listing.key}", "")
        if cell not in self.values:
            self.make_rows(key, listing, count, 0, False)
        return [dict(zip(ROW, row, strict=True)) for row in self.values[cell]]

    def make_rows(self, key: str, listing: Listing, count: int, revised: int, mixed: bool) -> list[JSONObject]:
        """New rows, measures all different.

        `revised` of them, among the first, come again at the end with a higher rev, which counts instead. Where units
        are `mixed`, some measures are written in another one.
        """
        measures: dict[Any, None] = {}
        while len(measures) < count:
            measures[self._draw(listing.measure)] = None
        marks = [mark.code for mark in listing.marks]
        rows = [
            [self._namer.draw(listing.label_names, apart=False), measure, listing.measure.unit, self._one(marks), 1]
            for measure in measures
        ]
        for place, row in zip(range(count - revised, count), rows, strict=False):
            rows[place] = [row[0], rows[place][1], rows[place][2], rows[place][3], 2]
        if mixed:
            unit, factor = MIXED_UNITS[listing.measure.unit]
            for row in rows:
                if self._random.random() < 0.4:
                    row[1], row[2] = round_figure(row[1] * factor, 5), unit
        self.values[cell_key(key, f"{listing.kind}.{listing.key}", "")] = rows
        return [dict(zip(ROW, row, strict=True)) for row in rows]

    def _one(self, options: Sequence[Any]) -> Any:
        return options[int(self._random.random() * len(options))]

    def _near(self, key: str, fact: Fact, strict: bool = False) -> Any:
        """A figure near the thing's own level where there are several; else any value."""
        assert fact.value is not None
        if not fact.value.is_number:
            return self._draw(fact.value) if strict else self._other(fact.value)
        cell = cell_key(key, fact.id, "level")
        level = self.values.setdefault(cell, self._random.random())
        if cell not in self._levels:
            low, high = fact.value.low, fact.value.high
            middle = low + (0.15 + 0.7 * level) * (high - low)
            span = max(low, middle * (1 - NEAR)), min(high, middle * (1 + NEAR))
            self._levels[cell] = Value(fact.value.type, *span, fact.value.unit)
        own = self._levels[cell]
        return self._draw(own) if strict else self._other(own)

    def _named(self, choice: str) -> str:
        """A choice; where it begins with an invented name, the one that stands for it in this world."""
        if not is_invented(choice):
            return choice
        names = self.others.setdefault(f"choice {choice}", [])
        if not names:
            _, *more = re.split(r"(?=[ ,])", choice, maxsplit=1)  # "Harrow & Lint", "Corrin beds"
            names.append(self._namer.draw("{stem}" + "".join(more)))
        return names[0]

    def _is_fixed_thing(self, key: str) -> bool:
        return self.things[key]["ids"][0] in self._fixed

    def _other_thing(self, kind: str, key: str) -> str:
        free = [other for other in self.pool(kind) if other != key and not self._is_fixed_thing(other)]
        return free[int(self._random.random() * len(free))]

    def _other(self, value: Value) -> Any:
        """Some value that is nobody's answer; any at all where everything is an answer."""
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
                step = 10 ** max(0, len(str(high)) - 4)
                return (low // step + 1 + int(random() * max(1, high // step - low // step))) * step
            case "decimal":
                places = 2 if value.high < 100 else 1
                whole = int((value.low + random() * (value.high - value.low)) * 10**places)
                return (whole + 1 if whole % 10 == 0 else whole) / 10**places
            case "date":
                first = datetime.date(low, 1, 1).toordinal()
                return datetime.date.fromordinal(first + int(random() * (high - low + 1) * 365)).isoformat()
            case "choice":
                return self._named(value.choices[int(random() * len(value.choices))])


def _given(value: Value | None) -> Value:
    assert value is not None
    return value


def cell_key(key: str, column: str, variant: str) -> str:
    """How a cell is found: by its thing, its column, and what distinguishes several figures."""
    return f"{key}|{column}|{variant}"


def variant_of(year: int | None, axes: dict[str, int]) -> str:
    """What distinguishes a figure of a thing from its other figures."""
    options = ",".join([f"{axis}={axes[axis]}" for axis in sorted(axes)]) if axes else ""
    return f"{'' if year is None else year};{options}" if year is not None or axes else ""


def tokens_of(value: Any) -> list[str]:
    """What a value says: itself, and for a date also its year."""
    if isinstance(value, str):
        return [value, value[:4]] if is_date(value) else [value]
    return [f"{value:.6f}".rstrip("0").rstrip(".")]


def _groups(value: Any) -> list[str]:
    """A number's groups of thousands, because the verifier reads an argument 1992 as "1_992" too."""
    return f"{int(value):,}".split(",") if isinstance(value, int | float) else []


def is_date(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 10 and value[4] == value[7] == "-" and value[:4].isdigit()


def counted_rows(rows: Iterable[JSONObject], unit: str) -> list[JSONObject]:
    """The rows that count: of each label the highest rev, with its measure in `unit`."""
    last = {row["label"]: row for row in sorted(rows, key=lambda row: row["rev"])}
    return [
        {
            **row,
            "measure": row["measure"] if row["unit"] == unit else row["measure"] / MIXED_UNITS[unit][1],
            "unit": unit,
        }
        for row in last.values()
    ]
