"""What a call gives, and what the sandbox does when a tool or a process goes wrong. Real processes throughout."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.errors import SandboxError
from harness.sandbox import UNLIMITED, Sandbox, SandboxConfig, ToolSession
from harness.types import ToolResult

QUICK = SandboxConfig(workers=2, call_timeout=0.5, memory_bytes=1 << 29, output_chars=2000)


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(QUICK) as shared:
        yield shared


@pytest.fixture
def episode(sandbox: Sandbox) -> Iterator[ToolSession]:
    with sandbox.episode() as one:
        yield one


def tool(body: str, name: str = "f", parameters: str = "", top: str = "") -> dict[str, str]:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return {name: f"{top}\ndef {name}({parameters}):\n{lines}\n"}


def call(episode: ToolSession, codes: dict[str, str], **arguments: Any) -> ToolResult:
    [result] = episode.run(codes, [(next(iter(codes)), arguments)])
    return result


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


# --- what comes back ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ("return {'a': 'é', 'b': [1, None, True]}", '{"a": "é", "b": [1, null, true]}'),
        ("return ['x', 1.5]", '["x", 1.5]'),
        ("return 'plain'", "plain"),
        ("return 3", "3"),
        ("return None", "None"),
        ("return (1, 'a')", "(1, 'a')"),
        ("return float('nan')", "nan"),
        ("return '\\ud800|'", "?|"),
        ("print('noise')\nreturn 'quiet'", "quiet"),
        ("return __name__ == '__main__'", "False"),
    ],
)
def test_output_is_json_for_dict_and_list_and_str_for_the_rest(episode: ToolSession, body: str, output: str) -> None:
    assert call(episode, tool(body)) == ToolResult("ok", output)


@pytest.mark.parametrize(
    ("body", "output"),
    [
        ("raise ValueError('bad value')", "bad value"),
        ("raise KeyError('k')", "'k'"),
        ("raise SystemExit(3)", "3"),
        ("raise KeyboardInterrupt('stop')", "stop"),
        ("raise MemoryError('full')", "full"),
        ("return f()", "maximum recursion depth exceeded"),
        ("return 1 / 0", "division by zero"),
        ("return {'a': {1, 2}}", "Object of type set is not JSON serializable"),
        ("x = []\nx.append(x)\nreturn x", "Circular reference detected"),
        ("class E(Exception):\n    def __str__(self):\n        raise ValueError\nraise E", "E"),
        ("class O:\n    def __str__(self):\n        raise ValueError('no text')\nreturn O()", "no text"),
        ("import numpy", "No module named 'numpy'"),
        ("return missing", "name 'missing' is not defined"),
    ],
)
def test_any_exception_is_an_answer(episode: ToolSession, body: str, output: str) -> None:
    result = call(episode, tool(body))
    assert (result.status, result.output[: len(output)]) == ("raised", output)


def test_wrong_arguments_give_pythons_own_words(episode: ToolSession) -> None:
    codes = {"f": "def f(a, b=1):\n    return a\n"}
    assert call(episode, codes, x=1) == ToolResult("raised", "f() got an unexpected keyword argument 'x'")
    assert call(episode, codes) == ToolResult("raised", "f() missing 1 required positional argument: 'a'")


def test_unknown_tool_syntax_error_and_missing_function(episode: ToolSession) -> None:
    codes = {"broken": "def broken(:\n", "other": "def something_else():\n    return 1\n"}
    results = episode.run(codes, [("no_such_tool", {}), ("broken", {}), ("other", {})])
    assert results[0] == ToolResult("unknown_tool", "'no_such_tool'")
    assert results[1] == ToolResult("raised", "invalid syntax (<string>, line 1)")
    assert results[2] == ToolResult("raised", "name 'other' is not defined")


def test_top_level_imports_and_helpers_are_visible(episode: ToolSession) -> None:
    top = "import math\nFACTOR = 2\ndef helper(x):\n    return FACTOR * math.floor(x)"
    assert call(episode, tool("return helper(x)", parameters="x", top=top), x=2.5).output == "4"


def test_long_output_is_cut(episode: ToolSession) -> None:
    assert call(episode, tool("return 'é' * 2001")) == ToolResult("truncated", "é" * 2000)
    assert call(episode, tool("return 'é' * 2000")) == ToolResult("ok", "é" * 2000)
    assert call(episode, tool("raise ValueError('x' * 9999)")) == ToolResult("raised", "x" * 2000)


def test_arguments_arrive_as_they_are(episode: ToolSession) -> None:
    codes = tool("return [x, type(x) == dict]", parameters="x")
    strange = {"k": ["é\ud800", 1e308, -0.0, None, "\n[1,{}]\n", 2**70]}
    assert call(episode, codes, x=strange).output == json.dumps([strange, True], ensure_ascii=False).replace(
        "\ud800", "?"
    )
    assert call(episode, codes, x=float("inf")).output == "[Infinity, false]"
    assert call(episode, tool("return len(x)", parameters="x"), x="y" * 3_000_000).output == "3000000"


def test_arguments_that_cannot_be_sent_are_an_answer(episode: ToolSession) -> None:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    codes = tool("return 'ran'", parameters="x")
    results = episode.run(
        codes, [("f", {"x": deep}), ("f", {"x": {1, 2}}), ("f", {"x": "a" * (1 << 24)}), ("f", {"x": 1})]
    )
    assert [result.status for result in results] == ["raised", "raised", "raised", "ok"]


# --- one call does not change the next ---------------------------------------------------------------------------


@pytest.mark.parametrize("line", ["", "eval('1')"])
def test_every_call_starts_from_a_fresh_namespace(episode: ToolSession, line: str) -> None:
    codes = tool(f"{line}\nseen.append(x)\nreturn seen", parameters="x, seen=[]")
    assert [call(episode, codes, x=number).output for number in (1, 2)] == ["[1]", "[2]"]


LEAKS = {
    "import calendar\ncalendar.setfirstweekday(3)": "import calendar\nreturn calendar.firstweekday()",
    "import decimal\ndecimal.getcontext().prec = 3": "from decimal import Decimal\nreturn str(Decimal(1) / Decimal(7))",
    "import random\nrandom.seed(99)": "import random\nreturn random.random()",
    "import sys\nsys.setrecursionlimit(60)": "return (lambda f: f(f, 200))(lambda f, n: n and f(f, n - 1))",
    "import json\njson.dumps = json.loads": "import json\nreturn json.dumps([1])",
    "import builtins\nbuiltins.len = lambda x: 42": "return len('abc')",
}


@pytest.mark.parametrize(("spoil", "look"), LEAKS.items())
def test_what_a_tool_does_to_the_library_stays_with_it(sandbox: Sandbox, spoil: str, look: str) -> None:
    codes = {**tool(spoil, "spoil"), **tool(look, "look")}
    with sandbox.episode() as untouched:
        before = untouched.run(codes, [("look", {})])
    with sandbox.episode() as one:
        after = [one.run(codes, [("spoil", {}), ("look", {})])[1] for _ in range(3)]
    assert before[0].status == "ok"
    assert after == before * 3


def test_memory_that_others_used_up_is_not_held_against_a_call(sandbox: Sandbox) -> None:
    hog = tool("kept = [bytearray(300 << 20)]\nkept.append(kept)\nreturn 'ok'", "hog")
    need = tool("return len(bytearray(300 << 20))", "need")
    with Sandbox(SandboxConfig(workers=1, memory_bytes=1 << 29)) as small, small.episode() as one:
        results = one.run({**hog, **need}, [("hog", {}), ("need", {}), ("need", {})])
    assert [result.status for result in results] == ["ok", "ok", "ok"]


# --- what goes wrong ---------------------------------------------------------------------------------------------

LOOP = tool("while True:\n    pass", "loop")
FINE = tool("return x", "fine", "x")
EXIT = tool("import os\nos._exit(1)", "leave")
TIMED_OUT = ToolResult("timeout", "timed out after 0.5 seconds")


def test_a_timeout_names_the_culprit_and_the_rest_still_runs(episode: ToolSession) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [("fine", {"x": 1}), ("loop", {}), ("fine", {"x": 2}), ("fine", {"x": 3})]
    results = episode.run({**LOOP, **FINE}, calls)
    assert results == [ToolResult("ok", "1"), TIMED_OUT, ToolResult("ok", "2"), ToolResult("ok", "3")]


def test_a_dead_process_costs_only_its_own_call(episode: ToolSession) -> None:
    results = episode.run({**EXIT, **FINE}, [("leave", {}), ("fine", {"x": 2}), ("leave", {})])
    assert [result.status for result in results] == ["killed", "ok", "killed"]


def test_many_slow_calls_each_have_their_own_deadline(episode: ToolSession) -> None:
    codes = tool("import time\ntime.sleep(0.3)\nreturn 'slept'")
    assert [result.status for result in episode.run(codes, [("f", {})] * 3)] == ["ok"] * 3


def test_a_worker_that_died_idle_is_replaced(sandbox: Sandbox, episode: ToolSession) -> None:
    assert call(episode, FINE, x=1).output == "1"
    for pid in sandbox.pids[1:]:
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: gone(pid))  # type: ignore[misc]
    assert call(episode, FINE, x=2) == ToolResult("ok", "2")


def test_a_dead_launcher_is_replaced_once() -> None:
    with Sandbox(QUICK) as sandbox, sandbox.episode() as episode:
        for _ in range(2):
            assert call(episode, FINE, x=1).output == "1"
            launcher, *workers = sandbox.pids
            os.kill(launcher, signal.SIGKILL)
            wait_until(lambda workers=workers: all(map(gone, workers)))  # type: ignore[misc]
        with pytest.raises(SandboxError, match="died twice"):
            call(episode, FINE, x=1)


def test_one_launcher_outlives_many_workers() -> None:
    """Workers that end and workers that start at the same moment once crossed in the launcher, and it died."""
    with Sandbox(QUICK) as sandbox, sandbox.episode() as episode:
        launcher = sandbox.layers and sandbox.pids[0]
        for _ in range(100):
            assert [result.status for result in episode.run(EXIT, [("leave", {})] * 3)] == ["killed"] * 3
        assert sandbox.pids[0] == launcher


def test_close_ends_every_process_and_a_closed_sandbox_starts_again() -> None:
    sandbox = Sandbox(QUICK)
    with sandbox.episode() as episode:
        call(episode, FINE, x=1)
        call(episode, tool("return eval('1')"))
        pids = sandbox.pids
        assert len(pids) == 3
        sandbox.close()
        wait_until(lambda: all(map(gone, pids)))
        assert call(episode, FINE, x=2).output == "2"
    sandbox.close()


def script(text: str, **options: Any) -> subprocess.Popen[str]:
    """The harness in a process of its own."""
    head = "import os, sys, time\nfrom harness.sandbox import *\nfrom harness.errors import SandboxError\n"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-c", head + text]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True, **options)


def test_nothing_survives_a_killed_harness() -> None:
    text = f"""
