"""What every trainer here adds to transformers': a training stops at what is no number, behind which every weight would
be none and nothing would say so, and a checkpoint that cannot be read is one sentence."""

from __future__ import annotations

import math
from typing import Any

from harness.errors import HarnessError
from harness.models.local.packages import import_quietly
from trainer.precision import ADVICE
from trainer.run_directory import told_as_damage

transformers: Any = import_quietly("transformers")


class GuardedTrainer(transformers.Trainer):  # type: ignore[misc]
    """Raises HarnessError where the loss or the gradient of a step is no number, and for a damaged checkpoint. `advice`
    is what to do about the former. To be named before the trainer that it guards."""

    advice = ADVICE

    def training_step(self, *given: Any, **more: Any) -> Any:
        loss = super().training_step(*given, **more)
        self._require_finite("loss", loss.item())
        return loss

    def _get_grad_norm(self, *given: Any, **more: Any) -> Any:
        norm = super()._get_grad_norm(*given, **more)
        self._require_finite("gradient", norm)
        return norm

    def _require_finite(self, what: str, value: float) -> None:
        if not math.isfinite(value):
            step = self.state.global_step + 1
            raise HarnessError(f"The {what} of step {step} is {value}, so training has stopped; {self.advice}.")

    def _load_from_checkpoint(self, resume_from_checkpoint: str, *given: Any, **more: Any) -> Any:
        with told_as_damage(resume_from_checkpoint):
            return super()._load_from_checkpoint(resume_from_checkpoint, *given, **more)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> Any:
        with told_as_damage(checkpoint):
            return super()._load_optimizer_and_scheduler(checkpoint)

    def _load_rng_state(self, checkpoint: str | None) -> Any:
        with told_as_damage(checkpoint):
            return super()._load_rng_state(checkpoint)
