"""What a program calls: play a model on tasks, score, and read what came out, from plain arguments. docs/python.md

Thin on purpose: each function makes the plan, the player and the sandbox of `harness eval`, and what it does is theirs.
A secret of any model that this process loaded is kept out of every file that this process writes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

from harness.data import jsonio
from harness.data.schema import Record
from harness.errors import UsageError
from harness.evaluation.evaluate import play_run
from harness.evaluation.plan import Plan, Player, check_sampling, plan_tasks, sources_of, switch_of
from harness.evaluation.rescore import score_anew
from harness.evaluation.run import Run, finished_run, read_run
from harness.models import ModelOptions, expand_names, load_models
from harness.models.api.headers import register_headers
from harness.models.api.wire import assign_call_ids
from harness.models.base import adapt_model
from harness.redaction import Redactor
from harness.registry import select_tasks
from harness.rollout import Episode, play_episode_async
from harness.runs.claims import lock_directory
from harness.runs.directory import RunDirectory
from harness.sandbox import Sandbox, SandboxConfig, ToolLimits
from harness.scoring.verdict import blame_task, score_trajectory
from harness.types import (
    SAMPLING_OPTIONS,
    Limits,
    Message,
    Model,
    ModelRequest,
    Reasoning,
    Reply,
    Sample,
    Sampling,
    SimulatedUser,
    Task,
    ToolCall,
    Trajectory,
    Usage,
    Verdict,
)

REDACT = Redactor()
Said = Reply | Message | ToolCall | str
Speaker = Callable[[ModelRequest], Said | Awaitable[Said]]
"""A model of one's own: what it says to a request, which holds the conversation as `messages` and `tools`. An async
function answers for several episodes at once, a plain one for one after the other."""
Played = TypeVar("Played")


def evaluate(
    model: str | Model | Speaker,
    tasks: str | Task | Sequence[str | Task],
    out: Path | str,
    *,
    limit: int | None = None,
    epochs: int = 1,
    sampling: Sampling = Sampling(),
    limits: Limits | None = None,
    reasoning: Reasoning = Reasoning(),
    data: Mapping[str, Path | str] | None = None,
    concurrency: int = 16,
    sandbox: Literal["jail", "weak"] = "jail",
    tool_limits: ToolLimits | None = None,
    resume: bool = False,
    watch: Callable[[Record], None] = lambda record: None,
) -> Run:
    """Plays a model on tasks into the run directory `out`, as `harness eval` does, and returns the run.

    model      a name, a Model, or a function of a ModelRequest (Speaker)
    tasks      names, globs, paths, Task values, or several of them; `data` is where data sets are, by name
    limit      so many samples a task: a subset that `sampling.seed` draws
    limits     where an episode ends; None: Limits(), and each benchmark's own number of turns
    tool_limits  what tools may use (harness.sandbox.ToolLimits); None: the defaults of `harness eval`
    resume     go on with the run in `out`; one that is complete already is returned as it is
    watch      is called with each record when its episode has ended

    Raises UsageError before anything is played for tasks, data or a directory that cannot be used, HarnessError
    where a task's code fails, and NothingAccepted where an endpoint accepts no request at all. A model that raises
    fails its episode: an infrastructure error in the run, seen in `print(run)`, which `resume` plays again.
    """
    plan = _plan(tasks, {name: Path(path) for name, path in (data or {}).items()}, limit, sampling.seed or 0)
    plan = replace(
        plan,
        sampling=sampling,
        limits=limits or Limits(),
        epochs=epochs,
        reasoning=reasoning,
        turns=plan.turns if limits is None else {},
    )
    loaded = _model(model, concurrency, sampling.seed)
    loaded.check([sample for found in plan.samples.values() for sample in found])
    config = SandboxConfig(mode=sandbox, limits=tool_limits or ToolLimits())
    with Sandbox(config) as jail, ExitStack() as ours:
        if isinstance(model, str):
            ours.callback(loaded.close)
        player = Player(loaded, jail, concurrency, REDACT)
        played = _outside_loops(lambda: play_run(plan, player, Path(out), resume, watch))
    return finished_run(played.directory, played.results, played.summary)


def play(
    model: str | Model | Speaker,
    task: Task,
    sample: Sample,
    *,
    sampling: Sampling = Sampling(),
    limits: Limits | None = None,
    reasoning: Reasoning = Reasoning(),
) -> Trajectory:
    """Plays one episode, in a sandbox of its own, and writes nothing. Raises as `evaluate` does; a model that raises
    ends the trajectory with the outcome infrastructure_error."""
    loaded = _model(model, 1, sampling.seed)
    loaded.check([sample])
    switch_of(loaded, reasoning)
    check_sampling(loaded, sampling)
    user = SimulatedUser(task.scripted_user) if task.scripted_user else None
    limits = limits or replace(Limits(), max_turns=task.max_turns or Limits().max_turns)
    episode = Episode(sample, sampling, limits, task=task.name, reasoning=reasoning, user=user)

    async def played() -> Trajectory:
        try:
            with Sandbox() as jail, blame_task(f"The task {task.name} cannot play {sample.id!r}"):
                state = None if task.state is None else jail.preload(task.state(sample))
                with jail.episode(state) as tools:
                    return await play_episode_async(episode, task.environment(sample), loaded, tools)
        finally:
            await loaded.aclose()

    try:
        return _outside_loops(lambda: asyncio.run(played()))
    finally:
        if isinstance(model, str):
            loaded.close()


def score(task: Task, sample: Sample, trajectory: Trajectory) -> Verdict:
    """What a task says of an episode: `scores` (metric to a number or None), and for every call the sub-answer that it
    solves. Raises HarnessError where the task's own code fails."""
    return score_trajectory(task, sample, trajectory)


