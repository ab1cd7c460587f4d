"""A procedural build from its plan to its file: environments in order, each validated before it is written.

The environments are independent of each other, so several processes make them; the parent puts
them in order, refuses what repeats an earlier one, and appends every accepted environment to a file beside the output.
A build that was interrupted goes on there, and ends with the same bytes as an undisturbed one.
"""

from __future__ import annotations

import gc
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path

from envbuilder.audit.corpus import CorpusAudit, Look, look_at
from envbuilder.audit.environment import audit_environment
from envbuilder.generation1.stages import procedural as first_procedural
from envbuilder.plan import BuildPlan, BuildReport
from envbuilder.records import (
    TWINS,
    DeployedToolset,
    JSONObject,
    Scenario,
    Stages,
    Toolset,
    environment_record,
    stage_to_json,
)
from envbuilder.spec import Spec
from envbuilder.stages import procedural
from envbuilder.stages.plan import has_plan
from envbuilder.when.proof import find_faults
from envbuilder.when.twins import make_twins
from harness.console.progress import ProgressBar
from harness.data.disk import open_to_append
from harness.data.files import read_rows, write_rows
from harness.data.records import sample_from_record
from harness.data.source import parse_source
from harness.distributed.cluster import Cluster
from harness.distributed.executor import ClusterExecutor
from harness.errors import HarnessError, UsageError
from harness.runs.directory import RecordAppender
from harness.sandbox import UNLIMITED, Sandbox, SandboxConfig
from harness.sandbox.jail import die_with
from harness.types import Sample

LOOKED_AHEAD = 24
"""Environments of a build about few kinds for which is seen beforehand whether there is a plan."""
MAX_ATTEMPTS = 50
"""Tries for one environment: what fails its audit is drawn again. More would hide a broken generator."""

YOUNG = 100_000
"""New objects before a process that makes environments looks for garbage: an environment is thousands of them, in trees
and texts that refer to nothing that refers back to them."""

GENERATORS: Mapping[int, Callable[[Spec], Stages]] = {
    1: first_procedural.run_stages,
    2: procedural.run_stages,
}
STAGES = ("1-scenario", "2-documents", "3-integration", "4-scaling", "5-deployment")


@dataclass(frozen=True)
class BuiltEnvironment:
    """An environment that passed: its record, what is compared with others, lines of JSON of what each stage made, if
    that is wanted, the other twins of its world, if it has any, and the checks that earlier attempts failed."""

    spec: Spec
    record: JSONObject
    look: Look
    stages: tuple[str, ...] = ()
    others: tuple[JSONObject, ...] = ()
    failed: tuple[str, ...] = ()


# --- one environment, in a process of its own --------------------------------------------------------------------

_sandbox: Sandbox | None = None


def _start_with(parent: int) -> None:
    """Makes a process of a pool ready, which would otherwise outlive a command that is killed."""
    die_with(parent)
    _start_worker()


def _start_worker() -> None:
    global _sandbox
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent's is enough
    _sandbox = Sandbox(SandboxConfig(workers=1, limits=UNLIMITED))
    gc.freeze()  # what is imported stays
    gc.set_threshold(YOUNG)


def build_environment_record(spec: Spec, keep: bool = False) -> BuiltEnvironment:
    """Runs the five stages and audits what came out; an attempt that fails is drawn again."""
    failed: Counter[str] = Counter()
    make = _make_twins if spec.kind == TWINS else partial(_make_environment, keep=keep)
    for attempt in range(spec.attempt, MAX_ATTEMPTS):
        try:
            made, faults = make(replace(spec, attempt=attempt))
        except LookupError:
            failed["nothing fits"] += 1
            continue
        except UsageError:
            failed["record"] += 1
            continue
        if not faults:
            return replace(made, failed=tuple(failed.elements()))
        failed.update(faults)
    raise HarnessError(
        f"{MAX_ATTEMPTS} attempts at environment {spec.index} ({spec.kind}) failed: {dict(failed)}; this is a fault of "
        "the generator."
    )


