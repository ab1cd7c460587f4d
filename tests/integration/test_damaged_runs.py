"""Run directories that a disk, an editor or a stranger has been at: every command that reads runs says so in one
sentence, or does its work."""

import json
import shutil
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.cli import main
from harness.console.text import printable
from harness.errors import UsageError
from harness.evaluation.evaluate import evaluate
from harness.evaluation.plan import Plan, Player
from harness.models import ModelOptions, load_model
from harness.registry import load_samples, select_tasks
from harness.sandbox import Sandbox
from results.view.folder import LiveFolder

TASKS = ["demo_single_hop", "demo_multi_hop"]
FILES = ("manifest.json", "samples.jsonl", "summary.json")
DEEP = json.loads("[" * 300 + "]" * 300)
VALUES = [None, "x", "", "\n", 5, -1, 0.5, [], {}, [1], [[]], {"a": 1}, {"": "\n"}, True, 1e308, 10**400, DEEP]
VALUES += ["\u202e", "\0", "\ud800"]
COMMANDS = ["show", "transcripts", "table", "compare", "report", "rescore", "resume", "view"]


@pytest.fixture(scope="module")
def played():
    """Plays what a directory lacks, as `harness eval --resume` does, in one sandbox for all of them."""
    tasks = select_tasks(TASKS, {})
    plan = Plan(tasks, load_samples(tasks), groups={}, sources={"tasks": TASKS, "data": {}})
    with Sandbox() as sandbox:
        player = Player(load_model("policy/shotgun", ModelOptions()), sandbox)
        yield lambda path: evaluate(plan, player, path, resume=True)


@pytest.fixture(scope="module")
def sound(tmp_path_factory, played):
    """A run of calls that solve something and of calls that do not; one episode failed before, and was played again."""
    path = tmp_path_factory.mktemp("sound") / "run"
    played(path)
    lines = (path / "samples.jsonl").read_text().splitlines()
    failed = {"outcome": "infrastructure_error", "stop": "http_500", "error": "down", "messages": [], "calls": []}
    first = json.dumps({**json.loads(lines[0]), **failed})
    (path / "samples.jsonl").write_text("\n".join([first, *lines]) + "\n")
    return path


@pytest.fixture
def run(sound, played, tmp_path, capsys):
    """Runs a command on a directory; its status. An exception that it lets through is a failure, and so is a refusal
    of more than a sentence."""
    ids = sorted({json.loads(line)["sample"] for line in (sound / "samples.jsonl").read_text().splitlines()})

    def called(command, path):
        words = {
            "show": ["show", path],
            "transcripts": ["show", path, *ids],
            "table": ["table", path, "--by-task"],
            "compare": ["compare", sound, path],
            "report": ["report", path, "--out", tmp_path / "report.html"],
            "rescore": ["rescore", path],
        }
        capsys.readouterr()
        if command == "view":
            return viewed(path)
        status = resumed(path) if command == "resume" else main([str(word) for word in words[command]])
        if status == 2:
            assert capsys.readouterr().err.splitlines()[-1].startswith("harness ")
        return status

    def resumed(path):
        try:
            played(path)
            return 0
        except UsageError as error:
            print(printable(f"harness eval: {error}"), file=sys.stderr)
            return 2

    def viewed(path):
        folder = LiveFolder(path)
        folder.list_episodes(0, 0)
        while folder.read_round():
            pass
        folder.think_round()
        (told,) = folder.describe()["runs"]
        read = json.loads(folder.list_episodes(0, 0))
        for episode in range(read["read"]):
            try:
                json.dumps(folder.read_transcript(0, episode), allow_nan=False)
            except UsageError as error:
                assert told["problem"] and str(error)
        assert "\n" not in told["problem"]
        return 2 if told["problem"] else 0

    return called


def places(value, where=()):
    """Where a JSON value can be damaged."""
    if where:
        yield where
    for name, part in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(part, (*where, name))


def damaged(value, where, new=...):
    """The value with another in that place, or without it."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for name in where[:-1]:
        inner = inner[name]
    if new is ...:
        del inner[where[-1]]
    else:
        inner[where[-1]] = new
    return copy


@st.composite
def damages(draw, sound):
    """A file of the run, and what it holds after the damage."""
    file = draw(st.sampled_from((*FILES, "samples.jsonl")))
    data = (sound / file).read_bytes()
    lines = data.splitlines(keepends=True) if file == "samples.jsonl" else [data]
    number = draw(st.integers(0, len(lines) - 1))
    kind = draw(st.sampled_from(["field"] * 6 + ["torn", "twice", "garbage"]))
    if kind == "torn":
        return file, data[: draw(st.integers(0, len(data)))]
    if kind == "twice":
        return file, b"".join([*lines, lines[number]])
    if kind == "garbage":
        return file, b"".join([*lines[:number], draw(st.binary(max_size=20)), *lines[number:]])
    value = json.loads(lines[number])
    where = draw(st.sampled_from(sorted(places(value), key=lambda place: (len(place), repr(place)))))
    lines[number] = json.dumps(damaged(value, where, draw(st.sampled_from([..., *VALUES])))).encode() + b"\n"
    return file, b"".join(lines)


def test_the_sound_run_is_read_by_every_command(sound, run, tmp_path):
    shutil.copytree(sound, tmp_path / "run")
    assert [run(command, tmp_path / "run") for command in COMMANDS] == [0] * len(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_damaged_run_is_read_or_refused_in_one_sentence(sound, run, tmp_path, command):
    @settings(max_examples=30, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(damages(sound))
    def check(damage):
        file, data = damage
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        shutil.copytree(sound, tmp_path / "run")
        (tmp_path / "run" / file).write_bytes(data)
        assert run(command, tmp_path / "run") in (0, 2)

    check()
