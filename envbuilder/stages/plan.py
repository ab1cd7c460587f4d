"""What a scenario asks, before there is a world: chains through the graph of kinds, and how their ends are combined.

A chain of so many hops has links (facts that lead from thing to thing), an end (a value, a thing or a list), and
look-ups where a tool wants an identifier that the chain has not seen yet. How many of each is drawn; that no tool gives
a shortcut is seen to here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import TypeVar

from envbuilder.spec import MAX_LEVEL, Levels, Spec, pick_weighted
from envbuilder.worlds.catalogue import ENTITY_KINDS, facts_of
from envbuilder.worlds.operations import UNITS
from envbuilder.worlds.schema import Fact, Listing

T = TypeVar("T")
MANY = 300
FEW = 40
MOST_LINKS = 4
"""A question names at most so many links of one chain; longer ones are longer by look-ups and pages."""
PAGES = (0, 1, 2, 3)
"""By level of lists: pages of a list at most."""
LISTED = (0.0, 0.25, 0.45, 0.8)
"""By level of lists: share of chains that may end in a list and do."""
IN_HEAD = (0.0, 0.2, 0.35, 0.6)
"""By level of lists: share of the operations that are left to the reader."""
HUBS = ("town", "firm", "bank", "engineer")
"""Kinds that so many facts lead to that every chain would pass through them."""
NUMBER_OPERATIONS = ("sum", "difference", "average", "share")
IN_THE_HEAD = ("sum in the head", "difference in the head")


@dataclass(frozen=True, slots=True)
class Walk:
    """A chain: where it starts, its links, the fact at its end or a list of so many pages there.

    `look_ups` says for every thing on the way, the last one included, how many look-ups its identifier takes.
    """

    kind: str
    links: tuple[Fact, ...]
    end: Fact | Listing
    pages: int
    look_ups: tuple[int, ...]

    @property
    def kinds(self) -> tuple[str, ...]:
        return (self.kind, *(link.target or "" for link in self.links))

    @property
    def facts(self) -> tuple[Fact, ...]:
        return (*self.links, self.end) if isinstance(self.end, Fact) else self.links


@dataclass(frozen=True, slots=True)
class ScenarioPlan:
    """What is asked: chains, and how their ends become one answer ("end": the end of the only chain)."""

    walks: tuple[Walk, ...]
    combine: str = "end"

    @property
    def looked_up(self) -> frozenset[str]:
        """Kinds whose tools want identifiers that have to be looked up."""
        return frozenset(
            kind for walk in self.walks for kind, count in zip(walk.kinds, walk.look_ups, strict=True) if count
        )


def draw_plan(random: Random, spec: Spec) -> ScenarioPlan:
    """A plan for a spec. Raises LookupError where so many draws gave none without a shortcut."""
    planner = _Planner(random, spec.size.kinds, spec.effective_levels)
    for _ in range(MANY):
        with suppress(LookupError):  # no path ends as wanted
            plan = planner.plan(spec)
            if is_sound(plan):
                return plan
    raise LookupError(f"no plan fits {spec}")


def has_plan(spec: Spec) -> bool:
    """Whether some plan fits a spec, as far as a few draws tell: where kinds are few, no path may be long enough."""
    planner = _Planner(Random(spec.seed_text), spec.size.kinds, spec.effective_levels)
    for _ in range(FEW):
        with suppress(LookupError):
            if is_sound(planner.plan(spec)):
                return True
    return False


def is_sound(plan: ScenarioPlan) -> bool:
    """Whether every thing has a place of its own: no kind twice in a chain, and in several chains only at their ends or
    their starts; and a kind is looked up everywhere or nowhere."""
    if any(len(set(walk.kinds)) < len(walk.kinds) for walk in plan.walks):
        return False
    seen: dict[str, set[bool]] = {}
    for walk in plan.walks:
        for kind, count in zip(walk.kinds, walk.look_ups, strict=True):
            seen.setdefault(kind, set()).add(bool(count))
    if any(len(looked_up) > 1 for looked_up in seen.values()):
        return False
    inner = Counter(fact.id for walk in plan.walks for fact in walk.links)
    ends = {walk.end.id for walk in plan.walks if isinstance(walk.end, Fact)}
    return all(count == 1 for count in inner.values()) and inner.keys().isdisjoint(ends)


class _Planner:
    """Draws plans. `among`: the kinds that they may be about; none named means all."""

    def __init__(self, random: Random, among: tuple[str, ...], levels: Levels) -> None:
        self._random = random
        self._among = among
        self._kinds = among or tuple(ENTITY_KINDS)
        self._levels = levels
        self._depth = 1
        self._listed = frozenset(kind for kind in self._kinds if ENTITY_KINDS[kind].lists)

    def plan(self, spec: Spec) -> ScenarioPlan:
        hops = pick_weighted(spec.size.hops[spec.kind], spec.spread_draw("hops"))
        self._depth = 1 + int(self._levels.identifiers == MAX_LEVEL and self._random.random() < 0.5)
        match spec.kind:
            case "single_hop":
                return ScenarioPlan((self._single((), _anything, listed=True),))
            case "parallel_single_hop":
                return self._parallel(hops)
            case "multi_hop":
                if hops > 2 and self._levels.units and self._random.random() < 0.2:
                    walk = self._walk(hops - 1, (), _convertible)
                    assert isinstance(walk.end, Fact)
                    return ScenarioPlan((walk,), "exchange" if _unit(walk.end) == "florins" else "convert")
                return ScenarioPlan((self._walk(hops, (), _anything, listed=True),))
            case _:
                return self._parallel_chains(hops)

    def _parallel(self, hops: int) -> ScenarioPlan:
        """Independent hops: `hops` of them, or one less and a closing operation."""
        if hops == 2 and self._random.random() < 0.6 * (1 - LISTED[self._levels.lists] / 2):
            walk = self._single((), _comparable)
            assert isinstance(walk.end, Fact)
            counted = walk.end.value
            arithmetic = IN_THE_HEAD if counted and counted.is_number else ()
            return ScenarioPlan((walk, walk), self._one(("choice", *arithmetic)))
        if hops == 3 and self._random.random() < 0.5 * (1 - LISTED[self._levels.lists] / 2):
            first = self._single((), _computable)
            return ScenarioPlan((first, first), self._operation(first))
        kinds: set[str] = set()
        walks: list[Walk] = []
        for _ in range(hops):
            walks.append(self._single(kinds, _anything, listed=True))
            kinds.add(walks[-1].kind)
        return ScenarioPlan(tuple(walks), "both")

    def _parallel_chains(self, hops: int) -> ScenarioPlan:
        """Two or three chains; the ends are compared, listed, or closed by an operation that is a hop itself."""
        ended = LISTED[self._levels.lists] / 2
        closed = self._random.random() < (0.5 if hops == 3 else 0.85 if hops % 2 else 0.55) - ended / 2
        closing = closed and self._random.random() >= IN_HEAD[self._levels.lists]
        left = hops - closing
        count = 3 if left >= 6 and left % 3 == 0 and self._random.random() < 0.35 else 2
        lengths = [left // count + (place < left % count) for place in range(count)]
        last = (_computable if count == 2 else _numeric) if closed else _anything
        if not closed and count == 2 and self._random.random() < 0.5 * (1 - LISTED[self._levels.lists]):
            last = _comparable
        first = self._walk(lengths[0], (), last, listed=last is _anything)
        same = last is _comparable
        walks, used = [first], set(first.kinds)
        for length in lengths[1:]:
            if same:
                walks.append(self._walk(length, used, lambda fact: fact is first.end))
            elif closed:
                walks.append(self._walk(length, used, _matching(first.end)))
            else:
                walks.append(self._walk(length, used, _anything, listed=True))
            used |= {*walks[-1].kinds}
        combine = self._operation(first, count) if closed else "choice" if same else "both"
        return ScenarioPlan(tuple(walks), combine if closing or not closed else f"{combine} in the head")

    def _operation(self, walk: Walk, count: int = 2) -> str:
        if count > 2:
            return self._one(("sum", "average"))
        assert isinstance(walk.end, Fact) and walk.end.value is not None
        return "days" if walk.end.value.type == "date" else self._one(NUMBER_OPERATIONS)

    # --- one chain -----------------------------------------------------------------------------------------------

    def _single(self, avoid: Collection[str], last: Callable[[Fact], bool], listed: bool = False) -> Walk:
        """A chain of one hop, without look-ups."""
        for _ in range(MANY):
            kind = self._one([kind for kind in self._kinds if kind not in avoid])
            if listed and self._random.random() < LISTED[self._levels.lists] and ENTITY_KINDS[kind].lists:
                return Walk(kind, (), self._one(ENTITY_KINDS[kind].lists), 1, (0,))
            if found := self._ends(kind, last):
                return Walk(kind, (), self._one(found), 0, (0,))
        raise LookupError("no kind has such a fact")

    def _walk(self, hops: int, avoid: Collection[str], last: Callable[[Fact], bool], listed: bool = False) -> Walk:
        """A chain of so many hops, through new kinds where possible, whose end is accepted."""
        accepting = frozenset(kind for kind in self._kinds if any(map(last, facts_of(kind, self._among))))
        for _ in range(MANY):
            pages = self._pages(hops) if listed else 0
            facts, look_ups = self._shares(hops - pages, pages > 0)
            ends = self._listed if pages else accepting
            path = self._path(facts if pages else facts - 1, avoid, ends)
            if path is not None:
                kind, links = path
                at = links[-1].target or "" if links else kind
                end = self._one(ENTITY_KINDS[at].lists) if pages else self._one(self._ends(at, last))
                passed = {kind, *(link.target for link in links)}  # "where does the head of that school teach?"
                if end not in links and (isinstance(end, Listing) or end.target not in passed):
                    return Walk(kind, links, end, pages, look_ups)
        raise LookupError(f"no path of {hops} hops ends as wanted")

    def _pages(self, hops: int) -> int:
        most = min(PAGES[self._levels.lists], hops - 1)
        if most < 1 or self._random.random() >= LISTED[self._levels.lists]:
            return 0
        return 1 + int(self._random.random() * most)

    def _shares(self, hops: int, listed: bool) -> tuple[int, tuple[int, ...]]:
        """How many facts are asked in so many hops, and the look-ups of each thing on the way."""
        depth = self._depth if self._levels.identifiers else 0
        fewest = 0 if listed else 1
        options = [
            facts
            for facts in range(fewest, min(hops, MOST_LINKS + 1) + 1)
            if facts == hops or (depth and (hops - facts) % depth == 0 and hops - facts <= depth * (facts + listed))
        ] or [hops]
        facts = self._one(options[:3])
        look_ups = [0] * (facts + listed)
        for _ in range((hops - facts) // depth if depth else 0):
            free = [place for place, count in enumerate(look_ups) if not count]
            look_ups[0 if not look_ups[0] and self._random.random() < 0.5 else self._one(free)] = depth
        return facts, tuple(look_ups)

    def _path(self, links: int, avoid: Collection[str], ends: frozenset[str]) -> tuple[str, tuple[Fact, ...]] | None:
        starts = _reaching(self._kinds, ends, links)
        starts = tuple(kind for kind in starts if kind not in avoid) or starts
        if not starts:
            return None
        start = kind = self._one(starts)
        seen, path = {start, *avoid}, list[Fact]()
        for left in range(links - 1, -1, -1):
            towards = _reaching(self._kinds, ends, left)
            onward = [
                fact for fact in facts_of(kind, self._among) if fact.target in towards and fact.target not in seen
            ]
            onward = [fact for fact in onward if fact.target not in HUBS or self._random.random() < 0.4] or onward
            if not onward:
                return None
            path.append(self._one(onward))
            kind = path[-1].target or ""
            seen.add(kind)
        return start, tuple(path)

    def _ends(self, kind: str, last: Callable[[Fact], bool]) -> list[Fact]:
        """The facts that a chain may end in: yearly figures and other values rather than things."""
        found = [fact for fact in facts_of(kind, self._among) if last(fact)]
        values = [fact for fact in found if fact.target is None]
        return values if values and self._random.random() < 0.85 else found

    def _one(self, options: Sequence[T]) -> T:
        return options[int(self._random.random() * len(options))]


@lru_cache(maxsize=1024)
def _reaching(kinds: tuple[str, ...], ends: frozenset[str], steps: int) -> tuple[str, ...]:
    """The kinds from which some path of so many links leads to one of `ends`, in a fixed order."""
    if steps == 0:
        return tuple(kind for kind in kinds if kind in ends)
    onward = set(_reaching(kinds, ends, steps - 1))
    return tuple(kind for kind in kinds if any(fact.target in onward for fact in facts_of(kind, kinds)))


def _matching(end: Fact | Listing) -> Callable[[Fact], bool]:
    """What an end can be computed with: the same fact of another thing; a date with any date."""
    if _sort(end) == ("date", ""):
        return lambda fact: _sort(fact) == ("date", "")
    return lambda fact: fact is end


def _sort(end: Fact | Listing) -> tuple[str, str] | None:
    """What can be computed with what: dates with dates, numbers of one unit with each other."""
    value = end.value if isinstance(end, Fact) else None
    if value is None or not (value.is_number or value.type == "date"):
        return None
    assert isinstance(end, Fact)
    return ("date", "") if value.type == "date" else ("number", value.unit or end.id)


def _anything(fact: Fact) -> bool:
    return True


def _comparable(fact: Fact) -> bool:
    return len(fact.compare) == 2


def _computable(fact: Fact) -> bool:
    return fact.value is not None and (fact.value.is_number or fact.value.type == "date")


def _numeric(fact: Fact) -> bool:
    return fact.is_number


def _convertible(fact: Fact) -> bool:
    return fact.is_number and (_unit(fact) in UNITS or _unit(fact) == "florins")


def _unit(fact: Fact) -> str:
    return fact.value.unit if fact.value else ""


def iter_kinds(plan: ScenarioPlan) -> Iterator[str]:
    """The kinds of all things of a plan, each once, in order."""
    yield from dict.fromkeys(kind for walk in plan.walks for kind in walk.kinds)
