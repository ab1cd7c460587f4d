"""The loss of policy gradients, token by token, and how an update is cut into pieces that fit into memory.

Every token has its weight in the whole update before the update is cut, so the pieces may be of any size and length:
what a token weighs does not depend on which others it shares a piece with. Sums are over all processes.

The loss is TRL's (and verl's): the lesser of the ratio's and the clipped ratio's, a bound on ratios where the advantage
is negative (dual clip), the k3 estimator of the divergence, a bonus for entropy. Left out: adaptive entropy, losses on
ratios of whole sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from trainer.rl.settings import RLRecipe

Tensor = torch.Tensor


@dataclass(frozen=True, slots=True)
class UpdateSize:
    """What an update is divided by: said tokens and sequences of it, and said tokens of the whole generation, each of
    all processes."""

    tokens: float
    sequences: float
    generation_tokens: float
    updates: int
    processes: int


def weigh_tokens(mask: Tensor, size: UpdateSize, loss: str) -> Tensor:
    """(B, T) weights of tokens, those of `mask` that are 0 without any. Gradients of processes are averaged, so each
    process counts for all of them."""
    if loss == "grpo":
        return mask * size.processes / (size.sequences * mask.sum(1, keepdim=True).clamp(min=1))
    whole = size.tokens if loss == "bnpo" else size.generation_tokens / size.updates
    return mask * size.processes / max(whole, 1)


@dataclass(frozen=True, slots=True)
class TokenLoss:
    """(B, T) losses of a piece, without the entropy bonus, and what is logged of them."""

    losses: Tensor
    logged: Mapping[str, Tensor]


def compute_token_loss(logps: Tensor, piece: Mapping[str, Any], settings: RLRecipe) -> TokenLoss:
    """The loss of each token of a piece, whose log-probabilities under the network as it is are `logps`."""
    advantages = piece["advantages"]
    advantages = advantages.unsqueeze(1) if advantages.dim() == 1 else advantages
    before = piece.get("old_per_token_logps")
    ratio = (logps - (logps.detach() if before is None else before)).exp()
    low, high = 1 - settings.clip, 1 + (settings.clip_high or settings.clip)
    bounded = ratio.clamp(max=settings.dual_clip) if settings.dual_clip else ratio
    losses = -torch.min(bounded * advantages, ratio.clamp(low, high) * advantages)
    if (correction := piece.get("importance_sampling_ratio")) is not None:
        losses = losses * correction
    below, above = (ratio < low) & (advantages < 0), (ratio > high) & (advantages > 0)
    logged = {"clip_ratio/low": below, "clip_ratio/high": above, "clip_ratio/region": below | above}
    if settings.kl:
        apart = piece["ref_per_token_logps"] - logps
        logged["kl"] = apart.exp() - apart - 1
        losses = losses + settings.kl * logged["kl"]
    return TokenLoss(losses, {name: value.detach().float() for name, value in logged.items()})


# --- pieces ------------------------------------------------------------------------------------------------------


def plan_pieces(lengths: Sequence[int], rows: int, tokens: int) -> list[list[int]]:
    """Which sequences go through the network together: at most `rows`, and where `tokens` is not 0, no more of those
    with padding; a longer sequence goes alone. The longest first: where memory runs out, it runs out at once."""
    pieces: list[list[int]] = []
    longest = 0
    for place in sorted(range(len(lengths)), key=lambda place: -lengths[place]):
        full = pieces and (len(pieces[-1]) >= rows or (tokens and longest * (len(pieces[-1]) + 1) > tokens))
        if not pieces or full:
            pieces.append([])
            longest = lengths[place]
        pieces[-1].append(place)
    return pieces


def split_pieces(pieces: Sequence[Sequence[int]], count: int) -> list[list[int]]:
    """The same in `count` pieces or more, for processes that must go through equally many."""
    found = [list(piece) for piece in pieces]
    while len(found) < count:
        largest = max(found, key=len)
        half = len(largest) // 2
        found.append(largest[half:])
        del largest[half:]
    return found
