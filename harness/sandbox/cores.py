"""Which core runs what, for as long as it takes to hear a quick answer.

Waking a process on another core costs several times what a call does, in processor time and in waiting, and the kernel
wakes on another core whenever one is idle. So a worker that answers at once is kept on the core of whoever asks, and a
thread that an idle core would draw away is held there while it waits. Left out: any choice between cores, which stays
the kernel's.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
_MASK_BYTES = 128  # of 1024 cores, as many as glibc's cpu_set_t
_HOLD = 256  # waits; holding costs several microseconds each, and is of no use while all cores are busy


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def current_core() -> int | None:
    """The calling thread's, None where the system does not tell."""
    core: int = getattr(_libc(), "sched_getcpu", lambda: -1)()
    return core if 0 <= core < 8 * _MASK_BYTES else None


class SharedCore:
    """The core that a worker is kept on (None: any), and whoever waits for the worker.

    `is_far`: the one who waits lives on another core now.
    """

    def __init__(self) -> None:
        self.core: int | None = None
        self.is_far = False
        self._before = ctypes.create_string_buffer(_MASK_BYTES)
        self._hold = 0

    def move(self, core: int | None) -> None:
        self.core, self.is_far, self._hold = core, False, 0

    def wait(self, wait: Callable[[], T]) -> T:
        """`wait()`, during which the calling thread is held on the worker's core if it was drawn away before. No other
        code of the thread runs meanwhile, so that nothing it starts inherits the bond."""
        if self.core is None:
            return wait()
        if current_core() != self.core:
            if self._hold:
                self.is_far = True
                return wait()
            self._hold = _HOLD
        if not self._hold:
            return wait()
        self._hold -= 1
        self._bind()
        try:
            return wait()
        finally:
            self._release()

    def _bind(self) -> None:
        assert self.core is not None
        if _libc().sched_getaffinity(0, _MASK_BYTES, self._before) >= 0:
            _libc().sched_setaffinity(0, _MASK_BYTES, _only(self.core))

    def _release(self) -> None:
        _libc().sched_setaffinity(0, _MASK_BYTES, self._before)


@functools.cache
def _only(core: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer((1 << core).to_bytes(_MASK_BYTES, "little"), _MASK_BYTES)
