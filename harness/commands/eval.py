"""Evaluate models on tasks: one run directory a model, then one table."""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.options import add_data_option, at_least, data_paths, pairs, positive_number, temperature
from harness.errors import UsageError
from harness.terminal import printable
from harness.types import Limits, Model, Sampling

if TYPE_CHECKING:
    from harness.evaluate import Plan, Player
    from harness.redaction import Redactor
    from harness.sandbox import Sandbox

HELP = "evaluate models on tasks, with the scores' uncertainty, failures and transcripts"
MAX_TOKENS = {"default": 8192, "paper": 1024}
"""New tokens a turn by --settings; the paper gives 1,024 without reasoning (method: interaction and score)."""


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--model", nargs="+", action="extend", required=True, metavar="M", help="model names; globs over policy/*")
    add(
        "--tasks",
        nargs="+",
        action="extend",
        required=True,
        metavar="GLOB",
        help="task names, globs, paths of data or task files",
    )
    add_data_option(parser)
    add("--limit", type=at_least(1), metavar="N", help="N samples a task: a seeded, stratified subset")
    add("--samples", nargs="+", action="extend", metavar="ID", help="only these samples")
    add("--epochs", type=at_least(1), default=1, metavar="K", help="play every sample K times (default 1)")
    add("--settings", choices=list(MAX_TOKENS), default="default", help="paper: 1,024 new tokens a turn, not 8,192")
    add("--max-turns", type=at_least(1), default=20, metavar="N", help="turns an episode (default 20)")
    add("--temperature", type=temperature, default=0.0, metavar="T", help="sampling temperature (default 0)")
    add("--max-tokens", type=at_least(1), metavar="N", help="new tokens a turn")
    add("--max-episode-tokens", type=at_least(1), metavar="N", help="output tokens an episode (default: no limit)")
    add("--max-episode-seconds", type=positive_number, default=3600.0, metavar="S", help="an episode's time (3600)")
    add("--concurrency", type=at_least(1), default=16, metavar="N", help="episodes at once (default 16)")
    add("--seed", type=int, metavar="S", help="seeds subsets, policy/random and, where given, the provider's sampling")
    add("--sandbox", choices=["jail", "weak"], default="jail", help="weak: run tools even where isolation is missing")
    add("--out", type=Path, metavar="DIR", help="run directory (default results/runs/TIME-MODEL)")
    add("--resume", action="store_true", help="go on with the run in --out")
    add("--dry-run", action="store_true", help="say what would be played; send nothing")
    add("--base-url", metavar="URL", help="an OpenAI-compatible endpoint (also OPENAI_BASE_URL)")
    add("--model-arg", nargs="+", action="extend", default=[], metavar="K=V", help="options of the model's backend")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is played if the input is bad."""
    from harness.models import ModelOptions, expand, load
    from harness.redaction import Redactor

    if args.resume and args.out is None:
        raise UsageError("--resume needs --out: the directory of the run to go on with.")
    names = expand(args.model)
    plan = _plan(args)
    redact = Redactor()
    given = pairs(args.model_arg, "--model-arg")
    only_policies = all(name.startswith("policy/") for name in names)
    models = []
    for name in names:
        own = given if only_policies or not name.startswith("policy/") else {}
        options = ModelOptions(own, args.base_url, args.concurrency, args.seed, redact=redact)
        models.append(load(name, options))
    models = _able(models, plan, named={pattern for pattern in args.model if "*" not in pattern})
    if args.dry_run:
        return _dry_run(models, plan, args)
    return _Evaluation(args, plan, models, redact).run()


def _able(models: list[Model], plan: Plan, named: set[str]) -> list[Model]:
    """The models that can play the plan. One that a glob brought in is left out aloud; one that was named, or when
    none is left, is an error."""
    samples = [sample for chosen in plan.samples.values() for sample in chosen]
    able: list[Model] = []
    reason: UsageError | None = None
    for model in models:
        try:
            if (check := getattr(model, "check", None)) is not None:
                check(samples)
            able.append(model)
        except UsageError as error:
            if model.name in named:
                raise
            reason = error
            print(printable(f"Left out {model.name}: {error}"), file=sys.stderr)
    if reason is not None and not able:
        raise reason
    return able


def _plan(args: argparse.Namespace) -> Plan:
    from harness.evaluate import Plan, choose, pick
    from harness.registry import groups_of, is_path, load_samples, select_tasks, split_patterns

    data = data_paths(args.data)
    tasks = select_tasks(args.tasks, data)
    samples = load_samples(tasks)
    tasks = [task for task in tasks if task.name in samples]
    if args.samples:
        samples = pick(samples, args.samples)
        tasks = [task for task in tasks if samples[task.name]]
        samples = {task.name: samples[task.name] for task in tasks}
    seed = args.seed or 0
    return Plan(
        tasks=tasks,
        samples={name: choose(chosen, name, args.limit, seed) for name, chosen in samples.items()},
        groups=groups_of(tasks, data),
        sampling=Sampling(args.temperature, args.max_tokens or MAX_TOKENS[args.settings], args.seed),
        limits=Limits(args.max_turns, args.max_episode_tokens, args.max_episode_seconds),
        epochs=args.epochs,
        seed=seed,
        sources={
            "tasks": [str(Path(part).resolve()) if is_path(part) else part for part in split_patterns(args.tasks)],
            "data": {name: str(path.resolve()) for name, path in data.items()},
        },
    )


def _dry_run(models: list[Model], plan: Plan, args: argparse.Namespace) -> int:
    """Requests are bounded, not guessed: at least one an episode, at most --max-turns."""
    from harness import jsonio

    prompt = [
        len("".join(m.content for m in sample.messages)) + len(jsonio.canonical([t.parameters for t in sample.tools]))
        for chosen in plan.samples.values()
        for sample in chosen
    ]
    tokens = args.epochs * sum(prompt) // 4
    for model in models:
        print(f"{model.name}: {plan.episodes} episodes of {', '.join(plan.samples)}")
    print(
        f"A model needs {plan.episodes} requests if it never calls a tool and at most "
        f"{plan.episodes * args.max_turns}; the first request of every episode together is about "
        f"{tokens:,} input tokens (a quarter of the characters)."
    )
    return 0


@dataclass
class _Evaluation:
    """One command's runs, one after the other in one sandbox."""

    args: argparse.Namespace
    plan: Plan
    models: list[Model]
    redact: Redactor

    def run(self) -> int:
        from harness.sandbox import Sandbox, SandboxConfig

        out = self.args.out or self._default_out()
        directories = [self._directory(out, model) for model in self.models]
        with Sandbox(SandboxConfig(mode=self.args.sandbox)) as sandbox:
            players = [self._player(model, sandbox) for model in self.models]
            self._check(players, directories, out)
            summaries = [self._play(player, path) for player, path in zip(players, directories, strict=True)]
        return self._report(summaries, directories, out)

    def _default_out(self) -> Path:
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        label = self.models[0].name.replace("/", "-") if len(self.models) == 1 else f"{len(self.models)}-models"
        path = Path("results") / "runs" / f"{time}-{label}"
        again = (path.with_name(f"{path.name}-{number}") for number in count(2))
        return path if not path.exists() else next(other for other in again if not other.exists())

    def _player(self, model: Model, sandbox: Sandbox) -> Player:
        from harness.evaluate import Player

        return Player(model, sandbox, self.args.concurrency, self.redact)

    def _check(self, players: list[Player], directories: list[Path], out: Path) -> None:
        """Refuses before the first model plays what would be refused before the last."""
        from harness.evaluate import manifest_of
        from harness.runs import RunDirectory

        if len(set(directories)) < len(directories):
            raise UsageError("Two of these models would write to one directory; evaluate them one by one.")
        if len(players) > 1 and (out / "manifest.json").exists():
            raise UsageError(f"{out} is the run of one model; several models need a directory of their own.")
        for player, path in zip(players, directories, strict=True):
            RunDirectory.check(path, manifest_of(self.plan, player), self.args.resume)

    def _directory(self, out: Path, model: Model) -> Path:
        return out if len(self.models) == 1 else out / model.name.replace("/", "-")

    def _play(self, player: Player, path: Path) -> dict[str, Any]:
        from harness.evaluate import evaluate
        from harness.progress import Progress

        headline = self.plan.tasks[0].headline
        try:
            with Progress(player.model.name, self.plan.episodes, headline, self.args.quiet) as progress:
                return evaluate(self.plan, player, path, self.args.resume, progress)
        except KeyboardInterrupt:
            folder = path if len(self.models) == 1 else path.parent
            said = f"Interrupted. What was played is kept; go on with the same command and --resume --out {folder}."
            print(printable(said), file=sys.stderr)
            raise

    def _report(self, summaries: list[dict[str, Any]], directories: list[Path], out: Path) -> int:
        from harness.display import LEGEND, ill_ends, table
        from harness.runs import RunDirectory

        runs = [RunDirectory.open(path) for path in directories]
        print(printable(table(summaries, [run.manifest["groups"] for run in runs], by_task=len(runs) == 1)))
        print(f"\n{LEGEND}\n")
        lost = False
        for summary, run in zip(summaries, runs, strict=True):
            for end in ill_ends(run.records()):
                print(printable(f"{summary['model']}: {end}"))
            lost |= any("infrastructure_error" in entry["outcomes"] for entry in summary["tasks"].values())
        print(printable(f"Transcripts and scores: {out}" + ("/ (one directory a model)" if len(runs) > 1 else "")))
        return 1 if lost else 0
