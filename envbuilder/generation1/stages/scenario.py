"""Stage 1, scenario decomposition: a question of one of the four kinds, with its sub-questions and sub-answers.

What: chains of relations are walked through the graph of kinds; every step's answer is fixed in a new world. Ends of
parallel chains are combined by a closing operation, a tool of its own, or by the reader: a list or a choice, which is
the final answer and never a sub-answer.
Why: each hop's subject is an answer of the hop before, so the order of the calls is enforced by the facts themselves.
Left out: tables of other things, which later stages fill in.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import TypeVar

from envbuilder.generation1.stages.wording import Chain, Link, Wording, format_answer
from envbuilder.generation1.worlds.catalogue import ENTITY_KINDS, relations_of_kind, years_of
from envbuilder.generation1.worlds.operations import CURRENCIES, OPERATIONS, UNITS
from envbuilder.generation1.worlds.schema import Relation
from envbuilder.generation1.worlds.tables import World, pair_key, tokens_of
from envbuilder.records import Hop, JSONObject, Scenario
from envbuilder.spec import Spec, pick_weighted

T = TypeVar("T")
MANY = 1000
SHORTEST = 3
"""Characters; a shorter result of an operation is too easy to come by."""
HUBS = ("town", "company", "person", "university", "engineer", "bank")
"""Kinds that so many relations lead to that every chain would pass through them."""

DATE_OPERATIONS = ("days_between", "days_between", "weekdays_between", "months_between")
NUMBER_OPERATIONS = ("sum", "difference", "average", "share")


@dataclass(frozen=True, slots=True)
class Walk:
    """A path through the graph of kinds: where it starts, and its relations."""

    kind: str
    relations: tuple[Relation, ...]


@dataclass(frozen=True, slots=True)
class ScenarioPlan:
    """What is asked: chains, and how their ends become one answer ("end": the end of the only chain)."""

    walks: tuple[Walk, ...]
    combine: str = "end"


def decompose_scenario(spec: Spec) -> Scenario:
    """The scenario of a spec. Raises LookupError where so many draws gave none."""
    random = Random(f"{spec.seed_text}|scenario")
    planner = _Planner(random, spec.size.kinds)
    for _ in range(MANY):
        with suppress(LookupError):  # no path ends as wanted, or a world is too small for so many different answers
            plan = planner.plan(spec)
            if not _has_shortcut(plan):
                return _play(random, spec, plan)
    raise LookupError(f"no scenario fits {spec}")


def _play(random: Random, spec: Spec, plan: ScenarioPlan) -> Scenario:
    rows = random.randint(*spec.size.rows)
    split = spec.split if spec.names == "disjoint" else None
    empty: JSONObject = {"rows": rows, "split": split, "short": spec.size.terse, "pools": {}, "values": {}, "fixed": []}
    world = World(random, empty)
    return _Play(random, world, Wording(random, spec.size.terse, world.invent)).scenario(spec, plan)


# --- the plan ----------------------------------------------------------------------------------------------------


def _has_shortcut(plan: ScenarioPlan) -> bool:
    """Whether some tool, once its hops are merged, could only offer entries that continue a chain inside it."""
    relations: dict[tuple[str, str | None], set[str]] = {}
    continuing: dict[tuple[str, str | None], set[str]] = {}
    for walk in plan.walks:
        kind, before = walk.kind, None
        for relation in walk.relations:
            tool = (kind, relation.also)
            relations.setdefault(tool, set()).add(relation.id)
            if tool == before:
                continuing.setdefault(tool, set()).add(relation.id)
            kind, before = relation.target or "", tool
    return any(found >= relations[tool] for tool, found in continuing.items())


class _Planner:
    """Draws plans. `among`: the kinds that they may be about; none named means all."""

    def __init__(self, random: Random, among: tuple[str, ...]) -> None:
        self._random = random
        self._among = among
        self._kinds = among or tuple(ENTITY_KINDS)

    def plan(self, spec: Spec) -> ScenarioPlan:
        hops = pick_weighted(spec.size.hops[spec.kind], spec.spread_draw("hops"))
        match spec.kind:
            case "single_hop":
                return ScenarioPlan((self._walk(1, (), _anything),))
            case "parallel_single_hop":
                return self._parallel(hops)
            case "multi_hop":
                closing = hops > 2 and self._random.random() < 0.18
                if not closing:
                    return ScenarioPlan((self._walk(hops, (), _anything),))
                walk = self._walk(hops - 1, (), _convertible)
                return ScenarioPlan((walk,), "exchange" if _unit(walk.relations[-1]) == "florins" else "convert")
            case _:
                return self._parallel_chains(hops)

    def _parallel(self, hops: int) -> ScenarioPlan:
        """Independent hops: `hops` of them, or one less and a closing operation."""
        if hops == 2 and self._random.random() < 0.6:
            walk = self._walk(1, (), _comparable)
            counted = walk.relations[0].value
            arithmetic = ("sum in the head", "difference in the head") if counted and counted.type == "integer" else ()
            return ScenarioPlan((walk, walk), self._random.choice(("choice", *arithmetic)))
        if hops == 3 and self._random.random() < 0.5:
            first = self._walk(1, (), _computable)
            return ScenarioPlan((first, self._matching(1, first)), self._operation(first))
        kinds: set[str] = set()
        walks: list[Walk] = []
        for _ in range(hops):
            walks.append(self._walk(1, kinds, _anything))
            kinds.add(walks[-1].kind)
        return ScenarioPlan(tuple(walks), "both")

    def _parallel_chains(self, hops: int) -> ScenarioPlan:
        """Two or three chains; the ends are compared, listed, or closed by an operation that is a hop itself."""
        closing = self._random.random() < (0.5 if hops == 3 else 0.9 if hops % 2 else 0.6)
        left = hops - closing
        count = 3 if left >= 6 and left % 3 == 0 and self._random.random() < 0.35 else 2
        lengths = [left // count + (place < left % count) for place in range(count)]
        if closing:
            first = self._walk(lengths[0], (), _computable if count == 2 else _numeric)
        else:
            first = self._walk(lengths[0], (), _comparable if self._random.random() < 0.5 else _anything)
        same = not closing and count == 2 and _comparable(first.relations[-1])
        walks = [first]
        used = _subjects(first)
        for length in lengths[1:]:
            walks.append(
                self._matching(length, first, used, same) if closing or same else self._walk(length, used, _anything)
            )
            used |= _subjects(walks[-1])
        combine = self._operation(first, count) if closing else "choice" if same else "both"
        return ScenarioPlan(tuple(walks), combine)

    def _operation(self, walk: Walk, count: int = 2) -> str:
        if count > 2:
            return self._random.choice(("sum", "average"))
        last = walk.relations[-1].value
        assert last is not None
        return self._random.choice(DATE_OPERATIONS if last.type == "date" else NUMBER_OPERATIONS)

    def _walk(self, hops: int, avoid: Collection[str], last: Callable[[Relation], bool]) -> Walk:
        """A path of `hops` different relations, through new kinds where possible, whose last one is accepted."""
        ends = frozenset(kind for kind in self._kinds if any(map(last, relations_of_kind(kind, self._among))))
        starts = _reaching(self._kinds, ends, hops - 1)
        starts = tuple(kind for kind in starts if kind not in avoid) or starts
        for _ in range(MANY):
            walk = self._try_walk(self._one(starts), hops, avoid, last, ends)
            if walk is not None:
                return walk
        raise LookupError(f"no path of {hops} hops ends as wanted")

    def _try_walk(
        self,
        start: str,
        hops: int,
        avoid: Collection[str],
        last: Callable[[Relation], bool],
        ends: frozenset[str],
    ) -> Walk | None:
        kind, seen, path = start, {start, *avoid}, list[Relation]()
        for left in range(hops - 2, -1, -1):
            towards = _reaching(self._kinds, ends, left)
            onward = [
                relation
                for relation in relations_of_kind(kind, self._among)
                if relation.target in towards and relation not in path
            ]
            onward = [relation for relation in onward if relation.target not in seen] or onward
            if not onward:
                return None
            onward = [
                relation for relation in onward if relation.target not in HUBS or self._random.random() < 0.3
            ] or onward
            own = [relation for relation in onward if relation.kind == kind]
            path.append(self._one(own if own and self._random.random() < 0.8 else onward))
            kind = path[-1].target or ""
            seen.add(kind)
        found = [
            relation for relation in relations_of_kind(kind, self._among) if last(relation) and relation not in path
        ]
        values = [relation for relation in found if relation.target is None]
        own = [relation for relation in values if relation.kind == kind] or values
        chosen = own if own and self._random.random() < 0.8 else found
        return Walk(start, (*path, self._one(chosen))) if chosen else None

    def _matching(self, hops: int, first: Walk, avoid: Collection[str] = (), same: bool = False) -> Walk:
        """A walk whose end can be combined with the end of `first`: the same relation, or one of the same sort."""
        end = first.relations[-1]
        if hops == 1 and (same or self._random.random() < 0.6):
            return Walk(end.kind if len(first.relations) > 1 else first.kind, (end,))
        if same:
            return self._walk_to(hops, end)
        return self._walk(hops, avoid, lambda relation: _sort(relation) == _sort(end))

    def _walk_to(self, hops: int, end: Relation) -> Walk:
        return self._walk(hops, (), lambda relation: relation is end)

    def _one(self, options: Sequence[T]) -> T:
        return options[int(self._random.random() * len(options))]


def _subjects(walk: Walk) -> set[str]:
    return {walk.kind, *(relation.target for relation in walk.relations[:-1] if relation.target)}


@lru_cache(maxsize=1024)
def _reaching(kinds: tuple[str, ...], ends: frozenset[str], steps: int) -> tuple[str, ...]:
    """The kinds from which some path of so many steps leads to one of `ends`, in a fixed order."""
    if steps == 0:
        return tuple(kind for kind in kinds if kind in ends)
    onward = set(_reaching(kinds, ends, steps - 1))
    return tuple(
        kind for kind in kinds if any(relation.target in onward for relation in relations_of_kind(kind, kinds))
    )


def _sort(relation: Relation) -> tuple[str, str] | None:
    """What can be computed with what: dates with dates, numbers of one unit with each other."""
    value = relation.value
    if value is None or not (value.is_number or value.type == "date"):
        return None
    return ("date", "") if value.type == "date" else ("number", value.unit or relation.id)


def _anything(relation: Relation) -> bool:
    return True


def _comparable(relation: Relation) -> bool:
    return relation.value is not None and (relation.value.is_number or relation.value.type in ("date", "year"))


def _computable(relation: Relation) -> bool:
    return relation.value is not None and (relation.value.is_number or relation.value.type == "date")


def _numeric(relation: Relation) -> bool:
    return relation.is_number


def _convertible(relation: Relation) -> bool:
    return relation.is_number and (_unit(relation) in UNITS or _unit(relation) == "florins")


def _unit(relation: Relation) -> str:
    return relation.value.unit if relation.value else ""


# --- the facts, and their question -------------------------------------------------------------------------------


class _Play:
    """Plays a plan in a new world: steps with their values, and the words for them."""

    def __init__(self, random: Random, world: World, wording: Wording) -> None:
        self._random = random
        self._world = world
        self._wording = wording
        self._steps: list[JSONObject] = []
        self._hops: list[Hop] = []

    def scenario(self, spec: Spec, plan: ScenarioPlan) -> Scenario:
        chains = self._chains(plan)
        question, answer = self._closing(plan, chains)
        facts = {
            "source": spec.seed_text,
            "terse": spec.size.terse,
            "steps": self._steps,
            "world": self._world.to_facts(),
        }
        return Scenario(spec.world, spec.world, spec.kind, question, answer, tuple(self._hops), facts)

    def _chains(self, plan: ScenarioPlan) -> list[Chain]:
        """All chains, played; parallel walks over the same relation share its second key where that is a year."""
        years: dict[str, int] = {}
        return [self._chain(walk, years) for walk in plan.walks]

    def _chain(self, walk: Walk, years: dict[str, int]) -> Chain:
        name = first = self._world.new_name(walk.kind)
        kind, links, before = walk.kind, list[Link](), tuple[int, ...]()
        for relation in walk.relations:
            link = Link(relation, self._second(relation, years))
            value = self._world.fix_answer(pair_key(name, link.also), relation)
            self._steps.append({"relation": relation.id, "kind": kind, "name": name, "also": link.also, "value": value})
            dated = relation.value is not None and relation.value.type == "year"
            answer = str(value) if dated else format_answer(value)
            self._hops.append(Hop(self._wording.ask(link, name), answer, before))
            before = (len(self._hops) - 1,)
            links.append(link)
            if relation.target:
                kind, name = relation.target, value
        return Chain(walk.kind, first, tuple(links))

    def _second(self, relation: Relation, years: dict[str, int]) -> str | int | None:
        if relation.also is None:
            return None
        if relation.also != "year":
            return self._world.new_name(relation.also)
        if relation.id not in years:
            years[relation.id] = self._random.randint(*years_of(relation.kind))
            self._world.reserve(years[relation.id])
        return years[relation.id]

    def _closing(self, plan: ScenarioPlan, chains: Sequence[Chain]) -> tuple[str, str]:
        """The question and its final answer."""
        if plan.combine == "end":
            return self._wording.chain_question(chains[0]), self._hops[-1].answer
        if plan.combine == "both":
            return self._wording.both(chains), ", ".join(self._hops[end].answer for end in self._ends(chains))
        if plan.combine == "choice":
            return self._choice(chains)
        if plan.combine in ("sum in the head", "difference in the head"):
            return self._arithmetic(chains, plan.combine.split()[0])
        return self._operation(plan.combine, chains)

    def _ends(self, chains: Sequence[Chain]) -> list[int]:
        ends, at = [], -1
        for chain in chains:
            at += len(chain.links)
            ends.append(at)
        return ends

    def _choice(self, chains: Sequence[Chain]) -> tuple[str, str]:
        ends = self._ends(chains)
        values = [self._steps[end]["value"] for end in ends]
        value = chains[0].links[-1].relation.value
        dated = value is not None and value.type in ("date", "year")
        most = self._random.random() < 0.5
        chosen = values.index(max(values) if most else min(values))
        more = ("later" if most else "earlier") if dated else ("larger" if most else "smaller")
        noun = ENTITY_KINDS[self._steps[ends[chosen]]["kind"]].noun
        return self._wording.comparison(chains, more, noun), self._steps[ends[chosen]]["name"]

    def _arithmetic(self, chains: Sequence[Chain], operation: str) -> tuple[str, str]:
        """A sum or a difference without a tool."""
        values = [self._steps[end]["value"] for end in self._ends(chains)]
        return self._wording.arithmetic(chains, operation), format_answer(OPERATIONS[operation].compute(*values))

    def _operation(self, operation: str, chains: Sequence[Chain]) -> tuple[str, str]:
        ends = self._ends(chains)
        values = [self._steps[end]["value"] for end in ends]
        step: JSONObject = {"operation": operation, "inputs": values, "extra": {}}
        unit = ""
        if operation in ("convert", "exchange"):
            unit, factor = self._factor(operation, chains[0].links[-1].relation, step)
            step["value"] = OPERATIONS[operation].compute(*values, factor)
        else:
            step["value"] = OPERATIONS[operation].compute(*values)
        extreme = operation == "share" and not 1 < step["value"] < 99
        if extreme or len(format_answer(step["value"])) < SHORTEST or self._world.is_fixed(tokens_of(step["value"])):
            raise LookupError("the result says too little, or is an answer already")
        self._steps.append(step)
        self._world.reserve(step["value"])
        answer = format_answer(step["value"])
        subject = OPERATIONS[operation].asks[0].format(*_pair([format_answer(value) for value in values]), unit=unit)
        self._hops.append(Hop(subject, answer, tuple(ends)))
        return self._wording.operation(operation, chains, unit), answer

    def _factor(self, operation: str, relation: Relation, step: JSONObject) -> tuple[str, float]:
        if operation == "convert":
            source, unit, factor = UNITS[_unit(relation)]
            step["extra"] = {"from_unit": source, "to_unit": unit}
            return unit, factor
        unit = self._random.choice(CURRENCIES)
        step["extra"] = {"currency": unit}
        step["rate"] = round(self._random.uniform(0.2, 4.9), 4)
        return unit, step["rate"]


def _pair(texts: Sequence[str]) -> Sequence[str]:
    return texts if len(texts) < 3 else (", ".join(texts[:2]), texts[2])
