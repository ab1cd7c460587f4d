"""Advantages by hand: small groups whose values were worked out on paper."""

import argparse
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from harness.errors import UsageError
from trainer.commands import train
from trainer.rl.algorithms import (
    ALGORITHMS,
    STD_EPSILON,
    Algorithm,
    compute_advantages,
    leave_one_out,
    normalise_by_group,
    returns_to_go,
    select_process_rows,
    spread_over_tokens,
    whiten_by_tokens,
)
from trainer.rl.settings import RLRecipe

NAN = math.nan


def close(found, wanted):
    torch.testing.assert_close(found, torch.tensor(wanted), rtol=1e-4, atol=1e-5)


def test_grpo_takes_the_groups_mean_and_divides_by_its_spread():
    rewards = torch.tensor([0.0, 1.0, 2.0, 3.0, 5.0, 5.0])
    spread = 1.0 + STD_EPSILON
    close(normalise_by_group(rewards[:3], 3), [-1 / spread, 0.0, 1 / spread])
    close(
        normalise_by_group(rewards, 3)[3:], [-1.154634, 0.577317, 0.577317]
    )  # 3, 5, 5: mean 13/3, deviation 2/sqrt(3)


def test_grpo_is_what_trl_computes():
    rewards = torch.tensor([0.0, 1.0, 0.5, 0.5, 2.0, -1.0, 0.0, 0.0]).view(2, 4)
    theirs = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
    torch.testing.assert_close(normalise_by_group(rewards.flatten(), 4), theirs.flatten())


def test_rloo_takes_the_mean_of_the_others():
    close(leave_one_out(torch.tensor([0.0, 1.0, 2.0]), 3), [-1.5, 0.0, 1.5])
    close(leave_one_out(torch.tensor([0.0, 1.0, 4.0, 4.0]), 2), [-1.0, 1.0, 0.0, 0.0])


def test_whitening_counts_an_episode_as_often_as_it_has_tokens():
    # tokens 1 1 1 0: mean 0.75, variance (3 * 0.0625 + 0.5625) / 3 = 0.25
    close(whiten_by_tokens(torch.tensor([1.0, 0.0]), torch.tensor([3, 1])), [0.5, -1.5])


def test_whitening_has_no_group_baseline():
    rewards, tokens = torch.tensor([1.0, 1.0, 0.0, 0.0]), torch.tensor([2, 2, 2, 2])
    assert normalise_by_group(rewards, 2).abs().max() == 0
    root = math.sqrt(7 / 8)
    close(whiten_by_tokens(rewards, tokens), [root, root, -root, -root])


def test_what_has_no_reward_counts_nowhere():
    rewards, tokens = torch.tensor([0.0, NAN, 2.0, NAN]), torch.tensor([1, 50, 1, 9])
    close(leave_one_out(rewards, 4), [-2.0, 0.0, 2.0, 0.0])
    close(normalise_by_group(rewards, 4), [-0.707057, 0.0, 0.707057, 0.0])
    close(whiten_by_tokens(rewards, tokens), [-0.707107, 0.0, 0.707107, 0.0])


@pytest.mark.parametrize("algorithm", ["grpo", "rloo"])
def test_alone_in_a_group_nothing_is_learnt(algorithm):
    close(compute_advantages(algorithm, torch.tensor([NAN, 3.0]), torch.ones(2), 2), [0.0, 0.0])


def test_returns_are_summed_from_the_end():
    rewards = torch.tensor([[1.0, -0.5, 2.0], [0.25, 1.0, NAN]])
    found = returns_to_go(rewards)
    close(found[0], [2.5, 1.5, 2.0])
    close(found[1, :2], [1.25, 1.0])
    assert found[1, 2].isnan()


def test_turns_are_compared_with_the_same_turn_of_their_group():
    returns = torch.tensor([[2.0, 1.0, NAN], [0.0, 3.0, 1.0], [4.0, NAN, NAN], [4.0, NAN, NAN]])
    close(compute_advantages("rloo", returns, torch.ones(4, 3), 2)[:2], [[2.0, -2.0, 0.0], [-2.0, 2.0, 0.0]])
    close(compute_advantages("rloo", returns, torch.ones(4, 3), 2)[2:], [[0.0] * 3] * 2)


def test_a_token_has_the_advantage_of_its_turn():
    values = torch.tensor([[1.0, -2.0]])
    close(spread_over_tokens(values, torch.tensor([[0, 0, -1, -1, 1, -1]])), [[1.0, 1.0, 0.0, 0.0, -2.0, 0.0]])


def test_a_process_gets_its_own():
    close(select_process_rows(torch.arange(6.0), 1, 3), [3.0, 4.0, 5.0])


def test_an_algorithm_more_is_one_entry(monkeypatch):
    with pytest.raises(UsageError, match=r"algorithm must be one of grpo, reinforce\+\+, rloo\.$"):
        RLRecipe("episode", algorithm="raw")
    raw = Algorithm("the rewards as they are", lambda rewards, tokens, group: rewards)
    monkeypatch.setitem(ALGORITHMS, "raw", raw)
    assert RLRecipe("episode", algorithm="raw").algorithm == "raw"
    close(compute_advantages("raw", torch.tensor([1.0, 3.0]), torch.ones(2), 2), [1.0, 3.0])
    parser = argparse.ArgumentParser()
    train.configure(parser)
    assert "grpo, reinforce++, rloo or raw" in " ".join(parser.format_help().split())


def test_the_docs_say_what_each_algorithm_is():
    page = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")
    for name, algorithm in ALGORITHMS.items():
        assert f"`{name}` ({algorithm.about})" in page


def test_algorithms_can_be_listed_without_torch():
    done = [
        sys.executable,
        "-c",
        "import sys, trainer.rl.settings, trainer.commands.train; print('torch' in sys.modules)",
    ]
    assert subprocess.run(done, capture_output=True, text=True, check=True).stdout == "False\n"
