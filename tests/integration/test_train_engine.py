"""Training whose episodes and turns an engine plays: a stand-in for vLLM behind TRL's own interface."""

import json

import pytest
from builders import record, write_records
from fakes import tiny_model
from fakes.training_engine import Client, Generation

from harness.errors import HarnessError, UsageError
from harness.models.local.folder import check_folder
from harness.models.local.hf import load_weights
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from trainer.rl.data import prepare_training
from trainer.rl.generation import EpisodeGenerator
from trainer.rl.run import check_vllm
from trainer.rl.settings import RLRecipe
from trainer.rl.trl_trainer import make_trainer, train_network
from trainer.sft.network import CHAT_TEMPLATE

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*rollout_func.*:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

FEW = {
    "vllm": "server",
    "vllm_server": "http://127.0.0.1:1",
    "steps": 3,
    "prompts": 2,
    "samples": 2,
    "max_turns": 2,
    "max_tokens": 12,
    "temperature": 0.8,
    "learning_rate": 1e-2,
    "players": 2,
    "refresh": 2,
    "validate_every": 2,
    "test": 0,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> ModelTokenizer:
    folder = tiny_model.random_model(tmp_path_factory.mktemp("random"), CHAT_TEMPLATE)
    return open_tokenizer(check_folder("tiny", folder, {}), {})


@pytest.fixture(scope="module")
def towns(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "towns.jsonl"
    return write_records(path, [record(id=f"town-{number}", split="train") for number in range(4)])


@pytest.fixture
def engine(monkeypatch):
    monkeypatch.setattr("trl.trainer.grpo_trainer.VLLMGeneration", Generation)


def make_setup(towns, out, **changes):
    out.mkdir(parents=True, exist_ok=True)
    settings = RLRecipe(**{"regime": "episode", "validation": 0, **FEW, **changes})
    return prepare_training(settings, [str(towns)], {}, out, lambda *told: None)


def trained(setup, model, out):
    train_network(setup, model, load_weights(model, "float32", "cpu"), out, lambda *told: None)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    "changes",
    [
        {"validation": 2},
        {"regime": "step", "credit": "return"},
        {"regime": "step", "credit": "turn", "updates": 2, "dynamic": 1, "steps": 4},
    ],
)
def test_an_engine_plays_with_the_weights_of_the_step(changes, engine, model, towns, tmp_path):
    """Whole episodes with a validation, returns, and fresh prefixes: what it drew by is what the network says anew."""
    setup = make_setup(towns, tmp_path, **changes)
    lines = trained(setup, model, tmp_path)
    steps = [line for line in lines if "loss" in line]
    played = [line for line in steps if "sampling/sampling_logp_difference/max" in line]
    assert len(steps) == setup.settings.steps
    assert len(played) == setup.settings.steps // setup.settings.updates
    assert max(line["sampling/sampling_logp_difference/max"] for line in played) < 1e-4
    assert all(line["sampling/importance_sampling_ratio/mean"] == pytest.approx(1, abs=1e-3) for line in played)
    asked = Generation.last.vllm_client.asked
    assert len({(tuple(one["prompts"][0]), one["generation_kwargs"]["seed"]) for one in asked}) > len(asked) / 2
    # One sync a generation, and one more for the validation after the last step.
    assert Generation.last.synced == len(played) + bool(setup.validation)
    if setup.validation:
        manifest = json.loads((tmp_path / "validation" / "000002" / "manifest.json").read_text(encoding="utf-8"))
        assert '"engine": "vllm"' in json.dumps(manifest)


@pytest.mark.parametrize(("of", "method"), [(Client, "generate"), (Generation, "sync_weights")])
def test_an_engine_that_failed_is_one_sentence(of, method, engine, model, towns, tmp_path, monkeypatch):
    def gone(*given, **more):
        raise ConnectionError("Connection refused\nand much more")

    monkeypatch.setattr(of, method, gone)
    with pytest.raises(HarnessError, match=r"^vLLM failed: ConnectionError: Connection refused; go on .* --resume\.$"):
        trained(make_setup(towns, tmp_path), model, tmp_path)


def test_an_engine_that_does_not_begin_is_one_sentence(model, towns, tmp_path):
    """TRL's own refusal, whatever it is here: vLLM that is not installed, a server that is not there."""
    setup = make_setup(towns, tmp_path)
    with pytest.raises(UsageError, match=r"^Training with vllm = server cannot begin: .*\.$"):
        network = load_weights(model, "float32", "cpu")
        make_trainer(setup, EpisodeGenerator(setup, model), model, network, tmp_path / "checkpoints", [])


def test_a_server_has_an_address():
    with pytest.raises(UsageError, match="needs the server's address"):
        check_vllm(RLRecipe("episode", vllm="server"), plays=False)
