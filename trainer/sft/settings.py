"""What decides a supervised run: one frozen dataclass, read from a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from envbuilder.spec import scale_levels
from envbuilder.worlds.catalogue import read_kinds
from trainer.environments import require_scenario
from trainer.precision import COMPUTED, SAVED
from trainer.sft.demonstrator import THOUGHTS
from trainer.trained_layers import MEANT, is_layer_choice
from trainer.values import require_seeds, require_value


@dataclass(frozen=True, slots=True)
class SFTRecipe:
    """A supervised warm-up. All seeds come from `seed`.

    environments     training environments that are built
    level, scale, about, generation    of them, as in `harness build`
    scenario         all, the four kinds of question, or when, twins that ask when to call
    train_file       a file of environment records to use instead of building; "" builds
    trajectories     a run directory whose successful episodes are imitated instead of the demonstrator ("" for none)
    draws            how many times each environment is demonstrated, every time with flaws drawn anew
    repeat           probability that an episode makes its first call twice
    skip_last        probability that an episode of two or more calls leaves the last one out
    needless         probability that a twin in which no call is due has one all the same
    thinking         share of episodes with a line of reasoning a turn
    thoughts         what it says of a call: its tool, or what the tools say of that which is wanted and then its tool
    vocabulary       entries of the tokenizer
    width, inner, layers, heads, head    the network's size (trainer.sft.network.NetworkShape)
    steps            optimiser steps of `batch` episodes each
    learning_rate    its peak, after `warmup` steps; a cosine takes it to 0
    save_every       steps between checkpoints that --resume goes on from
    log_every        steps between lines of metrics.jsonl
    dtype            what the network computes in, float32 or bfloat16; what is trained is float32 (trainer.precision)
    save_dtype       what DIR/model is stored in: float32, bfloat16 or float16
    micro_batch      episodes of a step that go through the network at once; 0: all of them
    checkpointing    recompute activations instead of keeping them
    chat_template, format, train_layers, lora_rank, lora_alpha    as in trainer.rl.settings; of a model that is gone on
                     from
    """

    LATER: ClassVar = frozenset(
        (
            "dtype",
            "save_dtype",
            "micro_batch",
            "checkpointing",
            "chat_template",
            "format",
            "train_layers",
            "lora_rank",
            "lora_alpha",
            "scale",
            "about",
            "thoughts",
            "scenario",
            "needless",
        )
    )
    """Values that recipes did not have from the beginning."""

    regime: str
    seed: int = 1
    level: str = "micro"
    generation: int = 2
    environments: int = 8000
    train_file: str = ""
    trajectories: str = ""
    draws: int = 1
    repeat: float = 0.7
    skip_last: float = 0.7
    thinking: float = 0.33
    vocabulary: int = 2048
    width: int = 128
    inner: int = 320
    layers: int = 4
    heads: int = 2
    head: int = 64
    steps: int = 1000
    batch: int = 16
    learning_rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 0.1
    save_every: int = 200
    log_every: int = 20
    dtype: str = "float32"
    save_dtype: str = "float16"
    micro_batch: int = 0
    checkpointing: bool = False
    chat_template: str = ""
    format: str = ""
    train_layers: str = ""
    lora_rank: int = 0
    lora_alpha: int = 32
    scale: str = ""
    about: str = ""
    thoughts: str = "tool"
    scenario: str = "all"
    needless: float = 0.0

    def __post_init__(self) -> None:
        for name in (
            "environments",
            "draws",
            "width",
            "inner",
            "layers",
            "heads",
            "head",
            "steps",
            "batch",
            "save_every",
        ):
            require_value(getattr(self, name) >= 1, name, "at least 1")
        require_seeds(seed=self.seed)
        for name in ("repeat", "skip_last", "needless", "thinking"):
            require_value(0 <= getattr(self, name) <= 1, name, "from 0 to 1")
        require_value(self.regime == "sft", "regime", "sft, the only one there is")
        require_value(self.thoughts in THOUGHTS, "thoughts", f"one of {', '.join(THOUGHTS)}")
        require_value(self.level in ("micro", "easy", "paper", "hard"), "level", "micro, easy, paper or hard")
        require_value(self.generation in (1, 2), "generation", "1 or 2")
        scale_levels(self.level, self.generation, self.scale.split())  # type: ignore[arg-type]
        read_kinds(self.about.split())
        require_scenario(self)
        require_value(0 < self.learning_rate < math.inf, "learning_rate", "a finite number above 0")
        require_value(0 <= self.weight_decay < math.inf, "weight_decay", "a finite number, 0 or more")
        require_value(
            not (self.train_file and self.trajectories), "trajectories", "left out where there is a train_file"
        )
        require_value(self.dtype in COMPUTED, "dtype", f"one of {', '.join(COMPUTED)}")
        require_value(self.save_dtype in SAVED, "save_dtype", f"one of {', '.join(SAVED)}")
        divides = self.micro_batch >= 0 and (not self.micro_batch or self.batch % self.micro_batch == 0)
        require_value(divides, "micro_batch", "0, or a divisor of batch")
        require_value(is_layer_choice(self.train_layers), "train_layers", MEANT)
        require_value(self.lora_rank >= 0, "lora_rank", "0 or more")
        require_value(self.lora_alpha >= 1, "lora_alpha", "at least 1")
        require_value(not (self.train_layers and self.lora_rank), "train_layers", "empty where there is a lora_rank")
        require_value(self.warmup >= 0, "warmup", "0 or more")
        require_value(self.log_every >= 1, "log_every", "at least 1")
        require_value(self.vocabulary >= 400, "vocabulary", "at least 400, for bytes and scaffolding")
        require_value(self.layers >= 2, "layers", "at least 2")
        require_value(self.head >= 32 and self.head % 2 == 0, "head", "even and at least 32")
        require_value(self.heads >= 2 and self.heads % 2 == 0, "heads", "even and at least 2")
        require_value(self.width > 3 * self.head // 2, "width", "more than one and a half times head")
