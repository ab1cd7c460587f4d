"""Stage 4, complexity scaling: the paper's four strategies, and tools that overlap; each at a level from 0 to 3.

generalise   a tool answers more than this question needs: further fields, and things that only sound like the question
parameters   optional parameters that really filter, convert or add: 1, 3 or 5 on average
types        1: enumerations and booleans; 2: also numbers, arrays, objects, dates; 3: subjects inside objects
distractors  half, all, or one and a half times the distractors that the size of the scenario asks for
overlap      what a figure's option decides becomes a tool of its own beside it: same field, other coverage
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from envbuilder.records import Document, JSONObject, Toolset
from envbuilder.spec import DISTRACTOR_SHARE, Spec, Weights, pick_weighted
from envbuilder.stages.documents import DocumentWriter, with_gold_calls
from envbuilder.worlds.axes import AXES
from envbuilder.worlds.catalogue import ENTITY_KINDS, FACTS, facts_of
from envbuilder.worlds.operations import OPERATIONS
from envbuilder.worlds.options import OPTIONS
from envbuilder.worlds.schema import Fact
from envbuilder.worlds.tables import World

PARAMETERS: tuple[Weights, ...] = (
    ((0, 1),),
    ((1, 0.6), (2, 0.4)),
    ((3, 0.3), (4, 0.4), (5, 0.3)),
    ((5, 0.5), (6, 0.5)),
)
"""By level: how many optional parameters a tool gets besides those that decide."""
FIELDS: tuple[Weights, ...] = (((1, 1),), ((4, 0.5), (5, 0.5)), ((6, 0.5), (7, 0.5)), ((7, 0.4), (8, 0.6)))
"""By level of generalise: how many fields a look-up has."""
CLASSES = (1, 4, 6, 8)
"""By level of generalise: how many classes a tool of references knows."""
SHAPED = (0.0, 0.0, 0.06, 0.3)
"""By level of types: share of look-ups whose subject comes inside an object."""
OWN_LURES = 0.3
"""Share of gold tools that hold a lure themselves; else it waits for a decoy."""
SPLIT = (0.0, 0.25, 0.45, 0.7)
"""By level of overlap: share of look-ups that are one of two with a coverage of their own."""


def scale_toolset(toolset: Toolset, spec: Spec) -> Toolset:
    """The toolset at the levels of the spec, distractors last."""
    facts = toolset.scenario.facts
    random = Random(f"{facts['source']}|scaling")
    world = World(random, facts["world"])
    scaler = _Scaler(random, world, DocumentWriter(random, world, facts), spec, facts["steps"])
    for document in toolset.documents:
        scaler.add_gold(document)
    count = _distractors(spec, len(scaler.documents))
    scaler.add_distractors(count)
    return with_gold_calls(scaler.writer.kept(Toolset(toolset.scenario, tuple(scaler.documents))))


def _distractors(spec: Spec, tools: int) -> int:
    """How many distractors are added to so many gold tools."""
    size = spec.size
    if size.tools is None:
        count = pick_weighted(size.distractors[spec.kind], spec.spread_draw("distractors"))
    else:
        count = max(size.tools - tools, 0)
    return round(count * DISTRACTOR_SHARE[spec.effective_levels.distractors])


class _Scaler:
    """Applies the strategies to one document after the other, in one world."""

    def __init__(
        self, random: Random, world: World, writer: DocumentWriter, spec: Spec, steps: Sequence[JSONObject]
    ) -> None:
        self._random = random
        self._world = world
        self.writer = writer
        self._levels = spec.effective_levels
        self._among = spec.size.kinds
        self._steps = steps
        self._served = {step["fact"] for step in steps if step["do"] == "fact"}
        self._asked = {self._kind_of(step) for step in steps if "thing" in step}
        self.documents: list[Document] = []
        self._siblings: list[JSONObject] = []

    def _kind_of(self, step: JSONObject) -> str:
        return str(self._world.things[step["thing"]]["kind"])

    def _one(self, options: Sequence[Any]) -> Any:
        return options[int(self._random.random() * len(options))]

    def _add(self, facts: JSONObject, serves: tuple[int, ...] = ()) -> None:
        """Writes the document of facts that are as they shall be."""
        options = self._options(facts)
        self.writer.set_parameters(facts, options)
        if facts["do"] == "look" and self._random.random() < SHAPED[self._levels.types]:
            _shape(facts)
        taken = {document.name for document in self.documents}
        self.documents.append(self.writer.document(facts, serves, taken))

    # --- gold tools ----------------------------------------------------------------------------------------------

    def add_gold(self, document: Document) -> None:
        """A tool that serves hops, with more functions and parameters than they need."""
        facts = {**document.facts}
        match facts["do"]:
            case "look":
                self._generalise(facts)
                self._split(facts, [self._steps[hop] for hop in document.serves])
            case "find" | "map":
                self._more_classes(facts)
        self._add(facts, document.serves)

    def _generalise(self, facts: JSONObject) -> None:
        """More fields: facts that nobody asks for, and a lure."""
        wanted = pick_weighted(FIELDS[self._levels.generalise], self._random.random())
        own = [*facts["fields"]]
        lures = self._lures(facts["kind"]) if self._random.random() < OWN_LURES else []
        more = [fact.id for fact in self._unasked(facts["kind"])]
        self._random.shuffle(more)
        facts["fields"] = self._mixed([*own, *lures[: 1 if wanted > 3 else 0], *more], max(wanted, len(own)), own)
        if not facts["years"] and any(self._is_yearly(field) for field in facts["fields"]):
            facts["years"] = self.writer.years(facts["kind"])

    def _mixed(self, fields: Sequence[str], count: int, keep: Sequence[str] = ()) -> list[str]:
        """So many of the fields, the first ones, in random order; no two under one key."""
        chosen: dict[str, str] = {}
        for field in fields:
            key = field.partition("!")[0].partition(".")[2] if "!" not in field else field
            chosen.setdefault(key, field)
        found = [*chosen.values()][: max(count, len(keep))]
        self._random.shuffle(found)
        return found

    def _unasked(self, kind: str) -> list[Fact]:
        return [fact for fact in facts_of(kind, self._among) if fact.id not in self._served]

    def _is_yearly(self, field: str) -> bool:
        return "!" not in field and FACTS[field].yearly

    def _lures(self, kind: str) -> list[str]:
        """What sounds like the questions about a kind and stands in no tool yet, in random order."""
        used = {field for document in self.documents for field in document.facts.get("fields", ())}
        found = [
            f"{fact}!{number}"
            for fact in sorted(self._served)
            if FACTS[fact].kind == kind
            for number in range(len(FACTS[fact].lures))
            if f"{fact}!{number}" not in used
        ]
        self._random.shuffle(found)
        return found

    def _more_classes(self, facts: JSONObject) -> None:
        """References of further kinds; one numbering at least that leads nowhere."""
        schemes: dict[str, list[int]] = {}
        for scheme in facts["schemes"]:
            kind, _, place = scheme.rpartition(".")
            schemes.setdefault(kind, []).append(int(place))
        bridged = {self._kind_of(step) for step in self._steps if step["do"] == "map"}
        for kind in schemes:
            if len(ENTITY_KINDS[kind].ids) > 1 and kind not in bridged and facts["do"] == "find":
                schemes[kind] = [0, 1]
        everything = [kind for kind in ENTITY_KINDS if kind not in schemes and kind not in self._asked]
        while len(schemes) < CLASSES[self._levels.generalise] and everything:
            kind = everything.pop(int(self._random.random() * len(everything)))
            schemes[kind] = [0]
        kinds = [*schemes]
        self._random.shuffle(kinds)
        facts |= self.writer.finder({kind: schemes[kind] for kind in kinds}, facts["do"]) | {"kind": facts["kind"]}

    # --- overlapping tools ---------------------------------------------------------------------------------------

    def _split(self, facts: JSONObject, steps: Sequence[JSONObject]) -> None:
        """What an option decides, or the year, is decided by the tool instead; its sibling has the other coverage."""
        if self._random.random() >= SPLIT[self._levels.overlap]:
            return
        yearly = [step for step in steps if step.get("year") is not None]
        axes = [axis for step in steps for axis in step.get("axes", {})]
        if axes and (not yearly or self._random.random() < 0.5):
            axis = self._one(axes)
            place = next(step["axes"][axis] for step in steps if axis in step["axes"])
            other = self._one([number for number in range(len(AXES[axis].values)) if number != place])
            sibling = {**facts, "axes": {name: codes for name, codes in facts["axes"].items() if name != axis}}
            facts["axes"] = sibling["axes"]
            facts["whole"] = {axis: place}
            self._siblings.append({**sibling, "whole": {axis: other}, "fields": self._sibling_fields(facts, AXES[axis].applies == "yearly")})
        elif yearly:
            years = facts["years"]
            facts["span"] = [years[0], years[-1]]
            before = list(range(years[0] - 3, years[0]))
            after = list(range(years[-1] + 1, years[-1] + 4))
            other_years = before if self._random.random() < 0.5 and before[0] > 1950 else after
            self._siblings.append(
                {
                    **facts,
                    "years": other_years,
                    "span": [other_years[0], other_years[-1]],
                    "fields": self._sibling_fields(facts, yearly=True),
                }
            )

    def _sibling_fields(self, facts: JSONObject, yearly: bool) -> list[str]:
        """The facts that the split decides, and those that nobody asks for: any other would be a second way."""
        fields = [
            field
            for field in facts["fields"]
            if "!" not in field
            and (field not in self._served or (FACTS[field].yearly == yearly and FACTS[field].target is None))
        ]
        self._random.shuffle(fields)
        return fields

    # --- parameters ----------------------------------------------------------------------------------------------

    def _options(self, facts: JSONObject) -> list[JSONObject]:
        """Optional parameters of a tool, of the kinds that the level of types allows."""
        count = pick_weighted(PARAMETERS[self._levels.parameters], self._random.random())
        if facts["do"] != "look":
            count = min(count, 2)
        fitting = [option for option in OPTIONS if option.level <= self._levels.types]
        if facts["do"] != "look":
            fitting = [option for option in fitting if option.effect in ("exact", "nested")]
        style = self.writer.provider(ENTITY_KINDS[facts["kind"]].domain)["names"] if facts["do"] != "operation" else 0
        chosen: list[JSONObject] = []
        while fitting and len(chosen) < count:
            option = self._weighted(fitting)
            fitting = [other for other in fitting if other is not option]
            schema = {**option.schema, "description": option.abouts[style % len(option.abouts)]}
            chosen.append({
                "name": option.names[style % len(option.names)], "role": f"option {option.effect}", "column": option.column,
                "schema": schema, "required": False,
            })  # fmt: skip
        return chosen

    def _weighted(self, options: Sequence[Any]) -> Any:
        left = self._random.random() * sum(option.weight for option in options)
        for option in options:
            left -= option.weight
            if left < 0:
                return option
        return options[-1]

    # --- distractors ---------------------------------------------------------------------------------------------

    def add_distractors(self, count: int) -> None:
        """Tools that no hop needs: siblings first, then decoys about the same things, then others nearby."""
        makers = [self._decoy, self._decoy, self._near, self._decoy, self._other, self._near]
        self._random.shuffle(self._siblings)
        for facts in self._siblings[:count]:
            self._add(facts)
        left = count - min(count, len(self._siblings))
        for place in range(left * 4):
            if left <= 0:
                return
            made = makers[place % len(makers)]()
            if made is not None:
                self._add(made)
                left -= 1

    def _free(self, kind: str) -> bool:
        """Whether a kind has a name left for another look-up."""
        taken = {document.name for document in self.documents}
        return not self.writer.terse and any(name not in taken for name in ENTITY_KINDS[kind].tools)

    def _decoy(self) -> JSONObject | None:
        """Other facts of a thing that is asked about, and what sounds like the question."""
        kinds = sorted(kind for kind in self._asked if self._is_looked_at(kind))
        if not kinds:
            return None
        kind = self._one(kinds)
        if self.writer.terse:
            return self._small(kind)
        fields = [*self._lures(kind)[:3], *[fact.id for fact in self._shuffled(self._unasked(kind))]]
        return self._look(kind, fields)

    def _shuffled(self, facts: Sequence[Fact]) -> list[Fact]:
        found = [*facts]
        self._random.shuffle(found)
        return found

    def _is_looked_at(self, kind: str) -> bool:
        return any(FACTS[fact].kind == kind for fact in self._served)

    def _small(self, kind: str) -> JSONObject | None:
        """One field of a kind that no other tool has: of a lure, or of a fact."""
        taken = {field for document in self.documents for field in document.facts.get("fields", ())}
        lures = self._lures(kind)
        facts = [fact.id for fact in self._unasked(kind) if fact.id not in taken]
        free = lures if lures and self._random.random() < 0.5 else facts or lures
        return self._look(kind, [self._one(free)]) if free else None

    def _look(self, kind: str, fields: Sequence[str]) -> JSONObject | None:
        if not self.writer.terse and not self._free(kind):
            return None
        facts = self.writer.look(kind, [])
        wanted = pick_weighted(FIELDS[self._levels.generalise], self._random.random())
        facts["fields"] = self._mixed(fields, wanted)
        if any(self._is_yearly(field) for field in facts["fields"]):
            facts["years"] = self.writer.years(facts["kind"])
            self._decoy_axis(facts, "yearly")
        else:
            self._decoy_axis(facts, "plain")
        return facts

    def _decoy_axis(self, facts: JSONObject, applies: str) -> None:
        if self._levels.options and self._random.random() < 0.4:
            axis = self._one([axis for axis in AXES.values() if axis.applies == applies])
            facts["axes"] = {axis.id: self.writer.codes(axis)}

    def _near(self) -> JSONObject | None:
        """A tool about things that the asked ones lead to."""
        kind = self._one(sorted(self._asked))
        targets = [fact.target for fact in facts_of(kind, self._among) if fact.target and fact.target not in self._asked]
        return self._about(self._one(targets)) if targets else None

    def _other(self) -> JSONObject | None:
        """A tool about anything, or a computation."""
        if self._random.random() < 0.3 and self._levels.generalise:
            used = {document.facts.get("operation") for document in self.documents}
            return self.writer.operation({"operation": self._one([name for name in OPERATIONS if name not in used])})
        kinds = [kind for kind in self._among or tuple(ENTITY_KINDS) if kind not in self._asked]
        return self._about(self._one(kinds)) if kinds else None

    def _about(self, kind: str) -> JSONObject | None:
        if self.writer.terse:
            return self._small(kind)
        if self._levels.lists and ENTITY_KINDS[kind].lists and self._random.random() < 0.25:
            listing = self._one(ENTITY_KINDS[kind].lists)
            used = {document.facts.get("list") for document in self.documents}
            name = f"{kind}.{listing.key}"
            return None if name in used else self.writer.lister(name)
        return self._look(kind, [fact.id for fact in self._shuffled(facts_of(kind, self._among))])


def _shape(facts: JSONObject) -> None:
    """The subject inside an object."""
    entry = facts["parameters"][0]
    inner = {"ref" if facts["numbered"] else "title": {"type": "string", "description": entry["schema"]["description"]}}
    entry["schema"] = {
        "type": "object",
        "description": f"The {ENTITY_KINDS[facts['kind']].filed} that is meant.",
        "properties": inner,
        "required": [*inner],
    }


def fields_by_key(facts: Mapping[str, Any]) -> dict[str, str]:
    """The fields of a look-up by their codes."""
    return {code: field for field, code in facts["codes"].items()}
