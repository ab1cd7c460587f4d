"""Whole episodes in verl 0.9: an agent loop that plays an environment by the harness's rollout, sandbox and verifier.

verl generates, turn by turn; what its tokens are followed by, which of them are trained on and what the episode earned
is made by the code of `harness train --regime episode`. The loop's settings are in agent_loop.yaml, the environment is
in the row's ground truth. verl makes one object an episode.

Left out: an episode whose sandbox broke counts in verl's mean of its group, with a reward of 0 and no token trained on.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopMetrics, AgentLoopOutput

from harness.data import jsonio
from harness.errors import ModelFailure
from harness.models.local.folder import check_folder
from harness.models.local.tokenizer import ModelTokenizer, open_tokenizer
from harness.rollout import Episode, play_episode_async
from harness.scoring.verdict import score_trajectory
from harness.task import environment_task
from harness.types import Limits, ModelRequest, Reasoning, Reply, Sample, Sampling, Trajectory
from trainer.prefixes import prefix_from_record
from trainer.rewards import reward
from trainer.rl.actor import EpisodeBook, with_stable_template
from trainer.tool_runner import shared_sandbox

LOST = "infrastructure_error"


class EpisodeLoop(AgentLoopBase):  # type: ignore[misc]
    """One episode. `thinking` is off, on or default; `reward` an episode reward's name."""

    def __init__(self, *given: Any, max_turns: int, max_tokens: int, thinking: str, reward: str, **more: Any) -> None:
        super().__init__(*given, **more)
        self._limits = Limits(max_turns)
        self._sampling = Sampling(1.0, max_tokens)
        self._reasoning = Reasoning(thinking)  # type: ignore[arg-type]
        self._reward = reward
        local = open_model(str(self.config.actor_rollout_ref.model.path), self._reasoning)
        self._book = EpisodeBook(local, int(self.rollout_config.response_length))

    async def run(self, sampling_params: dict[str, Any], priority: int = 0, **row: Any) -> Any:
        """Plays the row's environment. Its log-probabilities are those of verl's engine, where it gives them."""
        task, sample = environment_of(row["reward_model"]["ground_truth"])
        logprobs: list[list[float]] = []

        async def speak(request: ModelRequest) -> Reply:
            asked = self._book.ask(request)
            if isinstance(asked, ModelFailure):
                raise asked
            settings = {**sampling_params, "max_tokens": asked.max_new_tokens}
            said = await self.server_manager.generate(
                request_id=episode_id, prompt_ids=list(asked.ids), sampling_params=settings, priority=int(priority)
            )
            logprobs.append(list(said.log_probs or ()))
            return self._book.answer(asked, said.token_ids)

        episode_id = uuid4().hex
        episode = Episode(sample, self._sampling, self._limits, 0, task.name, self._reasoning)
        with shared_sandbox().episode() as tools:
            played = await play_episode_async(episode, task.environment(sample), speak, tools)
        verdict = score_trajectory(task, sample, played)
        earned = None if played.outcome == LOST else reward(self._reward).episode(sample, played, verdict)
        return self._output(task.name, sample, played, earned, logprobs)

    def _output(
        self, task: str, sample: Sample, played: Trajectory, earned: float | None, logprobs: list[list[float]]
    ) -> Any:
        tokens = self._book.pop_tokens((task, sample.id, 0))
        ids, mask = (tokens.ids, tokens.loss_mask) if tokens.ids else ([self.tokenizer.eos_token_id], [0])
        return AgentLoopOutput(
            prompt_ids=tokens.prompt,
            response_ids=ids,
            response_mask=[0] * len(mask) if earned is None else mask,
            response_logprobs=spread(logprobs, tokens.turns) if any(logprobs) and tokens.ids else None,
            reward_score=0.0 if earned is None else earned,
            num_turns=len(played.messages),
            metrics=AgentLoopMetrics(),
            extra_fields={"turn_scores": [], "tool_rewards": []},
        )


@lru_cache(maxsize=4)
def open_model(path: str, reasoning: Reasoning) -> ModelTokenizer:
    """The tokenizer of a model directory, with a template that keeps earlier turns. Raises UsageError without one."""
    return with_stable_template(open_tokenizer(check_folder(path, Path(path), {}), {}), reasoning)


def environment_of(ground_truth: str) -> tuple[Any, Sample]:
    """The environment of a row, which is a record as `harness collect` writes it, as a task and its sample."""
    prefix = prefix_from_record(jsonio.parse_json(ground_truth), 0, "the ground truth")
    return environment_task(prefix.task, lambda: [prefix.sample]), prefix.sample


def spread(logprobs: list[list[float]], turns: list[int]) -> list[float]:
    """Log-probabilities a turn at the places of the turn's tokens; 0 where a token was not generated."""
    waiting: Mapping[int, Any] = {turn: iter(found) for turn, found in enumerate(logprobs)}
    return [next(waiting[turn], 0.0) if turn in waiting else 0.0 for turn in turns]
