"""The process that workers are forked from: a clean interpreter with the tools' modules loaded and the clock frozen.

It is started with an empty environment and never forked from the harness, so no key, gold answer or checker is in
its memory. It takes commands on a socket and answers but one of them, why a worker ended; a worker answers for itself.
It also kills: only the process that reaps a child knows that the number still means that child. It ends, and everything
under it, as soon as the harness is gone, even when that was by kill -9. Left out: a jail for itself (it has to fork).
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import random
import re
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from harness.sandbox import jail, wire, worker

CLOCK = "2025-01-01T00:00:00+00:00"
# What tools import. In the jail nothing can be read from disk, so what is not loaded here cannot be imported.
MODULES = """
    __future__ _strptime abc array ast base64 binascii bisect calendar cmath codecs collections collections.abc
    contextlib copy csv dataclasses datetime decimal difflib email.utils enum fractions functools hashlib heapq hmac
    html html.parser inspect io ipaddress itertools json keyword locale logging math numbers operator pprint random
    re secrets shlex statistics string struct sys textwrap time traceback types typing unicodedata urllib.parse uuid
    warnings weakref xml.etree.ElementTree zlib zoneinfo
    encodings.ascii encodings.cp1252 encodings.hex_codec encodings.idna encodings.latin_1 encodings.punycode
    encodings.raw_unicode_escape encodings.rot_13 encodings.unicode_escape encodings.utf_16 encodings.utf_16_le
    encodings.utf_32 encodings.utf_8 encodings.utf_8_sig
"""
OPTIONAL = ["pytz", "dateutil.parser", "dateutil.relativedelta", "dateutil.tz"]
_COMMAND_LIMIT = 4096
PROCESS, NODE = 2, 0x01_00_00_00_00_01  # what every tool is told of its process and of the machine's network

_executable = jail.compiles_itself()
_getpid, _getppid = os.getpid, os.getppid  # before they are frozen
_END_SECONDS = 0.02  # between the moment that a process closes what it has open and the one that it can be reaped

_clock, _sleep = time.perf_counter, time.sleep  # kept from before the clock is stopped
_kept: list[Any] = []  # time zones: their caches are weak or small
_children: set[int] = set()


def main(control_fd: int, options: dict[str, Any]) -> None:
    """`options`: memory_bytes, output_chars, path. Says hello with the layers, then serves until the end."""
    control = socket.socket(fileno=control_fd)
    sys.path.extend(options["path"])
    layers = jail.probe_layers()
    load_modules()
    load_zones()
    make_deterministic()
    jail.drop_capabilities()
    hello = {"layers": layers, "clock": CLOCK, "python": ".".join(map(str, sys.version_info[:3]))}
    control.send(json.dumps(hello).encode())
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # until here, standard error told the harness what failed
    Launcher(control, options, layers, os.pidfd_open(_getppid()), False, None).run()


class Launcher:
    """`data` is the state that this launcher's workers share until they write to it; the first launcher has none."""

    def __init__(
        self,
        control: socket.socket,
        options: dict[str, Any],
        layers: jail.Layers,
        harness: int,
        stateful: bool,
        data: Any,
    ) -> None:
        self.control = control
        self.options = options
        self.layers = layers
        self.harness = harness
        self.stateful = stateful
        self.data = data
        self.workers: dict[int, int] = {}
        self.ends: dict[int, int] = {}  # of workers that ended and that no command has named since
        self.alarm = -1  # written to when a child ends

    def run(self) -> None:
        gc.collect()
        gc.freeze()  # so that a collection in a worker does not copy the pages it shares
        ended, self.alarm = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.alarm)
        poll = select.poll()
        for descriptor in (self.control.fileno(), self.harness, ended):
            poll.register(descriptor, select.POLLIN)
        while True:
            ready = dict(poll.poll())
            if ended in ready:
                os.read(ended, 4096)
                self.note_ends()
            if self.harness in ready or (self.control.fileno() in ready and not self.obey()):
                end()

    def obey(self) -> bool:
        """Carry out one command; False when there is nobody left to give one."""
        with suppress(ConnectionError):
            message, descriptors, _, _ = socket.recv_fds(self.control, _COMMAND_LIMIT, 4)
            if message:
                command = json.loads(message)
                getattr(self, "do_" + command["do"])(command["id"], descriptors, command["core"])
                for descriptor in descriptors:
                    os.close(descriptor)
                return True
        return False

    def note_ends(self) -> None:
        ended = reap()
        self.ends |= {number: ended[pid] for number, pid in self.workers.items() if pid in ended}

    def do_worker(self, number: int, descriptors: list[int], core: int | None) -> None:
        self.workers = {key: pid for key, pid in self.workers.items() if pid in _children}
        try:
            self.workers[number] = fork(lambda: self.become_worker(*descriptors))
        except OSError as error:  # no process to be had now: a reason to wait, not to end
            with suppress(OSError):
                os.write(descriptors[0], worker.make_hello(wire.WORN, str(error)))

    def do_why(self, number: int, descriptors: list[int], core: int | None) -> None:
        """Whether a worker was killed from outside: by the system, or by a person. No tool can do that to itself."""
        until = _clock() + _END_SECONDS
        while number not in self.ends and self.workers.get(number) in _children and _clock() < until:
            _sleep(0.001)
            self.note_ends()
        status = self.ends.get(number, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        self.control.send(json.dumps(killed and self.layers["seccomp"] is not None).encode())

    def do_place(self, number: int, descriptors: list[int], core: int | None) -> None:
        """The worker runs on `core` from now on, or wherever there is room. Not every kernel lets us say so."""
        pid = self.workers.get(number, 0)
        if pid in _children:
            with suppress(OSError):
                os.sched_setaffinity(pid, os.sched_getaffinity(0) if core is None else {core})

    def do_kill(self, number: int, descriptors: list[int], core: int | None) -> None:
        pid = self.workers.pop(number, 0)
        self.ends.pop(number, None)
        if pid in _children:
            os.kill(pid, signal.SIGKILL)
            with suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)  # without seccomp it may have children

    def do_state(self, number: int, descriptors: list[int], core: int | None) -> None:
        with suppress(OSError):  # the harness sees that nobody is there, and asks again
            fork(lambda: self.become_launcher(*descriptors))

    def become_worker(self, to_socket: int, to_pipe: int) -> None:
        os.setsid()
        aside = os.dup2(to_pipe, 63)  # it may have the socket's number
        os.dup2(to_socket, worker.SOCKET)
        os.dup2(aside, worker.PIPE)
        os.closerange(worker.PIPE + 1, 65536)
        self.control.detach()
        jail.die_first()
        try:
            jail.confine_process(self.layers, self.options["memory_bytes"], _executable)
        except (OSError, ValueError) as error:
            worker.send_hello(wire.RAISED, str(error))
            return
        worker.send_hello(wire.OK, str(_getpid()))
        worker.serve(self.options["output_chars"], self.stateful, self.data, self.options["memory_bytes"])

    def become_launcher(self, control_fd: int, document_fd: int) -> None:
        self.control.close()
        os.close(self.alarm)
        with open(document_fd, encoding="utf-8", errors="surrogatepass", closefd=False) as document:
            data = json.load(document)
        control = socket.socket(fileno=os.dup(control_fd))
        os.close(control_fd)
        os.close(document_fd)
        Launcher(control, self.options, self.layers, self.harness, True, data).run()


