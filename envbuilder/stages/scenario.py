"""Stage 1, scenario decomposition: a question of one of the four kinds, with its sub-questions and sub-answers.

What: a plan (plan.py) is played in a new world: every hop's answer is fixed there. Ends of parallel chains are combined
by a closing operation, a tool of its own, or by the reader: a list, a choice, a sum of rows, which is the final answer
and never a sub-answer.
Why: each hop needs what the hop before found, so the order of the calls is enforced by the facts themselves. What makes
a hop hard (a namesake, a year, the state of a figure) is decided here, because the question has to say it.
Left out: tables of other things, which later stages fill in.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Any

from envbuilder.records import Hop, JSONObject, Scenario
from envbuilder.spec import Spec
from envbuilder.stages.plan import ScenarioPlan, Walk, draw_plan, iter_kinds
from envbuilder.stages.wording import Chain, Link, ListEnd, Wording, format_answer
from envbuilder.worlds.axes import AXES, axes_for
from envbuilder.worlds.catalogue import ENTITY_KINDS, years_of
from envbuilder.worlds.operations import CURRENCIES, OPERATIONS, UNITS, round_figure
from envbuilder.worlds.schema import EntityKind, Fact, Listing
from envbuilder.worlds.tables import MIXED_UNITS, World, counted_rows, tokens_of, variant_of

MANY = 200
SHORTEST = 3
"""Characters; a shorter result of an operation is too easy to come by."""
NAMESAKES = (0.0, 0.0, 0.5, 0.7)
"""By level of identifiers: share of first things that have a namesake."""
BY_NUMBER = (0.0, 0.4, 0.75, 0.75)
"""By level of identifiers: share of kinds whose identifier is given, in the question or by the tool before."""
OPTIONS = (0, 1, 1, 2)
"""By level of options: axes that a figure has at most."""
PAGE = ((4, 5), (4, 5), (8, 11), (15, 20))
"""By level of lists: rows of a page."""
REVISED = (0.0, 0.0, 0.5, 0.8)
"""By level of lists: share of lists in which a row comes again with a higher rev."""
MIXED = (0.0, 0.0, 0.3, 0.6)
"""By level of lists and units: share of lists whose measures are written in two units."""
ASKS = (
    ("most",),
    ("most", "least", "count"),
    ("most", "least", "second", "count", "total", "total"),
    ("second", "count", "total", "total", "share", "share"),
)
"""By level of lists: what is asked of the rows with a mark."""


def decompose_scenario(spec: Spec) -> Scenario:
    """The scenario of a spec. Raises LookupError where so many draws gave none."""
    random = Random(f"{spec.seed_text}|scenario")
    for _ in range(MANY):
        with suppress(LookupError):  # a world may be too small for so many different answers
            plan = draw_plan(random, spec)
            split = spec.split if spec.names == "disjoint" else None
            world = World.empty(random, random.randint(*spec.size.rows), split)
            return _Play(random, spec, plan, world).scenario()
    raise LookupError(f"no scenario fits {spec}")


class _Play:
    """Plays a plan in a new world: steps with their values, and the words for them."""

    def __init__(self, random: Random, spec: Spec, plan: ScenarioPlan, world: World) -> None:
        self._random = random
        self._spec = spec
        self._plan = plan
        self._world = world
        self._levels = spec.effective_levels
        self._wording = Wording(random, spec.size.terse)
        self._steps: list[JSONObject] = []
        self._hops: list[Hop] = []
        share = BY_NUMBER[self._levels.identifiers]
        self._numbered = [kind for kind in iter_kinds(plan) if kind in plan.looked_up or random.random() < share]
        others = [kind for kind in ENTITY_KINDS if kind not in {*iter_kinds(plan)}]
        self._numbered += [kind for kind in others if spec.effective_levels.identifiers and random.random() < 0.6]
        self._given = [kind for kind in self._numbered if kind not in plan.looked_up and random.random() < 0.5]
        self._given += [kind for kind in iter_kinds(plan) if kind in self._numbered and kind not in plan.looked_up]
        self._years: dict[str, int] = {}
        self._options: dict[str, dict[str, int]] = {}
        self._words: dict[str, str] = {}

    def scenario(self) -> Scenario:
        played = [self._chain(walk) for walk in self._plan.walks]
        question, answer = self._closing(played)
        spec = self._spec
        facts = {
            "source": spec.seed_text,
            "terse": spec.size.terse,
            "several_answers": self._plan.combine == "both" and not spec.size.terse,
            "numbered": self._numbered,
            "given": sorted({*self._given}),
            "steps": self._steps,
            "world": self._world.to_facts(),
        }
        return Scenario(spec.world, spec.world, spec.kind, question, answer, tuple(self._hops), facts)

    def _one(self, options: Sequence[Any]) -> Any:
        return options[int(self._random.random() * len(options))]

    # --- chains --------------------------------------------------------------------------------------------------

    def _chain(self, walk: Walk) -> tuple[Chain, int, str]:
        """A chain for the question, the step at its end, and its own answer."""
        thing = self._world.new_thing(walk.kind)
        ref = self._reference(thing, bool(walk.look_ups[0]))
        before, links = self._looked_up(thing, walk.look_ups[0], ref, ()), list[Link]()
        for place, fact in enumerate(walk.links, 1):
            link = self._link(fact)
            target, before = self._fact(thing, link, before)
            links.append(link)
            thing = target
            if place < len(walk.look_ups):
                before = self._looked_up(thing, walk.look_ups[place], self._name(thing), before)
        if isinstance(walk.end, Listing):
            end, answer = self._list(thing, walk.end, walk.pages, before)
            return Chain(walk.kind, ref, tuple(links), end), len(self._steps) - 1, answer
        link = self._link(walk.end)
        self._fact(thing, link, before)
        return Chain(walk.kind, ref, tuple(links), link), len(self._steps) - 1, self._hops[-1].answer

    def _name(self, thing: str) -> str:
        return str(self._world.things[thing]["name"])

    def _kind(self, thing: str) -> EntityKind:
        return ENTITY_KINDS[self._world.things[thing]["kind"]]

    def _reference(self, thing: str, looked_up: bool) -> str:
        """How the question names its first thing: with what tells it from a namesake, or with its number."""
        kind = self._kind(thing)
        template = f"ref|{kind.id}"  # things of one kind are referred to alike
        if template not in self._words:
            self._words[template] = kind.refs[0] if self._spec.size.terse else self._one(kind.refs)
        ref = self._words[template].replace("{}", self._name(thing))
        if kind.id in self._numbered and not looked_up:
            return f"{ref} ({self._world.things[thing]['ids'][0]})"
        if looked_up and kind.traits and self._random.random() < NAMESAKES[self._levels.identifiers]:
            place = int(self._random.random() * len(kind.traits))
            other = self._world.new_thing(kind.id, self._name(thing))
            trait = self._world.trait(thing, place)
            self._world.trait(other, place)
            return f"{ref} (the one {kind.traits[place].said.replace('{}', trait)})"
        return ref

    def _looked_up(self, thing: str, count: int, ref: str, before: tuple[int, ...]) -> tuple[int, ...]:
        """The look-ups that lead to a thing's number, if any; what the next step depends on."""
        ids, kind = self._world.things[thing]["ids"], self._kind(thing)
        for number in range(count, 0, -1):
            given = self._name(thing) if number == count else ids[1]
            scheme = number - 1
            step = {"do": "find" if number == count else "map", "thing": thing, "given": given, "scheme": scheme}
            text = ref if number == count else f"the {kind.said[0]} with the reference {given}"
            question = f"Which reference is on file for {text}?"
            before = self._step({**step, "value": ids[scheme]}, question, ids[scheme], before)
        return before

    def _step(self, step: JSONObject, question: str, answer: str, before: tuple[int, ...]) -> tuple[int, ...]:
        self._steps.append(step)
        self._hops.append(Hop(question, answer, before))
        return (len(self._hops) - 1,)

    def _link(self, fact: Fact) -> Link:
        """A fact with its year and what is said of its options; the same for a fact that is asked twice."""
        if fact.yearly and fact.id not in self._years:
            self._years[fact.id] = self._random.randint(*years_of(fact.kind))
            self._world.reserve(self._years[fact.id])
            self._world.reserve(self._years[fact.id] + 1)
        year = self._years.get(fact.id)
        chosen = sorted(self._chosen(fact).items(), reverse=True)  # the state of a figure before the span it is for
        said = tuple(self._said(axis, place) for axis, place in chosen)
        if year is not None:
            said = tuple(text.replace("{year}", str(year)).replace("{next}", str(year + 1)) for text in said)
        return Link(fact, year, said)

    def _chosen(self, fact: Fact) -> dict[str, int]:
        """The values of a fact's axes, rarely the default ones; a kind's facts of one sort have the same axes."""
        sort = f"{fact.kind}|{fact.yearly}"
        if fact.target is not None:
            return {}
        if sort not in self._options:
            axes = list(axes_for(fact))
            self._random.shuffle(axes)
            most = min(OPTIONS[self._levels.options], len(axes))
            count = most if self._random.random() < 0.8 else max(0, most - 1)
            self._options[sort] = {axis.id: int(self._random.random() * len(axis.values)) for axis in axes[:count]}
        return self._options[sort]

    def _said(self, axis: str, place: int) -> str:
        key = f"said|{axis}|{place}"
        if key not in self._words:
            self._words[key] = self._one(AXES[axis].values[place].said)
        return self._words[key]

    def _fact(self, thing: str, link: Link, before: tuple[int, ...]) -> tuple[str, tuple[int, ...]]:
        """The step of a fact; the thing that it leads to (itself where it leads to a value), and its own place."""
        fact = link.fact
        chosen = self._chosen(fact)
        value = self._world.fix_value(thing, fact, variant_of(link.year, chosen))
        step = {"do": "fact", "thing": thing, "fact": fact.id, "year": link.year, "axes": chosen, "value": value}
        answer = self._name(value) if fact.target else answer_of(fact, value)
        question = self._wording.ask(link, self._name(thing))
        return (value if fact.target else thing), self._step(step, question, answer, before)

    # --- lists ---------------------------------------------------------------------------------------------------

    def _list(self, thing: str, listing: Listing, pages: int, before: tuple[int, ...]) -> tuple[ListEnd, str]:
        level, draw = self._levels.lists, self._random.random
        size = self._random.randint(*PAGE[level])
        count = size * pages - int(draw() * 2)
        revised = int(draw() < REVISED[level]) * (1 + int(draw() * count / 5))
        mixed = listing.measure.unit in MIXED_UNITS and draw() < MIXED[min(level, self._levels.units)]
        rows = self._world.make_rows(thing, listing, count, revised, mixed)
        cursors = [self._world.invent("{LL}{d3}{L}{d2}") for _ in range(pages - 1)]
        for page in range(pages):
            labels = [row["label"] for row in rows[page * size : (page + 1) * size]]
            step = {
                "do": "page", "thing": thing, "list": f"{listing.kind}.{listing.key}", "page": page, "size": size,
                "cursors": cursors, "revised": revised > 0, "mixed": mixed, "value": labels,
            }  # fmt: skip
            question = f"What is on page {page + 1} of the {listing.rows[0]} {listing.of[0]}?"
            before = self._step(step, question.replace("{}", self._name(thing)), format_answer(labels), before)
        return self._of_rows(listing, rows, pages)

    def _of_rows(self, listing: Listing, rows: Sequence[JSONObject], pages: int) -> tuple[ListEnd, str]:
        """What is asked of the rows, and the answer. Raises LookupError where no mark has rows enough."""
        counted = counted_rows(rows, listing.measure.unit)
        ask = self._one(ASKS[self._levels.lists])
        fewest = {"count": 3 if pages > 1 else 2, "most": 2, "least": 2}.get(ask, 3)
        marks = [mark for mark in listing.marks if sum(row["mark"] == mark.code for row in counted) >= fewest]
        if not marks:
            raise LookupError("no mark has rows enough")
        mark = self._one(marks)
        chosen = sorted((row for row in counted if row["mark"] == mark.code), key=lambda row: -row["measure"])
        return ListEnd(listing, ask, self._one(mark.said)), self._of_chosen(ask, chosen, counted)

    def _of_chosen(self, ask: str, chosen: Sequence[JSONObject], counted: Sequence[JSONObject]) -> str:
        """The answer to what is asked of the chosen rows. Raises LookupError where it is hard to round."""
        total = sum(row["measure"] for row in chosen)
        match ask:
            case "count":
                return str(len(chosen))
            case "total":
                return format_answer(round_figure(total))
            case "share":
                share = total / sum(row["measure"] for row in counted) * 100
                if abs(share * 100 % 1 - 0.5) < 0.02 or share > 99:
                    raise LookupError("a share that rounds either way, or everything")
                return format_answer(round_figure(share))
            case _:
                return str(chosen[{"most": 0, "second": 1, "least": -1}[ask]]["label"])

    # --- the question, and its answer ----------------------------------------------------------------------------

    def _closing(self, played: Sequence[tuple[Chain, int, str]]) -> tuple[str, str]:
        """The question and its final answer."""
        chains, ends = [chain for chain, _, _ in played], [end for _, end, _ in played]
        combine = self._plan.combine
        if combine == "end":
            return self._wording.chain_question(chains[0]), played[0][2]
        if combine == "both":
            return self._wording.both(chains), ", ".join(answer for _, _, answer in played)
        if combine == "choice":
            return self._choice(chains, ends)
        if combine.endswith("in the head"):
            return self._in_head(combine.split()[0], chains, ends)
        return self._operation(combine, chains, ends)

    def _in_head(self, operation: str, chains: Sequence[Chain], ends: Sequence[int]) -> tuple[str, str]:
        """A quantity that the reader works out. Raises LookupError where it says too little or is hard to round."""
        values = [self._steps[end]["value"] for end in ends]
        result = OPERATIONS[operation].compute(*values)
        rounded = operation in ("share", "average")
        if operation == "share" and (not 1 < result < 99 or abs(values[0] / values[1] * 10_000 % 1 - 0.5) < 0.02):
            raise LookupError("a share that says too little, or rounds either way")
        if len(format_answer(result)) < SHORTEST:
            raise LookupError("the result says too little")
        return self._wording.operation(operation, chains, rounded=rounded), format_answer(result)

    def _choice(self, chains: Sequence[Chain], ends: Sequence[int]) -> tuple[str, str]:
        end = chains[0].end
        assert isinstance(end, Link)
        values = [self._steps[place]["value"] for place in ends]
        more = self._random.random() < 0.5
        chosen = values.index(max(values) if more else min(values))
        return self._wording.comparison(chains, end.fact.compare[not more]), self._name(
            self._steps[ends[chosen]]["thing"]
        )

    def _operation(self, operation: str, chains: Sequence[Chain], ends: Sequence[int]) -> tuple[str, str]:
        values = [self._steps[end]["value"] for end in ends]
        step: JSONObject = {"do": "operation", "operation": operation, "inputs": values, "codes": []}
        unit = ""
        if operation in ("convert", "exchange"):
            unit, factor = self._factor(operation, chains[0], step)
            step["value"] = OPERATIONS[operation].compute(*values, factor)
        else:
            step["value"] = OPERATIONS[operation].compute(*values)
        extreme = operation == "share" and not 1 < step["value"] < 99
        if extreme or len(format_answer(step["value"])) < SHORTEST or self._world.is_fixed(tokens_of(step["value"])):
            raise LookupError("the result says too little, or is an answer already")
        self._world.reserve(step["value"])
        texts = [format_answer(value) for value in values]
        shown = [", ".join(texts[:-1]), texts[-1]] if len(texts) > 2 else texts
        question = OPERATIONS[operation].asks[0].replace("{is}", "is").format(*shown, unit=unit)
        self._step(step, question, format_answer(step["value"]), tuple(ends))
        return self._wording.operation(operation, chains, unit), self._hops[-1].answer

    def _factor(self, operation: str, chain: Chain, step: JSONObject) -> tuple[str, float]:
        assert isinstance(chain.end, Link) and chain.end.fact.value is not None
        if operation == "convert":
            source = chain.end.fact.value.unit
            code, unit, factor = UNITS[source]
            step["codes"] = [source, code]
            return unit, factor
        code = self._one(sorted(CURRENCIES))
        step["codes"] = [code]
        step["rate"] = round(self._random.uniform(0.2, 4.9), 4)
        return CURRENCIES[code][0], step["rate"]


def answer_of(fact: Fact, value: Any) -> str:
    """A value as a sub-answer is written; a year has no thousands."""
    return str(value) if fact.value is not None and fact.value.type == "year" else format_answer(value)
