"""tau-bench's figures on all 165 tasks, every episode played through the rollout and the sandbox.

The figures are those of the benchmark's own scorer on the same data.
"""

from collections import Counter
from functools import cache

import pytest
from builders import SHARED, needs, says

from harness.models import ModelOptions
from harness.models.policies import load
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox
from harness.types import Limits, Reply, SimulatedUser
from tasks.taubench import tasks

DATA = SHARED / "data" / "tau-bench"
SIZES = {"taubench_airline": 50, "taubench_retail": 115}

pytestmark = pytest.mark.slow


@cache
def both():
    needs(DATA / "tasks.jsonl")
    found = tasks({"taubench": DATA})
    return {task.name: (task, task.load()) for task in found}


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox() as tools:
        yield tools


def oracle(request):
    return load("oracle", ModelOptions())(request)


def untold(request):
    """Gold, and not a word of what the customer should hear."""
    reply = oracle(request)
    return reply if reply.message.tool_calls else Reply(says("Bye"))


def drop_last(request):
    """Gold without its last action, and everything told."""
    gold = request.sample.gold
    reply = oracle(request)
    return reply if request.turn < len(gold.calls) - 1 else Reply(says(gold.message))


def silent(request):
    return load("silent", ModelOptions())(request)


def totals(name, sandbox, model, wanted=lambda sample: True):
    task, samples = both()[name]
    found = Counter()
    for sample in filter(wanted, samples):
        episode = Episode(sample, limits=Limits(task.max_turns), task=name, user=SimulatedUser(task.scripted_user))
        with sandbox.episode(sandbox.preload(task.state(sample))) as tools:
            trajectory = play_episode(episode, task.environment(sample), model, tools)
        assert trajectory.outcome == "ok"
        found.update({metric: value for metric, value in task.score(sample, trajectory).scores.items() if value})
        found["n"] += 1
    return found


@pytest.mark.parametrize(("name", "untold_ones"), [("taubench_airline", 46), ("taubench_retail", 78)])
def test_gold_is_right_strictly_and_officially_and_without_text_for_the_paper(name, untold_ones, sandbox):
    found = totals(name, sandbox, oracle)
    assert found["n"] == found["success"] == found["official_success"] == SIZES[name]
    assert found["paper_success"] == untold_ones
    assert found["user_fault"] == 0


@pytest.mark.parametrize(("name", "right"), [("taubench_airline", 46), ("taubench_retail", 78)])
def test_gold_without_its_outputs(name, right, sandbox):
    found = totals(name, sandbox, untold)
    assert (found["official_success"], found["success"]) == (right, right)


@pytest.mark.parametrize(("name", "right"), [("taubench_airline", 19), ("taubench_retail", 7)])
def test_the_floor_of_doing_nothing(name, right, sandbox):
    found = totals(name, sandbox, silent)
    assert [found[metric] for metric in ("success", "official_success", "paper_success")] == [right] * 3
    assert both()[name][0].floor == right / SIZES[name]


@pytest.mark.parametrize(("name", "right"), [("taubench_airline", 14), ("taubench_retail", 15)])
def test_gold_without_its_last_action(name, right, sandbox):
    found = totals(name, sandbox, drop_last, wanted=lambda sample: sample.gold.calls)
    assert (found["official_success"], found["success"]) == (right, right)
