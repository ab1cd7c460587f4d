"""`harness export verl`: what it writes, and, where verl 0.9 is installed, that verl takes it.

verl is no part of the dev extra: its tests here are skipped without it. docs/verl.md says how they are run.
"""

import asyncio
import json
import runpy
from pathlib import Path

import builders
import pyarrow.parquet
import pytest
from commands import harness, one_sentence
from fakes.tiny_model import CALL, random_model
from verl_exports import launched, overrides

from harness.environment import ToolEnvironment
from harness.errors import UsageError
from harness.types import CallRecord, Trajectory, Usage
from trainer.prefixes import cut_prefixes, prefix_to_record, read_prefixes
from trainer.rewards import reward
from trainer.verl.files import Export, write_export
from trainer.verl.reward import scorer

RIGHT = builders.call("population", {"town": "Corrie"})
TORN = builders.call("population", None, 1)
OUTPUT = '{"inhabitants": 45210}'


def prefix_records():
    """A prompt, and what followed its first turn: one call that solves it and one that is malformed."""
    sample = builders.sample(split="train")
    environment = ToolEnvironment(sample)
    said = builders.says("Let me see.", RIGHT, TORN)
    fed_back = (
        builders.Message("tool", OUTPUT, tool_call_id="call_0"),
        builders.Message("tool", "no", tool_call_id="call_1"),
    )
    calls = (CallRecord(0, RIGHT, "ok", OUTPUT), CallRecord(0, TORN, "malformed", "no"))
    messages = (*environment.reset(), said, *fed_back, builders.says("Answer: 45210"))
    played = Trajectory(messages, calls, 2, "ok", "no_tool_calls", Usage(), {})
    return [prefix_to_record(prefix) for prefix in cut_prefixes("towns", sample, played)]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    return builders.write_records(tmp_path_factory.mktemp("prompts") / "prefixes.jsonl", prefix_records())


