"""The reward function that verl calls for each generated turn: the same rewards as in `harness train`.

verl gives it the generated text without special tokens and the row's ground truth, which is the prefix as a record. The
reward runs the turn's tools in the sandbox; verl calls it from several threads and processes, each process has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from harness.data import jsonio
from harness.errors import UsageError
from trainer.prefixes import Prefix, prefix_from_record
from trainer.rewards import Reward, reward

KEPT = 4096
"""Prefixes kept decoded; verl asks for each as often as it has samples."""

Score = Callable[..., float]


def scorer(name: str, format: str = "hermes", thinking: bool = False) -> Score:
    """verl's compute_score(data_source, solution_str, ground_truth, extra_info) for a step reward.

    `format` is the text format of the model's calls (harness.formats), `thinking` whether its chat template ends the
    prompt inside a block of reasoning; the paper's rewards ask for neither. Raises UsageError for another reward.
    """
    chosen = step_reward(name)

    def compute_score(
        data_source: str,
        solution_str: str,
        ground_truth: str,
        extra_info: Mapping[str, Any] | None = None,
        **more: object,
    ) -> float:
        return chosen.steps([_prefix(ground_truth).to_turn(solution_str, format, thinking)])[0]

    return compute_score


def step_reward(name: str) -> Reward:
    """A reward of single turns by name. Raises UsageError where it judges whole episodes."""
    found = reward(name)
    if found.kind != "step":
        raise UsageError(f"The reward {name!r} judges whole episodes; verl trains single turns: name a step reward.")
    return found


def episode_reward(name: str) -> Reward:
    """A reward of whole episodes by name. Raises UsageError where it judges single turns."""
    found = reward(name)
    if found.kind != "episode":
        raise UsageError(f"The reward {name!r} judges single turns; --regime episode wants an episode's, episode_f1.")
    return found


@lru_cache(maxsize=KEPT)
def _prefix(ground_truth: str) -> Prefix:
    return prefix_from_record(jsonio.parse_json(ground_truth), 0, "the ground truth")
