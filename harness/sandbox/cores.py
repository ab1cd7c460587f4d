"""Which core runs what, for as long as it takes to hear a quick answer.

Waking a process on another core costs several times what a call does, in processor time and in waiting, and the kernel
wakes on another core whenever one is idle. So a worker that answers at once is kept on the core of whoever asks, and a
thread that an idle core would draw away is held there while it waits. Left out: any choice between cores, which stays
the kernel's.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_LOOK = 8  # waits between two looks at where the thread is
_HOLD = 1000  # waits; holding costs several microseconds each, and is of no use while all cores are busy


@functools.cache
def _getcpu() -> Callable[[], int]:
    return getattr(ctypes.CDLL(None), "sched_getcpu", lambda: -1)


def current_core() -> int | None:
    """The calling thread's, None where the system does not tell."""
    core = _getcpu()()
    return core if core >= 0 else None


class SharedCore:
    """The core that a worker is kept on (None: any), and whoever waits for the worker.

    `is_far`: the one who waits lives on another core now.
    """

    def __init__(self) -> None:
        self.core: int | None = None
        self.is_far = False
        self._waits = 0
        self._hold = 0

    def move(self, core: int | None) -> None:
        self.core, self.is_far, self._hold = core, False, 0

    def wait(self, wait: Callable[[], T]) -> T:
        """`wait()`, during which the calling thread is held on the worker's core if it was drawn away before. No other
        code of the thread runs meanwhile, so that nothing it starts inherits the bond."""
        if self.core is None:
            return wait()
        self._waits += 1
        if self._waits % _LOOK == 0 and current_core() != self.core:
            self.is_far = self._hold > 0
            self._hold = 0 if self.is_far else _HOLD
        if not self._hold:
            return wait()
        self._hold -= 1
        return self._wait_there(wait, self.core)

    def _wait_there(self, wait: Callable[[], T], core: int) -> T:
        before = os.sched_getaffinity(0)
        try:
            with contextlib.suppress(OSError):  # the core may have been taken away
                os.sched_setaffinity(0, {core})
            return wait()
        finally:
            os.sched_setaffinity(0, before)
