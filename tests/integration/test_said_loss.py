"""The loss of warm-up against the one that transformers computes over whole sequences with a mask of their padding."""

from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from fakes import tiny_model
from transformers import AutoModelForCausalLM

from trainer.sft.loss import AssistantLossTrainer, compute_token_losses
from trainer.sft.network import IGNORE_INDEX


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder: Path = tiny_model.random_model(tmp_path_factory.mktemp("said") / "model")
    return AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def batch() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Token ids, labels and mask of three rows of 20, 13 and 7 tokens, padded on the right."""
    draw = torch.Generator().manual_seed(5)
    ids = torch.randint(10, 500, (3, 20), generator=draw)
    mask = (torch.arange(20) < torch.tensor([[20], [13], [7]])).long()
    counts = (torch.rand(3, 20, generator=draw) < 0.3) & (mask == 1)
    counts[0, 0] = True  # the first token of a row has nothing before it to be told from
    return ids * mask, ids.masked_fill(~counts, IGNORE_INDEX), mask


def test_the_loss_and_its_gradient_are_those_of_transformers(model: Any) -> None:
    ids, labels, mask = batch()
    gradients = []
    for loss in (
        model(input_ids=ids, attention_mask=mask, labels=labels).loss,
        compute_token_losses(model, ids, labels).losses.mean(),
    ):
        model.zero_grad()
        loss.backward()
        gradients.append((loss.detach(), [weights.grad.clone() for weights in model.parameters()]))
    (whole, expected), (ours, found) = gradients
    assert torch.isclose(ours, whole, rtol=1e-5)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, rtol=1e-3, atol=1e-5 * float(other.abs().max()))


def test_every_said_token_is_told_with_its_row(model: Any) -> None:
    ids, labels, mask = batch()
    with torch.inference_mode():
        found = compute_token_losses(model, ids, labels)
        likeliest = model(input_ids=ids, attention_mask=mask).logits.argmax(dim=2)
    rows, places = (labels[:, 1:] != IGNORE_INDEX).nonzero(as_tuple=True)
    assert torch.equal(found.rows, rows)
    assert torch.equal(found.likeliest, likeliest[rows, places] == labels[rows, places + 1])
    labels[rows, places + 1] = likeliest[rows, places]
    with torch.inference_mode():
        assert compute_token_losses(model, ids, labels).likeliest.all()


def test_a_step_is_the_mean_over_its_said_tokens(model: Any) -> None:
    ids, labels, mask = batch()
    whole = model(input_ids=ids, attention_mask=mask, labels=labels).loss
    trainer = SimpleNamespace(_metrics={"train": defaultdict(list)}, computed="float32")
    count = (labels[:, 1:] != IGNORE_INDEX).sum()
    inputs = {"input_ids": ids, "labels": labels, "attention_mask": mask}
    loss = AssistantLossTrainer.compute_loss(trainer, model, inputs, num_items_in_batch=count)
    assert torch.isclose(loss, whole, rtol=1e-5)
    half = AssistantLossTrainer.compute_loss(
        trainer, model, inputs, num_items_in_batch=2 * count
    )  # of two processes, say
    assert torch.isclose(half, whole / 2, rtol=1e-5)
    assert len(trainer._metrics["train"]["mean_token_accuracy"]) == 2