sandbox = Sandbox(SandboxConfig(workers=1))
episode = sandbox.episode(sandbox.preload("{{}}"))
episode.run({tool("return 1", parameters="data")!r}, [("f", {{}})])
sandbox.episode().run({FINE!r}, [("fine", {{"x": 1}})])
print(*sandbox.pids, flush=True)
sandbox.episode().run({LOOP!r}, [("loop", {{}})])
"""
    with script(text) as harness:
        assert harness.stdout is not None
        pids = [int(pid) for pid in harness.stdout.readline().split()]
        assert len(pids) == 3
        harness.kill()
    wait_until(lambda: all(map(gone, pids)))


def test_a_forked_copy_of_the_harness_may_not_use_it() -> None:
    text = f"""
sandbox = Sandbox(SandboxConfig(workers=1))
sandbox.layers
if os.fork() == 0:
    try:
        sandbox.episode().run({FINE!r}, [("fine", {{"x": 1}})])
    except SandboxError as error:
        print(error, flush=True)
    os._exit(0)
os.wait()
sandbox.close()
"""
    with script(text) as harness:
        assert "forked copy" in harness.communicate()[0]


# --- kernels that lack a layer -----------------------------------------------------------------------------------

WITHOUT = """
import ctypes, struct
from harness.sandbox import syscalls
def without(*program):
    libc = ctypes.CDLL(None)
    code = b"".join(struct.pack("HBBI", *line) for line in program)
    libc.prctl(38, 1, 0, 0, 0)
    assert libc.prctl(22, 2, ctypes.byref(syscalls.wrap_filter(code)), 0, 0) == 0