def fork(become: Callable[[], None]) -> int:
    """Fork a child that never returns from `become`."""
    parent = _getpid()
    pid = os.fork()
    if pid:
        _children.add(pid)
        return pid
    try:
        signal.set_wakeup_fd(-1)  # its number will soon be another descriptor's
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        _children.clear()
        jail.die_with(parent)
        become()
    finally:
        os._exit(0)


def reap() -> dict[int, int]:
    """Who ended, and how. Only ever called from the loop, so that between a look at `_children` and a kill no number
    can change hands."""
    ended = {}
    for pid in list(_children):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            _children.discard(pid)
            ended[pid] = status
    return ended


def end() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for pid in _children:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for pid in _children:
        os.waitpid(pid, 0)
    os._exit(0)


# --- what tools find ---------------------------------------------------------------------------------------------


def load_modules() -> None:
    for name in MODULES.split():
        importlib.import_module(name)
    for name in OPTIONAL:
        with suppress(ImportError):
            importlib.import_module(name)


def load_zones() -> None:
    """Zone files cannot be read later."""
    import zoneinfo

    for key in sorted(zoneinfo.available_timezones()):
        with suppress(Exception):
            _kept.append(zoneinfo.ZoneInfo(key))
    with suppress(ImportError):
        pytz = importlib.import_module("pytz")
        for names in (pytz.all_timezones, pytz.all_timezones_set, pytz.common_timezones, pytz.common_timezones_set):
            len(names)
        _kept.extend(pytz.timezone(name) for name in pytz.all_timezones)


def make_deterministic() -> None:
    """The clock stands still, and what is random starts from the same place in every call (worker.seed)."""
    sys.modules["pytest"] = None  # type: ignore[assignment]  # time_machine would load it where it is installed
    time_machine = importlib.import_module("time_machine")
    del sys.modules["pytest"]
    time_machine.travel(CLOCK, tick=False).start()
    for name in ("monotonic", "perf_counter", "process_time", "thread_time"):
        setattr(time, name, lambda: 0.0)
        setattr(time, name + "_ns", lambda: 0)
    freeze_process()
    random._urandom = worker.urandom  # type: ignore[attr-defined]
    original = random.Random.seed

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        original(self, 0 if a is None else a, version)

    random.Random.seed = seed  # type: ignore[method-assign]
    random.seed = random._inst.seed
    worker.seed_randomness()


def freeze_process() -> None:
    """What tells one process, or one moment of it, from another."""
    for name in ("clock_gettime", "clock_gettime_ns"):
        setattr(time, name, partial(read_clock, getattr(time, name)))
    pid, getrandom = (lambda: PROCESS), (lambda size, flags=0: worker.urandom(size))
    process = {"urandom": worker.urandom, "getrandom": getrandom, "getpid": pid, "getppid": lambda: 1}
    frozen: dict[str, dict[str, Any]] = {
        "os": process,
        "posix": process,
        "_thread": {"get_native_id": pid},
        "threading": {"get_native_id": pid},
        "_random": {"Random": random.Random},  # the bare one takes its seed from the kernel
        "uuid": {"_generate_time_safe": None, "_UuidCreate": None, "_node": NODE},
    }
    for module, names in frozen.items():
        for name, value in names.items():
            setattr(importlib.import_module(module), name, value)
    sys.argv = [""]
    re._compile = partial(compile_by_kind, re._compile)  # type: ignore[attr-defined]


def read_clock(read: Callable[[int], float], clock: int) -> float:
    """Every clock but the date's stands at 0."""
    value = read(clock)
    return value if clock == time.CLOCK_REALTIME else type(value)()


def compile_by_kind(compile_pattern: Callable[[Any, Any], Any], pattern: Any, flags: Any) -> Any:
    """2.0 is no flag, also where somebody has compiled the same pattern with 2 and the library kept it."""
    if not isinstance(flags, int) and hash(flags) is not None and not isinstance(pattern, re.Pattern):
        flags & 0
    return compile_pattern(pattern, flags)
