"""The audit of whole sets: every environment's findings, what reference policies get, and what sets share.

Floors say what a score is worth: what doing nothing, guessing, spelling and echoing get on the same environments. With
`search`, rows without gold calls are given the calls that a search finds, so that the checks that need gold can run.
Left out: how the report is shown (present.py) and when it falls short (thresholds.py).
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Literal

from envbuilder.audit.arguments import default_arguments
from envbuilder.audit.checks import CHECKS, FLOOR_POLICIES, PROOF, Finding
from envbuilder.audit.corpus import CorpusAudit
from envbuilder.audit.environment import audit_environment, play_calls
from envbuilder.audit.search import search_arguments
from harness.console.progress import ProgressBar
from harness.distributed.cluster import Cluster
from harness.distributed.executor import ClusterExecutor
from harness.environment import ToolEnvironment
from harness.evaluation.plan import select_subset
from harness.metrics import shown_in
from harness.models.policies import Policy
from harness.registry import load_samples, select_tasks
from harness.rollout import Episode, ToolRunner, play_episode
from harness.sandbox import UNLIMITED, Sandbox, SandboxConfig
from harness.scoring import paper, score, strict
from harness.types import Message, Model, ModelRequest, Reply, Sample, Scores, ToolCall


@dataclass(frozen=True)
class AuditOptions:
    """What is audited. `names`: whether splits promise to share no entity name."""

    search: bool = False
    floors: bool = True
    names: Literal["disjoint", "shared"] = "disjoint"
    seed: int = 0


@dataclass(frozen=True)
class SolvedCounts:
    """How many of an environment's sub-answers its gold (or the search) reaches."""

    sub_answers: int
    strict: int
    paper: int
    either: int
    gold: bool
    """Whether the record has gold calls that solve everything, P = R = F1 = 1 under both rules."""


@dataclass(frozen=True)
class EnvironmentAudit:
    """One environment's results."""

    label: str
    scenario: str
    findings: tuple[Finding, ...]
    solved: SolvedCounts
    floors: Mapping[str, Scores] = field(default_factory=dict)


@dataclass(frozen=True)
class AuditReport:
    """Everything that was found, in the order of the samples."""

    environments: tuple[EnvironmentAudit, ...]
    shared: tuple[tuple[str, Finding], ...]

    def findings(self) -> Iterator[tuple[str, Finding]]:
        """(environment, finding)."""
        for one in self.environments:
            yield from ((one.label, found) for found in one.findings)
        yield from self.shared

    @property
    def solvable_count(self) -> int:
        """Environments whose gold calls, or those that were found, solve everything."""
        return sum(not any(f.check in PROOF for f in one.findings) for one in self.environments)

    def count_sub_answers(self, name: str) -> int:
        """All of them, or those reached by a rule: a field of SolvedCounts."""
        return sum(getattr(one.solved, name) for one in self.environments)

    def count_findings(self) -> dict[str, dict[str, Any]]:
        """By check: environments, findings, share of all environments, and the worst environment's first finding."""
        by_check: dict[str, list[tuple[str, Finding]]] = defaultdict(list)
        for label, found in self.findings():
            by_check[found.check].append((label, found))
        return {name: self._row(name, by_check[name]) for name in CHECKS}

    def _row(self, name: str, found: list[tuple[str, Finding]]) -> dict[str, Any]:
        counts = Counter(label for label, _ in found)
        worst = counts.most_common(1)[0][0] if counts else None
        example = next((one for label, one in found if label == worst), None)
        return {
            "environments": len(counts),
            "share": len(counts) / len(self.environments),
            "findings": len(found),
            "fatal": CHECKS[name].fatal,
            "meaning": CHECKS[name].meaning,
            "example": example and {"environment": worst, "where": example.where, "detail": example.detail},
        }

    def mean_floors(self) -> dict[str, dict[str, Any]]:
        """By scenario and policy: the mean of each metric."""
        scenarios: dict[str, list[EnvironmentAudit]] = defaultdict(list)
        for one in self.environments:
            if one.floors:
                scenarios[one.scenario].append(one)
        return {
            scenario: {
                "environments": len(members),
                **{policy: _means([one.floors[policy] for one in members]) for policy in FLOOR_POLICIES},
            }
            for scenario, members in scenarios.items()
        }


def _means(scores: Sequence[Scores]) -> dict[str, float | None]:
    names = [row.name for row in shown_in("validate")]
    values = {metric: [value for one in scores if (value := one.get(metric)) is not None] for metric in names}
    return {metric: fmean(found) if found else None for metric, found in values.items()}