def attempt(mode):
    with Sandbox(SandboxConfig(mode=mode, workers=1)) as sandbox:
        try:
            print(sandbox.episode().run({"f": "def f():\\n    return 1"}, [("f", {})])[0].output)
            print(sandbox.layers["landlock"], sandbox.layers["seccomp"])
        except SandboxError as error:
            print(error)
"""
NO_LANDLOCK = "without((0x20, 0, 0, 0), (0x15, 0, 1, 444), (6, 0, 0, 0x00050026), (6, 0, 0, 0x7FFF0000))\n"
PRCTL = {"x86_64": 157, "aarch64": 167}.get(os.uname().machine)
NO_SECCOMP = (
    f"without((0x20, 0, 0, 0), (0x15, 0, 3, {PRCTL}), (0x20, 0, 0, 16), (0x15, 0, 1, 22), "
    "(6, 0, 0, 0x00050016), (6, 0, 0, 0x7FFF0000))\n"
)


@pytest.mark.parametrize(("kernel", "name"), [(NO_LANDLOCK, "Landlock"), (NO_SECCOMP, "seccomp")])
def test_a_missing_layer_is_named_and_weak_is_the_consent(kernel: str, name: str) -> None:
    with script(WITHOUT + kernel + "attempt('jail')\nattempt('weak')\n") as harness:
        refused, ran, layers = harness.communicate()[0].splitlines()
    assert name in refused
    assert "--sandbox weak" in refused
    assert ran == "1"
    assert layers.split()[name == "seccomp"] == "None"


def test_the_layers_are_told(sandbox: Sandbox) -> None:
    layers = sandbox.layers
    assert layers["mode"] == "jail"
    assert layers["landlock"] >= 1
    assert layers["seccomp"] == os.uname().machine
    assert layers["clock"].startswith("2025-01-01")
    assert json.loads(json.dumps(layers)) == layers


# --- asyncio and threads -----------------------------------------------------------------------------------------


def test_one_sandbox_serves_one_event_loop_after_another(sandbox: Sandbox) -> None:
    async def once(number: int) -> list[ToolResult]:
        with sandbox.episode() as episode:
            return await episode.arun(
                {**FINE, **LOOP}, [("fine", {"x": number}), ("loop", {}), ("fine", {"x": "é" * 9})]
            )

    for number in range(2):
        assert asyncio.run(once(number)) == [ToolResult("ok", str(number)), TIMED_OUT, ToolResult("ok", "é" * 9)]


def test_a_timeout_blocks_neither_the_loop_nor_the_other_workers(sandbox: Sandbox) -> None:
    async def fine(number: int) -> float:
        with sandbox.episode() as episode:
            assert (await episode.arun(FINE, [("fine", {"x": number})]))[0].output == str(number)
        return time.monotonic()

    async def loop() -> float:
        with sandbox.episode() as episode:
            assert await episode.arun(LOOP, [("loop", {})]) == [TIMED_OUT]
        return time.monotonic()

    async def main() -> list[float]:
        return await asyncio.gather(loop(), *(fine(number) for number in range(20)))

    looped, *others = asyncio.run(main())
    assert max(others) < looped


def test_a_cancelled_call_gives_its_worker_back() -> None:
    async def main() -> None:
        two = sandbox.episode()
        running = [asyncio.create_task(sandbox.episode().arun(LOOP, [("loop", {})])) for _ in range(2)]
        await asyncio.sleep(0.05)
        waiting = asyncio.create_task(two.arun(FINE, [("fine", {"x": 1})]))
        await asyncio.sleep(0.1)
        for task in (*running, waiting):
            task.cancel()
        await asyncio.wait([*running, waiting])
        assert [task.cancelled() for task in (*running, waiting)] == [True] * 3
        assert (await two.arun(FINE, [("fine", {"x": 2})]))[0].output == "2"

    with Sandbox(SandboxConfig(workers=1, call_timeout=5)) as sandbox:
        call(sandbox.episode(), FINE, x=0)
        asyncio.run(main())


def test_large_texts_in_both_directions_under_asyncio(sandbox: Sandbox) -> None:
    codes = tool("return x", parameters="x")

    async def main() -> list[ToolResult]:
        with large.episode() as episode:
            return await episode.arun(codes, [("f", {"x": "é" * 900_000})] * 3)

    with Sandbox(SandboxConfig(workers=1, output_chars=1_000_000, limits=UNLIMITED)) as large:
        assert asyncio.run(main()) == [ToolResult("ok", "é" * 900_000)] * 3


def test_threads_share_the_workers(sandbox: Sandbox) -> None:
    outputs: list[str] = []

    def work(number: int) -> None:
        with sandbox.episode() as episode:
            outputs.extend(call(episode, FINE, x=number).output for _ in range(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outputs) == sorted(str(number) for number in range(6) for _ in range(20))


# --- the same again ----------------------------------------------------------------------------------------------

CHANCE = """
import datetime, os, random, secrets, time, uuid
def chance():
    free = random.Random()
    return [str(datetime.datetime.now()), str(datetime.date.today()), time.time(), time.perf_counter(),
            random.random(), random.sample(range(99), 5), free.random(), str(uuid.uuid4()), secrets.token_hex(4),
            os.urandom(4).hex(), list({"a", "b", "c", "d"}), hash("text"), time.tzname[0]]
