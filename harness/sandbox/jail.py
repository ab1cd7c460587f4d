"""The walls around a worker: resource limits, no new privileges, Landlock, seccomp. Plain ctypes, no root, no helper.

A worker puts itself inside after everything that tools import is loaded; none of it can be undone.
`probe_layers` says what this kernel has without changing anything. Left out: namespaces and bubblewrap (blocked by
default on some distributions) and a change of user: root without capabilities, which the launcher gives up for all its
workers, is a user like any other to the calls that remain.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import struct
import sys
import sysconfig
from typing import TypedDict

from harness.sandbox import syscalls

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_PR_CAPBSET_READ, _PR_CAPBSET_DROP, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 23, 24, 47, 4
_CAPABILITY_VERSION = 0x20080522
_SECCOMP_MODE_FILTER = 2
_LANDLOCK_VERSION_FLAG = 1
_EFAULT, _SIGKILL = 14, 9

# Landlock's access bits, by the interface version that brought them. A ruleset that handles all and allows none
# denies all.
_FILE_BITS = {1: 13, 2: 14, 3: 15, 5: 16}  # version: number of low bits
_NET_BITS = 0b11  # TCP bind and connect, since version 4
_SCOPE_BITS = 0b11  # abstract unix sockets and signals to the outside, since version 6

_getppid = os.getppid  # before the launcher freezes it
_libc = ctypes.CDLL(None, use_errno=True)


class Layers(TypedDict):
    """What the kernel offers: Landlock's interface version and the architecture of the system call filter, or None."""

    landlock: int | None
    seccomp: str | None


def probe_layers() -> Layers:
    return {"landlock": _landlock_version(), "seccomp": _seccomp_machine()}


def _landlock_version() -> int | None:
    create = syscalls.LANDLOCK["landlock_create_ruleset"]
    version: int = _libc.syscall(create, None, ctypes.c_size_t(0), _LANDLOCK_VERSION_FLAG)
    return version if version > 0 else None


def _seccomp_machine() -> str | None:
    """A filter at address 0 is a bad address where filters exist, and an invalid request where they do not."""
    machine = os.uname().machine
    _libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, 0, 0, 0)
    return machine if ctypes.get_errno() == _EFAULT and machine in syscalls.AUDIT_ARCH else None


def die_with(parent: int) -> None:
    """The kernel kills this process when its parent ends; if that has happened already, it ends here."""
    _check(_libc.prctl(_PR_SET_PDEATHSIG, _SIGKILL, 0, 0, 0), "PR_SET_PDEATHSIG")
    if _getppid() != parent:
        os._exit(0)


def drop_capabilities() -> None:
    """Gives up what root may do beyond others, for this process and all that are forked from it."""
    capability = 0
    while _libc.prctl(_PR_CAPBSET_READ, capability, 0, 0, 0) >= 0:
        _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # who may not has none to lose
        capability += 1
    _libc.prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _check(_libc.capset(struct.pack("Ii", _CAPABILITY_VERSION, 0), bytes(24)), "capabilities")


def compiles_itself() -> bool:
    """Whether this interpreter makes machine code while it runs, and so needs memory that is executable."""
    if sys.implementation.name != "cpython":
        return True
    if (compiler := getattr(sys, "_jit", None)) is not None:  # since 3.14
        return bool(compiler.is_available())
    flags = sysconfig.get_config_var("PY_CORE_CFLAGS") if sys.version_info >= (3, 13) else ""
    return "_Py_JIT" in (flags or "")


def die_first() -> None:
    """Where the machine runs out of memory, this process is to end and not the harness, the launcher or a neighbour."""
    with contextlib.suppress(OSError):
        adjust = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(adjust, b"1000")
        os.close(adjust)


def confine_process(layers: Layers, memory_bytes: int, executable: bool = False) -> None:
    """Jail this process for good, with what `probe_layers` found; `executable` as in `syscalls.assemble_filter`.
    OSError names the wall that could not be put up."""
    _limit(memory_bytes)
    _check(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _check(_libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0), "PR_SET_DUMPABLE")
    if layers["landlock"] is not None:
        _landlock(layers["landlock"])
    if layers["seccomp"] is not None:
        _seccomp(layers["seccomp"], executable)


def _limit(memory_bytes: int) -> None:
    """CPU time is not limited here: workers live long, and the parent's clock ends a call."""
    for kind, value in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_NOFILE, 8),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(kind, (value, value))


def _landlock(version: int) -> None:
    files = (1 << max(bits for since, bits in _FILE_BITS.items() if since <= version)) - 1
    words = [files]
    if version >= 4:
        words.append(_NET_BITS)
    if version >= 6:
        words.append(_SCOPE_BITS)
    attributes = struct.pack(f"{len(words)}Q", *words)
    number = syscalls.LANDLOCK
    ruleset: int = _libc.syscall(
        number["landlock_create_ruleset"], attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint32(0)
    )
    _check(ruleset, "Landlock")
    _check(_libc.syscall(number["landlock_restrict_self"], ruleset, ctypes.c_uint32(0)), "Landlock")
    os.close(ruleset)


def _seccomp(machine: str, executable: bool) -> None:
    """Last, because it forbids all of the above."""
    filter_program = syscalls.wrap_filter(syscalls.assemble_filter(machine, executable))
    _check(_libc.prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.byref(filter_program), 0, 0), "seccomp")


def _check(result: int, wall: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{wall}: {os.strerror(ctypes.get_errno())}")