def _make_environment(spec: Spec, keep: bool) -> tuple[BuiltEnvironment, set[str]]:
    """An environment and the fatal checks that it fails."""
    stages = GENERATORS[spec.generation](spec)
    record = environment_record(stages[-1], spec.split)
    for source in stages[-1].codes.values():
        parse_source(source)  # which the audit will do, and reading the record is cheaper after it
    sample = sample_from_record(record, spec.index, record["id"])
    kept = tuple(_stage_line(spec.index, stage) for stage in stages) if keep else ()
    return BuiltEnvironment(spec, record, look_at(sample), kept), _faults(sample)


def _make_twins(spec: Spec) -> tuple[BuiltEnvironment, set[str]]:
    """The twins of a world, the first in front, and what is wrong with them."""
    assert _sandbox is not None
    twins = make_twins(spec)
    first, *others = (twin.record for twin in twins)
    look = look_at(sample_from_record(first, spec.index, first["id"]))
    with _sandbox.episode() as tools:
        return BuiltEnvironment(spec, first, look, others=tuple(others)), find_faults(twins, tools)


def _faults(sample: Sample) -> set[str]:
    """The fatal checks that an environment fails."""
    assert _sandbox is not None
    with _sandbox.episode() as tools:
        return {finding.check for finding in audit_environment(sample, tools) if finding.fatal}


def _stage_line(index: int, stage: Scenario | Toolset | DeployedToolset) -> str:
    return json.dumps({"index": index, **stage_to_json(stage)}, ensure_ascii=False) + "\n"


# --- a whole build -----------------------------------------------------------------------------------------------


class PartialFile:
    """The file beside the output that a build grows: its plan, then a line an environment."""

    def __init__(self, out: Path, plan: BuildPlan) -> None:
        self.path = out.with_name(f".{out.name}.partial")
        told = asdict(plan) | {"kinds": list(plan.kinds), "about": list(plan.about)}
        self._plan = {"plan": {name: value for name, value in told.items() if value or name != "about"}}

    def resume(self, lines: RecordAppender) -> list[JSONObject]:
        """The environments that are there already. Raises UsageError where they belong to another build."""
        first, *rows = [*read_rows(self.path)] or [None]
        if first is None:
            lines.append(self._plan)
        elif first != self._plan:
            raise UsageError(f"{self.path} belongs to another build; finish that one, or delete the file.")
        return rows

    def rows(self) -> Iterator[JSONObject]:
        return islice(read_rows(self.path), 1, None)


def check_kinds(plan: BuildPlan) -> None:
    """Raises UsageError where nothing can be asked about the kinds of things that a plan names, alone."""
    for spec in map(plan.spec, range(min(plan.worlds, LOOKED_AHEAD) if plan.about else 0)):
        if not has_plan(spec):
            about = " and ".join(plan.about)
            raise UsageError(f"No {spec.kind} question of level {plan.preset} is found about {about} alone; name more.")


def build_file(
    plan: BuildPlan,
    out: Path,
    *,
    workers: int | None = None,
    keep_stages: Path | None = None,
    cluster: Cluster | None = None,
    watch: Callable[[Counter[str]], None] = lambda refused: None,
) -> BuildReport:
    """Builds `plan` into `out`, by processes here or those of a cluster. Raises UsageError for a file of another build,
    HarnessError for a broken generator."""
    check_kinds(plan)
    progress, report, corpus = PartialFile(out, plan), BuildReport(), CorpusAudit()
    with (
        RecordAppender(progress.path, out) as lines,
        _make_pool(workers or os.cpu_count() or 1, keep_stages is not None, cluster) as pool,
    ):
        there = progress.resume(lines)
        first, begun = divmod(len(there), plan.twins)
        for index, record in enumerate(there):
            if index % plan.twins == 0 and index < first * plan.twins:
                corpus.add(sample_from_record(record, index, record["id"]))
            report.built[record["data_source"]] += 1
        if keep_stages is not None:
            _cut(keep_stages, len(there))
        for made in pool.in_order(plan, first, corpus, report):
            if keep_stages is not None:
                _keep(keep_stages, made)
            for record in (made.record, *made.others)[begun:]:
                lines.append(record)
                report.built[record["data_source"]] += 1
            begun = 0
            report.refused.update(made.failed)
            watch(report.refused)
        write_rows(out, progress.rows())
        progress.path.unlink()
    return report


