"""--max-cost: what may begin, by what episodes cost so far; and what a dry run says that all runs would cost."""

import asyncio
import random

import pytest
from builders import sample
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.evaluation.cost import format_estimates
from harness.evaluation.plan import Plan
from harness.evaluation.spending import SpendingGate
from harness.models.policies import Policy
from harness.runs.prices import Budget, Price
from harness.task import environment_task
from harness.types import Reasoning

DOLLAR = Price(input=0.0, output=1_000_000.0, cached_input=0.0)


def spend(costs, limit, at_once, guess=0.01):
    """Plays episodes of these costs side by side under a limit; the budget, and how many were played."""
    budget = Budget(max_cost=limit)
    played = []

    async def work(gate, waiting):
        for cost in waiting:
            if not await gate.begin():
                return
            for _ in range(round(cost * 3)):
                await asyncio.sleep(0)
            budget.cost += cost
            played.append(cost)
            await gate.end(cost)

    async def run():
        gate, waiting = SpendingGate(budget, guess), iter(costs)
        await asyncio.gather(*(work(gate, waiting) for _ in range(at_once)))

    asyncio.run(run())
    return budget, played


@settings(deadline=None, max_examples=12)
@given(st.integers(0, 10**6), st.sampled_from([1, 4, 16, 64]), st.integers(40, 120))
def test_a_limit_is_passed_by_at_most_five_percent(seed, at_once, limit):
    chance = random.Random(seed)
    costs = [chance.uniform(0.5, 1.5) for _ in range(200)]
    budget, played = spend(costs, limit, at_once, guess=0.2)
    assert budget.cost <= 1.05 * limit
    assert budget.cost >= limit - 3, "no more is held back than an episode or two"
    assert "--max-cost" in budget.limit_reached and len(played) < 200


def test_nothing_is_held_back_that_fits():
    budget, played = spend([1.0] * 20, limit=20.0, at_once=16)
    assert len(played) == 20 and budget.held_back is None


def test_the_first_episode_begins_whatever_the_guess():
    budget, played = spend([1.0] * 5, limit=1.5, at_once=4, guess=100.0)
    assert played == [1.0] and "one more episode costs about $1.0000" in budget.limit_reached


def test_without_a_limit_nothing_waits():
    assert len(spend([1.0] * 5, limit=None, at_once=2)[1]) == 5


# --- the dry run -------------------------------------------------------------------------------------------------


@pytest.fixture
def plan():
    task = environment_task("towns", lambda: [sample()])
    return Plan(tasks=[task], samples={"towns": [sample()]}, groups={})


def test_a_dry_run_gives_a_total_and_prices_reasoning_apart(plan):
    models = [Policy("oracle", 0), Policy("silent", 0)]
    modes = (Reasoning("off"), Reasoning("on"))
    prices = {model.name: DOLLAR for model in models}
    lines = format_estimates(plan, [(model, modes) for model in models], prices).splitlines()
    requests = int(lines[0].partition("about ")[2].split()[0])
    outs = [float(line.rpartition("$")[2].replace(",", "")) for line in lines if "$" in line]
    assert lines[1].startswith("policy/oracle (on)")
    assert (
        lines[2]
        == f"  and reasoning, for every 1,000 tokens a turn: {1000 * requests:,} tokens out, ${1000 * requests:.2f}"
    )
    assert lines[6].startswith(f"In all, 4 runs: 4 episodes; about {4 * requests} requests")
    assert lines[7].startswith(f"  and reasoning, as above: {2000 * requests:,} tokens out")
    assert outs[-2] == pytest.approx(4 * outs[0]) and outs[-1] == 2000 * requests


def test_a_budget_of_reasoning_is_its_most(plan):
    said = format_estimates(plan, [(Policy("oracle", 0), (Reasoning("on", budget=64),))], {})
    assert "  and reasoning, at most, by the budget of 64 tokens a turn" in said and "In all" not in said


def test_one_price_of_two_is_all_that_a_total_knows(plan):
    runs = [(Policy(name, 0), (Reasoning(),)) for name in ("oracle", "silent")]
    alone = format_estimates(plan, runs[:1], {"policy/oracle": DOLLAR}).splitlines()[0].rpartition("$")[2]
    total = format_estimates(plan, runs, {"policy/oracle": DOLLAR}).splitlines()[2]
    assert total.endswith(f"${alone}")
