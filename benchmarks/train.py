"""What the harness adds to a step of training: the rollout, the sandbox and the scores, beside the network's own work.

    python benchmarks/train.py [--steps 6]

The recipe `tiny` from bundled/tiny-base, without validation and test. A step's time is split into the network's
generating, its learning (scoring, backward pass, optimiser: TRL's), and the rest, which is ours. Stated limit: the rest
takes at most a tenth of a step. The first step is left out, medians of the others.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tabulate import tabulate

LIMIT = 0.1


def main() -> int:
    """Prints a table; exits with 1 where the rest is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as out:
        steps = measured(args.steps, Path(out))[1:]
    medians = {name: statistics.median(step[name] for step in steps) for name in steps[0]}
    whole = medians["step"]
    rows = [(name, f"{seconds:.2f}", f"{seconds / whole:.1%}") for name, seconds in medians.items()]
    print(tabulate(rows, headers=("", "seconds", "of a step"), disable_numparse=True))
    print(f"the rest: {medians['rest'] / whole:.1%} of a step, limit {LIMIT:.0%}")
    return 0 if medians["rest"] <= LIMIT * whole else 1


def measured(steps: int, out: Path) -> list[dict[str, float]]:
    """The seconds of every step by part."""
    from harness.models.local import check_folder, prepare_environment

    prepare_environment()
    from harness.models.hf import load_weights
    from trainer import bundled, policy, recipe, reinforce, rl
    from trainer.course import prepare
    from trainer.generation import Episodes
    from trainer.settings import Training

    settings = recipe.load("tiny", {"steps": str(steps), "validation": "0", "test": "0", "environments": "100"})
    assert isinstance(settings, Training)
    path = bundled.path("tiny-base")
    check_folder("bundled/tiny-base", path, {})
    model = reinforce.checked_model(settings, "bundled/tiny-base", path)
    course = prepare(settings, [], {}, out, lambda *told: None)
    network: list[float] = []
    playing: list[float] = []
    policy.continue_rows = clocked(policy.continue_rows, network)  # type: ignore[attr-defined]
    Episodes.generate = clocked(Episodes.generate, playing)  # type: ignore[method-assign]
    found: list[dict[str, float]] = []

    def watch(*told: Any) -> None:
        """Called after every step."""
        now = time.perf_counter()
        generating, played, step = sum(network), sum(playing), now - began[0]
        parts = {"generating": generating, "learning": step - played, "rest": played - generating, "step": step}
        found.append(parts)
        network.clear()
        playing.clear()
        began[0] = now

    began = [time.perf_counter()]
    rl.fit(course, model, load_weights(model, settings.dtype, "cpu"), out, watch)
    return found


def clocked(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    """The function, which notes how long each call took."""

    def timed(*args: Any, **more: Any) -> Any:
        started = time.perf_counter()
        try:
            return function(*args, **more)
        finally:
            seconds.append(time.perf_counter() - started)

    return timed


if __name__ == "__main__":
    sys.exit(main())
