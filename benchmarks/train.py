"""What the harness adds to a step of training: where a step's time goes, and steps a second beside plain TRL.

    python benchmarks/train.py [--steps 6] [--rounds 3] [--smoke] [--smollm2 [MODEL] [--generation 2]]

1. The recipe `tiny` from bundled/tiny-base, without validation and test. A step's time is split into the network's
   generating, its learning (scoring, backward pass, optimiser: TRL's), and the rest (rollout, sandbox, scores), ours.
   Stated limit: the rest takes at most a tenth of a step.
2. The step regime on collected prefixes, one turn a prompt, beside TRL's GRPOTrainer with the same settings on the same
   rendered prompts, whose reward is the parity of a completion's length. Goal: at least 0.95 of its steps a second.

With --smollm2 nothing of this is done but two steps of eight episodes by the recipe smollm2, from bundled/smollm2-135m
or another MODEL: CPU seconds an episode by part, and tokens an episode. Prompts of environments of generation 1 are
half as long as those of generation 2. It takes some minutes.

The first step is left out, medians of the others; the two of the second part take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from tabulate import tabulate

LIMIT, GOAL = 0.1, 0.95
SIZE = {"validation": "0", "test": "0", "environments": "100"}
SMALL = {**SIZE, "environments": "8", "prompts": "2", "samples": "2", "max_tokens": "8", "max_turns": "2"}


def main() -> int:
    """Prints two tables; exits with 1 where the rest is above its limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--smoke", action="store_true", help="a round of two small steps, held to no limit: seconds")
    parser.add_argument("--smollm2", nargs="?", const="bundled/smollm2-135m", metavar="MODEL")
    parser.add_argument("--generation", type=int, default=2, help="of the environments of --smollm2")
    args = parser.parse_args()
    if args.smollm2:
        return report_episodes(args.smollm2, args.generation)
    steps, rounds = (2, 1) if args.smoke else (args.steps, args.rounds)
    size = {**(SMALL if args.smoke else SIZE), "steps": str(steps)}
    with tempfile.TemporaryDirectory() as out:
        found = measured("tiny", "bundled/tiny-base", size, Path(out), time.perf_counter)[1:]
        medians = {name: statistics.median(step[name] for step in found) for name in found[0]}
        whole = medians["step"]
        rows = [(name, f"{seconds:.2f}", f"{seconds / whole:.1%}") for name, seconds in medians.items()]
        print(tabulate(rows, headers=("", "seconds", "of a step"), disable_numparse=True))
        print(f"the rest: {medians['rest'] / whole:.1%} of a step, limit {LIMIT:.0%}\n")
        ours, plain = beside_trl(size, rounds, Path(out))
    rows = [("harness, step regime", f"{ours:.2f}", f"{plain / ours:.2f}x"), ("plain TRL", f"{plain:.2f}", "")]
    print(tabulate(rows, headers=("", "seconds a step", "steps a second, of plain TRL"), disable_numparse=True))
    print(f"goal: {GOAL}x")
    return 0 if args.smoke or medians["rest"] <= LIMIT * whole else 1


