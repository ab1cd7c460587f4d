"""Attacks against the real jail, as root and as an ordinary user; and that they would work without it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import sandbox_tools as tools

SOURCES = {
    "calculator": "def calculator(expression):\n    return eval(expression)\n",
    "greeter": "def greeter(template, person):\n    return template.format(person=person, greeter=greeter)\n",
}


def run_as(user: str) -> dict[str, Any]:
    if user == "nobody" and os.getuid() != 0:
        pytest.skip("only root can become another user: attacks were tried as the current user only")
    python = sys.executable if user == "me" else tools.interpreter_for_nobody()
    if python is None:
        pytest.skip("no Python of this version that an ordinary user may run: attacks were tried as root only")
    change = [] if user == "me" else tools.AS_NOBODY
    with tools.readable_by_nobody() as folder:
        done = subprocess.run(
            [*change, python, str(folder / "sandbox_tools.py")],
            env=tools.environment_for(folder),
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


@pytest.fixture(scope="module", params=["me", "nobody"])
def seen(request: pytest.FixtureRequest) -> dict[str, Any]:
    found = run_as(request.param)
    assert found["uid"] == (os.getuid() if request.param == "me" else 65534)
    return found


@pytest.mark.parametrize("name", tools.ATTACKS)
def test_an_attack_gets_nothing(seen: dict[str, Any], name: str) -> None:
    status, output, _ = seen["results"][name]
    assert status in ("ok", "raised", "timeout", "killed")
    assert "GOT" not in output


@pytest.mark.parametrize("name", tools.LOOPS)
def test_a_loop_ends_at_the_deadline(seen: dict[str, Any], name: str) -> None:
    status, output, seconds = seen["results"][name]
    assert (status, output) == ("timeout", "timed out after 0.6 seconds")
    assert seconds < 8


def test_what_ends_the_process_is_told_apart(seen: dict[str, Any]) -> None:
    statuses = {name: seen["results"][name][0] for name in ("exit_hard", "exit_soft", "crash", "flood_reply")}
    assert statuses == {"exit_hard": "killed", "exit_soft": "raised", "crash": "killed", "flood_reply": "killed"}
    assert seen["results"]["exit_soft"][1] == "bye"


def test_nothing_was_heard_or_written_outside(seen: dict[str, Any]) -> None:
    assert seen["heard"] == []
    assert seen["written"] == []


def test_neither_launcher_nor_workers_have_capabilities(seen: dict[str, Any]) -> None:
    """As root too; what an ordinary user could be given by a program it starts is not taken from it."""
    masks = [mask for place, mask in enumerate(seen["capabilities"]) if seen["uid"] == 0 or place % 5 != 3]
    assert len(masks) >= 8
    assert {int(mask, 16) for mask in masks} == {0}


@pytest.mark.parametrize("name", tools.CONTROLS)
def test_the_attack_works_without_a_sandbox(name: str) -> None:
    done = subprocess.run(
        [sys.executable, tools.__file__, name],
        env=tools.environment_for(Path(tools.__file__).parent.parent),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if name == "read_parent" and "GOT" not in done.stdout and os.getuid() != 0:
        pytest.skip("this machine lets no user trace another process")
    assert "GOT" in done.stdout, done.stderr


ARGUMENTS_ALONE = [
    ("calculator", {"expression": "__import__('os').environ"}),
    ("calculator", {"expression": "open('/etc/passwd').read()"}),
    ("calculator", {"expression": "__import__('subprocess').getoutput('cat /etc/passwd; env')"}),
    ("greeter", {"template": "{greeter.__globals__}", "person": "x"}),
    ("greeter", {"template": "{person.__class__.__mro__[1].__subclasses__}", "person": "x"}),
]


@pytest.mark.parametrize(("name", "arguments"), ARGUMENTS_ALONE)
def test_arguments_alone_get_nothing(
    monkeypatch: pytest.MonkeyPatch, episode: Any, name: str, arguments: dict[str, str]
) -> None:
    monkeypatch.setenv("DECOY_API_KEY", tools.DECOY)
    result = episode.run(SOURCES, [(name, arguments)])[0]
    assert tools.DECOY not in result.output
    assert "root:" not in result.output


@pytest.fixture(scope="module")
def episode() -> Any:
    from harness.sandbox import Sandbox, SandboxConfig

    with Sandbox(SandboxConfig(workers=1)) as sandbox, sandbox.episode() as one:
        yield one


SWEEP = """
import ctypes
def sweep(numbers):
    libc = ctypes.CDLL(None, use_errno=True)
    through = []
    for number in numbers:
        ctypes.set_errno(0)
        if libc.syscall(number, -1, -1, -1, -1, -1, -1) != -1 or ctypes.get_errno() != 1:
            through.append(number)
    return through
"""


def test_the_kernel_refuses_every_call_that_is_not_on_the_list(episode: Any) -> None:
    from harness.sandbox import syscalls

    allowed = set(syscalls.syscall_numbers(os.uname().machine))
    exempt = {335, 336} if os.uname().machine == "x86_64" else set()  # uretprobe, uprobe: the kernel's own exception
    others = [number for number in range(600) if number not in allowed | exempt]
    result = episode.run({"sweep": SWEEP}, [("sweep", {"numbers": others})])[0]
    assert (result.status, result.output) == ("ok", "[]")


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="x32 exists on x86_64 only")
def test_an_x32_call_ends_the_process(episode: Any) -> None:
    result = episode.run({"sweep": SWEEP}, [("sweep", {"numbers": [0x40000000 + 39]})])[0]
    assert result.status == "killed"
