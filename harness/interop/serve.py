"""One environment offered to an MCP client: what is served, and the run that comes of it. Needs the mcp extra."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from harness.console.tables import format_legend, format_table
from harness.console.text import printable
from harness.data import jsonio
from harness.data.schema import Manifest, Record, Summary
from harness.errors import HarnessError, ModelFailure, UsageError
from harness.evaluation.manifest import make_manifest
from harness.evaluation.plan import Plan, Player, select_samples, sources_of
from harness.interop import mcp_server
from harness.interop.live import has_own_user, state_of, untimed_limits
from harness.registry import load_samples, select_tasks
from harness.runs.directory import RecordAppender, RunDirectory
from harness.runs.record import to_record
from harness.runs.summary import summarise_run
from harness.sandbox import Sandbox, SandboxConfig
from harness.scoring.verdict import score_trajectory
from harness.types import Model, ModelRequest, Outcome, Reply, RunKey, Trajectory

INTERRUPTED = 130


class McpClient(Model):
    """What a run says of an MCP client. It is never asked, because it calls by itself."""

    def __init__(self, name: str) -> None:
        self.name = f"mcp/{name}"
        self.fingerprint: Mapping[str, Any] = {"backend": "mcp", "name": name}

    def __call__(self, request: ModelRequest) -> Reply:
        raise ModelFailure("an MCP client is not asked", outcome="infrastructure_error", stop="mcp")


def serve_episode(plan: Plan, client: str, sandbox: Literal["jail", "weak"], out: Path | None) -> int:
    """Serves the one episode of a plan and scores it; `out` is where it is written as a run. Returns the exit status.

    Raises UsageError for a directory that is in use, before anything is served.
    """
    [(task, sample, _)] = plan
    with Sandbox(SandboxConfig(mode=sandbox)) as jail, jail.episode(state_of(task, sample, jail)) as tools:
        report = EpisodeWriter(plan, make_manifest(plan, Player(McpClient(client), jail)), out)
        if out is not None:
            RunDirectory.check(out, report.manifest, resume=False)
        if sys.stdin.isatty():
            print("Waiting for an MCP client on stdin and stdout; Ctrl-C ends.", file=sys.stderr)
        caught = asyncio.run(mcp_server.serve(task, sample, plan.limits, tools, report))
    if report.failure is not None:
        raise report.failure
    if report.outcome is None:
        print("No tool was called and nothing was answered: there is no episode to score.", file=sys.stderr)
    if caught == signal.SIGINT:
        return INTERRUPTED
    return 1 if report.outcome == "infrastructure_error" else 0


def plan_episode(pattern: str, sample_id: str, data: Mapping[str, Path], max_turns: int) -> Plan:
    """The one episode of a task, or of a file's, that has this sample. Raises UsageError where it has no tools, or
    somebody else to talk to."""
    tasks = select_tasks([pattern], data)
    samples = select_samples(load_samples(tasks), [sample_id])
    found = [task for task in tasks if samples.get(task.name)]
    if len(found) > 1:
        raise UsageError(f"{found[0].name} and {found[1].name} both have a sample {sample_id!r}; name one of them.")
    [task] = found
    [sample] = samples[task.name]
    if not sample.tools or has_own_user(task):
        raise UsageError(f"{task.name} has no tools or a simulated user; only `harness eval` plays it.")
    return Plan(
        tasks=[task],
        samples={task.name: [sample]},
        groups={},
        limits=untimed_limits(max_turns),
        sources=sources_of([pattern], data),
    )


@dataclass
class EpisodeWriter:
    """Scores the episode the moment it is over, writes it and prints it; what goes wrong is kept for the command."""

    plan: Plan
    manifest: Manifest
    out: Path | None
    outcome: Outcome | None = None
    failure: HarnessError | OSError | None = None

    def __call__(self, trajectory: Trajectory) -> None:
        self.outcome = trajectory.outcome
        try:
            self._report(trajectory)
        except (HarnessError, OSError) as error:
            self.failure = error

    def _report(self, trajectory: Trajectory) -> None:
        [(task, sample, _)] = self.plan
        record = to_record(self._key(), trajectory, score_trajectory(task, sample, trajectory))
        summary = summarise_run(self.manifest, [record])
        if self.out is not None:
            write_run(self.out, self.manifest, record, summary)
        said = f"{format_table([summary], [{}], by_task=True)}\n\n{format_legend([summary])}\n"
        said += f"\n{sample.id}: {trajectory.outcome} ({trajectory.stop}) after {len(trajectory.calls)} calls."
        print(printable(said + (f" Transcript and scores: {self.out}" if self.out else "")), file=sys.stderr)

    def _key(self) -> RunKey:
        [(task, sample, epoch)] = self.plan
        identity = self.manifest["identity"]
        return RunKey(
            task=task.name,
            task_fingerprint=identity["tasks"][task.name],
            sample=sample.id,
            epoch=epoch,
            model=identity["model"],
            model_fingerprint=jsonio.digest(self.manifest["model"]),
            reasoning=self.plan.reasoning,
            sampling=self.plan.sampling,
            limits=self.plan.limits,
        )


def write_run(out: Path, manifest: Manifest, record: Record, summary: Summary) -> None:
    """A run of one episode. Raises UsageError where the directory holds something by now."""
    with RunDirectory.claim(out, manifest, resume=False) as run, RecordAppender(run.samples_path) as appender:
        appender.append(record)
        run.write_summary(summary)
