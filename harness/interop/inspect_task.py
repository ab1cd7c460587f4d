"""What an exported task file imports: its data set, its solver and its scorer, as inspect_ai wants them.

The solver plays the harness's rollout and asks inspect_ai's model for every turn; tools run in the harness's sandbox,
so a score is that of `harness eval` on the same turns. The episode is kept in the sample's store as a line of
samples.jsonl, from which the scorer judges it: `inspect score` judges an old log anew. Written for inspect_ai 0.3.285.

Left out: other solvers than `play`, because what is judged is the harness's record of the calls.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import (
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageTool,
    ChatMessageUser,
    ContentReasoning,
    ModelOutput,
    get_model,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer, stderr
from inspect_ai.solver import Generate, Solver, TaskState, solver
from inspect_ai.tool import ToolCall as InspectCall
from inspect_ai.tool import ToolInfo, ToolParams
from inspect_ai.util import JSONSchema
from pydantic import ConfigDict, Field, SerializeAsAny

from harness.data import jsonio, records
from harness.data.arguments import read_arguments
from harness.data.schema import Record
from harness.errors import ModelFailure
from harness.interop.exported import environments, task_of
from harness.interop.live import LiveRollout, shared_sandbox, state_of, untimed_limits
from harness.metrics import HEADLINE, shown_in
from harness.rollout import Episode
from harness.runs.record import to_record, to_trajectory
from harness.scoring.answer import final_text
from harness.types import (
    Environment,
    Message,
    Reasoning,
    Reply,
    RunKey,
    Sampling,
    Scores,
    Tool,
    ToolCall,
    Trajectory,
    Usage,
)

EPISODE = "harness_episode"
"""Where a sample's store holds the episode."""
FINISH = {"max_tokens": "length"}
"""inspect_ai's reasons to stop in the words of chat completions."""


# --- the set -----------------------------------------------------------------------------------------------------


@cache
def fingerprint(path: str) -> str:
    return records.fingerprint(list(environments(path).values()))


@cache
def metric_names(path: str) -> tuple[str, ...]:
    """Every metric that an episode of this file may have: inspect_ai wants the same ones of all samples. The strict
    rule's come first."""
    silent = Trajectory((), (), 0, "ok", "no_tool_calls", Usage(), {})
    task = task_of(path)
    names = (name for sample in environments(path).values() for name in task.score(sample, silent).scores)
    first = [row.name for row in shown_in("rules")] if task.headline == HEADLINE else [task.headline]
    return tuple(dict.fromkeys((*first, *names)))


def dataset(path: str) -> MemoryDataset:
    """The file as inspect_ai's samples; `world` is what standard errors are clustered by."""
    name = task_of(path).name
    samples = [
        InspectSample(
            id=sample.id,
            input=[to_chat(message) for message in sample.messages],
            target=sample.gold.answer or "",
            metadata={
                "world": str(sample.metadata.get("world") or f"{name}/{sample.id}"),
                "data_source": str(sample.metadata.get("data_source") or name),
            },
        )
        for sample in environments(path).values()
    ]
    return MemoryDataset(samples, name=name, location=path)


# --- playing -----------------------------------------------------------------------------------------------------


@solver  # type: ignore[untyped-decorator]
def play(path: str, max_turns: int = 20, sandbox: Literal["jail", "weak"] = "jail") -> Solver:
    """The harness's rollout with inspect_ai's model. Limits and errors of inspect_ai end a sample as they do elsewhere
    there; the calls made until then stay recorded."""

    async def solve(state: TaskState, generate: Generate) -> TaskState:
        task, sample = task_of(path), environments(path)[str(state.sample_id)]
        episode = Episode(sample, limits=untimed_limits(max_turns), epoch=state.epoch - 1, task=task.name)
        jail, environment = shared_sandbox(sandbox), task.environment(sample)
        with jail.episode(state_of(task, sample, jail)) as tools:
            live = LiveRollout(episode, environment, tools)
            state.messages.extend(to_chat(message) for message in live.messages[len(state.messages) :])
            try:
                while live.trajectory is None:
                    await take_turn(live, environment, state)
            finally:
                live.end_with_failure(
                    ModelFailure("inspect_ai ended the sample", outcome="infrastructure_error", stop="ended")
                )
                state.store.set(EPISODE, record_of(path, episode, live, str(state.model)))
        if live.trajectory.outcome == "infrastructure_error":
            raise RuntimeError(live.trajectory.error)
        return state

    return solve


async def take_turn(live: LiveRollout, environment: Environment, state: TaskState) -> None:
    """One reply of the model and what its calls gave, in the rollout and in inspect_ai's conversation."""
    output = await get_model().generate(state.messages, tools=[tool_info(tool) for tool in environment.tools])
    state.output = output
    heard = reply_of(output)
    if isinstance(heard, ModelFailure):
        live.end_with_failure(heard)
        return
    await live.play_turn(heard)
    state.messages.append(output.message)
    state.messages.extend(to_chat(message) for message in live.messages[len(state.messages) :])


