"""The audit of tasks that are told by something else than sub-answers: rows with checks, benchmarks, tasks in a file.

What solves a sample is the task's own affair, so the task's own score is asked: what its oracle gets, and what those
get who do nothing, guess or cheat. Left out: the checks of checks.py, which look at sub-answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from tabulate import tabulate

from envbuilder.audit.thresholds import Thresholds
from harness.console.progress import ProgressBar
from harness.environment import ToolEnvironment
from harness.errors import HarnessError
from harness.evaluation.plan import select_subset
from harness.metrics import HEADLINE
from harness.models.policies import Policy
from harness.registry import load_samples
from harness.rollout import Episode, play_episode
from harness.sandbox import Sandbox, SandboxConfig
from harness.scoring.verdict import blame_task
from harness.types import Limits, Sample, SimulatedUser, Task, Trajectory

ORACLE = "oracle"
FLOOR_POLICIES = ("silent", "random", "shotgun", "echo", "keyword")


@dataclass(frozen=True)
class OwnTaskAudit:
    """One task's results: its headline metric, and each policy's mean of it. `unsolved`: samples whose gold does not
    get 1, or that have none, by id and with what became of them."""

    task: str
    metric: str
    samples: int
    unsolved: Mapping[str, str]
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def solvable(self) -> int:
        return self.samples - len(self.unsolved)

    def shortfalls(self, limits: Thresholds) -> list[str]:
        """One sentence for each threshold that the task does not keep."""
        short = []
        if self.solvable < limits.solvable * self.samples:
            name, why = next(iter(self.unsolved.items()))
            said = f"{self.solvable} of {self.samples} samples of {self.task} are solved by their gold"
            short.append(f"{said} ({name}: {why}); --min-solvable is {limits.solvable:g}.")
        for policy, value in self.floors.items():
            if value > (most := limits.floor(policy, self.task, self.metric)):
                short.append(
                    f"the {policy} policy gets {self.metric} {value:.3f} in {self.task}; at most {most:g} allowed."
                )
        return short

    def to_json(self) -> dict[str, object]:
        return {
            "task": self.task,
            "metric": self.metric,
            "samples": self.samples,
            "solvable": self.solvable,
            "unsolved": dict(self.unsolved),
            "floors": dict(self.floors),
        }


def is_told_otherwise(task: Task, samples: Sequence[Sample]) -> bool:
    """Whether a task's samples are more than tools with sub-answers."""
    plain = task.state is None and task.scripted_user is None and type(task.environment(samples[0])) is ToolEnvironment
    return task.headline != HEADLINE or not plain


def load_own(tasks: Sequence[Task], limit: int | None, seed: int) -> list[tuple[Task, list[Sample]]]:
    """Those of the tasks that are audited here, with their samples or a subset. Raises UsageError as loading does."""
    known = {task.name: task for task in tasks}
    loaded = load_samples(tasks)
    return [
        (known[name], select_subset(samples, name, limit, seed))
        for name, samples in loaded.items()
        if is_told_otherwise(known[name], samples)
    ]


def audit_own_tasks(
    tasks: Sequence[tuple[Task, Sequence[Sample]]], floors: bool, seed: int, quiet: bool
) -> list[OwnTaskAudit]:
    """Plays every sample by its gold and, for `floors`, by the policies. Raises SandboxError where tools cannot run,
    HarnessError where a policy could not play."""
    with Sandbox(SandboxConfig(workers=1, call_timeout=2.0)) as sandbox, ProgressBar("sample", quiet) as progress:
        progress.begin("validate", sum(len(samples) for _, samples in tasks))
        return [
            _audit(task, samples, sandbox, FLOOR_POLICIES if floors else (), seed, progress) for task, samples in tasks
        ]


def _audit(
    task: Task, samples: Sequence[Sample], sandbox: Sandbox, policies: Sequence[str], seed: int, progress: ProgressBar
) -> OwnTaskAudit:
    unsolved: dict[str, str] = {}
    found: dict[str, list[float]] = {policy: [] for policy in policies}
    for sample in samples:
        if why := _unsolved(task, sample, sandbox, seed):
            unsolved[sample.id] = why
        for policy, values in found.items():
            value, played = _play(task, sample, sandbox, Policy(policy, seed))
            if played.outcome == "infrastructure_error":  # a floor of 0 would be none
                raise HarnessError(f"{policy} could not play {sample.id!r} of {task.name}: {_ended(played)}.")
            values.append(value)
        progress.advance()
    floors = {policy: fmean(values) for policy, values in found.items()}
    return OwnTaskAudit(task.name, task.headline, len(samples), unsolved, floors)


def _unsolved(task: Task, sample: Sample, sandbox: Sandbox, seed: int) -> str:
    """Why a sample's gold does not solve it; nothing where it does."""
    if sample.gold.calls is None:
        return "it has no gold_calls"
    value, played = _play(task, sample, sandbox, Policy(ORACLE, seed))
    return "" if value == 1.0 else f"{task.headline} {value:g}, {_ended(played)}"


def _ended(played: Trajectory) -> str:
    return f"{played.outcome} ({played.stop})"


def _play(task: Task, sample: Sample, sandbox: Sandbox, policy: Policy) -> tuple[float, Trajectory]:
    """The headline metric of one episode, 0 where it has none, and the episode."""
    user = SimulatedUser(task.scripted_user) if task.scripted_user is not None else None
    limits = Limits(max_turns=task.max_turns or Limits().max_turns)
    with blame_task(f"The task {task.name} cannot play {sample.id!r}"):
        state = None if task.state is None else sandbox.preload(task.state(sample))
        with sandbox.episode(state) as tools:
            episode = Episode(sample, limits=limits, task=task.name, user=user)
            played = play_episode(episode, task.environment(sample), policy, tools)
        value = task.score(sample, played).scores.get(task.headline)
    return value or 0.0, played


def format_own_tasks(found: Sequence[OwnTaskAudit], limits: Thresholds) -> str:
    """What was found, a row a task and policy."""
    rows = [
        {
            "task": one.task,
            "policy": policy,
            one.metric: f"{value:.3f}",
            "allowed": f"{limits.floor(policy, one.task, one.metric):g}",
        }
        for one in found
        for policy, value in one.floors.items()
    ]
    said = [
        f"{one.task}: {one.samples} samples, {one.solvable} solved by their gold ({one.metric} 1)."
        + "".join(f"\n  {name}: {why}" for name, why in list(one.unsolved.items())[:5])
        for one in found
    ]
    table = tabulate(rows, headers="keys", disable_numparse=True, missingval="-")
    return "\n".join(said) + (f"\n\nWhat policies get that do not understand:\n\n{table}" if rows else "")
