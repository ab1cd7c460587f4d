"""What the rows of a batch take of their logits, each by itself, and when they end.

Penalties and filters are those of transformers and vLLM. `repetition_penalty` counts what was read and what was
written; `presence_penalty` and `frequency_penalty` count what was written. Filters follow the temperature: top-k, then
top-p, then min-p, the order of transformers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.models.local.rows import PromptRow
from harness.models.local.tokenizer import ModelTokenizer, has_stop_string
from harness.types import Sampling

PENALTIES = frozenset({"presence_penalty", "frequency_penalty", "repetition_penalty"})
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


def exponential_waits(seeds: Sequence[int], counts: Sequence[int], size: int, device: Any) -> Any:
    """(len(seeds), size) independent draws from the exponential distribution, above 0, made on the device.

    Counter-based: a number is a hash of its row's seed and count and of its column, and of nothing else. So a row is
    the same in any batch and, but for rounding, on any device. Two rounds of a 32-bit mixer (lowbias32), each with half
    of a 64-bit key; 31 of the bits are used.
    """
    import torch

    keys = torch.tensor(
        [_halves(mix64(seed << 24 ^ count)) for seed, count in zip(seeds, counts, strict=True)],
        dtype=torch.int32,
        device=device,
    )
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


class GumbelNoise:
    """Sampling that a batch does not change: logits / temperature + Gumbel noise, of which the greatest is taken.

    That is a draw from the softmax (the Gumbel-max trick). The noise of a token is a function of its row's seed, of how
    many tokens that has drawn before and of the token alone, computed where the logits are (see exponential_waits).
    Penalties come before and filters between the two. Rows of temperature 0 keep their logits, apart from penalties.
    """

    def __init__(self, rows: Sequence[PromptRow]) -> None:
        self._longest = max(len(row.ids) for row in rows)
        self._rows = list(rows)

    @property
    def any(self) -> bool:
        """Whether any row is drawn at all, or has other logits than the network's."""
        samplings = [row.request.sampling for row in self._rows]
        return any(sampling.temperature > 0 or sampling.options for sampling in samplings)

    def select(self, places: Sequence[int]) -> None:
        """Goes on with some of the rows."""
        self._rows = [self._rows[place] for place in places]

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Scores of shape (rows, vocabulary) with noise, in float32."""
        import torch

        noisy, drawn = scores.float(), list[int]()
        for place, row in enumerate(self._rows):
            sampling = row.request.sampling
            if PENALTIES & set(sampling.options):
                written = input_ids[place, self._longest :]
                written = torch.cat([written.new_tensor(row.written), written])
                noisy[place] = penalise(noisy[place], row.ids, written, sampling)
            if sampling.temperature > 0:
                noisy[place] = keep_likely(noisy[place] / sampling.temperature, sampling)
                drawn.append(place)
        if drawn:
            rows, new = [self._rows[place] for place in drawn], input_ids.shape[1] - self._longest
            seeds, counts = [row.seed for row in rows], [row.drawn + new for row in rows]
            waits = exponential_waits(seeds, counts, noisy.shape[1], noisy.device)
            noisy[drawn] -= waits.log()
        return noisy


class RowStoppingCriteria:
    """Ends a row at its own token limit, or when a stop string of the format is among its last tokens; where rows
    `leave` the batch, all end when half are done.

    It only saves time: what a row's reply is, is cut out of its tokens afterwards.
    """

    LAST = 16
    """Tokens that are decoded to look for a stop string."""

    def __init__(self, local: ModelTokenizer, rows: Sequence[PromptRow], start: int, leave: bool) -> None:
        import torch

        self._local = local
        self._start = start
        self._leave = leave
        self._begun = [len(row.begun) for row in rows]
        self._rooms = torch.tensor([row.max_new_tokens for row in rows])
        self._ends = torch.tensor(local.end_token_ids)
        self._done = torch.zeros(len(rows), dtype=torch.bool)

    def __call__(self, input_ids: Any, scores: Any, **more: Any) -> Any:
        """Which rows are done, as a boolean tensor of shape (rows,)."""
        import torch

        # Not the last token alone: on some devices the check comes some tokens late.
        last = input_ids[:, max(self._start, input_ids.shape[1] - self.LAST) :].cpu()
        self._done |= self._rooms <= input_ids.shape[1] - self._start
        self._done |= torch.isin(last, self._ends).any(dim=1)
        if self._local.format.stop:
            ends = input_ids[:, -self.LAST :].tolist()  # a reply that was begun before may have half of it
            said = [min(self.LAST, begun + input_ids.shape[1] - self._start) for begun in self._begun]
            stops = [has_stop_string(self._local, ids[-count:]) for ids, count in zip(ends, said, strict=True)]
            self._done |= torch.tensor(stops)
        if self._leave and 2 * int(self._done.sum()) >= len(self._done):
            return torch.ones_like(self._done).to(input_ids.device)
        return self._done.to(input_ids.device)
