"""Every script of benchmarks/ measures something in seconds when it is asked for a --smoke."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
PARTS = {"process_costs", "scripted_server"}
"""What scripts import."""
ELSEWHERE = {"coverage", "sandbox", "long_runs", "hostile", "scaling"}
"""Scripts with tests of their own."""

SAYS = {
    "build": "environments",
    "careless_author": "5 environments built, 0 dropped",
    "gpu": "update behind one copy of the prompt",
    "hf_batch": "4 of 4 episodes have the same calls",
    "pace": "bucket: accepted in each second",
    "peers": "| aiohttp, bare loop |",
    "rehearsal": "# 15. what training changed",
    "report": "24 episodes of policy/random",
    "rollout": "| harness / bare client |",
    "soak": "0 lost, 0 twice, the summary of an undisturbed run",
    "startup": "harness --help",
    "train": "harness, step regime",
    "view": "24 episodes of a run in progress",
    "when_shortcuts": "words of question, each with the forms of values in force",
}


@pytest.fixture(scope="module")
def started():
    """All of them at once, because half of their time is waiting and importing."""
    for package in ("aiohttp", "trl", "playwright"):
        pytest.importorskip(package)
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    running = {
        name: subprocess.Popen([sys.executable, str(FOLDER / f"{name}.py"), "--smoke"], **piped) for name in SAYS
    }
    yield running
    for process in running.values():
        process.kill()
        process.communicate()


def test_every_script_is_here():
    assert {path.stem for path in FOLDER.glob("*.py")} - PARTS - ELSEWHERE == set(SAYS)


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_it_measures_in_seconds(name, started):
    said, errors = started[name].communicate(timeout=300)
    if started[name].returncode == 2 and "No Chromium" in errors:
        pytest.skip(errors.splitlines()[-1])
    assert started[name].returncode == 0, errors
    assert SAYS[name] in said
