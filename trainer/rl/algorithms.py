"""Advantages: how much better than expected each episode, or each turn of one, was. Plain functions of tensors.

ALGORITHMS at the end is the list: an entry there is all that a further algorithm needs. Settings, help texts, exports
and tests read it, so nothing here needs torch before there are tensors.

All of them exist by turn too: the rewards of an episode's turns become returns-to-go, and a turn is compared with the
same turn of its group. All of them are given the whole batch, of every process; `select_process_rows` takes one
process's share out.

NaN marks what has no reward, such as an episode that the sandbox broke: it counts in no mean and its advantage is 0.
Left out: a learnt value function, discounts (the paper's is 1).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

STD_EPSILON = 1e-4
"""Added to a group's spread, as TRL does."""


def compute_advantages(algorithm: str, rewards: Tensor, tokens: Tensor, group: int) -> Tensor:
    """Advantages in the shape of `rewards`: (N,) of episodes, or (N, M) of turns that are returns-to-go already.

    `tokens` has the shape of `rewards`: how many tokens the model generated there. `group` samples of one prompt stand
    side by side.
    """
    return ALGORITHMS[algorithm].advantages(rewards, tokens, group)


def normalise_by_group(rewards: Tensor, group: int) -> Tensor:
    """(N,) or (N, M): less the group's mean, divided by its sample standard deviation. Alone in its group: 0."""
    grouped = rewards.reshape(-1, group, *rewards.shape[1:])
    count = (~grouped.isnan()).sum(1, keepdim=True)
    centred = grouped - grouped.nanmean(1, keepdim=True)
    variance = centred.nan_to_num().square().sum(1, keepdim=True) / (count - 1).clamp(min=1)
    found: Tensor = (centred / (variance.sqrt() + STD_EPSILON)).nan_to_num().flatten(0, 1)
    return found


def leave_one_out(rewards: Tensor, group: int) -> Tensor:
    """(N,) or (N, M): less the mean of the others of the group. Alone in its group: 0."""
    grouped = rewards.reshape(-1, group, *rewards.shape[1:])
    others = (~grouped.isnan()).sum(1, keepdim=True) - 1
    rest = grouped.nansum(1, keepdim=True) - grouped
    compared = (grouped - rest / others.clamp(min=1)).masked_fill(others <= 0, 0.0)
    found: Tensor = compared.nan_to_num().flatten(0, 1)
    return found


def whiten_by_tokens(rewards: Tensor, tokens: Tensor) -> Tensor:
    """Any shape: mean 0 and variance 1 over tokens, where an entry counts as often as it has tokens.

    An episode's reward is every response token's return (the paper's verl setting, discount 1), so that long episodes
    weigh more. The variance is that of a sample of so many tokens, as verl's masked_whiten has it.
    """
    weights = tokens.to(rewards.dtype).masked_fill(rewards.isnan(), 0.0)
    total = weights.sum().clamp(min=1)
    centred = rewards.nan_to_num() - (rewards.nan_to_num() * weights).sum() / total
    variance = (centred.square() * weights).sum() / (total - 1).clamp(min=1)
    return (centred * (variance + 1e-8).rsqrt()).masked_fill(rewards.isnan(), 0.0)


def returns_to_go(rewards: Tensor) -> Tensor:
    """(N, M) rewards of turns, NaN after an episode's last: of each turn, the sum of its own and all later ones."""
    summed = rewards.nan_to_num().flip(1).cumsum(1).flip(1)
    return summed.masked_fill(rewards.isnan(), math.nan)


def spread_over_tokens(values: Tensor, turns: Tensor) -> Tensor:
    """(B, M) values of turns on (B, T) tokens: `turns` has each token's turn, -1 for none: 0."""
    taken = values.gather(1, turns.clamp(min=0))
    return taken.masked_fill(turns < 0, 0.0)


def select_process_rows(values: Tensor, process: int, size: int) -> Tensor:
    """The part of process number `process`, where each of them has `size` episodes side by side."""
    return values[process * size : (process + 1) * size]


# --- what there is -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Algorithm:
    """`advantages` takes rewards, tokens and the size of a group, as compute_advantages does, and gives their shape.

    about  a few words, for help texts and docs
    ours   False: TRL's own trainer computes the same where a sequence has one reward, and does
    verl   verl's name of its estimator; None: not exported
    """

    about: str
    advantages: Callable[[Tensor, Tensor, int], Tensor]
    ours: bool = True
    verl: str | None = None


ALGORITHMS = {
    "grpo": Algorithm(
        "less the group's mean, divided by its spread",
        lambda rewards, tokens, group: normalise_by_group(rewards, group),
        ours=False,
        verl="grpo",
    ),
    "reinforce++": Algorithm(
        "no group: whitened over all response tokens of all processes, the paper's",
        lambda rewards, tokens, group: whiten_by_tokens(rewards, tokens),
        verl="reinforce_plus_plus",
    ),
    "rloo": Algorithm("less the mean of the others", lambda rewards, tokens, group: leave_one_out(rewards, group)),
}
"""By the name that recipes and --algorithm have for it."""


def join_algorithm_names() -> str:
    """The names, as a sentence has them: a, b or c."""
    *others, last = ALGORITHMS
    return f"{', '.join(others)} or {last}" if others else last
