"""Stage 5, localised deployment: every document becomes one Python function that answers from a table of its own.

What: the function checks its arguments, finds the record, applies the optional parameters and returns the entry with
its subject and unit; a closing operation computes. Everything is inside the function, imports and tables too, so that
the paper's own tools can run it. Tools are put in random order: their place says nothing about which are needed.
Why: an error names the argument that was wrong and what would do, and no value; no argument is ever returned.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from envbuilder.records import DeployedToolset, Document, JSONObject, Toolset
from envbuilder.stages.lookup_code import (
    LookUpCode,
    listed,
    literal,
    names_by_role,
    tidy_lines,
    unknown_subject,
)
from envbuilder.worlds.catalogue import ENTITY_KINDS, LISTINGS
from envbuilder.worlds.operations import OPERATIONS
from envbuilder.worlds.tables import World, cell_key

DECOY_ROWS = 3
"""Rows of a decoy: of a list that nobody asks for, of a class that nobody looks up."""


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
        return LookUpCode(self._random, self._world, facts, self._given, self._facts).lines()

    # --- references ----------------------------------------------------------------------------------------------

    def _find(self, facts: JSONObject) -> list[str]:
        names = names_by_role(facts)
        lines = [f"    {self._table(facts)}"]
        lines += self._class_check(facts, names)
        query = names["query"]
        same = _same(facts, 'row["title"]', query)
        note = f"No title of this class is the same; give the {query} in full, without rank or article."
        lines += [
            *tidy_lines("tidy"),
            f"    found = [row for row in register[{names['class']}] if {same}]",
            "    matches = [",
            "        {key: value for key, value in row.items() if key not in codes}",
            f'        | {{"reference": row[{names["scheme"]}]}}',
            "        for row in found",
            "    ]",
            "    if not matches:",
            f'        return {{"matches": [], "note": "{note}"}}',
        ]
        return [*lines, *self._wrapped(facts, '{"matches": matches}')]

    def _table(self, facts: JSONObject) -> str:
        """The register of a tool of references, by class."""
        lines = ["register = {"]
        for kind, code in facts["classes"].items():
            lines.append(f'        "{code}": [')
            lines += [f"            {literal(row)}," for row in self._register(facts, kind)]
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
        codes = listed(facts["schemes"].values())
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
        names = names_by_role(facts)
        lines = ["    register = {"]
        for kind, code in facts["classes"].items():
            lines.append(f'        "{code}": [')
            keys = self._world.pool(kind)
            asked = any(self._kind_of(step) == kind for step in self._facts["steps"] if "thing" in step)
            for key in keys if asked else keys[:DECOY_ROWS]:
                ids = self._world.things[key]["ids"]
                schemes = {code: ids[int(scheme)] for scheme, code in facts["schemes"].items()}
                lines.append(f'            ("{ids[1]}", {literal(schemes)}),')
            lines.append("        ],")
        lines += ["    }", *self._class_check(facts, names)]
        query = names["query"]
        lines += [
            *tidy_lines("tidy"),
            f"    row = next((row for key, row in register[{names['class']}] if {_same(facts, 'key', query)}), None)",
            "    if row is None:",
            f'        return {{"error": "{query}: no such reference in this class; it takes the other numbering."}}',
        ]
        return [*lines, *self._wrapped(facts, f'{{"reference": row[{names["scheme"]}]}}')]

    # --- lists ---------------------------------------------------------------------------------------------------

    def _list(self, facts: JSONObject) -> list[str]:
        names, listing = names_by_role(facts), LISTINGS[facts["list"]]
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
            lines.append(f"        {literal(shown)}: ({literal(thing['name'])}, {literal(cursors)}, [")
            lines += [f"            {literal([row[column] for column in columns])}," for row in rows]
            lines.append("        ]),")
        subject, cursor = names["subject"], names["cursor"]
        unit = f', "unit": "{listing.measure.unit}"' if listing.measure.unit and not facts["mixed"] else ""
        lines += [
            "    }",
            *tidy_lines("tidy"),
            f"    found = next((each for key, each in store.items() if {_same(facts, 'key', subject)}), None)",
            "    if found is None:",
            f'        return {{"error": "{subject}: {unknown_subject(kind, facts["numbered"])}"}}',
            "    entity, cursors, rows = found",
            f'    at = 0 if {cursor} in (None, "") else cursors.index({cursor}) + 1 if {cursor} in cursors else -1',
            "    if at < 0:",
            f'        return {{"error": "{cursor}: not a cursor of this list; omit it for the first batch."}}',
            f"    batch = rows[at * {facts['size']}:(at + 1) * {facts['size']}]",
            f"    keys = {listed(columns.values())}",
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


def _same(facts: JSONObject, key: str, name: str) -> str:
    """A condition that a key is the one that a parameter names; with the option that wants it as it is spelled."""
    exact = next((entry["name"] for entry in facts["parameters"] if entry["role"] == "option exact"), None)
    same = f"tidy({key}) == tidy({name})"
    return f"{key} == {name} or ({exact} is not True and {same})" if exact else same


def _signature(document: Document) -> str:
    parts = []
    for entry in sorted(document.facts["parameters"], key=lambda entry: not entry["required"]):
        default = "" if entry["required"] else f"={entry['schema'].get('default')!r}"
        parts.append(entry["name"] + default)
    return f"def {document.name}({', '.join(parts)}):"


def _factors(rows: Sequence[Sequence[Any]]) -> str:
    items = [f'("{row[0]}", "{row[1]}"): {row[2]!r}' if len(row) == 3 else f'"{row[0]}": {row[1]!r}' for row in rows]
    return "{\n        " + ",\n        ".join(items) + ",\n    }"
