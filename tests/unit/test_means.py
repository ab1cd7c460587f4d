"""Means of making it hard: each at its levels, switched off by 0, and what it promises where it is on."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import cache
from random import Random
from typing import Any

import pytest
from generated import PRESET_NAMES, built, document_of, played, specs

from envbuilder.audit import compare
from envbuilder.records import DeployedToolset, Document, environment_record
from envbuilder.spec import PRESETS, Levels
from envbuilder.stages.documents import field_of, write_documents
from envbuilder.stages.integration import integrate_documents
from envbuilder.stages.scenario import decompose_scenario
from envbuilder.stages.wording import Chain, Wording, format_answer
from envbuilder.worlds import frames
from envbuilder.worlds.axes import AXES
from envbuilder.worlds.catalogue import DOMAINS, ENTITY_KINDS, LISTINGS
from envbuilder.worlds.operations import CURRENCIES, UNITS
from harness.scoring import strict
from harness.types import JSONObject

PAPER = asdict(PRESETS["paper"].levels)
PLAIN = dict.fromkeys(PAPER, 0)


@cache
def at(each: int = 4, base: str = "plain", **levels: int) -> list[DeployedToolset]:
    """Environments at level paper, or with every means at 0, but for some."""
    chosen = Levels(**{**(PAPER if base == "paper" else PLAIN), **levels})
    return [built(spec) for spec in specs(each=each, levels=chosen)]


def documents(made: list[DeployedToolset], do: str = "") -> list[Document]:
    found = [document for deployed in made for document in deployed.toolset.documents]
    return [document for document in found if not do or document.facts["do"] == do]


def steps(made: list[DeployedToolset]) -> list[JSONObject]:
    return [step for deployed in made for step in deployed.toolset.scenario.facts["steps"]]


def mean(numbers: list[int]) -> float:
    return sum(numbers) / len(numbers)


# --- integration -------------------------------------------------------------------------------------------------


def test_integration_makes_one_tool_of_documents_that_overlap() -> None:
    merged = 0
    for spec in specs(each=20):
        written = write_documents(decompose_scenario(spec))
        integrated = integrate_documents(written)
        hops = sorted(hop for document in integrated.documents for hop in document.serves)
        assert hops == list(range(len(written.scenario.hops)))
        merged += len(integrated.documents) < len(written.documents)
        looks = [document.facts for document in integrated.documents if document.facts["do"] == "look"]
        assert len({facts["kind"] for facts in looks}) == len(looks)
        for facts in looks:
            assert sum(entry["role"] == "field" for entry in facts["parameters"]) == (len(facts["fields"]) > 1)
    assert merged > 5


@pytest.mark.parametrize("level", [0, 3])
@pytest.mark.parametrize("means", PAPER)
def test_no_two_tools_read_alike_where_they_say_little(means: str, level: int) -> None:
    levels = replace(PRESETS["micro"].levels, **{means: level})
    for deployed in [built(spec) for spec in specs("micro", each=3, levels=levels)]:
        told = [(document.description, document.parameters["properties"]) for document in deployed.toolset.documents]
        texts = [json.dumps([about, [entry["description"] for entry in by.values()]]) for about, by in told]
        assert len(set(texts)) == len(texts), texts


# --- the paper's four --------------------------------------------------------------------------------------------


def test_generalisation_adds_entries_that_no_question_needs() -> None:
    entries = [mean([len(d.facts["fields"]) for d in documents(at(generalise=level), "look")]) for level in range(4)]
    assert entries[0] < 1.2 and entries == sorted(entries) and entries[3] > 5


def test_parameter_expansion_adds_parameters() -> None:
    counts = [
        mean([len(d.facts["parameters"]) for d in documents(at(parameters=level, types=2), "look")])
        for level in range(4)
    ]
    assert counts[0] < 2 and counts == sorted(counts) and counts[3] > 6


def test_type_generalisation_turns_strings_into_other_types() -> None:
    shares = []
    for level in range(4):
        records = [environment_record(made, "train") for made in at(generalise=2, parameters=2, types=level)]
        shares.append(compare.type_shares(records))
    assert set(shares[0]) <= {"string", "string, enum", "integer", "number", "array", "string, format"}
    assert "boolean" in shares[1] and "object" not in shares[1]
    assert {"object", "array", "number"} <= set(shares[2])
    inside = [mean([is_inside(document) for document in documents(at(types=level), "look")]) for level in range(4)]
    assert inside[:2] == [0, 0] and inside[3] > 0.15 > inside[2]


def is_inside(document: Document) -> bool:
    """Whether the subject comes inside an object."""
    return bool(document.facts["parameters"][0]["schema"]["type"] == "object")


def test_toolset_extension_adds_distractors() -> None:
    counts = [
        mean([sum(not d.serves for d in made.toolset.documents) for made in at(distractors=level)])
        for level in range(4)
    ]
    assert counts[0] == 0 and counts == sorted(counts) and counts[3] > counts[2] > counts[1] > 1


# --- those of the second generation, off and on ------------------------------------------------------------------


def count_identifiers(made: list[DeployedToolset]) -> int:
    return sum(step["do"] in ("find", "map") for step in steps(made)) + len(
        [document for document in documents(made) if document.facts.get("numbered") or "classes" in document.facts]
    )


def count_options(made: list[DeployedToolset]) -> int:
    return sum(len(step.get("axes", ())) for step in steps(made)) + sum(
        len(document.facts["axes"]) for document in documents(made, "look")
    )


def count_overlap(made: list[DeployedToolset]) -> int:
    return sum(bool(document.facts["whole"] or document.facts.get("span")) for document in documents(made, "look"))


def count_lists(made: list[DeployedToolset]) -> int:
    return sum(step["do"] == "page" for step in steps(made)) + len(documents(made, "list"))


def count_units(made: list[DeployedToolset]) -> int:
    """Conversions that a question needs, and rows in two units."""
    return sum(step.get("operation") in ("convert", "exchange") or bool(step.get("mixed")) for step in steps(made))


COUNTS = {
    "identifiers": count_identifiers,
    "options": count_options,
    "overlap": count_overlap,
    "lists": count_lists,
    "units": count_units,
}


@pytest.mark.parametrize("means", COUNTS)
def test_a_means_is_switched_off_by_its_level_alone(means: str) -> None:
    assert COUNTS[means](at(6, "paper", **{means: 0})) == 0
    assert COUNTS[means](at(12, "paper")) > 0


@pytest.mark.parametrize("means", ["identifiers", "options", "lists"])
def test_a_means_works_without_the_others(means: str) -> None:
    counts = [COUNTS[means](at(6, generalise=1, distractors=1, **{means: level})) for level in (0, 1, 3)]
    assert counts[0] == 0 < counts[1] < counts[2]


@pytest.mark.parametrize("levels", [Levels(0, 0, 0, 0), Levels(3, 3, 0, 1), Levels(**dict.fromkeys(PAPER, 3))], ids=str)
def test_gold_holds_at_any_level(levels: Levels) -> None:
    for spec in specs(each=4, levels=levels):
        wanted: dict[str, list[str]] = {}
        for call in built(spec).toolset.calls:
            wanted.setdefault(call.name, []).append(built(spec).toolset.scenario.hops[call.solves].answer)
        assert None not in strict.solves(played(built(spec)), wanted)


# --- overlapping tools -------------------------------------------------------------------------------------------


def coverage(document: Document) -> str:
    return json.dumps([document.facts["whole"], document.facts.get("span")], sort_keys=True)


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_a_field_stands_in_one_tool_or_in_two_that_cover_other_things(preset: str) -> None:
    pairs = 0
    for spec in specs(preset, each=1 if preset == "hard" else 4):
        looks = [document for document in built(spec).toolset.documents if document.facts["do"] == "look"]
        standing: dict[str, list[Document]] = {}
        for document in looks:
            keys = [field_of(field).key for field in document.facts["fields"]]
            assert len(set(keys)) == len(keys)
            for field in document.facts["fields"]:
                standing.setdefault(field.removesuffix("y"), []).append(document)
        assert all(len(found) <= 2 for found in standing.values())
        for one, other in {(found[0].name, found[1].name) for found in standing.values() if len(found) == 2}:
            pair = [document_of(built(spec), name) for name in (one, other)]
            assert coverage(pair[0]) != coverage(pair[1]) and all(covers(document) for document in pair)
            assert {*pair[0].facts["fields"]} == {*pair[1].facts["fields"]}
            pairs += 1
    assert (pairs > 0) == (PRESETS[preset].levels.overlap > 0)


def covers(document: Document) -> bool:
    """Whether a tool covers a part only, and says so."""
    whole, span = document.facts["whole"], document.facts.get("span")
    told = [AXES[axis].values[place].whole for axis, place in whole.items()]
    told += [f"{span[0]} to {span[1]} only"] if span else []
    return bool(told) and all(text in document.description for text in told)


# --- lists -------------------------------------------------------------------------------------------------------


def list_ends() -> Iterator[tuple[DeployedToolset, JSONObject, list[JSONObject]]]:
    """Environments whose only chain ends in a list, with its last step and all of its rows as the calls give them."""
    for preset, each in (("paper", 20), ("hard", 10)):
        for spec in specs(preset, each):
            if "parallel" in spec.kind:
                continue
            deployed = built(spec)
            last = deployed.toolset.scenario.facts["steps"][-1]
            if last["do"] != "page":
                continue
            outputs = [json.loads(made.output) for made in played(deployed)][-last["page"] - 1 :]
            yield deployed, last, [row for output in outputs for row in output.get("data", output)["rows"]]


SMALLER = {("t", "kg"): 1000, ("kg", "g"): 1000, ("km", "m"): 1000, ("m", "cm"): 100, ("l", "ml"): 1000,
           ("min", "s"): 60, ("h", "min"): 60, ("MB", "kB"): 1000, ("kW", "W"): 1000, ("cm", "mm"): 10}  # fmt: skip


def possible_answers(step: JSONObject, rows: list[JSONObject], revise: bool = True) -> set[str]:
    """Whatever may be asked of the rows with one mark; `revise`: a row that comes again replaces the earlier one."""
    listing = LISTINGS[step["list"]]
    last = {row[listing.label_key] if revise else place: row for place, row in enumerate(rows)}
    measures = [(row, measured(row, listing.measure_key, listing.measure.unit)) for row in last.values()]
    found: set[str] = set()
    for mark in listing.marks:
        chosen = sorted(((m, row[listing.label_key]) for row, m in measures if row[listing.mark_key] == mark.code))
        if len(chosen) >= 2:
            total = sum(m for m, _ in chosen)
            share = round(total / sum(m for _, m in measures) * 100, 2)
            found |= {chosen[0][1], chosen[-1][1], chosen[-2][1], str(len(chosen))}
            found |= {shown(total), shown(share)}
    return found


def measured(row: JSONObject, key: str, unit: str) -> float:
    return float(row[key] / SMALLER.get((unit, row.get("uom", unit)), 1))


def shown(number: float) -> str:
    rounded = round(number, 2)
    return format_answer(int(rounded) if rounded == int(rounded) else rounded)


def test_the_answer_of_a_list_counts_a_revised_row_once_in_the_unit_of_the_list() -> None:
    seen: Counter[str] = Counter()
    for deployed, step, rows in list_ends():
        answer = deployed.toolset.scenario.answer
        assert answer in possible_answers(step, rows), (deployed.toolset.scenario.question, rows)
        assert answer not in [hop.answer for hop in deployed.toolset.scenario.hops]
        seen["all"] += 1
        seen["revised"] += step["revised"]
        seen["mixed"] += step["mixed"]
        seen["revision decides"] += answer not in possible_answers(step, rows, revise=False)
        seen["pages"] += step["page"] > 0
    assert seen["all"] >= 15 and min(seen[name] for name in ("revised", "mixed", "pages", "revision decides")) >= 2


def test_the_rows_of_a_list_are_of_several_units_only_where_each_says_its_own() -> None:
    for document in documents([built(spec) for spec in specs(each=12)], "list"):
        assert ("uom" in document.description) == document.facts["mixed"]
        assert ("only the highest rev counts" in document.description) == document.facts["revised"]


# --- units -------------------------------------------------------------------------------------------------------


def test_a_conversion_is_asked_in_words_that_no_tool_lists() -> None:
    asked = 0
    for made in at(25, "paper", units=3):
        for step in made.toolset.scenario.facts["steps"]:
            if step.get("operation") not in ("convert", "exchange"):
                continue
            asked += 1
            names = {unit for _, unit, _ in UNITS.values()} | {name for name, _ in CURRENCIES.values()}
            (said,) = {name for name in names if re.search(rf"\b{name}\b", made.toolset.scenario.question)}
            (call,) = [call for call in made.toolset.calls if call.solves == len(made.toolset.calls) - 1]
            assert set(step["codes"]) <= set(call.arguments.values())
            assert said not in document_of(made, call.name).description
    assert asked >= 2


# --- questions ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scenarios() -> list[Any]:
    return [decompose_scenario(spec) for spec in specs(each=40, seed=8)]


def test_a_third_of_the_questions_say_why_somebody_asks(scenarios: list[Any]) -> None:
    contexts = (*frames.CONTEXTS, *(text for domain in DOMAINS.values() for text in domain.contexts))
    share = mean([scenario.question.startswith(contexts) for scenario in scenarios])
    assert 0.15 < share < 0.4


def test_a_question_says_once_why_somebody_asks(scenarios: list[Any]) -> None:
    contexts = (*frames.CONTEXTS, *(text for domain in DOMAINS.values() for text in domain.contexts))
    remarks = tuple(text.partition("{}")[0] for text in frames.REMARKS)
    for scenario in scenarios:
        told = next((text for text in contexts if scenario.question.startswith(text)), "")
        assert not (told and scenario.question.removeprefix(told).strip().startswith(remarks)), scenario.question


def test_another_film_makes_the_first_one_that_first_film() -> None:
    words, told = Wording(Random(1), terse=False), ["Take the filmmaker who made a film about Ann Bell.", ""]
    told[1] = "Then take the first film by that filmmaker."
    assert words._called("the first film by that filmmaker", "film", told) == "that first film"
    assert words._called("the novel behind that first film", "novel", [*told, "Then take the novel."]) == "that novel"


def test_every_question_ends_as_a_question_or_says_how_to_answer(scenarios: list[Any]) -> None:
    for scenario in scenarios:
        assert "?" in scenario.question or "Please tell me only" in scenario.question
        assert not re.search(r"\{|\}|\bNone\b|  |that that|\bthe the\b", scenario.question), scenario.question


def test_no_noun_stands_for_two_things(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    call, lead = Wording._called, Wording.lead

    def called_as(self: Wording, *given: Any) -> str:
        called.append(call(self, *given))
        return called[-1]

    def led(self: Wording, chain: Chain, *given: Any, **more: Any) -> tuple[list[str], str]:
        """The first thing of a chain is "that X" too, where its name is too long to come again."""
        said = [word for word in ENTITY_KINDS[chain.kind].said if word in chain.ref]
        called.extend(f"that {word}" for word in said[:1] if chain.links)
        return lead(self, chain, *given, **more)

    monkeypatch.setattr(Wording, "_called", called_as)
    monkeypatch.setattr(Wording, "lead", led)
    for preset in ("paper", "hard"):
        for spec in specs(preset, each=30, seed=8):
            called.clear()
            question = decompose_scenario(spec).question
            counts = Counter(name for name in called if re.search(rf"\b{name}\b", question))
            assert max(counts.values(), default=0) < 2, (counts, question)
