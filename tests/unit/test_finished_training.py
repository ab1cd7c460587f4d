"""The result of a finished training run: taken as it is, or one sentence where something has damaged it."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from harness.errors import UsageError
from trainer.rl import run, trl_trainer
from trainer.rl.run import read_rl_result
from trainer.rl.settings import RLRecipe
from trainer.run_directory import describe_model
from trainer.sft import train
from trainer.sft.train import read_sft_manifest

RESULTS = [(read_rl_result, "result.json"), (read_sft_manifest, "model/manifest.json")]
TOLD = {"result.json": run.TOLD, "model/manifest.json": train.TOLD}


@pytest.mark.parametrize(("read", "place"), RESULTS)
def test_a_run_without_a_result_is_not_finished(tmp_path, read, place):
    assert read(tmp_path) is None


@pytest.mark.parametrize(("read", "place"), RESULTS)
def test_a_result_is_taken_as_it_is(tmp_path, read, place):
    (tmp_path / "model").mkdir()
    result = dict.fromkeys(TOLD[place], 1)
    (tmp_path / place).write_text(json.dumps(result))
    assert read(tmp_path) == result


@pytest.mark.parametrize(("read", "place"), RESULTS)
@pytest.mark.parametrize("text", ["", '{"recipe": {', "[]", "{}", "\\xff", "[" * 100_000])
def test_a_torn_result_is_one_sentence(tmp_path, read, place, text):
    (tmp_path / "model").mkdir()
    (tmp_path / place).write_text(text)
    with pytest.raises(UsageError, match=place) as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("template", "thinking", "mode"),
    [
        ("{% if enable_thinking %}<think>{% endif %}", "off", " --reasoning off"),
        ("{% if enable_thinking %}<think>{% endif %}", "on", " --reasoning on"),
        ("{% if enable_thinking %}<think>{% endif %}", "default", ""),
        ("{# enable_thinking #}{{ messages }}", "off", ""),
        (None, "off", ""),
    ],
)
def test_the_model_is_to_be_evaluated_as_it_was_trained(tmp_path, template, thinking, mode):
    (tmp_path / "model").mkdir()
    if template is not None:
        (tmp_path / "model" / "chat_template.jinja").write_text(template)
    assert f"`harness eval --model hf/{tmp_path}/model{mode}`" in describe_model(tmp_path, thinking)


def test_a_pass_through_given_prompts_tells_how_many_steps_it_had(tmp_path, monkeypatch):
    """steps=0 is one pass, and the result names its steps."""
    settings = RLRecipe("step", prefixes="given", steps=0, validation=0, test=0)
    setup = SimpleNamespace(settings=replace(settings, steps=7), test=None)
    network, callback = torch.nn.Linear(1, 1), SimpleNamespace(best_validation=None, cpu_time=0.0)
    monkeypatch.setattr(run, "prepare_training", lambda *given: setup)
    monkeypatch.setattr(run, "load_weights", lambda *given: network)
    monkeypatch.setattr(trl_trainer, "train_network", lambda *given: callback)
    (tmp_path / "model").mkdir()
    model = SimpleNamespace(folder=SimpleNamespace(name="m"))
    result = run.train_rl(settings, model, [], {}, tmp_path, [], lambda *told: None)
    assert "best at step 7 of 7" in run.describe_result(result, tmp_path)
