"""The optional parameters that lookups may have: their schemas, and what they need of a table.

Each offer is a function that returns a parameter entry for a tool, or None where it makes no sense. An entry names its
role; deployment knows the code of each role.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from random import Random
from typing import Any

from envbuilder.generation1.worlds.catalogue import ENTITY_KINDS, RELATIONS, relations_of_kind
from envbuilder.generation1.worlds.columns import ENUMS, EXAMPLES, FLAGS, LOCALS, REMARKS, TEXTS
from envbuilder.generation1.worlds.operations import UNITS
from envbuilder.generation1.worlds.schema import Relation, split_alternatives
from envbuilder.generation1.worlds.tables import World
from envbuilder.records import JSONObject

PEOPLE_PATTERN = "{first} {last}"


BY_NAME = ("exact", "prefix")
"""Switches of the comparison of names, which tools with two keys do not have."""
AGAIN = {"text": 3, "enum": 3, "extra": 2, "flag": 2}
Offer = Callable[["ParameterOffers"], JSONObject | None]


class ParameterOffers:
    """Optional parameters for one tool. `types` is the level of their types; `served` is other tools' business."""

    def __init__(
        self, random: Random, world: World, facts: JSONObject, types: int, served: Collection[tuple[str, str]]
    ) -> None:
        self._random = random
        self._world = world
        self._types = types
        self.kind = ENTITY_KINDS[facts["kind"]]
        self.relations = [RELATIONS[relation] for relation in facts["relations"]]
        self._also = facts["also"]
        self._served = served
        self._spelled = ""
        self._taken = {entry["name"] for entry in facts["parameters"]} | LOCALS
        self._keys = {relation.key for relation in relations_of_kind(facts["kind"])}
        self._columns = {relation.key for relation in self.relations}

    def choice(self, options: Sequence[Any]) -> Any:
        return options[int(self._random.random() * len(options))]

    def take(self, weights: Mapping[str, float], count: int) -> list[JSONObject]:
        """`count` entries drawn by weight; only filters and switches may be drawn more than once."""
        entries: list[JSONObject] = []
        left, chances = dict(weights), {role: AGAIN.get(role, 1) for role in weights}
        while left and len(entries) < count:
            role = self._weighted(left)
            entry = OFFERS[role](self)
            chances[role] -= 1
            if entry is None or not chances[role]:
                left.pop(role)
            if entry is not None:
                entries.append(entry)
        return entries

    def _weighted(self, weights: dict[str, float]) -> str:
        draw = self._random.random() * sum(weights.values())
        for role, weight in weights.items():
            draw -= weight
            if draw < 0:
                return role
        return next(reversed(weights))

    def entry(self, role: str, names: Sequence[str], schema: JSONObject, about: str, **more: Any) -> JSONObject | None:
        """An optional parameter under a free name, or None where all names are taken."""
        own = str(more.get("column", "")).startswith("_")
        free = [name for name in names if name not in self._taken and not (own and name in self._keys)]
        if not free:
            return None
        name = self.choice(free)
        self._taken.add(name)
        if role == "filter" and self._random.random() < 0.3:
            about += self.choice(REMARKS)
        about, self._spelled = about + self._spelled, ""
        text = about.replace("{noun}", self.kind.noun).replace("{name}", name.replace("_", " "))
        return {"name": name, "role": role, "schema": {**schema, "description": text}, "required": False, **more}

    def example(self, kind: str) -> str:
        """Some descriptions end with an example, which is never a name that a hop needs."""
        if self._random.random() < 0.35:
            return str(self.choice(EXAMPLES)).format(self._world.example(kind))
        return ""

    def free_relations(self, wanted: Callable[[Relation], bool]) -> list[Relation]:
        """Relations of the kind that the tool does not answer and that need no second key."""
        return [
            relation
            for relation in relations_of_kind(self.kind.id)
            if relation.also is None
            and relation.key not in self._columns
            and (self.kind.id, relation.id) not in self._served
            and wanted(relation)
        ]

    def use(self, relation: Relation) -> str:
        self._columns.add(relation.key)
        return relation.id

    def enumeration(self, values: Sequence[str]) -> JSONObject:
        """A string schema: enumerated from level 1 on; before that the description lists the values."""
        listed = list(values)
        self._random.shuffle(listed)
        if self._types:
            return {"type": "string", "enum": listed}
        self._spelled = f" One of: {', '.join(listed)}."
        return {"type": "string"}

    def is_fixed(self, values: Sequence[str]) -> bool:
        return self._world.is_fixed(values)

    # --- offers --------------------------------------------------------------------------------------------------

    def text(self) -> JSONObject | None:
        """A string that the record has to match."""
        known = [
            relation
            for relation in self.free_relations(lambda relation: relation.target is not None)
            if len(self._world.pools.get(relation.target or "", ())) >= self._world.rows
        ]
        if known and self._random.random() < 0.45:
            relation = self.choice(known)
            about = self.choice(
                (
                    f"Only accept the {{noun}} if its {relation.label} is on file under this name.",
                    f"Optional cross-check: the {relation.label} recorded for the {{noun}}; a mismatch is refused.",
                    f"Name of the {relation.label}, where it is known and should narrow the search.",
                )
            )
            about += self.example(relation.target)
            names = (relation.key, f"{relation.key}_name", f"known_{relation.key}")
            return self.entry("filter", names, {"type": "string"}, about, column=self.use(relation))
        column = self.choice([name for name in TEXTS if name not in self._columns] or [""])
        if not column:
            return None
        self._columns.add(column)
        about = self.choice(TEXTS[column].about) + self.example(
            self._world.ensure_shared_names(column, TEXTS[column].pattern)
        )
        return self.entry("filter", TEXTS[column].names, {"type": "string"}, about, column=column)

    def enum(self) -> JSONObject | None:
        """One of a few values that the record has to have."""
        choices = self.free_relations(
            lambda relation: (
                relation.value is not None
                and relation.value.type == "choice"
                and not self.is_fixed(relation.value.choices)
            )
        )
        if choices and self._random.random() < 0.6:
            relation = self.choice(choices)
            about = self.choice(
                (
                    f"Only accept the {{noun}} if its {relation.label} is this one. Optional.",
                    f"Restricts the lookup by {relation.label}; without it every {relation.label} is accepted.",
                    f"Expected {relation.label} of the {{noun}}. An error is returned when it differs.",
                )
            )
            assert relation.value is not None
            schema = self.enumeration(relation.value.choices)
            return self.entry(
                "filter", (relation.key, f"{relation.key}_filter"), schema, about, column=self.use(relation)
            )
        column = self.choice([name for name in ENUMS if name not in self._columns] or [""])
        if not column:
            return None
        self._columns.add(column)
        values = self.choice(ENUMS[column].values)
        about = self.choice(ENUMS[column].about)
        return self.entry(
            "filter", ENUMS[column].names, self.enumeration(values), about, column=column, values=list(values)
        )

    def extra(self) -> JSONObject | None:
        """A boolean that adds another entry to the response."""
        relations = self.free_relations(lambda relation: relation.value is None or relation.value.type != "list")
        known = [
            relation
            for relation in relations
            if relation.target is None or len(self._world.pools.get(relation.target, ())) >= self._world.rows
        ]
        if not known:
            return None
        relation = self.choice(known)
        about = self.choice(
            (
                f"Whether to include the {relation.label} of the {{noun}} in the response. Default is false.",
                f"Set to true to have the {relation.label} reported alongside the entry that was asked for.",
                f"Adds the {relation.label} on file to the result; off by default.",
                f"Include the {relation.label} as an additional item of the response (default: false).",
            )
        )
        names = [f"{verb}_{relation.key}" for verb in ("include", "with", "show", "add", "report")]
        schema = {"type": "boolean", "default": False}
        return self.entry("extra", names, schema, about, column=self.use(relation))

    def flag(self) -> JSONObject | None:
        """A boolean that makes the tool stricter, or reports how sure the entry is."""
        role = self.choice([role for role in FLAGS if self._also is None or role not in BY_NAME])
        names, abouts = FLAGS[role]
        if role == "verified":
            self._columns.add("_verified")
        if self._taken & set(names):
            return None
        return self.entry(role, names, {"type": "boolean", "default": False}, self.choice(abouts))

    def surname(self) -> JSONObject | None:
        """A boolean that turns "First Last" into "Last, First"."""
        people = [r for r in self.relations if r.target and ENTITY_KINDS[r.target].pattern == PEOPLE_PATTERN]
        if not people:
            return None
        names = split_alternatives("surname_first|family_name_first|inverted_names|sortable_names")
        about = self.choice(
            (
                "Write names of persons with the surname first, as in an index. Default is false.",
                "Whether persons are returned in inverted form: surname, comma, first name.",
            )
        )
        return self.entry("surname", names, {"type": "boolean", "default": False}, about)

    def unit(self) -> JSONObject | None:
        """The unit of a measured value."""
        measured = [r for r in self.relations if r.value and r.value.unit in UNITS and r.value.type == "decimal"]
        if not measured:
            return None
        relation = self.choice(measured)
        metric, other, factor = UNITS[relation.value.unit]
        schema = {**self.enumeration((metric, other)), "default": metric}
        about = self.choice(
            (
                f"Unit in which the {relation.label} is reported. Default is '{metric}'.",
                f"Unit of measurement of the {relation.label}; '{metric}' unless stated otherwise.",
            )
        )
        names = split_alternatives("unit|units|measurement_unit|unit_of_measure")
        return self.entry(
            "unit", names, schema, about, relation=relation.key, metric=metric, other=other, factor=factor
        )

    def date_format(self) -> JSONObject | None:
        """How dates are written."""
        if not any(r.value and r.value.type == "date" for r in self.relations):
            return None
        values = self.choice((("iso", "long"), ("iso", "long", "dotted"), ("iso", "dotted")))
        schema = {**self.enumeration(values), "default": "iso"}
        about = self.choice(
            (
                "How dates are written in the response: 'iso' for year-month-day, other styles as named.",
                "Style of dates in the result. Default is 'iso', which sorts alphabetically.",
            )
        )
        return self.entry("date_format", split_alternatives("date_format|date_style|calendar_style"), schema, about)

    def response(self) -> JSONObject | None:
        """The shape of the response."""
        values = self.choice((("record", "sentence"), ("record", "sentence", "list"), ("record", "list")))
        schema = {**self.enumeration(values), "default": "record"}
        about = self.choice(
            (
                "Shape of the response: a record with named items unless another one is chosen.",
                "Desired form of the result. Default is 'record', an object with one item per entry.",
                "How the result is laid out for the reader; 'record' is meant for programs.",
            )
        )
        names = split_alternatives("response_format|output_format|layout|presentation|result_style|format")
        return self.entry("response", names, schema, about, values=list(values))

    def minimum(self) -> JSONObject | None:
        """A bound on a number of the record."""
        numbers = self.free_relations(lambda relation: relation.is_number)
        if not numbers:
            return None
        relation = self.choice(numbers)
        role = self.choice(("minimum", "maximum"))
        about = self.choice(
            (
                f"{role.capitalize()} {relation.label} that the {{noun}} must have to be considered. Optional.",
                f"Ignore the {{noun}} unless its {relation.label} respects this {role}.",
                f"Bound on the {relation.label}: the {role} that is still accepted.",
            )
        )
        names = (f"{role[:3]}_{relation.key}", f"{relation.key}_{role}", f"{role}_{relation.key}")
        return self.entry(role, names, {"type": "number"}, about, column=self.use(relation))

    def confidence(self) -> JSONObject | None:
        """A threshold on how reliable the record is."""
        self._columns.add("_score")
        schema = {"type": "number", "minimum": 0, "maximum": 1, "default": 0}
        about = self.choice(
            (
                "Lowest reliability, from 0 to 1, that the record may have. By default everything is accepted.",
                "Records below this confidence (0 to 1) are withheld.",
            )
        )
        names = split_alternatives("min_confidence|reliability_threshold|minimum_score|confidence_threshold")
        return self.entry("confidence", names, schema, about)

    def since(self) -> JSONObject | None:
        """A bound on the year in which the record was entered."""
        self._columns.add("_year")
        about = self.choice(
            (
                "Only accept records that were entered in this year or later (four digits).",
                "Earliest year of entry; older records are treated as outdated and refused.",
            )
        )
        return self.entry(
            "since",
            split_alternatives("entered_since|since_year|recorded_from|earliest_entry"),
            {"type": "integer"},
            about,
        )

    def as_of(self) -> JSONObject | None:
        """A day on which the record must already have existed."""
        self._columns.add("_year")
        schema = {"type": "string", "format": "date"}
        about = self.choice(
            (
                "Reference day, written as YYYY-MM-DD: records entered after it are not considered.",
                "State of the files on this day (YYYY-MM-DD). By default the current state is used.",
            )
        )
        return self.entry("as_of", split_alternatives("as_of|reference_date|key_date|cutoff_date"), schema, about)

    def period(self) -> JSONObject | None:
        """Years between which the record was entered."""
        self._columns.add("_year")
        first, last = self.choice((("from", "to"), ("start", "end"), ("first_year", "last_year"), ("after", "before")))
        schema = {
            "type": "object",
            "properties": {
                first: {"type": "integer", "description": "First year of the period, four digits."},
                last: {"type": "integer", "description": "Last year of the period, four digits."},
            },
        }
        about = self.choice(
            (
                "Period in which the record must have been entered; either end may be left open.",
                "Restricts the lookup to records whose year of entry lies in this range.",
            )
        )
        names = split_alternatives("period|entry_period|time_range|date_range|recorded_between")
        return self.entry("period", names, schema, about, first=first, last=last)

    def place(self) -> JSONObject | None:
        """Two text filters in one object."""
        columns = [name for name in TEXTS if name not in self._columns]
        if len(columns) < 2:
            return None
        self._random.shuffle(columns)
        chosen = [(column, self.choice(TEXTS[column].names)) for column in columns[:2]]
        self._columns.update(columns[:2])
        properties = {
            name: {"type": "string", "description": f"{name.replace('_', ' ').capitalize()} to match."}
            for _, name in chosen
        }
        about = self.choice(
            (
                "Further particulars that the record must match; each of them is optional.",
                "Narrows the lookup by where and by whom the record is kept.",
            )
        )
        names = split_alternatives("filters|constraints|criteria|restrictions|context")
        schema = {"type": "object", "properties": properties}
        return self.entry("place", names, schema, about, filters=[[name, column] for column, name in chosen])

    def fields(self) -> JSONObject | None:
        """A list of further entries to report."""
        relations = self.free_relations(
            lambda relation: (
                relation.target is None and relation.value is not None and relation.value.type not in ("choice", "list")
            )
        )
        if len(relations) < 2:
            return None
        self._random.shuffle(relations)
        chosen = relations[:3]
        items: JSONObject = {"type": "string"}
        if self._types:
            items["enum"] = [relation.key for relation in chosen]
        about = self.choice(
            (
                "Further entries of the record to report beside the one that was asked for.",
                "List of additional particulars to append to the response; empty by default.",
            )
        )
        names = split_alternatives("extra_fields|additional_fields|also_report|append|supplements")
        columns = [self.use(relation) for relation in chosen]
        return self.entry("fields", names, {"type": "array", "items": items}, about, columns=columns)

    def others(self) -> JSONObject | None:
        """More names to look up in the same call."""
        if self._also is not None:
            return None
        about = self.choice(
            (
                "Further names to look up in the same request; their entries are reported under 'others'.",
                "Batch mode: additional names for which the same entry is wanted.",
            )
        )
        names = [f"{word}_{self.kind.parameters[0]}s" for word in ("more", "other", "additional", "batch")]
        return self.entry("others", names, {"type": "array", "items": {"type": "string"}}, about)


OFFERS: Mapping[str, Offer] = {
    name: getattr(ParameterOffers, name)
    for name in (
        "text",
        "enum",
        "extra",
        "flag",
        "surname",
        "unit",
        "date_format",
        "response",
        "minimum",
        "confidence",
        "since",
        "as_of",
        "period",
        "place",
        "fields",
        "others",
    )
}


def cell_value(world: World, key: str, column: str, values: Sequence[str] = ()) -> Any:
    """What a table holds for `key` in a column: a relation of the world, or something that every record has."""
    if not column.startswith("_"):
        return world.value(key, RELATIONS[column])
    if column in TEXTS:
        return world.shared_name(key, column, TEXTS[column].pattern)
    return world.choose_value(key, column, values)
