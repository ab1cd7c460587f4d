"""Stage 2, document generation: one tool document for each sub-question, and the call that answers it.

What: a document's `facts` say what it does ("look", "find", "map", "list", "operation"), for which things of the world,
and list its parameters; name, description and JSON schema are written from them. Later stages change facts and write
again. All tools of a provider have one envelope, one style of codes and one set of optional parameters.
Why: the schema that a model sees, the gold call and the code are then three views of one description.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from random import Random
from typing import Any

from envbuilder.records import Document, HopCall, JSONObject, Scenario, Toolset
from envbuilder.worlds import tool_texts
from envbuilder.worlds.axes import AXES, Axis
from envbuilder.worlds.catalogue import DOMAINS, ENTITY_KINDS, FACTS, LISTINGS, years_of
from envbuilder.worlds.operations import CURRENCIES, OPERATIONS, UNITS
from envbuilder.worlds.schema import EntityKind, Fact, Lure
from envbuilder.worlds.tables import World

SHORTEST, LONGEST = 175, 270
"""Between these many characters a description stops to grow."""
ENVELOPES = 4
_AN = re.compile(r"\b([Aa]) (?=(?!uni[^nmd]|eu|one|us[ei])[aeiou])")
_FORM = re.compile(r"\{(d\d|L+)\}")


def write_documents(scenario: Scenario) -> Toolset:
    """One document for each hop of a scenario."""
    random = Random(f"{scenario.facts['source']}|documents")
    world = World(random, scenario.facts["world"])
    writer = DocumentWriter(random, world, scenario.facts)
    documents: list[Document] = []
    for index, step in enumerate(scenario.facts["steps"]):
        documents.append(writer.document(writer.facts_of(step), (index,), {document.name for document in documents}))
    return with_gold_calls(writer.kept(Toolset(scenario, tuple(documents))))


def with_gold_calls(toolset: Toolset) -> Toolset:
    """The toolset with the gold call of every hop, written for its documents as they are."""
    serving = {hop: document for document in toolset.documents for hop in document.serves}
    facts = toolset.scenario.facts
    calls = tuple(
        HopCall(serving[index].name, arguments(serving[index].facts, step, facts["world"]), index)
        for index, step in enumerate(facts["steps"])
    )
    return replace(toolset, calls=calls)


def arguments(facts: JSONObject, step: JSONObject, world: JSONObject) -> JSONObject:
    """The arguments that make a tool answer a step."""
    if facts["do"] == "operation":
        names = [entry["name"] for entry in facts["parameters"] if entry["role"] == "input"]
        return OPERATIONS[facts["operation"]].arguments(names, step["inputs"], step["codes"])
    given = _given(facts, step, world["things"][step["thing"]])
    return {
        entry["name"]: _shaped(given[entry["role"]], entry)
        for entry in facts["parameters"]
        if given.get(entry["role"]) is not None
    }


def _given(facts: JSONObject, step: JSONObject, thing: JSONObject) -> JSONObject:
    """The value of each role that a step needs."""
    match facts["do"]:
        case "find" | "map":
            return {
                "query": step["given"],
                "class": facts["classes"][thing["kind"]],
                "scheme": facts["schemes"][str(step["scheme"])],
            }
        case "list":
            cursor = step["cursors"][step["page"] - 1] if step["page"] else None
            return {"subject": thing["ids"][0] if facts["numbered"] else thing["name"], "cursor": cursor}
    chosen = {
        f"axis {axis}": facts["axes"][axis][place] for axis, place in step["axes"].items() if axis in facts["axes"]
    }
    return {
        "subject": thing["ids"][0] if facts["numbered"] else thing["name"],
        "field": facts["codes"][step["fact"]],
        "year": step["year"],
        **chosen,
    }


def _shaped(value: Any, entry: JSONObject) -> Any:
    if entry["schema"]["type"] == "object":
        return {next(iter(entry["schema"]["properties"])): value}
    return value


def lure_of(field: str) -> Lure:
    """The lure that a field "kind.key!n" means; "kind.key!ny" where it is kept by year."""
    fact, _, number = field.partition("!")
    return FACTS[fact].lures[int(number.removesuffix("y"))]


@cache
def is_yearly(field: str) -> bool:
    """Whether a field has a figure for every year."""
    return field.endswith("y") if "!" in field else FACTS[field].yearly


@cache
def field_of(field: str) -> Fact | Lure:
    """What a field of a look-up holds: a fact, or something that only sounds like one."""
    return lure_of(field) if "!" in field else FACTS[field]


def filed_text(field: str) -> str:
    """What a schema says of a field."""
    held = field_of(field)
    value = held.value
    unit = f" ({value.unit})" if value is not None and value.unit else ""
    yearly = " (yearly)" if is_yearly(field) else ""
    return held.filed.rstrip(".") + unit + yearly


def told_fields(codes: Mapping[str, str]) -> str:
    """What a schema says of fields, each by its code."""
    return "; ".join(f"{code}: {lowered(filed_text(field))}" for field, code in codes.items())


class DocumentWriter:
    """Writes documents from facts. `facts` are those of the scenario; providers are drawn as they are met."""

    def __init__(self, random: Random, world: World, facts: JSONObject) -> None:
        self._random = random
        self._world = world
        self.terse: bool = facts["terse"]
        self._numbered = set(facts["numbered"])
        self._providers: dict[str, JSONObject] = dict(facts.get("providers", {}))

    def kept(self, toolset: Toolset) -> Toolset:
        """The toolset with the world as it has grown, and the providers."""
        facts = {**toolset.scenario.facts, "world": self._world.to_facts(), "providers": self._providers}
        return replace(toolset, scenario=replace(toolset.scenario, facts=facts))

    def choice(self, options: Sequence[Any]) -> Any:
        return options[0] if self.terse else options[int(self._random.random() * len(options))]

    def provider(self, domain: str) -> JSONObject:
        """Who runs the tools of a domain in this world, and how its tools look."""
        if domain not in self._providers:
            draw = self._random.random
            self._providers[domain] = {
                "office": self._office(domain),
                "envelope": 0 if self.terse else int(draw() * ENVELOPES),
                "digits": not self.terse and draw() < 0.4,
                "names": int(draw() * 3),
            }
        return self._providers[domain]

    def _office(self, domain: str) -> str:
        """Who runs the tools: a body of the domain, somewhere."""
        body = str(self.choice(DOMAINS[domain].providers))
        return body if self.terse else f"{self._world.invent(ENTITY_KINDS['town'].names)} {body}"

    def is_numbered(self, kind: str) -> bool:
        """Whether the tools of a kind take references; kinds that no question is about take titles."""
        return kind in self._numbered

    # --- facts ---------------------------------------------------------------------------------------------------

    def facts_of(self, step: JSONObject) -> JSONObject:
        """The facts of a tool that answers one step."""
        if step["do"] == "operation":
            return self.operation(step)
        kind = self._world.things[step["thing"]]["kind"]
        match step["do"]:
            case "find" | "map":
                return self.finder([kind], [step["scheme"]], step["do"])
            case "page":
                return self.lister(step["list"], step)
        return self.look(kind, [step["fact"]], step)

    def look(self, kind: str, fields: Sequence[str], step: JSONObject | None = None) -> JSONObject:
        """The facts of a look-up of fields; a gold `step` brings its year and its axes."""
        facts: JSONObject = {
            "do": "look",
            "kind": kind,
            "numbered": self.is_numbered(kind),
            "fields": [*fields],
            "codes": {},
            "years": [],
            "axes": {},
            "whole": {},
            "parameters": [],
        }
        if step is not None:
            facts["years"] = self.years(kind, step["year"]) if step["year"] is not None else []
            facts["axes"] = {axis: self.codes(AXES[axis]) for axis in step["axes"]}
        return facts

    def years(self, kind: str, year: int | None = None) -> list[int]:
        """Consecutive years that figures are held for, the wanted one among them and not the latest."""
        first = (year if year is not None else self._random.randint(*years_of(kind))) - int(self._random.random() * 3)
        last = max(first + 2, (year or first) + 1 + int(self._random.random() * 2))
        return list(range(first, last + 1))

    def codes(self, axis: Axis) -> list[str]:
        style = int(self._random.random() * len(axis.values[0].codes))
        return [value.codes[style] for value in axis.values]

    def finder(self, kinds: Sequence[str], schemes: Sequence[int], do: str = "find") -> JSONObject:
        """The facts of a tool from titles to references, or ("map") from one numbering to another: of these kinds, in
        these numberings of the world."""
        classes = [f"{letter}{digit}" for letter in "KR" for digit in range(1, 10)]
        numberings = [f"N{digit}" for digit in range(1, 10)]
        self._random.shuffle(classes)
        self._random.shuffle(numberings)
        return {
            "do": do,
            "kind": kinds[0],
            "classes": dict(zip(kinds, classes, strict=False)),
            "schemes": {str(scheme): code for scheme, code in zip(schemes, numberings, strict=False)},
            "parameters": [],
        }

    def lister(self, listing: str, step: JSONObject | None = None) -> JSONObject:
        """The facts of a tool that lists the rows of a thing."""
        kind = LISTINGS[listing].kind
        return {
            "do": "list",
            "kind": kind,
            "numbered": self.is_numbered(kind),
            "list": listing,
            "size": step["size"] if step else 4,
            "revised": bool(step and step["revised"]),
            "mixed": bool(step and step["mixed"]),
            "cursors": {step["thing"]: step["cursors"]} if step else {},
            "parameters": [],
        }

    def operation(self, step: JSONObject) -> JSONObject:
        """The facts of a closing operation; `step` holds its rate where it has one."""
        operation = OPERATIONS[step["operation"]]
        facts: JSONObject = {"do": "operation", "operation": operation.id, "parameters": []}
        if operation.id == "convert":
            facts["factors"] = [[source, code, factor] for source, (code, _, factor) in UNITS.items()]
        elif operation.id == "exchange":
            wanted = step.get("codes", [])
            facts["factors"] = [
                [code, step["rate"] if code in wanted else round(self._random.uniform(0.2, 4.9), 4)]
                for code in sorted(CURRENCIES)
            ]
        style = 0 if self.terse else int(self._random.random() * 4)
        for parameter in operation.inputs:
            schema = dict(parameter.schema)
            if parameter.names[0] in ("src", "dst", "ccy"):
                schema |= _unit_codes(parameter.names[0])
            facts["parameters"].append({
                "name": parameter.names[style % len(parameter.names)], "code": parameter.names[0], "role": "input",
                "schema": schema, "required": True,
            })  # fmt: skip
        return facts

    # --- parameters ----------------------------------------------------------------------------------------------

    def set_parameters(self, facts: JSONObject, options: Sequence[JSONObject] = ()) -> None:
        """Writes the parameters of facts: what the tool needs, then its options."""
        match facts["do"]:
            case "look":
                facts["parameters"] = [*self._look_parameters(facts), *options]
            case "find" | "map":
                facts["parameters"] = [*self._finder_parameters(facts), *options]
            case "list":
                facts["parameters"] = [self._subject(facts), self._cursor(), *options]

    def _look_parameters(self, facts: JSONObject) -> Iterator[JSONObject]:
        yield self._subject(facts)
        provider = self.provider(ENTITY_KINDS[facts["kind"]].domain)
        facts["codes"] = {
            field: self._field_code(place, field, provider) for place, field in enumerate(facts["fields"])
        }
        if len(facts["fields"]) > 1:
            schema: JSONObject = {
                "type": "string",
                "enum": [*facts["codes"].values()],
                "description": f"{self.choice(tool_texts.FIELDS)}{told_fields(facts['codes'])}.",
            }
            yield {"name": self.choice(tool_texts.FIELD_NAMES), "role": "field", "schema": schema, "required": True}
        if facts["years"]:
            schema = {"type": "integer", "description": self.choice(tool_texts.YEARS)}
            yield {"name": self.choice(tool_texts.YEAR_NAMES), "role": "year", "schema": schema, "required": False}
        for axis, codes in facts["axes"].items():
            yield self._axis(AXES[axis], codes)

    def _field_code(self, place: int, field: str, provider: JSONObject) -> str:
        return f"F{place + 1:02d}" if provider["digits"] else field_of(field).key

    def _axis(self, axis: Axis, codes: Sequence[str]) -> JSONObject:
        told = "; ".join(f"{code}: {value.filed}" for code, value in zip(codes, axis.values, strict=True))
        where = "yearly entries" if axis.applies == "yearly" else "entries without a year"
        schema: JSONObject = {
            "type": "string",
            "enum": [*codes],
            "default": codes[0],
            "description": f"{axis.filed} {told}. Applies to {where}.",
        }
        return {"name": self.choice(axis.parameters), "role": f"axis {axis.id}", "schema": schema, "required": False}

    def _subject(self, facts: JSONObject) -> JSONObject:
        words = ENTITY_KINDS[facts["kind"]]
        if facts["numbered"]:
            text = self.choice(tool_texts.NUMBERS).format(filed=words.filed, form=form_of(self._world.forms[0]))
        else:
            text = (
                f"{words.filed.capitalize()}."
                if self.terse
                else self.choice(tool_texts.SUBJECTS).format(filed=words.filed)
            )
        schema = {"type": "string", "description": text}
        names = words.parameters if facts["numbered"] or self.terse else tool_texts.TITLE_NAMES
        return {"name": self.choice(names), "role": "subject", "schema": schema, "required": True}

    def _cursor(self) -> JSONObject:
        text = "Cursor that the previous batch ended with; omit it for the first batch."
        schema = {"type": "string", "description": text}
        return {
            "name": self.choice(("cursor", "after", "page_token")),
            "role": "cursor",
            "schema": schema,
            "required": False,
        }

    def _finder_parameters(self, facts: JSONObject) -> Iterator[JSONObject]:
        by_title = facts["do"] == "find"
        old = f"Reference in the {tool_texts.NUMBERINGS[1]}, form {form_of(self._world.forms[1])}."
        text = "Registered title, in full." if by_title else old
        names = ("title", "q", "label") if by_title else ("ref", "source_ref", "number")
        yield {
            "name": self.choice(names), "role": "query", "required": True,
            "schema": {"type": "string", "description": text},
        }  # fmt: skip
        told = "; ".join(f"{code}: {ENTITY_KINDS[kind].filed_plural}" for kind, code in facts["classes"].items())
        schema: JSONObject = {"type": "string", "enum": [*facts["classes"].values()], "description": f"Class. {told}."}
        yield {"name": self.choice(("cls", "class_code", "grp")), "role": "class", "schema": schema, "required": True}
        told = "; ".join(
            f"{code}: {tool_texts.NUMBERINGS[int(scheme)]}, form {form_of(self._world.forms[int(scheme)])}"
            for scheme, code in sorted(facts["schemes"].items(), key=lambda item: item[1])
        )
        schema = {
            "type": "string", "enum": sorted(facts["schemes"].values()),
            "description": f"Numbering of the reference returned. {told}.",
        }  # fmt: skip
        yield {
            "name": self.choice(("scheme", "numbering", "fmt")),
            "role": "scheme",
            "schema": schema,
            "required": True,
        }

    # --- texts ---------------------------------------------------------------------------------------------------

    def document(self, facts: JSONObject, serves: tuple[int, ...], taken: Collection[str]) -> Document:
        """The document of some facts, under a name that is not taken."""
        if not facts["parameters"]:
            self.set_parameters(facts)
        names = [name for name in self._names(facts) if name not in taken]
        names = names or [f"{name}_v{version}" for version in range(2, 9) for name in self._names(facts)]
        names = [name for name in names if name not in taken][: len(self._names(facts))]
        name = names[int(self._random.random() * len(names))]
        return Document(name, self._description(facts), schema_of(facts), serves, facts)

    def _names(self, facts: JSONObject) -> list[str]:
        if facts["do"] == "operation":
            return [*OPERATIONS[facts["operation"]].tools]
        words = ENTITY_KINDS[facts["kind"]]
        match facts["do"]:
            case "find":
                return [*tool_texts.FINDERS]
            case "map":
                return [*tool_texts.MAPPERS]
            case "list":
                return [*LISTINGS[facts["list"]].tools]
        return [*words.tools]

    def _description(self, facts: JSONObject) -> str:
        if facts["do"] == "operation":
            return str(self.choice(OPERATIONS[facts["operation"]].about))
        words = ENTITY_KINDS[facts["kind"]]
        if facts["do"] == "look":
            return self._told(self._look_opening(facts, words), words.about)
        office = self.provider(words.domain)["office"]
        if facts["do"] == "list":
            return self._list_description(facts, office)
        finds = facts["do"] == "find"
        openings = tool_texts.FINDER_OPENINGS if finds else tool_texts.MAPPER_OPENINGS
        tails = [tail for tail in tool_texts.TAILS if finds or "title" not in tail]  # references have none
        texts = {"filed": words.filed, "filed_plural": words.filed_plural, "office": office}
        return self._told([self.choice(openings).format(**texts)], (), tails)

    def _look_opening(self, facts: JSONObject, words: EntityKind) -> list[str]:
        """What a look-up holds, and of what. A field that is alone is no choice of a parameter, so it is said here."""
        held = filed_text(facts["fields"][0]) if len(facts["fields"]) == 1 else ""
        if self.terse:
            opening = [f"{words.filed_plural}: {lowered(held)}." if held else f"{words.filed_plural}."]
        else:
            office = self.provider(words.domain)["office"]
            texts = {"filed": words.filed, "filed_plural": words.filed_plural, "office": office}
            opening = [with_articles(self.choice(tool_texts.OPENINGS).format(**texts))]
            opening = [f"{held} ({office})."] if held else opening
        opening[0] = _capital(opening[0])
        opening += [AXES[axis].values[place].whole for axis, place in facts["whole"].items()]
        if "span" in facts:
            opening.append("Holds the years {} to {} only.".format(*facts["span"]))
        return opening

    def _list_description(self, facts: JSONObject, office: str) -> str:
        listing = LISTINGS[facts["list"]]
        unit = f" in {listing.measure.unit}" if listing.measure.unit else ""
        marks = ", ".join(f"{mark.code} {mark.filed}" for mark in listing.marks)
        columns = (
            f"{listing.label_key}: {lowered(listing.label_filed.rstrip('.'))}; "
            f"{listing.measure_key}: {lowered(listing.measure_filed.rstrip('.'))}{'' if facts['mixed'] else unit}; "
            f"{listing.mark_key}: {lowered(listing.mark_filed.rstrip('.'))} ({marks})"
        )
        columns += "; uom: unit of the row" if facts["mixed"] else ""
        opening = self.choice(tool_texts.LIST_OPENINGS).format(filed=listing.filed, office=office)
        again = f" Where {listing.label_key} recurs, only the highest rev counts." if facts["revised"] else ""
        return f"{opening} {columns}.{again} Batches of {facts['size']}."

    def _told(self, opening: Sequence[str], sentences: Sequence[str], tails: Sequence[str] = tool_texts.TAILS) -> str:
        """An opening, and more sentences until the text is as long as one likes; terse, the opening alone."""
        if self.terse:
            return " ".join(opening)
        more = [*sentences]
        self._random.shuffle(more)
        tails = [*tails]
        self._random.shuffle(tails)
        text = " ".join(opening)
        wanted = SHORTEST + self._random.random() * (LONGEST - SHORTEST)
        for sentence in [*more, *tails]:
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


def form_of(pattern: str) -> str:
    """What a reference looks like: zeros for digits, letters A."""
    return _FORM.sub(lambda part: "0" * int(part[1][1:]) if part[1][0] == "d" else "A" * len(part[1]), pattern)


def _unit_codes(parameter: str) -> JSONObject:
    """The enumeration of an operation's codes, and what explains it."""
    if parameter == "ccy":
        told = "; ".join(f"{code}: {about}" for code, (_, about) in CURRENCIES.items())
        return {"enum": [*CURRENCIES], "description": f"Code of the tender. {told}."}
    if parameter == "src":
        return {"enum": [*UNITS], "description": "Metric unit of the quantity."}
    told = "; ".join(f"1 {source} = {factor:g} {code}" for source, (code, _, factor) in UNITS.items())
    return {"enum": [code for code, _, _ in UNITS.values()], "description": f"UCUM code of the target. {told}."}


def with_articles(text: str) -> str:
    """A text with "an" where "a" stands before a vowel that is spoken."""
    return _AN.sub(r"\1n ", text)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def lowered(text: str) -> str:
    """A text as it goes on after a colon; abbreviations keep their capitals."""
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text
