"""Offer one environment's tools to any MCP client over stdin and stdout, and score what the client did.

The question is the prompt `question` (and the resource harness://question); the answer goes to the tool submit_answer.
When the client answers or leaves, the score is printed on stderr and, with --out, written as a run. The client never
learns it. docs/interoperability.md
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.options import add_data_option, at_least, parse_data_paths
from harness.console.text import printable
from harness.errors import HarnessError, ModelFailure, UsageError
from harness.scoring.verdict import score_trajectory
from harness.types import Model, ModelRequest, Outcome, Reply, RunKey, Trajectory

if TYPE_CHECKING:
    from harness.data.schema import Manifest, Record, Summary
    from harness.evaluation.plan import Plan

HELP = "offer one environment's tools as an MCP server, and score what its client does"
MAX_TURNS = 100
INTERRUPTED = 130


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("set", metavar="FILE|TASK", help="a file of environment records, or a task's name")
    add("--sample", required=True, metavar="ID", help="which environment")
    add_data_option(parser)
    add("--client", default="client", metavar="NAME", help="who plays, for the record: the model is called mcp/NAME")
    add(
        "--max-turns",
        type=at_least(1),
        default=MAX_TURNS,
        metavar="N",
        help=f"calls and answer together; one call is one turn (default: {MAX_TURNS})",
    )
    add("--sandbox", choices=["jail", "weak"], default="jail", help="weak: also where the kernel has no jail")
    add("--out", type=Path, metavar="DIR", help="write the episode as a run")


class McpClient(Model):
    """What a run says of an MCP client. It is never asked, because it calls by itself."""

    def __init__(self, name: str) -> None:
        self.name = f"mcp/{name}"
        self.fingerprint: Mapping[str, Any] = {"backend": "mcp", "name": name}

    def __call__(self, request: ModelRequest) -> Reply:
        raise ModelFailure("an MCP client is not asked", outcome="infrastructure_error", stop="mcp")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is served if the input is bad."""
    from harness.evaluation.manifest import make_manifest
    from harness.evaluation.plan import Player
    from harness.runs.directory import RunDirectory
    from harness.sandbox import Sandbox, SandboxConfig

    mcp_server = server_module()
    if not args.client.strip() or args.client != printable(args.client):
        raise UsageError("--client takes a name without control characters.")
    plan = make_plan(args)
    with Sandbox(SandboxConfig(mode=args.sandbox)) as sandbox, sandbox.episode() as tools:
        report = EpisodeWriter(plan, make_manifest(plan, Player(McpClient(args.client), sandbox)), args.out)
        if args.out is not None:
            RunDirectory.check(args.out, report.manifest, resume=False)
        [(task, sample, _)] = plan
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


def server_module() -> Any:
    """harness.interop.mcp_server. Raises UsageError where mcp is not installed."""
    try:
        from harness.interop import mcp_server
    except ImportError:
        raise UsageError("This command needs the mcp extra: pip install 'tool-harness[mcp]'.") from None
    return mcp_server


def make_plan(args: argparse.Namespace) -> Plan:
    """The one episode. Raises UsageError where that is not an environment with plain tools."""
    from harness.evaluation.plan import Plan, select_samples
    from harness.interop.live import is_plain_episode, untimed_limits
    from harness.registry import is_path, load_samples, select_tasks

    data = parse_data_paths(args.data)
    tasks = select_tasks([args.set], data)
    samples = select_samples(load_samples(tasks), [args.sample])
    found = [task for task in tasks if samples.get(task.name)]
    if len(found) > 1:
        raise UsageError(f"{found[0].name} and {found[1].name} both have a sample {args.sample!r}; name one of them.")
    [task] = found
    [sample] = samples[task.name]
    if not sample.tools or not is_plain_episode(task, sample):
        raise UsageError(f"{task.name} is not a prompt with tools and nothing else; only `harness eval` plays it.")
    return Plan(
        tasks=[task],
        samples={task.name: [sample]},
        groups={},
        limits=untimed_limits(args.max_turns),
        sources={
            "tasks": [str(Path(args.set).resolve()) if is_path(args.set) else args.set],
            "data": {name: str(path.resolve()) for name, path in data.items()},
        },
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
        from harness.console.tables import format_legend, format_table
        from harness.runs.record import to_record
        from harness.runs.summary import summarise_run

        [(task, sample, _)] = self.plan
        record = to_record(self._key(), trajectory, score_trajectory(task, sample, trajectory))
        summary = summarise_run(self.manifest, [record])
        if self.out is not None:
            write_run(self.out, self.manifest, record, summary)
        said = f"{format_table([summary], [{}], by_task=True)}\n\n{format_legend([summary])}\n"
        said += f"\n{sample.id}: {trajectory.outcome} ({trajectory.stop}) after {len(trajectory.calls)} calls."
        print(printable(said + (f" Transcript and scores: {self.out}" if self.out else "")), file=sys.stderr)

    def _key(self) -> RunKey:
        from harness.data import jsonio

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
    from harness.runs.directory import RecordAppender, RunDirectory

    with RunDirectory.claim(out, manifest, resume=False) as run, RecordAppender(run.samples_path) as appender:
        appender.append(record)
        run.write_summary(summary)
