"""Stage 5, localised deployment: every document becomes one Python function that answers from a table of its own.

What: the function checks its arguments, finds the record, applies the optional parameters and returns the entry with
its subject and unit; a closing operation computes. Everything is inside the function, imports and tables too, so that
the paper's own tools can run it. Tools are put in random order: their place says nothing about which are needed.
Why: an error names the argument that was wrong and what would do, and no value; no argument is ever returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from envbuilder.records import DeployedToolset, Document, JSONObject, Toolset
from envbuilder.stages.documents import field_of, is_yearly
from envbuilder.stages.scenario import variant_of
from envbuilder.worlds.axes import AXES
from envbuilder.worlds.catalogue import ENTITY_KINDS, LISTINGS
from envbuilder.worlds.operations import OPERATIONS
from envbuilder.worlds.options import COLUMNS, EXTRAS
from envbuilder.worlds.schema import Fact
from envbuilder.worlds.tables import World, cell_key

DECOY_ROWS = 3
"""Rows of a decoy: of a list that nobody asks for, of a class that nobody looks up."""
SHARED_CELLS = 3
"""A column of names holds so many different ones at most."""
_TABLES = ("holdings", "ledger", "file", "book", "store")
_ROWS = ("row", "record", "held", "hit")
_TIDY = ("fold", "plain", "tidy", "norm")
LOCALS = frozenset(
    (
        *("at", "batch", "chosen", "codes", "columns", "cursors", "each", "entity", "found", "given", "key", "keys", "matches", "name"),
        *("reference", "register", "result", "row", "rows", "span", "store", "text", "tidy", "value", "wanted", "when"),
    )
)
"""What the code of tools calls its own variables, so that no parameter may."""


def deploy_toolset(toolset: Toolset) -> DeployedToolset:
    """The toolset with code for every document, its documents in random order."""
    facts = toolset.scenario.facts
    random = Random(f"{facts['source']}|deployment")
    world = World(random, facts["world"])
    documents = list(toolset.documents)
    random.shuffle(documents)
    coder = _Coder(random, world, facts)
    codes = {document.name: coder.code(document) for document in documents}
    return DeployedToolset(replace(toolset, documents=tuple(documents)), codes)


class _Coder:
    """Writes functions; draws the style of each."""

    def __init__(self, random: Random, world: World, facts: JSONObject) -> None:
        self._random = random
        self._world = world
        self._facts = facts
        self._given = set(facts["given"])

    def _kind_of(self, step: JSONObject) -> str:
        return str(self._world.things[step["thing"]]["kind"])

    def code(self, document: Document) -> str:
        facts = document.facts
        writers = {"look": self._look, "find": self._find, "map": self._map, "list": self._list}
        body = self._operation(facts) if facts["do"] == "operation" else writers[facts["do"]](facts)
        summary = re.split(r"(?<=[.]) ", document.description)[0]
        return "\n".join([_signature(document), f'    """{summary}"""', *body]) + "\n"

    # --- operations ----------------------------------------------------------------------------------------------

    def _operation(self, facts: JSONObject) -> list[str]:
        operation = OPERATIONS[facts["operation"]]
        code = operation.code + f'    return {{"{operation.result}": outcome}}'
        if "factors" in facts:
            code = code.replace("FACTORS", _factors(facts["factors"]))
        for entry in facts["parameters"]:
            if entry["role"] == "input":
                code = re.sub(rf"\b{entry['code']}\b", entry["name"], code)
        return [f"    {operation.imports}", "", *code.split("\n")]

    # --- look-ups ------------------------------------------------------------------------------------------------

    def _look(self, facts: JSONObject) -> list[str]:
        return _Look(self._random, self._world, facts, self._given, self._facts).lines()

    # --- references ----------------------------------------------------------------------------------------------

    def _find(self, facts: JSONObject) -> list[str]:
        names = _names_by_role(facts)
        lines = [f"    {self._table(facts)}"]
        lines += self._class_check(facts, names)
        lines += [
            *_tidy_lines("tidy"),
            f"    wanted = tidy({names['query']})",
            "    matches = [",
            f"        {{key: value for key, value in row.items() if key not in codes}} | {{\"reference\": row[{names['scheme']}]}}",
            f"        for row in register[{names['class']}]",
            '        if tidy(row["title"]) == wanted',
            "    ]",
            "    if not matches:",
            f'        return {{"matches": [], "note": "No title of this class is the same; give the {{}} in full, without rank or article."}}'.replace(
                "{}", names["query"]
            ),
        ]
        return [*lines, *self._wrapped(facts, '{"matches": matches}')]

    def _table(self, facts: JSONObject) -> str:
        """The register of a tool of references, by class."""
        lines = ["register = {"]
        for kind, code in facts["classes"].items():
            lines.append(f'        "{code}": [')
            lines += [f"            {_literal(row)}," for row in self._register(facts, kind)]
            lines.append("        ],")
        return "\n".join([*lines, "    }"])

    def _register(self, facts: JSONObject, kind: str) -> Iterator[JSONObject]:
        asked = any(self._kind_of(step) == kind for step in self._facts["steps"] if "thing" in step)
        keys = self._world.pool(kind)
        for key in keys if asked else keys[:DECOY_ROWS]:
            thing = self._world.things[key]
            ids = {code: thing["ids"][int(scheme)] for scheme, code in facts["schemes"].items()}
            traits = ENTITY_KINDS[kind].traits[: 2 if asked else 1]
            told = {trait.key: self._world.trait(key, place) for place, trait in enumerate(traits)}
            yield {"title": thing["name"], **told, **ids}

    def _class_check(self, facts: JSONObject, names: dict[str, str]) -> list[str]:
        codes = _listed(facts["schemes"].values())
        cls, scheme = names["class"], names["scheme"]
        return [
            f"    codes = {codes}",
            f"    {cls}, {scheme} = str({cls}).strip().upper(), str({scheme}).strip().upper()",
            f"    if {cls} not in register:",
            f'        return {{"error": "{cls}: not a class code; its description lists them."}}',
            f"    if {scheme} not in codes:",
            f'        return {{"error": "{scheme}: not a numbering of this service; its description lists them."}}',
        ]

    def _map(self, facts: JSONObject) -> list[str]:
        names = _names_by_role(facts)
        lines = ["    register = {"]
        for kind, code in facts["classes"].items():
            lines.append(f'        "{code}": [')
            keys = self._world.pool(kind)
            asked = any(self._kind_of(step) == kind for step in self._facts["steps"] if "thing" in step)
            for key in keys if asked else keys[:DECOY_ROWS]:
                ids = self._world.things[key]["ids"]
                schemes = {code: ids[int(scheme)] for scheme, code in facts["schemes"].items()}
                lines.append(f'            ("{ids[1]}", {_literal(schemes)}),')
            lines.append("        ],")
        lines += ["    }", *self._class_check(facts, names)]
        query = names["query"]
        lines += [
            *_tidy_lines("tidy"),
            f"    row = next((row for key, row in register[{names['class']}] if tidy(key) == tidy({query})), None)",
            "    if row is None:",
            f'        return {{"error": "{query}: no such reference in this class; it takes the other numbering."}}',
        ]
        return [*lines, *self._wrapped(facts, f'{{"reference": row[{names["scheme"]}]}}')]

    # --- lists ---------------------------------------------------------------------------------------------------

    def _list(self, facts: JSONObject) -> list[str]:
        names, listing = _names_by_role(facts), LISTINGS[facts["list"]]
        kind = ENTITY_KINDS[facts["kind"]]
        keys = self._world.pool(facts["kind"])
        columns = {"label": listing.label_key, "measure": listing.measure_key, "mark": listing.mark_key}
        columns |= {"unit": "uom"} if facts["mixed"] else {}
        columns |= {"rev": "rev"} if facts["revised"] else {}
        lines = ["    store = {"]
        for key in keys:
            thing = self._world.things[key]
            shown = thing["ids"][0] if facts["numbered"] else thing["name"]
            wanted = cell_key(key, facts["list"], "") in self._world.values
            if not wanted and len(lines) > 4 * DECOY_ROWS:
                continue
            rows = self._world.rows_of(key, listing, DECOY_ROWS)
            cursors = facts["cursors"].get(key, [])
            lines.append(f"        {_literal(shown)}: ({_literal(thing['name'])}, {_literal(cursors)}, [")
            lines += [f"            {_literal([row[column] for column in columns])}," for row in rows]
            lines.append("        ]),")
        subject, cursor = names["subject"], names["cursor"]
        unit = f', "unit": "{listing.measure.unit}"' if listing.measure.unit and not facts["mixed"] else ""
        lines += [
            "    }",
            *_tidy_lines("tidy"),
            f"    found = next((each for key, each in store.items() if tidy(key) == tidy({subject})), None)",
            "    if found is None:",
            f'        return {{"error": "{subject}: {_unknown(kind, facts["numbered"])}"}}',
            "    entity, cursors, rows = found",
            f"    at = 0 if {cursor} in (None, \"\") else cursors.index({cursor}) + 1 if {cursor} in cursors else -1",
            "    if at < 0:",
            f'        return {{"error": "{cursor}: not a cursor of this list; omit it for the first batch."}}',
            f"    batch = rows[at * {facts['size']}:(at + 1) * {facts['size']}]",
            f"    keys = {_listed(columns.values())}",
        ]
        result = (
            f'{{"title": entity, "rows": [dict(zip(keys, row)) for row in batch]{unit}, '
            '"next": cursors[at] if at < len(cursors) else None}'
        )
        return [*lines, *self._wrapped(facts, result)]

    def _wrapped(self, facts: JSONObject, result: str) -> list[str]:
        """The return statement, with the option that groups a response."""
        nested = next((entry["name"] for entry in facts["parameters"] if entry["role"] == "option nested"), None)
        if nested is None:
            return [f"    return {result}"]
        return [f"    result = {result}", f'    return {{"data": result}} if {nested} is True else result']


class _Look:
    """The body of one look-up."""

    def __init__(
        self, random: Random, world: World, facts: JSONObject, given: set[str], scenario: JSONObject
    ) -> None:
        self._random = random
        self._world = world
        self._facts = facts
        self._given = given
        self._kind = ENTITY_KINDS[facts["kind"]]
        self._provider = scenario["providers"].get(self._kind.domain, {"envelope": 0})
        self._terse: bool = scenario["terse"]
        self._names = _names_by_role(facts)
        taken = set(self._names.values()) | {entry["name"] for entry in facts["parameters"]}
        self._table = self._free(_TABLES, taken)
        self._row = self._free(_ROWS, taken)
        self._tidy = self._free(_TIDY, taken)
        self._options = [entry for entry in facts["parameters"] if entry["role"].startswith("option")]
        self._yearly = [field for field in facts["fields"] if is_yearly(field)]

    def _free(self, names: Sequence[str], taken: set[str]) -> str:
        free = [name for name in names if name not in taken]
        return free[int(self._random.random() * len(free))]

    def lines(self) -> list[str]:
        return [
            *self._records(),
            *_tidy_lines(self._tidy),
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
            lines.append(f"        {_literal(shown)}: {_listed(cells.values())},")
        return [*lines, "    }", f"    columns = {_listed(cells)}"]

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
        sort = "yearly" if is_yearly(field) else "plain"
        axes = {axis: codes for axis, codes in self._facts["axes"].items() if AXES[axis].applies == sort}
        whole = {axis: place for axis, place in self._facts["whole"].items() if AXES[axis].applies == sort}
        if sort == "yearly":
            return {year: self._by_axes(key, field, year, axes, whole) for year in self._facts["years"]}
        return self._by_axes(key, field, None, axes, whole)

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
            f"    entity, {self._row} = next(((key, each) for key, each in {self._table}.items() if {same}), (None, None))",
            f"    if {self._row} is None:",
            f'        return {{"error": "{subject}: {_unknown(self._kind, self._facts["numbered"])}"}}',
        ]
        lines.append(f"    {self._row} = dict(zip(columns, {self._row}))")
        return [*lines, f"    entity = {self._row}[\"\"]"] if self._facts["numbered"] else lines

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
                f"    chosen = next((each for each in {_listed(codes.values())} if {self._tidy}(each) == {self._tidy}({field})), None)",
                "    if chosen is None:",
                f'        return {{"error": "{field}: not a code of this service; its description lists them."}}',
                f"    value = {self._row}[chosen]",
            ]
        else:
            lines.append(f"    value = {self._row}[{_literal(next(iter(codes.values())))}]")
        plain = [name for name in codes if name not in self._yearly and self._has_axes(name)]
        return [*lines, *self._of_year(), *self._of_axes("yearly", self._yearly), *self._of_axes("plain", plain)]

    def _has_axes(self, field: str) -> bool:
        return field_of(field).value is not None

    def _only(self, fields: Sequence[str]) -> str:
        """A condition that one of these fields is wanted; empty where there are no others."""
        if len(fields) == len(self._facts["fields"]):
            return ""
        return f"chosen in {_listed(self._facts['codes'][field] for field in fields)}"

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
        return _under(self._only(self._yearly), lines)

    def _of_axes(self, sort: str, fields: Sequence[str]) -> list[str]:
        axes = {axis: codes for axis, codes in self._facts["axes"].items() if AXES[axis].applies == sort}
        if not axes or not fields:
            return []
        lines: list[str] = []
        for axis, codes in axes.items():
            name = self._names[f"axis {axis}"]
            lines += [
                f"{name} = str({_literal(codes[0])} if {name} in (None, \"\") else {name}).strip()",
                f"if {name} not in {_listed(codes)}:",
                f'    return {{"error": "{name}: not a code of this parameter; its description lists them."}}',
                f"value = value[{name}]",
            ]
        return _under(self._only(fields), lines)

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
            lines += _under(self._only(given), ['result["reference"] = reference'])
            lines[:0] = _under(self._only(given), ["value, reference = value"])
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
                        f"        if name in {_listed(EXTRAS)}:",
                        f'            result[name] = {self._row}["_" + name]',
                    ]
        nested = next((option["name"] for option in self._options if option["role"] == "option nested"), None)
        lines.append(f'    return {{"data": result}} if {nested} is True else result' if nested else "    return result")
        return lines

    def _gives_reference(self, field: str) -> bool:
        held = field_of(field)
        return isinstance(held, Fact) and held.target is not None and held.target in self._given

    def _precision(self) -> list[str]:
        name = next((option["name"] for option in self._options if option["role"] == "option precision"), None)
        if name is None:
            return []
        return [f"    if isinstance({name}, int) and isinstance(value, float):", f"        value = round(value, {name})"]

    def _envelope(self, units: dict[str, str]) -> list[str]:
        codes = [*self._facts["codes"].values()]
        code = "chosen" if self._names.get("field") else _literal(codes[0])
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
            told = f"{_literal(units)}[chosen]" if self._names.get("field") else _literal(next(iter(units.values())))
            condition = "" if len(units) == len(codes) else f"chosen in {_listed(units)}"
            lines += _under(condition, [f'result["{unit}"] = {told}'])
        if self._yearly:
            lines += _under(self._only(self._yearly), ['result["year"] = int(when)'])
        return lines


def _signature(document: Document) -> str:
    parts = []
    for entry in sorted(document.facts["parameters"], key=lambda entry: not entry["required"]):
        default = "" if entry["required"] else f"={entry['schema'].get('default')!r}"
        parts.append(entry["name"] + default)
    return f"def {document.name}({', '.join(parts)}):"


def _names_by_role(facts: JSONObject) -> dict[str, str]:
    return {entry["role"]: entry["name"] for entry in facts["parameters"]}


def _tidy_lines(name: str) -> list[str]:
    return [
        f"    def {name}(text):",
        '        return " ".join(str(text).casefold().split()).removeprefix("the ")',
        "",
    ]


def _unknown(kind: Any, numbered: bool) -> str:
    if numbered:
        return f"no {kind.filed} has this reference; it has to be the one in force."
    return f"no {kind.filed} is registered under it; give the title in full, without rank or article."


def _under(condition: str, lines: Sequence[str]) -> list[str]:
    """Lines of a body, under a condition where there is one."""
    return [f"    if {condition}:", *(f"        {line}" for line in lines)] if condition else [f"    {line}" for line in lines]


def _listed(codes: Iterable[Any]) -> str:
    found = [_literal(code) for code in codes]
    return f"({', '.join(found)}{',' if len(found) == 1 else ''})"


def _factors(rows: Sequence[Sequence[Any]]) -> str:
    items = [f'("{row[0]}", "{row[1]}"): {row[2]!r}' if len(row) == 3 else f'"{row[0]}": {row[1]!r}' for row in rows]
    return "{\n        " + ",\n        ".join(items) + ",\n    }"


def _literal(value: Any) -> str:
    """A value as source, in double quotes."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_literal(key)}: {_literal(item)}" for key, item in value.items()) + "}"
    return f'"{value}"' if isinstance(value, str) else repr(value)
