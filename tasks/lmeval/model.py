"""Any harness model as a model of lm-eval: `--model harness --model_args name=openai/NAME,base_url=URL`.

Our tasks are played as whole episodes, with their tools and under the harness's limits. Tasks of lm-eval's own are
asked as chats of one turn. Both go through the one rollout of `harness eval`. How many tokens a reply may have is said
once, by max_tokens, for all tasks: lm-eval's max_gen_toks leaves no room to reason.

Left out: log-likelihoods, which a chat model does not give; resuming, which `harness eval` has.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from harness.batching import play_all
from harness.console.text import printable
from harness.environment import TextEnvironment
from harness.errors import UsageError
from harness.interop.live import state_of
from harness.models import ModelOptions, expand_names, load_models
from harness.rollout import Episode, play_episode_async
from harness.types import Environment, Gold, Limits, Model, Sample, Sampling, Trajectory
from tasks.lmeval.documents import DATA, SAMPLE, TASK, find_task, keep_trajectory, shared_sandbox
from tasks.lmeval.replies import continuation, read_chat, stop_strings, write_chat

log = logging.getLogger(__name__)

NAME = "harness"


class LMRequest(NamedTuple):
    """One request of lm-eval: an episode, and how its end is told."""

    episode: Episode
    environment: Environment
    tell: Callable[[Trajectory], str]
    state: str | None = None


class HarnessLM(LM):  # type: ignore[misc]
    """The model. Arguments: name (as after `harness eval --model`), base_url, concurrency, max_turns, max_tokens, and
    what --model-arg takes. lm-eval's batch_size and device are not needed. Raises UsageError for a bad name."""

    def __init__(
        self,
        name: str,
        base_url: str | None = None,
        concurrency: int = 16,
        max_turns: int = 20,
        max_tokens: int = 8192,
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
        **args: object,
    ) -> None:
        super().__init__()
        names = expand_names([name])
        if len(names) != 1:
            raise UsageError(f"name={name} means {len(names)} models, and lm-eval asks one at a time.")
        given = {key: str(value) for key, value in args.items()}
        (self.model,) = load_models(names, ModelOptions(given, base_url, concurrency))
        self._concurrency = concurrency
        self._max_turns = max_turns
        self._max_tokens = max_tokens

    def generate_until(self, requests: Sequence[Instance], disable_tqdm: bool = False) -> list[str]:
        """The reply to each request; for one of our own tasks the text that stands for its episode."""
        jobs = [self._own(request) if TASK in request.doc else self._chat(request) for request in requests]
        trajectories = asyncio.run(play_all(jobs, self.model, play_requests, min(self._concurrency, len(jobs))))
        if failed := [t.error for t in trajectories if t.outcome == "infrastructure_error"]:
            said = printable(str(failed[0]))
            log.warning("%d of %d episodes failed and count as they stand: %s", len(failed), len(jobs), said)
        return [job.tell(trajectory) for job, trajectory in zip(jobs, trajectories, strict=True)]

    def _own(self, request: Instance) -> LMRequest:
        task, samples = find_task(request.doc[TASK], request.doc[DATA])
        sample = samples[request.doc[SAMPLE]]
        limits = Limits(max_turns=task.max_turns or self._max_turns)
        episode = Episode(sample, self._sampling(request), limits, task=task.name)
        return LMRequest(episode, task.environment(sample), keep_trajectory, state_of(task, sample, shared_sandbox()))

    def _chat(self, request: Instance) -> LMRequest:
        messages, begun = read_chat(request.args[0])
        sample = Sample(f"{request.task_name}/{request.doc_id}", messages, (), {}, Gold({}))
        until = stop_strings(request.args[1])
        episode = Episode(sample, self._sampling(request), Limits(max_turns=1), task=str(request.task_name))
        return LMRequest(episode, TextEnvironment(sample), lambda trajectory: continuation(trajectory, until, begun))

    def _sampling(self, request: Instance) -> Sampling:
        asked: Mapping[str, Any] = request.args[1] or {}
        return Sampling(float(asked.get("temperature") or 0.0) if asked.get("do_sample") else 0.0, self._max_tokens)

    def loglikelihood(self, requests: Sequence[Instance]) -> list[tuple[float, bool]]:
        raise UsageError(
            "A chat model gives no log-likelihoods: choose the generative variant of the task, such as mmlu_generative."
        )

    def loglikelihood_rolling(self, requests: Sequence[Instance]) -> list[float]:
        raise UsageError("A chat model gives no log-likelihoods, which perplexity is made of.")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        return write_chat(chat_history, add_generation_prompt)

    @property
    def tokenizer_name(self) -> str:
        return self.model.name


async def play_requests(job: LMRequest, model: Model) -> Trajectory:
    """One episode."""
    with shared_sandbox().episode(job.state) as tools:
        return await play_episode_async(job.episode, job.environment, model, tools)
