"""The rollout, written once: a generator that yields when the model must speak, tools must run or a user be asked.

Evaluation and training share it. Its drivers are small: `play_episode` plays one episode, `play_episode_async` plays it
under asyncio beside others, and with harness.batching in batches. Errors reach it as exceptions thrown in, and every
episode ends as a Trajectory: a failed one keeps the calls it made.
"""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, cast

from harness.errors import HarnessError, ModelFailure, SandboxError, UsageError
from harness.stops import StopReason, own_stop, user_stop
from harness.types import (
    AskUser,
    CallRecord,
    ClosingEnvironment,
    DigestState,
    Environment,
    EnvironmentWish,
    JSONObject,
    Limits,
    Message,
    ModelRequest,
    OpeningEnvironment,
    Outcome,
    Reasoning,
    Reply,
    RunTools,
    Sample,
    Sampling,
    SimulatedUser,
    Step,
    ToolResult,
    Trajectory,
    Usage,
)

T = TypeVar("T")
Wish = ModelRequest | EnvironmentWish
W = TypeVar("W", bound=Wish)
Answer = Reply | list[ToolResult] | str | None
SpeakFunction = Callable[[ModelRequest], Reply | Awaitable[Reply]]
"""A model, as far as a driver knows it."""
Rollout = Generator[Wish, Answer, Trajectory]


def _never() -> float:
    return 0.0


class ToolRunner(Protocol):
    """What runs tools for one episode: `harness.sandbox.ToolSession`, or a test's own."""

    def run(self, codes: Mapping[str, str], calls: Sequence[tuple[str, JSONObject]]) -> list[ToolResult]: ...

    async def arun(self, codes: Mapping[str, str], calls: Sequence[tuple[str, JSONObject]]) -> list[ToolResult]: ...


class StateRunner(ToolRunner, Protocol):
    """One whose tools work on a state; `fresh` begins anew beside it, and is used in a `with`."""

    def fresh(self) -> Any: ...

    def state_digest(self) -> str | None: ...

    async def astate_digest(self) -> str | None: ...


@dataclass(frozen=True)
class Episode:
    """Which episode to play: a sample of a task, the how-manieth time, and under which limits."""

    sample: Sample
    sampling: Sampling = Sampling()
    limits: Limits = Limits()
    epoch: int = 0
    task: str = ""
    reasoning: Reasoning = Reasoning()
    user: SimulatedUser | None = None


@dataclass
class _EpisodeState:
    """An episode on its way."""

    messages: list[Message]
    calls: list[CallRecord] = field(default_factory=list)
    turns: int = 0
    usage: Usage = Usage()
    notes: list[str] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)
    model_seconds: float = 0.0
    tool_seconds: float = 0.0
    user_usage: Usage | None = None
    user_seconds: float = 0.0
    waited: Callable[[], float] = _never

    def end(self, outcome: Outcome, stop: StopReason, error: str | None = None) -> Trajectory:
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
                **({} if self.user_usage is None else {"user": self.user_seconds}),
            },
            error=error,
            notes=tuple(self.notes),
            user_usage=self.user_usage,
        )


def rollout(episode: Episode, environment: Environment, waited: Callable[[], float] = _never) -> Rollout:
    """Plays one episode. Send a Reply for a ModelRequest or AskUser, a list of ToolResult for RunTools and a digest
    for DigestState, or throw ModelFailure or SandboxError; returns the Trajectory.

    `waited`: for how many seconds so far its tools waited for others; no limit takes notice of them."""
    progress = _EpisodeState(list(environment.reset()), waited=waited)
    ended = yield from _play(progress, episode, environment)
    if isinstance(environment, ClosingEnvironment):
        try:
            facts = yield from _served(progress, environment.closing())
        except SandboxError as failure:
            return ended if ended.error else progress.end("infrastructure_error", "sandbox", str(failure))
        return replace(ended, facts=facts)
    return ended


