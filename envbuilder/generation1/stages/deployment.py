"""Stage 5, localised deployment: every document becomes one Python function that answers from a table of its own.

What: the function checks its arguments, finds the record, applies the optional parameters and returns the entry; a
closing operation computes. Everything is inside the function, imports and tables too, so that the paper's own tools
can run it. Tools are put in random order: their place says nothing about which are needed.
Why: a record that is not there, or does not match, gives an error that names no value; no argument is ever returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from envbuilder.generation1.worlds.catalogue import ENTITY_KINDS, RELATIONS
from envbuilder.generation1.worlds.operations import OPERATIONS
from envbuilder.generation1.worlds.parameters import PEOPLE_PATTERN, cell_value
from envbuilder.generation1.worlds.schema import Relation, split_alternatives
from envbuilder.generation1.worlds.tables import World, pair_key
from envbuilder.records import DeployedToolset, Document, JSONObject, Toolset

_TABLES = split_alternatives("records|entries|register|ledger|holdings|rows_by_name|archive|index")
_CLEANERS = split_alternatives("clean|fold|normalise|plain|canonical|tidy")
_RECORDS = split_alternatives("record|entry|found|match|item|hit")
_RESULTS = split_alternatives("result|value|answer|reply|information|finding|data|response")
_MISSING = split_alternatives(
    "No such {noun}: check the spelling and give the full name.|The {noun} was not found; use its full name.|"
    "There is no entry for this {noun}.|Nothing is recorded under that name.|Unknown {noun}; names must be complete.|"
    "This {register} has no such {noun}."
)
_MISSING_PAIR = split_alternatives(
    "No entry fits both keys; check the name of the {noun}.|Nothing is recorded for this combination.|"
    "The {noun} has no entry for that second key."
)
_EMPTY = split_alternatives(
    "{name} has to be a text.|{name} is missing.|Please give {name} as text.|{name} must name one {noun}."
)
_SENTENCES = split_alternatives(
    "The {register} says: {{}}.|According to the {register}: {{}}.|On file: {{}}.|The entry reads {{}}.|"
    "Recorded for this {noun}: {{}}.|The {register} lists {{}}.|Found in the {register}: {{}}."
)
_SELECT = split_alternatives(
    "{name} is not an entry of this tool.|{name} has to be one of the listed values.|No such {name} is kept."
)
_MISMATCH = split_alternatives(
    "The {noun} on file has another {{column}}.|The {{column}} does not match.|Filtered out by {{column}}.|"
    "No {noun} of that name has this {{column}}."
)


_SHORT = split_alternatives(
    "Look up a {noun} in the {register}.|One {noun} from the {register}.|Query the {register}.|"
    "Read an entry of the {register}.|Answer a request about a {noun}.|Report what the {register} holds on a {noun}."
)


def deploy_toolset(toolset: Toolset) -> DeployedToolset:
    """The toolset with code for every document, its documents in random order."""
    facts = toolset.scenario.facts
    random = Random(f"{facts['source']}|deployment")
    world = World(random, facts["world"])
    coder = _Coder(random, world, facts["terse"])
    documents = list(toolset.documents)
    random.shuffle(documents)
    codes = {document.name: coder.code(document) for document in documents}
    return DeployedToolset(replace(toolset, documents=tuple(documents)), codes)


class _Coder:
    """Writes functions; draws the style of each."""

    def __init__(self, random: Random, world: World, terse: bool) -> None:
        self._random = random
        self._world = world
        self._terse = terse

    def choice(self, options: Sequence[str]) -> str:
        return options[0] if self._terse else options[int(self._random.random() * len(options))]

    def code(self, document: Document) -> str:
        body = self._operation(document.facts) if "operation" in document.facts else self._lookup(document.facts)
        lines = [self._signature(document), *self._docstring(document), *body]
        return "\n".join(lines) + "\n"

    # --- head ----------------------------------------------------------------------------------------------------

    def _signature(self, document: Document) -> str:
        parts = []
        for entry in sorted(document.facts["parameters"], key=lambda entry: not entry["required"]):
            default = "" if entry["required"] else f"={entry['schema'].get('default')!r}"
            parts.append(entry["name"] + default)
        return f"def {document.name}({', '.join(parts)}):"

    def _docstring(self, document: Document) -> list[str]:
        summary = re.split(r"(?<=[.]) ", document.description)[0]
        if self._terse:
            return [f'    """{summary}"""']
        style = self._random.random()
        if style < 0.45 and "register" in document.facts:
            noun, register = ENTITY_KINDS[document.facts["kind"]].noun, document.facts["register"].replace("_", " ")
            return [f'    """{self.choice(_SHORT).format(noun=noun, register=register)}"""']
        if style < 0.84:
            return [f'    """{summary}"""']
        heading, bullet = ("    Args:", "        {}: {}") if style < 0.92 else ("    Parameters:", "    - {} ({}): {}")
        lines = [f'    """{summary}', "", heading]
        for name, schema in document.parameters["properties"].items():
            about = re.split(r"[.;:] ", schema["description"].rstrip("."))[0]
            values = (name, about) if style < 0.92 else (name, schema["type"], about)
            lines.append(bullet.format(*values))
        return [*lines, '    """']

    # --- operations ----------------------------------------------------------------------------------------------

    def _operation(self, facts: JSONObject) -> list[str]:
        operation = OPERATIONS[facts["operation"]]
        offered = {entry["code"]: entry["name"] for entry in facts["parameters"]}
        fixed = [option for option in operation.options if option.names[0] not in offered]
        code = operation.code
        head = [f"    {operation.imports}"]
        used = [option for option in fixed if re.search(rf"\b{option.names[0]}\b", code)]
        head += [f"    {option.names[0]} = {option.schema.get('default')!r}" for option in used]
        if "ceiling" in offered:
            code += _CEILING
        if "as_text" in offered:
            code += _AS_TEXT
        code += f'    return {{"{operation.result}": outcome}}'
        if "factors" in facts:
            code = code.replace("FACTORS", _factors(facts["factors"]))
        for name, shown in offered.items():
            code = re.sub(rf"\b{name}\b(?!\()", shown, code)
        return [*head, "", *code.split("\n")]

    # --- lookups -------------------------------------------------------------------------------------------------

    def _lookup(self, facts: JSONObject) -> list[str]:
        return _Lookup(self, self._random, self._world, facts, self._terse).lines()


