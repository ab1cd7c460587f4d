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
    """The core that a worker is kept on (None: any), and whoever waits for the worker."""

    def __init__(self) -> None:
        self.core: int | None = None
        self._before = ctypes.create_string_buffer(_MASK_BYTES)
        self._hold = 0

    def wait(self, wait: Callable[[], T]) -> T:
        """`wait()`, after which the calling thread is on the worker's core, if it was before. No other code of the
        thread runs meanwhile, so that nothing it starts inherits the bond."""
        if self.core is None or current_core() != self.core:
            return wait()
        if not self._hold:
            found = wait()
            if current_core() != self.core:
                self._hold = _HOLD
                self._bind()
                self._release()
            return found
        self._hold -= 1
        self._bind()
        try:
            return wait()
        finally:
            self._release()

    def _bind(self) -> None:
        libc, core = _libc(), self.core
        assert core is not None
        if libc.sched_getaffinity(0, _MASK_BYTES, self._before) >= 0:
            libc.sched_setaffinity(0, _MASK_BYTES, _only(core))

    def _release(self) -> None:
        _libc().sched_setaffinity(0, _MASK_BYTES, self._before)


@functools.cache
def _only(core: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer((1 << core).to_bytes(_MASK_BYTES, "little"), _MASK_BYTES)
