"""What five twins are about: one thing, two questions about it, and two other pairs of facts in the same form.

A pair is a fact that leads to another thing and one that is a value. A kind of things has three of each, so there are
three pairs, and which of them is asked is drawn: `asked`, `spare` and `told` could change places in every text but the
question. So only the question together with note and tools says which twin it is, and these speak different languages:
nothing that is asked of a kind shares a stem with what is filed of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product
from random import Random
from typing import TypeVar

from envbuilder.records import Hop, JSONObject, Scenario
from envbuilder.spec import Spec
from envbuilder.stages.scenario import BY_NUMBER, OPTIONS, answer_of
from envbuilder.stages.wording import Chain, Link, Wording
from envbuilder.worlds.axes import AXES, axes_for
from envbuilder.worlds.catalogue import ENTITY_KINDS, FACTS
from envbuilder.worlds.schema import EntityKind, Fact
from envbuilder.worlds.tables import World, variant_of
from envbuilder.worlds.vocabulary import content_words, shared_stems

HEADINGS = ("On file for {}", "Copied out for {}", "From the entry on {}", "Written down about {}", "Noted down for {}")
"""How a paragraph of a note begins."""
SUPERSEDED = "superseded"
"""The variant of a value that does not hold; no tool has it."""
STRUCK = "entered in error"
"""What a note says of such a value."""
OTHERS_NUMBERED = 0.6
"""Share of other kinds whose tools take references, where any do."""
Pair = tuple[str, str]
"""Ids of two facts."""
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays what. `thing` is asked about; `axes`: which state of values is meant; `order`: of all six facts in a
    note."""

    thing: str
    asked: Pair
    spare: Pair
    told: Pair
    axes: dict[str, int]
    order: tuple[str, ...]
    heading: str


def cast_of(scenario: Scenario) -> Cast:
    """The cast that `draw_scenario` put into a scenario's facts."""
    kept = scenario.facts["cast"]
    return Cast(**{**kept, **{name: tuple(kept[name]) for name in ("asked", "spare", "told", "order")}})


def draw_scenario(spec: Spec) -> Scenario:
    """The question of a world and its two sub-answers. Raises LookupError where the world is too small for them."""
    random = Random(f"{spec.seed_text}|scenario")
    levels = spec.effective_levels
    kind = _one(random, kinds_of_twins(spec.size.kinds))
    numbered = _numbered(random, spec, kind)
    world = World.empty(random, random.randint(*spec.size.rows), spec.split if spec.names == "disjoint" else None)
    asked, spare, told = _pairs(random, kind)
    axes = _axes(random, OPTIONS[levels.options], asked)
    thing = world.new_thing(kind.id)
    order = [*asked, *spare, *told]
    random.shuffle(order)
    cast = Cast(thing, asked, spare, told, axes, tuple(order), _one(random, HEADINGS))
    wording = Wording(random, spec.size.terse)
    links = [Link(fact, None, _said(random, fact, axes)) for fact in map(FACTS.__getitem__, asked)]
    steps, hops = zip(*(_hop(world, wording, thing, link, axes) for link in links), strict=True)
    _fill(world, cast)
    ref = _one(random, kind.refs[:1] if spec.size.terse else kind.refs).replace("{}", world.things[thing]["name"])
    if kind.id in numbered:
        ref += f" ({world.things[thing]['ids'][0]})"
    question = wording.both([Chain(kind.id, ref, (), link) for link in links])
    facts: JSONObject = {
        "source": spec.seed_text,
        "terse": spec.size.terse,
        "numbered": numbered,
        "given": [kind.id] if kind.id in numbered else [],
        "steps": list(steps),
        "reserved": [*spare, *told],
        "cast": asdict(cast),
        "world": world.to_facts(),
    }
    answer = ", ".join(hop.answer for hop in hops)
    return Scenario(spec.world, spec.world, spec.kind, question, answer, hops, facts)


def _one(random: Random, options: Sequence[T]) -> T:
    return options[int(random.random() * len(options))]


@cache
def kinds_of_twins(among: tuple[str, ...]) -> tuple[EntityKind, ...]:
    """The kinds that can be asked about: no words of a question occur in what is filed of any fact."""
    return tuple(kind for kind in ENTITY_KINDS.values() if (not among or kind.id in among) and not _gives_away(kind))


def _gives_away(kind: EntityKind) -> bool:
    facts = [fact for fact in kind.facts if not fact.yearly]
    said = content_words(*(text for fact in facts for text in (*fact.asks, *fact.phrases)))
    return bool(shared_stems(said, content_words(*(text for fact in facts for text in (fact.key, fact.filed)))))


def _numbered(random: Random, spec: Spec, kind: EntityKind) -> list[str]:
    """The kinds whose tools take references."""
    level = spec.effective_levels.identifiers
    share = {kind.id: BY_NUMBER[level]}
    return [one for one in ENTITY_KINDS if level and random.random() < share.get(one, OTHERS_NUMBERED)]


def _pairs(random: Random, kind: EntityKind) -> list[Pair]:
    """Three pairs of facts, all in the same order."""
    things = [fact.id for fact in kind.facts if fact.target]
    values = [fact.id for fact in kind.facts if not fact.target and not fact.yearly]
    random.shuffle(things)
    random.shuffle(values)
    columns = (things, values) if random.random() < 0.5 else (values, things)
    return list(zip(*columns, strict=True))


def _axes(random: Random, most: int, pair: Pair) -> dict[str, int]:
    """Which state of the value is asked for, the same for every value of the kind."""
    axes = [axis for fact in pair for axis in axes_for(FACTS[fact])]
    random.shuffle(axes)
    return {axis.id: int(random.random() * len(axis.values)) for axis in axes[:most]}


def _said(random: Random, fact: Fact, axes: dict[str, int]) -> tuple[str, ...]:
    if fact.target:
        return ()
    return tuple(_one(random, AXES[axis].values[place].said) for axis, place in axes.items())


def _hop(world: World, wording: Wording, thing: str, link: Link, axes: dict[str, int]) -> tuple[JSONObject, Hop]:
    """A step, as the later stages know it, and its question; the answer is fixed here."""
    fact = link.fact
    chosen = {} if fact.target else axes
    value = world.fix_value(thing, fact, variant_of(None, chosen))
    step = {"do": "fact", "thing": thing, "fact": fact.id, "year": None, "axes": chosen, "value": value}
    question = wording.ask(link, world.things[thing]["name"])
    return step, Hop(question, told_value(world, thing, fact, axes))


def _fill(world: World, cast: Cast) -> None:
    """Every value that a twin may tell, so that all five tell the same."""
    sizes = [range(len(AXES[axis].values)) for axis in cast.axes]
    states = [dict(zip(cast.axes, places, strict=True)) for places in product(*sizes)]
    for fact in map(FACTS.__getitem__, cast.order):
        for thing in world.pool(fact.kind):
            for state in states:
                told_value(world, thing, fact, state)
        told_value(world, cast.thing, fact, None)


def told_value(world: World, thing: str, fact: Fact, axes: dict[str, int] | None) -> str:
    """What the world says of a thing, as a tool would write it; without `axes`, what was said of it once."""
    variant = SUPERSEDED if axes is None else variant_of(None, {} if fact.target else axes)
    value = world.value(thing, fact, variant)
    return str(world.things[value]["name"]) if fact.target else answer_of(fact, value)
