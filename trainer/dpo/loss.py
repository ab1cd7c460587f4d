"""TRL's DPOTrainer on pairs of whole episodes that are tokens already: what tools printed is read and never learnt."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from harness.models.local.packages import import_quietly
from trainer.guards import GuardedTrainer
from trainer.sft.network import IGNORE_INDEX

trl: Any = import_quietly("trl")


class EpisodePairTrainer(GuardedTrainer, trl.DPOTrainer):  # type: ignore[misc]
    """TRL's own preparation goes through templates, and takes everything after the prompt for the model's words."""

    def _prepare_dataset(self, dataset: Any, *_: Any) -> Any:
        return dataset

    def compute_loss(self, *args: Any, **given: Any) -> Any:
        """TRL's, without its remark about a name of transformers that it uses."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
            return super().compute_loss(*args, **given)


@dataclass(frozen=True, slots=True)
class PairCollator:
    """Makes a batch of B pairs: 2B rows, those that are preferred first, padded on the right."""

    pad: int

    def __call__(self, pairs: Sequence[Mapping[str, Sequence[int]]]) -> dict[str, torch.Tensor]:
        sides = [(pair[f"{side}_ids"], pair[f"{side}_labels"]) for side in ("chosen", "rejected") for pair in pairs]
        width = max(len(ids) for ids, _ in sides)
        return {
            "input_ids": _padded([ids for ids, _ in sides], width, self.pad),
            "attention_mask": _padded([[1] * len(ids) for ids, _ in sides], width, 0),
            "completion_mask": _padded([[int(one != IGNORE_INDEX) for one in said] for _, said in sides], width, 0),
        }


def _padded(rows: Sequence[Sequence[int]], width: int, fill: int) -> torch.Tensor:
    return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows])
