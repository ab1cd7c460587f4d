"""The trained rows of the paper's Table 2, by the names that --row takes, and what a rehearsal of one makes small.

A row's settings are those of its recipe (trainer/recipes/paper-*.toml) and of FTRL's scripts (arXiv 2508.08791): three
rounds of collecting at temperature 1 and training, then greedy evaluation of the base model and of the last round's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ROUNDS = 3


@dataclass(frozen=True, slots=True)
class TrainedRow:
    """A row: `published` and `base` are how the paper's table calls it and its base model, `weights` how the hub calls
    what it begins with. `reasoning` is the mode of all its episodes, `max_tokens` their new tokens a turn."""

    name: str
    published: str
    base: str
    weights: str
    recipe: str
    algorithm: str
    reasoning: str
    max_tokens: int


@dataclass(frozen=True, slots=True)
class Sizes:
    """What decides how long it takes, as words of the commands: the paper's are the recipe's, and so say nothing."""

    collect: Sequence[str] = ()
    evaluate: Sequence[str] = ()
    train: Mapping[str, str] = field(default_factory=dict)


MODELS = {
    "qwen2.5-7b": ("Qwen2.5-7B Instruct", "Qwen/Qwen2.5-7B-Instruct", "default"),
    "qwen2.5-14b": ("Qwen2.5-14B Instruct", "Qwen/Qwen2.5-14B-Instruct", "default"),
    "qwen3-8b": ("Qwen3-8B non-reasoning", "Qwen/Qwen3-8B", "off"),
    "qwen3-14b": ("Qwen3-14B non-reasoning", "Qwen/Qwen3-14B", "off"),
    "qwen3-8b-thinking": ("Qwen3-8B reasoning", "Qwen/Qwen3-8B", "on"),
    "qwen3-14b-thinking": ("Qwen3-14B reasoning", "Qwen/Qwen3-14B", "on"),
}
"""The models that the paper trained: name in its table, name on the hub, reasoning mode."""
ALGORITHMS = ("grpo", "reinforce++")
TOKENS = {"default": 1024, "off": 1024, "on": 8192}

ROWS = {
    f"{model}-{algorithm}": TrainedRow(
        name=f"{model}-{algorithm}",
        published=f"{base} + FTRL-{algorithm.upper()}",
        base=base,
        weights=weights,
        recipe=f"paper-{model}",
        algorithm=algorithm,
        reasoning=reasoning,
        max_tokens=TOKENS[reasoning],
    )
    for model, (base, weights, reasoning) in MODELS.items()
    for algorithm in ALGORITHMS
}

PAPER = Sizes()
REHEARSED = "bundled/tiny-base"
"""Who plays and is trained where nothing but the chain of commands is tried."""
SMALL = ("--max-tokens", "64", "--max-turns", "4")
REHEARSAL = Sizes(
    collect=("--limit", "8", *SMALL),
    evaluate=("--limit", "4", *SMALL),
    train={
        "steps": "4",
        "prompts": "4",
        "samples": "4",
        "updates": "2",
        "micro_batch": "8",
        "learning_rate": "1e-4",
        "max_tokens": "64",
        "max_turns": "4",
        "max_prompt": "0",
        "validation": "0",
        "validate_every": "2",
        "save_every": "2",
        "refresh": "2",
        "dtype": "float32",
        "checkpointing": "false",
        "vllm": "off",
    },
)
