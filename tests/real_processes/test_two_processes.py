"""Two processes train what one trains, in every regime and by every algorithm: copies of the network, and shards.

Runs only where it is asked for, because it takes minutes: tox -e processes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT
from commands import environment, harness
from fakes import cpu_shards

pytest.importorskip("trl", reason="needs the train extra")

from trainer.rl.algorithms import ALGORITHMS

pytestmark = pytest.mark.skipif("HARNESS_PROCESSES" not in os.environ, reason="takes minutes: tox -e processes")

MODES = {
    "episode": ["--recipe", "tiny"],
    "turns": ["--recipe", "tiny-step", "--set", "credit=turn", "refresh=2"],
    "returns": ["--recipe", "tiny-step", "--set", "credit=return"],
    "given": ["--recipe", "tiny-step", "--set", "credit=turn", "prefixes=given"],
}
SIZES = {
    "steps": 3, "prompts": 4, "samples": 4, "environments": 16, "micro_batch": 4, "validation": 4,
    "validate_every": 2, "save_every": 3, "test": 0, "kl": 0.1, "temperature": 2.0, "max_tokens": 48, "max_turns": 4,
}  # fmt: skip
"""Small, yet with a reference, a validation, and samples that differ within a group. One update a generation: of
several, each holds other episodes where there are more processes, as in TRL."""
LOGGED = ("reward", "loss", "grad_norm", "kl", "entropy", "clip_ratio/region_mean")
SAME = 2e-4
"""How far a logged number may be off, of one or more: sums are taken in another order, and steps build on steps."""


@pytest.fixture(scope="module")
def prefixes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prefixes of the network's own episodes."""
    folder = tmp_path_factory.mktemp("prefixes")
    words = ["--level", "micro", "--generation", 1, "--n", 16, "--quiet", "--out", folder / "train.jsonl"]
    assert harness("build", *words).returncode == 0
    words = ["--model", "bundled/tiny-base", "--tasks", folder / "train.jsonl", "--out", folder / "run", "--quiet"]
    collected = harness("collect", *words)
    assert collected.returncode == 0, collected.stderr
    return folder / "run" / "prefixes.jsonl"


def train(
    out: Path, mode: str, algorithm: str, prefixes: Path, processes: int = 1, shards: bool = False
) -> list[dict[str, Any]]:
    """Trains, and returns the lines of the run's metrics."""
    alone = [sys.executable]
    if processes > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        alone += ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", port]
    words = [
        *alone, cpu_shards.__file__, "train", *MODES[mode], "--model", "bundled/tiny-base", "--out", out, "--quiet",
        *(["--tasks", prefixes] if mode == "given" else []), "--algorithm", algorithm,
        "--set", *(f"{name}={value}" for name, value in SIZES.items()),
    ]  # fmt: skip
    done = subprocess.run(
        [*map(str, words)],
        cwd=ROOT,
        env={**environment(), "OMP_NUM_THREADS": "1", **(cpu_shards.SHARDS if shards else {})},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def alone(
    tmp_path_factory: pytest.TempPathFactory, prefixes: Path
) -> Callable[[str, str], tuple[Path, list[dict[str, Any]]]]:
    """The run of one process, played once."""
    found: dict[tuple[str, str], tuple[Path, list[dict[str, Any]]]] = {}

    def run(mode: str, algorithm: str) -> tuple[Path, list[dict[str, Any]]]:
        if (mode, algorithm) not in found:
            out = tmp_path_factory.mktemp("alone") / "run"
            found[mode, algorithm] = out, train(out, mode, algorithm, prefixes)
        return found[mode, algorithm]

    return run


@pytest.mark.parametrize("shards", [False, True], ids=["copies", "shards"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("mode", MODES)
def test_two_processes_train_what_one_trains(
    mode: str, algorithm: str, shards: bool, alone: Callable[[str, str], Any], prefixes: Path, tmp_path: Path
) -> None:
    folder, one = alone(mode, algorithm)
    two = train(tmp_path / "run", mode, algorithm, prefixes, 2, shards)
    assert [line["step"] for line in two] == [line["step"] for line in one]
    assert sum("validation" in line for line in one) >= 2
    for first, second in zip(one, two, strict=True):
        assert second.get("validation") == first.get("validation")
        for name in first.keys() & {*LOGGED}:
            assert second[name] == pytest.approx(first[name], rel=SAME, abs=SAME), (first["step"], name)
    assert any(line.get("grad_norm", 0) > 1e-2 for line in one)  # the loss of whitened advantages is about 0
    assert how_far(folder / "model", tmp_path / "run" / "model") < SAME


def how_far(one: Path, two: Path) -> float:
    """The largest difference between the weights of two models."""
    from safetensors.torch import load_file

    first, second = (load_file(folder / "model.safetensors") for folder in (one, two))
    assert first.keys() == second.keys()
    return max((first[name].float() - second[name].float()).abs().max().item() for name in first)
