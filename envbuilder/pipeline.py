"""A procedural build from its plan to its file: environments in order, each validated before it is written.

The environments are independent of each other, so several processes make them; the parent puts
them in order, refuses what repeats an earlier one, and appends every accepted environment to a file beside the output.
A build that was interrupted goes on there, and ends with the same bytes as an undisturbed one.
"""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from itertools import count, islice
from multiprocessing import get_context
from pathlib import Path

from envbuilder.audit.corpus import CorpusAudit
from envbuilder.plan import BuildPlan, BuildReport, BuiltEnvironment
from envbuilder.records import TWINS, JSONObject
from envbuilder.spec import Spec
from harness.console.progress import ProgressBar
from harness.data.disk import open_to_append
from harness.data.files import read_rows, write_rows
from harness.data.records import sample_from_record
from harness.distributed.cluster import Cluster
from harness.distributed.executor import ClusterExecutor
from harness.errors import HarnessError, UsageError
from harness.runs.directory import RecordAppender

LOOKED_AHEAD = 24
"""Environments of a build about few kinds for which is seen beforehand whether there is a plan."""
STAGES = ("1-scenario", "2-documents", "3-integration", "4-scaling", "5-deployment")


# --- in a process of its own -----------------------------------------------------------------------------------------


def _start_with(parent: int) -> None:
    """Makes a process of a pool ready, which would otherwise outlive a command that is killed."""
    from harness.sandbox.jail import die_with

    die_with(parent)
    _start_worker()


def _start_worker() -> None:
    from envbuilder.making import start_worker

    start_worker()


def _make(spec: Spec, keep: bool) -> BuiltEnvironment:
    """An environment, in a process that was made ready."""
    from envbuilder.making import build_environment_record

    return build_environment_record(spec, keep)


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
    if not plan.about:
        return
    if plan.kinds == (TWINS,):
        from envbuilder.when.scenario import kinds_of_twins

        fit = [kind.id for kind in kinds_of_twins(())]
        if others := [name for name in plan.about if name not in fit]:
            raise UsageError(f"Twins are not made about {' and '.join(others)}; take some of {', '.join(fit)}.")
        return
    from envbuilder.stages.plan import has_plan

    for spec in map(plan.spec, range(min(plan.worlds, LOOKED_AHEAD))):
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
            return self._executor.submit(_make, spec, self._keep)
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
