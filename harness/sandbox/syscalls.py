"""What a worker may ask of the kernel once it is jailed, as numbers for each architecture, and the filter made of them.

Why numbers by hand: no library to install, and a list of two dozen lines can be read. A test compares every number
with the kernel's own headers. Left out on purpose: everything that opens, connects, forks, executes, signals, traces,
or changes a limit or a credential. The few that remain act only on memory, time and the descriptors already open.
"""

from __future__ import annotations

import ctypes
import errno
import struct

# name: (x86_64, aarch64); None where the architecture has no such call
ALLOWED: dict[str, tuple[int | None, int]] = {
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "futex": (202, 98),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "sched_yield": (24, 124),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "getrandom": (318, 278),
    "gettimeofday": (96, 169),
    "clock_gettime": (228, 113),
    "clock_getres": (229, 114),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# Calls that are allowed by their third argument: those that make memory executable are refused, and advice from
# MADV_HWPOISON on, which takes the machine's memory out of use.
_EXECUTABLE, _LEAST_REFUSED_ADVICE = 0x4, 100
MAPPINGS, ADVICE = ("mmap", "mprotect"), "madvise"
# Landlock came after the tables were unified: one number for every architecture.
LANDLOCK: dict[str, int] = {
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
}
AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_X32_BIT = 0x40000000
_KILL_PROCESS = 0x80000000
_ERRNO_EPERM = 0x00050000 | errno.EPERM
_ALLOW = 0x7FFF0000
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER_OFFSET, _ARCH_OFFSET, _THIRD_OFFSET = 0, 4, 32  # in struct seccomp_data; of the argument its lower half


def syscall_numbers(machine: str) -> list[int]:
    """The allowed system call numbers of `machine`, the often used ones first."""
    column = ("x86_64", "aarch64").index(machine)
    return [number for pair in ALLOWED.values() if (number := pair[column]) is not None]


def assemble_filter(machine: str, executable: bool = False) -> bytes:
    """The filter in classic BPF: a foreign architecture or x32 call kills the process, what is not allowed is EPERM.
    `executable`: memory may be made so, for an interpreter that compiles while it runs."""
    column = ("x86_64", "aarch64").index(machine)
    checked = {ALLOWED[ADVICE][column]: (_AT_LEAST, _LEAST_REFUSED_ADVICE)}
    if not executable:
        checked |= {ALLOWED[name][column]: (_ANY_BIT, _EXECUTABLE) for name in MAPPINGS}
    allowed = [number for number in syscall_numbers(machine) if number not in checked]
    code = [
        (_LOAD, 0, 0, _ARCH_OFFSET),
        (_EQUAL, 1, 0, AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL_PROCESS),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
    ]
    if machine == "x86_64":
        code += [(_AT_LEAST, 0, 1, _X32_BIT), (_RETURN, 0, 0, _KILL_PROCESS)]
    for number, (test, operand) in checked.items():
        assert number is not None
        code += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _THIRD_OFFSET), (test, 0, 1, operand)]
        code += [(_RETURN, 0, 0, _ERRNO_EPERM), (_RETURN, 0, 0, _ALLOW)]
    code += [(_EQUAL, len(allowed) - place, 0, number) for place, number in enumerate(allowed)]
    code += [(_RETURN, 0, 0, _ERRNO_EPERM), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


class FilterProgram(ctypes.Structure):
    """struct sock_fprog: how prctl takes a filter. Keep `code` alive while it is used."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def wrap_filter(code: bytes) -> FilterProgram:
    return FilterProgram(len(code) // 8, code)
