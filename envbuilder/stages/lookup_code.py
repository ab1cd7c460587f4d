"""The code of a look-up: its table, its checks, the entry and the envelope it is returned in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random
from typing import Any

from envbuilder.records import JSONObject
from envbuilder.stages.documents import field_of, is_yearly
from envbuilder.worlds.axes import AXES
from envbuilder.worlds.catalogue import ENTITY_KINDS
from envbuilder.worlds.options import COLUMNS, EXTRAS
from envbuilder.worlds.schema import EntityKind, Fact
from envbuilder.worlds.tables import World, cell_key, variant_of

SHARED_CELLS = 3
"""A column of names holds so many different ones at most."""
_TABLES = ("holdings", "ledger", "file", "book", "store")
_ROWS = ("row", "record", "held", "hit")
_TIDY = ("fold", "plain", "tidy", "norm")
LOCALS = frozenset(
    (
        *(
            "at",
            "batch",
            "chosen",
            "codes",
            "columns",
            "cursors",
            "each",
            "entity",
            "found",
            "given",
            "key",
            "keys",
            "matches",
            "name",
        ),
        *("reference", "register", "result", "row", "rows", "span", "store", "text", "tidy", "value", "wanted", "when"),
    )
)
"""What the code of tools calls its own variables, so that no parameter may."""


class LookUpCode:
    """The body of one look-up."""

    def __init__(self, random: Random, world: World, facts: JSONObject, given: set[str], scenario: JSONObject) -> None:
        self._random = random
        self._world = world
        self._facts = facts
        self._given = given
        self._kind = ENTITY_KINDS[facts["kind"]]
        self._provider = scenario["providers"].get(self._kind.domain, {"envelope": 0})
        self._terse: bool = scenario["terse"]
        self._names = names_by_role(facts)
        taken = set(self._names.values()) | {entry["name"] for entry in facts["parameters"]}
        self._table = self._free(_TABLES, taken)
        self._row = self._free(_ROWS, taken)
        self._tidy = self._free(_TIDY, taken)
        self._options = [entry for entry in facts["parameters"] if entry["role"].startswith("option")]
        self._yearly = [field for field in facts["fields"] if is_yearly(field)]
        self._axes: dict[str, dict[str, list[str]]] = _by_sort(facts["axes"])
        self._whole: dict[str, dict[str, int]] = _by_sort(facts["whole"])

    def _free(self, names: Sequence[str], taken: set[str]) -> str:
        free = [name for name in names if name not in taken]
        return free[int(self._random.random() * len(free))]

    def lines(self) -> list[str]:
        return [
            *self._records(),
            *tidy_lines(self._tidy),
            *self._find(),
            *self._checks(),
            *self._value(),
            *self._result(),
        ]

    # --- the table -----------------------------------------------------------------------------------------------

    def _records(self) -> list[str]:
        lines = [f"    {self._table} = {{"]
        cells: JSONObject = {}
        for key in self._world.pool(self._facts["kind"]):
            thing = self._world.things[key]
            shown = thing["ids"][0] if self._facts["numbered"] else thing["name"]
            cells = {"": thing["name"]} if self._facts["numbered"] else {}
            for field in self._facts["fields"]:
                cells[self._facts["codes"][field]] = self._cell(key, field)
            for column in dict.fromkeys(self._columns()):
                cells[f"_{column}"] = self._kept(key, column)
            lines.append(f"        {literal(shown)}: {listed(cells.values())},")
        return [*lines, "    }", f"    columns = {listed(cells)}"]

    def _columns(self) -> Iterator[str]:
        for entry in self._options:
            if entry["column"]:
                yield entry["column"]
            if entry["role"] == "option extras":
                yield from EXTRAS

    def _kept(self, key: str, column: str) -> Any:
        """A cell about how a record is kept; names in it repeat."""
        about = COLUMNS[column]
        cell = cell_key(key, f"_{column}", "")
        if about.value is not None:
            return self._world.draw_value(cell, about.value)
        if cell not in self._world.values:
            place = int(self._random.random() * SHARED_CELLS)
            self._world.values[cell] = self._world.draw_name(f"{column}|{place}", about.pattern)
        return self._world.values[cell]

    def _cell(self, key: str, field: str) -> Any:
        """What a record holds of a field: one value, or values by year and by the options that decide."""
        held = field_of(field)
        if isinstance(held, Fact) and held.target is not None:
            other = self._world.things[self._world.value(key, held)]
            return [other["name"], other["ids"][0]] if held.target in self._given else other["name"]
        if is_yearly(field):
            axes, whole = self._axes["yearly"], self._whole["yearly"]
            return {year: self._by_axes(key, field, year, axes, whole) for year in self._facts["years"]}
        return self._by_axes(key, field, None, self._axes["plain"], self._whole["plain"])

    def _by_axes(
        self, key: str, field: str, year: int | None, axes: dict[str, list[str]], chosen: dict[str, int]
    ) -> Any:
        """The values of a field by the codes of the options that decide, one option inside the other."""
        if not axes:
            held, variant = field_of(field), variant_of(year, chosen)
            if isinstance(held, Fact):
                return self._world.value(key, held, variant)
            return self._world.draw_value(cell_key(key, field, variant), held.value)
        axis, codes = next(iter(axes.items()))
        rest = {name: other for name, other in axes.items() if name != axis}
        return {
            code: self._by_axes(key, field, year, rest, {**chosen, axis: place}) for place, code in enumerate(codes)
        }

    # --- arguments -----------------------------------------------------------------------------------------------

    def _find(self) -> list[str]:
        subject, lines = self._names["subject"], list[str]()
        entry = next(entry for entry in self._facts["parameters"] if entry["role"] == "subject")
        name = subject
        if entry["schema"]["type"] == "object":
            inner = next(iter(entry["schema"]["properties"]))
            lines.append(f'    given = {subject}.get("{inner}") if isinstance({subject}, dict) else {subject}')
            name = "given"
        exact = next((option["name"] for option in self._options if option["role"] == "option exact"), None)
        same = f"{self._tidy}(key) == {self._tidy}({name})"
        if exact:
            same = f"key == {name} or ({exact} is not True and {same})"
        lines += [
            f"    found = ((key, each) for key, each in {self._table}.items() if {same})",
            f"    entity, {self._row} = next(found, (None, None))",
            f"    if {self._row} is None:",
            f'        return {{"error": "{subject}: {unknown_subject(self._kind, self._facts["numbered"])}"}}',
        ]
        lines.append(f"    {self._row} = dict(zip(columns, {self._row}))")
        return [*lines, f'    entity = {self._row}[""]'] if self._facts["numbered"] else lines

    def _checks(self) -> list[str]:
        """Optional conditions that the record must satisfy where they are given."""
        lines = self._equalities()
        for option in self._options:
            name, cell = option["name"], f'{self._row}["_{option["column"]}"]'
            match option["role"]:
                case "option at_least":
                    lines += [
                        f"    if isinstance({name}, (int, float)) and {cell} < {name}:",
                        f'        return {{"error": "{name}: the record is graded lower."}}',
                    ]
                case "option since":
                    lines += [
                        f"    if {name} and {cell} < str({name}):",
                        f'        return {{"error": "{name}: the record was keyed in earlier."}}',
                    ]
                case "option window":
                    lines += [
                        f"    span = {name} if isinstance({name}, dict) else {{}}",
                        f'    if not str(span.get("from") or "") <= {cell} <= str(span.get("to") or "9999"):',
                        f'        return {{"error": "{name}: the record was keyed in outside it."}}',
                    ]
        return lines

    def _equalities(self) -> list[str]:
        """Filters by a text that a column must be equal to."""
        options = [option for option in self._options if option["role"] == "option equal"]
        if not options:
            return []
        pairs = ", ".join(f'("{option["name"]}", {option["name"]}, "_{option["column"]}")' for option in options)
        return [
            f"    for name, given, key in ({pairs}{',' if len(options) == 1 else ''}):",
            f"        if given and {self._tidy}(given) != {self._tidy}({self._row}[key]):",
            '            return {"error": f"{name}: the record has another one; omit it to accept any."}',
        ]

    # --- the value -----------------------------------------------------------------------------------------------

    def _value(self) -> list[str]:
        codes = self._facts["codes"]
        field = self._names.get("field")
        lines: list[str] = []
        if field:
            lines += [
                f"    codes = {listed(codes.values())}",
                f"    chosen = next((each for each in codes if {self._tidy}(each) == {self._tidy}({field})), None)",
                "    if chosen is None:",
                f'        return {{"error": "{field}: not a code of this service; its description lists them."}}',
                f"    value = {self._row}[chosen]",
            ]
        else:
            lines.append(f"    value = {self._row}[{literal(next(iter(codes.values())))}]")
        plain = [name for name in codes if name not in self._yearly and self._has_axes(name)]
        return [*lines, *self._of_year(), *self._of_axes("yearly", self._yearly), *self._of_axes("plain", plain)]

    def _has_axes(self, field: str) -> bool:
        return field_of(field).value is not None

    def _only(self, fields: Sequence[str]) -> str:
        """A condition that one of these fields is wanted; empty where there are no others."""
        if len(fields) == len(self._facts["fields"]):
            return ""
        return f"chosen in {listed(self._facts['codes'][field] for field in fields)}"

    def _of_year(self) -> list[str]:
        if not self._yearly:
            return []
        year = self._names["year"]
        years = self._facts["years"]
        told = f"{years[0]} to {years[-1]}" if years[-1] - years[0] + 1 == len(years) else "other years"
        lines = [
            f'when = str(max(value) if {year} in (None, "") else {year}).strip()',
            "if when not in map(str, value):",
            f'    return {{"error": "{year}: no figure is on file for it; there are those of {told}."}}',
            "value = value[int(when)]",
        ]
        return under(self._only(self._yearly), lines)

    def _of_axes(self, sort: str, fields: Sequence[str]) -> list[str]:
        axes = self._axes[sort]
        if not axes or not fields:
            return []
        lines: list[str] = []
        for axis, codes in axes.items():
            name = self._names[f"axis {axis}"]
            lines += [
                f'{name} = str({literal(codes[0])} if {name} in (None, "") else {name}).strip()',
                f"if {name} not in {listed(codes)}:",
                f'    return {{"error": "{name}: not a code of this parameter; its description lists them."}}',
                f"value = value[{name}]",
            ]
        return under(self._only(fields), lines)

    # --- the result ----------------------------------------------------------------------------------------------

    def _result(self) -> list[str]:
        lines = self._precision()
        given = [field for field in self._facts["fields"] if self._gives_reference(field)]
        units = {
            self._facts["codes"][field]: value.unit
            for field in self._facts["fields"]
            if (value := field_of(field).value) is not None and value.unit
        }
        lines += self._envelope(units)
        if given:
            lines += under(self._only(given), ['result["value_reference"] = reference'])
            lines[:0] = under(self._only(given), ["value, reference = value"])
        for option in self._options:
            match option["role"]:
                case "option extra":
                    lines += [
                        f"    if {option['name']} is True:",
                        f'        result["{option["column"]}"] = {self._row}["_{option["column"]}"]',
                    ]
                case "option extras":
                    lines += [
                        f"    for name in {option['name']} if isinstance({option['name']}, list) else ():",
                        f"        if name in {listed(EXTRAS)}:",
                        f'            result[name] = {self._row}["_" + name]',
                    ]
        nested = next((option["name"] for option in self._options if option["role"] == "option nested"), None)
        lines.append(
            f'    return {{"data": result}} if {nested} is True else result' if nested else "    return result"
        )
        return lines

    def _gives_reference(self, field: str) -> bool:
        held = field_of(field)
        return isinstance(held, Fact) and held.target is not None and held.target in self._given

    def _precision(self) -> list[str]:
        name = next((option["name"] for option in self._options if option["role"] == "option precision"), None)
        if name is None:
            return []
        return [
            f"    if isinstance({name}, int) and isinstance(value, float):",
            f"        value = round(value, {name})",
        ]

    def _envelope(self, units: dict[str, str]) -> list[str]:
        codes = [*self._facts["codes"].values()]
        code = "chosen" if self._names.get("field") else literal(codes[0])
        if self._terse:
            return ['    result = {"value": value}']
        forms = (
            '{"title": entity, "value": value}',
            f'{{"title": entity, "entry": {code}, "val": value}}',
            f'{{"subject": entity, "observation": {{"code": {code}, "value": value}}}}',
            f'{{"title": entity, {code}: value}}',
        )
        lines = [f"    result = {forms[self._provider['envelope']]}"]
        if units:
            unit = ("unit", "uom", "unit", "unit")[self._provider["envelope"]]
            told = f"{literal(units)}[chosen]" if self._names.get("field") else literal(next(iter(units.values())))
            condition = "" if len(units) == len(codes) else f"chosen in {listed(units)}"
            lines += under(condition, [f'result["{unit}"] = {told}'])
        if self._yearly:
            lines += under(self._only(self._yearly), ['result["year"] = int(when)'])
        return lines


def _by_sort(said: JSONObject) -> dict[str, JSONObject]:
    """What is said of axes, apart for those of figures of a year and those of other values."""
    return {
        sort: {axis: value for axis, value in said.items() if AXES[axis].applies == sort}
        for sort in ("yearly", "plain")
    }


def names_by_role(facts: JSONObject) -> dict[str, str]:
    return {entry["role"]: entry["name"] for entry in facts["parameters"]}


def tidy_lines(name: str) -> list[str]:
    return [
        f"    def {name}(text):",
        '        return " ".join(str(text).casefold().split()).removeprefix("the ")',
        "",
    ]


def unknown_subject(kind: EntityKind, numbered: bool) -> str:
    if numbered:
        return f"no {kind.filed} has this reference; it has to be the one in force."
    return f"no {kind.filed} is registered under it; give the title in full, without rank or article."


def under(condition: str, lines: Sequence[str]) -> list[str]:
    """Lines of a body, under a condition where there is one."""
    return (
        [f"    if {condition}:", *(f"        {line}" for line in lines)]
        if condition
        else [f"    {line}" for line in lines]
    )


def listed(codes: Iterable[Any]) -> str:
    found = [literal(code) for code in codes]
    return f"({', '.join(found)}{',' if len(found) == 1 else ''})"


def literal(value: Any) -> str:
    """A value as source, in double quotes."""
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(map(literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join([f"{literal(key)}: {literal(item)}" for key, item in value.items()]) + "}"
    return repr(value)
