"""One hostile episode beside others, in ten ways: each is stopped, and the others have the records of an undisturbed
run. Played by benchmarks/hostile.py, as whoever runs the tests and, where that is root, as an ordinary user."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sandbox_tools as tools

SCRIPT = Path(__file__).parents[2] / "benchmarks/hostile.py"
STOPPED = {
    "slow": {"timeout", "refused"},
    "flood": {"truncated", "refused"},
    "many": {"ok", "refused"},
    "exits": {"killed", "refused"},
}
"""How the calls of some ways may end; all of a turn's calls beyond its limits are refused."""


def play_as(user: str) -> str:
    if user == "nobody" and os.getuid() != 0:
        pytest.skip("only root can become another user: attacks were tried as the current user only")
    python = sys.executable if user == "me" else tools.interpreter_for_nobody()
    if python is None:
        pytest.skip("no Python of this version that an ordinary user may run: attacks were tried as root only")
    with tools.readable_by_nobody("numpy", "scipy") as folder:
        shutil.copy(SCRIPT, folder)
        command = [*([] if user == "me" else tools.AS_NOBODY), python, str(folder / SCRIPT.name), "--smoke"]
        environment = tools.environment_for(folder)
        done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("user", ["me", "nobody"])
def test_no_neighbour_pays_for_a_hostile_episode(user: str) -> None:
    rows = [line.strip("| ").split(" | ") for line in play_as(user).splitlines() if line.startswith("| ")][1:]
    assert len(rows) == 10
    for kind, told, differing, *_ in rows:
        assert differing == "0 of 7", kind
        ended = {part.split()[1] for part in told.split(", ")}
        assert ended <= STOPPED.get(kind, ended | {"refused"})
    refused = {kind for kind, told, *_ in rows if "refused" in told}
    assert refused >= {"slow", "flood", "many"}  # by seconds, bytes and number; of memory it depends on when one looks
