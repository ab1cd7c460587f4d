"""Three steps of training on eight sequences that are made up, the same whatever the processes and pieces.

As a program, under accelerate's or torch's launcher: `replayed_training.py MODEL TASKS OUT ALGORITHM MICRO_BATCH
[flat]`; the first process writes OUT/end.pt, the losses and the weights. Where the launcher asks for shards, it makes
shards.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any


def train(
    folder: Path, tasks: Path, out: Path, algorithm: str, micro_batch: int, flat: bool = False, **more: Any
) -> tuple[list[float], dict[str, Any]]:
    """The losses of the steps, and the weights at the end. `flat`: the second four earn the same, and nothing but
    advantages is learnt from."""
    from harness.models.local.folder import check_folder
    from harness.models.local.hf import load_weights
    from harness.models.local.tokenizer import open_tokenizer
    from trainer.rl.actor import NOT_GENERATED, EpisodeTokens
    from trainer.rl.data import prepare_training
    from trainer.rl.generation import EpisodeGenerator, ScoredCompletion
    from trainer.rl.settings import RLRecipe
    from trainer.rl.trl_trainer import make_trainer

    model = open_tokenizer(check_folder("tiny", folder, {}), {})
    settings = RLRecipe(
        "episode",
        algorithm=algorithm,
        steps=3,
        prompts=2,
        samples=4,
        micro_batch=micro_batch,
        learning_rate=1e-3,
        kl=0.0 if flat else 0.1,  # without it the loss of whitened advantages is 0, whatever is wrong
        validation=0,
        test=0,
        **more,
    )
    setup = prepare_training(settings, [str(tasks)], {}, out, lambda *told: None)
    made_up = []
    for number in range(8):
        episode_tokens = EpisodeTokens(model.encode("How many?" * (10 + number // 4)))  # one of each four
        for turn in (0, NOT_GENERATED, 1):
            episode_tokens.add(model.encode(f"{number} towns " * (number + turn + 2)), turn)
        earned = 0.3 if flat and number > 3 else number % 3 / 2
        made_up.append(ScoredCompletion(episode_tokens, (earned,), {}))

    class Replay(EpisodeGenerator):
        """The same sequences at every step, each process its own."""

        def generate(self, prompts: Any, trainer: Any, places: Any = None) -> list[ScoredCompletion]:
            return [made_up[place] for place, _ in trainer.places(prompts)]

    network = load_weights(model, "float32", "cpu")
    trainer = make_trainer(setup, Replay(setup, model), model, network, out / "checkpoints", [])
    trainer.train()
    losses = [line["loss"] for line in trainer.state.log_history if "loss" in line]
    return losses, {name: whole(value) for name, value in network.state_dict().items()}


def whole(value: Any) -> Any:
    """A weight that may be in shards."""
    return value.full_tensor() if hasattr(value, "full_tensor") else value


if __name__ == "__main__":
    import os

    from harness.models.local.packages import set_library_defaults

    set_library_defaults()
    import torch
    from cpu_shards import shard_on_cpu  # beside this file

    from trainer.distributed import part_from_others

    shard_on_cpu()

    destination = Path(sys.argv[3])
    end = train(
        Path(sys.argv[1]), Path(sys.argv[2]), destination, sys.argv[4], int(sys.argv[5]), "flat" in sys.argv[6:]
    )
    part_from_others()
    assert not torch.distributed.is_initialized()
    if os.environ.get("RANK", "0") == "0":
        torch.save(end, destination / "end.pt")
