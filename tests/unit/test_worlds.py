"""The domains are well formed, large enough, and their words cannot give an answer away."""

from __future__ import annotations

import json
from itertools import pairwise
from random import Random

import pytest

from envbuilder.generation1.worlds import catalogue
from envbuilder.generation1.worlds.catalogue import DOMAINS, ENTITY_KINDS, RELATIONS, relations_of_kind
from envbuilder.generation1.worlds.columns import ENUMS, LOCALS, TEXTS
from envbuilder.generation1.worlds.names import SPLITS, Namer, parse_name_pattern, split_of
from envbuilder.generation1.worlds.operations import OPERATIONS
from envbuilder.generation1.worlds.schema import read_domain
from envbuilder.generation1.worlds.tables import World, pair_key, tokens_of
from harness.scoring.leaves import leaf
from harness.scoring.strict import states

EMPTY = {"rows": 5, "split": None, "short": False, "pools": {}, "values": {}, "fixed": []}


def test_there_are_enough_domains_kinds_and_relations() -> None:
    assert len(DOMAINS) >= 15
    assert len(RELATIONS) >= 80
    assert sum(relation.target is not None for relation in RELATIONS.values()) >= 80
    types = {relation.value.type for relation in RELATIONS.values() if relation.value}
    assert types == {"integer", "decimal", "date", "year", "choice", "money", "list"}


@pytest.mark.parametrize("relation", RELATIONS.values(), ids=lambda relation: relation.id)
def test_a_relation_leads_somewhere_and_its_texts_have_their_blanks(relation: catalogue.Relation) -> None:
    assert relation.target is None or relation.target in ENTITY_KINDS
    assert relation.also in (None, "year") or relation.also in ENTITY_KINDS
    assert relation.value is None or not relation.value.of or relation.value.of in ENTITY_KINDS
    assert relation.phrases and relation.asks
    for text in (*relation.phrases, *relation.asks):
        assert text.count("{}") == 1
        assert ("{also}" in text) == (relation.also is not None)
    assert all(text.startswith(("the ", "what ")) for text in relation.phrases)
    assert all(text.endswith("?") and text[0].isupper() for text in relation.asks)


@pytest.mark.parametrize("kind", ENTITY_KINDS.values(), ids=lambda kind: kind.id)
def test_a_kind_has_words_for_tools_and_leads_on(kind: catalogue.EntityKind) -> None:
    assert kind.parameters and kind.registers and len(kind.about) >= 3
    assert kind.parent is None or kind.parent in ENTITY_KINDS
    assert all(name.isidentifier() for name in (*kind.parameters, *kind.registers))
    assert not LOCALS & set(kind.parameters)
    assert all(text.count("{}") == 1 for text in kind.refs)
    assert any(relation.target for relation in relations_of_kind(kind.id))
    assert any(relation.target == kind.id for relation in RELATIONS.values())
    keys = [relation.key for relation in relations_of_kind(kind.id)]
    assert len(keys) == len(set(keys))


def test_no_text_of_any_tool_states_a_value_that_may_be_an_answer() -> None:
    texts = [text for kind in ENTITY_KINDS.values() for text in (*kind.about, kind.noun)]
    texts += [text for relation in RELATIONS.values() for text in (*relation.phrases, *relation.asks, relation.label)]
    texts += [text for operation in OPERATIONS.values() for text in (*operation.about, *operation.asks)]
    texts += [text for column in (*TEXTS.values(), *ENUMS.values()) for text in column.about]
    texts += [value for column in ENUMS.values() for values in column.values for value in values]
    leaves = [leaf(text) for text in texts]
    choices = [choice for relation in RELATIONS.values() if relation.value for choice in relation.value.choices]
    assert [choice for choice in choices if states(leaves, choice)] == []


def test_a_malformed_domain_is_refused(tmp_path: pytest.TempPathFactory) -> None:
    path = tmp_path / "odd.toml"  # type: ignore[operator]
    path.write_text('offices = "A"\n[thing]\nnames = "{stem}"\n', encoding="utf-8")
    with pytest.raises(KeyError):
        read_domain(path)