_CEILING = """\
    if isinstance(ceiling, (int, float)) and outcome > ceiling:
        return {"error": "The outcome exceeds the upper bound that was set."}
"""
_AS_TEXT = """\
    if as_text is True:
        return f"The computation gives {outcome}."
"""


def _factors(rows: Sequence[Sequence[Any]]) -> str:
    items = [f'("{row[0]}", "{row[1]}"): {row[2]!r}' if len(row) == 3 else f'"{row[0]}": {row[1]!r}' for row in rows]
    return "{\n        " + ",\n        ".join(items) + ",\n    }"


class _Lookup:
    """The body of one lookup."""

    def __init__(self, coder: _Coder, random: Random, world: World, facts: JSONObject, terse: bool) -> None:
        self._coder = coder
        self._random = random
        self._world = world
        self._facts = facts
        self._terse = terse
        self._noun = ENTITY_KINDS[facts["kind"]].noun
        self._words = {"noun": self._noun, "register": facts["register"].replace("_", " ")}
        self._relations = [RELATIONS[relation] for relation in facts["relations"]]
        self._roles: dict[str, list[JSONObject]] = {}
        for entry in facts["parameters"]:
            self._roles.setdefault(entry["role"], []).append(entry)
        taken = {entry["name"] for entry in facts["parameters"]}
        self._table = self._free(_TABLES, taken)
        self._clean = self._free(_CLEANERS, taken)
        self._record = self._free(_RECORDS, taken)
        self._columns: dict[str, tuple[str, Sequence[str]]] = {
            relation.key: (relation.id, ()) for relation in self._relations
        }

    def _free(self, names: Sequence[str], taken: Iterable[str]) -> str:
        return self._coder.choice([name for name in names if name not in taken])

    def _text(self, options: Sequence[str], **more: str) -> str:
        return self._coder.choice(options).format(**self._words, **more)

    def one(self, role: str) -> JSONObject | None:
        return self._roles[role][0] if role in self._roles else None

    def lines(self) -> list[str]:
        subject = self._roles["subject"][0]
        checks = [*self._filters(), *self._bounds(), *self._marks()]
        value = self._value()
        result = self._result()
        body = [*self._find(), *checks, *value, *result]
        if subject["schema"]["type"] != "array":
            return [*self._tables(), *body]
        inner = ["    " + line if line else line for line in body]
        call = f"    return [answer(name) for name in {subject['name']}]"
        guard = [
            f"    if not isinstance({subject['name']}, (list, tuple)):",
            f"        {subject['name']} = [{subject['name']}]",
        ]
        return [*self._tables(), "    def answer(name):", *inner, "", *guard, call]

    # --- the table -----------------------------------------------------------------------------------------------

    def _tables(self) -> list[str]:
        """The table with all columns that the other parts asked for, and the helper that compares names."""
        lines = [f"    {self._table} = {{"]
        lines += [f"        {self._row(name, second)}," for name, second in self._facts["rows"]]
        columns = ", ".join(f'"{name}"' for name in self._columns) + ("," if len(self._columns) == 1 else "")
        lines += ["    }", f"    columns = ({columns})", ""]
        lines += [
            f"    def {self._clean}(text):",
            '        return " ".join(str(text).casefold().split()).removeprefix("the ")',
            "",
        ]
        return lines

    def _row(self, name: str, second: Any) -> str:
        key = pair_key(name, second)
        cells = [
            _literal(cell_value(self._world, key if column in self._facts["relations"] else name, column, values))
            for column, values in self._columns.values()
        ]
        shown = _literal(name) if second is None else f"({_literal(name)}, {_literal(second)})"
        return f"{shown}: ({', '.join(cells)}{',' if len(cells) == 1 else ''})"

    def _column(self, column: str, name: str, values: Sequence[str] = ()) -> str:
        """The name of a column in this table."""
        shown = RELATIONS[column].key if not column.startswith("_") else name
        self._columns[shown] = (column, values)
        return shown

    # --- finding the record --------------------------------------------------------------------------------------

    def _find(self) -> list[str]:
        subject = self._roles["subject"][0]
        name, lines = subject["name"], list[str]()
        shown = name
        if subject["schema"]["type"] == "array":
            name = "name"
        elif subject["schema"]["type"] == "object":
            inner = next(iter(subject["schema"]["properties"]))
            lines.append(f'    wanted = {name}.get("{inner}") if isinstance({name}, dict) else {name}')
            name = "wanted"
        if self._random.random() < 0.6:
            lines += [
                f"    if not isinstance({name}, str) or not {name}.strip():",
                f'        return {{"error": "{self._text(_EMPTY, name=shown)}"}}',
            ]
        second = self.one("second")
        if second is not None:
            return [*lines, *self._find_pair(name, second)]
        condition = f"{self._clean}(key) == {self._clean}({name})"
        if exact := self.one("exact"):
            condition = f"key == {name} or ({exact['name']} is not True and {condition})"
        prefix = self.one("prefix")
        if prefix is None:
            return [*lines, *self._next("key", condition, _MISSING)]
        start = f"{self._clean}(key).startswith({self._clean}({name}))"
        return [
            *lines,
            f"    matches = [row for key, row in {self._table}.items() if {condition}]",
            f"    if not matches and {prefix['name']} is True:",
            f"        matches = [row for key, row in {self._table}.items() if {start}]",
            "    if len(matches) != 1:",
            f'        return {{"error": "{self._text(_MISSING)}"}}',
            f"    {self._record} = dict(zip(columns, matches[0]))",
        ]

    def _find_pair(self, name: str, second: JSONObject) -> list[str]:
        other, clean = second["name"], self._clean
        if self._facts["also"] == "year":
            pair = f"{clean}(key) == {clean}({name}) and str(year) == str({other}).strip()"
            variables = "(key, year)"
            if other == "year":
                pair, variables = pair.replace("str(year) ==", "str(when) =="), "(key, when)"
        else:
            variables = "pair"
            pair = f"{{{clean}(key) for key in pair}} == {{{clean}({name}), {clean}({other})}}"
        return self._next(variables, pair, _MISSING_PAIR)

    def _next(self, variables: str, condition: str, errors: Sequence[str]) -> list[str]:
        """The one row that satisfies a condition, as a dict."""
        return [
            f"    row = next((row for {variables}, row in {self._table}.items() if {condition}), None)",
            "    if row is None:",
            f'        return {{"error": "{self._text(errors)}"}}',
            f"    {self._record} = dict(zip(columns, row))",
        ]

    # --- optional conditions -------------------------------------------------------------------------------------

    def _filters(self) -> list[str]:
        """Equalities that the record must satisfy where they are given."""
        pairs = [
            f'("{self._column(entry["column"], entry["name"], entry.get("values", ()))}", {entry["name"]})'
            for entry in self._roles.get("filter", ())
        ]
        lines = []
        if place := self.one("place"):
            lines.append(f"    scope = {place['name']} if isinstance({place['name']}, dict) else {{}}")
            pairs += [f'("{self._column(column, name)}", scope.get("{name}"))' for name, column in place["filters"]]
        if not pairs:
            return []
        entry = self.one("filter")
        if len(pairs) == 1 and entry is not None:
            name, column = entry["name"], pairs[0].split('"')[1]
            return [
                f'    if {name} and {self._clean}({name}) != {self._clean}({self._record}["{column}"]):',
                f'        return {{"error": "{self._text(_MISMATCH).format(column=column.replace("_", " "))}"}}',
            ]
        return [
            *lines,
            f"    for column, expected in ({', '.join(pairs)}{',' if len(pairs) == 1 else ''}):",
            f"        if expected and {self._clean}(expected) != {self._clean}({self._record}[column]):",
            f'            return {{"error": f"{self._text(_MISMATCH)}"}}',
        ]

    def _bounds(self) -> list[str]:
        """Numbers and years between which the record must lie."""
        lines: list[str] = []
        for role, sign in (("minimum", "<"), ("maximum", ">")):
            for entry in self._roles.get(role, ()):
                column, name = self._column(entry["column"], entry["name"]), entry["name"]
                lines += [
                    f'    if isinstance({name}, (int, float)) and {self._record}["{column}"] {sign} {name}:',
                    f'        return {{"error": "Outside the {role} that was set."}}',
                ]
        if confidence := self.one("confidence"):
            column, name = self._column("_score", "score"), confidence["name"]
            lines += [
                f'    if isinstance({name}, (int, float)) and {self._record}["{column}"] < {name}:',
                '        return {"error": "The record is less reliable than required."}',
            ]
        return lines + self._years()

    def _years(self) -> list[str]:
        lines: list[str] = []
        if since := self.one("since"):
            entered, name = self._entered(), since["name"]
            lines += [
                f"    if str({name}).isdigit() and {entered} < int({name}):",
                '        return {"error": "The record was entered earlier than that."}',
            ]
        if as_of := self.one("as_of"):
            entered, name = self._entered(), as_of["name"]
            lines += [
                f"    if str({name})[:4].isdigit() and {entered} > int(str({name})[:4]):",
                '        return {"error": "The record did not exist yet on that day."}',
            ]
        if period := self.one("period"):
            entered, name = self._entered(), period["name"]
            lines += [
                f"    span = {name} if isinstance({name}, dict) else {{}}",
                f'    first, last = str(span.get("{period["first"]}", "")), str(span.get("{period["last"]}", ""))',
                f"    if (first.isdigit() and {entered} < int(first)) or (last.isdigit() and {entered} > int(last)):",
                '        return {"error": "The record was not entered in that period."}',
            ]
        return lines

    def _entered(self) -> str:
        return f'{self._record}["{self._column("_year", "entered")}"]'

    def _marks(self) -> list[str]:
        if not (entry := self.one("verified")):
            return []
        return [
            f'    if {entry["name"]} is True and not {self._record}["{self._column("_verified", "checked")}"]:',
            f'        return {{"error": "The entry of this {self._noun} has not been checked yet."}}',
        ]

    # --- the value -----------------------------------------------------------------------------------------------

    def _value(self) -> list[str]:
        lines: list[str] = []
        if selector := self.one("selector"):
            lines += [
                f'    wanted_key = {self._clean}({selector["name"]}).replace(" ", "_")',
                f"    if wanted_key not in columns[:{len(self._relations)}]:",
                f'        return {{"error": "{self._text(_SELECT, name=selector["name"])}"}}',
                f"    value = {self._record}[wanted_key]",
            ]
        else:
            lines.append(f'    value = {self._record}["{self._relations[0].key}"]')
        return [*lines, *self._unit(), *self._date(), *self._surname()]

    def _only(self, keys: Sequence[str]) -> str:
        """A condition that the wanted entry is one of `keys`, as a prefix of a longer one."""
        if len(keys) == len(self._relations):
            return ""
        if len(keys) == 1:
            return f'wanted_key == "{keys[0]}" and '
        return "wanted_key in (" + ", ".join(f'"{key}"' for key in keys) + ") and "

    def _unit(self) -> list[str]:
        if not (entry := self.one("unit")):
            return []
        condition = f'{self._only([entry["relation"]])}{self._clean}({entry["name"]}) == "{entry["other"]}"'
        return [f"    if {condition}:", f"        value = round(value * {entry['factor']}, 2)"]

    def _date(self) -> list[str]:
        if not (entry := self.one("date_format")):
            return []
        keys = [r.key for r in self._relations if r.value and r.value.type == "date"]
        listed = entry["schema"].get("enum", ["long", "dotted"])
        lines = [
            f'    if {self._only(keys)}{self._clean}({entry["name"]}) in ("long", "dotted"):',
            '        year, month, day = value.split("-")',
        ]
        dotted = 'value = f"{day}.{month}.{year}"'
        long = 'value = f"{int(day)} {calendar.month_name[int(month)]} {year}"'
        if "long" not in listed:
            return [*lines, f"        {dotted}"]
        lines = [*lines[:1], "        import calendar", "", *lines[1:]]
        if "dotted" not in listed:
            return [*lines, f"        {long}"]
        other = f'        if {self._clean}({entry["name"]}) == "dotted":'
        return [*lines, f"        {long}", other, f"            {dotted}"]

    def _surname(self) -> list[str]:
        if not (entry := self.one("surname")):
            return []
        keys = [r.key for r in self._relations if r.target and ENTITY_KINDS[r.target].pattern == PEOPLE_PATTERN]
        return [
            f"    if {self._only(keys)}{entry['name']} is True:",
            '        value = ", ".join(reversed(value.split(" ", 1)))',
        ]

    # --- the result ----------------------------------------------------------------------------------------------

    def _result(self) -> list[str]:
        key = self._coder.choice(_RESULTS) if len(self._relations) > 1 else self._relations[0].key
        lines = [f'    result = {{"{key}": {self._printed()}}}']
        for extra in self._roles.get("extra", ()):
            column = self._column(extra["column"], extra["name"])
            lines += [f"    if {extra['name']} is True:", f'        result["{column}"] = {self._record}["{column}"]']
        if entry := self.one("fields"):
            columns = [self._column(column, "") for column in entry["columns"]]
            listed = ", ".join(f'"{column}"' for column in columns)
            lines += [
                f"    for name in {entry['name']} or []:",
                f"        if name in ({listed}{',' if len(columns) == 1 else ''}):",
                f"            result[name] = {self._record}[name]",
            ]
        return [*lines, *self._others(), *self._returned()]

    def _printed(self) -> str:
        """The value as the tool writes it: some tools add the unit, or separate thousands."""
        if len(self._relations) > 1 or self.one("unit") or self._random.random() < 0.5 or self._terse:
            return "value"
        return _with_unit(self._relations[0])

    def _others(self) -> list[str]:
        if not (entry := self.one("others")):
            return []
        table = self._table
        at = "columns.index(wanted_key)" if self.one("selector") else "0"
        return [
            f"    if {entry['name']}:",
            f"        names = [{self._clean}(name) for name in {entry['name']}]",
            f'        result["others"] = [row[{at}] for key, row in {table}.items() if {self._clean}(key) in names]',
        ]

    def _returned(self) -> list[str]:
        sentence = '"; ".join(str(item) for item in result.values())'
        text = self._text(_SENTENCES).replace("{}", "{text}")
        as_sentence = [f"text = {sentence}", f'return f"{text}"']
        entry = self.one("response")
        if entry is None:
            draw = 0.0 if self._terse else self._random.random()
            if draw < 0.6:
                return ["    return result"]
            return [f"    {line}" for line in as_sentence] if draw < 0.85 else ["    return list(result.values())"]
        lines: list[str] = []
        if "sentence" in entry["values"]:
            lines += [
                f'    if {self._clean}({entry["name"]}) == "sentence":',
                *(f"        {line}" for line in as_sentence),
            ]
        if "list" in entry["values"]:
            lines += [f'    if {self._clean}({entry["name"]}) == "list":', "        return list(result.values())"]
        return [*lines, "    return result"]


def _with_unit(relation: Relation) -> str:
    value = relation.value
    if value is None or not value.is_number:
        return "value"
    number = "{value:,}" if value.type in ("integer", "money") else "{value}"
    return f'f"{number} {value.unit}"' if value.unit else f'f"{number}"'


def _literal(value: Any) -> str:
    """A value as source, in double quotes."""
    if isinstance(value, list):
        return "[" + ", ".join(map(_literal, value)) + "]"
    return f'"{value}"' if isinstance(value, str) else repr(value)
