"""Running lm-eval beside the harness, in processes of their own: its imports warn, and warnings are errors here."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from builders import ROOT
from commands import environment

needs_lm_eval = pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs lm-eval: pip install '.[lm-eval,local]'")
TINY = ROOT / "trainer" / "bundled" / "tiny-base"


def python(folder: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs this Python with some words, in a folder, with caches of its own and no hub."""
    caches = {"HF_HOME": str(folder / "hf"), "XDG_CACHE_HOME": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=folder,
        env=environment(**{**caches, "OPENAI_API_KEY": "none", "OMP_NUM_THREADS": "1", **env}),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def harness(folder: Path, *words: object, **env: str) -> subprocess.CompletedProcess[str]:
    """A `harness` call."""
    return python(folder, "-m", "harness.cli", *words, **env)


def lm_eval(folder: Path, module: str, *words: object, **env: str) -> dict[str, Any]:
    """A run of lm-eval's command line, stock (module lm_eval) or ours (tasks.lmeval): its results, with samples."""
    out = folder / "lm-eval"
    done = python(folder, "-m", module, "run", *words, "--output_path", out, "--log_samples", **env)
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = out.rglob("results_*.json")
    found: dict[str, Any] = json.loads(path.read_text())
    found["samples"] = {
        name: [json.loads(line) for line in next(out.rglob(f"samples_{name}_*.jsonl")).read_text().splitlines()]
        for name in found["results"]
        if any(out.rglob(f"samples_{name}_*.jsonl"))
    }
    return found
