"""The harness's side of the processes: the launcher, a worker, and how one is asked and waited for.

What must wait is written once, as generators that yield wishes (be ready to read, have the socket take these bytes).
Two drivers of a few lines carry the wishes out: `drive` blocks, `adrive` lets the event loop run. Left out: which
worker serves whom (pool.py).
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import importlib.util
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar

from harness.errors import SandboxError
from harness.sandbox import wire

T = TypeVar("T")
Stop = Literal["answered", "timeout", "died", "worn", "unsent"]
_CHUNK = 65536
_START_SECONDS = 60.0
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8"}
# No site module (its .pth files run code), no user site, no current directory, no bytecode written. Not -I: it would
# ignore PYTHONHASHSEED. The package is entered through a stand-in, because its __init__ imports the harness's side.
_FLAGS = ("-S", "-s", "-P", "-B")
_BOOT = """
import json, sys, types
options = json.loads(sys.argv[1])
harness, sandbox = types.ModuleType("harness"), types.ModuleType("harness.sandbox")
harness.__path__, sandbox.__path__ = [], [options["package"]]
sys.modules.update({"harness": harness, "harness.sandbox": sandbox})
from harness.sandbox import launcher
launcher.main(int(sys.argv[2]), options)
"""


# --- wishes and drivers ------------------------------------------------------------------------------------------


class Wish(Protocol):
    """Something to wait for: `now` blocks, `later` does not."""

    def now(self) -> Any: ...

    async def later(self) -> Any: ...


Steps = Generator[Wish, Any, T]


def drive(steps: Steps[T]) -> T:
    try:
        wish = next(steps)
        while True:
            wish = steps.send(wish.now())
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def adrive(steps: Steps[T]) -> T:
    try:
        wish = next(steps)
        while True:
            wish = steps.send(await wish.later())
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


class Blocking(Generic[T]):
    """Call something slow: under asyncio in a thread."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.now = function

    async def later(self) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, self.now)


class Receive(NamedTuple):
    """Some bytes; b"" when the other side is gone, None when `seconds` are over."""

    worker: Worker
    seconds: float

    def now(self) -> bytes | None:
        self.worker.patience(self.seconds)
        try:
            return self.worker.socket.recv(_CHUNK)
        except BlockingIOError:
            return None
        except ConnectionError:
            return b""

    async def later(self) -> bytes | None:
        sock = self.worker.socket
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        while True:
            with contextlib.suppress(BlockingIOError):
                try:
                    return sock.recv(_CHUNK, socket.MSG_DONTWAIT)
                except ConnectionError:
                    return b""
            if not await _ready(loop, loop.add_reader, loop.remove_reader, sock, end):
                return None


