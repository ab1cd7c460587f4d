"""A model's episodes on the cores and machines of a Ray cluster: `--ray` of eval and collect.

The plan, the budget, the progress and the run directory stay with the command; a crew is what it hands episodes to. A
member plays several at once, with a sandbox of its own; a network has one member an engine. A member that is lost, with
its machine or alone, is replaced where there is room, and what it was playing is played again: nothing was written of
it. So each episode is recorded once, and an interrupted run goes on as any other.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from harness.batching import BatchModel, FarModel
from harness.data.schema import Record
from harness.distributed.cluster import Cluster, Machine, cause_of
from harness.distributed.shared_pace import start_pacemaker
from harness.errors import HarnessError, NothingAccepted, UsageError
from harness.evaluation.crew_lessons import CrewLessons, Episode
from harness.evaluation.crew_member import CrewMember, Job, Played
from harness.models.local.vllm import engine_settings
from harness.runs.record import to_record
from harness.scoring.verdict import score_trajectory
from harness.types import JSONObject, Model, Reasoning, RunKey, Sample, Task, Trajectory, Usage

MOST_LOSSES = 3
"""Members that one episode may be lost with: it may be the episode that ends them."""
PATIENCE = 60.0
"""Seconds after which a person is told that Ray has no room."""
FAREWELL = 30.0
"""Seconds that members get to let go of their network."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Places:
    """How a crew lies on its machines: members, what Ray reserves for each, and episodes at once of each."""

    members: int
    each: Mapping[str, int]
    episodes: int


