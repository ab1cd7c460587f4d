"""Many episodes at once for clients elsewhere, each in a session of its own, and what bounds them; no wires.

A session belongs to one client, plays one episode after another and is closed by it, or when it was idle for too long.
What a client gets is what `harness eval` would show a model, a reward and, when the episode is over, its scores: never
what was right. What became of closed sessions can be asked for a while.

Left out: writing episodes down; sharing one among clients.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import sys
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from harness.console.text import one_line, shorten_text
from harness.data.messages import message_to_json
from harness.errors import HarnessError, UsageError
from harness.interop.live import state_of
from harness.interop.mcp_session import McpSession
from harness.interop.turns import TurnEpisode, limits_of, read_action
from harness.models.api.chat import wire_tool
from harness.registry import LONGEST_NAME, suggest_names
from harness.sandbox import Sandbox
from harness.types import JSONObject, Message, Sample, Task

KEPT = 10_000
"""States of sessions that are closed."""
CALLS = 10_000
"""Calls of an action: each is answered, and while they are the other sessions wait."""
NO_SESSION = "There is no such session, or it was closed."


class NoSession(HarnessError):
    """There is no session of this id, or none any more."""


class NoRoom(HarnessError):
    """As many sessions are open as there may be."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many sessions at once, for how many seconds one may do nothing, and turns an episode (None: as in eval)."""

    sessions: int = 64
    idle_seconds: float = 600.0
    max_turns: int | None = None


@dataclass(frozen=True, slots=True)
class ServedTasks:
    """What clients may play."""

    tasks: Mapping[str, Task]
    samples: Mapping[str, Mapping[str, Sample]]

    def choose(self, task: object = None, sample: object = None, seed: object = None) -> tuple[Task, Sample]:
        """The sample that is meant; one drawn by the seed, or by chance, where none is named. Raises UsageError."""
        name = self._task_of(sample) if task is None else self._known(task, self.tasks, "task")
        if sample is not None:
            return self.tasks[name], self.samples[name][self._known(sample, self.samples[name], f"sample of {name}")]
        if seed is not None and (not isinstance(seed, int) or isinstance(seed, bool)):
            raise UsageError("A seed is a whole number.")
        drawn = random.Random(seed)
        name = drawn.choice(list(self.tasks)) if task is None else name
        return self.tasks[name], drawn.choice(list(self.samples[name].values()))

    def _task_of(self, sample: object) -> str:
        """The task that has this sample; any, where none is named."""
        found = [name for name, samples in self.samples.items() if isinstance(sample, str) and sample in samples]
        if len(found) > 1:
            raise UsageError(f"{found[0]} and {found[1]} both have a sample {sample!r}; name the task too.")
        return found[0] if found else next(iter(self.tasks))

    @staticmethod
    def _known(name: object, known: Mapping[str, object], what: str) -> str:
        if not isinstance(name, str) or name not in known:
            shown = shorten_text(repr(name), LONGEST_NAME)
            raise UsageError(f"There is no {what} {shown}.{suggest_names(str(name), known)}")
        return name


class Session:
    """One client's episodes, one after another."""

    def __init__(self, served: ServedTasks, sandbox: Sandbox, max_turns: int | None) -> None:
        self.id = secrets.token_urlsafe(24)
        self.used = time.monotonic()
        self.lock = asyncio.Lock()
        self.mcp: McpSession | None = None
        self.closing = self.closed = False
        self._served, self._sandbox, self._max_turns = served, sandbox, max_turns
        self._episode: TurnEpisode | None = None
        self._held = ExitStack()
        self._told: Sequence[JSONObject] = ()

    def touch(self) -> None:
        """Its client is there."""
        self.used = time.monotonic()

    async def reset(self, task: object = None, sample: object = None, seed: object = None) -> JSONObject:
        """Begins an episode. Raises UsageError for a sample that there is not."""
        chosen = self._served.choose(task, sample, seed)
        async with self.lock:
            self._require(mcp=False)
            self._told = ()
            episode = await asyncio.to_thread(self._begin, *chosen)
            return self._said(episode, episode.prompt, None)

    async def step(self, action: object) -> JSONObject:
        """Plays a turn. Raises UsageError for what is no action, and where no episode is being played."""
        async with self.lock:
            self._require(mcp=False)
            if self._episode is None:
                raise UsageError("There is no episode to step; reset begins one.")
            refuse_many_calls(action)
            turn = await self._episode.play_async(read_action(action, self._episode.turn))
            return self._said(self._episode, turn.messages, turn.reward)

    async def call(self, tool: str, arguments: object) -> tuple[str, bool]:
        """What a call gives by MCP, and whether it is an error's text. Raises UsageError where no tools are offered."""
        async with self.lock:
            self.touch()
            self._require(mcp=True)
            assert self.mcp is not None
            return await self.mcp.call(tool, arguments)

    async def offer_tools(self, task: object, sample: object) -> McpSession:
        """Begins an episode whose turns are single calls."""
        await self.reset(task, sample)
        episode = self._episode
        assert episode is not None
        self.mcp = McpSession(episode.live, episode.sample, lambda trajectory: _judge(episode))
        return self.mcp

    def state(self) -> JSONObject:
        """Where it stands, without a word of what was said."""
        self.touch()
        if self._episode is None:
            return {"episode_id": self.id, "step_count": 0}
        played = {"task": self._episode.task.name, "sample": self._episode.sample.id}
        return {"episode_id": self.id, "step_count": len(_turns(self._episode)), **played, **_ending(self._episode)}

    async def close(self) -> None:
        """Gives its tools back; a client of MCP that began an episode has left it."""
        async with self.lock:
            self.closed = True
            try:
                if self.mcp is not None:
                    await self.mcp.leave()
            finally:
                self._held.close()

    def _require(self, mcp: bool) -> None:
        """Raises NoSession after the end, which may come while one waits for the turn before; UsageError where one
        door's session is used by the other."""
        if self.closed:
            raise NoSession(NO_SESSION)
        if (self.mcp is not None) is not mcp:
            raise UsageError(f"This session is {'not one' if mcp else 'one'} of MCP.")

    def _begin(self, task: Task, sample: Sample) -> TurnEpisode:
        self._held.close()
        tools = self._held.enter_context(self._sandbox.episode(state_of(task, sample, self._sandbox)))
        self._episode = TurnEpisode(task, sample, tools, limits_of(task, self._max_turns))
        return self._episode

    def _said(self, episode: TurnEpisode, new: Sequence[Message], reward: float | None) -> JSONObject:
        self.touch()
        observation: JSONObject = {"task": episode.task.name, "sample": episode.sample.id, "turn": episode.turn}
        observation["messages"] = [message_to_json(message) for message in new]
        if (tools := [wire_tool(tool) for tool in episode.tools]) != self._told:
            observation["tools"] = self._told = tools
        ended = _ending(episode)
        return {"observation": {**observation, **ended}, "reward": reward, "done": bool(ended)}


