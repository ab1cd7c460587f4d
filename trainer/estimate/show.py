"""An estimate as a person reads it: memory by part, what would fit, tokens and operations a step."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from tabulate import tabulate

from harness.errors import UsageError
from trainer.dpo.settings import DPORecipe
from trainer.estimate.lengths import CHARACTERS_A_TOKEN, Lengths
from trainer.estimate.memory import (
    BOTH,
    BYTES,
    GPU,
    LEARNING,
    MemoryPart,
    MemoryUse,
    count_trained,
    estimate_memory,
    find_peak,
    sum_phase,
)
from trainer.estimate.model import NEW, EstimatedModel
from trainer.estimate.step import (
    Recipe,
    count_operations,
    count_tokens,
    describe_use,
    find_batch,
    find_least_batch,
    most_answered,
)
from trainer.rl.settings import RLRecipe
from trainer.sft.settings import SFTRecipe

RANK = 16
"""Of the adapters that are advised."""
SHARDS = (2, 4, 8, 16, 32, 64)
GB, MB = 1e9, 1e6
FIXED = ("master weights", "frozen weights", "adapters", "gradients", "Adam's two moments", "reference model")
"""Parts that are the same whatever the batch."""
RESERVE = 1.2
"""How much more than what is counted a GPU must have: for libraries, kernels and what the allocator cannot use."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What an estimate is made of; `operations`: what a GPU makes of them in a second, None where nobody said."""

    recipe: Recipe
    model: EstimatedModel
    lengths: Lengths
    environments: int
    built: bool
    processes: int = 1
    operations: float | None = None

    @property
    def use(self) -> MemoryUse:
        return describe_use(self.recipe)

    def parts(self, shards: int = 1, least: bool = False) -> list[MemoryPart]:
        """Memory by part on each of `shards` GPUs that share the weights, or on one of the processes; `least`: where
        one sequence is learnt from or played at a time."""
        batch = find_batch(self.recipe, self.lengths, self.model.context, max(shards, self.processes), shards)
        batch = find_least_batch(self.recipe, self.lengths, self.model.context) if least else batch
        return estimate_memory(self.model.shape, self.use, batch, shards)


def describe_estimate(one: Estimate) -> str:
    """What a person is told."""
    parts = [_tell_model(one), _show_memory(one), tell_fit(one), *_tell_shards(one), _show_step(one), _tell_rest(one)]
    return "\n\n".join(parts)


def _tell_model(one: Estimate) -> str:
    shape, trained = one.model.shape, count_trained(one.model.shape, one.use)
    told = f"{trained:,} in adapters" if one.use.lora_rank else f"{trained:,} of them"
    return (
        f"{one.model.name}: {shape.parameters:,} parameters ({shape.kind}, {shape.layers} layers of {shape.hidden}); "
        f"the regime {one.recipe.regime} trains {told}."
    )


# --- memory ------------------------------------------------------------------------------------------------------


def _show_memory(one: Estimate) -> str:
    whole = one.parts()
    columns = {"one GPU" if one.processes == 1 else f"each of {one.processes}, whole": whole}
    if one.processes > 1:
        columns["in shards"] = one.parts(one.processes)
    unit, word = (GB, "GB") if whole[0].bytes >= GB else (MB, "MB")
    names = [part.name for part in whole]
    names += [part.name for parts in columns.values() for part in parts if part.name not in names]
    rows = [
        (name, [sum(part.bytes for part in parts if part.name == name) for parts in columns.values()]) for name in names
    ]
    rows += [
        (f"at once while {phase}", [sum_phase(parts, phase) for parts in columns.values()]) for phase in _phases(whole)
    ]
    table = [[name, *(f"{value / unit:,.1f}" for value in values)] for name, values in rows]
    aligned = ("left", *["right"] * len(columns))
    return tabulate(table, headers=[f"memory, {word}, at most", *columns], disable_numparse=True, colalign=aligned)


def _phases(parts: Sequence[MemoryPart]) -> Sequence[str]:
    plays = any(LEARNING not in part.phases for part in parts)
    return BOTH if plays else (LEARNING,)


def tell_fit(one: Estimate) -> str:
    """Whether it fits on one GPU, and if not, what would."""
    most, least = find_peak(one.parts()), find_peak(one.parts(least=True))
    if _fits(most):
        return f"{_size(most)} at most, and a fifth as a reserve, fit on a GPU of {_size(GPU)}."
    if _fits(least):
        halved = "where memory runs out, pieces are halved" if isinstance(one.recipe, RLRecipe) else "set micro_batch=1"
        return (
            f"{_size(most)} at most, and a fifth as a reserve, do not fit on a GPU of {_size(GPU)}; one sequence at a "
            f"time takes {_size(least)}, which does: {halved}."
        )
    held = {name: part.bytes for part in one.parts() if (name := part.name.partition(",")[0]) in FIXED}
    fixed = ", ".join(f"{name} {value / GB:,.0f}" for name, value in held.items())
    would = "; or ".join(_find_ways(one)) or "nothing that a recipe can say; take a smaller model"
    return (
        f"{_size(least)}, one sequence at a time, and a fifth as a reserve do not fit on a GPU of {_size(GPU)}: "
        f"{fixed} are {_size(sum(held.values()))} whatever the batch. What would: {would}."
    )


