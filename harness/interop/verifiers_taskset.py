"""What an exported package gives to verifiers since 0.2: a taskset, and the harness that plays it, as its words are.

The harness plays our rollout in verifiers' own process and asks for every turn through the endpoint that verifiers
records, which is all that it asks of one; tools run in our sandbox, and the reward is the headline metric of the
verdict. So a score is that of `harness eval` on the same turns. A metric that an episode does not have is left out of
its trace. Written for verifiers 0.4.0; 0.1 has harness.interop.verifiers_env.

Left out: conversations that somebody continues, and verifiers' own tool servers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import aiohttp
import verifiers.v1 as vf

from harness.errors import ModelFailure
from harness.interop.exported import environments, task_of
from harness.interop.live import shared_sandbox, state_of, untimed_limits
from harness.interop.mcp_session import question
from harness.models.api.chat import read_reply, request_body
from harness.models.api.wire import RequestFailure
from harness.rollout import Episode, SpeakFunction, play_episode_async
from harness.scoring.verdict import score_trajectory
from harness.stops import http_stop
from harness.types import JSONObject, ModelRequest, Reply, Sample, Task, Trajectory

EPISODE = "harness_episode"
"""Where a trace's info holds how the episode ended, and its scores."""


class EpisodeData(vf.TaskData):  # type: ignore[misc]
    """A sample by its id, which leads to the rest."""


class EpisodeTask(vf.Task[EpisodeData]):  # type: ignore[misc]
    """A sample, scored by what its trace holds."""

    @vf.reward  # type: ignore[untyped-decorator]
    async def harness_reward(self, trace: Any) -> float:
        """The headline metric, 0 where the episode has none or there is no episode."""
        return float(trace.info.get(EPISODE, {}).get("reward") or 0.0)

    @vf.metric  # type: ignore[untyped-decorator]
    async def scores(self, trace: Any) -> Mapping[str, float]:
        """Every metric that the episode has."""
        found: JSONObject = trace.info.get(EPISODE, {}).get("scores", {})
        return {name: value for name, value in found.items() if value is not None}


class Episodes(vf.Taskset[EpisodeTask]):  # type: ignore[misc]
    """The samples of an exported set."""

    PATH: ClassVar[str]

    def load(self) -> Iterator[EpisodeTask]:
        for sample in environments(self.PATH).values():
            yield EpisodeTask(EpisodeData(id=sample.id, prompt=question(sample)), self.config.task)


class RolloutConfig(vf.HarnessConfig):  # type: ignore[misc]
    """The rollout's own settings."""

    max_turns: int = 20
    sandbox: str = "jail"
    """weak: also where the kernel has no jail"""


class Rollout(vf.Harness[RolloutConfig]):  # type: ignore[misc]
    """The rollout of `harness eval`."""

    PATH: ClassVar[str]
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: Any,
        trace: Any,
        runtime: Any,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: Any,
        tool_interception_url: str | None = None,
    ) -> Any:
        task, sample = task_of(self.PATH), environments(self.PATH)[data.id]
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {secret}"}) as client:
            played = await self._play(task, sample, speaker(client, endpoint, ctx.model))
        trace.info[EPISODE] = ending(task, sample, played)
        failed = played.outcome == "infrastructure_error"
        return vf.ProgramResult(int(failed), "", played.error or "" if failed else "")

    async def _play(self, task: Task, sample: Sample, speak: SpeakFunction) -> Trajectory:
        jail = shared_sandbox("weak" if self.config.sandbox == "weak" else "jail")
        episode = Episode(sample, limits=untimed_limits(self.config.max_turns), task=task.name)
        with jail.episode(state_of(task, sample, jail)) as tools:
            return await play_episode_async(episode, task.environment(sample), speak, tools)


def speaker(client: aiohttp.ClientSession, endpoint: str, model: str) -> SpeakFunction:
    """Who is asked for every turn: verifiers, which sets the sampling where it has one, records and passes on."""

    async def speak(request: ModelRequest) -> Reply:
        async with client.post(f"{endpoint}/chat/completions", json=request_body(model, request)) as answer:
            content = await answer.read()
        if answer.status != 200:
            said = content.decode("utf-8", "replace")[:2000]
            raise ModelFailure(said, outcome="infrastructure_error", stop=http_stop(answer.status))
        reply = read_reply(content, request.messages)
        if isinstance(reply, RequestFailure):
            raise ModelFailure(reply.text, outcome="model_error", stop="no_choices")
        return reply

    return speak


def ending(task: Task, sample: Sample, played: Trajectory) -> JSONObject:
    """What a trace keeps of an episode."""
    scores = score_trajectory(task, sample, played).scores
    ended = {"outcome": played.outcome, "stop": played.stop, "error": played.error}
    return {**ended, "reward": scores[task.headline] or 0.0, "scores": scores}
