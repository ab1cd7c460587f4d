"""The rollout, written once: a generator that yields when the model must speak or tools must run.

Evaluation and training share it. Its drivers are small: `drive` plays one episode, `adrive` plays it under asyncio
beside others, and with harness.lockstep in batches. Errors reach it as exceptions thrown in, and every episode ends as
a Trajectory: a failed one keeps the calls it made.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

from harness.errors import HarnessError, ModelFailure, SandboxError
from harness.types import (
    CallRecord,
    Environment,
    JSONObject,
    Limits,
    Message,
    ModelRequest,
    Outcome,
    Reasoning,
    Reply,
    RunTools,
    Sample,
    Sampling,
    Step,
    ToolResult,
    Trajectory,
    Usage,
)

Wish = ModelRequest | RunTools
Speaks = Callable[[ModelRequest], Reply | Awaitable[Reply]]
"""A model, as far as a driver knows it."""
Rollout = Generator[Wish, Reply | list[ToolResult], Trajectory]


class ToolRunner(Protocol):
    """What runs tools for one episode: `harness.sandbox.Episode`, or a test's own."""

    def run(self, codes: Mapping[str, str], calls: Sequence[tuple[str, JSONObject]]) -> list[ToolResult]: ...

    async def arun(self, codes: Mapping[str, str], calls: Sequence[tuple[str, JSONObject]]) -> list[ToolResult]: ...


@dataclass(frozen=True)
class Episode:
    """Which episode to play: a sample of a task, the how-manieth time, and under which limits."""

    sample: Sample
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    epoch: int = 0
    task: str = ""
    reasoning: Reasoning = Reasoning()


@dataclass
class _Progress:
    """An episode on its way."""

    messages: list[Message]
    calls: list[CallRecord] = field(default_factory=list)
    turns: int = 0
    usage: Usage = Usage()
    notes: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    model_seconds: float = 0.0
    tool_seconds: float = 0.0

    def end(self, outcome: Outcome, stop: str, error: str | None = None) -> Trajectory:
        return Trajectory(
            messages=tuple(self.messages),
            calls=tuple(self.calls),
            turns=self.turns,
            outcome=outcome,
            stop=stop,
            usage=self.usage,
            seconds={
                "total": time.monotonic() - self.started,
                "model": self.model_seconds,
                "tools": self.tool_seconds,
            },
            error=error,
            notes=tuple(self.notes),
        )


def rollout(episode: Episode, environment: Environment) -> Rollout:
    """Plays one episode. Send a Reply for a ModelRequest and a list of ToolResult for RunTools, or throw
    ModelFailure or SandboxError; returns the Trajectory."""
    progress = _Progress(list(environment.reset()))
    try:
        while progress.turns < episode.limits.max_turns:
            reply = yield from _speak(progress, episode, environment)
            if (ended := _cut_short(progress, reply)) is not None:
                return ended
            step = yield from _act(progress, reply, environment)
            progress.calls += step.calls
            progress.messages += step.messages
            if step.done:
                return progress.end("ok", "no_tool_calls" if not reply.message.tool_calls else "done")
            if (ended := _out_of_budget(progress, episode.limits)) is not None:
                return ended
    except ModelFailure as failure:
        progress.usage += failure.usage
        return progress.end(failure.outcome, failure.stop, str(failure))
    except SandboxError as failure:
        progress.calls += _unanswered(progress, str(failure))
        return progress.end("infrastructure_error", "sandbox", str(failure))
    return progress.end("turn_limit", "max_turns")


def _speak(progress: _Progress, episode: Episode, environment: Environment) -> Generator[Wish, object, Reply]:
    request = ModelRequest(
        messages=progress.messages,
        tools=environment.tools,
        sampling=episode.sampling,
        sample=episode.sample,
        epoch=episode.epoch,
        turn=progress.turns,
        task=episode.task,
        reasoning=episode.reasoning,
    )
    asked = time.monotonic()
    try:
        reply = cast(Reply, (yield request))
    finally:
        progress.model_seconds += time.monotonic() - asked
    if reply.note:
        progress.notes.append(f"turn {progress.turns}: {reply.note}")
    progress.turns += 1
    progress.usage += reply.usage
    progress.messages.append(reply.message)
    return reply


