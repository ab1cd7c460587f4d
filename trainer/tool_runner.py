"""Runs the calls of generated turns, for rewards: the evaluation's environment and sandbox, without an episode around.

A process has one sandbox for its rewards. It starts on first use and ends with the process; a forked copy of the
process makes its own. A trainer scores a batch of turns at once, so that tools of different turns run side by side.

Left out: what a tool remembers between turns. A turn's calls see a tool as it is at the start of an episode.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TypeVar

from harness.environment import ToolEnvironment
from harness.rollout import take_turn
from harness.sandbox import Sandbox
from harness.types import Gold, Message, Sample, Step

Item = TypeVar("Item")
Value = TypeVar("Value")


class _Shared:
    """The process's sandbox."""

    def __init__(self) -> None:
        self.sandbox: Sandbox | None = None
        self.process = 0
        self.lock = Lock()

    def get(self) -> Sandbox:
        with self.lock:
            if self.sandbox is None or self.process != os.getpid():
                self.sandbox, self.process = Sandbox(), os.getpid()
            return self.sandbox

    def close(self) -> None:
        with self.lock:
            if self.sandbox is not None and self.process == os.getpid():
                self.sandbox.close()
            self.sandbox = None


_shared = _Shared()
atexit.register(_shared.close)


def shared_sandbox() -> Sandbox:
    """The sandbox that this process's rewards use."""
    return _shared.get()


def run_turn(message: Message, codes: Mapping[str, str], turn: int = 0) -> Step:
    """What the environment makes of an assistant's turn: the calls with their outputs, and the messages fed back.

    `codes` maps a tool's name to its source, `turn` is 0-based. Raises SandboxError where tools cannot run.
    """
    with shared_sandbox().episode() as tools:
        return take_turn(ToolEnvironment(Sample("", (), (), codes, Gold({}))), message, tools, turn)


def map_concurrently(function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
    """`function` of every item, in order, with as many at once as keep the sandbox's workers busy."""
    at_once = min(len(items), 2 * shared_sandbox().config.workers)
    if at_once < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(at_once, thread_name_prefix="reward") as threads:
        return list(threads.map(function, items))
