"""Train a model on environments, by a recipe.

--regime sft: supervised warm-up of a small network on what a demonstrator with documented flaws plays. A new network
is made where no --model is given. An interrupted run goes on with --resume.

    harness train --regime sft --recipe tiny-base --out warm-up
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.options import pairs
from harness.errors import UsageError
from harness.registry import near
from harness.terminal import printable

if TYPE_CHECKING:
    from harness.types import JSONObject
    from trainer.sft import Start

HELP = "train a model on environments, by a recipe"
REGIMES = ("sft",)
BUNDLED = "bundled/"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--regime", choices=REGIMES, required=True, help="how: supervised warm-up on demonstrations")
    add("--recipe", required=True, metavar="R", help="a recipe's name, or a path to a TOML file")
    add("--model", metavar="M", help="go on from a model directory or bundled/NAME (default: a new network)")
    add("--out", type=Path, required=True, metavar="DIR", help="the run directory; DIR/model is the result")
    add("--set", nargs="+", action="extend", default=[], metavar="K=V", help="single values of the recipe")
    add("--resume", action="store_true", help="go on with an interrupted run in DIR")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is built if the input is bad."""
    from harness.models.local import prepare_environment, require
    from harness.runs import locked
    from trainer import recipe as recipes

    recipe = recipes.load(args.recipe, pairs(args.set, "--set"), args.regime)
    start = _start(args.model)
    require("harness train", ("torch", "transformers", "trl", "datasets", "accelerate"), "train")
    prepare_environment()
    from trainer import sft

    _check_out(args.out, sft.identity(recipe, start), args.resume)
    args.out.mkdir(parents=True, exist_ok=True)
    with locked(args.out), _Bar(args.quiet) as bar:
        _claim(args.out, sft.identity(recipe, start), recipe.text())
        try:
            manifest = sft.finished(args.out) or sft.train(recipe, start, args.out, _command(args), bar)
        except KeyboardInterrupt:
            print(
                "Interrupted. What was done is kept; the same command with --resume goes on from the last checkpoint.",
                file=sys.stderr,
            )
            raise
    print(printable(_described(manifest, args.out)))
    return 0


def _start(model: str | None) -> Start:
    """Where the weights come from. Raises UsageError where there is no usable model."""
    from harness.models.local import check_folder
    from trainer import bundled
    from trainer.sft import Start

    if model is None:
        return Start()
    path = Path(model)
    if model.startswith(BUNDLED) and not path.is_dir():
        name = model.removeprefix(BUNDLED)
        if name not in bundled.NAMES:
            raise UsageError(f"No model is called {model!r}.{near(model, [BUNDLED + name for name in bundled.NAMES])}")
        path = bundled.path(name)
    check_folder(f"--model {model}", path, {})
    return Start(path, model)


def _check_out(out: Path, identity: JSONObject, resume: bool) -> None:
    """Raises UsageError where `out` holds anything but this run, or holds it and --resume is not given."""
    from harness import jsonio

    if not out.exists():
        return
    if not out.is_dir():
        raise UsageError(f"--out {out} is no directory; name another.")
    if not (out / "run.json").is_file():
        if any(entry.name != ".lock" for entry in out.iterdir()):
            raise UsageError(f"--out {out} holds something else than a training run; name another directory.")
        return
    try:
        there = jsonio.loads((out / "run.json").read_bytes())
    except (OSError, ValueError):
        there = None
    if there != identity:
        another = _differing(there, identity)
        raise UsageError(f"--out {out} holds another training run{another}; name another directory.")
    if not resume:
        raise UsageError(f"--out {out} holds this training run already; go on with it by --resume, or name another.")


def _differing(there: Any, identity: JSONObject) -> str:
    """In which values of the recipe two runs differ, in brackets."""
    recipe = there.get("recipe") if isinstance(there, dict) else None
    if not isinstance(recipe, dict):
        return ""
    differing = [name for name, value in identity["recipe"].items() if recipe.get(name) != value]
    return f" (another {', '.join(differing or ['model'])})"


def _claim(out: Path, identity: JSONObject, recipe: str) -> None:
    """Writes what the run is, once."""
    from harness import jsonio

    jsonio.write_atomically(out / "recipe.toml", recipe)
    jsonio.write_json(out / "run.json", identity)


def _command(args: argparse.Namespace) -> list[str]:
    """The command that gives this run again."""
    model = ["--model", args.model] if args.model else []
    changes = ["--set", *args.set] if args.set else []
    return ["harness", "train", "--regime", args.regime, "--recipe", args.recipe, *model, *changes]


class _Bar:
    """A progress bar that begins anew with every stage. Silent where nobody watches."""

    def __init__(self, quiet: bool) -> None:
        self._hidden = quiet or not sys.stderr.isatty()
        self._stage = ""
        self._bar: Any = None

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage != self._stage:
            from tqdm import tqdm

            self._close()
            self._stage = stage
            self._bar = tqdm(total=total, desc=stage, file=sys.stderr, disable=self._hidden, dynamic_ncols=True)
        self._bar.update(done - self._bar.n)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()

    def __enter__(self) -> _Bar:
        return self

    def __exit__(self, *error: object) -> None:
        self._close()


def _described(manifest: JSONObject, out: Path) -> str:
    from tabulate import tabulate

    data, metrics = manifest["data"], manifest["metrics"]
    rows = [
        ("from", manifest["from"] or "a new network"),
        ("parameters", f"{manifest['parameters']:,}"),
        ("episodes", f"{data['episodes']:,}"),
        ("tokens", f"{data['tokens']:,}, of them said by the assistant {data['said']:,}"),
        ("steps", f"{manifest['recipe']['steps']:,} of {manifest['recipe']['batch']} episodes"),
        *([("last loss", f"{metrics['loss']:.4f}")] if "loss" in metrics else []),
        *([("token accuracy", f"{metrics['token_accuracy']:.4f}")] if "token_accuracy" in metrics else []),
        ("seconds", f"{metrics['seconds']:.0f}"),
    ]
    return f"{tabulate(rows)}\n\n{out / 'model'} is the model; `harness eval --model hf/{out / 'model'}` evaluates it."
