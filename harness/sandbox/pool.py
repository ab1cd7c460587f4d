"""The sandbox as the harness uses it: a pool of shared workers, and episodes that own workers of their own.

A tool that the screen finds plain shares a worker with other tools and episodes. Any other tool gets a worker of its
own for the episode, so that what it does to its process, and the code it can find there, is its own. A stateful
episode runs all its tools in one worker of its own, on one state. Left out: what an error means to the model (the
environment words it) and retries of a call (a call that was stopped is never run again).
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import json
import os
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import TracebackType
from typing import Any, Literal

from harness.data.bundled_sources import is_bundled
from harness.errors import SandboxError, UsageError
from harness.sandbox import screen, wire
from harness.sandbox.ledger import Account, ToolLimits
from harness.sandbox.own import OwnProcesses
from harness.sandbox.process import (
    LauncherProcess,
    WorkerProcess,
    WorkerReply,
    WorkerStop,
    is_scarce,
    retry_while_scarce,
)
from harness.sandbox.sharing import CallQueue, SharedWorkers
from harness.sandbox.turns import (
    MOST_CALLS,
    PENDING,
    Request,
    ToolCode,
    Turn,
    give_back_jobs,
    serve_request,
    take_jobs,
)
from harness.sandbox.waiting import Blocking, Operation, run_async, run_blocking
from harness.types import ToolResult

_SHARED, _STATE = -1, -2  # beside the numbers of codes that have a worker of their own
_LOST = "the episode's state was lost when an earlier call was stopped"
_TAKEN = "the process with the episode's state was killed from outside"
_MISSING = {
    "landlock": "this kernel does not offer Landlock (Linux 5.13 or newer with the landlock security module enabled)",
    "seccomp": "this kernel does not offer seccomp filters for this processor (x86_64 or aarch64)",
}
_STATES_KEPT = 8  # idle launchers with a state
_STARTS, _STARTS_SECONDS = 2, 60.0  # that many starts of the launcher within so long: something ends it


_LIMITS = ToolLimits()


@dataclass(frozen=True, slots=True)
class SandboxConfig:
    """How tools are run. Raises UsageError for a mode that there is not.

    mode           "jail" refuses to start where a kernel layer is missing; "weak" runs with the layers there are
    workers        processes that plain tools share; one more is started where slow calls hold all of them
    call_timeout   wall-clock seconds a call may take
    memory_bytes   address space of one worker
    output_chars   characters of output that are kept
    limits         what turns, episodes and all of them may use together
    fixed_addresses  classes lie where they lay in the last run; an audit turns it off, to see what depends on that
    """

    mode: Literal["jail", "weak"] = "jail"
    workers: int = os.cpu_count() or 1
    call_timeout: float = 10.0
    memory_bytes: int = 1 << 30
    output_chars: int = 100_000
    limits: ToolLimits = _LIMITS
    fixed_addresses: bool = True

    def __post_init__(self) -> None:
        if self.mode not in ("jail", "weak"):
            raise UsageError(f"A sandbox is 'jail' or 'weak', not {self.mode!r}.")


class Sandbox:
    """Isolated workers for tool code. Starts when first needed; usable from threads and from any event loop.

    Not usable from a forked copy of the process that started it.
    """

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._lock = threading.RLock()
        self._launcher: LauncherProcess | None = None
        self._starts: deque[float] = deque(maxlen=_STARTS)
        self._process = 0
        self._states: dict[str, str] = {}
        self._keys: dict[str, str] = {}  # the other way round: a document of megabytes is parsed and hashed once
        self._state_launchers: dict[str, LauncherProcess] = {}  # the one used last is last
        self._own = OwnProcesses(self.config.limits)
        self._queues: dict[asyncio.AbstractEventLoop, CallQueue] = {}
        self._shared = SharedWorkers([self._worker() for _ in range(max(1, self.config.workers) + 1)])

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def episode(self, state: str | None = None) -> ToolSession:
        """The tools of one episode; `state` is a key from `preload`."""
        if state is not None and state not in self._states:
            raise SandboxError("an episode was asked for with a state that was never preloaded")
        return ToolSession(self, state)

    def preload(self, state: str) -> str:
        """Keep a JSON document that episodes start from, as long as the sandbox; the key names it.

        SandboxError when it is no JSON.
        """
        if (known := self._keys.get(state)) is not None:
            return known
        try:
            json.loads(state)
        except (ValueError, RecursionError) as error:
            raise SandboxError(f"the state to preload is not a JSON document: {error}") from None
        key = hashlib.sha256(state.encode("utf-8", "surrogatepass")).hexdigest()
        self._states[key] = state
        self._keys[state] = key
        return key

    @property
    def layers(self) -> dict[str, Any]:
        """What protects this run, for its manifest; starts the launcher."""
        hello = self._root().hello
        return {
            "mode": self.config.mode,
            "rlimits": True,
            "no_new_privs": True,
            **hello["layers"],
            "clock": hello["clock"],
            "hash_seed": 0,
            "python": hello["python"],
            "limits": self.config.limits.to_json(),
        }

    @property
    def pids(self) -> list[int]:
        """The launcher's and the live workers' process ids, for accounting."""
        root = [self._launcher.process.pid] if self._launcher and self._launcher.process else []
        return root + [worker.pid for worker in self._workers() if worker.pid]

    def _workers(self) -> list[WorkerProcess]:
        return [*self._shared.workers.things, *self._own.workers]

    def close(self) -> None:
        """Ends every process. The sandbox starts again if it is used again."""
        if self._is_copy():
            return
        with self._lock:
            for worker in self._workers():
                worker.kill()
            self._end_launchers()
            self._process = 0
            self._starts.clear()

    def _is_copy(self) -> bool:
        """Whether this process was forked from the one that started the workers: their sockets are not its own."""
        return self._process not in (0, os.getpid())

    def _call_queue(self) -> CallQueue:
        """The running event loop's."""
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            with self._lock:
                self._queues = {other: kept for other, kept in self._queues.items() if not other.is_closed()}
                queue = self._queues[loop] = CallQueue(self._shared, loop)
        return queue

    # --- launchers -----------------------------------------------------------------------------------------------

    def _worker(self, state: str | None = None) -> WorkerProcess:
        launcher = self._root if state is None else lambda: self._state_launcher(state)
        return WorkerProcess(launcher, self.config.output_chars, self.config.call_timeout, self._own.end_one)

    def _root(self) -> LauncherProcess:
        """The launcher; started if there is none, and once more if it died, but not time and again."""
        with self._lock:
            if self._launcher is not None:
                if self._launcher.is_usable():
                    return self._launcher
                self._end_launchers()
            if len(self._starts) == _STARTS and time.monotonic() - self._starts[0] < _STARTS_SECONDS:
                raise SandboxError("the sandbox's launcher died twice")
            self._launcher = retry_while_scarce(self._start, self._own.end_one)
            return self._launcher

    def _start(self) -> LauncherProcess:
        config = self.config
        options = {"memory_bytes": config.memory_bytes, "output_chars": config.output_chars}
        launcher = LauncherProcess.start(options, config.fixed_addresses)
        missing = [text for name, text in _MISSING.items() if launcher.hello["layers"][name] is None]
        if missing and config.mode == "jail":
            launcher.close()
            raise SandboxError(
                f"tool code cannot be isolated here: {' and '.join(missing)}; "
                "--sandbox weak is the explicit consent to run without"
            )
        self._starts.append(time.monotonic())
        self._process = os.getpid()
        return launcher

    def _end_launchers(self) -> None:
        for launcher in (*self._state_launchers.values(), *([self._launcher] if self._launcher else [])):
            launcher.close()
        self._state_launchers.clear()
        self._launcher = None

    def _state_launcher(self, key: str) -> LauncherProcess:
        with self._lock:
            root = self._root()
            launcher = self._state_launchers.pop(key, None)
            if launcher is not None and not launcher.is_usable():
                launcher.close()
                launcher = None
            self._state_launchers[key] = launcher or retry_while_scarce(
                lambda: self._new_state_launcher(root, key), self._own.end_one
            )
            self._forget_states()
            return self._state_launchers[key]

    def _new_state_launcher(self, root: LauncherProcess, key: str) -> LauncherProcess:
        try:
            return root.with_state(self._states[key])
        except OSError as error:
            if is_scarce(error):
                raise
            root.broken = True
            return self._root().with_state(self._states[key])

    def _forget_states(self) -> None:
        """A launcher without workers is only memory: the longest unused go first, and come back when needed."""
        idle = [key for key, launcher in self._state_launchers.items() if not launcher.live]
        for key in idle[: max(0, len(self._state_launchers) - _STATES_KEPT)]:
            if key != next(reversed(self._state_launchers)):
                self._state_launchers.pop(key).close()