def _play(progress: _EpisodeState, episode: Episode, environment: Environment) -> Rollout:
    try:
        if isinstance(environment, OpeningEnvironment):
            step = yield from _served(progress, environment.opening())
            progress.messages += step.messages
            progress.notes += [f"before turn 0: {step.note}"] if step.note else []
        while progress.turns < episode.limits.max_turns:
            reply = yield from _speak(progress, episode, environment)
            if (ended := _cut_short(progress, reply)) is not None:
                return ended
            step = yield from _act(progress, reply, environment)
            progress.calls += step.calls
            progress.messages += step.messages
            if step.note:
                progress.notes.append(f"turn {progress.turns - 1}: {step.note}")
            if step.done:
                plain = "done" if reply.message.tool_calls else "no_tool_calls"
                return progress.end("ok", own_stop(step.stop or plain))
            if (ended := _out_of_budget(progress, episode.limits)) is not None:
                return ended
    except ModelFailure as failure:
        progress.usage += failure.usage
        return progress.end(failure.outcome, failure.stop, str(failure))
    except SandboxError as failure:
        progress.calls += _unanswered(progress, str(failure))
        return progress.end("infrastructure_error", "sandbox", str(failure))
    return progress.end("turn_limit", "max_turns")


def _speak(progress: _EpisodeState, episode: Episode, environment: Environment) -> Generator[Wish, object, Reply]:
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


def _act(progress: _EpisodeState, reply: Reply, environment: Environment) -> Generator[Wish, Any, Step]:
    step = yield from _served(progress, environment.step(reply.message, progress.turns - 1))
    if not isinstance(step, Step):
        raise TypeError(f"its step returned {type(step).__name__}, not a Step")
    return step


def _served(progress: _EpisodeState, wishes: Generator[EnvironmentWish, Any, T]) -> Generator[Wish, Any, T]:
    """Passes an environment's wishes on, and keeps account of what its tools and its simulated user took."""
    try:
        wish = next(wishes)
        while True:
            asked = time.monotonic()
            try:
                answer = yield wish
            except ModelFailure as failure:
                raise _of_user(progress, failure) from failure
            finally:
                spent = time.monotonic() - asked
                if isinstance(wish, AskUser):
                    progress.user_seconds += spent
                else:
                    progress.tool_seconds += spent
            if isinstance(wish, AskUser):
                progress.user_usage = (progress.user_usage or Usage()) + answer.usage
            wish = wishes.send(answer)
    except StopIteration as stop:
        return cast(T, stop.value)
    finally:
        wishes.close()


def _of_user(progress: _EpisodeState, failure: ModelFailure) -> ModelFailure:
    """A failure of the simulated user says nothing about the model: whatever it was, the episode is played again."""
    progress.user_usage = (progress.user_usage or Usage()) + failure.usage
    return ModelFailure(f"the simulated user: {failure}", outcome="infrastructure_error", stop=user_stop(failure.stop))


def _cut_short(progress: _EpisodeState, reply: Reply) -> Trajectory | None:
    """A reply that ended for a reason of the provider's. One cut at the token cap goes on if it holds calls: those
    that were complete run, and a torn one is malformed."""
    if reply.message.tool_calls:
        return None
    if reply.finish_reason == "length":
        return progress.end("token_limit", "max_tokens")
    if reply.finish_reason == "content_filter":
        return progress.end("model_error", "content_filter", "the provider's content filter ended the reply")
    return None


def _unanswered(progress: _EpisodeState, reason: str) -> list[CallRecord]:
    """The calls of a last turn whose tools could not be run: attempted, and so counted."""
    return [CallRecord(progress.turns - 1, call, "killed", reason) for call in progress.messages[-1].tool_calls]


def _out_of_budget(progress: _EpisodeState, limits: Limits) -> Trajectory | None:
    if limits.max_episode_tokens is not None and progress.usage.output_tokens >= limits.max_episode_tokens:
        return progress.end("token_limit", "max_episode_tokens")
    if time.monotonic() - progress.started - progress.waited() >= limits.max_episode_seconds:
        return progress.end("infrastructure_error", "episode_timeout", _too_long(limits))
    return None


def _too_long(limits: Limits) -> str:
    return f"the episode took longer than {limits.max_episode_seconds:g} seconds"


# --- drivers -----------------------------------------------------------------------------------------------------


def play_episode(episode: Episode, environment: Environment, model: SpeakFunction, tools: ToolRunner) -> Trajectory:
    """Plays one episode from synchronous code, with a model that answers synchronously."""

    def answer(wish: Wish) -> Answer:
        if isinstance(wish, RunTools | DigestState):
            return run_wish(wish, tools)
        return _checked(_spoken(wish, episode, model))

    return _driven(rollout(episode, environment, waiting_of(tools)), answer)


