"""What an exported package gives to verifiers 0.1: whole episodes as a MultiTurnEnv, by its `load_environment`.

verifiers asks its model for every turn; the turn then goes through the harness's rollout and sandbox, and the reward is
the headline metric of the verdict, so a score is that of `harness eval` on the same turns. Metrics are those that every
episode of the set has, because verifiers averages them all; the state holds the others as `harness_scores`. Written for
verifiers 0.1.14. Later ones have tasksets instead: harness.interop.verifiers_taskset.

Left out: limits of time and tokens of our own, which verifiers has.
"""

from __future__ import annotations

import asyncio
import json
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import verifiers as vf
from datasets import Dataset

from harness.data.arguments import read_arguments
from harness.data.messages import message_to_json
from harness.errors import ModelFailure
from harness.interop.exported import environments, task_of
from harness.interop.live import LiveRollout, shared_sandbox, state_of, untimed_limits
from harness.rollout import Episode
from harness.scoring.verdict import score_trajectory
from harness.types import JSONObject, Message, Reply, Sample, Task, ToolCall, Trajectory, Usage

EPISODE, SCORES = "harness_episode", "harness_scores"
"""Where a state names its episode, and holds every metric at the end."""


@dataclass
class Playing:
    """An episode on its way."""

    live: LiveRollout
    held: ExitStack


class Episodes(vf.MultiTurnEnv):  # type: ignore[misc]
    """The episodes of an exported set."""

    def __init__(self, path: str, max_turns: int = 20, sandbox: Literal["jail", "weak"] = "jail") -> None:
        self.set_path, self.set_turns, self.set_sandbox = path, max_turns, sandbox
        self.playing: dict[str, Playing] = {}
        rows = Dataset.from_list([row_of(sample) for sample in environments(path).values()])
        super().__init__(dataset=rows, eval_dataset=rows, rubric=Verdicts(path), max_turns=-1)

    async def setup_state(self, state: Any) -> None:
        """Begins an episode, whose tools are given back when it ends."""
        await asyncio.to_thread(self._begin, state)

    def _begin(self, state: Any) -> None:
        task, sample = task_of(self.set_path), environments(self.set_path)[state["info"]["id"]]
        jail, held = shared_sandbox(self.set_sandbox), ExitStack()
        tools = held.enter_context(jail.episode(state_of(task, sample, jail)))
        episode = Episode(sample, limits=untimed_limits(self.set_turns), task=task.name)
        self.playing[state["trajectory_id"]] = Playing(LiveRollout(episode, task.environment(sample), tools), held)

    async def env_response(self, messages: Any, state: Any, **given: Any) -> list[Any]:
        """Plays the turn that the model just took; what follows it, and whether that was the end."""
        live = self.playing[state["trajectory_id"]].live
        said = reply_of(state["trajectory"][-1]["response"])
        seen = len(live.messages) + 1
        await live.play_turn(said)
        new = [to_chat(message) for message in live.messages[seen:]]
        if live.trajectory is not None:
            state["final_env_response"] = new
        return new

    @vf.cleanup  # type: ignore[untyped-decorator]
    async def end_episode(self, state: Any) -> None:
        """Scores what was played, also where verifiers ended it. A reply of nothing, which it calls an error, is a
        turn of silence here."""
        playing = self.playing.pop(state["trajectory_id"], None)
        if playing is None:
            return
        with playing.held:
            if isinstance(state.get("error"), vf.EmptyModelResponseError):
                await playing.live.play_turn(Reply(Message("assistant"), Usage(requests=1)))
            playing.live.end_with_failure(failure_of(state))
        trajectory, sample = playing.live.trajectory, environments(self.set_path)[state["info"]["id"]]
        assert trajectory is not None
        state[EPISODE] = {"outcome": trajectory.outcome, "stop": trajectory.stop}
        state[SCORES] = score_trajectory(task_of(self.set_path), sample, trajectory).scores


class Verdicts(vf.Rubric):  # type: ignore[misc]
    """The reward and the metrics of an episode that was scored when it ended."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.task = task_of(path)
        self.shown = metric_names(self.task, list(environments(path).values()))
        self.add_reward_func(self.harness_reward)
        for name in self.shown:
            self.add_metric(metric_named(name))

    async def harness_reward(self, state: Any) -> float:
        """The headline metric, 0 where the episode has none."""
        return (state.get(SCORES) or {}).get(self.task.headline) or 0.0


def metric_named(name: str) -> Any:
    """A metric as verifiers takes it: a function of that name."""

    async def metric(state: Any) -> float:
        return (state.get(SCORES) or {}).get(name) or 0.0

    metric.__name__ = name
    return metric


def metric_names(task: Task, samples: list[Sample]) -> list[str]:
    """The metrics that no episode of these samples is without: those of a player who says nothing."""
    silent = Trajectory((Message("assistant"),), (), 1, "ok", "no_tool_calls", Usage(), {})
    found = [score_trajectory(task, sample, silent).scores for sample in samples]
    return [name for name in found[0] if all(scores.get(name) is not None for scores in found)]


# --- messages --------------------------------------------------------------------------------------------------------


def row_of(sample: Sample) -> JSONObject:
    """A row of the data set; `info` as text, because rows of one data set have the same fields all the way down."""
    tools = [{"name": one.name, "description": one.description, "parameters": one.parameters} for one in sample.tools]
    prompt = [message_to_json(message) for message in sample.messages]
    return {"prompt": prompt, "info": json.dumps({"id": sample.id, "tool_defs": tools})}


def to_chat(message: Message) -> JSONObject:
    """A message that follows a turn: what a tool gave, or somebody else said."""
    said: JSONObject = {"role": message.role, "content": message.content}
    return {**said, "tool_call_id": message.tool_call_id} if message.role == "tool" else said


def reply_of(response: Any) -> Reply:
    """What the model said, as the harness reads it: arguments are those of the wire."""
    message, used = response.message, response.usage
    calls = tuple(ToolCall(call.id, call.name, *read_arguments(call.arguments)) for call in message.tool_calls or ())
    usage = Usage(used.prompt_tokens, used.completion_tokens, requests=1) if used else Usage(requests=1)
    said = Message("assistant", text_of(message.content), message.reasoning_content, calls)
    return Reply(said, usage, "length" if message.is_truncated else message.finish_reason)


def text_of(content: Any) -> str:
    if isinstance(content, str) or content is None:
        return content or ""
    return "".join(getattr(part, "text", "") for part in content)


def failure_of(state: Any) -> ModelFailure:
    """Why an episode that is not over ended."""
    if state.get("prompt_too_long"):
        return ModelFailure("the conversation is too long", outcome="token_limit", stop="context_length")
    said = str(state.get("error") or "verifiers ended the episode")
    return ModelFailure(said, outcome="infrastructure_error", stop="ended")