def _act(progress: _Progress, reply: Reply, environment: Environment) -> Generator[RunTools, list[ToolResult], Step]:
    asked = time.monotonic()
    try:
        return (yield from environment.step(reply.message, progress.turns - 1))
    finally:
        progress.tool_seconds += time.monotonic() - asked


def _cut_short(progress: _Progress, reply: Reply) -> Trajectory | None:
    """A reply that ended for a reason of the provider's. One cut at the token cap goes on if it holds calls: those
    that were complete run, and a torn one is malformed."""
    if reply.message.tool_calls:
        return None
    if reply.finish_reason == "length":
        return progress.end("token_limit", "max_tokens")
    if reply.finish_reason == "content_filter":
        return progress.end("model_error", "content_filter", "the provider's content filter ended the reply")
    return None


def _unanswered(progress: _Progress, reason: str) -> list[CallRecord]:
    """The calls of a last turn whose tools could not be run: attempted, and so counted."""
    return [CallRecord(progress.turns - 1, call, "killed", reason) for call in progress.messages[-1].tool_calls]


def _out_of_budget(progress: _Progress, limits: Limits) -> Trajectory | None:
    if limits.max_episode_tokens is not None and progress.usage.output_tokens >= limits.max_episode_tokens:
        return progress.end("token_limit", "max_episode_tokens")
    if time.monotonic() - progress.started >= limits.max_episode_seconds:
        return progress.end("infrastructure_error", "episode_timeout", _too_long(limits))
    return None


def _too_long(limits: Limits) -> str:
    return f"the episode took longer than {limits.max_episode_seconds:g} seconds"


# --- drivers -----------------------------------------------------------------------------------------------------


def drive(episode: Episode, environment: Environment, model: Speaks, tools: ToolRunner) -> Trajectory:
    """Plays one episode from synchronous code, with a model that answers synchronously."""
    steps = rollout(episode, environment)
    wish = next(steps)
    try:
        while True:
            try:
                if isinstance(wish, RunTools):
                    answer: Reply | list[ToolResult] = tools.run(wish.codes, wish.calls)
                else:
                    answer = cast(Reply, model(wish))
            except Exception as error:
                wish = steps.throw(_as_failure(error, wish))
            else:
                wish = steps.send(answer)
    except StopIteration as stop:
        return cast(Trajectory, stop.value)


async def adrive(episode: Episode, environment: Environment, model: Speaks, tools: ToolRunner) -> Trajectory:
    """Plays one episode beside others: models may be plain or async, and no wait for one outlasts the episode's
    seconds; tools have a limit of their own."""
    steps = rollout(episode, environment)
    wish = next(steps)
    deadline = asyncio.get_running_loop().time() + episode.limits.max_episode_seconds
    try:
        while True:
            try:
                if isinstance(wish, RunTools):
                    answer: Reply | list[ToolResult] = await tools.arun(wish.codes, wish.calls)
                else:
                    answer = await _reply(model(wish), deadline, episode.limits)
            except Exception as error:
                wish = steps.throw(_as_failure(error, wish))
            else:
                wish = steps.send(answer)
    except StopIteration as stop:
        return cast(Trajectory, stop.value)


async def _reply(spoken: Reply | Awaitable[Reply], deadline: float, limits: Limits) -> Reply:
    if not inspect.isawaitable(spoken):
        return spoken
    try:
        async with asyncio.timeout_at(deadline) as timer:
            return await spoken
    except TimeoutError:
        if not timer.expired():
            raise
        raise ModelFailure(_too_long(limits), outcome="infrastructure_error", stop="episode_timeout") from None


def _as_failure(error: Exception, wish: Wish) -> Exception:
    """What the rollout is told. A model that breaks costs its episode, not the run; a person's mistake ends the run."""
    if isinstance(error, ModelFailure | HarnessError):
        return error
    text = f"{type(error).__name__}: {error}"
    if isinstance(wish, RunTools):
        return SandboxError(text)
    return ModelFailure(text, outcome="infrastructure_error", stop="model_exception")