@pytest.fixture(scope="module")
def exported(tmp_path_factory, prompts):
    folder = tmp_path_factory.mktemp("a cluster") / "export"
    done = harness("export", "verl", "--tasks", prompts, "--out", folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("2 prompts for verl")
    assert "verl takes 512 prompts a step and starts with no fewer" in done.stderr
    return folder


def rows(folder):
    return pyarrow.parquet.read_table(folder / "train.parquet").to_pylist()


# --- what is written -----------------------------------------------------------------------------------------------


def test_a_row_has_verls_columns_and_the_whole_prefix(exported):
    first, second = rows(exported)
    assert set(first) == {"data_source", "prompt", "ability", "reward_model", "extra_info"}
    assert first["data_source"] == "test/single_hop"
    assert [message["role"] for message in second["prompt"]] == ["user", "assistant", "tool", "tool"]
    assert second["prompt"][1]["content"].startswith("Let me see.\n{")
    assert second["reward_model"]["style"] == "rule"
    assert json.loads(second["reward_model"]["ground_truth"]) == prefix_records()[1]
    assert [row["extra_info"]["index"] for row in (first, second)] == [0, 1]
    assert json.loads(first["extra_info"]["tools"]) == builders.record()["tools"]


def test_calls_keep_their_arguments_apart(exported):
    messages = json.loads(rows(exported)[1]["extra_info"]["messages"])
    assert messages[1]["tool_calls"][0]["function"] == {"name": "population", "arguments": {"town": "Corrie"}}
    assert messages[2]["content"] == OUTPUT


@pytest.mark.parametrize("name", ["paper_f1", "strict_f1", "mended_f1"])
@pytest.mark.parametrize("response", [CALL, CALL + CALL, "Answer: 45210", "", "<tool_call>\n{oops\n</tool_call>"])
def test_verl_is_given_the_trainers_reward(exported, prompts, name, response):
    score = scorer(name)
    for row, prefix in zip(rows(exported), read_prefixes(prompts), strict=True):
        given = score("any", response, row["reward_model"]["ground_truth"], row["extra_info"])
        assert given == reward(name).steps([prefix.to_turn(response)])[0]


def test_the_rewards_differ_where_they_should(exported):
    """After the call that solves everything, the same call again solves nothing: strict sees the repeat."""
    first, second = (row["reward_model"]["ground_truth"] for row in rows(exported))
    assert scorer("paper_f1")("", CALL, first) == scorer("strict_f1")("", CALL, first) == 1.0
    assert scorer("mended_f1")("", CALL, second) == -0.2


def test_the_reward_file_is_the_reward_that_was_named(prompts, tmp_path):
    assert harness("export", "verl", "--tasks", prompts, "--out", tmp_path, "--reward", "mended_f1").returncode == 0
    compute_score = runpy.run_path(str(tmp_path / "reward.py"))["compute_score"]
    assert compute_score("", CALL, rows(tmp_path)[1]["reward_model"]["ground_truth"], {}) == -0.2


def test_the_launch_file_has_the_papers_settings(exported, tmp_path):
    words = launched(exported, tmp_path, "trainer.nnodes=2")
    assert words[:2] == ["-m", "verl.trainer.main_ppo"]
    assert words[-1] == "trainer.nnodes=2"
    expected = (
        "algorithm.adv_estimator=grpo",
        "data.train_batch_size=512",
        "data.max_prompt_length=16384",
        "data.max_response_length=1024",
        "actor_rollout_ref.actor.optim.lr=1e-6",
        "actor_rollout_ref.actor.optim.weight_decay=0.01",
        "actor_rollout_ref.actor.loss_agg_mode=seq-mean-token-mean",
        "actor_rollout_ref.actor.clip_ratio_c=3.0",
        "actor_rollout_ref.rollout.temperature=0.7",
        "actor_rollout_ref.actor.ppo_mini_batch_size=32",
        "actor_rollout_ref.actor.kl_loss_coef=0.001",
        "actor_rollout_ref.actor.kl_loss_type=low_var_kl",
        "actor_rollout_ref.actor.entropy_coeff=0.001",
        "actor_rollout_ref.rollout.n=16",
        "trainer.total_epochs=1",
        f"data.train_files='{exported}/train.parquet'",
    )
    assert set(expected) <= set(words)


def test_reasoning_and_algorithm_change_what_the_paper_changes(prompts, tmp_path):
    plain, other = tmp_path / "plain", tmp_path / "other"
    assert harness("export", "verl", "--tasks", prompts, "--out", plain).returncode == 0
    more = ("--algorithm", "reinforce++", "--reasoning", "on")
    assert harness("export", "verl", "--tasks", prompts, "--out", other, *more).returncode == 0
    folders = [{word.replace(str(folder), "") for word in overrides(folder, tmp_path)} for folder in (plain, other)]
    assert folders[1] - folders[0] == {
        "algorithm.adv_estimator=reinforce_plus_plus",
        "data.max_response_length=8192",
        "+data.apply_chat_template_kwargs.enable_thinking=True",
        "trainer.experiment_name=reinforce_plus_plus_paper_f1",
    }


def prompts_of_a_run(folder, mode, thought=None):
    """A file of prompts beside the manifest of the run that it was cut from."""
    folder.mkdir()
    (folder / "manifest.json").write_text(json.dumps({"identity": {"reasoning": mode}}))
    rows = prefix_records()
    if thought is not None:
        rows[1]["messages"][1]["reasoning"] = thought
    return builders.write_records(folder / "prefixes.jsonl", rows)


@pytest.mark.parametrize(
    ("mode", "thought", "tokens", "switch"),
    [
        ("off", None, 1024, "False"),
        ("high", "I look.", 8192, "True"),
        ("default", "I look.", 8192, None),
        ("default", None, 1024, None),
    ],
)
def test_the_reasoning_mode_is_that_of_the_run(mode, thought, tokens, switch, tmp_path):
    """A prompt that holds thoughts would otherwise go on in a training that is told to have none."""
    file = prompts_of_a_run(tmp_path / "run", mode, thought)
    assert harness("export", "verl", "--tasks", file, "--out", tmp_path / "out").returncode == 0
    words = overrides(tmp_path / "out", tmp_path)
    assert f"data.max_response_length={tokens}" in words
    told = [word.rpartition("=")[2] for word in words if "enable_thinking" in word]
    assert told == ([] if switch is None else [switch])


def test_another_reasoning_mode_than_the_runs_is_refused(tmp_path):
    file = prompts_of_a_run(tmp_path / "run", "on", "I look.")
    done = harness("export", "verl", "--tasks", file, "--out", tmp_path / "out", "--reasoning", "off")
    assert "was played with on, --reasoning says off" in one_sentence(done)
    assert not (tmp_path / "out").exists()


def test_bad_input_is_one_sentence_and_writes_nothing(prompts, tmp_path):
    test_split = builders.write_records(tmp_path / "test.jsonl", [builders.record(split="test")])
    no_gold = builders.write_records(tmp_path / "no_gold.jsonl", [builders.record(unsolved_set={})])
    plain = builders.write_records(tmp_path / "plain.jsonl", [builders.record()])
    torn = builders.write_records(tmp_path / "torn.jsonl", [{"messages": []}])
    for arguments, says in (
        (("--tasks", test_split), "is no training data, because its split is test"),
        (("--tasks", "micro_*"), "is no training data"),
        (("--tasks", prompts, "demo_*"), "is no training data"),
        (("--tasks", no_gold), "has no tools or no sub-answers"),
        (("--tasks", torn), "has no field 'tools'"),
        (("--tasks", tmp_path / "none.jsonl"), "There is no file"),
        (("--tasks", "nothing_*"), "No task matches"),
        (("--tasks", prompts, "--reward", "paper_f2"), "Did you mean paper_f1"),
        (("--tasks", prompts, "--reward", "episode_f1"), "judges whole episodes"),
        (("--tasks", plain, "--regime", "episode", "--reward", "decision_f1"), "needs the metric decision_f1"),
        (("--tasks", prompts, "--model", "it's mine"), "characters that verl's command line does not take"),
    ):
        assert says in one_sentence(harness("export", "verl", *arguments, "--out", tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["train.parquet", "reward.py", "agent_loop.yaml", "launch.sh"])
def test_no_file_of_anybody_is_replaced(name, prompts, tmp_path):
    prefixes = read_prefixes(prompts)
    write_export(tmp_path, prefixes, Export("m"))
    write_export(tmp_path, prefixes, Export("m"))
    (tmp_path / name).write_text("mine")
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(UsageError, match=f"{name} holds something else"):
        write_export(tmp_path, prefixes[:1] if name == "train.parquet" else prefixes, Export("m"))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_an_episode_reward_is_no_step_reward():
    with pytest.raises(UsageError, match="judges whole episodes"):
        scorer("episode_f1")


# --- what verl makes of it -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def verl_config(exported, tmp_path_factory):
    """verl's own configuration with every override of launch.sh, migrated as verl does it first."""
    verl = pytest.importorskip("verl")
    from hydra import compose, initialize_config_dir
    from verl.experimental.reward_loop.reward_loop import migrate_legacy_reward_impl

    folder = str(Path(verl.__file__).parent / "trainer" / "config")
    with initialize_config_dir(folder, version_base=None):
        config = compose("ppo_trainer", overrides(exported, tmp_path_factory.mktemp("bin")))
    return migrate_legacy_reward_impl(config)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(random_model(tmp_path_factory.mktemp("model")))


@pytest.fixture
def dataset(verl_config, words):
    from verl.utils.dataset.rl_dataset import get_dataset_class

    kind = get_dataset_class(verl_config.data)
    return kind(data_files=verl_config.data.train_files, tokenizer=words, config=verl_config.data)


def test_verl_knows_every_key_and_takes_the_values(verl_config, exported):
    from verl.trainer.ppo.utils import need_critic, need_reference_policy
    from verl.utils.config import omega_conf_to_dataclass, validate_config
    from verl.utils.import_utils import load_extern_object

    assert need_reference_policy(verl_config) and not need_critic(verl_config)
    validate_config(verl_config, use_reference_policy=True, use_critic=False)
    actor = omega_conf_to_dataclass(verl_config.actor_rollout_ref.actor)
    assert (actor.optim.lr, actor.ppo_mini_batch_size, actor.kl_loss_type) == (1e-6, 32, "low_var_kl")
    assert omega_conf_to_dataclass(verl_config.actor_rollout_ref.rollout).n == 16
    assert omega_conf_to_dataclass(verl_config.algorithm).adv_estimator == "grpo"
    assert verl_config.data.train_files == str(exported / "train.parquet")
    assert load_extern_object("pkg://trainer.verl.rollout", "PrefixDataset")


def test_verl_knows_both_algorithms():
    pytest.importorskip("verl")
    from verl.trainer.ppo.core_algos import get_adv_estimator_fn

    from trainer.verl.files import ESTIMATORS

    assert len({get_adv_estimator_fn(name) for name in ESTIMATORS.values()}) == 2


def test_verl_reads_the_data(dataset):
    from verl.utils.dataset.rl_dataset import collate_fn

    assert len(dataset) == 2
    batch = collate_fn([dataset[0], dataset[1]])
    assert [len(messages) for messages in batch["raw_prompt"]] == [1, 4]
    assert batch["raw_prompt"][1][1]["tool_calls"][0]["function"]["arguments"] == {"town": "Corrie"}
    assert list(batch["index"]) == [0, 1]


def test_verl_leaves_out_what_is_too_long_with_its_tools(dataset, verl_config, words):
    lengths = sorted(dataset.prompt_tokens(dataset.dataframe[index]) for index in range(2))
    without_tools = words.apply_chat_template(dataset[0]["raw_prompt"], add_generation_prompt=True)["input_ids"]
    assert len(without_tools) < lengths[0] < lengths[1]
    config = verl_config.data.copy()
    for most, kept in ((lengths[0] - 1, 0), (lengths[0], 1), (lengths[1], 2)):
        config.max_prompt_length = most
        assert len(type(dataset)(data_files=config.train_files, tokenizer=words, config=config)) == kept


def test_verl_loads_the_reward(verl_config, exported):
    from verl.trainer.ppo.reward import get_custom_reward_fn

    compute_score = get_custom_reward_fn(verl_config)
    truth = rows(exported)[0]["reward_model"]["ground_truth"]
    assert compute_score(data_source="x", solution_str=CALL, ground_truth=truth, extra_info={"num_turns": 2}) == 1.0


def test_verls_reward_manager_gives_a_generated_turn_its_reward(verl_config, words, exported):
    import numpy as np
    import torch
    from verl import DataProto
    from verl.trainer.ppo.reward import load_reward_manager

    response = words.encode(CALL + "<|im_end|>", return_tensors="pt")
    row = rows(exported)[0]
    extra = {name: np.array([row[name]], dtype=object) for name in ("data_source", "reward_model", "extra_info")}
    data = DataProto.from_dict({"responses": response, "attention_mask": torch.ones_like(response)}, extra)
    scored = asyncio.run(managed(lambda: load_reward_manager(verl_config, words), data))
    assert scored["reward_score"] == 1.0


async def managed(load, data):
    """verl's manager wants to be made inside of the loop that it runs in."""
    manager = load()
    manager.loop = asyncio.get_running_loop()
    return await manager.run_single(data)


def test_verls_agent_loop_renders_the_tools_and_the_calls_as_the_harness_does(dataset, verl_config, words):
    import hydra
    from omegaconf import OmegaConf
    from verl.experimental.agent_loop.agent_loop import DictConfigWrap
    from verl.workers.rollout.replica import TokenOutput

    asked = []

    class Server:
        async def generate(self, *, prompt_ids, **more):
            asked.append(list(prompt_ids))
            return TokenOutput(token_ids=words.encode(CALL), log_probs=None, num_preempted=0)

    async def play(row):
        agent = hydra.utils.instantiate(
            OmegaConf.load(verl_config.actor_rollout_ref.rollout.agent.agent_loop_config_path)[0],
            trainer_config=DictConfigWrap(verl_config),
            server_manager=Server(),
            tokenizer=words,
            processor=None,
            hf_model_type="qwen3",
            dataset_cls=type(dataset),
            data_config=DictConfigWrap(verl_config.data),
        )
        return await agent.run({}, **row)

    for index in range(2):
        output = asyncio.run(play(dataset[index]))
        messages = dataset[index]["raw_prompt"]
        tools = builders.record()["tools"]
        expected = words.apply_chat_template(
            messages, tools=tools, add_generation_prompt=True, enable_thinking=False, tokenize=False
        )
        assert words.decode(asked[index]) == expected
        assert '"name": "population"' in expected
        assert output.prompt_ids == asked[index]
        assert words.decode(output.response_ids) == CALL
        assert all(output.response_mask)
