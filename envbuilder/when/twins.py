"""From one world to its five environments: the same question, with notes and tools of the same form.

A note tells all six facts of the three pairs about the thing, one pair in force and the others superseded; the tools
hold one pair in one place, another than that in force. Which pair stands where decides:

answerable      the tools hold what is asked
partial         they hold half of it, the first or the second
missing_record  they hold it, but have no record of the thing; to the reader this is the same prompt as answerable
no_tool         the note has it in force, the tools do not hold it
tool_gone       neither has it

What is asked and is in no tool stands in no tool's code.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random

from envbuilder.records import Document, JSONObject, Toolset, environment_record
from envbuilder.spec import Spec
from envbuilder.stages.deployment import deploy_toolset
from envbuilder.stages.documents import filed_text, lowered, schema_of, told_fields, write_documents
from envbuilder.stages.integration import integrate_documents
from envbuilder.stages.lookup_code import literal
from envbuilder.stages.scaling import scale_toolset
from envbuilder.when.scenario import STRUCK, Pair, cast_of, draw_scenario, told_value
from envbuilder.worlds.axes import AXES
from envbuilder.worlds.catalogue import FACTS
from envbuilder.worlds.tables import World, is_date
from harness.scoring.decisions import ABSTENTION, FAMILY, SITUATIONS

PROMPT = """\
What you are asked may stand in the note, may have to be looked up with the tools, or may be in neither. What \
was entered in error does not hold. Call a tool where it is needed and only there, and do not rely on memory. When \
a call fails, read its message. What a tool has no \
record of, under the full name or the reference that it wants, is not there.
Note: {note}
Question: {question}
End with one last line of the form `Answer: ...` that holds nothing but the answers, in the order asked, with a comma \
between them. In place of one that neither the note nor the tools can give, write `{abstention}`; where that is so of \
all of them, write it once."""

WORKED_OUT = 0.5
"""Share of worlds, of those whose tools compute nothing, whose notes have sums and spelled words for values."""


@dataclass(frozen=True, slots=True)
class Twin:
    """One of the five: its record, and the answers to the question that no call may reach."""

    situation: str
    record: JSONObject
    hidden: tuple[str, ...]
    noted: tuple[str, ...] = ()
    """Those of them that the note gives, as it has them."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """Which pair the tools hold, which is in force in the note, and the places of the asked pair that are in the
    tools."""

    held: Pair
    noted: Pair
    hops: tuple[int, ...] = ()


def make_twins(spec: Spec) -> tuple[Twin, ...]:
    """The five environments of a world, in the order of SITUATIONS. Raises LookupError where nothing fits the spec."""
    toolset = integrate_documents(write_documents(draw_scenario(spec)))
    maker = _Maker(scale_toolset(toolset, replace(spec, kind="parallel_single_hop")), spec)
    cast = cast_of(toolset.scenario)
    (first, second), (third, fourth) = cast.asked, cast.spare
    kept = spec.index % 2
    half: Pair = (third, second) if kept else (first, fourth)
    layouts = {
        "answerable": _Layout(cast.asked, cast.told, (0, 1)),
        "partial": _Layout(half, cast.told, (kept,)),
        "missing_record": _Layout(cast.asked, cast.told),
        "no_tool": _Layout(cast.spare, cast.asked),
        "tool_gone": _Layout(cast.spare, cast.told),
    }
    return tuple(maker.twin(situation, layouts[situation]) for situation in SITUATIONS)


class _Maker:
    """Makes twins of a toolset that holds the pair that is asked."""

    def __init__(self, toolset: Toolset, spec: Spec) -> None:
        self._toolset = toolset
        self._spec = spec
        self._cast = cast_of(toolset.scenario)
        self._world = World(Random(), toolset.scenario.facts["world"])
        self._answers = tuple(hop.answer for hop in toolset.scenario.hops)
        computes = any(document.facts["do"] == "operation" for document in toolset.documents)
        self._is_worked_out = not computes and Random(f"{spec.seed_text}|note").random() < WORKED_OUT

    def twin(self, situation: str, layout: _Layout) -> Twin:
        deployed = deploy_toolset(self._held(layout))
        if situation == "missing_record":
            codes = {name: self._without_record(code) for name, code in deployed.codes.items()}
            deployed = replace(deployed, codes=codes)
        record = environment_record(deployed, self._spec.split) | {
            "id": f"{self._spec.world}-{situation}",
            "data_source": f"{FAMILY}/{situation}",
            "messages": [{"role": "user", "content": self._prompt(layout)}],
            "answer": ", ".join(self._answers if situation == "no_tool" else self._given(layout.hops)),
        }
        if situation == "missing_record":
            record["gold_calls"] = [
                {"name": call.name, "arguments": call.arguments} for call in self._toolset.calls[:1]
            ]
        hidden = tuple(answer for place, answer in enumerate(self._answers) if place not in layout.hops)
        noted = tuple(self._value(fact, True) for fact in self._cast.asked) if situation == "no_tool" else ()
        return Twin(situation, record, hidden, noted)

    def _given(self, hops: Sequence[int]) -> tuple[str, ...]:
        """The answers that calls give, with the abstention in place of others, or alone."""
        if not hops:
            return (ABSTENTION,)
        return tuple(answer if place in hops else ABSTENTION for place, answer in enumerate(self._answers))

    # --- tools ---------------------------------------------------------------------------------------------------

    def _held(self, layout: _Layout) -> Toolset:
        """The toolset with this pair in place of what is asked, and the hops that it answers."""
        scenario = self._toolset.scenario
        places = dict(zip(self._cast.asked, layout.held, strict=True))
        serves = tuple(range(len(layout.hops)))
        documents = [
            replace(_with_fields(document, places), serves=serves) if document.serves else document
            for document in self._toolset.documents
        ]
        calls = [self._toolset.calls[place] for place in layout.hops]
        return Toolset(
            replace(scenario, hops=tuple(scenario.hops[place] for place in layout.hops)),
            tuple(documents),
            tuple(replace(call, solves=number) for number, call in enumerate(calls)),
        )

    def _without_record(self, code: str) -> str:
        """The code of a look-up, without its line about the thing."""
        thing = self._world.things[self._cast.thing]
        lines = tuple(f"        {literal(shown)}: (" for shown in (thing["name"], thing["ids"][0]))
        rows = code.split("\n")
        return "\n".join(row for row in rows if not (row.startswith(lines) and row.endswith("),")))

    # --- the prompt ----------------------------------------------------------------------------------------------

    def _prompt(self, layout: _Layout) -> str:
        told = (self._told(fact, fact in layout.noted) for fact in self._cast.order)
        note = f"{self._cast.heading.format(self._world.things[self._cast.thing]['name'])}: {'; '.join(told)}."
        return PROMPT.format(note=note, question=self._toolset.scenario.question, abstention=ABSTENTION)

    def _told(self, fact: str, in_force: bool) -> str:
        """A fact in the words of the tools, whether it holds, and its value."""
        axes = {} if FACTS[fact].target else self._cast.axes
        states = [AXES[axis].values[place].filed for axis, place in axes.items()]
        named = lowered(filed_text(fact)) + (f" ({', '.join(states)})" if states else "")
        return f"{named}, {'in force' if in_force else STRUCK}: {self._value(fact, in_force)}"

    def _value(self, fact: str, in_force: bool) -> str:
        """A value as the note has it."""
        cast = self._cast
        value = told_value(self._world, cast.thing, FACTS[fact], cast.axes if in_force else None)
        return worked_out(value, Random(f"{self._spec.seed_text}|{fact}|{in_force}")) if self._is_worked_out else value


def worked_out(value: str, random: Random) -> str:
    """A value as a small task in arithmetic or language that it is the answer to."""
    if is_date(value):
        before = datetime.date.fromisoformat(value) - datetime.timedelta(days=1)
        return f"the day after {before.isoformat()}"
    digits = value.replace(",", "")
    if not digits.replace(".", "").isdigit():
        return " ".join("-".join(word) for word in value.split()) + " (spelled out)"
    whole, _, rest = digits.partition(".")
    if int(whole) < 2:
        return value
    part = 1 + int(random.random() * (int(whole) - 1))
    return f"{int(whole) - part} plus {part}{'.' if rest else ''}{rest}"


def _with_fields(document: Document, places: Mapping[str, str]) -> Document:
    """A look-up with other facts in the places of these."""
    facts = document.facts
    codes = {places.get(field, field): _code(field, places, code) for field, code in facts["codes"].items()}
    before, after = told_fields(facts["codes"]), told_fields(codes)
    parameters = [
        entry
        if entry["role"] != "field"
        else {
            **entry,
            "schema": {
                **entry["schema"],
                "enum": [*codes.values()],
                "description": entry["schema"]["description"].replace(before, after),
            },
        }
        for entry in facts["parameters"]
    ]
    facts = {**facts, "fields": [*codes], "codes": codes, "parameters": parameters}
    return replace(document, facts=facts, parameters=schema_of(facts))


def _code(field: str, places: Mapping[str, str], code: str) -> str:
    """The code of what takes a field's place: as it is where codes are numbers, else the key of the other."""
    return FACTS[places[field]].key if field in places and code == FACTS[field].key else code
