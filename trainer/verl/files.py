"""The files of an export: train.parquet, reward.py, agent_loop.yaml and launch.sh, in the form that verl 0.9 reads.

A row of the data has verl's five columns. `prompt` is the prefix as plain text, for whoever looks at the data; what is
rendered are the messages and tools in extra_info, as JSON, because Parquet would give every call the arguments of all.
`ground_truth` is the prefix as a record, which holds all that a reward needs.

The settings are the paper's (FTRL, arXiv 2508.08791, and its launch scripts), under the names of verl 0.9: a test
composes them with verl's own configuration where verl is installed. The cluster's are the last ones of `settings`; an
argument of launch.sh is handed on and wins.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from harness.console.text import printable
from harness.data.exports import Content, write_files
from harness.data.jsonio import replace_file
from harness.data.parquet import ROW_GROUP_SIZE
from harness.errors import UsageError
from harness.extras import install_command
from harness.models.api.chat import wire_tool
from harness.models.local.prompting import chat_messages, has_malformed_call
from harness.task import environment_task
from harness.types import JSONObject, Message
from trainer.prefixes import Prefix, prefix_to_record
from trainer.rl.algorithms import ALGORITHMS
from trainer.rl.data import require_metric
from trainer.verl.prompts import read_training_prompts
from trainer.verl.reward import episode_reward, step_reward

ESTIMATORS = {name: algorithm.verl for name, algorithm in ALGORITHMS.items() if algorithm.verl}
"""verl's names of those algorithms that it has."""
BATCH = 512
"""Prompts a step."""
PROMPT, RESPONSE, THINKING_RESPONSE = 16_384, 1_024, 8_192
"""Tokens."""
ABILITY = "tool_use"
EPISODE = 16_384
"""Tokens of an episode after its prompt, what tools gave included."""
TURNS = 20
THINKING_KEY = "+data.apply_chat_template_kwargs.enable_thinking"
LOOPS = {"step": "prefix_turn", "episode": "whole_episode"}
"""The agent loop of each regime."""
HERE = "$here"
MODEL = re.compile(r"[\w./~-]+")
"""What verl's command line takes without quotes of its own."""

STEP_REWARD = {
    "reward.custom_reward_function.path": f"'{HERE}/reward.py'",
    "reward.custom_reward_function.name": "compute_score",
}
"""In the regime episode the agent loop says what an episode earned."""
REWARD = '''"""The reward of this export: verl calls compute_score for every turn that it generates."""

from trainer.verl.reward import scorer

# format: how the model writes calls (hermes: Qwen's); thinking: whether its chat template ends a prompt inside a block
# of reasoning. The paper_* rewards read neither.
compute_score = scorer({name!r}, format="hermes", thinking=False)
'''
AGENT_LOOPS = {
    "step": """\
- name: prefix_turn
  _target_: trainer.verl.rollout.PrefixTurn
""",
    "episode": """\
- name: whole_episode
  _target_: trainer.verl.episode.EpisodeLoop
  max_turns: {turns}
  max_tokens: {tokens}
  thinking: "{thinking}"
  reward: "{reward}"
""",
}
LAUNCH = """\
#!/usr/bin/env bash
# Trains with verl 0.9 on the prompts beside this file, with the paper's settings. Arguments are handed on to verl and
# win: ./launch.sh trainer.n_gpus_per_node=4
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 -m verl.trainer.main_ppo \\
"""


@dataclass(frozen=True, slots=True)
class Export:
    """What is trained and how: `model` is a path or a name that verl can load (MODEL), `reward` one of the regime's.

    thinking  whether the model thinks; None: its chat template is told nothing, as in a run of the mode default
    long      it thought there by itself, so its turns are as long as those with reasoning
    """

    model: str
    algorithm: str = "grpo"
    reward: str = "paper_f1"
    thinking: bool | None = False
    long: bool = False
    regime: str = "step"

    @property
    def turn_tokens(self) -> int:
        """New tokens of a turn."""
        return THINKING_RESPONSE if self.thinking or self.long else RESPONSE


# --- data ----------------------------------------------------------------------------------------------------------


