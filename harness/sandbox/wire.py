"""The bytes between the harness and a worker, known to both sides.

A request is a header and lines of ASCII JSON, each a thing to do; after the time in the header no call is begun but the
first:
    {"code": number, "name": tool, "source": Python, "seed": bool}     keep this tool; no reply
    [number, arguments]                                                call it; one reply
    "digest"                                                           hash the state; one reply
A reply is a header and UTF-8 text. The harness parses nothing a worker sends but this fixed header, so that there is
no decoder to attack: no JSON, and never a pickle. The token is random and new in every request, so that a tool cannot
write the answers to calls that are yet to come.

A worker writes to a socket and to a pipe. A reply on the socket is the last one to its request, and wakes the harness;
what comes after it in the request is undone (the time was over, or the reply was WORN or SPENT). Those before it went
into the pipe, which nobody waits at: they are there to tell how far a worker came that never gave the last one. A reply
that is too long for the pipe, or finds it full, goes to the socket and is the last one.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from typing import Any

REQUEST = struct.Struct("<I8sd")  # bytes after the header, token, time by perf_counter
REPLY = struct.Struct("<I8sIBf")  # bytes after the header, token of the request, place of the reply, status, seconds
OK, RAISED, TRUNCATED, WORN = range(4)  # WORN: raised MemoryError, and the process should not be used again
SPENT = 4  # added to a status: the process has too little room left to be used again, although this call was well
HELLO = b"\0" * 8  # the token of a worker's first message: OK and its process id, RAISED and what went wrong, or
# WORN where the machine had no process to give, and may have one later
LINE_LIMIT = 1 << 24  # of a call, in characters
PIPE_REPLY_LIMIT = 4096  # the kernel writes this much whole or not at all


def longest_text(output_chars: int) -> int:
    """How many characters a worker may send at once: what it keeps of an output, and enough to say hello."""
    return max(output_chars, 1024)


def make_encoder(ensure_ascii: bool) -> Callable[[Any], str]:
    """json.dumps for dicts and lists, with the C encoder made once and not for every value: that is half the time."""
    plain = json.JSONEncoder(ensure_ascii=ensure_ascii)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return plain.encode
    quote = getattr(json.encoder, "encode_basestring_ascii" if ensure_ascii else "encode_basestring")
    fast = make(None, plain.default, quote, None, ": ", ", ", False, False, True)

    def encode(value: Any) -> str:
        try:
            return "".join(fast(value, 0))
        except RecursionError:
            return plain.encode(value)  # which tells a cycle from mere depth

    return encode