class Send(NamedTuple):
    """True when the socket took all of `data`, None when `seconds` are over, False when the other side is gone."""

    worker: Worker
    data: bytes
    seconds: float

    def now(self) -> bool | None:
        try:
            self.worker.socket.sendall(self.data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return None
        except ConnectionError:
            return False
        return True

    async def later(self) -> bool | None:
        sock, rest = self.worker.socket, memoryview(self.data)
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        while rest:
            try:
                rest = rest[sock.send(rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                if not await _ready(loop, loop.add_writer, loop.remove_writer, sock, end):
                    return None
            except ConnectionError:
                return False
        return True


async def _ready(
    loop: asyncio.AbstractEventLoop,
    add: Callable[..., None],
    remove: Callable[[socket.socket], object],
    sock: socket.socket,
    end: float,
) -> bool:
    """Wait until `sock` can be used, or loop time `end`."""
    future = loop.create_future()
    add(sock, _resolve, future, True)
    timer = loop.call_at(end, _resolve, future, False)
    try:
        ready: bool = await future
        return ready
    finally:
        timer.cancel()
        remove(sock)


def _resolve(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


# --- processes ---------------------------------------------------------------------------------------------------


class Launcher:
    """A launcher process, or one forked from it that holds a state. Commands go one way and never wait for an answer."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        self.control = control
        self.process = process
        self.hello: dict[str, Any] = {}

    @classmethod
    def start(cls, options: dict[str, Any]) -> Launcher:
        """SandboxError when the interpreter does not come up."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = {**options, "package": str(Path(__file__).parent), "path": _library_paths()}
        with theirs:
            process = subprocess.Popen(
                [sys.executable, *_FLAGS, "-c", _BOOT, json.dumps(options), str(theirs.fileno())],
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        launcher = cls(ours, process)
        ours.settimeout(_START_SECONDS)
        try:
            launcher.hello = json.loads(ours.recv(_CHUNK))
        except (OSError, ValueError):
            raise SandboxError(f"the sandbox's launcher did not start: {launcher._last_words()}") from None
        ours.settimeout(_START_SECONDS)
        return launcher

    def _last_words(self) -> str:
        self.control.close()
        assert self.process is not None
        self.process.kill()
        _, errors = self.process.communicate()
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def command(self, do: str, number: int, descriptors: Sequence[int] = ()) -> None:
        """OSError when the launcher is gone."""
        message = json.dumps({"do": do, "id": number}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.control.sendmsg([message], rights, socket.MSG_NOSIGNAL)

    def with_state(self, document: str) -> Launcher:
        """A launcher forked from this one, with the JSON `document` loaded."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(os.memfd_create("state"), "wb") as file:
            file.write(document.encode("utf-8", "surrogatepass"))
            file.flush()
            file.seek(0)
            self.command("state", 0, [theirs.fileno(), file.fileno()])
        return Launcher(ours)

    def close(self) -> None:
        self.control.close()
        if self.process is None:
            return
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()


def _library_paths() -> list[str]:
    """Where the few packages live that the launcher loads; a worker can read none of it."""
    specs = [importlib.util.find_spec(name) for name in ("time_machine", "pytz", "dateutil", "tzdata", "six")]
    origins = [Path(spec.origin) for spec in specs if spec is not None and spec.origin]
    return sorted({str(path.parent.parent if path.name == "__init__.py" else path.parent) for path in origins})


class Reply(NamedTuple):
    status: int
    text: str


class Violation(Exception):
    """A worker broke the protocol."""


class Worker:
    """A place for one process: it is started when first needed, and again after it was killed.

    `launcher` gives the launcher to fork from; it is asked at every start, because a launcher may have been replaced.
    """

    _numbers = itertools.count(1)

    def __init__(self, launcher: Callable[[], Launcher], output_chars: int, call_timeout: float) -> None:
        self._launcher = launcher
        self._forked_from: Launcher | None = None
        self._limit = wire.reply_limit(output_chars)
        self._timeout = call_timeout
        self._number = 0
        self._patience = 0.0
        self._socket: socket.socket | None = None
        self.pid = 0
        self.codes: set[int] = set()  # what this process was sent

    @property
    def alive(self) -> bool:
        return self._socket is not None

    @property
    def socket(self) -> socket.socket:
        if self._socket is None:
            raise SandboxError("the sandbox was closed while a call was running")
        return self._socket

    def start(self) -> Steps[None]:
        """Fork a process and wait until it is jailed. SandboxError when that fails twice."""
        reason = "its launcher died"
        for _ in range(2):
            launcher = yield Blocking(self._launcher)
            try:
                self._open(launcher)
            except OSError:
                continue
            hello = yield Receive(self, _START_SECONDS)
            replies, _ = self._parse(hello or b"", wire.HELLO, 0)
            if replies and replies[0].status == wire.OK:
                self.pid = int(replies[0].text)
                return
            self.kill()
            if replies:
                reason = replies[0].text
        raise SandboxError(f"a sandbox worker could not be started: {reason}")

    def _open(self, launcher: Launcher) -> None:
        self._number = next(self._numbers)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                launcher.command("worker", self._number, [theirs.fileno()])
            except OSError:
                ours.close()
                raise
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(self._timeout))
        self._socket, self._forked_from = ours, launcher
        self._patience = 0.0

    def kill(self) -> None:
        """End the process, whatever it is doing. It is safe to call twice."""
        if self._socket is None:
            return
        self._socket.close()
        self._socket, self.pid = None, 0
        self.codes.clear()
        if self._forked_from is not None:
            with contextlib.suppress(OSError):
                self._forked_from.command("kill", self._number)

    def patience(self, seconds: float) -> None:
        """How long a blocking read waits; the kernel is told only when it changes."""
        if abs(seconds - self._patience) > 0.01:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
            self._patience = seconds

    def ask(self, lines: list[str], expected: int) -> Steps[tuple[list[Reply], Stop]]:
        """Send a request and collect its replies, each within the time limit; and why there are fewer, if there are."""
        token = os.urandom(8)
        body = "\n".join(lines).encode("ascii")
        sent = yield Send(self, wire.REQUEST.pack(len(body), token) + body, self._timeout)
        if not sent:
            return [], "unsent" if sent is False else "timeout"
        replies: list[Reply] = []
        data, seconds = b"", self._timeout
        deadline = time.monotonic() + seconds
        while len(replies) < expected:
            chunk = yield Receive(self, seconds)
            if not chunk:
                return replies, "timeout" if chunk is None else "died"
            try:
                new, data = self._parse(data + chunk, token, len(replies))
            except Violation:
                return replies, "died"
            replies += new
            if new and new[-1].status == wire.WORN:
                return replies, "worn"
            if new:
                deadline = time.monotonic() + self._timeout
            seconds = deadline - time.monotonic() if data else self._timeout
            if seconds <= 0:
                return replies, "timeout"
        return replies, "answered" if len(replies) == expected and not data else "died"

    def _parse(self, data: bytes, token: bytes, place: int) -> tuple[list[Reply], bytes]:
        """The complete replies in `data` up to a worn one, and what is left over."""
        replies: list[Reply] = []
        start = 0
        while len(data) - start >= wire.REPLY.size:
            length, echoed, number, status = wire.REPLY.unpack_from(data, start)
            if length > self._limit or echoed != token or number != place + len(replies) or status > wire.WORN:
                raise Violation
            begin = start + wire.REPLY.size
            if len(data) - begin < length:
                break
            start = begin + length
            try:
                replies.append(Reply(status, data[begin:start].decode()))
            except UnicodeDecodeError:
                raise Violation from None
            if status == wire.WORN:
                break
        return replies, data[start:]


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))


# --- who may use what --------------------------------------------------------------------------------------------


class Pool:
    """Workers that are lent out one at a time, first come first served, to threads and tasks of any event loop."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self.workers = tuple(workers)
        self._idle = list(workers)
        self._waiting: list[Future[Worker]] = []
        self._lock = threading.Lock()

    def lend(self) -> Worker | Lease:
        """The worker that was used last, because it has most of the code; or a wish for one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            self._waiting.append(Future())
            return Lease(self, self._waiting[-1])

    def give_back(self, worker: Worker) -> None:
        with self._lock:
            while self._waiting:
                future = self._waiting.pop(0)
                if future.set_running_or_notify_cancel():
                    future.set_result(worker)
                    return
            self._idle.append(worker)


class Lease(NamedTuple):
    """Wait for a worker."""

    pool: Pool
    future: Future[Worker]

    def now(self) -> Worker:
        try:
            return self.future.result()
        except BaseException:
            self.refuse()
            raise

    async def later(self) -> Worker:
        try:
            return await asyncio.wrap_future(self.future)
        except BaseException:
            self.refuse()
            raise

    def refuse(self) -> None:
        if not self.future.cancel() and self.future.done() and not self.future.cancelled():
            self.pool.give_back(self.future.result())
