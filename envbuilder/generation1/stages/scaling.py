"""Stage 4, complexity scaling: the four strategies, each at a level from 0 (left alone) to 3.

generalise   a tool answers more than this question needs: 1, 2 or 3 further relations, and a selector for them
parameters   optional parameters that really filter, convert or add: about 2, 5 or 7
types        1: enumerations and booleans; 2: also numbers, arrays, objects, dates; 3: names inside objects and arrays
distractors  half, all, or one and a half times the distractors that the size of the scenario asks for
At level 0 of `types` every choice is a plain string that the description explains.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from envbuilder.generation1.stages.documents import DocumentWriter, relations_of, with_gold_calls, with_world
from envbuilder.generation1.stages.integration import required_first_key
from envbuilder.generation1.worlds.catalogue import ENTITY_KINDS, RELATIONS, relations_of_kind
from envbuilder.generation1.worlds.operations import OPERATIONS
from envbuilder.generation1.worlds.parameters import ParameterOffers
from envbuilder.generation1.worlds.tables import World
from envbuilder.records import Document, JSONObject, Toolset
from envbuilder.spec import DISTRACTOR_SHARE, Spec, Weights, pick_weighted

PARAMETERS: tuple[Weights, ...] = (
    ((0, 1),),
    ((1, 0.5), (2, 0.5)),
    ((4, 0.4), (5, 0.4), (6, 0.2)),
    ((6, 0.4), (7, 0.4), (8, 0.2)),
)
"""By level: how many optional parameters a tool gets, the selector aside."""

_PLAIN = {"text": 6.0, "enum": 3.0, "response": 1.0, "date_format": 1.0, "unit": 1.0}
_CHOICES = {"text": 9.0, "enum": 4.0, "extra": 2.0, "flag": 2.0, "response": 1.0, "date_format": 1.0, "unit": 1.0}
_MIXED = {
    "text": 5.6, "enum": 2.4, "extra": 1.9, "flag": 1.2, "surname": 0.5, "unit": 1.2, "date_format": 0.8,
    "response": 0.8, "minimum": 0.55, "confidence": 0.2, "since": 0.3, "as_of": 0.25, "period": 0.3, "place": 0.4,
    "fields": 0.35, "others": 0.35,
}  # fmt: skip
_RICH = {**_MIXED, "minimum": 1.6, "period": 1.4, "place": 1.4, "fields": 1.4, "others": 1.2, "as_of": 1.0, "text": 2.2}
ROLES: tuple[Mapping[str, float], ...] = (_PLAIN, _CHOICES, _MIXED, _RICH)
_OPTION_TYPES = ((), ("boolean",), ("boolean", "number", "integer", "array"))
SHAPED = (0.0, 0.0, 0.05, 0.35)
"""By level of types: share of lookups whose name comes inside an object or an array."""


def scale_toolset(toolset: Toolset, spec: Spec) -> Toolset:
    """The toolset at the levels of the spec, distractors last."""
    facts = toolset.scenario.facts
    random = Random(f"{facts['source']}|scaling")
    world = World(random, facts["world"])
    served = {(step["kind"], step["relation"]) for step in facts["steps"] if "relation" in step}
    scaler = _Scaler(random, world, DocumentWriter(random, world, facts["terse"]), spec, served)
    documents: list[Document] = []
    for document in toolset.documents:
        taken = {other.name for other in documents}
        first = None if "operation" in document.facts else _first(toolset, document)
        documents.append(scaler.scaled(document, first, taken))
    for _ in range(_distractors(spec, len(documents))):
        taken = {other.name for other in documents}
        documents.append(scaler.distractor(documents, taken))
    return with_gold_calls(with_world(Toolset(toolset.scenario, tuple(documents)), world))


def _distractors(spec: Spec, tools: int) -> int:
    """How many distractors are added to so many gold tools."""
    size = spec.size
    if size.tools is None:
        count = pick_weighted(size.distractors[spec.kind], spec.spread_draw("distractors"))
    else:
        count = max(size.tools - tools, 0)
    return round(count * DISTRACTOR_SHARE[spec.effective_levels.distractors])


def _first(toolset: Toolset, document: Document) -> str | None:
    return (
        required_first_key(toolset, document.facts, document.serves) if len(document.facts["relations"]) > 1 else None
    )


class _Scaler:
    """Applies the strategies to one document after the other, in one world."""

    def __init__(
        self, random: Random, world: World, writer: DocumentWriter, spec: Spec, served: set[tuple[str, str]]
    ) -> None:
        self._random = random
        self._world = world
        self._writer = writer
        self._levels = spec.effective_levels
        self._among = spec.size.kinds
        self._served = served

    def scaled(self, document: Document, first: str | None, taken: set[str]) -> Document:
        facts = {**document.facts, "parameters": [dict(entry) for entry in document.facts["parameters"]]}
        if "operation" in facts:
            self._operation(facts)
        else:
            self._lookup(facts, first)
        if document.name and facts == document.facts:
            return document
        return self._writer.document(facts, document.serves, taken)

    def _lookup(self, facts: JSONObject, first: str | None) -> None:
        self._generalise(facts)
        self._select(facts, first)
        count = pick_weighted(PARAMETERS[self._levels.parameters], self._random.random())
        offers = ParameterOffers(self._random, self._world, facts, self._levels.types, self._served)
        facts["parameters"] += offers.take(ROLES[self._levels.types], count)
        if self._random.random() < SHAPED[self._levels.types]:
            self._shape(facts)

    # --- functionality -------------------------------------------------------------------------------------------

    def _generalise(self, facts: JSONObject) -> None:
        """More relations with the same keys."""
        kind, also = facts["kind"], facts["also"]
        keys = {relation.key for relation in relations_of(facts)}
        more = [
            relation
            for relation in relations_of_kind(kind, self._among)
            if relation.also == also
            and relation.key not in keys
            and (kind, relation.id) not in self._served
            and self._is_cheap(relation)
        ]
        self._random.shuffle(more)
        count = self._levels.generalise
        if count > 1 and self._random.random() < 0.5:
            count -= 1
        facts["relations"] = [*facts["relations"], *(relation.id for relation in more[:count])]

    def _is_cheap(self, relation: Any) -> bool:
        """Values, and relations to kinds that the world has names of."""
        if relation.value is not None:
            return bool(relation.value.type != "list")
        return len(self._world.pools.get(relation.target, ())) >= self._world.rows or self._random.random() < 0.15

    def _select(self, facts: JSONObject, first: str | None) -> None:
        """A selector where the tool answers several relations; with a default in half the cases that allow one."""
        facts["parameters"] = [entry for entry in facts["parameters"] if entry["role"] != "selector"]
        relations = relations_of(facts)
        if len(relations) < 2:
            return
        default = None
        if first is None and self._random.random() < 0.5:
            default = relations[int(self._random.random() * len(relations))].key
        entry = self._writer.selector(facts, first, default)
        if self._levels.types == 0:
            keys = entry["schema"].pop("enum")
            entry["schema"]["description"] += " One of: " + ", ".join(keys) + "."
        facts["parameters"].append(entry)

    # --- types ---------------------------------------------------------------------------------------------------

    def _shape(self, facts: JSONObject) -> None:
        """The name of the thing inside an object, or in an array of one or more."""
        entry = facts["parameters"][0]
        schema, noun = entry["schema"], ENTITY_KINDS[facts["kind"]].noun
        batched = any(other["role"] in ("others", "second") for other in facts["parameters"])
        if batched or self._random.random() < 0.5:
            inner = {"name": {"type": "string", "description": f"Full name of the {noun}."}}
            entry["schema"] = {
                "type": "object",
                "description": schema["description"],
                "properties": inner,
                "required": ["name"],
            }
        else:
            items = {"type": "string"}
            text = schema["description"] + " Several names can be given at once."
            entry["schema"] = {"type": "array", "description": text, "items": items, "minItems": 1}

    # --- parameters of operations --------------------------------------------------------------------------------

    def _operation(self, facts: JSONObject) -> None:
        operation = OPERATIONS[facts["operation"]]
        for entry in facts["parameters"] if self._levels.types else ():
            if "values" in entry:
                text = entry["schema"]["description"].partition(" One of:")[0]
                entry["schema"] = {**entry["schema"], "description": text, "enum": entry["values"]}
        options = list(operation.options)
        self._random.shuffle(options)
        for parameter in options[: 2 * self._levels.parameters]:
            if parameter.schema["type"] not in _OPTION_TYPES[min(self._levels.types, 2)]:
                continue
            schema = {**parameter.schema, "description": parameter.description}
            taken = {entry["name"] for entry in facts["parameters"]}
            name = self._writer.choice([name for name in parameter.names if name not in taken])
            entry = {"name": name, "code": parameter.names[0], "role": "option", "schema": schema, "required": False}
            facts["parameters"].append(entry)

    # --- distractors ---------------------------------------------------------------------------------------------

    def distractor(self, documents: list[Document], taken: set[str]) -> Document:
        """A tool like the others that no hop needs: other facts of the same things, or of things nearby."""
        if self._random.random() < 0.08:
            used = {document.facts.get("operation") for document in documents}
            free = [name for name in OPERATIONS if name not in used]
            facts = self._writer.operation({"operation": free[int(self._random.random() * len(free))]})
        else:
            facts = self._other_lookup(documents)
        return self.scaled(Document("", "", {}, (), facts), None, taken)

    def _other_lookup(self, documents: list[Document]) -> JSONObject:
        lookups = [document.facts for document in documents if "kind" in document.facts]
        served = {(facts["kind"], relation) for facts in lookups for relation in facts["relations"]}
        kinds = [document.facts["kind"] for document in documents if "kind" in document.facts and document.serves]
        for _ in range(1000):
            near = self._random.random()
            kind = kinds[int(self._random.random() * len(kinds))]
            targets = [relation.target for relation in relations_of_kind(kind, self._among) if relation.target]
            if near > 0.3 and targets:
                kind = targets[int(self._random.random() * len(targets))]
            if near > 0.75:
                everything = self._among or tuple(ENTITY_KINDS)
                kind = everything[int(self._random.random() * len(everything))]
            relations = [
                relation for relation in relations_of_kind(kind, self._among) if (kind, relation.id) not in served
            ]
            if relations:
                relation = relations[int(self._random.random() * len(relations))]
                return self._writer.lookup_of(kind, RELATIONS[relation.id], [])
        raise LookupError("no relation is left for a distractor")