# --- what an episode does with it --------------------------------------------------------------------------------


_numbers = itertools.count()
_encode = wire.make_encoder(ensure_ascii=True)


@lru_cache(maxsize=4096)
def _code(name: str, source: str) -> ToolCode:
    number, bundled = next(_numbers), is_bundled(name, source)
    plain = bundled or screen.is_plain_source(source)
    seed = not bundled and (not plain or screen.uses_chance(source))
    return ToolCode(number, plain, _encode({"code": number, "name": name, "source": source, "seed": seed}))


class ToolSession:
    """Runs the tool calls of one episode. Its own workers live until it is closed, or until others need the room.

    `owner`: the session of the same episode that this one stands beside.
    """

    def __init__(self, sandbox: Sandbox, state: str | None, owner: ToolSession | None = None) -> None:
        self._sandbox = sandbox
        self._state = state
        self.owner = owner or self
        self.keeps_state = state is not None
        self._own: dict[int, WorkerProcess] = {}
        self._state_worker = sandbox._worker(state) if state is not None else None
        self._lost = False
        self._broken: SandboxError | None = None  # the state was lost, and no tool of the episode did that
        self._account = Account(sandbox.config.limits)
        self.waited = 0.0
        """Seconds in which calls were not run yet, because others were: no limit should take notice of these."""

    def __enter__(self) -> ToolSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, codes: Mapping[str, str], calls: Sequence[tuple[str, dict[str, Any]]]) -> list[ToolResult]:
        """Run `calls` on the tools `codes` (name: source); one result a call. Blocks."""
        results, turns = self._sort(codes, calls)
        began, before = time.perf_counter(), self._account.seconds
        for queue, turn in turns.items():
            if queue == _SHARED:
                run_blocking(self._sandbox._shared.serve(turn))
            else:
                run_blocking(self._work(self._worker_of(queue), turn))
            if turn.error is not None:
                raise turn.error
        self.waited += time.perf_counter() - began - self._account.seconds + before
        return results

    async def arun(self, codes: Mapping[str, str], calls: Sequence[tuple[str, dict[str, Any]]]) -> list[ToolResult]:
        """As `run`, without blocking the event loop for more than a moment."""
        results, turns = self._sort(codes, calls)
        began, before = time.perf_counter(), self._account.seconds
        for queue, turn in turns.items():
            if queue == _SHARED:
                await self._sandbox._call_queue().run(turn)
            else:
                await run_async(self._work(self._worker_of(queue), turn))
            if turn.error is not None:
                raise turn.error
        self.waited += time.perf_counter() - began - self._account.seconds + before
        return results

    def fresh(self) -> ToolSession:
        """Another episode, on a fresh copy of the state that this one began with."""
        return ToolSession(self._sandbox, self._state, self.owner)

    def state_digest(self) -> str | None:
        """sha256 of the state as canonical JSON; None when a tool lost the state or it is no longer JSON.

        SandboxError when it was lost, and no tool of the episode did that.
        """
        return run_blocking(self._digest())

    async def astate_digest(self) -> str | None:
        return await run_async(self._digest())

    def lose_state(self, why: str) -> None:
        """The episode held more than was its share: what it still asks for is refused."""
        self._lost = True
        self._account.close(why)

    def close(self) -> None:
        for worker in (*self._own.values(), *([self._state_worker] if self._state_worker else [])):
            self._sandbox._own.drop(worker)
        self._own.clear()
        self._lost = self.keeps_state

    # --- steps ---------------------------------------------------------------------------------------------------

    def _sort(
        self, codes: Mapping[str, str], calls: Sequence[tuple[str, dict[str, Any]]]
    ) -> tuple[list[ToolResult], dict[int, Turn]]:
        """A place for every result, filled where there is nothing to run; and what each worker has to do."""
        if self._sandbox._is_copy():
            raise SandboxError("a sandbox cannot be used from a forked copy of its process; make a new one there")
        account = self._account
        account.open_turn()
        results = [PENDING] * len(calls)
        if len(calls) > (most := account.limits.turn_calls):
            calls = calls[: int(most)]
            results[len(calls) :] = [ToolResult("refused", account.refuse_calls())] * (len(results) - len(calls))
        turns: dict[int, Turn] = {}
        for place, (name, arguments) in enumerate(calls):
            source = codes.get(name)
            if source is None:
                results[place] = ToolResult("unknown_tool", repr(name))
                continue
            code = _code(name, source)
            try:
                line = f"[{code.number},{_encode(arguments)}]"
            except (TypeError, ValueError, RecursionError) as error:
                results[place] = ToolResult("raised", str(error))
                continue
            if len(line) > wire.LINE_LIMIT:
                results[place] = ToolResult("raised", "the arguments are too long")
                continue
            queue = _STATE if self.keeps_state else _SHARED if code.plain else code.number
            turn = turns.get(queue)
            if turn is None:
                turn = turns[queue] = Turn(results, account)
            turn.add(place, code, line)
        return results, turns

    def _worker_of(self, queue: int) -> WorkerProcess:
        if self._state_worker is not None:
            return self._state_worker
        if queue not in self._own:
            self._own[queue] = self._sandbox._worker()
        return self._own[queue]

    def _work(self, worker: WorkerProcess, turn: Turn) -> Operation[None]:
        """Run a turn on a worker of the episode's own."""
        turns = deque([turn])
        while turns and not self._lost:
            yield from self._sandbox._own.enter(worker, self)
            seconds = 0.0
            try:
                if not self._lost and (jobs := take_jobs(turns, MOST_CALLS)):
                    request = Request(jobs)
                    seconds = yield from self._ask(worker, request)
                    give_back_jobs(turns, request.left)
            finally:
                self._sandbox._own.leave(worker, seconds)
        if self._broken is not None:
            raise self._broken
        for job in turn.waiting:
            turn.settle(job.place, ToolResult("killed", _LOST))

    def _ask(self, worker: WorkerProcess, request: Request) -> Operation[float]:
        """Seconds that it took by our clock: a worker of the episode's own may say what it likes."""
        if not worker.alive:
            yield from worker.start()
        stop: WorkerStop = "died"
        began = time.perf_counter()
        try:
            stop = yield from serve_request(worker, request, "state" if self.keeps_state else "own")
        finally:
            turn = request.jobs[0].turn
            self._notice(stop, stop == "unsent" or turn.error is not None)
        seconds = time.perf_counter() - began
        turn.account.add(max(0.0, seconds - request.seconds))
        return seconds

    def _notice(self, stop: WorkerStop, from_outside: bool) -> None:
        """Whether the state is lost; a worker that only ran out of memory still has it."""
        if self.keeps_state and stop not in ("answered", "worn"):
            self._lost = True
            if from_outside:
                self._broken = SandboxError(_TAKEN)

    def _digest(self) -> Operation[str | None]:
        worker = self._state_worker
        if worker is None:
            raise SandboxError("this episode has no state")
        found: list[WorkerReply] = []
        if not self._lost:
            yield from self._sandbox._own.enter(worker, self)
            try:
                found = yield from self._ask_digest(worker)
            finally:
                self._sandbox._own.leave(worker, 0.0)
        if self._broken is not None:
            raise self._broken
        return found[0][1] if found and found[0][0] == wire.OK else None

    def _ask_digest(self, worker: WorkerProcess) -> Operation[list[WorkerReply]]:
        if not worker.alive:
            yield from worker.start()
        stop: WorkerStop = "died"
        taken = False
        try:
            replies, stop = yield from worker.ask(['"digest"'], 1)
            taken = stop == "unsent" or (stop == "gone" and (yield Blocking(worker.was_killed)))
        finally:
            self._notice(stop, taken)
            if self._lost:
                worker.kill()
        return replies
