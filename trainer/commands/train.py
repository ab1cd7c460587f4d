"""Train a model on environments, by a recipe.

--regime episode: whole episodes, rewarded at their end. --regime step: turn by turn. Both are judged by
the evaluation's own verifier. --regime sft: supervised warm-up of a small network on what a demonstrator with
documented flaws plays; a new network is made where no --model is given.

    harness train --recipe tiny --model bundled/tiny-base --out trained

What is not said is the recipe's, or the regime's default. An interrupted run goes on with --resume.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.options import add_data_option, parse_data_paths, parse_pairs
from harness.console.text import printable
from harness.errors import UsageError
from harness.registry import suggest_names
from trainer import distributed
from trainer.rl.algorithms import join_algorithm_names

if TYPE_CHECKING:
    from harness.types import JSONObject
    from trainer.rl.settings import RLRecipe
    from trainer.sft.settings import SFTRecipe
    from trainer.sft.train import InitialWeights, ProgressCallback

HELP = "train a model on environments, by a recipe"
REGIMES = ("step", "episode", "sft")
SAID = ("algorithm", "reward")
"""Options that are values of a recipe."""
BUNDLED = "bundled/"


def configure(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--regime", choices=REGIMES, help="what is rewarded: turns, whole episodes, or (sft) demonstrations imitated")
    add("--recipe", metavar="R", help="a recipe's name, or a path to a TOML file")
    add("--model", metavar="M", help="go on from a model directory or bundled/NAME (sft only: default a new network)")
    add(
        "--tasks",
        nargs="+",
        action="extend",
        default=[],
        metavar="T",
        help="training tasks or files (default: built by the recipe)",
    )
    add("--algorithm", metavar="A", help=join_algorithm_names())
    add("--reward", metavar="R", help="the reward's name (default: mended_f1 a step, episode_f1 an episode)")
    add("--out", type=Path, required=True, metavar="DIR", help="the run directory; DIR/model is the result")
    add_data_option(parser)
    add("--set", nargs="+", action="extend", default=[], metavar="K=V", help="single values of the recipe")
    add("--resume", action="store_true", help="go on with an interrupted run in DIR")
    add("--quiet", action="store_true", help="no progress bar")


def run(args: argparse.Namespace) -> int:
    """Raises UsageError before anything is built if the input is bad."""
    from harness.models.local.packages import check_packages, set_library_defaults
    from trainer.recipes import load as recipes
    from trainer.sft.settings import SFTRecipe

    said = {name: value for name in SAID if (value := getattr(args, name)) is not None}
    recipe = recipes.load_recipe(args.recipe, {**parse_pairs(args.set, "--set"), **said}, args.regime)
    start = _start(args.model)
    check_packages("training", ("torch", "transformers", "trl", "datasets", "accelerate"), "train")
    set_library_defaults()
    done = _warmed_up(args, recipe, start) if isinstance(recipe, SFTRecipe) else _reinforced(args, recipe, start)
    if distributed.is_main_process():
        print(printable(done))
    return 0


def _warmed_up(args: argparse.Namespace, recipe: SFTRecipe, start: InitialWeights) -> str:
    """The regime sft; returns what a person is told at the end."""
    from trainer.sft import train

    if distributed.is_distributed():
        raise UsageError("--regime sft trains in one process; start it without a launcher.")
    if args.tasks:
        raise UsageError("--regime sft takes its environments from the recipe (train_file), not from --tasks.")
    if args.recipe is None:
        raise UsageError("--recipe is missing: --regime sft needs one, such as tiny-base.")
    with _running(args, train.run_identity(recipe, start), recipe) as watch:
        manifest = train.read_finished_run(args.out) or train.train_sft(recipe, start, args.out, _command(args), watch)
    return _described(manifest, args.out)


def _reinforced(args: argparse.Namespace, recipe: RLRecipe, start: InitialWeights) -> str:
    """The regimes step and episode; returns what a person is told at the end, where this process leads."""
    from trainer.rl import data as course
    from trainer.rl import run as reinforce

    if start.path is None or start.name is None:
        raise UsageError("--model is missing: a model directory or bundled/NAME to go on from.")
    model = reinforce.check_model(recipe, start.name, start.path)
    course.check_tasks(recipe, args.tasks, parse_data_paths(args.data))
    with _running(args, reinforce.run_identity(recipe, start.name, start.path, args.tasks), recipe) as watch:
        done = reinforce.read_finished_run(args.out) or reinforce.train_rl(
            recipe, model, args.tasks, parse_data_paths(args.data), args.out, _command(args), watch
        )
    return reinforce.describe_result(done, args.out) if distributed.is_main_process() else ""


@contextmanager
def _running(
    args: argparse.Namespace, identity: JSONObject, recipe: SFTRecipe | RLRecipe
) -> Iterator[ProgressCallback]:
    """Around a run: its directory is claimed, and whoever interrupts it is told how to go on."""
    from harness.console.progress import ProgressBar
    from harness.runs.claims import claimed
    from trainer.recipes import load as recipes

    leads = distributed.is_main_process()
    find = partial(_check_out, args.out, identity, args.resume)
    begin = partial(_begin, args.out, identity, recipes.recipe_to_toml(recipe))
    claim = claimed(args.out, find, begin) if leads else nullcontext()
    with claim, ProgressBar(quiet=args.quiet or not leads) as progress:
        distributed.wait_for_everyone()
        try:
            yield progress.watch
        except KeyboardInterrupt:
            print(
                "Interrupted. What was done is kept; the same command with --resume goes on from the last checkpoint.",
                file=sys.stderr,
            )
            raise


def _start(model: str | None) -> InitialWeights:
    """Where the weights come from. Raises UsageError where there is no usable model."""
    from harness.models.local.folder import check_folder
    from trainer import bundled
    from trainer.sft.train import InitialWeights

    if model is None:
        return InitialWeights()
    path = Path(model)
    if model.startswith(BUNDLED) and not path.is_dir():
        name = model.removeprefix(BUNDLED)
        if name not in bundled.NAMES:
            raise UsageError(
                f"No model is called {model!r}.{suggest_names(model, [BUNDLED + name for name in bundled.NAMES])}"
            )
        path = bundled.model_path(name)
    check_folder(f"--model {model}", path, {})
    return InitialWeights(path, model)


def _check_out(out: Path, identity: JSONObject, resume: bool) -> JSONObject | None:
    """The identity of this run where `out` holds it; None where it can begin there. Raises UsageError where `out` holds
    anything else, or this run and --resume is not given."""
    from harness.data import jsonio
    from harness.runs.claims import is_free

    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is no directory; name another.")
    if not (out / "run.json").is_file():
        if not is_free(out, "recipe.toml", "run.json"):
            raise UsageError(f"--out {out} holds something else than a training run; name another directory.")
        return None
    try:
        there = jsonio.parse_json((out / "run.json").read_bytes())
    except (OSError, ValueError):
        there = None
    if there != identity:
        another = _differing(there, identity)
        raise UsageError(f"--out {out} holds another training run{another}; name another directory.")
    if not resume:
        raise UsageError(f"--out {out} holds this training run already; go on with it by --resume, or name another.")
    return identity


def _differing(there: Any, identity: JSONObject) -> str:
    """In which values of the recipe two runs differ, in brackets."""
    recipe = there.get("recipe") if isinstance(there, dict) else None
    if not isinstance(recipe, dict):
        return ""
    differing = [name for name, value in identity["recipe"].items() if recipe.get(name) != value]
    return f" (another {', '.join(differing or ['model'])})"


def _begin(out: Path, identity: JSONObject, recipe: str) -> JSONObject:
    """Writes what the run is, once."""
    from harness.data import jsonio

    jsonio.write_atomically(out / "recipe.toml", recipe)
    jsonio.write_json(out / "run.json", identity)
    return identity


def _command(args: argparse.Namespace) -> list[str]:
    """The command that gives this run again."""
    words = ["harness", "train"]
    for name in ("regime", "recipe", "model", *SAID):
        words += [f"--{name}", str(value)] if (value := getattr(args, name)) else []
    for name in ("tasks", "data", "set"):
        words += [f"--{name}", *value] if (value := getattr(args, name)) else []
    return words


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
