"""Training some layers' MLPs alone: which ones are meant, what is frozen, what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes import tiny_model

from harness.errors import UsageError
from trainer.recipes import run
from trainer.recipes.load import load_recipe
from trainer.sft.train import InitialWeights
from trainer.trained_layers import choose_layers, find_trained, freeze_others

NAMES = [
    *(f"model.layers.{layer}.{module}.weight" for layer in range(6) for module in ("mlp.up_proj", "self_attn.q_proj")),
    "model.embed_tokens.weight",
    "vision.blocks.0.mlp.fc1.weight",
]


@pytest.mark.parametrize(
    ("text", "count", "layers"),
    [
        ("lower", 30, range(10)),
        ("middle", 30, range(10, 20)),
        ("upper", 30, range(20, 30)),
        ("lower", 4, range(1)),
        ("middle", 4, range(1, 3)),
        ("3-5", 6, range(3, 6)),
        ("0-0", 1, range(1)),
    ],
)
def test_thirds_and_spans(text, count, layers):
    assert choose_layers(text, count) == layers


def test_thirds_are_all_layers_once():
    for count in range(2, 100):
        thirds = [layer for text in ("lower", "middle", "upper") if count > 2 or text != "middle"
                  for layer in choose_layers(text, count)]  # fmt: skip
        assert thirds == list(range(count))


@pytest.mark.parametrize(("text", "count"), [("middle", 2), ("2-6", 6), ("lower", 0)])
def test_layers_that_there_are_not(text, count):
    with pytest.raises(
        UsageError, match=f"train_layers = {text}: the model has no such layers; it has MLPs in {count}"
    ):
        choose_layers(text, count)


@pytest.mark.parametrize("regime", ["sft", "episode"])
@pytest.mark.parametrize("text", ["lowest", "5", "3-1", "a-b", "-3"])
def test_what_is_no_choice_of_layers(regime, text):
    with pytest.raises(UsageError, match="train_layers must be empty, lower, middle, upper or A-B, such as 0-9"):
        load_recipe(None, {"train_layers": text}, regime)
    assert load_recipe(None, {"train_layers": "0-9"}, regime).train_layers == "0-9"


def test_adapters_are_no_layers():
    with pytest.raises(UsageError, match="train_layers must be empty where there is a lora_rank"):
        load_recipe(None, {"train_layers": "lower", "lora_rank": "4"}, "episode")


def test_the_longest_stack_is_meant_and_the_rest_is_frozen():
    assert find_trained("middle", NAMES) == ["model.layers.2.mlp.up_proj.weight", "model.layers.3.mlp.up_proj.weight"]

    class Weight:
        frozen = False

        def requires_grad_(self, trained):
            self.frozen = not trained

    weights = {name: Weight() for name in NAMES}
    network = SimpleNamespace(named_parameters=weights.items)
    freeze_others(network, "")
    assert not any(weight.frozen for weight in weights.values())
    freeze_others(network, "0-1")
    trained = [name for name, weight in weights.items() if not weight.frozen]
    assert trained == ["model.layers.0.mlp.up_proj.weight", "model.layers.1.mlp.up_proj.weight"]


def test_a_model_without_them_is_refused_before_anything_is_built(tmp_path):
    start = InitialWeights(tiny_model.random_model(tmp_path / "model"), "tiny")
    for regime in ("sft", "episode"):
        run.refuse_missing_layers(load_recipe(None, {"train_layers": "upper"}, regime), start)
        with pytest.raises(UsageError, match="no such layers; it has MLPs in 2"):
            run.refuse_missing_layers(load_recipe(None, {"train_layers": "1-2"}, regime), start)
    with pytest.raises(UsageError, match="needs a --model to go on from"):
        run.refuse_missing_layers(load_recipe("tiny-base", {"train_layers": "lower"}), InitialWeights())
