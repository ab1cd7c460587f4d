"""What a crew has learnt of an endpoint: told to all, and which episodes were answered before."""

import pytest

from harness.evaluation.crew_lessons import CrewLessons
from harness.evaluation.crew_member import Played
from harness.models import ModelOptions, load_model
from harness.types import Reasoning

MODE = Reasoning()
TEMPERATURE = {"field": "temperature", "value": None}


@pytest.fixture
def lessons():
    return CrewLessons(load_model("openai/m", ModelOptions(base_url="http://127.0.0.1:9/v1", environ={})))


def episode(number):
    return ("task", str(number), 0)


def hear(lessons, number, *learnt, unlike=False):
    lessons.hear(episode(number), MODE, Played({}, True, learnt, unlike))


def test_nothing_learnt_is_nothing_said(lessons):
    hear(lessons, 1)
    assert lessons.learnt(MODE) == [] and not lessons.unlike(MODE) and lessons.to_json() == []


def test_what_was_answered_before_is_played_again_until_it_was(lessons):
    hear(lessons, 1)
    hear(lessons, 2, TEMPERATURE)
    assert lessons.to_json() == [TEMPERATURE]
    assert lessons.learnt(MODE) == [{**TEMPERATURE, "episodes_before": 1}]
    assert lessons.unlike(MODE) == {episode(1)}
    lessons.forget(episode(1), MODE)
    hear(lessons, 1, TEMPERATURE)
    assert lessons.learnt(MODE) == [{**TEMPERATURE, "episodes_before": 0}]
    assert not lessons.unlike(MODE)


def test_an_episode_may_say_itself_that_it_began_before(lessons):
    hear(lessons, 1, TEMPERATURE, unlike=True)
    assert lessons.unlike(MODE) == {episode(1)}


def test_an_earlier_part_of_the_run_counts_as_it_does_for_one_process(lessons):
    alone = load_model("openai/m", ModelOptions(base_url="http://127.0.0.1:9/v1", environ={}))
    known = [{**TEMPERATURE, "episodes_before": 2}]
    answered = [episode(number) for number in range(5)]
    for model in (lessons, alone):
        model.recall(known, MODE, answered)
    assert lessons.learnt(MODE) == alone.learnt(MODE) == known
    assert lessons.unlike(MODE) == alone.unlike(MODE) == set(answered)


def test_modes_of_reasoning_are_counted_apart(lessons):
    hear(lessons, 1)
    lessons.hear(episode(2), Reasoning("off"), Played({}, True, [TEMPERATURE]))
    assert lessons.unlike(MODE) == {episode(1)}
    assert not lessons.unlike(Reasoning("off"))
