"""The paper's four step rewards, recorded with its own code on turns that answer the released rows: 654 of 654."""

import json
from functools import cache

import pytest
from builders import RELEASED, SHARED, needs

from trainer.rewards import REWARDS, Turn, paper_f1, paper_pr, paper_precision, paper_rate

RECORDED = SHARED / "golden" / "ftrl_step_rewards.jsonl"
OURS = {
    "solve_f1": paper_f1,
    "solve_precision": paper_precision,
    "solve_rate": paper_rate,
    "solve_pr": paper_pr,
}


@cache
def codes():
    lines = needs(RELEASED).read_text(encoding="utf-8").splitlines()
    return [json.loads(json.loads(line)["codes"]) for line in lines]


@cache
def recorded():
    return [json.loads(line) for line in needs(RECORDED).read_text(encoding="utf-8").splitlines()]


def turn(row):
    return Turn(row["response"], codes()[row["line"]], row["unsolved_set"], row["solve_rate"], row["answer"])


def test_every_recorded_case_is_there():
    assert len(recorded()) == 654
    assert {frozenset(row["expected"]) for row in recorded()} == {frozenset(OURS)}


@pytest.mark.parametrize("metric", sorted(OURS))
def test_the_papers_reward_case_by_case(metric):
    differing = [
        (row["line"], row["state"], row["case"])
        for row in recorded()
        if OURS[metric](row["response"], codes()[row["line"]], row["unsolved_set"], row["solve_rate"], row["answer"])
        != row["expected"][metric]
    ]
    assert differing == []


def test_a_batch_gives_the_same():
    rewards = REWARDS["paper_f1"].steps([turn(row) for row in recorded()])
    assert rewards == [row["expected"]["solve_f1"] for row in recorded()]
