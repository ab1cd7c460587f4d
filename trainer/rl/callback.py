"""What a person sees of a run while it trains: metrics, validations, the best weights, progress.

The best weights are those with the most strict Solve-F1 + 0.3 x right answers in validation (of twins, decision F1 in
its place), whatever the reward's own bonus is: by F1 alone a model that stops before it answers would be chosen.
"""

from __future__ import annotations

import json
import math
import resource
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list

from harness.data import disk
from harness.models.local.packages import import_quietly
from harness.models.local.tokenizer import ModelTokenizer
from trainer.adapters import FOLDER as ADAPTER
from trainer.adapters import has_adapters, save_adapter
from trainer.precision import save_model
from trainer.rewards import validation_score
from trainer.rl.actor import only_ids
from trainer.rl.data import TrainingSetup
from trainer.rl.generation import TrainerView, select_logged_metrics
from trainer.rl.players import Player, gather_weights
from trainer.rl.spread import SHARE
from trainer.rl.validation import EPISODE_BATCH_SIZE, EvaluationSet, run_validation
from trainer.run_directory import ProgressCallback
from trainer.tool_runner import shared_sandbox

transformers: Any = import_quietly("transformers")


class TrainingCallback(transformers.TrainerCallback):  # type: ignore[misc]
    """Metrics, validation, the best weights, progress: what a person sees of a run."""

    def __init__(
        self,
        setup: TrainingSetup,
        model: ModelTokenizer,
        out: Path,
        lines: Sequence[Mapping[str, Any]],
        watch: ProgressCallback,
    ) -> None:
        self._setup = setup
        self._model = model
        self._out = out
        self._watch = watch
        self._began = time.monotonic()
        self._before = max((line.get("cpu_seconds", 0.0) for line in lines), default=0.0)
        self._cpu = cpu_seconds()
        self._validated = {line["step"]: line["validation"] for line in lines if "validation" in line}
        self.trainer: TrainerView | None = None

    @property
    def cpu_time(self) -> float:
        """CPU seconds of this run, those before an interruption included."""
        return self._before + cpu_seconds() - self._cpu

    @property
    def best_validation(self) -> tuple[int, float] | None:
        """The step with the best validation, and its mark."""
        marks = [(step, validation_score(scores)) for step, scores in self._validated.items()]
        return max(marks, key=lambda one: (one[1], -one[0]), default=None)

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.global_step == 0:
            self._validate(0)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        step = state.global_step
        if step % self._setup.settings.validate_every == 0 or step == self._setup.settings.steps:
            self._validate(step)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **_: Any) -> None:
        if logs and "loss" in logs and state.is_world_process_zero:
            self._write({"step": state.global_step, **{name: _short(value) for name, value in logs.items()}})
            share = logs.get(SHARE) or 0.0
            told = f"train, reward {logs.get('reward') or 0:.3f}" + f", {share:.0%} of groups without spread" * bool(
                share
            )
            self._watch(told, state.global_step, self._setup.settings.steps)

    def _validate(self, step: int) -> None:
        """The leader plays; all processes hear of it, because weights in shards are saved by all."""
        trainer, evaluation_set = self.trainer, self._setup.validation
        if trainer is None or evaluation_set is None or step in self._validated:
            return
        trainer.player.sync()
        told: list[Any] = [None]
        if trainer.accelerator.is_main_process:
            told[0] = self._play_validation(trainer.player, evaluation_set, step)
        self._validated[step] = broadcast_object_list(told)[0]
        if self.best_validation is not None and self.best_validation[0] == step:
            self.save_model(trainer)
        trainer.accelerator.wait_for_everyone()

    def _play_validation(self, player: Player, evaluation_set: EvaluationSet, step: int) -> dict[str, float]:
        folder, settings = self._out / "validation" / f"{step:06d}", {"step": str(step), **player.identity}
        with player.generator(kept=EPISODE_BATCH_SIZE) as continue_rows:
            generate = only_ids(continue_rows)
            scores = run_validation(evaluation_set, self._model, generate, settings, shared_sandbox(), folder)
        found = {name: _short(value) for name, value in select_logged_metrics(scores).items()}
        self._write({"step": step, "validation": found})
        return scores

    def save_model(self, trainer: TrainerView) -> None:
        """Writes the weights as they are to DIR/model, whole or not at all. Only the leading process writes; where
        weights are in shards (FSDP) all processes must come here."""
        leads, weights = trainer.accelerator.is_main_process, None
        if trainer.is_fsdp_enabled:
            whole = gather_weights(trainer.model_wrapped, trainer.accelerator.device)
            weights = {name: value.cpu() for name, value in whole if leads}
        if leads:
            network = trainer.accelerator.unwrap_model(trainer.model)
            folder, dtype = self._out / "model", self._setup.settings.save_dtype
            save_model(network, folder, dtype, self._model.save_tokenizer, weights)
            if has_adapters(network):
                save_adapter(network, self._out / ADAPTER, self._model.folder, dtype, self._model.save_tokenizer)

    def _write(self, line: Mapping[str, Any]) -> None:
        timed = {**line, "seconds": round(time.monotonic() - self._began, 1), "cpu_seconds": round(self.cpu_time, 1)}
        with disk.open_to_append(self._out / "metrics.jsonl") as file:
            file.write(f"{json.dumps(timed)}\n".encode())


def cpu_seconds() -> float:
    """CPU time of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _short(value: Any) -> Any:
    return round(value, 6) if isinstance(value, float) and math.isfinite(value) else value
