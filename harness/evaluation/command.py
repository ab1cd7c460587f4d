"""One command's runs: models, each in one or two reasoning modes, one run after the other in one sandbox.

Everything that can be refused is refused before the first episode is played.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path

from harness.console.progress import ProgressBar, RunningScore
from harness.console.tables import describe_failures, format_legend, format_table
from harness.console.text import printable
from harness.data.schema import Record, Summary
from harness.errors import NothingAccepted, UsageError
from harness.evaluation.evaluate import PlayedRun, find_unlike, note_learnt, play_run, play_unlike
from harness.evaluation.first_reply import MAX_WAIT
from harness.evaluation.manifest import make_manifest
from harness.evaluation.plan import Plan, Player, switch_of
from harness.evaluation.versions import name_manifest, name_summary, name_tasks
from harness.metrics import shown_in
from harness.models import is_free
from harness.redaction import Redactor
from harness.runs.averages import compare_results
from harness.runs.directory import RunDirectory
from harness.runs.learnt import describe_learnt
from harness.runs.names import directory_name
from harness.runs.prices import Budget, Price
from harness.runs.results import EpisodeResult
from harness.runs.summary import heeded_reasoning
from harness.runs.unread_calls import warn_unread_calls
from harness.sandbox import Sandbox, SandboxConfig
from harness.tool_faults import ToolFaults
from harness.types import Model, Reasoning, SimulatedUser


@dataclass(frozen=True)
class Evaluation:
    """What the command line asked for: `plan` without its reasoning, and the reasoning modes."""

    plan: Plan
    models: Sequence[Model]
    reasonings: Sequence[Reasoning]
    out: Path
    resume: bool = False
    quiet: bool = False
    concurrency: int = 16
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    redact: Redactor = field(default_factory=Redactor)
    budget: Budget = field(default_factory=Budget)
    prices: Mapping[str, Price] = field(default_factory=dict)
    user: SimulatedUser | None = None
    user_price: Price | None = None
    max_wait: float = MAX_WAIT
    faults: ToolFaults | None = None

    def run(self) -> int:
        """Plays and reports. Returns the exit status; raises UsageError before anything is played."""
        with Sandbox(self.sandbox) as sandbox, ExitStack() as user, ExitStack() as open_models:
            if self.user is not None:
                user.callback(self.user.model.close)
            runs = list(self._runs(sandbox))
            self._check(runs)
            found: list[tuple[_PlannedRun, PlayedRun]] = []
            refused: Model | None = None
            for run, following in zip(runs, [*runs[1:], None], strict=True):
                open_models.callback(run.player.model.close)
                if run.player.model is not refused:
                    played = self._play(run)
                    found += [] if played is None else [(run, played)]
                    refused = run.player.model if played is None else None
                if following is None or following.player.model is not run.player.model or self.budget.limit_reached:
                    self._play_unlike(found, run.player.model)
                    open_models.close()  # a network makes room for the next one
                if self.budget.limit_reached:
                    break
        return self._report([run for run, _ in found], [played for _, played in found], len(runs)) if found else 1

    def _runs(self, sandbox: Sandbox) -> Iterator[_PlannedRun]:
        several = len(self.models) > 1
        for model in self.models:
            price = self.prices.get(model.name)
            player = Player(
                model,
                sandbox,
                self.concurrency,
                self.redact,
                self.budget,
                price,
                self.user,
                self.user_price,
                self.max_wait,
                self.faults,
            )
            folder = self._folder_of(model) if several else self.out
            reasonings = reasoning_modes_of(model, self.reasonings, several)
            for reasoning in reasonings:
                label = Path(reasoning.label.replace(":", "-")) if len(reasonings) > 1 else Path()
                yield _PlannedRun(player, replace(self.plan, reasoning=reasoning), folder / label)

    def _folder_of(self, model: Model) -> Path:
        """A model's directory among several; one that an earlier version began keeps the name that it has."""
        earlier = self.out / model.name.replace("/", "-")
        return earlier if self.resume and earlier.exists() else self.out / directory_name(model.name)

    def _check(self, runs: Sequence[_PlannedRun]) -> None:
        """Refuses before the first run what would be refused before the last."""
        paths = [run.path for run in runs]
        if len(set(paths)) < len(paths):
            raise UsageError("Two of these models would write to one directory; evaluate them one by one.")
        if len(runs) > 1 and (self.out / "manifest.json").exists():
            raise UsageError(f"{self.out} is a single run; several need a directory of their own.")
        for run in runs:
            RunDirectory.check(run.path, make_manifest(run.plan, run.player), self.resume)

    def _play(self, run: _PlannedRun) -> PlayedRun | None:
        """None where the endpoint accepted nothing: its sentence is printed, and there is no score."""
        try:
            play = partial(play_run, run.plan, run.player, run.path, self.resume)
            return self._watched(run, run.plan.episodes, play)
        except NothingAccepted as error:
            said = f"{error} Nothing was scored; once that is mended, go on with the same "
            said += f"command and --resume --out {self.out}."
            print(printable(said), file=sys.stderr)
            return None

    def _watched(
        self, run: _PlannedRun, episodes: int, play: Callable[[Callable[[Record], None]], PlayedRun]
    ) -> PlayedRun:
        try:
            with ProgressBar("episode", self.quiet) as progress:
                progress.begin(run.label, episodes)
                return play(RunningScore(progress, run.plan.tasks[0].headline))
        except KeyboardInterrupt:
            said = f"Interrupted. What was played is kept; go on with the same command and --resume --out {self.out}."
            print(printable(said), file=sys.stderr)
            raise

    def _play_unlike(self, found: list[tuple[_PlannedRun, PlayedRun]], model: Model) -> None:
        """What one mode has learnt of the endpoint holds for the other: episodes that were played before are played
        again, as far as the budget goes, and else the manifest says how many they are."""
        own = [place for place, (run, _) in enumerate(found) if run.player.model is model]
        while len(own) > 1 and not self.budget.limit_reached:
            unlike = [place for place in own if find_unlike(found[place][0].plan, model)]
            if not unlike:
                break
            run, played = found[unlike[0]]
            play = partial(play_unlike, run.plan, run.player, played)
            found[unlike[0]] = run, self._watched(run, len(find_unlike(run.plan, model)), play)
        for run, played in (found[place] for place in own):
            note_learnt(played.directory, model, run.plan.reasoning, over=True)

    def _report(self, runs: Sequence[_PlannedRun], played: Sequence[PlayedRun], planned: int) -> int:
        named = [(one, one.directory.manifest, name_tasks(one.directory.manifest)) for one in played]
        shown = [name_summary(one.summary, manifest, names) for one, manifest, names in named]
        groups = [name_manifest(manifest, names)["groups"] for _, manifest, names in named]
        print(printable(format_table(shown, groups, by_task=len(runs) == 1)))
        print(printable(f"\n{format_legend(shown)}\n"))
        for run, one in zip(runs, played, strict=True):
            told = (*warn_unread_calls(one.results), *describe_failures(one.results))
            for line in (*told, *_remarks(one.directory, one.summary, one.results)):
                print(printable(f"{run.label}: {line}"))
        for line in _differences(runs, played):
            print(printable(line))
        print(printable(f"Transcripts and scores: {self.out}" + ("/ (one directory a run)" if planned > 1 else "")))
        complete = len(runs) == planned and all(one.is_complete for one in played)
        lost = any("infrastructure_error" in entry["outcomes"] for s in shown for entry in s["tasks"].values())
        if self.budget.limit_reached:
            left = lost or not complete
            said = self._stopped() if left else f"Passed by the last episodes: {self.budget.limit_reached}."
            print(printable(said), file=sys.stderr)
        return 1 if lost or not complete else 0

    def _stopped(self) -> str:
        return (
            f"Stopped: {self.budget.limit_reached}. Episodes are left to play; go on with the same command, a "
            f"higher limit and --resume --out {self.out}."
        )