"""
PLAIN_CHANCE = """
import datetime, random, uuid
def plain_chance():
    return [random.random(), str(uuid.uuid4()), str(datetime.datetime.now()), list({"a", "b", "c"}), random.gauss(0, 1)]
"""


def test_the_same_calls_give_the_same_outputs() -> None:
    codes = {"chance": CHANCE, "plain_chance": PLAIN_CHANCE}
    seen = []
    for _ in range(2):
        with Sandbox(QUICK) as sandbox, sandbox.episode() as episode:
            seen += [episode.run(codes, [("chance", {}), ("plain_chance", {})]) for _ in range(2)]
    assert {result.status for results in seen for result in results} == {"ok"}
    assert seen == [seen[0]] * 4
    assert json.loads(seen[0][0].output)[:2] == ["2025-01-01 00:00:00", "2025-01-01"]


@pytest.mark.parametrize("module", ["pytz", "zoneinfo"])
def test_time_zones_need_no_files(episode: ToolSession, module: str) -> None:
    zone = {"pytz": "pytz.timezone('Asia/Kathmandu')", "zoneinfo": "zoneinfo.ZoneInfo('Asia/Kathmandu')"}[module]
    if module == "pytz":
        pytest.importorskip("pytz")
    result = call(episode, tool(f"import datetime, {module}\nreturn str(datetime.datetime.now({zone}))"))
    assert result == ToolResult("ok", "2025-01-01 05:45:00+05:45")


# --- stateful episodes -------------------------------------------------------------------------------------------

STATE = json.dumps({"users": {"ann": {"balance": 5, "name": "Änn"}}, "log": []})
BANK = {
    "pay": "def pay(data, who, amount):\n    data['users'][who]['balance'] -= amount\n    return data['users'][who]\n",
    "note": "def note(data, text):\n    data['log'].append(eval(text))\n    return len(data['log'])\n",
    "spoil": "def spoil(data):\n    data['log'] = {1, 2}\n",
    "leave": "import os\ndef leave(data):\n    os._exit(1)\n",
    "hang": "def hang(data):\n    while True:\n        pass\n",
}


def digest(state: Any) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def test_tools_of_a_stateful_episode_share_its_state(sandbox: Sandbox) -> None:
    key = sandbox.preload(STATE)
    expected = json.loads(STATE)
    with sandbox.episode(state=key) as one, sandbox.episode(state=key) as other:
        assert one.state_digest() == digest(expected)
        results = one.run(BANK, [("pay", {"who": "ann", "amount": 2}), ("note", {"text": "'x'"}), ("no", {})])
        assert [result.output for result in results] == ['{"balance": 3, "name": "Änn"}', "1", "'no'"]
        assert other.state_digest() == digest(expected)
        expected["users"]["ann"]["balance"], expected["log"] = 3, ["x"]
        assert one.state_digest() == digest(expected)
        assert asyncio.run(one.astate_digest()) == digest(expected)


@pytest.mark.parametrize(("name", "status"), [("leave", "killed"), ("hang", "timeout")])
def test_a_lost_state_is_never_silently_fresh(sandbox: Sandbox, name: str, status: str) -> None:
    with sandbox.episode(state=sandbox.preload(STATE)) as one:
        results = one.run(BANK, [("note", {"text": "1"}), (name, {}), ("note", {"text": "2"})])
        assert [result.status for result in results] == ["ok", status, "killed"]
        assert one.run(BANK, [("note", {"text": "3"})])[0].status == "killed"
        assert one.state_digest() is None


def test_a_state_outlives_a_call_that_ran_out_of_memory(sandbox: Sandbox) -> None:
    codes = {**BANK, "hog": "def hog(data):\n    bytearray(1 << 40)\n"}
    calls: list[tuple[str, dict[str, Any]]] = [("note", {"text": "1"}), ("hog", {}), ("note", {"text": "2"})]
    with sandbox.episode(state=sandbox.preload(STATE)) as one:
        assert [result.status for result in one.run(codes, calls)] == ["ok", "raised", "ok"]
        assert one.run(codes, calls)[2].output == "4"


def test_a_state_that_is_no_longer_json_has_no_digest(sandbox: Sandbox) -> None:
    with sandbox.episode(state=sandbox.preload(STATE)) as one:
        assert one.run(BANK, [("spoil", {})])[0].status == "ok"
        assert one.state_digest() is None


def test_states_are_checked(sandbox: Sandbox) -> None:
    for text in ("{", "[" * 100_000):
        with pytest.raises(SandboxError, match="not a JSON document"):
            sandbox.preload(text)
    with pytest.raises(SandboxError, match="never preloaded"):
        sandbox.episode(state="nonsense")
    with sandbox.episode() as one, pytest.raises(SandboxError, match="no state"):
        one.state_digest()


def test_many_states_come_and_go(sandbox: Sandbox) -> None:
    keys = [sandbox.preload(json.dumps({"log": [number]})) for number in range(12)]
    for key in keys + keys[:2]:
        with sandbox.episode(state=key) as one:
            number = keys.index(key)
            assert one.run(BANK, [("note", {"text": "0"})])[0].output == "2"
            assert one.state_digest() == digest({"log": [number, 0]})
    assert len(sandbox._state_launchers) <= 8


def test_a_state_lost_with_its_launcher_is_no_failure_of_the_tools() -> None:
    with Sandbox(QUICK) as sandbox:
        key = sandbox.preload(STATE)
        with sandbox.episode(state=key) as one:
            assert one.state_digest() == digest(json.loads(STATE))
            os.kill(sandbox.pids[0], signal.SIGKILL)
            time.sleep(0.1)
            for ask in (lambda: one.run(BANK, [("note", {"text": "1"})]), one.state_digest):
                with pytest.raises(SandboxError, match="killed from outside"):
                    ask()
        with sandbox.episode(state=key) as another:
            assert another.state_digest() == digest(json.loads(STATE))
