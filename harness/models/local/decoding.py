"""Penalties and filters on one row's logits, as transformers and vLLM define them.

`repetition_penalty` counts what was read and what was written; `presence_penalty` and `frequency_penalty` count what
was written. Filters follow the temperature: top-k, then top-p, then min-p, the order of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.types import Sampling

IMPOSSIBLE = float("-inf")
LOW = (1 << 32) - 1
NEAR = 1 << 17
"""Numbers that stay in the cache of a CPU while they are mixed."""


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


# --- noise -------------------------------------------------------------------------------------------------------


def exponential_waits(seeds: Sequence[int], count: int, size: int, device: Any) -> Any:
    """(len(seeds), size) independent draws from the exponential distribution, above 0, made on the device.

    Counter-based: a number is a hash of its row's seed, of `count` and of its column, and of nothing else. So a row is
    the same in any batch and, but for rounding, on any device. Two rounds of a 32-bit mixer (lowbias32), each with half
    of a 64-bit key; 31 of the bits are used.
    """
    import torch

    keys = torch.tensor([_halves(mix64(seed << 24 ^ count)) for seed in seeds], dtype=torch.int32, device=device)
    columns = torch.arange(size, dtype=torch.int32, device=device)
    together = len(seeds) if keys.is_cuda else max(1, NEAR // size)
    waits = torch.empty((len(seeds), size), device=device)
    for start in range(0, len(seeds), together):
        some = keys[start : start + together]
        bits = _mix32(_mix32(columns ^ some[:, :1]).bitwise_xor_(some[:, 1:])).bitwise_and_(0x7FFFFFFF)
        uniform = bits.float().add_(0.5).mul_(2.0**-31).clamp_(max=1 - 2.0**-24)
        torch.neg(uniform.neg_().log1p_(), out=waits[start : start + together])
    return waits


def mix64(number: int) -> int:
    """A hash of 64 bits (splitmix64)."""
    number = (number + 0x9E3779B97F4A7C15) & ((1 << 64) - 1)
    number = ((number ^ number >> 30) * 0xBF58476D1CE4E5B9) & ((1 << 64) - 1)
    number = ((number ^ number >> 27) * 0x94D049BB133111EB) & ((1 << 64) - 1)
    return number ^ number >> 31


def _halves(number: int) -> list[int]:
    """A number of 64 bits as two signed ones of 32."""
    return [half - (1 << 32) if half >> 31 else half for half in (number & LOW, number >> 32)]


def _mix32(bits: Any) -> Any:
    """A hash of 32-bit integers in their place, element by element; shifts are made unsigned by their masks."""
    bits.bitwise_xor_((bits >> 16).bitwise_and_(0xFFFF)).mul_(0x7FEB352D)
    bits.bitwise_xor_((bits >> 15).bitwise_and_(0x1FFFF)).mul_(0x846CA68B - (1 << 32))
    return bits.bitwise_xor_((bits >> 16).bitwise_and_(0xFFFF))