def share_out(model: Model, args: Mapping[str, str], machines: Sequence[Machine], concurrency: int) -> Places:
    """A member a core, but no more than episodes at once; of a network a member an engine: the GPUs that it is told to
    use, or a machine's cores where there is no GPU. Raises UsageError where there is no place for one."""
    if not isinstance(model, BatchModel):
        members = min(concurrency, sum(machine.cpus for machine in machines))
        each, episodes = {"num_cpus": 1}, math.ceil(concurrency / max(1, members))
    elif any(machine.gpus for machine in machines):
        gpus = _gpus_of_an_engine(model, args)
        members, episodes = sum(machine.gpus // gpus for machine in machines), model.width
        each = {"num_cpus": 1, "num_gpus": gpus}
    else:
        cpus = min((machine.cpus for machine in machines if machine.cpus), default=1)
        members, episodes = sum(machine.cpus // cpus for machine in machines), model.width
        each = {"num_cpus": cpus}
    if not members:
        raise UsageError(f"--ray: no machine of the cluster has room for {model.name}.")
    return Places(members, each, episodes)


def _gpus_of_an_engine(model: Model, args: Mapping[str, str]) -> int:
    """Those that --model-arg engine={...} of vllm/ spreads one network over."""
    settings = engine_settings(args) if model.name.startswith("vllm/") else {}
    sizes = [settings.get(name) for name in ("tensor_parallel_size", "pipeline_parallel_size")]
    return math.prod(size for size in sizes if isinstance(size, int) and size > 0)


@dataclass(eq=False)
class _Member:
    """A member that is ready to play."""

    handle: Any
    lost: bool = False


@dataclass(eq=False)
class Crew(FarModel):
    """`model` is the command's own, made of the same words; it is never asked for a reply."""

    model: Model
    job: Job
    cluster: Cluster
    concurrency: int
    _members: list[_Member] = field(default_factory=list)
    _hiring: set[asyncio.Task[None]] = field(default_factory=set)
    _slots: asyncio.Queue[_Member | Exception] = field(default_factory=asyncio.Queue)
    _pacemaker: Any = None
    _accepted: bool = False
    _said: str | None = None

    def __post_init__(self) -> None:
        self.name, self.fingerprint = self.model.name, self.model.fingerprint
        self.sampling_options = self.model.sampling_options
        self._lessons = CrewLessons(self.model)
        self._places = share_out(self.model, self.job.model.args, self.cluster.machines, self.concurrency)
        self.at_once = self._places.members * self._places.episodes
        if not isinstance(self.model, BatchModel):
            self.at_once = self.concurrency
        self.job = replace(self.job, at_once=self._places.episodes)

    # --- what a run asks of its model ---

    def check(self, samples: Sequence[Sample]) -> None:
        self.model.check(samples)

    def switch(self, reasoning: Reasoning) -> Mapping[str, Any] | None:
        return self.model.switch(reasoning)

    def learnt(self, reasoning: Reasoning) -> list[JSONObject]:
        return self._lessons.learnt(reasoning)

    def recall(self, learnt: Sequence[Mapping[str, Any]], reasoning: Reasoning, episodes: Collection[Episode]) -> None:
        self._lessons.recall(learnt, reasoning, episodes)

    def unlike(self, reasoning: Reasoning) -> Collection[Episode]:
        return self._lessons.unlike(reasoning)

    def forget(self, episode: Episode, reasoning: Reasoning) -> None:
        self._lessons.forget(episode, reasoning)

    @property
    def undecided(self) -> bool:
        return not self._accepted and self._said is not None

    def check_accepted(self) -> None:
        if self.undecided:
            raise NothingAccepted(f"{self._said}; no request was accepted.")

    # --- playing ---

    def begin(self, accepted: bool) -> None:
        self._accepted = self._accepted or accepted
        self._slots = asyncio.Queue()
        for member in self._members:
            self._offer(member)
        if self._pacemaker is None and self.model.remote:
            self._pacemaker = start_pacemaker(self.cluster)
        for _ in range(self._places.members - len(self._members)):
            self._hire()

    async def play(self, task: Task, sample: Sample, key: RunKey) -> Record:
        for _ in range(MOST_LOSSES):
            member = await self._take()
            try:
                told = self._accepted, self._lessons.to_json()
                played: Played = await member.handle.play.remote(task.name, sample, key, *told)
            except self.cluster.lost:
                self._lose(member)
                continue
            except Exception as error:
                raise cause_of(error) from None
            self._slots.put_nowait(member)
            self._hear(played, (task.name, sample.id, key.epoch), key.reasoning)
            return played.record
        return _lost_record(task, sample, key)

    async def aclose(self) -> None:
        """Ends what belongs to this event loop; the members stay for the next run."""
        for hiring in self._hiring:
            hiring.cancel()
        await asyncio.gather(*self._hiring, return_exceptions=True)

    def close(self) -> None:
        """Ends the members."""
        ray = self.cluster.ray
        if goodbyes := [member.handle.close.remote() for member in self._members]:
            ray.wait(goodbyes, num_returns=len(goodbyes), timeout=FAREWELL)
        for handle in (*(member.handle for member in self._members), self._pacemaker):
            if handle is not None:
                ray.kill(handle)
        self._members, self._pacemaker = [], None
        self.model.close()

    def _hear(self, played: Played, episode: Episode, reasoning: Reasoning) -> None:
        self._accepted = self._accepted or played.accepted
        if not played.accepted:
            self._said = str(played.record["error"])
        self._lessons.hear(episode, reasoning, played)

    # --- members ---

    async def _take(self) -> _Member:
        """A member with room for one more episode. Raises what keeps members from being made."""
        while True:
            try:
                found = await asyncio.wait_for(self._slots.get(), None if self._members else PATIENCE)
            except TimeoutError:
                log.warning("%s: Ray has had no room for %s; waiting", self.name, dict(self._places.each))
                continue
            if isinstance(found, Exception):
                self._slots.put_nowait(found)  # for the others who wait
                raise found
            if not found.lost:
                return found

    def _offer(self, member: _Member) -> None:
        for _ in range(self._places.episodes):
            self._slots.put_nowait(member)

    def _lose(self, member: _Member) -> None:
        if not member.lost:
            member.lost = True
            self._members.remove(member)
            self.cluster.ray.kill(member.handle)  # it may only have been out of reach
            log.warning("%s: a process or its machine was lost; what it played is played again", self.name)
            self._hire()

    def _hire(self) -> None:
        hiring = asyncio.get_running_loop().create_task(self._make_member())
        self._hiring.add(hiring)
        hiring.add_done_callback(self._hiring.discard)

    async def _make_member(self) -> None:
        """Adds a member when Ray has found room for it; a reason against it goes to whoever waits for members."""
        actor = self.cluster.ray.remote(CrewMember)
        options = {"max_concurrency": self._places.episodes + 1, "runtime_env": self.cluster.runtime_env}
        why: Exception = HarnessError(f"{self.name}: Ray lost every process that was to play it.")
        for _ in range(MOST_LOSSES):
            handle = actor.options(**self._places.each, **options).remote()
            try:
                refused = await handle.prepare.remote(self.job, self.cluster.keys.pad, self._pacemaker)
            except self.cluster.lost as error:
                why = UsageError(f"--ray: a process of Ray's cannot begin: {_last_line(error)}")
                continue
            except Exception as error:
                why = cause_of(error)
                break
            if refused is None:
                member = _Member(handle)
                self._members.append(member)
                self._offer(member)
                return
            why = UsageError(refused)
            break
        self._slots.put_nowait(why)


def _last_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__


def _lost_record(task: Task, sample: Sample, key: RunKey) -> Record:
    """The record of an episode that no machine outlived; a run that is resumed plays it again."""
    said = f"{MOST_LOSSES} processes were lost while they played it"
    trajectory = Trajectory(
        messages=sample.messages,
        calls=(),
        turns=0,
        outcome="infrastructure_error",
        stop="machine_lost",
        usage=Usage(),
        seconds={},
        error=said,
    )
    return to_record(key, trajectory, score_trajectory(task, sample, trajectory))
