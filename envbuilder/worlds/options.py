"""Optional parameters of look-ups that a question never needs: filters on the record's own keeping, and extras.

Each really works: a filter refuses a record that does not fit it, a switch adds what it promises. They are about how a
record is kept, so that they fit every domain; a provider calls them by the same names in all its tools.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from envbuilder.records import JSONObject
from envbuilder.worlds.schema import Value

Effect = Literal["equal", "at_least", "since", "window", "extra", "extras", "exact", "nested", "precision"]


@dataclass(frozen=True, slots=True)
class Column:
    """A column that the code of a tool may hold about each record: where its cells come from."""

    name: str
    about: str
    value: Value | None = None
    pattern: str = ""


COLUMNS: dict[str, Column] = {
    column.name: column
    for column in (
        Column("custodian", "bureau that keeps the record", pattern="{town} Bureau|{stem} Desk|{town} Counter"),
        Column("clerk", "surname of the clerk who keyed it in", pattern="{last}"),
        Column("shelf", "shelf mark of the paper original", pattern="{LL}{d3}"),
        Column("keyed", "date on which it was keyed in", Value("date", 2020, 2024)),
        Column("quality", "grade between 0 and 1 given in the last audit of the file", Value("decimal", 0.51, 0.99)),
        Column("tier", "tier of the file", Value("choice", choices=("core", "extended", "legacy"))),
        Column("medium", "medium of the original", Value("choice", choices=("parchment", "microfiche", "scan"))),
        Column("access", "access class", Value("choice", choices=("open", "restricted", "sealed"))),
    )
}


@dataclass(frozen=True, slots=True)
class Option:
    """An optional parameter: alternative names, its schema, what it does with which column."""

    names: tuple[str, ...]
    schema: JSONObject
    abouts: tuple[str, ...]
    effect: Effect
    column: str = ""
    level: int = 0
    """The level of types that it needs."""
    weight: float = 1.0


def _option(
    names: str,
    schema: dict[str, Any],
    abouts: str,
    effect: Effect,
    column: str = "",
    level: int = 0,
    weight: float = 1.0,
) -> Option:
    return Option(tuple(names.split("|")), schema, tuple(abouts.split("|")), effect, column, level, weight)


_TEXT: JSONObject = {"type": "string"}
_FLAG: JSONObject = {"type": "boolean", "default": False}


def _choices(column: str) -> JSONObject:
    value = COLUMNS[column].value
    assert value is not None
    return {"type": "string", "enum": [*value.choices]}


OPTIONS: tuple[Option, ...] = (
    _option(
        "custodian|bureau|held_by",
        _TEXT,
        "Bureau that must hold the record; a record held elsewhere is refused.|"
        "Restricts the query to what one bureau holds, given by its registered title.|"
        "Title of the holding bureau. Omit it to query all bureaus.",
        "equal",
        "custodian",
        weight=2.4,
    ),
    _option(
        "clerk|keyed_by|operator",
        _TEXT,
        "Surname of the clerk who must have keyed the record in; others are refused.|"
        "Accepts the record only if this clerk (surname) keyed it in.|"
        "Restricts the query to the work of one clerk, by surname; omit it for all clerks.",
        "equal",
        "clerk",
        weight=2.4,
    ),
    _option(
        "shelf|shelf_mark|box",
        _TEXT,
        "Shelf mark that the paper original must carry, such as AB123.|"
        "Restricts the query to originals on one shelf, given by its mark.|"
        "Mark of a shelf (two letters, three digits); a record from another is refused.",
        "equal",
        "shelf",
        weight=2.0,
    ),
    _option(
        "tier|file_tier|segment",
        _choices("tier"),
        "Tier of the file that is queried; omit it for all tiers.|"
        "Refuses records outside this tier of the file.|Restricts the query to one tier.",
        "equal",
        "tier",
        weight=0.5,
    ),
    _option(
        "medium|carrier|support",
        _choices("medium"),
        "Medium that the original must be on; omit it for all media.|"
        "Refuses records whose original is on another medium.|Restricts the query to one medium.",
        "equal",
        "medium",
        weight=0.5,
    ),
    _option(
        "access|access_class|clearance",
        _choices("access"),
        "Access class that the record must have; omit it for all classes.|"
        "Refuses records of another access class.|Restricts the query to one access class.",
        "equal",
        "access",
        weight=0.5,
    ),
    _option(
        "with_custodian|add_bureau|show_custodian",
        _FLAG,
        "Adds the bureau that holds the record to the response.|If true, the response states the holding bureau too.|"
        "Whether the holding bureau is added to the response.",
        "extra",
        "custodian",
        level=1,
        weight=1.5,
    ),
    _option(
        "with_shelf|add_shelf|show_shelf",
        _FLAG,
        "Adds the shelf mark of the paper original to the response.|If true, the shelf mark is part of the response.|"
        "Whether the shelf mark of the original is added.",
        "extra",
        "shelf",
        level=1,
        weight=1.5,
    ),
    _option(
        "with_keyed|add_keyed|show_keyed",
        _FLAG,
        "Adds the date on which the record was keyed in.|If true, the response says since when the record is keyed in.|"
        "Whether the date of keying is added to the response.",
        "extra",
        "keyed",
        level=1,
        weight=1.5,
    ),
    _option(
        "exact|verbatim|strict",
        _FLAG,
        "Refuses an argument that differs from the registered spelling in case or spacing.|"
        "If true, case and spacing of the argument must be as registered.|"
        "Whether case and spacing matter; they do not unless this is true.",
        "exact",
        level=1,
        weight=1.0,
    ),
    _option(
        "nested|grouped|verbose_keys",
        _FLAG,
        "Groups the response under one key, data.|If true, the response is wrapped in an object with the key data.|"
        "Whether the response is wrapped in an object called data.",
        "nested",
        level=1,
        weight=1.0,
    ),
    _option(
        "min_quality|quality_floor|grade_min",
        {"type": "number", "minimum": 0, "maximum": 1},
        "Grade from 0 to 1 that the record must have reached in the last file audit.|"
        "Refuses records graded below this, between 0 and 1.|Floor for the audit grade of the record (0 to 1).",
        "at_least",
        "quality",
        level=2,
        weight=1.0,
    ),
    _option(
        "keyed_since|since|not_before",
        {"type": "string", "format": "date"},
        "Refuses records keyed in before this date (YYYY-MM-DD).|Earliest date of keying, as YYYY-MM-DD.|"
        "YYYY-MM-DD; a record keyed in earlier is refused.",
        "since",
        "keyed",
        level=2,
        weight=0.5,
    ),
    _option(
        "keyed_window|window|keyed_between",
        {
            "type": "object",
            "properties": {
                "from": {"type": "string", "description": "YYYY-MM-DD"},
                "to": {"type": "string", "description": "YYYY-MM-DD"},
            },
        },
        "Interval in which the record must have been keyed in, both ends included.|"
        "Refuses records keyed in outside this interval; either end may be omitted.|"
        "Interval for the date of keying, with the parts from and to.",
        "window",
        "keyed",
        level=2,
        weight=1.0,
    ),
    _option(
        "extras|add|append",
        {"type": "array", "items": {"type": "string", "enum": ["clerk", "tier", "medium", "access"]}},
        "Keeping details to add to the response.|Which keeping details the response carries besides the entry.|"
        "Keeping details that are appended, in the given order.",
        "extras",
        level=2,
        weight=1.0,
    ),
    _option(
        "precision|digits|scale",
        {"type": "integer", "minimum": 0, "maximum": 6},
        "Decimals to which a decimal figure is cut; omit it for the figure as filed.|"
        "Number of decimals of the response, from 0 to 6; as filed when omitted.|"
        "Cuts decimal figures to so many places (0 to 6).",
        "precision",
        level=2,
        weight=0.35,
    ),
)
EXTRAS = ("clerk", "tier", "medium", "access")
