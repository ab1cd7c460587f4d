"""Stage 4, complexity scaling: the paper's four strategies, and tools that overlap; each at a level from 0 to 3.

generalise   a tool answers more than this question needs: further fields, and things that only sound like a question
parameters   optional parameters that really filter, convert or add: 1, 3 or 5 on average
types        1: enumerations and booleans; 2: also numbers, arrays, objects, dates; 3: subjects inside objects
distractors  half, all, or one and a half times the distractors that the size of the scenario asks for
overlap      what a figure's option decides becomes a tool of its own beside it: same fields, other coverage

A field of a kind stands in one tool, or in two whose coverage differs, whether a hop needs it or not; tools of
references, lists and coverages stand among the distractors too. So only what the texts mean tells which is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from envbuilder.records import Document, JSONObject, Toolset
from envbuilder.spec import DISTRACTOR_SHARE, Spec, Weights, pick_weighted
from envbuilder.stages.documents import DocumentWriter, field_of, is_yearly, with_gold_calls
from envbuilder.stages.scenario import OPTIONS as OPTIONS_MOST
from envbuilder.worlds.axes import AXES
from envbuilder.worlds.catalogue import ENTITY_KINDS, facts_of
from envbuilder.worlds.operations import OPERATIONS
from envbuilder.worlds.options import OPTIONS
from envbuilder.worlds.tables import World

PARAMETERS: tuple[Weights, ...] = (
    ((0, 1),),
    ((1, 0.6), (2, 0.4)),
    ((3, 0.3), (4, 0.4), (5, 0.3)),
    ((5, 0.5), (6, 0.5)),
)
"""By level: how many optional parameters a tool gets besides those that decide."""
FIELDS: tuple[Weights, ...] = (((1, 1),), ((4, 1),), ((5, 0.4), (6, 0.6)), ((6, 0.5), (7, 0.5)))
"""By level of generalise: how many fields a look-up has."""
CLASSES = (1, 4, 6, 8)
"""By level of generalise: how many classes a tool of references knows."""
SHAPED = (0.0, 0.0, 0.06, 0.3)
"""By level of types: share of look-ups whose subject comes inside an object."""
YEARLY_LURES = 0.6
"""Share of a lure's numbers that are kept by year, as the figures that they sound like are."""
SPLIT = (0.0, 0.25, 0.45, 0.7)
"""By level of overlap: share of look-ups that are one of two with a coverage of their own."""


