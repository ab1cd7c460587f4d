"""Any sample of any task as a Gymnasium environment. Needs the gym extra. docs/interoperability.md

    env = TaskEnv("ftrl_multi_hop")                      # or gymnasium.make("harness.gym:harness/Task-v0", task=...)
    observation, info = env.reset(seed=0)                # or options={"sample": ID}
    action = {"content": "", "calls": ({"name": NAME, "arguments": "{}"},)}
    observation, reward, terminated, truncated, info = env.step(action)

Rollout, sandbox and verifier are those of `harness eval`, and so are the scores, which the last info has. With `format`
observations are what a model of that text format reads, and actions what it writes.

Left out: rendering; simulated users, which only `harness eval` plays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar, Literal

import gymnasium
from gymnasium import spaces

from harness.data.arguments import MAX_ARGUMENTS_CHARS
from harness.data.messages import message_to_json
from harness.errors import UsageError
from harness.formats import get_format, parse_reply, plain_messages
from harness.interop.live import shared_sandbox, state_of
from harness.interop.mcp_session import spoken
from harness.interop.turns import (
    EpisodeReward,
    TurnEpisode,
    check_playable,
    limits_of,
    read_action,
    require_metric,
)
from harness.models.api.chat import wire_tool
from harness.registry import select_tasks
from harness.sandbox import SandboxConfig
from harness.types import JSONObject, Message, Sample, Task

SHOWN = 100_000_000
"""Characters of an observation: more than a turn's tools may print."""
SAMPLED = 64
LETTERS = "".join(map(chr, range(32, 127))) + "\n"


class AnyText(spaces.Text):  # type: ignore[misc]
    """Gymnasium's Text names every letter that may occur; what models and tools write may hold any. Samples are of
    ASCII alone, and say nothing that a model would."""

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length, min_length=0, charset=LETTERS)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str) and len(x) <= self.max_length

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A short one, where nothing else is asked: most texts of a million letters are a million letters long."""
        if mask is None and probability is None:
            mask = (int(self.np_random.integers(min(SAMPLED, self.max_length) + 1)), None)
        return str(super().sample(mask, probability))


def action_space() -> spaces.Dict:
    """What a turn says; `arguments` is the text of a JSON object, and one that is not is the model's mistake."""
    call = spaces.Dict({"name": AnyText(256), "arguments": AnyText(MAX_ARGUMENTS_CHARS)})
    return spaces.Dict({"content": AnyText(MAX_ARGUMENTS_CHARS), "calls": spaces.Sequence(call)})


def observation_space() -> spaces.Dict:
    """What was said since the last action, and the tools that there are now, as the JSON that endpoints take."""
    message = spaces.Dict({"role": AnyText(16), "content": AnyText(SHOWN), "tool_call_id": AnyText(256)})
    return spaces.Dict({"messages": spaces.Sequence(message), "tools": AnyText(SHOWN)})