def take_turn(environment: Environment, message: Message, tools: ToolRunner, turn: int = 0) -> Step:
    """What an environment makes of one turn, by hand: no episode around it, and no simulated user to ask.

    `turn` is 0-based. Raises SandboxError where tools cannot run.
    """

    def answer(wish: EnvironmentWish) -> Answer:
        if isinstance(wish, AskUser):
            raise UsageError("A turn by itself has no simulated user to ask; play the episode.")
        return run_wish(wish, tools)

    return _driven(environment.step(message, turn), answer)


def _driven(steps: Generator[W, Any, T], answer: Callable[[W], Answer]) -> T:
    """What a generator returns after all that it yields was answered; an answer's errors are thrown into it."""
    try:
        wish = next(steps)
        while True:
            try:
                said = answer(wish)
            except Exception as error:
                wish = steps.throw(_as_failure(error, wish))
            else:
                wish = steps.send(said)
    except StopIteration as stop:
        return cast(T, stop.value)


def waiting_of(tools: ToolRunner) -> Callable[[], float]:
    """Seconds for which tools have waited for others, where `tools` keeps account of it."""
    return lambda: getattr(tools, "waited", 0.0)


def run_wish(wish: RunTools | DigestState, tools: ToolRunner) -> Answer:
    """What an environment's wish gives that tools can answer."""
    if isinstance(wish, RunTools):
        return tools.run(wish.codes, wish.calls)
    state = cast(StateRunner, tools)
    if wish.replay is None:
        return state.state_digest()
    with state.fresh() as other:
        other.run(wish.replay.codes, wish.replay.calls)
        return cast("str | None", other.state_digest())


async def play_episode_async(
    episode: Episode, environment: Environment, model: SpeakFunction, tools: ToolRunner
) -> Trajectory:
    """Plays one episode beside others: models may be plain or async, and no wait for one outlasts the episode's
    seconds; tools have limits of their own."""
    waited = waiting_of(tools)
    steps = rollout(episode, environment, waited)
    deadline = asyncio.get_running_loop().time() + episode.limits.max_episode_seconds
    try:
        wish = next(steps)
        while True:
            try:
                if isinstance(wish, RunTools | DigestState):
                    answer = await run_wish_async(wish, tools)
                else:
                    answer = _checked(await _reply(_spoken(wish, episode, model), deadline + waited(), episode.limits))
            except Exception as error:
                wish = steps.throw(_as_failure(error, wish))
            else:
                wish = steps.send(answer)
    except StopIteration as stop:
        return cast(Trajectory, stop.value)


async def run_wish_async(wish: RunTools | DigestState, tools: ToolRunner) -> Answer:
    """See `run_wish`."""
    if isinstance(wish, RunTools):
        return await tools.arun(wish.codes, wish.calls)
    state = cast(StateRunner, tools)
    if wish.replay is None:
        return await state.astate_digest()
    with state.fresh() as other:
        await other.arun(wish.replay.codes, wish.replay.calls)
        return cast("str | None", await other.astate_digest())


def _spoken(wish: ModelRequest | AskUser, episode: Episode, model: SpeakFunction) -> Reply | Awaitable[Reply]:
    """What the model says, or the simulated user."""
    if isinstance(wish, ModelRequest):
        return model(wish)
    if episode.user is None:
        raise UsageError(f"The other side of {episode.task} is a simulated user, which only `harness eval` plays.")
    asked = ModelRequest(
        messages=wish.messages,
        tools=(),
        sampling=episode.user.sampling,
        sample=episode.sample,
        epoch=episode.epoch,
        turn=sum(message.role == "assistant" for message in wish.messages),
        task=episode.task,
    )
    return episode.user.model(asked)


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


def _checked(reply: object) -> Reply:
    """Models may be anybody's."""
    if not isinstance(reply, Reply):
        raise TypeError(f"the model returned {type(reply).__name__}, not a Reply")
    return reply


def _as_failure(error: Exception, wish: Wish) -> Exception:
    """What the rollout is told. A model that breaks costs its episode, not the run; a person's mistake ends the run."""
    if isinstance(error, ModelFailure | HarnessError):
        return error
    text = f"{type(error).__name__}: {error}"
    if isinstance(wish, RunTools | DigestState):
        return SandboxError(text)
    return ModelFailure(text, outcome="infrastructure_error", stop="model_exception")
