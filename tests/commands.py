"""Running the command line as a person does: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from builders import ROOT

PROVIDERS = ("OPENAI_", "ANTHROPIC_", "GEMINI_", "GOOGLE_", "HARNESS_")


def environment(**changes: str) -> dict[str, str]:
    """An environment without keys or endpoints of the person who runs the tests."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(PROVIDERS)}
    return {**base, **changes}


def command(*arguments: object) -> list[str]:
    """The words of a `harness` call."""
    return [sys.executable, "-W", "error", "-m", "harness.cli", *map(str, arguments)]


def harness(*arguments: object, cwd: Path = ROOT, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs `harness ARGUMENTS` to its end."""
    return subprocess.run(
        command(*arguments), cwd=cwd, env=environment(**env), capture_output=True, text=True, timeout=300, check=False
    )


def episodes(path: Path, torn: bool = False) -> list[dict[str, Any]]:
    """Every line of a run's samples.jsonl, as it stands; the last may be `torn`."""
    lines = (path / "samples.jsonl").read_text(encoding="utf-8").split("\n")
    return [json.loads(line) for line in (lines[:-1] if torn else filter(None, lines))]


def summary(path: Path) -> dict[str, Any]:
    """A run's summary."""
    found: dict[str, Any] = json.loads((path / "summary.json").read_text(encoding="utf-8"))
    return found


def one_sentence(done: subprocess.CompletedProcess[str]) -> str:
    """What bad input must give: status 2, one line on stderr, nothing on stdout, no traceback."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr
