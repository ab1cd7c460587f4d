"""Reinforcement learning: TRL's GRPOTrainer on the harness's rollout, environments and verifier.

    DIR/run.json, recipe.toml   what this run is, with everything resolved
    DIR/environments/           what the recipe built: train, validation, test
    DIR/prefixes/               the step regime's prompts, a file each time they were collected afresh
    DIR/checkpoints/            what --resume goes on from: weights, optimiser, schedule, random states
    DIR/metrics.jsonl           a line a step and a line a validation
    DIR/validation/STEP/        the run directory of each validation
    DIR/model/                  the result: the weights that were best in validation
    DIR/adapter/                with lora_rank: what was trained of them, alone
    DIR/test/{before,after}/    the run directories of the test at the end

The trainer is TRL's; what is replaced is who generates, which draws the same samples whatever the
batch (trainer.rl.generation, trainer.rl.players), and what the advantages are (trainer.rl.algorithms). Several
processes share a step (accelerate's DDP, or FSDP 2 with the weights in shards); the result is that of one.

Left out: ZeRO, FSDP 1, adapters in shards, a learning rate that differs by layer.
"""

from __future__ import annotations

import math
import os
import random
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from harness.errors import HarnessError, UsageError
from harness.models.local.packages import first_line, import_quietly
from harness.models.local.tokenizer import ModelTokenizer
from trainer.adapters import adapter_config
from trainer.distributed import asks_for_shards
from trainer.heap import HeapCallback
from trainer.precision import checkpoint_bytes
from trainer.rl.callback import TrainingCallback
from trainer.rl.data import TrainingSetup, require_prompts
from trainer.rl.environment_trainer import EnvironmentTrainer
from trainer.rl.generation import EpisodeGenerator, TurnGenerator
from trainer.rl.settings import RLRecipe
from trainer.rl.spread import FlatGenerations
from trainer.run_directory import (
    ProgressCallback,
    checkpoint_step,
    find_last_checkpoint,
    require_space,
    truncate_metrics,
)

transformers: Any = import_quietly("transformers")
trl: Any = import_quietly("trl")

# --- a run -------------------------------------------------------------------------------------------------------


def train_network(
    setup: TrainingSetup, model: ModelTokenizer, network: Any, out: Path, watch: ProgressCallback
) -> TrainingCallback:
    """Trains from the last checkpoint in `out`, or from `network`; DIR/model is the best of it.

    Raises HarnessError with one sentence where it must stop early: no room on the disk, a loss that is no number.
    """
    settings = setup.settings
    source: EpisodeGenerator | TurnGenerator
    if settings.regime == "episode" or settings.credit == "return":
        source = EpisodeGenerator(setup, model)
    else:
        source = TurnGenerator(setup, model, out)
    resumed = find_last_checkpoint(out / "checkpoints")
    lines = truncate_metrics(out / "metrics.jsonl", 0 if resumed is None else checkpoint_step(resumed))
    if resumed is None:
        lines = truncate_metrics(out / "metrics.jsonl", -1)
    require_space(out, 2 * checkpoint_bytes(network))
    callback = TrainingCallback(setup, model, out, lines, watch)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries', which are for their authors
        trainer = make_trainer(setup, source, model, network, out / "checkpoints", [callback])
        callback.trainer = trainer
        trainer.flat = FlatGenerations(settings.max_flat, lines)
        check_sharding(trainer)
        trainer.train(resume_from_checkpoint=None if resumed is None else str(resumed))
    if setup.validation is None:
        callback.save_model(trainer)
    return callback


def make_trainer(
    setup: TrainingSetup,
    source: EpisodeGenerator | TurnGenerator,
    model: ModelTokenizer,
    network: Any,
    folder: Path,
    callbacks: Sequence[Any],
) -> EnvironmentTrainer:
    """The trainer on what a setup has, with prompts from `source`."""
    settings = setup.settings
    os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
    rows = source.dataset_rows()
    require_prompts(settings, len(rows))
    order = order_prompts(rows, settings)
    try:
        trainer = EnvironmentTrainer(
            setup,
            source,
            model,
            model=network,
            reward_funcs=[earned],
            args=make_grpo_config(settings, folder),
            train_dataset=Dataset.from_dict({"prompt": order, "place": order}),
            processing_class=model.tokenizer,
            peft_config=adapter_config(settings.lora_rank, settings.lora_alpha),
            callbacks=[*callbacks, HeapCallback()],
            rollout_func=rollout,
        )
    except Exception as error:
        if settings.vllm == "off" or isinstance(error, HarnessError):
            raise
        raise UsageError(f"Training with vllm = {settings.vllm} cannot begin: {first_line(error)}.") from error
    trainer.remove_callback(transformers.PrinterCallback)
    return trainer


def check_sharding(trainer: EnvironmentTrainer) -> None:
    """Raises UsageError where a launcher asked for shards and there are none."""
    if asks_for_shards(os.environ) and not trainer.is_fsdp_enabled:
        raise UsageError("accelerate makes no shards on a CPU: launch without FSDP.")


def order_prompts(rows: Sequence[str], settings: RLRecipe) -> list[str]:
    """The prompts of all generations in order: passes through the rows, each shuffled, as one long data set.

    One epoch of the Trainer's, because it does not resume the order of a later one. What a pass leaves over for less
    than a generation is left out, so that no prompt comes twice in one.
    """
    whole = len(rows) // settings.prompts * settings.prompts
    wanted = math.ceil(settings.steps / settings.updates) * settings.prompts
    order: list[str] = []
    while len(order) < wanted:
        order += random.Random(f"{settings.seed}:{len(order)}:order").sample(rows, len(rows))[:whole]
    return order[:wanted]


def rollout(prompts: list[str], trainer: EnvironmentTrainer) -> dict[str, Any]:
    """TRL's rollout_func: what was generated for each prompt, and what it earned."""
    trainer.generate(prompts)
    padding = trainer.processing_class.pad_token_id
    ids = [one.tokens.ids or [padding] for one in trainer.scored]
    logprobs = [one.tokens.logprobs or [0.0] for one in trainer.scored] if trainer.use_vllm else None
    return {
        "prompt_ids": [one.tokens.prompt for one in trainer.scored],
        "completion_ids": ids,
        "logprobs": logprobs,  # what TRL corrects the sampler's rounding by
        "env_mask": [one.tokens.loss_mask or [0] for one in trainer.scored],
        "earned": [one.total for one in trainer.scored],
        "scores": [dict(one.scores) for one in trainer.scored],
    }


def earned(
    prompts: Sequence[str], earned: Sequence[float | None], scores: Sequence[Mapping[str, float]], **more: Any
) -> list[float | None]:
    """TRL's reward function: the rewards that came with the rollout. The episodes' own metrics are logged."""
    for name in sorted({name for one in scores for name in one}):
        values = [one[name] for one in scores if name in one]
        more["log_metric"](name, sum(values) / len(values))
    return list(earned)


def make_grpo_config(settings: RLRecipe, folder: Path) -> Any:
    """The recipe in TRL's words."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    share = settings.share_of_update(processes)
    gpu = torch.cuda.is_available()
    return trl.GRPOConfig(
        output_dir=str(folder),
        max_steps=settings.steps,
        per_device_train_batch_size=share,  # cut into pieces by the trainer
        gradient_accumulation_steps=1,
        steps_per_generation=settings.updates,
        num_generations=settings.samples,
        learning_rate=settings.learning_rate,
        lr_scheduler_type="constant_with_warmup" if settings.schedule == "constant" else settings.schedule,
        warmup_steps=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        loss_type=settings.loss,
        beta=settings.kl,
        use_bias_correction_kl=False,
        epsilon=settings.clip,
        epsilon_high=settings.clip_high or None,
        delta=settings.dual_clip or None,
        temperature=settings.temperature,
        top_p=1.0,
        top_k=0,
        max_completion_length=settings.max_tokens,
        bf16=settings.dtype == "bfloat16",
        gradient_checkpointing=settings.checkpointing,
        use_cpu=not gpu,
        seed=settings.seed,
        shuffle_dataset=False,
        data_seed=settings.seed,
        save_steps=settings.save_every,
        save_total_limit=settings.keep,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to=[name for name in ("tensorboard", "wandb") if getattr(settings, name)] or "none",
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_vllm=settings.vllm != "off",
        vllm_mode="server" if settings.vllm == "server" else "colocate",
        vllm_server_base_url=settings.vllm_server or None,
        vllm_gpu_memory_utilization=settings.vllm_memory,
    )
