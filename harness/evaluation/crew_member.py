"""One process of a crew: it makes tasks and models from their names, and plays the episodes that it is handed.

What comes here is names, numbers and samples: a model that is pickled has its key inside, an options object the whole
environment. What goes back is records, free of the keys that are known here. Runs under Ray, and imports nothing of it.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import harness
from harness.batching import BatchModel, Lockstep
from harness.data.schema import Record
from harness.distributed.sealed_keys import open_keys
from harness.distributed.shared_pace import SharedPace
from harness.errors import HarnessError, UsageError
from harness.evaluation.descriptors import fit_concurrency
from harness.evaluation.evaluate import play_record, side_by_side
from harness.evaluation.first_reply import FirstReply
from harness.evaluation.plan import Player
from harness.models import ModelOptions, load_models
from harness.redaction import Redactor
from harness.registry import code_digest, select_tasks
from harness.runs.identity import describe_differences
from harness.sandbox import Sandbox, SandboxConfig
from harness.tool_faults import ToolFaults
from harness.types import JSONObject, Model, RunKey, Sample, Sampling, SimulatedUser, Task


@dataclass(frozen=True)
class ModelWords:
    """What a person typed of a model, as it may travel: without keys and headers."""

    name: str
    args: Mapping[str, str] = field(default_factory=dict)
    base_url: str | None = None
    concurrency: int = 16
    seed: int | None = None
    max_tokens_option: str | None = None

    def load(self, redact: Redactor) -> Model:
        """The model, with what keys this process has."""
        options = ModelOptions(self.args, self.base_url, self.concurrency, self.seed, redact=redact)
        (model,) = load_models([self.name], replace(options, max_tokens_option=self.max_tokens_option))
        return model


@dataclass(frozen=True)
class Job:
    """What every member of a crew gets. `code`: digests of the Python files among the tasks, by path; `fingerprint`:
    what the command's own model says of itself; `folder`: where it was started; `at_once`: episodes of one member."""

    tasks: Sequence[str]
    data: Mapping[str, str]
    code: Mapping[str, str]
    model: ModelWords
    fingerprint: Mapping[str, Any]
    sandbox: SandboxConfig
    max_wait: float
    folder: str
    at_once: int = 1
    user: ModelWords | None = None
    user_sampling: Sampling = Sampling()
    faults: ToolFaults | None = None
    version: str = harness.__version__


@dataclass(frozen=True)
class Played:
    """An episode that was played: its record, whether the endpoint has ever replied, and what was learnt of it.
    `unlike`: it was answered before something that holds now was learnt."""

    record: Record
    accepted: bool
    learnt: Sequence[JSONObject] = ()
    unlike: bool = False


class CrewMember:
    """An actor. Its methods run in one event loop."""

    _sandbox: Sandbox
    _player: Player
    _speaker: Model
    _first: FirstReply | None = None

    async def prepare(self, job: Job, pad: bytes, pacemaker: Any) -> str | None:
        """Makes everything ready. What stands against it, in one sentence; None: nothing does."""
        open_keys(pad, os.environ)
        try:
            self._make_ready(job, pacemaker)
        except (HarnessError, OSError) as error:
            return f"On the machine {platform.node()}: {error}"
        return None

    async def play(
        self, task: str, sample: Sample, key: RunKey, accepted: bool, learnt: Sequence[JSONObject]
    ) -> Played:
        """One episode. `accepted` and `learnt` are what the others of the crew know of the endpoint."""
        if self._first is not None and accepted:
            self._first.accept()
        self._recall(learnt, key)
        model, episode, taught = self._player.model, (task, sample.id, key.epoch), self._taught
        model.forget(episode, key.reasoning)
        with self._speaker.episode() if isinstance(self._speaker, Lockstep) else nullcontext():
            record = await play_record(self._tasks[task], sample, key, self._player, self._first or self._speaker)
        return Played(
            record,
            self._first is None or self._first.accepted,
            [{"field": item["field"], "value": item["value"]} for item in model.learnt(key.reasoning)],
            episode in model.unlike(key.reasoning) or taught != self._taught,
        )

    async def close(self) -> None:
        """Lets go of the network, the connections and the workers."""
        await self._speaker.aclose()
        self._player.model.close()
        self._sandbox.close()

    def _make_ready(self, job: Job, pacemaker: Any) -> None:
        if job.version != harness.__version__:
            raise UsageError(f"the harness is {harness.__version__} there and {job.version} here.")
        if Path(job.folder).is_dir():
            os.chdir(job.folder)  # for paths as a person typed them
        redact = Redactor()
        self._tasks = _find_tasks(job)
        model, user = job.model.load(redact), None if job.user is None else job.user.load(redact)
        _check_same(model, job.fingerprint)
        for speaker in (model, user):
            if (share := getattr(speaker, "share_pace", None)) is not None:
                share(partial(SharedPace, pacemaker))
        self._sandbox = Sandbox(job.sandbox)
        _ = self._sandbox.layers  # starts it, or says why it cannot be
        spoken = None if user is None else side_by_side(SimulatedUser(user, job.user_sampling))
        at_once = fit_concurrency(job.at_once)
        self._player = Player(model, self._sandbox, at_once, redact, user=spoken, faults=job.faults)
        self._speaker = Lockstep(model) if isinstance(model, BatchModel) else model
        self._first = FirstReply(model, job.max_wait, False) if model.remote else None
        self._taught = 0

    def _recall(self, learnt: Sequence[JSONObject], key: RunKey) -> None:
        """Takes up what others have learnt of the endpoint."""
        known = {item["field"] for item in self._player.model.learnt(key.reasoning)} if learnt else set()
        if new := [{**item, "episodes_before": 0} for item in learnt if item["field"] not in known]:
            self._player.model.recall(new, key.reasoning, ())
            self._taught += 1


def _find_tasks(job: Job) -> dict[str, Task]:
    """The tasks by name. Raises UsageError where they, their data or their code are not there, or other ones."""

    def admit(path: Path) -> None:
        if code_digest(path) != job.code.get(path.name):
            raise UsageError(f"{path} is another file there.")

    data = {name: Path(path) for name, path in job.data.items()}
    return {task.name: task for task in select_tasks(job.tasks, data, admit)}


def _check_same(model: Model, expected: Mapping[str, Any]) -> None:
    found = dict(model.fingerprint)
    names = [name for name in {**expected, **found} if expected.get(name) != found.get(name)]
    if names:
        said = describe_differences({name: (found.get(name), expected.get(name)) for name in names})
        raise UsageError(f"{model.name} is another model ({said}).")