class TaskEnv(gymnasium.Env[Any, Any]):  # type: ignore[misc]
    """The samples of a task; each episode is one of them, named by options={"sample": ID} or drawn by the seed.

    task       a name, a path or a Task; `data` is where data sets are, by name
    sample     the only one to play
    format     a name of harness.formats.FORMATS: observations and actions are texts
    reward     what a whole episode is worth, which its turns add up to: a metric's name or a function
               (harness.interop.turns.EpisodeReward); None: the task's headline metric
    max_turns  None: as `harness eval` gives

    Raises UsageError for what cannot be played. Environments of a process share one sandbox.
    """

    metadata: ClassVar[dict[str, Any]] = {"render_modes": []}

    def __init__(
        self,
        task: str | Task,
        sample: str | None = None,
        *,
        data: Mapping[str, Path | str] | None = None,
        format: str | None = None,
        reward: EpisodeReward | str | None = None,
        max_turns: int | None = None,
        sandbox: Literal["jail", "weak"] = "jail",
    ) -> None:
        self.task = task if isinstance(task, Task) else _task_of(task, data or {})
        check_playable(self.task)
        self.samples = {one.id: one for one in self.task.load() if sample in (None, one.id)}
        if not self.samples:
            raise UsageError(f"{self.task.name} has no sample {sample!r}.")
        self.format = None if format is None else get_format(format)
        self.reward, self.max_turns, self.sandbox = reward, max_turns, SandboxConfig(mode=sandbox).mode
        self._limits = limits_of(self.task, max_turns)
        if reward is not None and not callable(reward):
            require_metric(reward, self.task, next(iter(self.samples.values())))
        self.observation_space = observation_space() if format is None else AnyText(SHOWN)
        self.action_space = action_space() if format is None else AnyText(MAX_ARGUMENTS_CHARS)
        self.episode: TurnEpisode | None = None
        self._held = ExitStack()
        self._told = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begins an episode. Raises UsageError for a sample that there is not, and for other options."""
        super().reset(seed=seed)
        options = options or {}
        if unknown := set(options) - {"sample"}:
            raise UsageError(f"The options of reset have a sample, not {', '.join(sorted(map(repr, unknown)))}.")
        sample = self._choose(options.get("sample"))
        self._held.close()
        jail = shared_sandbox(self.sandbox)
        tools = self._held.enter_context(jail.episode(state_of(self.task, sample, jail)))
        self.episode = TurnEpisode(self.task, sample, tools, self._limits, self.reward)
        self._told = 0
        return self._observed(self.episode, self.episode.prompt)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Plays a turn. Raises UsageError for an action that is none, and where no episode is being played."""
        if self.episode is None:
            raise UsageError("There is no episode to step; reset begins one.")
        turn = self.episode.play(self._read(action, self.episode))
        observation, info = self._observed(self.episode, turn.messages)
        return observation, turn.reward, turn.terminated, turn.truncated, info

    def close(self) -> None:
        """Gives the episode's tools back."""
        self._held.close()
        self.episode = None

    def _choose(self, sample: object) -> Sample:
        if sample is None:
            return list(self.samples.values())[int(self.np_random.integers(len(self.samples)))]
        if not isinstance(sample, str) or sample not in self.samples:
            raise UsageError(f"{self.task.name} has no sample {sample!r}.")
        return self.samples[sample]

    def _read(self, action: Any, episode: TurnEpisode) -> Message:
        if self.format is None:
            return read_action(action, episode.turn)
        if not isinstance(action, str):
            raise UsageError("An action is the text that a model wrote.")
        return parse_reply(self.format, action, episode.turn, tools=[tool.name for tool in episode.tools])

    def _observed(self, episode: TurnEpisode, new: Sequence[Message]) -> tuple[Any, dict[str, Any]]:
        """The observation of new messages, and the info beside it."""
        info: dict[str, Any] = {"task": self.task.name, "sample": episode.sample.id, "turn": episode.turn}
        info["messages"] = [message_to_json(message) for message in new]
        if (trajectory := episode.trajectory) is not None and episode.verdict is not None:
            info |= {"outcome": trajectory.outcome, "stop": trajectory.stop, "error": trajectory.error}
            info["scores"] = dict(episode.verdict.scores)
        if self.format is not None:
            plain = plain_messages(episode.messages, episode.tools, self.format)
            since, self._told = episode.turn - self._told, episode.turn
            own = [place for place, message in enumerate(plain) if since and message.role == "assistant"]
            first = next(iter(own[-since:]), -1)
            unseen = [message for place, message in enumerate(plain) if place > first and place not in own]
            return "\n\n".join(message.content for message in unseen), info
        tools = json.dumps([wire_tool(tool) for tool in episode.tools], ensure_ascii=False)
        return {"messages": tuple(map(shown, new)), "tools": tools}, info


def shown(message: Message) -> JSONObject:
    """A message as the observation space has it, which knows no calls: those of a prompt stand in its text."""
    return {"role": message.role, "content": spoken(message), "tool_call_id": message.tool_call_id or ""}


def _task_of(pattern: str, data: Mapping[str, Path | str]) -> Task:
    found = select_tasks([pattern], {name: Path(path) for name, path in data.items()})
    if len(found) > 1:
        raise UsageError(f"{pattern!r} means {len(found)} tasks, and one is played: {found[0].name}, ...")
    return found[0]


gymnasium.register(id="harness/Task-v0", entry_point="harness.gym:TaskEnv")
