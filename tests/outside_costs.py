"""What reading costs that was made to cost much: prints CPU seconds and megabytes by reader and content, as JSON.

A process of its own, so that what was used before is not counted; and one more for each content.

    python tests/outside_costs.py [READER ...]
"""

from __future__ import annotations

import gzip
import json
import lzma
import os
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from outside import READERS, prepare

from harness.errors import HarnessError

SIZE = 1_000_000
CODE = b'{"messages":[],"tools":[],"codes":{"f":"def f(): return [%s1]"},"unsolved_set":{}}'
ROW = b'{"messages":[],"tools":[],"codes":{},"unsolved_set":{}}\n'


def plain_contents() -> dict[str, bytes]:
    """Contents of at most a megabyte."""
    return {
        "lists in lists": b"[" * (SIZE // 2) + b"]" * (SIZE // 2),
        "objects in objects": b'{"a":' * (SIZE // 6) + b"1" + b"}" * (SIZE // 6),
        "lists that do not end": b"[" * SIZE,
        "many lists": b"[" + b"[]," * (SIZE // 3 - 2) + b"1]",
        "many objects": b"[" + b'{"":0},' * (SIZE // 7 - 2) + b"1]",
        "one long text": b'"' + b"x" * (SIZE - 2) + b'"',
        "one long number": b"1" * SIZE,
        "empty lines": b"\n" * SIZE,
        "rows": ROW * (SIZE // len(ROW)),
        "names": b"{" + b",".join(b'"%d":0' % n for n in range(SIZE // 10)) + b"}",
        "a dotted key": b"a" + b".a" * (SIZE // 2 - 4) + b" = 1",
        "a short dotted key": b"a" + b".a" * 100_000 + b" = 1",
        "long code": CODE % (b"1," * (SIZE // 2 - 80)),
    }


def packed_contents(pack: object) -> dict[str, bytes]:
    """Compressed contents of kilobytes that become thirty megabytes."""
    large = {
        "many lists": b"[" + b"[]," * 10_000_000 + b"1]",
        "many objects": b"[" + b'{"":0},' * 4_000_000 + b"1]",
        "long code": CODE % (b"1," * 4_500_000),
        "one long line": b" " * 30_000_000,
        "empty lines": b"\n" * 30_000_000,
    }
    return {f"packed {name}": pack(content) for name, content in large.items()}  # type: ignore[operator]


def costs(name: str, content: bytes) -> tuple[float, float, str]:
    """CPU seconds, megabytes and what was said, in a process of its own."""
    ours, theirs = os.pipe()
    if (child := os.fork()) == 0:
        with tempfile.TemporaryDirectory() as folder:
            said = _read(name, prepare(Path(folder) / "case", name), content)
        os.write(theirs, json.dumps(said).encode())
        os._exit(0)
    os.close(theirs)
    with os.fdopen(ours, "rb") as told:
        found = json.loads(told.read() or b'[0, 0, "it was killed"]')
    os.waitpid(child, 0)
    return tuple(found)


def _read(name: str, file: Path, content: bytes) -> tuple[float, float, str]:
    file.write_bytes(content)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    try:
        READERS[name][1](file)
        said = "a value"
    except HarnessError as error:
        said = str(error)
    except BaseException as error:
        said = f"Traceback: {error!r:.200}"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return time.process_time() - began, grown / 1024, said


def measure(names: list[str]) -> Iterator[tuple[str, str, float, float, str]]:
    packed = {".gz": packed_contents(lambda text: gzip.compress(text, 1))}
    packed[".xz"] = packed_contents(lambda text: lzma.compress(text, preset=0))
    plain = plain_contents()
    for name in names:
        for kind, content in packed.get(Path(READERS[name][0]).suffix, plain).items():
            yield name, kind, *costs(name, content)


if __name__ == "__main__":
    json.dump(list(measure(sys.argv[1:] or list(READERS))), sys.stdout)
