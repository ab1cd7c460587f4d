"""The harness's side of the processes: the launcher, and a worker that is started, asked and killed.

Nothing a worker sends is trusted: its replies are of limited length, have to carry the request's token and their own
place in it, and are text and nothing else. A worker that breaks this is killed like one that dies. Left out: which
worker serves whom (pool.py).
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import errno
import importlib.util
import itertools
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from harness.errors import SandboxError
from harness.sandbox import cores, wire
from harness.sandbox.waiting import Blocking, Channel, Exchange, Operation, Pause, Receive

T = TypeVar("T")
WorkerStop = Literal["answered", "timeout", "died", "gone", "worn", "spent", "unsent"]
"""died: it broke the protocol; gone: it closed its side, as it does when it ends."""
WorkerReply = tuple[int, str, float]  # status, text, seconds by its own account
_START_SECONDS = 60.0
_SCARCE = frozenset(
    (errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOMEM, errno.ENOBUFS, errno.ETOOMANYREFS, errno.ENOSPC)
)
_SCARCE_SECONDS, _SCARCE_PAUSE = 30.0, 0.05  # to wait for what others have to let go of first, and between two looks
_BEGIN_SECONDS = 0.025  # after so much of a request no other call of it is begun: the rest can go elsewhere
_GRACE_SECONDS = 0.005  # after so much more an answer is late
_QUICK_SECONDS, _QUICK_SECONDS_EACH = 0.0005, 0.00003  # for an answer, and for each call in it
_CREDIT, _PENALTY = 16, 8  # a worker counts as quick while no more than one answer in nine takes longer than that
_FIRST_CREDIT = -4
_MOVE_SECONDS = 0.02  # between two changes of a worker's core: the launcher has to be woken for one
_BRIEF_BYTES = 1 << 16  # of a request that can be sent without waiting
_HELLO_LIMIT = 65536
_ADDR_NO_RANDOMIZE = 0x0040000
_PAGE = os.sysconf("SC_PAGE_SIZE")
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
_LAST_STATUS = wire.WORN | wire.SPENT
_REPLY_SIZE, _unpack_reply = wire.REPLY.size, wire.REPLY.unpack_from
_clock = time.perf_counter
_LIBRARIES = ("time_machine", "_time_machine", "pytz", "dateutil", "six", "tzdata")


class Sent(NamedTuple):
    """A request on its way to a worker; `chunk` as `Exchange` has it."""

    token: bytes
    until: float
    data: bytes
    chunk: bytes | bool | None = None


def is_scarce(error: BaseException) -> bool:
    """Whether the machine had no more of something to give, and may have some later."""
    return isinstance(error, OSError) and error.errno in _SCARCE


def resident_bytes(pid: int) -> int:
    """Memory of a process that is in use, whether or not others share it; 0 where that cannot be read."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/statm").read_bytes().split()[1]) * _PAGE
    return 0


def retry_while_scarce(make: Callable[[], T], relieve: Callable[[], object]) -> T:
    """What `make` gives; where something is scarce, after others let go of it. SandboxError when nobody does."""
    end = time.monotonic() + _SCARCE_SECONDS
    while True:
        try:
            return make()
        except OSError as error:
            if not is_scarce(error):
                raise
            if time.monotonic() > end:
                raise SandboxError(f"the machine has nothing left for the sandbox: {error.strerror}") from None
        if not relieve():
            time.sleep(_SCARCE_PAUSE)


