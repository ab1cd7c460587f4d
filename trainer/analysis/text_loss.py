"""What training did to the text that a network was warmed up on: the loss of both on held-out demonstrations.

The recipe in the base's manifest says what its demonstrator did; here it plays other environments, once as it did and
once without flaws. The loss is that of warm-up: on what the assistant says, and on nothing else. Training on a reward
raises it where the demonstrations are flawed, which is its purpose; a network that lost its language would show it on
both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch

from harness.data import jsonio
from harness.errors import UsageError
from harness.models.local.folder import check_folder
from harness.models.local.hf import load_weights
from harness.models.local.tokenizer import open_tokenizer
from harness.sandbox import Sandbox
from harness.stats import Estimate, mean, paired_difference
from harness.types import JSONObject, Sample
from trainer.sft import network
from trainer.sft.demonstrator import Flaws, is_demonstrable, play_demonstrations
from trainer.sft.loss import compute_token_losses
from trainer.sft.settings import SFTRecipe

BATCH = 32


@dataclass(frozen=True, slots=True)
class TextLoss:
    """Mean loss in nats a token of what the assistant says, over episodes, before and after; and their difference."""

    text: str
    base: float
    trained: float
    difference: Estimate

    def to_json(self) -> JSONObject:
        return {"text": self.text, "base": self.base, "trained": self.trained, **self.difference.to_json()}


def compare_text_losses(base: Path, trained: Path, samples: Sequence[Sample]) -> list[TextLoss]:
    """The losses on demonstrations with the flaws of the base's recipe, and on clean ones.

    Raises UsageError where the base was not warmed up here, and for environments without gold calls and an answer.
    """
    recipe = read_warm_up_recipe(base)
    if missing := [sample.id for sample in samples if not is_demonstrable(sample)]:
        raise UsageError(f"{missing[0]!r} has no gold calls with an answer to demonstrate; leave it out.")
    kinds = {
        "as the demonstrator played": Flaws(recipe.repeat, recipe.skip_last, recipe.needless),
        "without its flaws": Flaws(0.0, 0.0),
    }
    with Sandbox() as sandbox:
        texts = [
            network.render_episode(sample.tools, trajectory)
            for flaws in kinds.values()
            for sample, trajectory in play_demonstrations(
                samples, flaws, recipe.seed, recipe.thinking, sandbox, thoughts=recipe.thoughts
            )
        ]
    before, after = measure_losses(base, texts), measure_losses(trained, texts)
    each = len(samples)
    return [
        _compared(name, samples, before[start : start + each], after[start : start + each])
        for name, start in zip(kinds, range(0, len(texts), each), strict=True)
    ]


def _compared(text: str, samples: Sequence[Sample], before: Sequence[float], after: Sequence[float]) -> TextLoss:
    """The losses of one kind of text, an episode a sample, clustered by world."""
    clusters = [sample.metadata.get("world") or sample.id for sample in samples]
    difference = paired_difference([list(zip(clusters, before, after, strict=True))])
    return TextLoss(text, mean(before), mean(after), difference)


def read_warm_up_recipe(folder: Path) -> SFTRecipe:
    """The recipe that a network was warmed up by. Raises UsageError where its manifest has none."""
    try:
        recipe = jsonio.read_json(folder / "manifest.json", links=True)["recipe"]
        if recipe["regime"] == "sft":
            return SFTRecipe(**{"generation": 1, **recipe})  # older runs do not name the first
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{folder} has no manifest of a warm-up (`harness train --regime sft`), so --text has no text.")


def measure_losses(folder: Path, texts: Sequence[str]) -> list[float]:
    """The mean loss of every text in nats a token that the assistant says."""
    local = open_tokenizer(check_folder(str(folder), folder, {}), {})
    model = load_weights(local, "float32", "cpu")
    rows = [network.encode_episode(cast(Any, local.tokenizer), text) for text in texts]
    order = sorted(range(len(rows)), key=lambda place: len(rows[place]["input_ids"]))
    found = [0.0] * len(rows)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        with torch.inference_mode():
            values = _batch([rows[place] for place in places], model)
        for place, value in zip(places, values, strict=True):
            found[place] = value
    return found


def _batch(rows: Sequence[dict[str, list[int]]], model: Any) -> list[float]:
    width = max(len(row["input_ids"]) for row in rows)
    ids = torch.tensor([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows])
    labels = torch.tensor([row["labels"] + [network.IGNORE_INDEX] * (width - len(row["labels"])) for row in rows])
    found = compute_token_losses(model, ids, labels)
    return [float(found.losses[found.rows == row].mean()) for row in range(len(rows))]
