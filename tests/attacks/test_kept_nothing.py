"""A tool answers the same whoever was there before it in its worker, and in every run."""

from __future__ import annotations

import json

import pytest

from harness.sandbox import Sandbox, SandboxConfig, screen
from harness.types import ToolResult

ONE = SandboxConfig(workers=1)

# name: what an episode leaves behind, if it can, and what another would read it with
CHANNELS: dict[str, tuple[str, str]] = {
    "random, in other letters": (
        "import ｒandom\ndef f():\n    ｒandom.seed(5)\n    return 1",
        "import ｒandom\ndef g():\n    return [ｒandom.random(), ｒandom.gauss(0, 1)]",
    ),
    "uuid, in other letters": (
        "from ｕuid import uuid4\ndef f():\n    return str(uuid4())",
        "from ｕuid import uuid4 as ｕ\ndef g():\n    return str(ｕ())",
    ),
    "typing": (
        "import typing\ndef f():\n    return str(typing.List[-0.0])",
        "import typing\ndef g():\n    return str(typing.List[0.0])",
    ),
    "typing, in a hint": (
        "from typing import List\nZERO = -0.0\ndef f(x: List[ZERO] = None):\n    return 1",
        "from typing import List, Optional\nTABLE = {}\n"
        "def g():\n    try:\n        def h(x: TABLE[List[0.0]]):\n            pass\n"
        "    except KeyError as error:\n        return str(error)",
    ),
    "typing's complaints": (
        "from typing import Dict\nfrom decimal import Decimal\nZERO = Decimal('1.000')\n"
        "def f(x: Dict[str, ZERO] = None):\n    return 1",
        "from typing import Dict, Optional\nfrom decimal import Decimal\nONE = Decimal('1.0')\n"
        "def g():\n    try:\n        def h(x: Optional[Dict[str, ONE], 1]):\n            pass\n"
        "    except TypeError as error:\n        return str(error)",
    ),
    "re": (
        "import re\ndef f():\n    return bool(re.search('the text of another', '', 2))",
        "import re\ndef g():\n    try:\n        return bool(re.search('the text of another', '', 2.0))\n"
        "    except TypeError as error:\n        return str(error)",
    ),
    "re's copy of a text": (
        "import re\ndef f():\n    return str(re.compile('the text ' + 'of another'.lower()))",
        "import re\ndef g():\n    mine = 'the text ' + 'of another'.lower()\n"
        "    return re.compile(mine).pattern is mine",
    ),
    "re's copy of a text, asked by a class of one's own": (
        "import re\ndef f():\n    return str(re.compile('the text ' + 'of another'.lower()))",
        "import re\ndef g(type=lambda x: x):\n    mine = 'the text ' + 'of another'.lower()\n"
        "    return type(re.compile(mine).pattern) is not mine",
    ),
    "addresses in texts": (
        "def f():\n    return len([lambda: x for x in range(777)])",
        "def g():\n    return lambda: 1",
    ),
    "clocks": ("import time\ndef f():\n    time.sleep(0.01)", "import time\ndef g():\n    return time.time_ns()"),
}


# What tells an address: where it is in a process of its own depends on no other episode's text, only on how many there
# were.
KEPT_OUT = {
    "a copy's memo": "import copy\ndef g():\n    memo = {}\n    copy.deepcopy([[], {}], memo)\n    return list(memo)",
    "hashes of functions": "def g():\n    return hash(lambda: 1)",
    "hashes of exceptions": "def g():\n    return sorted(map(hash, [ValueError('x'), KeyError('y')]))",
    "sets of exceptions": "def g():\n    return [str(e) for e in {ValueError('a'), KeyError('b'), OSError('c')}]",
    "sets of functions": "def g():\n    return [f(1) for f in {lambda x: x, lambda x: x + 1}]",
}


