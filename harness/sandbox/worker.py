"""What runs inside the jail: reads requests, runs tools, writes replies, until the harness closes the socket.

A worker holds nothing worth stealing: the code of the tools it was sent, the arguments of the call, and for stateful
episodes their data. A tool's function is defined anew for every call, from a code object that was compiled once.
Left out: deadlines (the harness kills) and any check of arguments (Python's own TypeError is the feedback).
"""

from __future__ import annotations

import builtins
import hashlib
import json
import mmap
import os
import random
import re
import time
from types import CodeType
from typing import Any

from harness.sandbox import wire

SOCKET, PIPE = 3, 4  # the only descriptors beside the three that lead to /dev/null
_CHUNK = 65536
_MAIN = "tool"  # what a tool sees as __name__

_dumps = wire.make_encoder(ensure_ascii=False)
_scan = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # `loads` without its search for white space
_ADDRESS = re.compile(r"(?<= at )0x[0-9a-f]{6,16}(?=>)")
_bits = random.Random(0)
_clock = time.perf_counter  # kept from before the clock is stopped
_PROOF_SECONDS = 0.005  # of calls between two proofs of headroom: what fills memory takes longer


class CompiledTool:
    """A tool as it was sent; compiled at its first call, so that a syntax error is the answer to a call."""

    def __init__(self, name: str, source: str, seed: bool) -> None:
        self.name = name
        self.source = source
        self.seed = seed
        self.compiled: CodeType | None = None

    def code(self) -> CodeType:
        if self.compiled is None:
            self.compiled = compile(self.source, "<string>", "exec", dont_inherit=True)
        return self.compiled


def serve(output_chars: int, stateful: bool, data: Any, memory_bytes: int) -> None:
    """Answer requests until the other side closes."""
    tools: dict[int, CompiledTool] = {}
    headroom = 0 if stateful else _headroom(memory_bytes // 2)
    unproven = 0.0  # seconds of calls since it was last proven
    while (request := _read_request()) is not None:
        token, until, lines = request
        place = 0
        began = _clock()
        for number, line in enumerate(lines, 1):
            answer = _answer(line, tools, stateful, data, output_chars)
            if answer is None:
                continue
            now = _clock()
            seconds = now - began
            status, text = answer
            unproven += seconds
            if unproven > _PROOF_SECONDS:
                unproven = 0.0
                status |= 0 if _can_map(headroom) else wire.SPENT
            reply = _reply(token, place, status, text, seconds)
            if number == len(lines) or status >= wire.WORN or now >= until or not _put_aside(reply):
                _send(reply)
                break
            place += 1
            began = now


def _headroom(size: int) -> int:
    """Room in memory that a process proves to have after its calls, so that what one keeps is no harm to the next: as
    much of `size` as there is now. A state may take up what it likes, for nobody else is in its process."""
    while not _can_map(size):
        size //= 2
    return size


def _can_map(size: int) -> bool:
    if not size:
        return True
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, MemoryError):
        return False
    return True


def _answer(
    line: str, tools: dict[int, CompiledTool], stateful: bool, data: Any, output_chars: int
) -> tuple[int, str] | None:
    try:
        todo, _ = _scan(line, 0)
        if type(todo) is list:
            status, text = wire.OK, _call(tools[todo[0]], todo[1], (data,) if stateful else ())
        elif type(todo) is dict:
            tools[todo["code"]] = CompiledTool(todo["name"], todo["source"], todo["seed"])
            return None
        else:
            status, text = wire.OK, _digest(data)
    except MemoryError as error:
        status, text = wire.WORN, _text(error)
    except BaseException as error:  # a tool may well raise SystemExit or KeyboardInterrupt
        status, text = wire.RAISED, _text(error)
    if " at 0x" in text:  # <function f at 0x7f...>: an address tells what was in memory before, and nothing else
        text = _ADDRESS.sub("0x0", text)
    if len(text) > output_chars:
        return (wire.TRUNCATED if status == wire.OK else status), text[:output_chars]
    return status, text


def _call(tool: CompiledTool, arguments: dict[str, Any], first: tuple[Any, ...]) -> str:
    namespace: dict[str, Any] = {"__name__": _MAIN, "__builtins__": builtins}
    if tool.seed:
        seed_randomness()
    try:
        exec(tool.code(), namespace)
        if tool.name not in namespace:
            raise NameError(f"name {tool.name!r} is not defined")
        out = namespace[tool.name](*first, **arguments)
        return _dumps(out) if isinstance(out, (dict, list)) else str(out)
    finally:
        namespace.clear()  # functions and their globals are a cycle, and the collector would have to find it


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except BaseException:
        return type(error).__name__


def _digest(data: Any) -> str:
    canonical = json.dumps(data, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def seed_randomness() -> None:
    """Both sources of chance start over: the module's generator, and the bytes behind uuid4 and secrets."""
    random.seed(0)
    _bits.seed(0)


def urandom(size: int) -> bytes:
    """Stands in for os.urandom."""
    return _bits.randbytes(size)


# --- bytes in and out --------------------------------------------------------------------------------------------


def make_hello(status: int, text: str) -> bytes:
    return _reply(wire.HELLO, 0, status, text)


def send_hello(status: int, text: str) -> None:
    _send(make_hello(status, text))


def _read_request() -> tuple[bytes, float, list[str]] | None:
    data = os.read(SOCKET, _CHUNK)
    while len(data) < wire.REQUEST.size:
        more = os.read(SOCKET, _CHUNK)
        if not more:
            return None
        data += more
    length, token, until = wire.REQUEST.unpack_from(data)
    missing = length + wire.REQUEST.size - len(data)
    if missing > 0:
        data += _read_exactly(missing)
    return token, until, data[wire.REQUEST.size :].decode("ascii").split("\n")


def _read_exactly(missing: int) -> bytes:
    parts = []
    while missing > 0:
        part = os.read(SOCKET, min(missing, _CHUNK))
        if not part:
            os._exit(0)
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _reply(token: bytes, place: int, status: int, text: str, seconds: float = 0.0) -> bytes:
    data = text.encode("utf-8", "replace")
    return wire.REPLY.pack(len(data), token, place, status, seconds) + data


def _put_aside(reply: bytes) -> bool:
    """Into the pipe, which never makes this wait; False where it does not fit."""
    try:
        return len(reply) <= wire.PIPE_REPLY_LIMIT and os.write(PIPE, reply) == len(reply)
    except BlockingIOError:
        return False


def _send(data: bytes) -> None:
    while written := os.write(SOCKET, data):
        if written == len(data):
            return
        data = data[written:]