class Auditor:
    """Audits samples one by one, in two sandboxes of one worker each: what differs between them is chance."""

    def __init__(self, first: Sandbox, second: Sandbox, options: AuditOptions) -> None:
        self._sandboxes = first, second
        self._options = options

    def audit_sample(self, task: str, sample: Sample) -> EnvironmentAudit:
        """Audits one sample of a task. Raises SandboxError where tools cannot be run."""
        first, second = self._sandboxes
        with first.episode() as episode, second.episode() as again:
            solved, player = self._solved(sample, episode)
            findings = audit_environment(player, episode, again)
            stopped = any(one.check == "stopped" for one in findings)  # each of many calls would have to be
            floors = _floors(task, sample, episode, self._options.seed) if self._options.floors and not stopped else {}
        scenario = str(sample.metadata.get("data_source") or task).rpartition("/")[2]
        return EnvironmentAudit(f"{task}/{sample.id}", scenario, tuple(findings), solved, floors)

    def _solved(self, sample: Sample, episode: ToolRunner) -> tuple[SolvedCounts, Sample]:
        """What gold reaches, and the sample with gold calls where a search found some for a row without."""
        wanted = sample.gold.sub_answers
        n = sum(len(answers) for answers in wanted.values())
        records = play_calls(sample, [(call.name, call.arguments) for call in sample.gold.calls or ()], episode)
        by_strict, by_paper = strict.solves(records, wanted), paper.solves(records, wanted)
        whole = len(records) == n and None not in by_strict and None not in by_paper
        if sample.gold.calls is not None and (whole or not self._options.search):
            counted = [_places(records, solves) for solves in (by_strict, by_paper)]
            return SolvedCounts(n, len(counted[0]), len(counted[1]), len(counted[0] | counted[1]), whole), sample
        if not self._options.search:
            return SolvedCounts(n, 0, 0, 0, False), sample
        found = search_arguments(sample, episode)
        solved = SolvedCounts(
            n,
            sum(one.strict is not None for one in found.reached),
            sum(one.paper is not None for one in found.reached),
            sum(one.arguments is not None for one in found.reached),
            False,
        )
        if sample.gold.calls is not None:
            return solved, sample
        return solved, replace(sample, gold=replace(sample.gold, calls=tuple(found.calls)))


def _places(records: Sequence[Any], solves: Sequence[int | None]) -> set[tuple[str, int]]:
    return {(record.call.name, place) for record, place in zip(records, solves, strict=True) if place is not None}


def load_environments(
    patterns: Sequence[str], data: Mapping[str, Path], limit: int | None, seed: int
) -> dict[str, list[Sample]]:
    """The samples of the tasks that patterns mean, or a subset."""
    tasks = select_tasks(patterns, data)
    return {name: select_subset(samples, name, limit, seed) for name, samples in load_samples(tasks).items()}


def audit_environments(
    samples: Mapping[str, Sequence[Sample]], options: AuditOptions, quiet: bool = False, cluster: Cluster | None = None
) -> AuditReport:
    """Audits the samples of every task, here or on a cluster, with a progress bar."""
    every = [(task, sample) for task, chosen in samples.items() for sample in chosen]
    corpus, audited = CorpusAudit(options.names), []
    with ProgressBar("environment", quiet) as progress:
        progress.begin("validate", len(every))
        found = _audit_here(every, options) if cluster is None else _audit_there(every, options, cluster)
        for (task, sample), audit in zip(every, found, strict=True):
            corpus.add(sample, task)
            audited.append(audit)
            progress.advance()
    return AuditReport(tuple(audited), tuple(corpus.findings()))


@contextmanager
def _open_auditor(options: AuditOptions) -> Iterator[Auditor]:
    config = SandboxConfig(workers=1, call_timeout=2.0, limits=UNLIMITED)
    with Sandbox(config) as first, Sandbox(replace(config, fixed_addresses=False)) as second:
        yield Auditor(first, second, options)


def _audit_here(every: Sequence[tuple[str, Sample]], options: AuditOptions) -> Iterator[EnvironmentAudit]:
    with _open_auditor(options) as auditor:
        for task, sample in every:
            yield auditor.audit_sample(task, sample)


# --- audits on a cluster -----------------------------------------------------------------------------------------

_open = ExitStack()
_auditors: dict[AuditOptions, Auditor] = {}
"""Of this process, which keeps its sandboxes until it ends."""


def audit_in_process(task: str, sample: Sample, options: AuditOptions) -> EnvironmentAudit:
    """In a process of the cluster."""
    if options not in _auditors:
        _auditors[options] = _open.enter_context(_open_auditor(options))
    return _auditors[options].audit_sample(task, sample)


def _audit_there(
    every: Sequence[tuple[str, Sample]], options: AuditOptions, cluster: Cluster
) -> Iterator[EnvironmentAudit]:
    executor = ClusterExecutor(cluster)
    waiting: deque[Future[EnvironmentAudit]] = deque()
    for task, sample in every:
        waiting.append(executor.submit(audit_in_process, task, sample, options))
        if len(waiting) > 4 * executor.width:
            yield waiting.popleft().result()
    for audit in waiting:
        yield audit.result()


# --- floors ------------------------------------------------------------------------------------------------------


class DefaultCalls(Model):
    """A model that calls each tool once, with the dullest valid values."""

    name = "policy/default"
    fingerprint: Mapping[str, Any] = {}

    def __call__(self, request: ModelRequest) -> Reply:
        calls = tuple(
            ToolCall(f"call_{number}", tool.name, default_arguments(tool), "")
            for number, tool in enumerate(() if request.turn else request.tools)
        )
        return Reply(Message("assistant", tool_calls=calls))


def _floors(task: str, sample: Sample, episode: ToolRunner, seed: int) -> dict[str, Scores]:
    found: dict[str, Scores] = {}
    for name in FLOOR_POLICIES:
        model = DefaultCalls() if name == "default" else Policy(name, seed)
        trajectory = play_episode(Episode(sample, task=task), ToolEnvironment(sample), model, episode)
        found[name] = score(sample, trajectory).scores
    return found