def _fits(peak: float) -> bool:
    return RESERVE * peak <= GPU


def _find_ways(one: Estimate) -> Iterator[str]:
    """Changes after which a GPU holds it, a sequence at a time: more GPUs or adapters; else with checkpointing."""
    if isinstance(one.recipe, DPORecipe):
        return
    found = list(_find_changes(one, one.recipe, ""))
    yield from found or _find_changes(one, replace(one.recipe, checkpointing=True), "checkpointing=true")


def _find_changes(one: Estimate, recipe: RLRecipe | SFTRecipe, told: str) -> Iterator[str]:
    changed = replace(one, recipe=recipe)
    beside = f" with {told}" if told else ""
    if told and _fits(peak := find_peak(changed.parts(least=True))):
        yield f"{told} ({_size(peak)})"
    if isinstance(recipe, RLRecipe):
        yield from _find_shards(changed, beside)
    if not recipe.lora_rank and one.model.name != NEW:
        adapted = replace(one, recipe=replace(recipe, lora_rank=RANK, train_layers=""))
        if _fits(peak := find_peak(adapted.parts(least=True))):
            yield f"lora_rank={RANK}{beside} ({_size(peak)})"


def _find_shards(one: Estimate, beside: str) -> Iterator[str]:
    """The fewest GPUs whose shards fit, if any; adapters are not trained in shards."""
    if isinstance(one.recipe, RLRecipe) and one.recipe.lora_rank:
        return
    for count in SHARDS:
        try:
            peak = find_peak(one.parts(count, least=True))
        except UsageError:  # so many cannot share a step
            continue
        if _fits(peak):
            yield f"shards over {count} GPUs (FSDP 2){beside} ({_size(peak)} each)"
            return


def _tell_shards(one: Estimate) -> list[str]:
    if one.processes == 1:
        return []
    return [
        "Whole is DDP, what torchrun and accelerate launch start: it divides the work, and its buckets take as much as "
        "the gradients once more. In shards is FSDP 2, beside which a whole network plays where vllm is off."
    ]


def _size(value: float) -> str:
    if value < GB:
        return f"{value / MB:,.0f} MB"
    return f"{value / GB:,.0f} GB" if value >= 10 * GB else f"{value / GB:.2g} GB"


# --- a step ------------------------------------------------------------------------------------------------------


def _show_step(one: Estimate) -> str:
    lengths, parameters = one.lengths, one.model.shape.parameters
    longest = most_answered(one.recipe, lengths, lengths.prompt, one.model.context)
    columns = [
        count_tokens(one.recipe, lengths, answered, one.environments) for answered in (lengths.answered, longest)
    ]
    made = [count_operations(parameters, one.use, tokens) for tokens in columns]
    rows = [
        ["tokens played", *(f"{tokens.played:,.0f}" for tokens in columns)],
        ["tokens scored", *(f"{tokens.scored:,.0f}" for tokens in columns)],
        ["tokens learnt from", *(f"{tokens.learnt:,.0f}" for tokens in columns)],
        ["operations, playing", *(f"{tokens.played:.2e}" for tokens in made)],
        ["operations, scoring", *(f"{tokens.scored:.2e}" for tokens in made)],
        ["operations, learning", *(f"{tokens.learnt:.2e}" for tokens in made)],
    ]
    if one.operations is not None:
        rate = one.operations * one.processes
        rows.append(["seconds", *(f"{tokens.total / rate:,.3g}" for tokens in made)])
    aligned = ("left", "right", "right")
    return tabulate(rows, headers=["a step", "gold calls", "at most"], disable_numparse=True, colalign=aligned)


def _tell_rest(one: Estimate) -> str:
    lengths, recipe, parameters = one.lengths, one.recipe, one.model.shape.parameters
    by = "the model's tokenizer"
    if one.model.local is None:
        by = f"{CHARACTERS_A_TOKEN} characters a token, because no tokenizer is at hand"
    which = "built to be measured" if one.built else f"of {one.environments:,}"
    rate = "" if one.operations else " Divide the operations by what a device makes in a second (or say --flops)."
    stored = BYTES[recipe.save_dtype] * parameters
    checkpoint = 4 * parameters + 8 * count_trained(one.model.shape, one.use)
    return (
        f"Prompts: {lengths.measured:,} {which}, {lengths.prompt:,.0f} tokens on average, {lengths.longest_prompt:,} "
        f"at most; gold calls add {lengths.answered:,.0f}, without reasoning. By {by}.{rate}\n"
        f"On disk: DIR/model {_size(stored)} in {recipe.save_dtype}, a checkpoint {_size(checkpoint)}."
    )
