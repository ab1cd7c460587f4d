"""Waiting, written once: generators yield wishes, and a driver carries them out.

A wish is something to wait for, and can do so in two ways: `now` blocks, `later` lets the event loop run. Everything
that decides (deadlines, restarts, who is to blame) is a generator and knows neither. Left out: threads for reading and
a loop of our own; a wish holds on to no loop, so that one sandbox serves one `asyncio.run` after another.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import select
import socket
import struct
import time
from collections.abc import Callable, Generator
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from harness.sandbox.cores import SharedCore

T = TypeVar("T")
BRIEF_SECONDS = 0.002  # that an event loop can spare; the kernel may make it two of its ticks, some milliseconds
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


async def run_async(steps: Operation[T], wish: Waitable | None = None) -> T:
    """`wish` is what `steps` waits for where they have begun."""
    try:
        wish = wish or next(steps)
        while True:
            wish = steps.send(await wish.later())
    except StopIteration as end:
        return end.value  # type: ignore[no-any-return]
    finally:
        steps.close()


def run_while_brief(steps: Operation[T]) -> Waitable | None:
    """Goes on as long as each wait is a moment that an event loop can spare; the first longer wait, or None at the end.

    However else this ends, `steps` is closed.
    """
    try:
        wish = next(steps)
        while isinstance(wish, Exchange) and wish.brief:
            wish = steps.send(wish.now())
    except StopIteration:
        return None
    except BaseException:
        steps.close()
        raise
    return wish


class Blocking(Generic[T]):
    """Call something slow: under asyncio in a thread."""

    def __init__(self, function: Callable[[], T]) -> None:
        self.now = function

    async def later(self) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, self.now)


class Pause(NamedTuple):
    """Let some time pass."""

    seconds: float

    def now(self) -> None:
        time.sleep(self.seconds)

    async def later(self) -> None:
        await asyncio.sleep(self.seconds)


class Channel:
    """Our ends of a worker's socket and pipe. The socket stays a blocking one, with time limits kept by the kernel;
    what must not wait says MSG_DONTWAIT. The pipe is only looked into."""

    def __init__(self, sock: socket.socket, pipe: int, seconds: float) -> None:
        self.socket = sock
        self.pipe = io.FileIO(pipe)
        self.seat = SharedCore()
        self.answer = select.poll()
        self.answer.register(sock, select.POLLIN)
        self.seconds = seconds
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _timeval(seconds))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, _timeval(BRIEF_SECONDS))

    def read_soon(self) -> bytes | None:
        """As `read_now`, after waiting a moment. It is the socket that has the time limit, for that is kept by the
        kernel's tick; a limit of `poll` sets a timer of the processor's, which costs as much as a call."""
        try:
            return self.socket.recv(_CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def read_now(self) -> bytes | None:
        """What is in the socket: None when there is nothing, b"" when the other side is gone."""
        try:
            return self.socket.recv(_CHUNK, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def look_aside(self) -> bytes:
        """What is in the pipe."""
        try:
            return self.pipe.read(_CHUNK) or b""
        except (OSError, ValueError):  # ValueError: closed meanwhile by someone else
            return b""

    def close(self) -> None:
        self.socket.close()
        self.pipe.close()


class Receive(NamedTuple):
    """Some bytes; b"" when the other side is gone, None when `seconds` are over."""

    channel: Channel
    seconds: float

    def now(self) -> bytes | None:
        return self.channel.read_now() if self.channel.answer.poll(self.seconds * 1000) else None

    async def later(self) -> bytes | None:
        sock = self.channel.socket
        loop = asyncio.get_running_loop()
        end = loop.time() + self.seconds
        while (data := self.channel.read_now()) is None:
            if not await _ready(loop, loop.add_reader, loop.remove_reader, sock.fileno(), end):
                return None
        return data


class Exchange(NamedTuple):
    """Send `data`, and receive the first bytes that come back within a moment; None when there were none, False when
    the other side was gone before. Where it is `brief`, the answer is expected at once: then waiting for it costs less
    than going back to the event loop, and least on the worker's own core."""

    channel: Channel
    data: bytes
    brief: bool

    def now(self) -> bytes | bool | None:
        channel = self.channel
        try:
            channel.socket.sendall(self.data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return None
        except OSError:
            return False
        return channel.seat.wait(channel.read_soon) if self.brief else channel.read_soon()

    async def later(self) -> bytes | bool | None:
        if self.brief:
            return self.now()
        sock, rest = self.channel.socket, memoryview(self.data)
        loop = asyncio.get_running_loop()
        end = loop.time() + self.channel.seconds
        while rest:
            try:
                rest = rest[sock.send(rest, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL) :]
            except BlockingIOError:
                if not await _ready(loop, loop.add_writer, loop.remove_writer, sock.fileno(), end):
                    return None
            except OSError:
                return False
        return await Receive(self.channel, BRIEF_SECONDS).later()


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