def reply_of(output: ModelOutput) -> Reply | ModelFailure:
    """What the model said; a failure where the prompt was too long or nothing came."""
    if output.empty:
        return ModelFailure(output.error or "no choices", outcome="model_error", stop="no_choices")
    if output.stop_reason == "model_length":
        return ModelFailure("the conversation is too long", outcome="token_limit", stop="context_length")
    return Reply(from_chat(output.message), usage_of(output), FINISH.get(output.stop_reason, output.stop_reason))


def usage_of(output: ModelOutput) -> Usage:
    used = output.usage
    if used is None:
        return Usage(requests=1)
    return Usage(
        input_tokens=used.input_tokens,
        output_tokens=used.output_tokens,
        reasoning_tokens=used.reasoning_tokens or 0,
        cached_tokens=used.input_tokens_cache_read or 0,
        requests=1,
    )


def record_of(path: str, episode: Episode, live: LiveRollout, model: str) -> Record:
    """The episode, which is over, as a line of samples.jsonl."""
    assert live.trajectory is not None
    key = RunKey(
        task=episode.task,
        task_fingerprint=fingerprint(path),
        sample=episode.sample.id,
        epoch=episode.epoch,
        model=model,
        model_fingerprint=jsonio.digest({"backend": "inspect_ai", "model": model}),
        reasoning=Reasoning(),
        sampling=Sampling(),
        limits=episode.limits,
    )
    return to_record(key, live.trajectory, task_of(path).score(episode.sample, live.trajectory))


# --- judging -----------------------------------------------------------------------------------------------------


@scorer(metrics={"*": [mean(), stderr(cluster="world")]})  # type: ignore[untyped-decorator]
def verdict(path: str) -> Scorer:
    """The harness's metrics, strict and paper. One that an episode does not have is NaN, which inspect_ai leaves out of
    means and counts as unscored."""

    async def judge(state: TaskState, target: Target) -> Score:
        record: Record | None = state.store.get(EPISODE)
        if record is None:
            raise RuntimeError("There is no episode to judge: this scorer needs the task's own solver, play().")
        trajectory = to_trajectory(record)
        found = task_of(path).score(environments(path)[str(state.sample_id)], trajectory)
        return Score(
            value=values(found.scores, metric_names(path)),
            answer=final_text(trajectory),
            explanation=f"{record['outcome']} ({record['stop']})",
            metadata={"solves": list(found.solves), "paper_solves": list(found.paper_solves)},
        )

    return judge


def values(scores: Scores, names: tuple[str, ...]) -> dict[str, float]:
    """Every metric; NaN where the episode has none."""
    return {name: math.nan if (value := scores.get(name)) is None else value for name in names}


# --- messages and tools --------------------------------------------------------------------------------------------


def to_chat(message: Message) -> ChatMessage:
    """Our message as inspect_ai's."""
    if message.role == "assistant":
        calls = [InspectCall(call.id, call.name, call.arguments or {}, call.parse_error) for call in message.tool_calls]
        return ChatMessageAssistant(content=message.content, tool_calls=calls or None)
    if message.role == "tool":
        return ChatMessageTool(content=message.content, tool_call_id=message.tool_call_id)
    return {"system": ChatMessageSystem, "user": ChatMessageUser}[message.role](content=message.content)


def from_chat(message: ChatMessageAssistant) -> Message:
    """The model's message as ours. inspect_ai has read the arguments already, and says where it could not."""
    parts = [] if isinstance(message.content, str) else message.content
    thoughts = "\n".join(part.reasoning for part in parts if isinstance(part, ContentReasoning))
    return Message(
        "assistant",
        message.text,
        reasoning=thoughts or None,
        tool_calls=tuple(from_call(call) for call in message.tool_calls or ()),
    )


def from_call(call: InspectCall) -> ToolCall:
    if call.parse_error:
        return ToolCall(call.id, call.function, None, json.dumps(call.arguments), call.parse_error)
    arguments, raw, error = read_arguments(call.arguments)
    return ToolCall(call.id, call.function, arguments, raw, error)


class Schema(JSONSchema):  # type: ignore[misc]
    """inspect_ai's JSON Schema with the keywords that it does not know, so that models see the same tools."""

    model_config = ConfigDict(extra="allow")
    items: Schema | None = None
    properties: dict[str, SerializeAsAny[Schema]] | None = None
    additionalProperties: Schema | bool | None = None
    anyOf: list[SerializeAsAny[Schema]] | None = None


class Parameters(ToolParams):  # type: ignore[misc]
    model_config = ConfigDict(extra="allow")
    properties: dict[str, Schema] = Field(default_factory=dict)
    additionalProperties: Schema | bool | None = None


class Info(ToolInfo):  # type: ignore[misc]
    parameters: Parameters = Field(default_factory=Parameters)


def tool_info(tool: Tool) -> ToolInfo:
    """A tool as inspect_ai hands it to models."""
    parameters: Mapping[str, Any] = tool.parameters
    return Info(name=tool.name, description=tool.description, parameters=Parameters.model_validate(parameters))
