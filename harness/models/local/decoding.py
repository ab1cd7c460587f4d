"""Penalties and filters on one row's logits, as transformers and vLLM define them.

`repetition_penalty` counts what was read and what was written; `presence_penalty` and `frequency_penalty` count what
was written. Filters follow the temperature: top-k, then top-p, then min-p, the order of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.types import Sampling

IMPOSSIBLE = float("-inf")


def penalise(logits: Any, read: Sequence[int], written: Any, sampling: Sampling) -> Any:
    """Logits of shape (vocabulary,) after the penalties; `written` is a tensor of token ids, maybe empty."""
    import torch

    if (penalty := sampling.repetition_penalty) is not None:
        seen: Any = torch.cat([torch.tensor(read, dtype=torch.long, device=logits.device), written])
        seen = seen.unique()
        before = logits[seen]
        logits = logits.index_put((seen,), torch.where(before < 0, before * penalty, before / penalty))
    counts = torch.bincount(written, minlength=logits.shape[0])
    return logits - (sampling.frequency_penalty or 0.0) * counts - (sampling.presence_penalty or 0.0) * (counts > 0)


def keep_likely(logits: Any, sampling: Sampling) -> Any:
    """Logits of shape (vocabulary,), already divided by the temperature, without those that are filtered out."""
    import torch

    if sampling.top_k is not None:
        least = logits.topk(min(sampling.top_k, logits.shape[0])).values[-1]
        logits = logits.masked_fill(logits < least, IMPOSSIBLE)
    if sampling.top_p is not None:
        ordered, places = logits.sort()
        rare = ordered.softmax(dim=0).cumsum(dim=0) <= 1 - sampling.top_p
        rare[-1] = False  # the likeliest always stays
        logits = logits.masked_fill(torch.zeros_like(rare).scatter(0, places, rare), IMPOSSIBLE)
    if sampling.min_p is not None:
        shares = logits.softmax(dim=0)
        logits = logits.masked_fill(shares < sampling.min_p * shares.max(), IMPOSSIBLE)
    return logits