def build_file_in_sight(
    plan: BuildPlan,
    out: Path,
    *,
    workers: int | None,
    keep_stages: Path | None,
    quiet: bool,
    cluster: Cluster | None = None,
) -> BuildReport:
    """`build_file` with a progress bar that counts what was refused."""
    with ProgressBar("environment" if plan.worlds == plan.n else "world", quiet) as progress:
        progress.begin("build", plan.worlds)

        def watch(refused: Counter[str]) -> None:
            progress.advance(note=f"refused {refused.total()}")

        return build_file(plan, out, workers=workers, keep_stages=keep_stages, cluster=cluster, watch=watch)


def _make_pool(workers: int, keep: bool, cluster: Cluster | None) -> _Pool:
    if cluster is None:
        executor = ProcessPoolExecutor(workers, get_context("spawn"), _start_with, (os.getpid(),))
        return _Pool(executor, workers, keep)
    spread = ClusterExecutor(cluster, _start_worker)
    return _Pool(spread, spread.width, keep)


class _Pool:
    """Processes that make environments ahead of the one that is due, so many that none of them waits."""

    def __init__(self, executor: Executor, workers: int, keep: bool) -> None:
        self._keep = keep
        self._ahead = 4 * workers
        self._executor = executor

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *error: object) -> None:
        self._executor.shutdown(cancel_futures=True)

    def _submit(self, spec: Spec) -> Future[BuiltEnvironment]:
        """Has one made. A process that this starts never sees Ctrl-C, not even while it imports; ours sees it after."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return self._executor.submit(build_environment_record, spec, self._keep)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def in_order(
        self, plan: BuildPlan, first: int, corpus: CorpusAudit, report: BuildReport
    ) -> Iterator[BuiltEnvironment]:
        """Every environment from `first` on that repeats none before it. Raises HarnessError where a process died."""
        try:
            yield from self._in_order(plan, first, corpus, report)
        except BrokenProcessPool:
            raise HarnessError(
                "A process that makes environments was killed, perhaps for want of memory; the same command goes on "
                "with those that are made (--workers N takes fewer processes)."
            ) from None

    def _in_order(
        self, plan: BuildPlan, first: int, corpus: CorpusAudit, report: BuildReport
    ) -> Iterator[BuiltEnvironment]:
        waiting: list[Future[BuiltEnvironment]] = []
        coming = iter(range(first, plan.worlds))
        for index in range(first, plan.worlds):
            while len(waiting) < self._ahead and (following := next(coming, None)) is not None:
                waiting.append(self._submit(plan.spec(following)))
            made = waiting.pop(0).result()
            for attempt in count(made.spec.attempt + 1):
                if corpus.add_unless_duplicate(made.look):
                    break
                report.refused["duplicate"] += 1
                made = self._submit(plan.spec(index, attempt)).result()
            yield made


def _cut(folder: Path, environments: int) -> None:
    """Drops from the kept stages what a kill left there of environments that were never written."""
    for name in STAGES:
        path = folder / f"{name}.jsonl"
        if path.exists():
            with open_to_append(path) as lines:
                lines.seek(0)
                lines.truncate(sum(map(len, islice(lines, environments))))


def _keep(folder: Path, made: BuiltEnvironment) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, stage in zip(STAGES, made.stages, strict=True):
        with open_to_append(folder / f"{name}.jsonl") as lines:
            lines.write(stage.encode("utf-8"))