def test_names_share_no_invented_word() -> None:
    namer = Namer(Random("names"), None)
    words = [word for _ in range(300) for word in namer.draw("{first} {last}").split()]
    assert len(words) == len(set(words))


@pytest.mark.parametrize("split", SPLITS)
def test_a_name_belongs_to_its_split(split: str) -> None:
    namer = Namer(Random("names"), split)
    patterns = sorted({kind.pattern for kind in ENTITY_KINDS.values()})
    names = [namer.draw(pattern) for pattern in patterns for _ in range(5)]
    assert {split_of(name) for name in names} == {split}
    assert {split_of(name.upper()) for name in names} == {split}


def test_every_pattern_can_be_drawn() -> None:
    namer = Namer(Random("patterns"), None)
    for kind in ENTITY_KINDS.values():
        for alternative in kind.pattern.split("|"):
            assert "{" not in namer.draw(alternative)
            assert parse_name_pattern(alternative)


def test_a_fixed_value_is_in_no_other_cell() -> None:
    world = World(Random("fixed"), EMPTY)
    name = world.new_name("bridge")
    answers = {relation.id: world.fix_answer(name, relation) for relation in relations_of_kind("bridge")}
    others = [other for other in world.names("bridge") if other != name]
    for relation in relations_of_kind("bridge"):
        values = [world.value(other, relation) for other in others]
        assert answers[relation.id] not in values
        assert world.value(name, relation) == answers[relation.id]


def test_a_world_goes_to_facts_and_back() -> None:
    world = World(Random("facts"), EMPTY)
    name = world.new_name("film")
    world.fix_answer(name, RELATIONS["film.director"])
    facts = json.loads(json.dumps(world.to_facts()))
    again = World(Random("later"), facts)
    assert again.to_facts() == facts
    again.names("film")
    assert facts["pools"]["film"] == [name], "a later stage changed what an earlier one made"


def test_a_pool_always_has_names_that_nobody_asks_for() -> None:
    world = World(Random("pool"), {**EMPTY, "rows": 2})
    gold = [world.new_name("chef") for _ in range(4)]
    relation = RELATIONS["restaurant.owner"]
    assert len(set(world.names("chef")) - set(gold)) >= 2
    assert world.value("somewhere", relation)


def test_an_exhausted_choice_is_an_error_for_an_answer_and_none_for_others() -> None:
    world = World(Random("choice"), EMPTY)
    relation = RELATIONS["spacecraft.power_source"]
    assert relation.value
    for number in range(len(relation.value.choices)):
        world.fix_answer(f"probe {number}", relation)
    assert world.value("another", relation) in relation.value.choices
    with pytest.raises(LookupError):
        world.fix_answer("one more", relation)


@pytest.mark.parametrize(
    ("value", "tokens"),
    [
        ("2001-05-06", ["2001-05-06", "2001"]),
        ("Velmoor", ["Velmoor"]),
        (12.5, ["12.5"]),
        (1200, ["1200"]),
        (["A", "B"], ["A", "B"]),
    ],
)
def test_what_a_value_says(value: object, tokens: list[str]) -> None:
    assert tokens_of(value) == tokens


def test_a_cell_may_need_two_keys() -> None:
    assert pair_key("Velmoor", None) == "Velmoor"
    assert pair_key("Velmoor", 1987) != pair_key("Velmoor", 1988)


def test_operations_compute_what_their_names_say() -> None:
    compute = {name: operation.compute for name, operation in OPERATIONS.items()}
    assert compute["days_between"]("2001-03-01", "2000-03-01") == 365
    assert compute["weekdays_between"]("2024-01-01", "2024-01-15") == 10
    assert compute["months_between"]("2000-01-31", "2001-01-30") == 11
    assert compute["sum"](1.5, 2, 3) == 6.5
    assert compute["average"](1, 2) == 1.5
    assert compute["difference"](3, 10) == 7
    assert compute["share"](1, 2) == 33.3333
    assert compute["convert"](10, 3.28084) == 32.81
    for earlier, later in pairwise(("2000-01-01", "2000-02-29", "2003-05-17")):
        assert compute["days_between"](earlier, later) == compute["days_between"](later, earlier)
