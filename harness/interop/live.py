"""An episode in which somebody else speaks: the rollout turned inside out, for frameworks that hold the loop.

`harness eval` asks a model for every turn; here a turn is handed in and its tools run, under the same rules, because it
is the same rollout. Left out: simulated users, digests of a state, and any clock: who speaks keeps the time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from harness.environment import ToolEnvironment
from harness.errors import HarnessError, ModelFailure, SandboxError
from harness.rollout import Episode, ToolRunner, Wish, rollout
from harness.types import (
    Environment,
    Limits,
    Message,
    ModelRequest,
    Reply,
    RunTools,
    Sample,
    Task,
    ToolResult,
    Trajectory,
)

LEFT = "whoever called went away before the tool answered"
YEARS = 1e9
"""Seconds an episode may take: finite, because manifests are JSON, and longer than anybody waits."""


def untimed_limits(max_turns: int) -> Limits:
    """The limits of an episode whose time somebody else keeps."""
    return Limits(max_turns=max_turns, max_episode_seconds=YEARS)


def is_plain_episode(task: Task, sample: Sample) -> bool:
    """Whether an episode is nothing but a prompt, tools and what they print."""
    return task.state is None and task.scripted_user is None and type(task.environment(sample)) is ToolEnvironment


class LiveRollout:
    """One episode. `trajectory` is None until it is over; `messages` is all that was said so far."""

    def __init__(self, episode: Episode, environment: Environment, tools: ToolRunner) -> None:
        self.trajectory: Trajectory | None = None
        self._messages: Sequence[Message] = ()
        self._tools = tools
        self._steps = rollout(episode, environment)
        self._advance(lambda: next(self._steps))

    @property
    def messages(self) -> Sequence[Message]:
        return self._messages if self.trajectory is None else self.trajectory.messages

    async def play_turn(self, reply: Reply) -> list[ToolResult]:
        """Plays one turn of an episode that is not over; returns what running its well-formed calls gave. Where the
        caller is cancelled meanwhile, those calls count as killed."""
        wish = self._advance(lambda: self._steps.send(reply))
        if not isinstance(wish, RunTools):
            return []
        try:
            results = await self._tools.arun(wish.codes, wish.calls)
        except asyncio.CancelledError:
            self._advance(lambda: self._steps.send([ToolResult("killed", LEFT)] * len(wish.calls)))
            raise
        except Exception as error:
            failure = error if isinstance(error, HarnessError) else SandboxError(f"{type(error).__name__}: {error}")
            self._advance(lambda: self._steps.throw(failure))
            return []
        self._advance(lambda: self._steps.send(results))
        return results

    def end_with_failure(self, failure: ModelFailure) -> None:
        """Ends the episode, if it is not over, because no turn will follow; what was solved stays solved."""
        if self.trajectory is None:
            self._advance(lambda: self._steps.throw(failure))

    def _advance(self, step: Callable[[], Wish]) -> Wish | None:
        try:
            wish = step()
        except StopIteration as stop:
            self.trajectory = stop.value
            return None
        if isinstance(wish, ModelRequest):
            self._messages = wish.messages
        return wish
