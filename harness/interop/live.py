"""An episode in which somebody else speaks: the rollout turned inside out, for frameworks that hold the loop.

`harness eval` asks a model for every turn; here a turn is handed in and its tools run, under the same rules, because it
is the same rollout. Left out: simulated users, and any clock: who speaks keeps the time.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Generator, Sequence
from functools import cache
from numbers import Integral
from typing import Any, Literal

from harness.environment import ToolEnvironment
from harness.errors import HarnessError, ModelFailure, SandboxError, UsageError
from harness.rollout import Episode, ToolRunner, Wish, rollout, run_wish, run_wish_async
from harness.sandbox import Sandbox, SandboxConfig
from harness.types import (
    DigestState,
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
    """The limits of an episode whose time somebody else keeps. Raises UsageError for what is no number of turns."""
    if not is_count(max_turns):
        raise UsageError(f"An episode has a whole number of turns, at least 1, and not {max_turns!r}.")
    return Limits(max_turns=max_turns, max_episode_seconds=YEARS)


def is_count(value: object) -> bool:
    """Whether a value is a whole number of at least 1, numpy's included."""
    return isinstance(value, Integral) and int(value) >= 1


def has_own_user(task: Task) -> bool:
    """Whether somebody else speaks in a task's episodes, whom only `harness eval` plays."""
    return task.scripted_user is not None


def state_of(task: Task, sample: Sample, sandbox: Sandbox) -> str | None:
    """The key of the state that a sample's tools work on; None where they have none."""
    return None if task.state is None else sandbox.preload(task.state(sample))


def shared_sandbox(mode: Literal["jail", "weak"]) -> Sandbox:
    """One sandbox for all episodes of this process, closed when it ends; a forked process has its own."""
    return _sandbox_of(mode, os.getpid())


@cache
def _sandbox_of(mode: Literal["jail", "weak"], process: int) -> Sandbox:
    found = Sandbox(SandboxConfig(mode=mode))
    atexit.register(found.close)
    return found


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
        wish = self._advance(lambda: next(self._steps))
        while isinstance(wish, RunTools | DigestState):  # an environment that has to do before the first turn
            wish = self._send(run_wish(wish, self._tools))

    @property
    def messages(self) -> Sequence[Message]:
        return self._messages if self.trajectory is None else self.trajectory.messages

    async def play_turn(self, reply: Reply) -> list[ToolResult]:
        """Plays one turn of an episode that is not over; returns what running its well-formed calls gave. Where the
        caller is cancelled meanwhile, those calls count as killed."""
        turn = self._turn(reply)
        try:
            wish = next(turn)
            while True:
                try:
                    answer = await run_wish_async(wish, self._tools)
                except BaseException as error:  # a cancelled caller's too: whatever it was, the turn is told
                    wish = turn.throw(error)
                else:
                    wish = turn.send(answer)
        except StopIteration as stop:
            return list(stop.value)

    def play_turn_now(self, reply: Reply) -> list[ToolResult]:
        """The same from synchronous code."""
        turn = self._turn(reply)
        try:
            wish = next(turn)
            while True:
                try:
                    answer = run_wish(wish, self._tools)
                except BaseException as error:
                    wish = turn.throw(error)
                else:
                    wish = turn.send(answer)
        except StopIteration as stop:
            return list(stop.value)

    def _turn(self, reply: Reply) -> Generator[RunTools | DigestState, Any, list[ToolResult]]:
        """Yields what its tools are to do, and is sent what came of it. Thrown in, an error of theirs ends the episode
        as the sandbox's failure; anything else, such as an interruption, loses this turn's calls and goes on."""
        results: list[ToolResult] = []
        wish = self._advance(lambda: self._steps.send(reply))
        while isinstance(wish, RunTools | DigestState):
            try:
                answer = yield wish
            except Exception as error:
                failure = error if isinstance(error, HarnessError) else SandboxError(f"{type(error).__name__}: {error}")
                wish = self._fail(failure)
                continue
            except BaseException:
                self._lose(wish)
                raise
            results += answer if isinstance(wish, RunTools) and isinstance(answer, list) else []
            wish = self._send(answer)
        return results

    def _send(self, answer: Any) -> Wish | None:
        return self._advance(lambda: self._steps.send(answer))

    def _fail(self, failure: Exception) -> Wish | None:
        return self._advance(lambda: self._steps.throw(failure))

    def _lose(self, wish: Wish | None) -> None:
        """Answers what nobody waits for any more: calls were killed, and a state is lost."""
        while isinstance(wish, RunTools | DigestState):
            killed = [ToolResult("killed", LEFT)] * len(wish.calls) if isinstance(wish, RunTools) else None
            wish = self._send(killed)

    def end_with_failure(self, failure: ModelFailure) -> None:
        """Ends the episode, if it is not over, because no turn will follow; what was solved stays solved."""
        if self.trajectory is None:
            wish = self._fail(failure)
            while isinstance(wish, RunTools | DigestState):
                wish = self._send(run_wish(wish, self._tools))

    def _advance(self, step: Callable[[], Wish]) -> Wish | None:
        try:
            wish = step()
        except StopIteration as stop:
            self.trajectory = stop.value
            return None
        if isinstance(wish, ModelRequest):
            self._messages = wish.messages
        return wish
