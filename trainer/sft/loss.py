"""The loss of warm-up: cross entropy of what the assistant says, computed there and nowhere else.

Three quarters of an episode's tokens are the prompt's and the tools'. The network reads them all, but logits are made
only for the tokens that count; on a CPU, TRL's own loss makes them for every token, which costs as much as the network.
Rows are padded on the right, where nothing that counts ever looks, so the attention needs no mask.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from harness.models.local.packages import import_quietly
from trainer.adapters import has_adapters
from trainer.guards import GuardedTrainer
from trainer.precision import compute_in
from trainer.sft.network import IGNORE_INDEX

trl: Any = import_quietly("trl")


SHAPED = ("final_logit_softcapping", "logit_scale", "logits_scaling", "lm_head_multiplier", "output_multiplier")
"""What configurations have whose models do more to a hidden state than multiply it by the head."""


@dataclass(frozen=True, slots=True)
class TokenLosses:
    """The n said tokens of a batch, row after row: the row of each, its loss in nats, whether it was the likeliest."""

    rows: torch.Tensor
    losses: torch.Tensor
    likeliest: torch.Tensor


def compute_token_losses(model: Any, ids: torch.Tensor, labels: torch.Tensor) -> TokenLosses:
    """What a causal model makes of token ids (B, L), padded on the right, where labels (B, L) are not IGNORE_INDEX.

    Where the model does more than multiply (scaled or capped logits), it makes them all itself.
    """
    rows, places = (labels[:, 1:] != IGNORE_INDEX).nonzero(as_tuple=True)
    inner = model.get_base_model() if has_adapters(model) else model
    if any(getattr(model.config, name, None) is not None for name in SHAPED):
        logits = model(input_ids=ids, use_cache=False).logits[rows, places].float()
    else:
        hidden = inner.base_model(input_ids=ids, use_cache=False).last_hidden_state
        logits = inner.get_output_embeddings()(hidden[rows, places]).float()
    wanted = labels[rows, places + 1]
    losses = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
    return TokenLosses(rows, losses, logits.argmax(dim=1) == wanted)


class AssistantLossTrainer(GuardedTrainer, trl.SFTTrainer):  # type: ignore[misc]
    """TRL's trainer with that as its loss: the mean over all said tokens of a step. `computed`: in which precision."""

    computed = "float32"

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss, a scalar."""
        with compute_in(self.computed, inputs["input_ids"].device.type):
            found = compute_token_losses(model, inputs["input_ids"], inputs["labels"])
        self._metrics["train"]["mean_token_accuracy"].append(found.likeliest.float().mean().item())
        return found.losses.sum() / num_items_in_batch