def row(prefix: Prefix, index: int) -> JSONObject:
    """A prefix as a row of verl's data; `index` is its number, by which verl's traces name it."""
    messages = chat_messages(prefix.messages, "reasoning_content", has_malformed_call)
    return {
        "data_source": str(prefix.sample.metadata.get("data_source") or prefix.task),
        "prompt": [{"role": message.role, "content": plain(message)} for message in prefix.messages],
        "ability": ABILITY,
        "reward_model": {"style": "rule", "ground_truth": json.dumps(prefix_to_record(prefix), ensure_ascii=False)},
        "extra_info": {
            "index": index,
            "split": "train",
            "id": prefix.id,
            "messages": json.dumps(messages, ensure_ascii=False),
            "tools": json.dumps([wire_tool(tool) for tool in prefix.sample.tools], ensure_ascii=False),
        },
    }


def plain(message: Message) -> str:
    """A message as text: a turn with calls as the model wrote it, or with its calls as JSON behind what it said."""
    if message.raw is not None or not message.tool_calls:
        return message.content if message.raw is None else message.raw
    calls = [json.dumps({"name": call.name, "arguments": call.arguments or {}}) for call in message.tool_calls]
    return "\n".join(filter(None, [message.content, *calls]))


def write_data(path: Path, prefixes: Sequence[Prefix]) -> None:
    """The rows as Parquet with nested columns, in the prefixes' order (verl shuffles), the whole file or none."""
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise UsageError(f"verl reads Parquet, which needs the data extra: {install_command('data')}.") from None
    text = pyarrow.string()
    said = pyarrow.struct({"role": text, "content": text})
    extra = {"index": pyarrow.int64(), "split": text, "id": text, "messages": text, "tools": text}
    columns = {
        "data_source": text,
        "prompt": pyarrow.list_(said),
        "ability": text,
        "reward_model": pyarrow.struct({"style": text, "ground_truth": text}),
        "extra_info": pyarrow.struct(extra),
    }
    with replace_file(path) as file, pyarrow.parquet.ParquetWriter(file, pyarrow.schema(columns)) as writer:
        for first in range(0, len(prefixes), ROW_GROUP_SIZE):
            group = [row(p, first + i) for i, p in enumerate(prefixes[first : first + ROW_GROUP_SIZE])]
            writer.write_table(pyarrow.Table.from_pylist(group, schema=writer.schema))


# --- settings ------------------------------------------------------------------------------------------------------


def settings(export: Export) -> dict[str, str]:
    """verl's configuration, by key, as its command line takes it. HERE stands for the folder of the export."""
    actor, rollout = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"
    return {
        "algorithm.adv_estimator": ESTIMATORS[export.algorithm],
        "algorithm.use_kl_in_reward": "False",
        "data.train_files": f"'{HERE}/train.parquet'",
        "data.val_files": f"'{HERE}/train.parquet'",  # verl wants some; they are never played, the harness measures
        "data.val_max_samples": str(BATCH),
        "data.train_batch_size": str(BATCH),
        "data.max_prompt_length": str(PROMPT),
        "data.max_response_length": str(export.turn_tokens if export.regime == "step" else EPISODE),
        "data.filter_overlong_prompts": "True",
        "data.truncation": "error",
        "data.custom_cls.path": "pkg://trainer.verl.rollout",
        "data.custom_cls.name": "PrefixDataset",
        **({} if export.thinking is None else {THINKING_KEY: str(export.thinking)}),
        **(STEP_REWARD if export.regime == "step" else {}),
        "actor_rollout_ref.model.path": export.model,
        "actor_rollout_ref.model.use_remove_padding": "True",
        "actor_rollout_ref.model.enable_gradient_checkpointing": "True",
        f"{actor}.optim.lr": "1e-6",
        f"{actor}.optim.weight_decay": "0.01",
        f"{actor}.loss_agg_mode": "seq-mean-token-mean",
        f"{actor}.clip_ratio": "0.2",
        f"{actor}.clip_ratio_c": "3.0",
        f"{actor}.ppo_mini_batch_size": "32",
        f"{actor}.use_kl_loss": "True",
        f"{actor}.kl_loss_coef": "0.001",
        f"{actor}.kl_loss_type": "low_var_kl",
        f"{actor}.entropy_coeff": "0.001",
        f"{actor}.use_dynamic_bsz": "True",
        f"{actor}.ppo_max_token_len_per_gpu": "32768",
        f"{rollout}.name": "vllm",
        f"{rollout}.n": "16",
        f"{rollout}.temperature": "0.7",
        f"{rollout}.agent.default_agent_loop": LOOPS[export.regime],
        f"{rollout}.agent.agent_loop_config_path": f"'{HERE}/agent_loop.yaml'",
        "trainer.total_epochs": "1",
        "trainer.val_before_train": "False",
        "trainer.test_freq": "-1",
        "trainer.save_freq": "120",
        "trainer.default_local_dir": f"'{HERE}/checkpoints'",
        "trainer.project_name": "tool_harness",
        "trainer.experiment_name": f"{ESTIMATORS[export.algorithm]}_{export.reward}",
        "trainer.logger": "[console]",
        # what the paper's eight GPUs of one machine wanted
        f"{rollout}.tensor_model_parallel_size": "2",
        f"{rollout}.gpu_memory_utilization": "0.7",
        f"{rollout}.max_num_batched_tokens": "32768",
        "actor_rollout_ref.ref.fsdp_config.param_offload": "True",
        "trainer.n_gpus_per_node": "8",
        "trainer.nnodes": "1",
    }


