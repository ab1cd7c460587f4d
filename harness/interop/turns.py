"""One episode played by turns from outside, each with its reward: what harness.gym and `harness serve --http` share.

An action is what a model says in a turn: {"content": TEXT, "calls": [{"name": NAME, "arguments": OBJECT}]}, both of
which may be left out; without calls it is the final answer. A turn's reward is by how much it raised what the episode
is worth, so that the rewards add up to the reward of the whole episode. What it is worth before its end is what it
would get if its turns were used up there. Where a score needs what is only known at the end (a state, a benchmark's own
environment), the last turn earns all of it.

Left out: simulated users, and any clock (harness.interop.live).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from harness.data.arguments import make_call_id, read_arguments, replace_surrogates
from harness.environment import ToolEnvironment
from harness.errors import UsageError
from harness.interop.live import LiveRollout, has_own_user, is_plain_episode, untimed_limits
from harness.rollout import Episode, ToolRunner
from harness.scoring.verdict import score_trajectory
from harness.types import (
    CallRecord,
    JSONObject,
    Limits,
    Message,
    Reply,
    RunTools,
    Sample,
    Step,
    Task,
    ToolCall,
    ToolResult,
    Trajectory,
    Usage,
    Verdict,
)

EpisodeReward = Callable[[Sample, Trajectory, Verdict], float]
"""What a whole episode is worth; `trainer.rewards.reward("episode_f1").episode` is one."""
LONG_TEXT = 200_000
"""Characters of a conversation that takes some tenths of a second to score."""
OVER = "The episode is over; reset begins another."


@dataclass(frozen=True, slots=True)
class Turn:
    """What followed an action: the messages that the player has not seen, and what the turn earned."""

    messages: tuple[Message, ...]
    reward: float
    terminated: bool
    truncated: bool


class KeepingEnvironment(ToolEnvironment):
    """One that keeps the calls so far, which a rollout gives at its end only."""

    def __init__(self, sample: Sample) -> None:
        super().__init__(sample)
        self.calls: list[CallRecord] = []

    def step(self, message: Message, turn: int) -> Generator[RunTools, list[ToolResult], Step]:
        step = yield from super().step(message, turn)
        self.calls += step.calls
        return step


class TurnEpisode:
    """One episode. `prompt` is what was said first, `turn` how many were played, `verdict` its score at the end."""

    def __init__(
        self, task: Task, sample: Sample, tools: ToolRunner, limits: Limits, reward: EpisodeReward | str | None = None
    ) -> None:
        self.task, self.sample = task, sample
        self.turn = 0
        self.earned = 0.0
        self.verdict: Verdict | None = None
        self._worth = reward if callable(reward) else metric_reward(reward or task.headline)
        self._kept = KeepingEnvironment(sample) if is_plain_episode(task, sample) else None
        self._environment = self._kept or task.environment(sample)
        self.live = LiveRollout(Episode(sample, limits=limits, task=task.name), self._environment, tools)
        self.prompt = tuple(self.live.messages)
        self._seen = len(self.prompt)
        self._own: set[int] = set()

    @property
    def tools(self) -> Sequence[Any]:
        """Those that may be called now."""
        return self._environment.tools

    @property
    def messages(self) -> Sequence[Message]:
        """All that was said."""
        return self.live.messages

    @property
    def trajectory(self) -> Trajectory | None:
        """The episode when it is over."""
        return self.live.trajectory

    def play(self, message: Message) -> Turn:
        """Plays a turn. Raises UsageError when the episode is over."""
        self._begin()
        self.live.play_turn_now(Reply(message))
        return self._end()

    async def play_async(self, message: Message) -> Turn:
        """The same beside other episodes."""
        self._begin()
        await self.live.play_turn(Reply(message))
        long = sum(len(said.content) for said in self.messages) > LONG_TEXT
        return await asyncio.to_thread(self._end) if long else self._end()

    def _begin(self) -> None:
        if self.trajectory is not None:
            raise UsageError(OVER)
        self.turn += 1
        self._own.add(len(self.messages))  # where the message will stand: the player knows what it says

    def judge(self) -> Verdict | None:
        """The verdict of an episode that is over, however it ended."""
        self._value()
        return self.verdict

    def _end(self) -> Turn:
        worth = self._value()
        gain, self.earned = worth - self.earned, worth
        over = self.trajectory is not None
        ok = self.trajectory is not None and self.trajectory.outcome == "ok"
        return Turn(self._unseen(), gain, terminated=ok, truncated=over and not ok)

    def _unseen(self) -> tuple[Message, ...]:
        first, self._seen = self._seen, len(self.messages)
        return tuple(self.messages[place] for place in range(first, self._seen) if place not in self._own)

    def _value(self) -> float:
        """What the episode is worth by now."""
        trajectory = self.trajectory or self._so_far()
        if trajectory is None:
            return self.earned
        verdict = score_trajectory(self.task, self.sample, trajectory)
        if self.trajectory is not None:
            self.verdict = verdict
        return float(self._worth(self.sample, trajectory, verdict))

    def _so_far(self) -> Trajectory | None:
        """The episode as if it had no turn left; None where that alone cannot be scored."""
        if self._kept is None:
            return None
        said, calls = tuple(self.messages), tuple(self._kept.calls)
        return Trajectory(said, calls, self.turn, "turn_limit", "max_turns", Usage(), {})


def metric_reward(metric: str) -> EpisodeReward:
    """The value of a metric, 0 where the episode has none. UsageError where the task has no such metric."""

    def worth(sample: Sample, trajectory: Trajectory, verdict: Verdict) -> float:
        if metric not in verdict.scores:
            raise UsageError(f"The task has no metric {metric!r}; it has {', '.join(verdict.scores)}.")
        return verdict.scores[metric] or 0.0

    return worth


def limits_of(task: Task, max_turns: int | None = None) -> Limits:
    """As many turns as `harness eval` gives, where `max_turns` says nothing. Raises UsageError where it is no such
    number."""
    return untimed_limits(task.max_turns or Limits().max_turns if max_turns is None else max_turns)


def require_metric(metric: str, task: Task, sample: Sample) -> None:
    """Raises UsageError where the task scores an episode, one in which nothing is said, without a metric."""
    silent = Trajectory(tuple(sample.messages), (), 0, "ok", "no_tool_calls", Usage(), {})
    metric_reward(metric)(sample, silent, score_trajectory(task, sample, silent))


def check_playable(task: Task) -> None:
    """Raises UsageError for a task in whose episodes somebody else speaks too."""
    if has_own_user(task):
        raise UsageError(f"The other side of {task.name} is a simulated user, which only `harness eval` plays.")


# --- actions -------------------------------------------------------------------------------------------------------


def read_action(action: object, turn: int) -> Message:
    """The turn that a structured action means. Raises UsageError for what is none."""
    if isinstance(action, Message):
        return action
    if not isinstance(action, Mapping):
        raise UsageError('An action is {"content": TEXT, "calls": [{"name": NAME, "arguments": OBJECT}]}.')
    if unknown := set(action) - {"content", "calls"}:
        raise UsageError(f"An action has content and calls, not {', '.join(sorted(map(repr, unknown)))}.")
    content, calls = action.get("content", ""), action.get("calls", ())
    if not isinstance(content, str):
        raise UsageError("The content of an action is a text.")
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        raise UsageError("The calls of an action are a list.")
    read = tuple(_read_call(call, turn, index) for index, call in enumerate(calls))
    return Message("assistant", replace_surrogates(content), tool_calls=read)


def _read_call(call: object, turn: int, index: int) -> ToolCall:
    """Arguments may be malformed, which is the model's doing and answered by the episode. Raises UsageError for a call
    that is none, or whose arguments hold what no model could write."""
    if not isinstance(call, Mapping) or not isinstance(call.get("name"), str) or set(call) - {"name", "arguments"}:
        raise UsageError('Every call of an action is {"name": NAME, "arguments": OBJECT}.')
    given = call.get("arguments")
    try:
        arguments, raw, error = read_arguments(dict(given) if isinstance(given, Mapping) else given)
    except (TypeError, ValueError, RecursionError) as found:
        raise UsageError(f"The arguments of a call of an action are JSON, and these are not: {found}.") from None
    return ToolCall(make_call_id(turn, index), replace_surrogates(call["name"]), arguments, raw, error)


def action_of(message: Message) -> JSONObject:
    """The structured action that says the same as a recorded turn."""
    return {
        "content": message.content,
        "calls": tuple({"name": call.name, "arguments": call.raw} for call in message.tool_calls),
    }
