"""Stage 2, document generation: one tool document for each sub-question, and the call that answers it.

What: a document's `facts` say which relations of which kind it answers, for which rows of the world, and list its
parameters; name, description and JSON schema are written from them. Later stages change facts and write again.
Why: the schema that a model sees, the gold call and the code are then three views of one description.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from random import Random
from typing import Any

from envbuilder.generation1.worlds.catalogue import ENTITY_KINDS, OFFICES, RELATIONS, years_of
from envbuilder.generation1.worlds.columns import EXAMPLES
from envbuilder.generation1.worlds.operations import CURRENCIES, OPERATIONS, UNITS, Operation
from envbuilder.generation1.worlds.schema import Relation, split_alternatives
from envbuilder.generation1.worlds.tables import World
from envbuilder.records import Document, HopCall, JSONObject, Scenario, Toolset

SHORTEST, LONGEST = 170, 268
"""Between these many characters a description stops to grow."""

_VERBS = split_alternatives(
    "looks up|returns|reports|finds|retrieves|provides|fetches|gives|resolves|delivers|tells|states|supplies|discloses|"
    "yields|extracts|quotes|shows|ascertains|identifies"
)
_OPENINGS = split_alternatives(
    "{V} {list} of {a}{by}.|{V} {list} for {a}{by}, as recorded by the {office}.|Given {a}, {v} {list}{by}.|"
    "Searches the {register} of the {office} and {v} {list} of {a}{by}.|"
    "Interface to the {register}: {v} {list} for {a}{by}.|"
    "The {office} keeps this {register}, which {v} {list} of every listed {noun}{by}.|"
    "Answers questions about {list} of {a}{by}.|Consults the {register} and {v} {list} of {a}{by}.|"
    "{V} {list} of {a}{by} from the holdings of the {office}.|{Noun} service of the {office}; {v} {list}{by}.|"
    "Use it to learn {list} of {a}{by}.|A {register} that {v} {list} for one {noun} at a time{by}.|"
    "Authoritative source on {list} of {a}{by}, run by the {office}.|{Register} lookup. {V} {list} of {a}{by}.|"
    "Exposes {list} of {a}{by} held in the {register} of the {office}."
)
_TAILS = split_alternatives(
    "Spelling is tolerant of case and spacing.|Unknown names produce an explanatory error.|"
    "One record is returned per request.|Optional arguments narrow or reshape the response.|"
    "Ambiguous abbreviations are rejected.|Responses are compact and machine readable.|"
    "Filters that do not match yield an error instead of a guess.|Only registered names are understood."
)
_SINGLE_NAMES = split_alternatives(
    "{kind}_{key}_finder|find_{kind}_{key}|{kind}_{key}_lookup|get_{kind}_{key}|{kind}_{key}_retriever|"
    "{kind}_{key}_query|{key}_of_{kind}|{kind}_{key}_search|{kind}_{key}_service|lookup_{kind}_{key}|"
    "{kind}_{key}_info|fetch_{kind}_{key}|{kind}_{key}_resolver|{kind}_{key}_identifier"
)
_GENERAL_NAMES = split_alternatives(
    "{register}|{register}_lookup|{register}_search|query_{register}|{register}_query|{register}_api|"
    "search_{register}|{register}_reader|{register}_explorer|{register}_info_retriever|consult_{register}"
)
_SUBJECTS = split_alternatives(
    "Name of the {noun} to look up, as it is registered; case and spacing do not matter.|"
    "The {noun} that the request is about, given by its full name.|"
    "Full name of the {noun}; a leading article may be left out.|"
    "Which {noun} to search for. Give the complete name rather than an abbreviation.|"
    "The registered name of the {noun}, spelled out in full (upper or lower case).|"
    "Name under which the {noun} is entered in the {register}.|"
    "Identifies the {noun}: its complete name, without quotation marks.|"
    "The {noun} of interest. Nicknames and abbreviations are not resolved."
)
_SECONDS = split_alternatives(
    "The other {noun}, by its full name; the order of the two does not matter.|"
    "Full name of the second {noun} of the pair that is looked up."
)
_YEARS = split_alternatives(
    "Calendar year that the figure refers to, with four digits.|The year of interest, as a four-digit number.|"
    "Four-digit year for which the entry is wanted; other years have entries of their own."
)
_SELECTORS = split_alternatives(
    "Which entry of the record is wanted.|The piece of information to return about the {noun}.|"
    "Selects what is reported about the {noun}.|The aspect of the {noun} that the response should contain.|"
    "Topic of the request: which of the recorded particulars to return."
)
_SELECTOR_NAMES = split_alternatives("field|attribute|info_type|detail|entry|aspect|topic|query_type|information|fact")
_YEAR_NAMES = split_alternatives("year|season_year|calendar_year|reference_year|for_year")


def write_documents(scenario: Scenario) -> Toolset:
    """One document for each hop of a scenario."""
    random = Random(f"{scenario.facts['source']}|documents")
    world = World(random, scenario.facts["world"])
    writer = DocumentWriter(random, world, scenario.facts["terse"])
    documents: list[Document] = []
    for index, step in enumerate(scenario.facts["steps"]):
        facts = writer.operation(step) if "operation" in step else writer.lookup(step)
        documents.append(writer.document(facts, (index,), {document.name for document in documents}))
    return with_gold_calls(with_world(Toolset(scenario, tuple(documents)), world))


def with_world(toolset: Toolset, world: World) -> Toolset:
    """The toolset in a world that has grown."""
    scenario = toolset.scenario
    return replace(toolset, scenario=replace(scenario, facts={**scenario.facts, "world": world.to_facts()}))


def with_gold_calls(toolset: Toolset) -> Toolset:
    """The toolset with the gold call of every hop, written for its documents as they are."""
    serving = {hop: document for document in toolset.documents for hop in document.serves}
    steps = toolset.scenario.facts["steps"]
    calls = tuple(
        HopCall(serving[index].name, arguments(serving[index].facts, step), index) for index, step in enumerate(steps)
    )
    return replace(toolset, calls=calls)


def arguments(facts: JSONObject, step: JSONObject) -> JSONObject:
    """The arguments that make a tool answer a step."""
    if "operation" in facts:
        names = [entry["name"] for entry in facts["parameters"] if entry["role"] == "input"]
        return OPERATIONS[facts["operation"]].arguments(names, step["inputs"], step["extra"])
    given = {"subject": step["name"], "second": step["also"], "selector": RELATIONS[step["relation"]].key}
    return {
        entry["name"]: _shaped(given[entry["role"]], entry) for entry in facts["parameters"] if entry["role"] in given
    }


def _shaped(value: Any, entry: JSONObject) -> Any:
    match entry["schema"]["type"]:
        case "array":
            return [value]
        case "object":
            return {next(iter(entry["schema"]["properties"])): value}
        case _:
            return value


def relations_of(facts: JSONObject) -> list[Relation]:
    """What a lookup can be asked for."""
    return [RELATIONS[relation] for relation in facts["relations"]]


class DocumentWriter:
    """Writes documents from facts; `terse` keeps every text short."""

    def __init__(self, random: Random, world: World, terse: bool) -> None:
        self._random = random
        self._world = world
        self._terse = terse

    def choice(self, options: Sequence[str]) -> str:
        return options[0] if self._terse else options[int(self._random.random() * len(options))]

    # --- facts ---------------------------------------------------------------------------------------------------

    def lookup(self, step: JSONObject) -> JSONObject:
        """The facts of a tool that answers one step."""
        relation = RELATIONS[step["relation"]]
        return self.lookup_of(step["kind"], relation, [[step["name"], step["also"]]])

    def lookup_of(self, kind: str, relation: Relation, wanted: list[list[Any]]) -> JSONObject:
        """The facts of a lookup of one relation: `wanted` rows and others like them."""
        facts: JSONObject = {
            "kind": kind,
            "relations": [relation.id],
            "also": relation.also,
            "rows": self.rows(kind, relation.also, wanted),
            "parameters": [self._subject(kind)],
            "register": self.choice(ENTITY_KINDS[kind].registers),
        }
        if relation.also:
            facts["parameters"].append(self._second(relation.also, facts))
        return facts

    def rows(self, kind: str, also: str | None, wanted: Sequence[list[Any]]) -> list[list[Any]]:
        """Keys of a table in random order: the wanted ones, and enough others of the kind."""
        names = self._world.names(kind)
        if also is None:
            found = list(wanted)
            known = {name for name, _ in found}
            found += [[name, None] for name in names if name not in known][: max(2, self._world.rows - len(found))]
        elif also == "year":
            found = self._years(kind, names, wanted)
        else:
            found = self._pairs(names, self._world.names(also), wanted)
        self._random.shuffle(found)
        return found

    def _years(self, kind: str, names: Sequence[str], wanted: Sequence[list[Any]]) -> list[list[Any]]:
        """Every wanted name in its year and in the next ones, and others in the same years."""
        wanted = wanted or [[names[0], self._random.randint(*years_of(kind)) - 1]]
        after = 1 if self._terse else 2
        keys = [[name, year + gap] for name, year in wanted for gap in range(1 + after)]
        years = list(dict.fromkeys(year for _, year in keys))
        own = {name for name, _ in wanted}
        others = [[name, year] for name in names if name not in own for year in years[:2]]
        unique = dict.fromkeys((name, year) for name, year in keys + others)
        return [list(key) for key in unique][: max(len(keys) + 2, self._world.rows)]

    def _pairs(self, names: Sequence[str], others: Sequence[str], wanted: Sequence[list[Any]]) -> list[list[Any]]:
        keys = [list(pair) for pair in wanted]
        used = {frozenset(pair) for pair in keys}
        while len(keys) < self._world.rows:
            pair = [self._random.choice(names), self._random.choice(others)]
            if pair[0] != pair[1] and frozenset(pair) not in used:
                used.add(frozenset(pair))
                keys.append(pair)
        return keys

    def _subject(self, kind: str) -> JSONObject:
        words = ENTITY_KINDS[kind]
        text = words.noun.capitalize() + "." if self._terse else self.choice(_SUBJECTS)
        text = text.format(noun=words.noun, register=self.choice(words.registers).replace("_", " "))
        if not self._terse and self._random.random() < 0.35:
            text += self.choice(EXAMPLES).format(self._world.example(kind))
        schema = {"type": "string", "description": text}
        return {"name": self.choice(words.parameters), "role": "subject", "schema": schema, "required": True}

    def _second(self, also: str, facts: JSONObject) -> JSONObject:
        taken = {entry["name"] for entry in facts["parameters"]}
        if also == "year":
            text = "Year." if self._terse else self.choice(_YEARS)
            schema = {"type": "integer", "description": text}
            return {"name": self.choice(_YEAR_NAMES), "role": "second", "schema": schema, "required": True}
        words = ENTITY_KINDS[also]
        options = [
            f"{prefix}_{name}" for name in words.parameters for prefix in ("other", "second") if name not in taken
        ]
        text = f"Other {words.noun}." if self._terse else self.choice(_SECONDS).format(noun=words.noun)
        schema = {"type": "string", "description": text}
        return {"name": self.choice(options), "role": "second", "schema": schema, "required": True}

    def selector(self, facts: JSONObject, first: str | None, default: str | None) -> JSONObject:
        """The parameter that says which relation is wanted; `first` is to stand first in its enumeration."""
        keys = [relation.key for relation in relations_of(facts)]
        self._random.shuffle(keys)
        if first:
            keys.remove(first)
            keys.insert(0, first)
        schema: JSONObject = {"type": "string", "enum": keys}
        if default:
            schema["default"] = default
        schema["description"] = self.choice(_SELECTORS).format(noun=ENTITY_KINDS[facts["kind"]].noun)
        taken = {entry["name"] for entry in facts["parameters"]}
        name = self.choice([name for name in _SELECTOR_NAMES if name not in taken])
        return {"name": name, "role": "selector", "schema": schema, "required": default is None}

    def operation(self, step: JSONObject) -> JSONObject:
        """The facts of a closing operation; `step` holds its rate or factor where it has one."""
        operation = OPERATIONS[step["operation"]]
        facts: JSONObject = {"operation": operation.id, "parameters": []}
        if operation.id == "convert":
            facts["factors"] = self._factors(step.get("extra", {}))
        elif operation.id == "exchange":
            facts["factors"] = self._rates(step)
        at = 0 if self._terse else int(self._random.random() * 12)
        for parameter in operation.inputs:
            schema = {**parameter.schema, "description": parameter.description}
            entry: JSONObject = {
                "name": parameter.names[at % len(parameter.names)],
                "code": parameter.names[0],
                "role": "input",
            }
            if "unit" in parameter.names[0] or parameter.names[0] == "currency":
                entry["values"] = self._units(facts, parameter.names[0])
                schema["description"] += f" One of: {', '.join(entry['values'])}."
            facts["parameters"].append({**entry, "schema": schema, "required": True})
        return facts

    def _factors(self, extra: JSONObject) -> list[list[Any]]:
        table = [list(row) for row in UNITS.values()]
        wanted = [row for row in table if row[0] == extra.get("from_unit")]
        others = [row for row in table if row not in wanted]
        self._random.shuffle(others)
        found = wanted + others[: 5 - len(wanted)]
        self._random.shuffle(found)
        return found

    def _rates(self, step: JSONObject) -> list[list[Any]]:
        wanted = step.get("extra", {}).get("currency")
        others = [name for name in CURRENCIES if name != wanted]
        self._random.shuffle(others)
        rows: list[list[Any]] = [[name, round(self._random.uniform(0.2, 4.9), 4)] for name in others[:4]]
        if wanted:
            rows.append([wanted, step["rate"]])
        self._random.shuffle(rows)
        return rows

    def _units(self, facts: JSONObject, parameter: str) -> list[str]:
        if parameter == "currency":
            return [row[0] for row in facts["factors"]]
        names = [name for row in facts["factors"] for name in row[:2]]
        return list(dict.fromkeys(names))

    # --- texts ---------------------------------------------------------------------------------------------------

    def document(self, facts: JSONObject, serves: tuple[int, ...], taken: Collection[str]) -> Document:
        """The document of some facts, under a name that is not taken."""
        if "operation" in facts:
            operation = OPERATIONS[facts["operation"]]
            names: Sequence[str] = operation.tools
            description = self._operation_description(operation)
        else:
            names = self._names(facts)
            description = self._description(facts)
        free = [name for name in names if name not in taken] or [f"{name}_v2" for name in names]
        return Document(self.choice(free), description, schema_of(facts), serves, facts)

    def _names(self, facts: JSONObject) -> list[str]:
        kind, relations = facts["kind"], relations_of(facts)
        if len(relations) > 1:
            return [pattern.format(register=facts["register"]) for pattern in _GENERAL_NAMES]
        if self._terse:
            return [f"{kind}_{relations[0].key}"]
        return [pattern.format(kind=kind, key=relations[0].key) for pattern in _SINGLE_NAMES]

    def _description(self, facts: JSONObject) -> str:
        kind, labels = ENTITY_KINDS[facts["kind"]], [relation.label for relation in relations_of(facts)]
        a_noun = ("an " if kind.noun[0] in "aeiou" else "a ") + kind.noun
        by = {"year": " in a given year", None: ""}.get(facts["also"], " for a pair")
        if self._terse:
            return f"{labels[0].capitalize()} of {a_noun}{by}."
        verb, register = self.choice(_VERBS), facts["register"].replace("_", " ")
        opening = self.choice(_OPENINGS)
        office = self._office(kind.domain) if "{office}" in opening else ""
        text = opening.format(
            V=verb.capitalize(), v=verb, list=_listing(labels), a=a_noun, by=by, noun=kind.noun, office=office,
            register=register, Register=register.capitalize(), Noun=kind.noun.capitalize(),
        )  # fmt: skip
        return self._longer(text, [*kind.about], 1)

    def _office(self, domain: str) -> str:
        offices = OFFICES[domain]
        return self._world.invent("{stem}|{town}|{last}") + " " + self.choice(offices)

    def _operation_description(self, operation: Operation) -> str:
        if self._terse:
            return operation.about[0]
        return self._longer(operation.about[0], list(operation.about[1:]), 1)

    def _longer(self, text: str, sentences: list[str], tails: int) -> str:
        """More sentences until the text is as long as one likes."""
        self._random.shuffle(sentences)
        sentences += [self.choice(_TAILS) for _ in range(tails)]
        wanted = SHORTEST + self._random.random() * (LONGEST - SHORTEST)
        for sentence in sentences:
            if len(text) + len(sentence) / 2 >= wanted:
                break
            text = f"{text} {sentence}"
        return text


def schema_of(facts: JSONObject) -> JSONObject:
    """The JSON schema of a tool's parameters, required ones first."""
    entries = sorted(facts["parameters"], key=lambda entry: not entry["required"])
    return {
        "type": "object",
        "properties": {entry["name"]: entry["schema"] for entry in entries},
        "required": [entry["name"] for entry in entries if entry["required"]],
    }


def _listing(labels: Sequence[str]) -> str:
    named = [f"the {label}" for label in labels]
    return named[0] if len(named) == 1 else ", ".join(named[:-1]) + " and " + named[-1]