@pytest.mark.parametrize("name", KEPT_OUT)
def test_what_tells_addresses_shares_no_worker(name: str) -> None:
    assert not screen.is_plain_source(KEPT_OUT[name])
    assert outputs(writer=None, reader=KEPT_OUT[name])[0].status == "ok"


def outputs(*, writer: str | None, reader: str) -> list[ToolResult]:
    """What a reader answers in a fresh sandbox, after another episode where there is a writer."""
    with Sandbox(ONE) as sandbox:
        if writer is not None:
            with sandbox.episode() as one:
                assert one.run({"f": writer}, [("f", {})] * 3)[0].status in ("ok", "raised")
        with sandbox.episode() as other:
            return other.run({"g": reader}, [("g", {})])


@pytest.mark.parametrize("name", CHANNELS)
def test_nothing_of_one_episode_is_read_in_the_next(name: str) -> None:
    writer, reader = CHANNELS[name]
    alone = outputs(writer=None, reader=reader)
    assert outputs(writer=writer, reader=reader) == alone
    assert alone[0].status == "ok", alone


def test_most_readers_would_share_a_worker_if_nothing_were_decided_about_them() -> None:
    """Those that may share one are the ones that have to be seeded or cleaned; the others are kept out."""
    shared = {name for name, (_, reader) in CHANNELS.items() if screen.is_plain_source(reader)}
    assert shared == {"random, in other letters", "uuid, in other letters", "re", "addresses in texts", "clocks"}


# --- from run to run ---------------------------------------------------------------------------------------------

PROCESS = """
import _random, os, posix, random, secrets, sys, threading, time, uuid
def f():
    return [os.getpid(), os.getppid(), posix.getpid(), threading.get_native_id(), sys.argv, time.monotonic(),
            time.clock_gettime(time.CLOCK_MONOTONIC), time.clock_gettime_ns(time.CLOCK_BOOTTIME),
            time.perf_counter_ns(), time.clock_gettime(time.CLOCK_REALTIME), str(uuid.uuid1()), uuid.getnode(),
            os.getrandom(8).hex(),
            posix.urandom(4).hex(), _random.Random().random(), secrets.token_hex(4), random.SystemRandom().random(),
            str(object()), repr(f), str(ValueError)]
"""
CLASSES = "def f():\n    return [str(kind) for kind in {ValueError, KeyError, OSError, TypeError, int, str, float}]"


def run_once(code: str) -> ToolResult:
    with Sandbox(ONE) as sandbox, sandbox.episode() as episode:
        return episode.run({"f": code}, [("f", {})])[0]


def test_a_process_is_told_from_another_by_nothing() -> None:
    one, other = run_once(PROCESS), run_once(PROCESS)
    assert one == other
    assert one.status == "ok"
    said = json.loads(one.output)
    assert said[:4] == [2, 1, 2, 2]
    assert said[5:10] == [0, 0, 0, 0, 1735689600.0]
    assert said[-3:-1] == ["<object object at 0x0>", "<function f at 0x0>"]


def fixed_addresses_are_allowed() -> bool:
    import ctypes

    libc = ctypes.CDLL(None)
    before = libc.personality(ctypes.c_ulong(0xFFFFFFFF))
    allowed: bool = libc.personality(ctypes.c_ulong(before | 0x0040000)) >= 0
    libc.personality(ctypes.c_ulong(before))
    return allowed


def test_a_set_of_classes_has_one_order() -> None:
    if not fixed_addresses_are_allowed():
        pytest.skip("this container forbids fixed addresses: the order of a set of classes is not fixed here")
    assert len({run_once(CLASSES).output for _ in range(4)}) == 1


def test_this_process_keeps_its_own_addresses_random() -> None:
    import ctypes

    libc = ctypes.CDLL(None)
    before = libc.personality(ctypes.c_ulong(0xFFFFFFFF))
    run_once("def f():\n    return 1")
    assert libc.personality(ctypes.c_ulong(0xFFFFFFFF)) == before