def rescore(run: Path | str, tasks: Task | Sequence[Task] = (), *, trust_code: bool = False) -> Run:
    """Scores the stored episodes of a run directory anew, in place, without a model. `tasks`: the Task values that it
    was played on, where it was not by name; `trust_code`: run the Python files that it names as its tasks. Raises
    UsageError where they are gone or have changed, and for such a file that is not trusted."""
    directory = RunDirectory.open(Path(run))
    with lock_directory(directory.path):
        score_anew(directory, [tasks] if isinstance(tasks, Task) else tasks, trust_code)
    return read_run(run)


def load_model(
    name: str,
    *,
    base_url: str | None = None,
    concurrency: int = 16,
    headers: Mapping[str, str] | None = None,
    **args: str,
) -> Model:
    """The model that `--model NAME --base-url URL --header NAME=VALUE --model-arg K=V` means. Raises UsageError."""
    register_headers(REDACT, headers or {})
    full_names = expand_names([name])
    if len(full_names) != 1:
        raise UsageError(f"{name!r} names {len(full_names)} models; load them one by one: {', '.join(full_names)}.")
    return load_models(full_names, ModelOptions(args, base_url, concurrency, redact=REDACT, headers=headers or {}))[0]


def load_tasks(*patterns: str, data: Mapping[str, Path | str] | None = None) -> list[Task]:
    """The tasks that `--tasks` means: names, globs, paths. Raises UsageError; samples are read by `task.load()`."""
    return select_tasks(patterns, {name: Path(path) for name, path in (data or {}).items()})


# --- what plays, and what is played ------------------------------------------------------------------------------


@dataclass
class FunctionModel(Model):
    """A function as a model. Its fingerprint is its name and source, so that a run goes on with the same code only;
    what the function calls is not part of it."""

    name: str
    fingerprint: Mapping[str, Any]
    speak: Speaker
    sampling_options: Sequence[str] = SAMPLING_OPTIONS
    """It is given them, and heeds what it likes."""

    async def __call__(self, request: ModelRequest) -> Reply:
        said = self.speak(request)
        return _reply(await said if inspect.isawaitable(said) else said, request)


def _reply(said: Said, request: ModelRequest) -> Reply:
    """What was said as a Reply, with an id for each call. Raises TypeError for what cannot be said."""
    if isinstance(said, str):
        said = Message("assistant", said)
    elif isinstance(said, ToolCall):
        said = Message("assistant", tool_calls=(said,))
    if isinstance(said, Message):
        said = Reply(said, Usage(requests=1))
    if not isinstance(said, Reply):
        raise TypeError(f"the model returned {type(said).__name__}, not a Reply, Message, ToolCall or str")
    numbered = assign_call_ids(said.message.tool_calls, request.messages)
    return replace(said, message=replace(said.message, tool_calls=numbered))


def _model(model: str | Model | Speaker, concurrency: int, seed: int | None) -> Model:
    if isinstance(model, str):
        (name,) = expand_names([model])
        return load_models([name], ModelOptions({}, None, concurrency, seed, redact=REDACT))[0]
    name = getattr(model, "__name__", type(model).__name__)
    if hasattr(model, "fingerprint"):
        return adapt_model(model, name)
    try:
        code = jsonio.digest(inspect.getsource(cast(Any, model)))
    except (OSError, TypeError):
        code = None
    return FunctionModel(name, {"backend": "function", "name": name, "code": code}, model)


def _plan(tasks: str | Task | Sequence[str | Task], data: Mapping[str, Path], limit: int | None, seed: int) -> Plan:
    """A plan of these tasks. A run knows where to find its tasks again if all were named."""
    given = [tasks] if isinstance(tasks, str | Task) else list(tasks)
    patterns = [task for task in given if isinstance(task, str)]
    found = [task for task in given if isinstance(task, Task)]
    chosen = found + (select_tasks(patterns, data) if patterns or not found else [])
    if len({task.name for task in chosen}) < len(chosen):
        raise UsageError("Two of these tasks have one name.")
    plan = plan_tasks(chosen, data, limit=limit, seed=seed)
    return plan if found else replace(plan, sources=sources_of(patterns, data))


def _outside_loops(work: Callable[[], Played]) -> Played:
    """Runs what needs an event loop of its own, also from a notebook, whose thread has one already."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return work()
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(work).result()
