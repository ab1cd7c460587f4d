"""What decides a run of reinforcement learning: one frozen dataclass, read from a recipe (trainer/recipes/load.py).

Sizes: a generation plays `prompts` x `samples` episodes (or turns) on all processes together; they are used for
`updates` optimiser steps, each of which goes through its share in pieces of at most `micro_batch` a process.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from envbuilder.spec import scale_levels
from envbuilder.worlds.catalogue import read_kinds
from harness.errors import UsageError
from harness.redaction import userinfo
from trainer.environments import require_scenario
from trainer.precision import COMPUTED, SAVED
from trainer.rl.algorithms import ALGORITHMS
from trainer.trained_layers import MEANT, is_layer_choice
from trainer.values import require_seeds, require_value

REGIMES = ("step", "episode")

REWARD_OPTIONS = ("answer_bonus", "useless_cost")
"""Values that go to the reward function, where it takes them (trainer.rewards)."""


@dataclass(frozen=True, slots=True)
class RLRecipe:
    """A recipe of the regimes step and episode. All seeds of training come from `seed`, all of data from `data_seed`.

    algorithm        a name of trainer.rl.algorithms.ALGORITHMS
    reward           its name (trainer.rewards); "" is the regime's own
    answer_bonus     what the right answer adds to episode_f1; None: the reward's own
    useless_cost     what a turn costs whose calls solve nothing, in mended_f1; None: the reward's own
    data_seed        of the environments that are built: the same whatever `seed` is, so that runs can be compared
    level, scale, about, generation    of built environments (as in `harness build`)
    scenario         of them: all, the four kinds of question, or when, twins that ask when to call
    environments     training environments that are built where no --tasks is given
    validation       environments of the validation split that are built; 0: no validation, and the last weights count
    test             environments of the test split that are built for the table at the end; 0: no table
    steps            optimiser steps; 0: one pass through given prefixes
    prompts, samples prompts a generation, and samples of each of them
    updates          optimiser steps a generation; checkpoints fall between generations
    micro_batch      sequences that go through the network at once, at most, on each process
    micro_tokens     tokens of them, padding included; 0: no bound. Both are halved where memory runs out
    learning_rate    its peak, after `warmup` steps; `schedule` is constant, linear or cosine
    loss             how token losses are summed, by TRL's names: dapo and bnpo are a mean over all tokens (of a
                     generation, of an update), grpo is the mean of each sequence's mean
    kl               weight of the divergence from the model that training began with (k3 estimator); 0: not computed
    entropy          weight of the entropy bonus
    clip, clip_high  how far the ratio may go below and above 1; clip_high 0 is as clip
    dual_clip        the most a ratio counts where the advantage is negative, above 1; 0: without bound
    dynamic          how often at most a group without spread is drawn again, of another environment; 0: never
    max_flat         generations in a row without any spread after which training stops; 0: never
    temperature      of training's samples
    max_tokens       new tokens a turn, in training and validation
    max_turns        turns an episode
    max_prompt       tokens of the longest prompt; 0: what the model's context leaves
    overlong         refuse or drop what is longer
    thinking         off, on, or default (the template is not told)
    chat_template    a file, or the name of one of trainer/recipes, instead of the model's own template; "" is its own
    format           how the model writes calls, where its template does not tell (harness.formats)
    lora_rank        0 trains all weights; else adapters of that rank on all linear layers, with `lora_alpha`
    dtype            what the network computes in, float32 or bfloat16; what is trained is float32 (trainer.precision)
    save_dtype       what DIR/model is stored in: float32, bfloat16 or float16; less than float32 rounds
    checkpointing    recompute activations instead of keeping them
    credit           turn: a prompt is a prefix and one turn is rewarded; return: whole episodes whose turns are
                     rewarded one by one, with returns-to-go (step regime); "" is return in the step regime, and turn
                     with given prefixes, the paper's rewards and in the episode regime
    prefixes         the step regime's prompts: "fresh" plays episodes with the network as it is, "given" takes --tasks
    refresh          steps between fresh prefixes (with credit = turn, as the next two)
    players          episodes that fresh prefixes are cut from
    solved           least share of prefixes with nothing unsolved
    vllm             off, colocate or server: who plays, where there is a GPU (TRL's settings of these names)
    vllm_server      the address of a server
    vllm_memory      share of the GPU's memory that a colocated vLLM takes
    validate_every, save_every, keep    steps between validations and checkpoints, and checkpoints that are kept
    tensorboard, wandb                  metrics go there as well
    train_layers     only the MLPs of these layers are trained: lower, middle, upper or A-B (trainer.trained_layers)
    """

    LATER: ClassVar = frozenset(
        (
            "save_dtype",
            "dual_clip",
            "dynamic",
            "max_flat",
            "chat_template",
            "format",
            "micro_tokens",
            "train_layers",
            "scale",
            "about",
            "scenario",
        )
    )
    """Values that recipes did not have from the beginning."""

    regime: str
    algorithm: str = "grpo"
    reward: str = ""
    answer_bonus: float | None = None
    useless_cost: float | None = None
    seed: int = 1
    data_seed: int = 7
    level: str = "micro"
    generation: int = 2
    environments: int = 2000
    validation: int = 100
    test: int = 400
    steps: int = 100
    prompts: int = 16
    samples: int = 8
    updates: int = 1
    micro_batch: int = 32
    learning_rate: float = 4e-4
    warmup: int = 0
    schedule: str = "constant"
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    loss: str = "dapo"
    kl: float = 0.0
    entropy: float = 0.0
    clip: float = 0.2
    clip_high: float = 0.0
    temperature: float = 1.0
    max_tokens: int = 128
    max_turns: int = 20
    max_prompt: int = 0
    overlong: str = "refuse"
    thinking: str = "off"
    lora_rank: int = 0
    lora_alpha: int = 32
    dtype: str = "float32"
    checkpointing: bool = False
    credit: str = ""
    prefixes: str = "fresh"
    refresh: int = 20
    players: int = 256
    solved: float = 0.25
    vllm: str = "off"
    vllm_server: str = ""
    vllm_memory: float = 0.3
    validate_every: int = 20
    save_every: int = 20
    keep: int = 2
    tensorboard: bool = False
    wandb: bool = False
    save_dtype: str = "float32"
    dual_clip: float = 0.0
    dynamic: int = 0
    max_flat: int = 10
    chat_template: str = ""
    format: str = ""
    micro_tokens: int = 0
    train_layers: str = ""
    scale: str = ""
    about: str = ""
    scenario: str = "all"

    def __post_init__(self) -> None:
        if not self.credit:
            object.__setattr__(self, "credit", self._own_credit())
        choices = {
            "regime": REGIMES,
            "algorithm": ALGORITHMS,
            "level": ("micro", "easy", "paper", "hard"),
            "generation": (1, 2),
            "schedule": ("constant", "linear", "cosine"),
            "overlong": ("refuse", "drop"),
            "thinking": ("off", "on", "default"),
            "dtype": COMPUTED,
            "save_dtype": SAVED,
            "credit": ("turn", "return"),
            "prefixes": ("fresh", "given"),
            "vllm": ("off", "colocate", "server"),
            "loss": ("dapo", "bnpo", "grpo"),
        }
        for name, allowed in choices.items():
            require_value(getattr(self, name) in allowed, name, f"one of {', '.join(map(str, allowed))}")
        scale_levels(self.level, self.generation, self.scale.split())  # type: ignore[arg-type]
        read_kinds(self.about.split())
        require_scenario(self)
        least = 0 if self.regime == "step" and self.prefixes == "given" else 1
        require_value(self.steps >= least, "steps", f"at least {least}")
        require_seeds(seed=self.seed, data_seed=self.data_seed)
        for name in ("environments", "prompts", "updates", "micro_batch", "max_tokens", "max_turns", "lora_alpha"):
            require_value(getattr(self, name) >= 1, name, "at least 1")
        for name in ("refresh", "players", "validate_every", "save_every", "keep"):
            require_value(getattr(self, name) >= 1, name, "at least 1")
        for name in ("validation", "test", "warmup", "max_prompt", "lora_rank", "dynamic", "max_flat", "micro_tokens"):
            require_value(getattr(self, name) >= 0, name, "0 or more")
        for name in ("kl", "entropy", "weight_decay", "clip_high", "dual_clip"):
            require_value(0 <= getattr(self, name) < math.inf, name, "a finite number, 0 or more")
        for name in REWARD_OPTIONS:
            value = getattr(self, name)
            require_value(value is None or 0 <= value < math.inf, name, "a finite number, 0 or more")
        for name in ("learning_rate", "temperature", "clip", "max_grad_norm"):
            require_value(0 < getattr(self, name) < math.inf, name, "a finite number above 0")
        require_value(
            not self.dual_clip or self.dual_clip > 1 + (self.clip_high or self.clip),
            "dual_clip",
            "0, or above 1 + clip",
        )
        require_value(is_layer_choice(self.train_layers), "train_layers", MEANT)
        require_value(not (self.train_layers and self.lora_rank), "train_layers", "empty where there is a lora_rank")
        require_value(0 <= self.solved < 1, "solved", "from 0 to below 1")
        require_value(0 < self.vllm_memory < 1, "vllm_memory", "between 0 and 1")
        require_value(
            not userinfo(self.vllm_server), "vllm_server", "without user and password, because recipes are kept"
        )
        require_value(self.samples >= 2, "samples", "at least 2")
        require_value(self.sequences_per_generation % self.updates == 0, "updates", "a divisor of prompts x samples")
        for name in ("save_every", "refresh"):
            require_value(
                getattr(self, name) % self.updates == 0, name, "a multiple of updates, the steps of a generation"
            )
        require_value(self.credit == "turn" or self.regime == "step", "credit", "turn in the episode regime")
        require_value(self.credit == "turn" or self.prefixes == "fresh", "credit", "turn where prefixes are given")

    def _own_credit(self) -> str:
        """What was best in the step regime (docs/training-results.md), unless the paper's own is asked for."""
        alone = self.prefixes == "given" or self.is_paper_reward
        return "return" if self.regime == "step" and not alone else "turn"

    @property
    def is_paper_reward(self) -> bool:
        """Whether a reward of the paper's is asked for by name."""
        return self.reward.startswith("paper_")

    @property
    def cuts_prompts(self) -> bool:
        """Whether prompts are cut from the network's own episodes, as many as are needed."""
        return self.regime == "step" and self.credit == "turn" and self.prefixes == "fresh"

    @property
    def sequences_per_generation(self) -> int:
        """Sequences a generation, on all processes together."""
        return self.prompts * self.samples

    def share_of_update(self, processes: int) -> int:
        """Sequences of an optimiser step that are one process's.

        Raises UsageError where the processes cannot share an update.
        """
        share, rest = divmod(self.sequences_per_generation // self.updates, processes)
        if rest or not share:
            raise UsageError(
                f"{self.sequences_per_generation // self.updates} sequences an update cannot be shared by "
                f"{processes} processes."
            )
        return share