def reasoning_modes_of(model: Model, asked: Sequence[Reasoning], several: bool) -> Sequence[Reasoning]:
    """The reasoning modes that a model is played in. One without a switch, among several, is played as it is; by
    itself it is refused, by a UsageError, as is a mode that a model does not have."""
    if several and asked[0].mode != "default" and model.switch(asked[0]) is None:
        print(printable(f"{model.name} has no reasoning to switch: played once, as it is."), file=sys.stderr)
        return (Reasoning(),)
    for reasoning in asked:
        switch_of(model, reasoning)
    return asked


@dataclass(frozen=True)
class _PlannedRun:
    player: Player
    plan: Plan
    path: Path

    @property
    def label(self) -> str:
        mode = self.plan.reasoning.label
        return self.player.model.name + ("" if mode == "default" else f" ({mode})")


def _remarks(directory: RunDirectory, summary: Summary, results: Sequence[EpisodeResult]) -> Iterator[str]:
    """What a reader of the table should know besides: what the endpoint refused, a switch that was not heeded, two
    parsers that disagree, cost."""
    yield from describe_learnt(directory.manifest, len(results))
    seen = summary["reasoning_seen"]
    if heeded_reasoning(summary) is False:
        asked = summary["reasoning"]
        found = f"it reasoned in {seen['episodes']} of {seen['of']} episodes" if asked == "off" else "no reasoning seen"
        if refused := seen.get("refused"):
            found = f"the endpoint refused the switch in {refused} of {seen['of']} episodes"
        yield f"WARNING: the reasoning switch was not heeded: {asked} was asked, and {found}"
    noted = [result for result in results if result.notes]
    if noted:
        example = f"{noted[0].sample}, {noted[0].notes[0]}"
        yield f"{len(noted)} episodes with a remark on a turn, for example {example}"
    usage = summary["usage"]
    if usage["input_tokens"] or usage["output_tokens"]:
        kinds = f"{usage['input_tokens']:,} tokens in ({usage['cached_tokens']:,} cached), "
        kinds += f"{usage['output_tokens']:,} out ({usage['reasoning_tokens']:,} of reasoning)"
        yield kinds + (f", ${summary['cost']:.4f}" if summary["cost"] is not None else "")
    elif usage["requests"] and not is_free(summary["model"]):
        yield "no token counts: the endpoint gave none"
    if (user := summary.get("user")) and (user["usage"]["input_tokens"] or user["usage"]["output_tokens"]):
        kinds = f"{user['usage']['input_tokens']:,} tokens in, {user['usage']['output_tokens']:,} out"
        cost = f", ${user['cost']:.4f}" if user["cost"] is not None else ""
        yield f"the simulated user {', '.join(user['model'])}: {kinds}{cost}"


def _differences(runs: Sequence[_PlannedRun], played: Sequence[PlayedRun]) -> Iterator[str]:
    """For every model that was played in two modes: the second minus the first on the same episodes."""
    usual = {metric.name: metric.heading for metric in shown_in("modes")}
    for index, (first, second) in enumerate(pairwise(runs)):
        if first.player.model is not second.player.model:
            continue
        parts, bounds = [], ""
        manifest = played[index].directory.manifest
        own = sorted({task["headline"] for task in manifest["tasks"].values()} - usual.keys())
        for metric, heading in {**usual, **dict(zip(own, own, strict=True))}.items():
            difference = compare_results(manifest, played[index].results, played[index + 1].results, metric)
            if difference.value is not None:
                between = "" if difference.ci95 is None else " [{:+.3f}, {:+.3f}]".format(*difference.ci95)
                bounds = ", 95 % intervals" if between else bounds
                parts.append(f"{heading} {difference.value:+.3f}{between}")
        name, modes = first.player.model.name, f"{second.plan.reasoning.label} minus {first.plan.reasoning.label}"
        yield f"{name}, {modes}, paired{bounds}: {', '.join(parts) or 'no episode in common'}"