class LauncherProcess:
    """A launcher process, or one forked from it that holds a state. Commands go one way; one question is answered."""

    def __init__(self, control: socket.socket, process: subprocess.Popen[bytes] | None = None) -> None:
        self.control = control
        self.process = process
        self.hello: dict[str, Any] = {}
        self.live = 0  # workers forked from it
        self.broken = False
        self._questions = threading.Lock()

    @classmethod
    def start(cls, options: dict[str, Any], fixed_addresses: bool = True) -> LauncherProcess:
        """`options` are those of launcher.main. SandboxError when the interpreter does not come up, OSError when there
        is nothing to start it with."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = {**options, "package": str(Path(__file__).parent), "path": _library_paths()}
        with theirs:
            try:
                with _fixed_addresses() if fixed_addresses else contextlib.nullcontext():
                    process = _spawn(options, theirs.fileno())
            except OSError as error:
                ours.close()
                if is_scarce(error):
                    raise
                raise SandboxError(f"the sandbox's launcher did not start: {error}") from None
        launcher = cls(ours, process)
        ours.settimeout(_START_SECONDS)
        try:
            launcher.hello = json.loads(ours.recv(_HELLO_LIMIT))
        except (OSError, ValueError):
            raise SandboxError(f"the sandbox's launcher did not start: {launcher._last_words()}") from None
        return launcher

    def _last_words(self) -> str:
        self.control.close()
        assert self.process is not None
        self.process.kill()
        _, errors = self.process.communicate()
        lines = errors.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def is_usable(self) -> bool:
        return not self.broken and (self.process is None or self.process.poll() is None)

    def command(self, do: str, number: int, descriptors: Sequence[int] = (), core: int | None = None) -> None:
        """OSError when the launcher is gone."""
        message = json.dumps({"do": do, "id": number, "core": core}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        self.control.sendmsg([message], rights, socket.MSG_NOSIGNAL)

    def was_killed(self, number: int) -> bool:
        """Whether a worker that is gone was killed from outside; one that is not gone is killed. Blocks for moments.

        A launcher that is gone itself has taken the worker with it.
        """
        with self._questions:
            try:
                self.command("why", number)
                return bool(json.loads(self.control.recv(_HELLO_LIMIT) or b"true"))
            except (OSError, ValueError):
                self.broken = True
                return True

    def with_state(self, document: str) -> LauncherProcess:
        """A launcher forked from this one, with the JSON `document` loaded. OSError when this one is gone."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.settimeout(_START_SECONDS)
        with theirs, os.fdopen(os.memfd_create("state"), "wb") as file:
            file.write(document.encode("utf-8", "surrogatepass"))
            file.flush()
            file.seek(0)
            try:
                self.command("state", 0, [theirs.fileno(), file.fileno()])
            except OSError:
                ours.close()
                raise
        return LauncherProcess(ours)

    def close(self) -> None:
        """The launcher ends, and takes its workers with it, when nobody holds the other end."""
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


def _spawn(options: dict[str, Any], control: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, *_FLAGS, "-c", _BOOT, json.dumps(options), str(control)],
        env=_ENVIRONMENT,
        cwd="/",
        pass_fds=[control],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@contextlib.contextmanager
def _fixed_addresses() -> Iterator[None]:
    """What this thread starts has its libraries and types where every other start has them, so that a set of classes
    has one order. Some containers forbid it, and then it has not."""
    libc = ctypes.CDLL(None)
    before = libc.personality(ctypes.c_ulong(0xFFFFFFFF))
    changed = before >= 0 and libc.personality(ctypes.c_ulong(before | _ADDR_NO_RANDOMIZE)) >= 0
    try:
        yield
    finally:
        if changed:
            libc.personality(ctypes.c_ulong(before))


def _library_paths() -> list[str]:
    """Where the few packages live that the launcher loads; a worker can read none of it."""
    specs = [importlib.util.find_spec(name) for name in _LIBRARIES]
    origins = [Path(spec.origin) for spec in specs if spec is not None and spec.origin]
    return sorted({str(path.parent.parent if path.name == "__init__.py" else path.parent) for path in origins})


def _tokens() -> Iterator[bytes]:
    """Random and never repeated; drawn in advance, because asking the kernel takes as long as reading a reply."""
    while True:
        block = os.urandom(2048)
        yield from (block[start : start + 8] for start in range(0, len(block), 8))