def report_episodes(model: str, generation: int) -> int:
    """Prints CPU seconds an episode by part, of the second step: the first one warms up."""
    size = {
        **SIZE,
        "steps": "2",
        "prompts": "1",
        "samples": "8",
        "environments": "8",
        "max_flat": "0",
        "generation": str(generation),
        "chat_template": "chatml-tools",
    }
    with tempfile.TemporaryDirectory() as out:
        found = measured("smollm2", model, size, Path(out), cpu_seconds)[1]
        (line,) = (Path(out) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[1:]
    rows = [(name, f"{seconds / 8:.2f}") for name, seconds in found.items()]
    print(tabulate(rows, headers=("", "CPU seconds an episode"), disable_numparse=True))
    tokens = json.loads(line)["completions/mean_length"]
    print(f"{model}: 8 episodes, {tokens:.0f} tokens an episode behind the prompt, tools' among them")
    return 0


def cpu_seconds() -> float:
    """CPU time of this process and of what it ran."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def measured(
    recipe: str, name: str, size: dict[str, str], out: Path, clock: Callable[[], float]
) -> list[dict[str, float]]:
    """The seconds of every step by part."""
    from harness.models.local.packages import set_library_defaults

    set_library_defaults()
    from harness.models.local.hf import load_weights
    from trainer.recipes.load import load_recipe
    from trainer.recipes.run import find_initial_weights
    from trainer.rl import actor
    from trainer.rl.data import prepare_training
    from trainer.rl.generation import EpisodeGenerator
    from trainer.rl.run import check_model
    from trainer.rl.settings import RLRecipe
    from trainer.rl.trl_trainer import train_network

    settings = load_recipe(recipe, size)
    assert isinstance(settings, RLRecipe)
    path = find_initial_weights(name, {}).path
    assert path is not None
    model = check_model(settings, name, path)
    setup = prepare_training(settings, [], {}, out, lambda *told: None)
    network: list[float] = []
    playing: list[float] = []
    actor.generate_rows = clocked(actor.generate_rows, network, clock)  # type: ignore[attr-defined]
    EpisodeGenerator.generate = clocked(EpisodeGenerator.generate, playing, clock)  # type: ignore[method-assign]
    found: list[dict[str, float]] = []

    def watch(*told: Any) -> None:
        """Called after every step."""
        now = clock()
        generating, played, step = sum(network), sum(playing), now - began[0]
        parts = {"generating": generating, "learning": step - played, "rest": played - generating, "step": step}
        found.append(parts)
        network.clear()
        playing.clear()
        began[0] = now

    began = [clock()]
    train_network(setup, model, load_weights(model, "float32", "cpu"), out, watch)
    return found


def beside_trl(size: dict[str, str], rounds: int, out: Path) -> tuple[float, float]:
    """Median seconds of a step: the harness's step regime, and plain TRL."""
    from harness.models.local.hf import load_weights
    from trainer import bundled
    from trainer.recipes.load import load_recipe
    from trainer.rl.data import prepare_training
    from trainer.rl.generation import TurnGenerator
    from trainer.rl.run import check_model
    from trainer.rl.settings import RLRecipe
    from trainer.rl.trl_trainer import make_grpo_config, make_trainer, order_prompts

    settings = load_recipe("tiny-step", {**size, "prefixes": "given", "reward": "paper_f1"})
    assert isinstance(settings, RLRecipe)
    model = check_model(settings, "bundled/tiny-base", bundled.model_path("tiny-base"))
    (out / "step").mkdir()
    setup = prepare_training(
        settings, [str(collected(out, min(60, settings.environments)))], {}, out / "step", lambda *told: None
    )
    source = TurnGenerator(setup, model, out / "step")
    prefixes = [source.prefix_at(int(place)) for place in order_prompts(source.dataset_rows(), settings)]
    texts = [render(model, prefix, setup.reasoning) for prefix in prefixes]
    found: dict[str, list[float]] = {"ours": [], "plain": []}
    for _ in range(rounds):
        trainer = make_trainer(setup, source, model, load_weights(model, "float32", "cpu"), out / "ours", [])
        found["ours"] += timed_steps(trainer)
        found["plain"] += timed_steps(plain_trl(make_grpo_config(settings, out / "plain"), model, texts))
    return statistics.median(found["ours"]), statistics.median(found["plain"])


def render(model: Any, prefix: Any, reasoning: Any) -> str:
    """A prefix as the network reads it."""
    from harness.types import ModelRequest, Sampling

    sample = prefix.sample
    request = ModelRequest(
        prefix.messages, sample.tools, Sampling(), sample, turn=prefix.turn, task=prefix.task, reasoning=reasoning
    )
    text: str = model.prompter.prompt(request).text
    return text


def collected(out: Path, count: int) -> Path:
    """Prefixes of gold episodes on environments of the level micro."""
    environments, folder = out / "train.jsonl", out / "collected"
    where = ("--split", "train", "--seed", "11", "--out", str(environments))
    build = ("build", "--n", str(count), "--level", "micro", *where)
    collect = ("collect", "--model", "policy/oracle", "--tasks", str(environments), "--out", str(folder))
    for command in (build, collect):
        subprocess.run([sys.executable, "-m", "harness.cli", *command, "--quiet"], check=True, capture_output=True)
    return folder / "prefixes.jsonl"


def plain_trl(config: Any, model: Any, texts: Sequence[str]) -> Any:
    """TRL's own trainer on rendered prompts, with a reward that costs nothing."""
    from datasets import Dataset

    from harness.models.local.hf import load_weights
    from harness.models.local.packages import import_quietly

    def parity(completion_ids: Sequence[Sequence[int]], **more: Any) -> list[float]:
        return [float(len(ids) % 2) for ids in completion_ids]

    return import_quietly("trl").GRPOTrainer(
        model=load_weights(model, "float32", "cpu"),
        reward_funcs=[parity],
        args=config,
        train_dataset=Dataset.from_dict({"prompt": list(texts)}),
        processing_class=model.tokenizer,
    )


def timed_steps(trainer: Any) -> list[float]:
    """The seconds of every step but the first."""
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *given: Any, **more: Any) -> None:
            ends.append(time.perf_counter())

    trainer.add_callback(Clock())
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the libraries', which are for their authors
        trainer.train()
    return [after - before for before, after in pairwise(ends)]


def clocked(function: Callable[..., Any], seconds: list[float], clock: Callable[[], float]) -> Callable[..., Any]:
    """The function, which notes how long each call took."""

    def timed(*args: Any, **more: Any) -> Any:
        started = clock()
        try:
            return function(*args, **more)
        finally:
            seconds.append(clock() - started)

    return timed


if __name__ == "__main__":
    sys.exit(main())
