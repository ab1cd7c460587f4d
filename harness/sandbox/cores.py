"""Which core runs what, for as long as it takes to hear a quick answer.

Waking a process on another core costs both sides several times what a call costs, in processor time and in waiting,
and the kernel wakes on another core whenever one is idle. So a worker that answers at once is kept on the harness's
core, and the thread that waits for it stays there until the answer is in. Left out: any choice of cores, which stays
the kernel's; and threads that do not wait.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
from collections.abc import Iterator

_MASK_BYTES = 128  # of 1024 cores, as many as glibc's cpu_set_t


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None)


def current_core() -> int | None:
    """The calling thread's, None where the system does not tell."""
    core: int = getattr(_libc(), "sched_getcpu", lambda: -1)()
    return core if 0 <= core < 8 * _MASK_BYTES else None


@contextlib.contextmanager
def on_core(core: int | None) -> Iterator[None]:
    """Keeps the calling thread on `core` if it is there already. No other code of the thread runs meanwhile, so that
    nothing it starts inherits this."""
    if core is None or current_core() != core:
        yield
        return
    libc, before = _libc(), ctypes.create_string_buffer(_MASK_BYTES)
    known = libc.sched_getaffinity(0, _MASK_BYTES, before) >= 0
    if known:
        libc.sched_setaffinity(0, _MASK_BYTES, _only(core))
    try:
        yield
    finally:
        if known:
            libc.sched_setaffinity(0, _MASK_BYTES, before)


@functools.cache
def _only(core: int) -> ctypes.Array[ctypes.c_char]:
    return ctypes.create_string_buffer((1 << core).to_bytes(_MASK_BYTES, "little"), _MASK_BYTES)
