"""A chat template is a program that came with a model: it is rendered within a time, a length and some memory.

transformers renders it in Jinja's sandbox, which keeps it from everything but the processor and memory: a template may
still loop for hours. So each prompt is rendered in a thread of its own, which is stopped where it takes too long. Left
out: a single operation of C, such as a text times ten billion, which nothing stops before it has ended.
"""

from __future__ import annotations

import ctypes
import os
import threading
import time
from collections.abc import Callable

from harness.data.limits import raise_by, read_limits
from harness.errors import UsageError

GROWTH = 1 << 30
"""Bytes that the process may grow by while a prompt is rendered."""
LONGEST = 100_000_000
"""Characters of a prompt: no context is as long."""
LOOK = 0.05
"""Seconds between looks at one that is still being rendered; most take a thousandth."""
PAGE = 4096


class TemplateLimit(UsageError):
    """A prompt that took more than it may."""


class _Stopped(BaseException):
    """Raised in the thread that renders."""


def render_within_limits(name: str, render: Callable[[], str]) -> str:
    """What `render` returns or raises. Raises TemplateLimit where it takes more time or memory than a prompt may;
    `name` is the model's."""
    outcome: list[str | BaseException] = []

    def work() -> None:
        try:
            outcome.append(render())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, name="chat template", daemon=True)
    thread.start()
    thread.join(LOOK)
    fault = _watch(thread) if thread.is_alive() else None
    if fault is not None:
        raise TemplateLimit(f"{name}: its chat template {fault}.")
    [found] = outcome
    if isinstance(found, BaseException):
        raise found
    if len(found) > LONGEST:
        raise TemplateLimit(f"{name}: its chat template writes a prompt of {len(found):,} characters.")
    return found


def _watch(thread: threading.Thread) -> str | None:
    """Waits for a thread, or stops it: then why, in words."""
    seconds, memory, began = read_limits().template, resident_memory(), time.monotonic()
    while thread.is_alive():
        if time.monotonic() - began > seconds:
            return _stop(thread, f"takes more than {seconds} seconds for a prompt; {raise_by('template')}")
        if resident_memory() - memory > GROWTH:
            return _stop(thread, f"takes more than {GROWTH >> 20:,} MB for a prompt")
        thread.join(LOOK)
    return None


def _stop(thread: threading.Thread, why: str) -> str:
    """Raises in another thread, at its next step of Python."""
    if thread.ident is not None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stopped))
    thread.join(1)
    return why


def resident_memory() -> int:
    """Bytes that this process has in memory; 0 where the system does not say. Read without giving up the interpreter's
    lock: while a file is opened and read by Python, a thread that doubles a text would double it five times more."""
    libc, buffer = ctypes.pythonapi, ctypes.create_string_buffer(128)
    if (file := libc.open(b"/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)) < 0:
        return 0
    read = libc.pread(file, buffer, ctypes.c_size_t(len(buffer)), ctypes.c_long(0))
    libc.close(file)
    return int(buffer.value.split()[1]) * PAGE if read > 0 else 0
