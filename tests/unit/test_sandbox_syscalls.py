"""The system call numbers against the kernel's own headers, and the filter against a small interpreter of BPF."""

from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest

from harness.sandbox import syscalls

# asm-generic/unistd.h is what aarch64 uses.
HEADERS = {
    "x86_64": ("/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"),
    "aarch64": ("/usr/include/asm-generic/unistd.h",),
}
MACHINES = sorted(HEADERS)
KILL, EPERM, ALLOW = 0x80000000, 0x00050001, 0x7FFF0000
FORBIDDEN = """
open openat openat2 creat socket socketpair connect bind sendto sendmsg recvmsg clone clone3 fork
vfork execve execveat kill tkill tgkill ptrace process_vm_readv process_vm_writev prlimit64
setrlimit prctl seccomp mount chroot unshare setns bpf io_uring_setup memfd_create pidfd_open
pidfd_getfd dup dup2 dup3 fcntl ioctl stat lstat newfstatat statx readlink readlinkat access
faccessat getcwd setuid setresuid userfaultfd keyctl perf_event_open personality rt_sigqueueinfo
rt_tgsigqueueinfo timer_create setitimer
"""


def header(machine: str) -> dict[str, int]:
    for path in map(Path, HEADERS[machine]):
        if path.exists():
            found = re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)$", path.read_text(), re.M)
            return {name: int(number) for name, number in found}
    pytest.skip(f"no kernel header for {machine} here: its system call numbers were not checked ({HEADERS[machine]})")


@pytest.mark.parametrize("machine", MACHINES)
def test_numbers_are_the_kernels(machine: str) -> None:
    real = header(machine)
    column = ("x86_64", "aarch64").index(machine)
    ours = {name: pair[column] for name, pair in syscalls.ALLOWED.items() if pair[column] is not None}
    assert ours == {name: real[name] for name in ours}
    assert {name: real[name] for name in syscalls.LANDLOCK} == syscalls.LANDLOCK


@pytest.mark.parametrize("machine", MACHINES)
def test_what_reaches_outside_is_not_on_the_list(machine: str) -> None:
    real = header(machine)
    reaching = {real[name] for name in FORBIDDEN.split() if name in real}
    assert len(reaching) > 40
    assert not reaching & set(syscalls.syscall_numbers(machine))


def run(program: bytes, number: int, arch: int, third: int = 0) -> int:
    """What the kernel would do with this call; `third` is the lower half of its third argument."""
    code = [struct.unpack_from("HBBI", program, place) for place in range(0, len(program), 8)]
    place = value = 0
    while True:
        operation, yes, no, operand = code[place]
        place += 1
        if operation == 0x20:
            value = {0: number, 4: arch, 32: third}[operand]
        elif operation == 0x06:
            return int(operand)
        else:
            holds = {0x15: value == operand, 0x35: value >= operand, 0x45: bool(value & operand)}[operation]
            place += yes if holds else no


@pytest.mark.parametrize("machine", MACHINES)
def test_the_filter_allows_the_list_and_nothing_else(machine: str) -> None:
    program, arch = syscalls.assemble_filter(machine), syscalls.AUDIT_ARCH[machine]
    allowed = {number for number in range(1024) if run(program, number, arch) == ALLOW}
    assert allowed == set(syscalls.syscall_numbers(machine))
    assert {run(program, number, arch) for number in range(1024) if number not in allowed} == {EPERM}


@pytest.mark.parametrize("executable", [False, True])
@pytest.mark.parametrize("machine", MACHINES)
def test_memory_is_never_executable_nor_poisoned(machine: str, executable: bool) -> None:
    program, arch = syscalls.assemble_filter(machine, executable), syscalls.AUDIT_ARCH[machine]
    column = ("x86_64", "aarch64").index(machine)
    numbers = {name: syscalls.ALLOWED[name][column] for name in ("mmap", "mprotect", "madvise")}
    for name in ("mmap", "mprotect"):
        allowed = {third for third in range(16) if run(program, numbers[name] or 0, arch, third) == ALLOW}
        assert allowed == {third for third in range(16) if executable or not third & 4}
    advice = {third for third in range(200) if run(program, numbers["madvise"] or 0, arch, third) == ALLOW}
    assert advice == set(range(100))  # 100 and 101 are MADV_HWPOISON and MADV_SOFT_OFFLINE


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architecture_ends_the_process(machine: str) -> None:
    program = syscalls.assemble_filter(machine)
    i386, other = 0x40000003, syscalls.AUDIT_ARCH[MACHINES[1 - MACHINES.index(machine)]]
    assert {run(program, number, arch) for number in range(512) for arch in (i386, other)} == {KILL}


def test_x32_calls_end_the_process() -> None:
    program, arch = syscalls.assemble_filter("x86_64"), syscalls.AUDIT_ARCH["x86_64"]
    assert {run(program, 0x40000000 | number, arch) for number in range(600)} == {KILL}
