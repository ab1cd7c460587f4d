"""What a build is asked for: levels, presets of both generations, and the words that seed everything."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from envbuilder.spec import PRESETS, STRATEGIES, Levels, Spec, preset_of, scale_levels
from harness.errors import UsageError


@pytest.mark.parametrize(
    "wrong", [{"index": -1}, {"attempt": -1}, {"kind": "hop"}, {"preset": "huge"}, {"generation": 3}], ids=str
)
def test_a_spec_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Spec(**{"kind": "single_hop", "index": 0, "seed": 1, "split": "train", **wrong})


@pytest.mark.parametrize("wrong", [{"types": 4}, {"units": -1}], ids=str)
def test_levels_go_from_nought_to_three(wrong: dict[str, int]) -> None:
    levels = {"generalise": 0, "parameters": 1, "types": 2, "distractors": 3}
    assert Levels(**levels)
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Levels(**{**levels, **wrong})


def test_levels_seed_with_the_words_that_they_always_had() -> None:
    assert Levels(1, 3, 2, 0).seed_text == "Levels(generalise=1, parameters=3, types=2, distractors=0)"
    more = Levels(0, 0, 0, 0, options=2, units=1).seed_text
    assert more == "Levels(generalise=0, parameters=0, types=0, distractors=0, options=2, units=1)"


def test_a_generation_enters_every_word_but_the_first_ones() -> None:
    first, second = (Spec("multi_hop", 3, 5, "test", generation=generation) for generation in (1, 2))
    assert first.world == "paper-5-test-multi_hop-3"
    assert first.seed_text == "5|test|disjoint|3|0|multi_hop|paper|"
    assert (second.world, second.seed_text) == (f"g2-{first.world}", f"g2-{first.seed_text}")
    assert first.spread_draw("hops") != second.spread_draw("hops")


@pytest.mark.parametrize("name", PRESETS)
def test_the_first_generation_knows_the_papers_strategies_alone(name: str) -> None:
    preset = preset_of(name, 1)
    assert {means for means, level in asdict(preset.levels).items() if level} <= {*STRATEGIES}
    assert preset.size.hops == PRESETS[name].size.hops
    assert preset.size.distractors == PRESETS[name].size.distractors
    assert preset_of(name, 2) is PRESETS[name]


def test_levels_replace_those_of_the_preset() -> None:
    levels = Levels(0, 0, 0, 0)
    assert Spec("single_hop", 0, 1, "train").effective_levels == PRESETS["paper"].levels
    assert Spec("single_hop", 0, 1, "train", levels=levels).effective_levels == levels


def test_a_level_is_scaled_by_name() -> None:
    scaled = scale_levels("micro", 2, ["generalise=0", "units=3"])
    assert scaled == replace(PRESETS["micro"].levels, generalise=0, units=3)
    assert scale_levels("micro", 1, []) == preset_of("micro", 1).levels


@pytest.mark.parametrize(
    ("texts", "generation", "said"),
    [
        (["size=1"], 2, "takes one of generalise, "),
        (["units=4"], 2, "from 0 to 3, not units=4"),
        (["units"], 2, "not units"),
        (["units=1"], 1, "not units=1"),
        (["types=1", "types=1"], 2, "types twice"),
    ],
)
def test_a_scale_that_there_is_not_gets_one_sentence(texts: list[str], generation: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        scale_levels("micro", generation, texts)
