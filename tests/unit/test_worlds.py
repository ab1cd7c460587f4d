"""The domains are well formed, large enough, and the words of their questions cannot give a tool away."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from envbuilder.stages.lookup_code import LOCALS
from envbuilder.worlds import tool_texts
from envbuilder.worlds.axes import AXES, Axis
from envbuilder.worlds.catalogue import DOMAINS, ENTITY_KINDS, FACTS, FOLDER, LISTINGS
from envbuilder.worlds.names import SPLITS, Namer, parse_name_pattern, split_of
from envbuilder.worlds.operations import CURRENCIES, OPERATIONS
from envbuilder.worlds.options import OPTIONS
from envbuilder.worlds.schema import Domain, EntityKind, Fact, Listing, read_domain
from envbuilder.worlds.tables import MIXED_UNITS, World, counted_rows, tokens_of, variant_of
from envbuilder.worlds.vocabulary import content_words, find_giveaways, lure_words, shared_stems
from harness.errors import UsageError
from harness.scoring.leaves import leaf
from harness.scoring.strict import states

ARTICLE = re.compile(r"(the|an?) ")


def repeated(words: Iterable[str]) -> list[str]:
    return [word for word, count in Counter(words).items() if count > 1]


def test_there_are_enough_domains_kinds_and_facts() -> None:
    assert len(DOMAINS) >= 20
    assert len(FACTS) >= 500
    assert len(LISTINGS) >= 60
    assert sum(fact.target is not None for fact in FACTS.values()) >= 180
    types = {fact.value.type for fact in FACTS.values() if fact.value}
    assert types == {"integer", "decimal", "money", "date", "choice"}


# --- words -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("domain", DOMAINS)
def test_no_word_of_a_question_gives_its_tool_away(domain: str) -> None:
    assert list(find_giveaways(DOMAINS[domain])) == []


@pytest.mark.parametrize("axis", AXES.values(), ids=lambda axis: axis.id)
def test_what_a_question_says_of_an_axis_shares_no_stem_with_its_tool(axis: Axis) -> None:
    codes = [code for value in axis.values for code in value.codes]
    texts = [text for value in axis.values for text in (value.filed, value.whole)]
    filed = content_words(axis.filed, *axis.parameters, *codes, *texts)
    assert shared_stems(content_words(*(text for value in axis.values for text in value.said)), filed) == []
    assert len({len(value.codes) for value in axis.values}) == 1
    assert repeated(codes) == []


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("Who painted {}?", "Who is the creator of {}?", "creator"),
        ('said = "painting|picture"', 'said = "artwork|picture"', "artwork"),
        ('"that shows {}"', '"that has the locality {}"', "locality"),
        ("were for guests only|", "needed an invitation|", "invitation"),
    ],
)
def test_a_giveaway_is_found_in_every_corner(tmp_path: Path, old: str, new: str, word: str) -> None:
    (found,) = {text.partition("'")[2].partition("'")[0] for text in find_giveaways(read_spoiled(tmp_path, old, new))}
    assert found == word


def read_spoiled(folder: Path, old: str, new: str) -> Domain:
    """The domain of art, one text of it another."""
    text = (FOLDER / "art.toml").read_text(encoding="utf-8")
    assert old in text
    path = folder / "spoiled.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return read_domain(path)


@pytest.mark.parametrize("domain", DOMAINS)
def test_a_fact_leads_somewhere_and_has_words_enough(domain: str) -> None:
    for kind in DOMAINS[domain].kinds:
        for fact in kind.facts:
            check_words(fact)


def check_words(fact: Fact) -> None:
    assert fact.target is None or fact.target in ENTITY_KINDS
    assert len(set(fact.asks)) >= 4 and len(set(fact.phrases)) >= 2
    for text in (*fact.asks, *fact.phrases):
        assert text.count("{}") == 1
        assert ("{year}" in text) == fact.yearly
    assert all(text.endswith("?") and text[0].isupper() for text in fact.asks if not text.startswith("{}"))
    assert all(ARTICLE.match(text) for text in fact.phrases)
    assert len(fact.compare) == (2 if fact.is_number or (fact.value and fact.value.type == "date") else 0)
    assert all(("{year}" in text) == fact.yearly for text in fact.compare)
    assert fact.lures and len(lure_words(fact)) >= 2


@pytest.mark.parametrize("kind", ENTITY_KINDS.values(), ids=lambda kind: kind.id)
def test_a_kind_has_words_for_tools_and_leads_on(kind: EntityKind) -> None:
    assert len(kind.tools) >= 4 and len(kind.about) >= 4 and len(kind.traits) >= 2
    assert all(name.isidentifier() for name in (*kind.parameters, *kind.tools))
    assert all(text.count("{}") == 1 for text in kind.refs)
    assert all(trait.said.count("{}") == 1 for trait in kind.traits)
    assert all(trait.target is None or trait.target in ENTITY_KINDS for trait in kind.traits)
    assert any(fact.target for fact in kind.facts)
    assert repeated([*(fact.key for fact in kind.facts), *(x.key for fact in kind.facts for x in fact.lures)]) == []


@pytest.mark.parametrize("listing", LISTINGS.values(), ids=lambda listing: f"{listing.kind}.{listing.key}")
def test_a_list_has_marks_to_tell_apart_and_columns_of_its_own(listing: Listing) -> None:
    assert all(text.count("{}") == 1 for text in listing.of)
    assert len(listing.marks) >= 3 and repeated(mark.code for mark in listing.marks) == []
    said = [text for mark in listing.marks for text in mark.said]
    assert repeated(said) == [] and all(mark.said for mark in listing.marks)
    assert repeated((listing.label_key, listing.measure_key, listing.mark_key, "uom", "rev")) == []
    assert listing.measure.is_number and listing.rows and listing.tools


def test_a_name_of_a_tool_stands_for_one_thing() -> None:
    named = [name for kind in ENTITY_KINDS.values() for name in kind.tools]
    named += [name for listing in LISTINGS.values() for name in listing.tools]
    named += [name for operation in OPERATIONS.values() for name in operation.tools]
    assert repeated([*named, *tool_texts.FINDERS, *tool_texts.MAPPERS]) == []
    assert repeated(kind.filed for kind in ENTITY_KINDS.values()) == []
    assert repeated(kind.filed_plural for kind in ENTITY_KINDS.values()) == []


def test_no_parameter_is_called_as_a_variable_of_the_code_or_as_an_option() -> None:
    options = {name for option in OPTIONS for name in option.names}
    subjects = {name for kind in ENTITY_KINDS.values() for name in kind.parameters} | {*tool_texts.TITLE_NAMES}
    axes = [name for axis in AXES.values() for name in axis.parameters]
    others = [*tool_texts.FIELD_NAMES, *tool_texts.YEAR_NAMES, *axes]
    assert repeated([*options, *subjects, *others]) == []
    assert LOCALS.isdisjoint([*options, *subjects, *others])


@pytest.mark.parametrize("kind", ENTITY_KINDS.values(), ids=lambda kind: kind.id)
def test_no_text_of_a_kind_states_a_value_that_may_be_its_answer(kind: EntityKind) -> None:
    texts = [*kind.about, kind.filed, *kind.refs, *(trait.filed for trait in kind.traits)]
    texts += [text for fact in kind.facts for text in (fact.filed, *fact.asks, *fact.phrases)]
    texts += [lure.filed for fact in kind.facts for lure in fact.lures]
    texts += [text for operation in OPERATIONS.values() for text in (*operation.about, *operation.asks)]
    texts += [text for option in OPTIONS for text in option.abouts]
    leaves = [leaf(text) for text in texts]
    choices = {choice for fact in kind.facts if fact.value for choice in fact.value.choices}
    assert sorted(choice for choice in choices if states(leaves, choice)) == []


# --- files -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('names = "{adjective}', 'nmes = "{adjective}', "[painting]: KeyError('names')"),
        ('answer = "integer 110 4800"', 'answer = "integer"', "[painting]"),
        ("[[painting.facts]]", "[painting.facts]]", "line"),
        ("contexts = [", "context = [", "[context]"),
    ],
    ids=["no names", "no bounds", "no TOML", "no contexts"],
)
def test_a_malformed_domain_gets_one_sentence(tmp_path: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_spoiled(tmp_path, old, new)
    assert said in str(refused.value) and "spoiled.toml" in str(refused.value)
    assert "\n" not in str(refused.value)


# --- names -------------------------------------------------------------------------------------------------------


def test_names_share_no_invented_word() -> None:
    namer = Namer(Random("names"), None)
    words = [word for _ in range(300) for word in namer.draw("{first} {last}").split()]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("split", SPLITS)
def test_a_name_belongs_to_its_split(split: str) -> None:
    namer = Namer(Random("names"), split)
    names = [namer.draw(pattern) for pattern in sorted({kind.names for kind in ENTITY_KINDS.values()})]
    assert {split_of(name) for name in names} == {split}
    assert {split_of(name.upper()) for name in names} == {split}


def test_every_pattern_can_be_drawn() -> None:
    namer = Namer(Random("patterns"), None)
    patterns = {kind.names for kind in ENTITY_KINDS.values()} | {one.label_names for one in LISTINGS.values()}
    for pattern in sorted(patterns):
        for alternative in pattern.split("|"):
            assert "{" not in namer.draw(alternative, apart=False)
            assert parse_name_pattern(alternative)


# --- tables ------------------------------------------------------------------------------------------------------


def world(name: str, rows: int = 5) -> World:
    return World.empty(Random(name), rows, None)


def test_a_fixed_value_is_in_no_other_cell() -> None:
    made = world("fixed")
    key = made.new_thing("painting")
    facts = ENTITY_KINDS["painting"].facts
    answers = {fact.id: made.fix_value(key, fact, variant_of(1970, {}) if fact.yearly else "") for fact in facts}
    for fact in facts:
        variants = [variant_of(1970, {}), variant_of(1971, {})] if fact.yearly else [""]
        cells = [(other, variant) for other in made.pool("painting") for variant in variants]
        assert [made.value(*cell[:1], fact, cell[1]) for cell in cells].count(answers[fact.id]) == 1
        assert made.value(key, fact, variants[0]) == answers[fact.id]


def test_a_world_goes_to_facts_and_back() -> None:
    made = world("facts")
    key = made.new_thing("film")
    made.fix_value(key, next(fact for fact in ENTITY_KINDS["film"].facts if fact.target))
    facts = json.loads(json.dumps(made.to_facts()))
    again = World(Random("later"), facts)
    assert again.to_facts() == facts
    again.pool("film")
    assert sum(thing["kind"] == "film" for thing in facts["things"].values()) == 1, "an earlier stage's world changed"


def test_a_pool_always_has_things_that_nobody_asks_for() -> None:
    made = world("pool", rows=2)
    asked = [made.new_thing("painting") for _ in range(4)]
    assert len(set(made.pool("painting")) - set(asked)) >= 2


def test_namesakes_differ_in_what_tells_them_apart() -> None:
    made = world("namesakes")
    one = made.new_thing("painting")
    others = [made.new_thing("painting", made.things[one]["name"]) for _ in range(2)]
    for place in range(len(ENTITY_KINDS["painting"].traits)):
        assert repeated(made.trait(key, place) for key in (one, *others)) == []
    assert len({made.things[key]["ids"][0] for key in (one, *others)}) == 3


def test_an_exhausted_choice_is_an_error_for_an_answer_and_none_for_others() -> None:
    made = world("choice")
    fact = next(fact for fact in FACTS.values() if fact.value and fact.value.type == "choice")
    assert fact.value
    for _ in fact.value.choices:
        made.fix_value(made.new_thing(fact.kind), fact)
    assert made.value(made.new_thing(fact.kind), fact) in fact.value.choices
    with pytest.raises(LookupError):
        made.fix_value(made.new_thing(fact.kind), fact)


def test_a_revised_row_counts_once_in_the_unit_of_the_list() -> None:
    rows = [
        {"label": "A", "measure": 4, "unit": "t", "mark": "X", "rev": 1},
        {"label": "B", "measure": 500, "unit": "kg", "mark": "X", "rev": 1},
        {"label": "A", "measure": 2500, "unit": "kg", "mark": "Y", "rev": 2},
    ]
    counted = [(row["label"], row["measure"], row["unit"], row["mark"]) for row in counted_rows(rows, "t")]
    assert counted == [("A", 2.5, "t", "Y"), ("B", 0.5, "t", "X")]


@pytest.mark.parametrize("revised", [0, 2])
def test_rows_are_revised_and_mixed_as_they_are_ordered(revised: int) -> None:
    made = world("rows")
    listing = next(listing for listing in LISTINGS.values() if listing.measure.unit in MIXED_UNITS)
    rows = made.make_rows(made.new_thing(listing.kind), listing, 9, revised, mixed=True)
    assert len(rows) == 9 and len(counted_rows(rows, listing.measure.unit)) == 9 - revised
    assert [row["rev"] for row in rows] == [1] * (9 - revised) + [2] * revised
    assert {row["unit"] for row in rows} == {listing.measure.unit, MIXED_UNITS[listing.measure.unit][0]}
    low, high = listing.measure.low, listing.measure.high
    assert all(low <= row["measure"] <= high + 1 for row in counted_rows(rows, listing.measure.unit))


@pytest.mark.parametrize(
    ("value", "tokens"),
    [("2001-05-06", ["2001-05-06", "2001"]), ("Velmoor", ["Velmoor"]), (12.5, ["12.5"]), (1200, ["1200"])],
)
def test_what_a_value_says(value: object, tokens: list[str]) -> None:
    assert tokens_of(value) == tokens


# --- operations --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "given", "result"),
    [
        ("days", ("2001-03-01", "2000-03-01"), 365),
        ("days", ("2000-02-28", "2000-03-01"), 2),
        ("sum", (1.5, 2, 3), 6.5),
        ("average", (1, 2), 1.5),
        ("difference", (3, 10), 7),
        ("share", (1, 3), 33.33),
        ("convert", (10, 3.28084), 32.81),
        ("exchange", (10, 0.5), 5),
    ],
)
def test_operations_compute_what_their_names_say(operation: str, given: tuple[Any, ...], result: float) -> None:
    assert OPERATIONS[operation].compute(*given) == result


def test_no_currency_is_said_as_its_code_is_explained() -> None:
    for code, (name, about) in CURRENCIES.items():
        assert shared_stems(content_words(name), content_words(code, about)) == []