def scale_toolset(toolset: Toolset, spec: Spec) -> Toolset:
    """The toolset at the levels of the spec, distractors last."""
    facts = toolset.scenario.facts
    random = Random(f"{facts['source']}|scaling")
    world = World(random, facts["world"])
    writer = DocumentWriter(random, world, facts)
    scaler = _Scaler(random, world, writer, spec, facts["steps"], facts.get("reserved", ()))
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
        self,
        random: Random,
        world: World,
        writer: DocumentWriter,
        spec: Spec,
        steps: Sequence[JSONObject],
        reserved: Sequence[str],
    ) -> None:
        """`reserved`: facts that no tool may hold besides those that are asked."""
        self._random = random
        self._world = world
        self.writer = writer
        self._levels = spec.effective_levels
        self._among = spec.size.kinds
        self._steps = steps
        self._served = {step["fact"] for step in steps if step["do"] == "fact"} | {*reserved}
        self._listed = {step["list"] for step in steps if step["do"] == "page"}
        self._asked = sorted({self._kind_of(step) for step in steps if "thing" in step})
        self._fields: dict[str, list[str]] = {}
        self.documents: list[Document] = []
        self._siblings: list[JSONObject] = []

    def _kind_of(self, step: JSONObject) -> str:
        return str(self._world.things[step["thing"]]["kind"])

    def _one(self, options: Sequence[Any]) -> Any:
        return options[int(self._random.random() * len(options))]

    def _add(self, facts: JSONObject, serves: tuple[int, ...] = ()) -> None:
        """Writes the document of facts that are as they shall be."""
        self.writer.set_parameters(facts, self._options(facts))
        if facts["do"] == "look" and self._random.random() < SHAPED[self._levels.types]:
            _shape(facts)
        taken = {document.name for document in self.documents}
        self.documents.append(self.writer.document(facts, serves, taken))

    # --- fields --------------------------------------------------------------------------------------------------

    def _left(self, kind: str) -> list[str]:
        """The fields of a kind that stand in no tool yet, in random order: facts nobody asks for, and lures."""
        if kind not in self._fields:
            facts = facts_of(kind, self._among)
            found = [fact.id for fact in facts if fact.id not in self._served]
            for fact in facts:
                for number in range(len(fact.lures)):
                    yearly = fact.lures[number].value.is_number and self._random.random() < YEARLY_LURES
                    found.append(f"{fact.id}!{number}{'y' if yearly else ''}")
            self._random.shuffle(found)
            self._fields[kind] = found
        return self._fields[kind]

    def _fill(self, facts: JSONObject, fits: Callable[[str], bool] = lambda field: True) -> None:
        """More fields, as many as the level has; those that a split decides alone where it is one of two."""
        wanted = pick_weighted(FIELDS[self._levels.generalise], self._random.random())
        left = self._left(facts["kind"])
        keys = {field_of(field).key for field in facts["fields"]}
        for field in [*left]:
            if len(facts["fields"]) >= wanted:
                break
            if fits(field) and field_of(field).key not in keys:
                keys.add(field_of(field).key)
                left.remove(field)
                facts["fields"] = [*facts["fields"], field]
        fields = [*facts["fields"]]
        self._random.shuffle(fields)
        facts["fields"] = fields
        if not facts["years"] and any(is_yearly(field) for field in fields):
            facts["years"] = self.writer.years(facts["kind"])

    def _complete(self, facts: JSONObject, decided: Sequence[str]) -> None:
        """Fields, options and coverage of a look-up. `decided`: the fields that a hop needs."""
        sorts = {_sort(field) for field in decided}
        split = self._random.random() < SPLIT[self._levels.overlap] and sorts in ({"yearly"}, {"plain"}, set())
        sort = next(iter(sorts), self._one(("yearly", "plain"))) if split else ""
        self._fill(facts, (lambda field: _sort(field) == sort) if split else (lambda field: True))
        if not decided:
            self._decide(facts)
        if split:
            self._split(facts, sort)

    def _decide(self, facts: JSONObject) -> None:
        """Options of a tool that no hop needs: as many as others have."""
        sorts = {_sort(field) for field in facts["fields"]}
        for applies in ("yearly", "plain"):
            axes = [axis for axis in AXES.values() if axis.applies == applies]
            count = min(OPTIONS_MOST[self._levels.options], len(axes))
            if applies in sorts and count and self._random.random() < 0.8:
                self._random.shuffle(axes)
                facts["axes"] |= {axis.id: self.writer.codes(axis) for axis in axes[:count]}

    # --- gold tools ----------------------------------------------------------------------------------------------

    def add_gold(self, document: Document) -> None:
        """A tool that serves hops, with more functions and parameters than they need."""
        facts = {**document.facts}
        match facts["do"]:
            case "look":
                facts["wanted"] = [self._steps[hop] for hop in document.serves]
                self._complete(facts, [step["fact"] for step in facts["wanted"]])
                del facts["wanted"]
            case "find" | "map":
                self._more_classes(facts)
        self._add(facts, document.serves)

    def _more_classes(self, facts: JSONObject) -> None:
        """References of further kinds."""
        kinds = [*facts["classes"]]
        everything = [kind for kind in ENTITY_KINDS if kind not in kinds and kind not in self._asked]
        self._random.shuffle(everything)
        kinds += everything[: max(0, CLASSES[self._levels.generalise] - len(kinds))]
        self._random.shuffle(kinds)
        schemes = [int(scheme) for scheme in facts["schemes"]]
        direct = facts["do"] == "find" and schemes == [0]
        schemes.append(self._one((1, 2)) if direct else 2)  # one that leads on to no tool
        facts |= self.writer.finder(kinds, schemes, facts["do"]) | {"kind": facts["kind"]}

    # --- overlapping tools ---------------------------------------------------------------------------------------

    def _split(self, facts: JSONObject, sort: str) -> None:
        """What an option decides, or the year, is decided by the tool instead; its sibling has the other coverage."""
        axes = [axis for axis in facts["axes"] if AXES[axis].applies == sort]
        sibling = {**facts, "fields": [*facts["fields"]]}
        self._random.shuffle(sibling["fields"])
        if axes and (sort == "plain" or self._random.random() < 0.5):
            axis = self._one(axes)
            places = range(len(AXES[axis].values))
            wanted = [step["axes"][axis] for step in facts.get("wanted", ()) if axis in step["axes"]]
            place = wanted[0] if wanted else self._one(places)
            other = self._one([number for number in places if number != place])
            rest = {name: codes for name, codes in facts["axes"].items() if name != axis}
            facts |= {"axes": rest, "whole": {axis: place}}
            self._siblings.append({**sibling, "axes": rest, "whole": {axis: other}})
        elif sort == "yearly" and facts["years"] and facts["years"][-1] - facts["years"][0] < len(facts["years"]):
            years = facts["years"]
            before, after = range(years[0] - 3, years[0]), range(years[-1] + 1, years[-1] + 4)
            others = [*(before if self._random.random() < 0.5 else after)]
            facts["span"] = [years[0], years[-1]]
            self._siblings.append({**sibling, "years": others, "span": [others[0], others[-1]]})

    # --- parameters ----------------------------------------------------------------------------------------------

    def _options(self, facts: JSONObject) -> list[JSONObject]:
        """Optional parameters of a tool, of the kinds that the level of types allows."""
        count = pick_weighted(PARAMETERS[self._levels.parameters], self._random.random())
        if facts["do"] != "look":
            count = min(count, 2)
        fitting = [option for option in OPTIONS if option.level <= self._levels.types]
        if facts["do"] != "look":
            fitting = [option for option in fitting if option.effect in ("exact", "nested")]
        elif not any(_is_decimal(field) for field in facts["fields"]):
            fitting = [option for option in fitting if option.effect != "precision"]
        style = self.writer.provider(ENTITY_KINDS[facts["kind"]].domain)["names"] if facts["do"] != "operation" else 0
        chosen: list[JSONObject] = []
        while fitting and len(chosen) < count:
            option = self._weighted(fitting)
            fitting = [other for other in fitting if other is not option]
            schema = {**option.schema, "description": option.abouts[style % len(option.abouts)]}
            chosen.append({
                "name": option.names[style % len(option.names)],
                "role": f"option {option.effect}", "column": option.column,
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
        """Tools that no hop needs: siblings first, then others about the same things, then others nearby."""
        makers = [self._decoy, self._decoy, self._near, self._decoy, self._other, self._near]
        for place in range(count * 8):
            while self._siblings and count > 0:
                facts = self._siblings.pop()
                facts.pop("wanted", None)
                self._add(facts)
                count -= 1
            if count <= 0:
                return
            made = makers[place % len(makers)]()
            if made is not None:
                self._add(made)
                count -= 1

    def _decoy(self) -> JSONObject | None:
        """Other fields of a thing that is asked about; now and then its list."""
        return self._about(self._one(self._asked))

    def _near(self) -> JSONObject | None:
        """A tool about things that the asked ones lead to."""
        targets = [fact.target for kind in self._asked for fact in facts_of(kind, self._among) if fact.target]
        return self._about(self._one(targets)) if targets else self._decoy()

    def _other(self) -> JSONObject | None:
        """A tool about anything: of references, a computation, a look-up."""
        draw = self._random.random()
        if self._levels.identifiers and draw < 0.3:
            return self._references()
        if self._levels.generalise and not self.writer.terse and draw < 0.5:
            used = {document.facts.get("operation") for document in self.documents}
            return self.writer.operation({"operation": self._one([name for name in OPERATIONS if name not in used])})
        kinds = [kind for kind in self._among or tuple(ENTITY_KINDS) if kind not in self._asked]
        return self._about(self._one(kinds)) if kinds else self._decoy()

    def _references(self) -> JSONObject | None:
        """A tool of references, of classes that no other one has."""
        do = self._one(("find", "map"))
        known = {kind for document in self.documents for kind in document.facts.get("classes", ())}
        kinds = [kind for kind in ENTITY_KINDS if kind not in known and kind not in self._asked]
        self._random.shuffle(kinds)
        schemes = [0, 2] if do == "map" else [0, 1]
        return self.writer.finder(kinds[: CLASSES[self._levels.generalise]], schemes, do)

    def _about(self, kind: str) -> JSONObject | None:
        taken = {document.name for document in self.documents}
        if self._levels.lists and ENTITY_KINDS[kind].lists and self._random.random() < 0.2:
            name = f"{kind}.{self._one(ENTITY_KINDS[kind].lists).key}"
            used = {document.facts.get("list") for document in self.documents} | self._listed
            return None if name in used else self.writer.lister(name)
        if not self.writer.terse and all(name in taken for name in ENTITY_KINDS[kind].tools):
            return None
        if len(self._left(kind)) < 2:
            return None
        facts = self.writer.look(kind, [])
        self._complete(facts, [])
        return facts if facts["fields"] else None


def _sort(field: str) -> str:
    """Which options a field may have: those of yearly figures, those of plain values, or none ("thing", "lure")."""
    held = field_of(field)
    if is_yearly(field):
        return "yearly"
    return "plain" if held.value is not None else "thing"


def _is_decimal(field: str) -> bool:
    value = field_of(field).value
    return value is not None and value.type == "decimal"


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
