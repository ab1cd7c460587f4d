"""`harness export verl --regime episode`: verl's own agent loop machinery plays what `harness train` plays.

verl is no part of the dev extra; where it is not installed only what is written is tested. docs/verl.md says how.
"""

import asyncio
import os
from dataclasses import replace
from itertools import islice
from pathlib import Path

import builders
import pyarrow.parquet
import pytest
from commands import harness, one_sentence
from fakes.ftrl_repository import small_environments
from verl_exports import overrides

from harness.models.local.folder import check_folder
from harness.models.local.tokenizer import open_tokenizer
from harness.sandbox import Sandbox
from harness.scoring.verdict import score_trajectory
from harness.task import file_task
from harness.types import Limits, Reasoning, Sampling
from trainer.bundled import model_path
from trainer.prefixes import first_prefix, prefix_to_record
from trainer.rewards import reward

EPISODES = int(os.environ.get("HARNESS_TEST_EPISODES", 40))
"""tox -e verl plays more."""
TURNS, TOKENS = 6, 48
TINY = model_path("tiny-base")


@pytest.fixture(scope="module")
def environments(tmp_path_factory):
    rows = [{**row, "split": "train"} for row in islice(small_environments(), EPISODES)]
    return builders.write_records(tmp_path_factory.mktemp("environments") / "small.jsonl", rows)


@pytest.fixture(scope="module")
def exported(tmp_path_factory, environments):
    folder = tmp_path_factory.mktemp("cluster") / "export"
    done = harness("export", "verl", "--regime", "episode", "--tasks", environments, "--model", TINY, "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_loop_says_the_reward_and_how_it_plays(exported, tmp_path):
    assert {path.name for path in exported.iterdir()} == {"train.parquet", "agent_loop.yaml", "launch.sh"}
    said = (exported / "agent_loop.yaml").read_text()
    for line in ("EpisodeLoop", "max_turns: 20", "max_tokens: 1024", 'thinking: "off"', 'reward: "episode_f1"'):
        assert line in said
    words = overrides(exported, tmp_path)
    assert "data.max_response_length=16384" in words
    assert "actor_rollout_ref.rollout.agent.default_agent_loop=whole_episode" in words
    assert not [word for word in words if "custom_reward_function" in word]


def test_what_cannot_be_played_whole_is_refused(environments, tmp_path):
    later = replace(first_prefix("towns", builders.sample(split="train")), turn=1)
    middle = builders.write_records(tmp_path / "prefixes.jsonl", [prefix_to_record(later)])
    for words, says in (
        (("--tasks", middle), "is the middle of an episode"),
        (("--tasks", environments, "--reward", "paper_f1"), "judges single turns"),
    ):
        done = harness("export", "verl", "--regime", "episode", *words, "--out", tmp_path / "out")
        assert says in one_sentence(done)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_tokens_masks_and_rewards_are_those_of_the_trainer(environments, exported, tmp_path):
    pytest.importorskip("verl")
    played = recorded(environments)
    make_loop = verl_loop(exported, tmp_path, played)
    rows = pyarrow.parquet.read_table(exported / "train.parquet").to_pylist()
    assert len(rows) == len(played) == EPISODES

    async def play_all():
        return [await make_loop().run({"temperature": 1.0}, **row) for row in rows]

    outputs = asyncio.run(play_all())
    for (tokens, earned), output in zip(played, outputs, strict=True):
        assert output.prompt_ids == tokens.prompt
        assert output.response_ids == tokens.ids
        assert output.response_mask == tokens.loss_mask
        assert output.reward_score == earned
        told = [-0.5 if mask else 0.0 for mask in tokens.loss_mask]
        assert output.response_logprobs == told
    assert len({earned for _, earned in played}) > 5
    assert {0, 1} == {bit for tokens, _ in played for bit in tokens.loss_mask}


def recorded(path):
    """Episodes as `harness train --regime episode` plays and rewards them: their tokens, and what they earned."""
    from transformers import AutoModelForCausalLM

    from trainer.rl.actor import (
        Actor,
        EpisodeRequest,
        NetworkGenerator,
        RolloutSettings,
        play_episodes,
        with_stable_template,
    )

    local = with_stable_template(open_tokenizer(check_folder("tiny", TINY, {}), {}), Reasoning("off"))
    network = AutoModelForCausalLM.from_pretrained(TINY, dtype="float32").eval()
    task = file_task(path)
    requests = [EpisodeRequest(task, sample, 0) for sample in task.load()]
    actor = Actor(local, NetworkGenerator(local, network, "float32", 64, kept=64), 64)
    settings = RolloutSettings(Sampling(1.0, TOKENS, 3), Limits(TURNS), Reasoning("off"))
    with Sandbox() as sandbox:
        trajectories = play_episodes(actor, requests, settings, sandbox)
    judge = reward("episode_f1")
    return [
        (
            actor.pop_tokens(request.key),
            judge.episode(request.sample, done, score_trajectory(request.task, request.sample, done)),
        )
        for request, done in zip(requests, trajectories, strict=True)
    ]


def verl_loop(exported, tmp_path, played):
    """A way to make verl's agent loop, by launch.sh, before a server that says what was recorded."""
    import hydra
    import verl
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf
    from transformers import AutoTokenizer
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.utils.dataset.rl_dataset import RLHFDataset
    from verl.workers.rollout.replica import TokenOutput

    with initialize_config_dir(str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        config = compose("ppo_trainer", overrides(exported, tmp_path))
    (settings,) = OmegaConf.load(config.actor_rollout_ref.rollout.agent.agent_loop_config_path)
    settings.max_turns, settings.max_tokens = TURNS, TOKENS
    says = dict(turn for tokens, _ in played for turn in turns_of(tokens))
    words = AutoTokenizer.from_pretrained(TINY)

    class Server:
        async def generate(self, *, prompt_ids, sampling_params, **more):
            ids = says[tuple(prompt_ids)]
            assert 0 < len(ids) <= sampling_params["max_tokens"] <= TOKENS
            return TokenOutput(token_ids=ids, log_probs=[-0.5] * len(ids), num_preempted=0)

    def make():
        return hydra.utils.instantiate(
            settings,
            trainer_config=DictConfigWrap(config),
            server_manager=Server(),
            tokenizer=words,
            processor=None,
            hf_model_type="qwen3",
            dataset_cls=RLHFDataset,
            data_config=DictConfigWrap(config.data),
        )

    return make


def turns_of(tokens):
    """What was read before each turn, and the tokens that it generated."""
    for turn in sorted(set(tokens.turns) - {-1}):
        first = tokens.turns.index(turn)
        ids = [token for token, of in zip(tokens.ids, tokens.turns, strict=True) if of == turn]
        yield (*tokens.prompt, *tokens.ids[:first]), ids
