"""bundled/tiny-base in training, played by a real vLLM as TRL colocates it: float32, on a CPU.

Runs only where vLLM and TRL are installed (tox -e train-vllm). Two things are set here that TRL does not set: the
engine's precision, and that vLLM does not pack matrices for the CPU when it loads them, because to packed ones no other
weights can be given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT

pytest.importorskip("vllm", reason="needs vLLM, in an environment of its own: tox -e train-vllm")
pytest.importorskip("trl", reason="needs TRL beside vLLM: tox -e train-vllm")

import torch

from harness.models.local.folder import check_folder
from harness.models.local.hf import load_weights
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.registry import select_tasks
from harness.sandbox import Sandbox
from harness.types import Limits, Reasoning, Sampling
from trainer.rl.actor import Actor, EpisodeRequest, EpisodeTokens, NetworkGenerator, RolloutSettings, play_episodes
from trainer.rl.data import TrainingSetup, named_reward, prepare_training
from trainer.rl.generation import EpisodeGenerator, ScoredCompletion, TurnGenerator
from trainer.rl.players import Engine
from trainer.rl.run import fit_template
from trainer.rl.settings import RLRecipe
from trainer.rl.trl_trainer import make_trainer

FOLDER = ROOT / "trainer" / "bundled" / "tiny-base"
EPISODES_A_TASK = 50
RECIPE = RLRecipe(
    "episode",
    vllm="colocate",
    generation=1,
    environments=8,
    steps=2,
    prompts=4,
    samples=4,
    temperature=0.7,
    learning_rate=1e-3,
    validation=0,
    test=0,
)


def opened() -> ModelTokenizer:
    return fit_template(RECIPE, open_tokenizer(check_folder("tiny-base", FOLDER, {}), {}))


class Recorded(EpisodeGenerator):
    """Keeps what was played at each step."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.played: list[list[ScoredCompletion]] = []

    def generate(self, *given: Any) -> list[ScoredCompletion]:
        self.played.append(super().generate(*given))
        return self.played[-1]


class Replayed(EpisodeGenerator):
    """Plays that again."""

    def __init__(self, played: Sequence[list[ScoredCompletion]], *given: Any) -> None:
        super().__init__(*given)
        self._played = iter(played)

    def generate(self, *given: Any) -> list[ScoredCompletion]:
        return next(self._played)


@pytest.fixture(scope="module")
def setup(tmp_path_factory: pytest.TempPathFactory) -> TrainingSetup:
    return prepare_training(RECIPE, [], {}, tmp_path_factory.mktemp("environments"), lambda *told: None)


@pytest.fixture(scope="module")
def source(setup: TrainingSetup) -> Recorded:
    return Recorded(setup, opened())


@pytest.fixture(scope="module")
def trainer(setup: TrainingSetup, source: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The trainer with its engine, before it begins."""
    from trl.generation import vllm_generation
    from vllm import LLM, _custom_ops

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VLLM_CPU_KVCACHE_SPACE", "1")
        patch.setattr(_custom_ops, "_supports_onednn", False)
        patch.setattr(vllm_generation, "LLM", partial(LLM, dtype="float32", enforce_eager=True))
        model = opened()
        network = load_weights(model, "float32", "cpu")
        return make_trainer(setup, source, model, network, tmp_path_factory.mktemp("run") / "checkpoints", [])


def play(continue_rows: Any, requests: Sequence[EpisodeRequest]) -> list[EpisodeTokens]:
    actor = Actor(opened(), continue_rows, 64)
    with Sandbox() as sandbox:
        play_episodes(actor, requests, RolloutSettings(Sampling(0.0, 128), Limits(), Reasoning("off")), sandbox)
    return [actor.pop_tokens(request.key) for request in requests]


def recompute(network: Any, tokens: EpisodeTokens, temperature: float = 1.0) -> torch.Tensor:
    """The log-probabilities of an episode's tokens under a network that reads it whole."""
    ids = torch.tensor([tokens.prompt + tokens.ids])
    with torch.no_grad():
        logps = (network(ids).logits[0, len(tokens.prompt) - 1 : -1] / temperature).log_softmax(-1)
    return logps.gather(1, torch.tensor(tokens.ids)[:, None])[:, 0]


def test_greedy_episodes_are_the_networks_own(trainer: Any) -> None:
    assert isinstance(trainer.player, Engine)
    tasks = select_tasks(["micro_*@1"], {})
    requests = [EpisodeRequest(task, sample, 0) for task in tasks for sample in task.load()[:EPISODES_A_TASK]]
    network = load_weights(opened(), "float32", "cpu")
    own = play(NetworkGenerator(opened(), network, "float32", 64, kept=64), requests)
    trainer.player.sync()
    with trainer.player.generator(kept=64) as continue_rows:
        engines = play(continue_rows, requests)
    differ = [request.key for request, one, other in zip(requests, own, engines, strict=True) if one.ids != other.ids]
    apart = 0.0
    for tokens in engines:
        said = torch.tensor(tokens.loss_mask, dtype=torch.bool)
        drawn = torch.tensor(tokens.logprobs)
        assert not drawn[~said].any()
        apart = max(apart, (drawn - recompute(network, tokens))[said].abs().max().item())
    print(f"\n{len(requests)} episodes, {len(differ)} differ {differ}; log-probabilities apart at most {apart:.1e}")
    assert not differ
    assert apart < 1e-3


def test_steps_with_the_engines_logprobs_are_those_with_recomputed_ones(
    trainer: Any, setup: TrainingSetup, source: Recorded, tmp_path: Path
) -> None:
    """Two steps: before the second, the engine was given the weights that the first one made."""
    source.played.clear()
    trainer.train()
    drawn = [one for step in source.played for one in step]
    assert all(any(one.tokens.logprobs) for one in drawn)
    assert len({tuple(one.tokens.ids) for one in drawn}) > len(drawn) / 2, "samples differ"
    lines = [line for line in trainer.state.log_history if "loss" in line]
    apart = [line["sampling/sampling_logp_difference/max"] for line in lines]
    print(f"\nlog-probabilities apart at most {apart}")
    assert max(apart) < 1e-3

    model = opened()
    plain = replace(setup, settings=replace(RECIPE, vllm="off"))
    network = load_weights(model, "float32", "cpu")
    again = make_trainer(plain, Replayed(source.played, plain, model), model, network, tmp_path / "checkpoints", [])
    again.train()
    losses = [[line["loss"] for line in one.state.log_history if "loss" in line] for one in (trainer, again)]
    weights = [dict(one.model.named_parameters()) for one in (trainer, again)]
    moved = max((value - weights[1][name]).abs().max().item() for name, value in weights[0].items())
    print(f"losses {losses}, weights apart at most {moved:.1e}")
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert moved < 1e-3


def test_fresh_prefixes_and_their_turns_are_the_engines(trainer: Any, setup: TrainingSetup, tmp_path: Path) -> None:
    settings = replace(RECIPE, regime="step", credit="turn", reward="mended_f1", players=8, steps=2, refresh=2)
    turns = TurnGenerator(replace(setup, settings=settings, reward=named_reward(settings)), opened(), tmp_path)
    trainer.player.sync()
    found = turns.generate(["0", "0", "1", "1"], trainer)
    network = trainer.model.eval()
    for one in found:
        drawn = torch.tensor(one.tokens.logprobs)
        assert drawn.any()
        assert (drawn - recompute(network, one.tokens, RECIPE.temperature)).abs().max().item() < 1e-3
