"""Advantages: how much better than expected each episode, or each turn of one, was. Plain functions of tensors.

grpo         less the mean of the group (the samples of one prompt), divided by the group's spread, as TRL has it
rloo         less the mean of the others of the group
reinforce++  no group baseline: an episode's reward is every response token's return, and returns are whitened over all
             response tokens of all processes (the paper's verl setting, discount 1), so that long episodes weigh more

The same three exist by turn: the rewards of an episode's turns become returns-to-go, and a turn is compared with the
same turn of its group. All of them are given the whole batch, of every process; `local` takes one process's share out.

NaN marks what has no reward, such as an episode that the sandbox broke: it counts in no mean and its advantage is 0.
Left out: a learnt value function, discounts (the paper's is 1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

LEAST = 1e-4
"""Added to a group's spread, as TRL does."""


def advantages(algorithm: str, rewards: Tensor, tokens: Tensor, group: int) -> Tensor:
    """Advantages in the shape of `rewards`: (N,) of episodes, or (N, M) of turns that are returns-to-go already.

    `tokens` has the shape of `rewards`: how many tokens the model generated there. `group` samples of one prompt stand
    side by side. Raises ValueError for an algorithm that there is not.
    """
    if algorithm == "grpo":
        return normalised(rewards, group)
    if algorithm == "rloo":
        return leave_one_out(rewards, group)
    if algorithm == "reinforce++":
        return whitened(rewards, tokens)
    raise ValueError(f"there is no algorithm {algorithm!r}")


def normalised(rewards: Tensor, group: int) -> Tensor:
    """(N,) or (N, M): less the group's mean, divided by its sample standard deviation. Alone in its group: 0."""
    grouped = rewards.reshape(-1, group, *rewards.shape[1:])
    count = (~grouped.isnan()).sum(1, keepdim=True)
    centred = grouped - grouped.nanmean(1, keepdim=True)
    variance = centred.nan_to_num().square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
    found: Tensor = (centred / (variance.sqrt() + LEAST)).nan_to_num().flatten(0, 1)
    return found


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """(N,) or (N, M): less the mean of the others of the group. Alone in its group: 0."""
    grouped = rewards.reshape(-1, group, *rewards.shape[1:])
    others = (~grouped.isnan()).sum(1, keepdim=True) - 1
    rest = grouped.nansum(1, keepdim=True) - grouped
    alone = torch.where(others > 0, grouped - rest / others.clamp(min=1), torch.zeros_like(grouped))
    found: Tensor = alone.nan_to_num().flatten(0, 1)
    return found


def whitened(rewards: Tensor, tokens: Tensor) -> Tensor:
    """Any shape: mean 0 and variance 1 over tokens, where an entry counts as often as it has tokens.

    The variance is that of a sample of so many tokens, as verl's masked_whiten has it.
    """
    weights = torch.where(rewards.isnan(), 0.0, tokens.to(rewards.dtype))
    total = weights.sum().clamp(min=1)
    centred = rewards.nan_to_num() - (rewards.nan_to_num() * weights).sum() / total
    variance = (centred.square() * weights).sum() / (total - 1).clamp(min=1)
    return torch.where(rewards.isnan(), 0.0, centred * torch.rsqrt(variance + 1e-8))


def returns_to_go(rewards: Tensor) -> Tensor:
    """(N, M) rewards of turns, NaN after an episode's last: of each turn, the sum of its own and all later ones."""
    summed = rewards.nan_to_num().flip(1).cumsum(1).flip(1)
    return torch.where(rewards.isnan(), rewards, summed)


def on_tokens(values: Tensor, turns: Tensor) -> Tensor:
    """(B, M) values of turns on (B, T) tokens: `turns` has each token's turn, -1 for none: 0."""
    taken = values.gather(1, turns.clamp(min=0))
    return torch.where(turns < 0, 0.0, taken)


def local(values: Tensor, process: int, size: int) -> Tensor:
    """The part of process number `process`, where each of them has `size` episodes side by side."""
    return values[process * size : (process + 1) * size]
