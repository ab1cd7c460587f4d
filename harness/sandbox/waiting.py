"""Waiting, written once: generators yield wishes, and a driver carries them out.

A wish is something to wait for, and can do so in two ways: `now` blocks, `later` lets the event loop run. Everything
that decides (deadlines, restarts, who is to blame) is a generator and knows neither. Left out: threads for reading and
a loop of our own; a wish holds on to no loop, so that one sandbox serves one `asyncio.run` after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Generator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

T = TypeVar("T")
_CHUNK = 65536


class Waitable(Protocol):
    def now(self) -> Any: ...

    async def later(self) -> Any: ...


Operation = Generator[Waitable, Any, T]


def run_blocking(steps: Operation[T]) -> T:
    """However this ends, `steps` is closed: its `finally` clauses are where workers are killed and given back."""
    try:
        wish = next(steps)
        while True:
            wish = steps.send(wish.now())
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


async def run_async(steps: Operation[T]) -> T:
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


class Channel:
    """Our end of a worker's socket. It stays a blocking socket, with the time limits kept by the kernel: that saves a
    poll before every read. Under asyncio each call says MSG_DONTWAIT instead."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self.socket = sock
        self.receive = Receive(self, seconds)
        self._patience = seconds
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            sock.setsockopt(socket.SOL_SOCKET, option, _timeval(seconds))

    def wait_at_most(self, seconds: float) -> None:
        """How long a blocking read waits; the kernel is told only when it changes."""
        if abs(seconds - self._patience) > 0.01:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(seconds))
            self._patience = seconds


class Receive(NamedTuple):
    """Some bytes; b"" when the other side is gone, None when `seconds` are over."""

    channel: Channel
    seconds: float

    def now(self) -> bytes | None:
        try:
            self.channel.wait_at_most(self.seconds)
            return self.channel.socket.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    async def later(self) -> bytes | None:
        sock = self.channel.socket
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        while True:
            try:
                return sock.recv(_CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                if not await _ready(loop, loop.add_reader, loop.remove_reader, sock.fileno(), end):
                    return None
            except OSError:
                return b""


class Exchange(NamedTuple):
    """Send `data`, and receive the first bytes that come back; False when the other side was gone before."""

    channel: Channel
    data: bytes

    def now(self) -> bytes | bool | None:
        try:
            self.channel.socket.sendall(self.data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return None
        except OSError:
            return False
        return self.channel.receive.now()

    async def later(self) -> bytes | bool | None:
        sock, rest = self.channel.socket, memoryview(self.data)
        loop = asyncio.get_running_loop()
        end = loop.time() + self.channel.receive.seconds
        while rest:
            try:
                rest = rest[sock.send(rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                if not await _ready(loop, loop.add_writer, loop.remove_writer, sock.fileno(), end):
                    return None
            except OSError:
                return False
        return await self.channel.receive.later()


async def _ready(
    loop: asyncio.AbstractEventLoop,
    add: Callable[..., object],
    remove: Callable[[int], object],
    descriptor: int,
    end: float,
) -> bool:
    """Wait until `descriptor` can be used, or loop time `end`."""
    future: asyncio.Future[bool] = loop.create_future()
    add(descriptor, _resolve, future, True)
    timer = loop.call_at(end, _resolve, future, False)
    try:
        return await future
    finally:
        timer.cancel()
        with contextlib.suppress(ValueError, OSError):  # closed meanwhile by someone else
            remove(descriptor)


def _resolve(future: asyncio.Future[bool], value: bool) -> None:
    if not future.done():
        future.set_result(value)


def _timeval(seconds: float) -> bytes:
    return struct.pack("ll", int(seconds), max(1, int(seconds % 1 * 1e6)))
