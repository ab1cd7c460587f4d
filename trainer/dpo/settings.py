"""What decides a run on preferences: one frozen dataclass, read from a recipe."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from envbuilder.spec import scale_levels
from envbuilder.worlds.catalogue import read_kinds
from harness.scoring.decisions import JUDGED
from trainer.environments import require_scenario
from trainer.pairs import PairRules
from trainer.values import require_seeds, require_value


@dataclass(frozen=True, slots=True)
class DPORecipe:
    """A recipe of the regime dpo. All seeds of training come from `seed`, all of data from `data_seed`.

    data_seed, level, scale, about, scenario, generation    of environments that are built, as in RLRecipe
    environments     training environments that are built where no --tasks is given
    validation       environments of the validation split, which end the loops
    test             environments of the test split for the table at the end; 0: no table
    loops            how often is played, paired and trained, each time from the weights of the time before
    attempts         how often each environment is played for its pairs, at `temperature`
    thinking         off or on: what the chat template is told
    max_tokens, max_turns    of an episode
    metric, least, easy, hard    which pairs there are (trainer.pairs.PairRules); random_positives: the control
    steps            optimiser steps a loop, of `batch` pairs each
    learning_rate    its peak, after `warmup` steps; a cosine takes it to 0
    beta             how much it costs to leave the weights that the loop began with
    save_dtype       what models are stored in: float32, bfloat16 or float16
    chat_template, format    as in trainer.rl.settings
    """

    LATER: ClassVar = frozenset(
        (
            "scale",
            "about",
            "scenario",
        )
    )
    """Values that recipes did not have from the beginning."""

    regime: str
    seed: int = 1
    data_seed: int = 7
    level: str = "micro"
    generation: int = 2
    environments: int = 200
    validation: int = 100
    test: int = 0
    loops: int = 1
    attempts: int = 8
    temperature: float = 1.0
    thinking: str = "off"
    max_tokens: int = 1024
    max_turns: int = 20
    metric: str = ""
    least: float = 1.0
    easy: float = 0.7
    hard: float = 0.4
    random_positives: bool = False
    steps: int = 40
    batch: int = 8
    learning_rate: float = 5e-5
    warmup: int = 5
    beta: float = 0.1
    save_dtype: str = "float32"
    chat_template: str = ""
    format: str = ""
    scale: str = ""
    about: str = ""
    scenario: str = "all"

    def __post_init__(self) -> None:
        for name, least in (("environments", 1), ("validation", 1), ("test", 0), ("loops", 1), ("attempts", 2)):
            require_value(getattr(self, name) >= least, name, f"at least {least}")
        for name in ("steps", "batch", "max_tokens", "max_turns"):
            require_value(getattr(self, name) >= 1, name, "at least 1")
        require_seeds(seed=self.seed, data_seed=self.data_seed)
        require_value(self.warmup >= 0, "warmup", "0 or more")
        require_value(self.regime == "dpo", "regime", "dpo")
        require_value(self.level in ("micro", "easy", "paper", "hard"), "level", "micro, easy, paper or hard")
        require_value(self.generation in (1, 2), "generation", "1 or 2")
        scale_levels(self.level, self.generation, self.scale.split())  # type: ignore[arg-type]
        read_kinds(self.about.split())
        require_scenario(self)
        fits = self.scenario == "all" or self.metric in ("", *JUDGED)
        require_value(fits, "metric", f"one that twins have: {', '.join(JUDGED)}")
        require_value(self.thinking in ("off", "on"), "thinking", "off or on")
        require_value(
            self.save_dtype in ("float32", "bfloat16", "float16"), "save_dtype", "float32, bfloat16 or float16"
        )
        require_value(0 <= self.hard < self.easy <= 1, "hard", "below easy, and both from 0 to 1")
        require_value(math.isfinite(self.least), "least", "a finite number")
        for name in ("learning_rate", "beta", "temperature"):
            require_value(0 < getattr(self, name) < math.inf, name, "a finite number above 0")

    @property
    def rules(self) -> PairRules:
        return PairRules(self.metric, self.least, self.easy, self.hard, self.random_positives, self.seed)
