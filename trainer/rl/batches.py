"""A step's sequences as tensors: rewards by turn, some of the rows, no columns of padding alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from trainer.rl.actor import NOT_GENERATED
from trainer.rl.generation import ScoredCompletion


def make_reward_tensors(scored: Sequence[ScoredCompletion], turns: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, turns) rewards, NaN where there is none, and generated tokens of each; with `turns` 1, of the whole."""
    rewards = torch.full((len(scored), turns), math.nan)
    tokens = torch.zeros(len(scored), turns)
    for row, one in enumerate(scored):
        for turn in one.tokens.turns:
            if turn != NOT_GENERATED:
                tokens[row, min(turn, turns - 1)] += 1
        for turn, value in enumerate(one.rewards[:turns]):
            rewards[row, turn] = math.nan if value is None else value
    return rewards, tokens


def select_rows(batch: Mapping[str, Any], places: Sequence[int]) -> dict[str, Any]:
    """Some of a batch's sequences."""
    return {name: value[list(places)] if is_rows(value) else value for name, value in batch.items()}


def trim_padding(piece: Mapping[str, Any]) -> dict[str, Any]:
    """A piece without the columns that are padding in all of its rows: on the prompts' left and on the right."""
    left = piece["prompt_mask"].shape[1] - int(piece["prompt_mask"].sum(1).max())
    wide = piece["completion_mask"].shape[1]
    right = max(1, int(piece["completion_mask"].sum(1).max()))
    short = {}
    for name, value in piece.items():
        if name in ("prompt_ids", "prompt_mask"):
            short[name] = value[:, left:]
        elif is_rows(value) and value.ndim == 2 and value.shape[1] == wide:
            short[name] = value[:, :right]
        else:
            short[name] = value
    return short


def is_rows(value: Any) -> bool:
    """Whether a part of a batch has a row a sequence."""
    return isinstance(value, torch.Tensor) and value.ndim > 0