def launch(export: Export) -> str:
    """The launch file: a shell script that calls verl with these settings."""
    lines = [f"    {_word(f'{key}={value}')} \\\n" for key, value in settings(export).items()]
    return LAUNCH + "".join(lines) + '    "$@"\n'


def agent_loop(export: Export) -> str:
    """The file that names the regime's agent loop, and says how it plays."""
    thinking = {None: "default", True: "on", False: "off"}[export.thinking]
    return AGENT_LOOPS[export.regime].format(
        turns=TURNS, tokens=export.turn_tokens, thinking=thinking, reward=export.reward
    )


def _word(override: str) -> str:
    """A word of the script. Only HERE is left to the shell, in words that are ours."""
    return f'"{override}"' if HERE in override else shlex.quote(override)


# --- all of it -----------------------------------------------------------------------------------------------------


def export_prompts(folder: Path, patterns: Sequence[str], data: Mapping[str, Path], export: Export) -> None:
    """Writes the prompts that patterns name, and what trains on them, and says where.

    Raises UsageError for prompts, a reward or a model that cannot be exported; then nothing is written.
    """
    judged = (step_reward if export.regime == "step" else episode_reward)(export.reward)
    if not MODEL.fullmatch(export.model):
        raise UsageError(f"--model {export.model!r} has characters that verl's command line does not take as they are.")
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out names {folder}, which is a file; name a folder.")
    prefixes = read_training_prompts(patterns, data)
    if export.regime == "episode" and (later := [prefix for prefix in prefixes if prefix.turn]):
        raise UsageError(
            f"--regime episode begins with environments, and {later[0].id} is the middle of an episode: name the file "
            "of environments that it was collected from."
        )
    if export.regime == "episode" and judged.metric:
        for prefix in prefixes:
            require_metric(judged.metric, environment_task(prefix.task, list), prefix.sample)
    thought = any(message.reasoning for prefix in prefixes for message in prefix.messages)
    export = replace(export, long=export.thinking is None and thought)
    write_export(folder, prefixes, export)
    print(printable(f"{len(prefixes):,} prompts for verl: {folder}; start with {folder / 'launch.sh'}"))
    if len(prefixes) < BATCH:
        print(
            f"verl takes {BATCH} prompts a step and starts with no fewer: collect more, or hand "
            "data.train_batch_size=N and actor_rollout_ref.actor.ppo_mini_batch_size=M to launch.sh.",
            file=sys.stderr,
        )


def write_export(folder: Path, prefixes: Sequence[Prefix], export: Export) -> None:
    """Writes the files; reward.py where turns are rewarded. Raises UsageError where pyarrow is missing, and where
    another file would be lost."""
    reward: dict[str, Content] = {"reward.py": REWARD.format(name=export.reward)} if export.regime == "step" else {}
    files: dict[str, Content] = {
        "train.parquet": lambda path: write_data(path, prefixes),
        **reward,
        "agent_loop.yaml": agent_loop(export),
        "launch.sh": launch(export),
    }
    write_files(folder, files)
    (folder / "launch.sh").chmod(0o755)