def refuse_many_calls(action: object) -> None:
    """Raises UsageError for a turn that would hold up the others."""
    calls = action.get("calls") if isinstance(action, Mapping) else None
    if isinstance(calls, Sequence) and len(calls) > CALLS:
        raise UsageError(f"An action has at most {CALLS:,} calls.")


def _turns(episode: TurnEpisode) -> list[Message]:
    before = sum(message.role == "assistant" for message in episode.prompt)
    return [message for message in episode.messages if message.role == "assistant"][before:]


def _judge(episode: TurnEpisode) -> None:
    episode.judge()


def _ending(episode: TurnEpisode) -> JSONObject:
    """How an episode ended, and its scores; nothing while it is being played."""
    trajectory, verdict = episode.trajectory, episode.verdict
    if trajectory is None or verdict is None:
        return {}
    ended = {"outcome": trajectory.outcome, "stop": trajectory.stop, "error": trajectory.error}
    return {**ended, "truncated": trajectory.outcome != "ok", "scores": dict(verdict.scores)}


class Sessions:
    """Those that are open, and what became of those that were."""

    def __init__(self, served: ServedTasks, sandbox: Sandbox, bounds: Bounds) -> None:
        self.served, self.bounds = served, bounds
        self._sandbox = sandbox
        self._open: dict[str, Session] = {}
        self._closed: OrderedDict[str, JSONObject] = OrderedDict()

    def __len__(self) -> int:
        return len(self._open)

    def open(self) -> Session:
        """A new one. Raises NoRoom."""
        if len(self._open) >= self.bounds.sessions:
            raise NoRoom(f"{self.bounds.sessions} sessions are open, which is the most; close one, or try again later.")
        session = Session(self.served, self._sandbox, self.bounds.max_turns)
        self._open[session.id] = session
        return session

    def find(self, name: object) -> Session:
        """An open one by its id. Raises NoSession."""
        session = self._known(name)
        if session.closing:
            raise NoSession(NO_SESSION)
        return session

    def _known(self, name: object) -> Session:
        session = self._open.get(name) if isinstance(name, str) else None
        if session is None:
            raise NoSession(NO_SESSION)
        return session

    def state(self, name: object) -> JSONObject:
        """Of one that is open, or was. Raises NoSession."""
        if isinstance(name, str) and name in self._closed:
            return self._closed[name]
        return self._known(name).state()

    async def close(self, session: Session) -> None:
        """Closes a session, once; until its tools are given back it counts among those that may be open."""
        if session.closing or session.id not in self._open:
            return
        session.closing = True
        try:
            await session.close()
        finally:
            session.closing = False
            if session.closed:  # and not cancelled while a turn was played
                self._forget(session)

    def _forget(self, session: Session) -> None:
        del self._open[session.id]
        self._closed[session.id] = session.state()
        while len(self._closed) > KEPT:
            self._closed.popitem(last=False)

    async def close_all(self, idle_since: float | None = None) -> None:
        """Closes all, or those that did nothing since a time of the monotonic clock."""
        for session in list(self._open.values()):
            if idle_since is None or (session.used <= idle_since and not session.lock.locked()):
                try:
                    await self.close(session)
                except Exception as error:  # the others have to be closed all the same
                    print(one_line(f"A session was not closed well: {type(error).__name__}: {error}"), file=sys.stderr)

    async def watch(self) -> None:
        """Closes idle sessions for as long as it is awaited."""
        while True:
            await asyncio.sleep(min(30.0, self.bounds.idle_seconds / 4))
            await self.close_all(time.monotonic() - self.bounds.idle_seconds)
