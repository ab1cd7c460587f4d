"""Evaluate models on tasks: one run directory a model, then one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.options import add_data_option, at_least, data_paths, pairs, positive_number, temperature
from harness.errors import UsageError
from harness.terminal import printable
from harness.types import Limits, Model, Sampling

if TYPE_CHECKING:
    from harness.evaluate import Plan
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
    options = ModelOptions(
        args=pairs(args.model_arg, "--model-arg"),
        base_url=args.base_url,
        concurrency=args.concurrency,
        seed=args.seed,
        redact=redact,
    )
    models = [load(name, options) for name in names]
    samples = [sample for chosen in plan.samples.values() for sample in chosen]
    for model in models:
        if (check := getattr(model, "check", None)) is not None:
            check(samples)
    if args.dry_run:
        return _dry_run(models, plan, args)
    return _Evaluation(args, plan, models, redact).run()


def _plan(args: argparse.Namespace) -> Plan:
    from harness.evaluate import Plan, choose, pick
    from harness.registry import groups_of, load_samples, select_tasks

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
            "tasks": [str(Path(text).resolve()) if Path(text).exists() else text for text in args.tasks],
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
    redact: Callable[[str], str]

    def run(self) -> int:
        from harness.sandbox import Sandbox, SandboxConfig

        out = self.args.out or self._default_out()
        directories = [self._directory(out, model) for model in self.models]
        with Sandbox(SandboxConfig(mode=self.args.sandbox)) as sandbox:
            summaries = [self._play(model, sandbox, path) for model, path in zip(self.models, directories, strict=True)]
        return self._report(summaries, directories, out)

    def _default_out(self) -> Path:
        time = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        label = self.models[0].name.replace("/", "-") if len(self.models) == 1 else f"{len(self.models)}-models"
        return Path("results") / "runs" / f"{time}-{label}"

    def _directory(self, out: Path, model: Model) -> Path:
        return out if len(self.models) == 1 else out / model.name.replace("/", "-")

    def _play(self, model: Model, sandbox: Sandbox, path: Path) -> dict[str, Any]:
        from harness.evaluate import Player, evaluate
        from harness.progress import Progress

        player = Player(model, sandbox, self.args.concurrency, self.redact)
        headline = self.plan.tasks[0].headline
        try:
            with Progress(model.name, self.plan.episodes, headline, self.args.quiet) as progress:
                return evaluate(self.plan, player, path, self.args.resume, progress)
        except KeyboardInterrupt:
            print(
                f"Interrupted. What was played is kept; go on with the same command and --resume --out "
                f"{path if len(self.models) == 1 else path.parent}.",
                file=sys.stderr,
            )
            raise

    def _report(self, summaries: list[dict[str, Any]], directories: list[Path], out: Path) -> int:
        from harness.display import LEGEND, ill_ends, table
        from harness.runs import RunDirectory

        print(printable(table(summaries, by_task=len(summaries) == 1)))
        print(f"\n{LEGEND}\n")
        lost = False
        for summary, path in zip(summaries, directories, strict=True):
            for end in ill_ends(RunDirectory.open(path).records()):
                print(printable(f"{summary['model']}: {end}"))
            lost |= any("infrastructure_error" in entry["outcomes"] for entry in summary["tasks"].values())
        print(f"Transcripts and scores: {out}" + ("/ (one directory a model)" if len(directories) > 1 else ""))
        return 1 if lost else 0
