"""What a recipe asks of a step: tokens that are played, scored and learnt, what of them is in memory at once, and the
floating-point operations: two a weight and token to read, four more to learn.

Two figures everywhere: for a player who makes the gold calls, and the most that the recipe allows.
"""

from __future__ import annotations

from dataclasses import dataclass

from trainer.dpo.settings import DPORecipe
from trainer.estimate.lengths import Lengths
from trainer.estimate.memory import GPU, Batch, MemoryUse
from trainer.rl.settings import RLRecipe
from trainer.rl.validation import EPISODE_BATCH_SIZE
from trainer.sft.settings import SFTRecipe

Recipe = SFTRecipe | RLRecipe | DPORecipe
UNBOUNDED = 10**9
SHARED = 64
"""Tokens of a prompt below which its samples are learnt from in rows of their own (trainer.rl.shared_prompt)."""


@dataclass(frozen=True, slots=True)
class StepTokens:
    """Tokens of one optimiser step on all processes: read or said while playing, scored without learning, learnt."""

    played: float
    scored: float
    learnt: float

    @property
    def total(self) -> float:
        return self.played + self.scored + self.learnt


def count_operations(parameters: int, use: MemoryUse, tokens: StepTokens) -> StepTokens:
    """Floating-point operations of a step, by the same parts."""
    forward = 2 * parameters
    learning = forward * ((2 if use.lora_rank else 3) + use.checkpointing)  # frozen weights have no gradient
    return StepTokens(forward * tokens.played, forward * tokens.scored, learning * tokens.learnt)


def describe_use(recipe: Recipe, shards: int = 1) -> MemoryUse:
    """How a recipe's training uses the network."""
    if isinstance(recipe, DPORecipe):
        return MemoryUse(reference="float32", apart=True)
    if isinstance(recipe, SFTRecipe):
        return MemoryUse(
            recipe.dtype,
            lora_rank=recipe.lora_rank,
            train_layers=recipe.train_layers,
            checkpointing=recipe.checkpointing,
        )
    return MemoryUse(
        recipe.dtype,
        reference="float32" if recipe.kl and not recipe.lora_rank else "",  # TRL loads it as the policy is
        lora_rank=recipe.lora_rank,
        train_layers=recipe.train_layers,
        checkpointing=recipe.checkpointing,
        vllm=recipe.vllm_memory * GPU if recipe.vllm == "colocate" else 0.0,
    )


# --- tokens a step -----------------------------------------------------------------------------------------------


def count_tokens(recipe: Recipe, lengths: Lengths, answered: float, environments: int) -> StepTokens:
    """Tokens of a step whose episodes go on for `answered` tokens behind their prompt."""
    whole = lengths.prompt + answered
    if isinstance(recipe, SFTRecipe):
        return StepTokens(0, 0, recipe.batch * whole)
    if isinstance(recipe, DPORecipe):
        played = environments * (lengths.prompt + recipe.attempts * answered) / recipe.steps
        return StepTokens(played, 2 * recipe.batch * whole, 2 * recipe.batch * whole)
    prompts = recipe.prompts / recipe.updates
    together = prompts * (lengths.prompt + recipe.samples * answered)
    learnt = together if shares_prompts(recipe, 1) else prompts * recipe.samples * whole
    passes = (recipe.kl > 0) + (recipe.updates > 1 or recipe.vllm != "off")
    return StepTokens(together, passes * learnt, learnt)


def most_answered(recipe: Recipe, lengths: Lengths, prompt: float, context: int | None) -> float:
    """The most tokens that may follow a prompt: every turn said to its limit, and the longest outputs."""
    if isinstance(recipe, SFTRecipe):
        return lengths.longest_said + lengths.longest_read
    turns = 1 if is_single_turn(recipe) else recipe.max_turns
    return max(1, min(turns * recipe.max_tokens + lengths.longest_read, (context or UNBOUNDED) - prompt))


def is_single_turn(recipe: Recipe) -> bool:
    """Whether what is rewarded is one turn behind a prefix."""
    return isinstance(recipe, RLRecipe) and recipe.regime == "step" and recipe.credit == "turn"


def shares_prompts(recipe: RLRecipe, shards: int) -> bool:
    """Whether the samples of a prompt go through the network behind one copy of it."""
    return not recipe.checkpointing and shards == 1


# --- tokens in memory --------------------------------------------------------------------------------------------


def find_batch(recipe: Recipe, lengths: Lengths, context: int | None, processes: int = 1, shards: int = 1) -> Batch:
    """The most tokens that a process has in memory at once. Raises UsageError where processes cannot share a step."""
    if isinstance(recipe, SFTRecipe):
        rows = recipe.micro_batch or recipe.batch
        return Batch(rows * lengths.longest, rows * lengths.longest_said)
    prompt = lengths.longest_prompt
    answered = round(most_answered(recipe, lengths, prompt, context))
    if isinstance(recipe, DPORecipe):
        return Batch(2 * recipe.batch * (prompt + answered), played=EPISODE_BATCH_SIZE * (prompt + answered))
    share = recipe.share_of_update(processes)
    playing = min(EPISODE_BATCH_SIZE, share * recipe.updates) if recipe.vllm == "off" else 0
    return Batch(_piece(recipe, prompt, answered, share, shards), played=playing * (prompt + answered))


def find_least_batch(recipe: Recipe, lengths: Lengths, context: int | None) -> Batch:
    """The same where memory is short: one sequence, the longest; pairs are not cut."""
    if isinstance(recipe, SFTRecipe):
        return Batch(lengths.longest, lengths.longest_said)
    if isinstance(recipe, DPORecipe):
        return find_batch(recipe, lengths, context)
    whole = lengths.longest_prompt + round(most_answered(recipe, lengths, lengths.longest_prompt, context))
    return Batch(whole, played=whole if recipe.vllm == "off" else 0)


def _piece(recipe: RLRecipe, prompt: int, answered: int, share: int, shards: int) -> int:
    """Tokens of the largest piece of an update (trainer.rl.loss.plan_pieces, trainer.rl.shared_prompt)."""
    rows, room = min(recipe.micro_batch, share), recipe.micro_tokens or UNBOUNDED
    together = min(rows, recipe.samples)
    if shares_prompts(recipe, shards) and prompt * (together - 1) >= SHARED:
        return prompt + answered * max(1, min(together, (room - prompt) // answered))
    return (prompt + answered) * max(1, min(rows, room // (prompt + answered)))