class WorkerProcess:
    """A place for one process: it is started when first needed, and again after it was killed.

    `launcher` gives the launcher to fork from; it is asked at every start, because a launcher may have been replaced.
    `relieve` lets go of something where the machine has no more to give, and says whether there was anything.
    """

    _numbers = itertools.count(1)

    def __init__(
        self,
        launcher: Callable[[], LauncherProcess],
        output_chars: int,
        call_timeout: float,
        relieve: Callable[[], bool] = lambda: False,
    ) -> None:
        self._launcher = launcher
        self._relieve = relieve
        self._forked_from: LauncherProcess | None = None
        self._limit = wire.longest_text(output_chars)
        self.call_timeout = call_timeout
        self._number = 0
        self._tokens = _tokens()
        self._channel: Channel | None = None
        self._credit = _FIRST_CREDIT
        self._moved = 0.0
        self.asked = 0.0  # time by perf_counter
        self.pid = 0
        self.began_with = 0  # bytes in memory, most of them shared with the launcher
        self.codes: set[int] = set()  # what this process was sent

    @property
    def alive(self) -> bool:
        return self._channel is not None

    # --- life and death ------------------------------------------------------------------------------------------

    def start(self) -> Operation[None]:
        """Fork a process and wait until it is jailed. SandboxError when that fails twice.

        What the machine has no more of is waited for, and is not the launcher's failure.
        """
        end = time.monotonic() + _SCARCE_SECONDS
        failed, reason = 0, "it ended before it was ready"
        while failed < 2:
            launcher: LauncherProcess = yield Blocking(self._launcher)
            try:
                channel = self._open(launcher)
            except OSError as error:
                if is_scarce(error) and time.monotonic() < end:
                    yield from self._wait_for_more()
                    continue
                launcher.broken, reason, failed = not is_scarce(error), str(error), failed + 1
                continue
            hello = yield Receive(channel, _START_SECONDS)
            status, reason = self._read_hello(hello or b"", reason)
            if status == wire.OK:
                self.pid = int(reason)
                self.began_with = resident_bytes(self.pid)
                return
            self.kill()
            if status == wire.WORN and time.monotonic() < end:
                yield from self._wait_for_more()
                continue
            launcher.broken, failed = launcher.broken or status is None, failed + 1
        raise SandboxError(f"a sandbox worker could not be started: {reason}")

    def _wait_for_more(self) -> Operation[None]:
        if not self._relieve():
            yield Pause(_SCARCE_PAUSE)

    def _read_hello(self, hello: bytes, otherwise: str) -> tuple[int | None, str]:
        replies, _, _ = self._parse(hello, wire.HELLO, 0)
        return replies[0][:2] if replies else (None, otherwise)

    def _open(self, launcher: LauncherProcess) -> Channel:
        number = next(self._numbers)
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                to_us, from_them = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
            except OSError:
                ours.close()
                raise
            channel = Channel(ours, to_us, self.call_timeout)
            try:
                launcher.command("worker", number, [theirs.fileno(), from_them])
            except OSError:
                channel.close()
                raise
            finally:
                os.close(from_them)
        launcher.live += 1
        self._number, self._forked_from = number, launcher
        self._channel, self._credit = channel, _FIRST_CREDIT
        return channel

    def kill(self) -> None:
        """End the process, whatever it is doing. Calling it twice is safe."""
        if self._channel is None or self._forked_from is None:
            return
        self._channel.close()
        self._channel, self.pid = None, 0
        self.codes.clear()
        self._forked_from.live -= 1
        with contextlib.suppress(OSError):
            self._forked_from.command("kill", self._number)

    def was_killed(self) -> bool:
        """Whether a process that is gone was killed from outside, so that no call of its is to blame. Blocks."""
        return self._forked_from is None or self._forked_from.was_killed(self._number)

    # --- question and answer -------------------------------------------------------------------------------------

    def may_be_brief(self, code: int, line: str) -> bool:
        """Whether a call of the tool with that number can be asked for by `ask_briefly`."""
        return self._credit >= 0 and code in self.codes and len(line) < _BRIEF_BYTES

    def ask_briefly(self, line: str) -> tuple[WorkerReply | None, Sent]:
        """Ask for one call of a tool that was sent before, and wait for a moment: the same as `ask`, in less time.

        The reply, where it came and leaves nothing to decide; else None, and what `ask` goes on with.
        """
        channel, sent = self._channel, self._make_request(line)
        assert channel is not None
        chunk = Exchange(channel, sent.data, True).now()
        if chunk is not False:
            self._learn(channel.seat, _clock() - self.asked < _QUICK_SECONDS + _QUICK_SECONDS_EACH)
        if isinstance(chunk, bytes):
            replies, rest, honest = self._parse(chunk, sent.token, 0)
            if honest and not rest and len(replies) == 1 and replies[0][0] < wire.WORN:
                return replies[0], sent
        return None, sent._replace(chunk=chunk)

    def _make_request(self, lines: str) -> Sent:
        token, body = next(self._tokens), lines.encode("ascii")
        self.asked = start = _clock()
        until = start + _BEGIN_SECONDS
        return Sent(token, until, wire.REQUEST.pack(len(body), token, until) + body)

    def ask(
        self,
        lines: list[str],
        expected: int,
        late: Callable[[list[WorkerReply]], None] = lambda _: None,
        sent: Sent | None = None,
    ) -> Operation[tuple[list[WorkerReply], WorkerStop]]:
        """Send a request and collect its replies, each within the time limit; and why there are fewer, if there are.

        Fewer than `expected` with "answered" is no fault: the worker began no more, and can be asked for the rest.
        `late` is told the replies so far if the answer is late: one more call is being run then, and no other will be.
        `sent`: from `ask_briefly`, where the request is on its way already.
        """
        channel = self._channel
        if channel is None:
            return [], "unsent"
        if sent is None:
            sent = self._make_request("\n".join(lines))
            chunk = yield Exchange(channel, sent.data, self._credit >= 0 and len(sent.data) < _BRIEF_BYTES)
            if chunk is not False:
                self._learn(channel.seat, _clock() - self.asked < _QUICK_SECONDS + _QUICK_SECONDS_EACH * expected)
        else:
            chunk = sent.chunk
        if chunk is False:
            return [], "unsent"
        token, until = sent.token, sent.until
        replies: list[WorkerReply] = []
        if chunk is None:
            chunk = yield Receive(channel, max(0.0, until + _GRACE_SECONDS - _clock()))
        if chunk is None:
            if not self._look_aside(channel, token, replies, expected):
                return replies, "died"
            late(replies)
            chunk = yield Receive(channel, max(0.0, until + self.call_timeout - _clock()))
        if expected > 1 and not self._look_aside(channel, token, replies, expected):
            return replies, "died"
        new, rest, honest = self._parse(chunk or b"", token, len(replies))
        while chunk and honest and not new:  # one long reply
            chunk = yield Receive(channel, max(0.0, until + self.call_timeout - _clock()))
            rest += chunk or b""
            new, rest, honest = self._parse(rest, token, len(replies))
        replies += new[:1]
        if not new and honest:
            return replies, "timeout" if chunk is None else "gone"
        if not honest or rest or len(new) > 1:
            return replies, "died"
        status = new[0][0]
        return replies, "worn" if status == wire.WORN else "spent" if status & wire.SPENT else "answered"

    def _look_aside(self, channel: Channel, token: bytes, replies: list[WorkerReply], expected: int) -> bool:
        """Collect what was written to the pipe; False when that is not in order."""
        new, rest, honest = self._parse(channel.look_aside(), token, len(replies))
        replies += new[: expected - 1 - len(replies)]
        return honest and not rest

    # --- how quick it is -----------------------------------------------------------------------------------------

    @property
    def is_quick(self) -> bool:
        return self._credit >= 0

    def _learn(self, seat: cores.SharedCore, quick: bool) -> None:
        """A worker that is quick is kept on the core of whoever asks, any other runs where there is room."""
        if not quick:
            self._credit = max(self._credit - _PENALTY, -_PENALTY)
        elif self._credit < _CREDIT:
            self._credit += 1
        if self._credit < 0:
            if seat.core is not None:
                self._place(seat, None)
        elif (seat.core is None or seat.is_far) and _clock() - self._moved > _MOVE_SECONDS:
            self._place(seat, cores.current_core())

    def _place(self, seat: cores.SharedCore, core: int | None) -> None:
        assert self._forked_from is not None
        seat.move(core)
        self._moved = _clock()
        with contextlib.suppress(OSError):
            self._forked_from.command("place", self._number, core=core)

    def _parse(self, data: bytes, token: bytes, place: int) -> tuple[list[WorkerReply], bytes, bool]:
        """The complete replies in `data` up to a worn or spent one, what is left over, and whether all was in order."""
        replies: list[WorkerReply] = []
        start, size, limit = 0, len(data), self._limit
        while (begin := start + _REPLY_SIZE) <= size:
            length, echoed, number, status, seconds = _unpack_reply(data, start)
            if length > 4 * limit or echoed != token or number != place + len(replies) or status > _LAST_STATUS:
                return replies, b"", False
            if (end := begin + length) > size:
                break
            try:
                text = data[begin:end].decode()
            except UnicodeDecodeError:
                return replies, b"", False
            if len(text) > limit:
                return replies, b"", False
            replies.append((status, text, seconds if 0.0 <= seconds <= self.call_timeout else 0.0))
            start = end
            if status >= wire.WORN:
                break
        return replies, data[start:], True
