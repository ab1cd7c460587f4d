"""What advantages must be whatever the rewards are."""

import math

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from trainer.rl.algorithms import (
    compute_advantages,
    leave_one_out,
    normalise_by_group,
    returns_to_go,
    select_process_rows,
    spread_over_tokens,
    whiten_by_tokens,
)

GROUP = 4
rewards = st.lists(st.floats(-1, 2, width=32), min_size=GROUP, max_size=6 * GROUP).map(
    lambda values: torch.tensor(values[: len(values) // GROUP * GROUP], dtype=torch.float64)
)


@given(rewards)
@settings(max_examples=100, deadline=None)
def test_groups_have_mean_zero(values):
    for found in (normalise_by_group(values, GROUP), leave_one_out(values, GROUP)):
        assert found.view(-1, GROUP).sum(1).abs().max() < 1e-6


@given(rewards, st.floats(-3, 3))
@settings(max_examples=100, deadline=None)
def test_a_group_baseline_takes_a_constant_away(values, shift):
    for function in (normalise_by_group, leave_one_out):
        torch.testing.assert_close(function(values, GROUP), function(values + shift, GROUP), atol=1e-6, rtol=1e-6)


@given(rewards, st.data())
@settings(max_examples=100, deadline=None)
def test_whitening_is_that_of_the_tokens(values, data):
    counts = data.draw(st.lists(st.integers(1, 9), min_size=len(values), max_size=len(values)))
    spread_out = torch.cat([value.repeat(count) for value, count in zip(values, counts, strict=True)])
    assume(spread_out.std() > 1e-2)
    wanted = (values - spread_out.mean()) / spread_out.std()
    torch.testing.assert_close(whiten_by_tokens(values, torch.tensor(counts)), wanted, atol=1e-4, rtol=1e-4)


@given(rewards, st.sampled_from(["grpo", "rloo", "reinforce++"]), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_processes_together_see_what_one_would(values, algorithm, draw):
    tokens = torch.tensor([float(draw.randint(1, 9)) for _ in values])
    whole = compute_advantages(algorithm, values, tokens, GROUP)
    size = len(values) // 2
    parts = [
        select_process_rows(compute_advantages(algorithm, values, tokens, GROUP), process, size) for process in (0, 1)
    ]
    torch.testing.assert_close(torch.cat(parts), whole[: 2 * size])


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=4), min_size=GROUP, max_size=GROUP))
@settings(max_examples=100, deadline=None)
def test_turns_that_were_not_taken_earn_nothing(episodes):
    table = torch.full((GROUP, 4), math.nan, dtype=torch.float64)
    for row, turns in enumerate(episodes):
        table[row, : len(turns)] = torch.tensor(turns, dtype=torch.float64)
    returns = returns_to_go(table)
    first = torch.tensor([math.fsum(turns) for turns in episodes], dtype=torch.float64)
    torch.testing.assert_close(returns[:, 0], first, atol=1e-6, rtol=1e-6)
    for algorithm in ("grpo", "rloo", "reinforce++"):
        found = compute_advantages(algorithm, returns, torch.ones_like(returns), GROUP)
        assert not found.isnan().any()
        assert found[table.isnan()].abs().sum() == 0


@given(st.lists(st.integers(-1, 3), min_size=1, max_size=20))
@settings(max_examples=100, deadline=None)
def test_tokens_between_turns_have_no_advantage(turns):
    found = spread_over_tokens(torch.tensor([[1.0, 2.0, 3.0, 4.0]]), torch.tensor([turns]))
    assert found[0].tolist() == [float(turn + 1) for turn in turns]
