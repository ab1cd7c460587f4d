"""Calls on their way to a worker: the turns they belong to, and what one request makes of them.

A request may hold calls of many episodes. Each reply settles one of them; what a request leaves unsettled is run in
another one. Only the call that was being run is to blame for a worker that ends or takes too long. Left out: which
calls travel together, and who lends the worker (sharing.py, pool.py).
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from harness.errors import SandboxError
from harness.sandbox import wire
from harness.sandbox.ledger import SLOW_SECONDS, Account
from harness.sandbox.process import Sent, WorkerProcess, WorkerReply, WorkerStop
from harness.sandbox.waiting import Blocking, Operation
from harness.types import CallStatus, ToolResult

MOST_CALLS = 64  # of one request: a wake-up is then a small part of it
MOST_BYTES = 1 << 16  # of one request, unless a single call is longer
PENDING = ToolResult("killed", "the tool's process ended before it answered")
TAKEN = "the tool's process was killed from outside"
WorkerKind = Literal["shared", "own", "state"]
_STATUS: dict[int, CallStatus] = {
    wire.OK: "ok",
    wire.RAISED: "raised",
    wire.TRUNCATED: "truncated",
    wire.WORN: "raised",
}
_STATUS |= {status | wire.SPENT: word for status, word in _STATUS.items()}
_CODES_PER_WORKER = 2000  # then it is replaced, so that a long run does not fill its memory


class ToolCode(NamedTuple):
    """A tool's source as workers know it: by number."""

    number: int
    plain: bool
    line: str


class Turn:
    """Calls that one episode makes at once, and waits for together; `account` says what its tools have used."""

    __slots__ = ("account", "error", "results", "running", "settled", "unsettled", "waiting")

    def __init__(self, results: list[ToolResult], account: Account | None = None) -> None:
        self.results = results
        self.account = account or Account()
        self.waiting: deque[ToolJob] = deque()
        self.unsettled = 0
        self.settled: asyncio.Future[None] | None = None  # where an event loop waits for it
        self.error: Exception | None = None
        self.running: Request | None = None  # the late one that is at a call of this turn

    @property
    def over(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.error is not None or (self.settled is not None and self.settled.done())

    @property
    def is_slow(self) -> bool:
        """Whether its episode's tools take so much time that others should not wait behind them."""
        return self.account.seconds > SLOW_SECONDS

    def add(self, place: int, code: ToolCode, line: str) -> None:
        self.waiting.append(ToolJob(self, place, code, line))
        self.unsettled += 1

    def settle(self, place: int, result: ToolResult, seconds: float = 0.0) -> None:
        """Where a limit was met before, the answer is that."""
        account, settled = self.account, self.settled
        if account.why is None:
            self.results[place] = result
            account.add(seconds, result.output)
        else:
            self.results[place] = ToolResult("refused", account.why)
        self.unsettled -= 1
        if settled is not None and not self.unsettled and not settled.done():
            settled.set_result(None)

    def refuse_rest(self) -> bool:
        """A limit was met: what waits is not run."""
        while self.waiting:
            self.settle(self.waiting.popleft().place, PENDING)
        return True

    def fail(self, error: Exception) -> None:
        self.waiting.clear()
        self.error = error
        if self.settled is not None and not self.settled.done():
            self.settled.set_exception(error)


class ToolJob(NamedTuple):
    """One call; `alone` when it has to be the only one of a fresh process."""

    turn: Turn
    place: int
    code: ToolCode
    line: str
    alone: bool = False


class Request:
    """What is asked of a worker at once. The first `done` jobs are settled, and took `seconds`; `task` waits for it, if
    one has to."""

    def __init__(self, jobs: list[ToolJob]) -> None:
        self.jobs = jobs
        self.done = 0
        self.seconds = 0.0
        self.is_late = False
        self.task: asyncio.Task[None] | None = None

    def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()

    @property
    def left(self) -> list[ToolJob]:
        return self.jobs[self.done :]

    def settle(self, result: ToolResult, seconds: float) -> None:
        job = self.jobs[self.done]
        self.done += 1
        self.seconds += seconds
        job.turn.settle(job.place, result, seconds)

    def fail(self, error: Exception) -> None:
        """The call that was being run has no answer, and neither has its turn."""
        self.jobs[self.done].turn.fail(error)
        self.done += 1

    def read(self, replies: Sequence[WorkerReply]) -> None:
        """Settle what `replies`, the first ones of this request, say; some of them may have been read before."""
        jobs = self.jobs
        for status, text, seconds in replies[self.done : len(jobs)]:
            turn, place, _, _, _ = jobs[self.done]
            self.done += 1
            self.seconds += seconds
            turn.settle(place, ToolResult(_STATUS[status], text), seconds)


def take_jobs(turns: deque[Turn], most_calls: int) -> list[ToolJob]:
    """Take the jobs of the next request: one of each turn, round after round, so that a long turn holds up no other."""
    taken: list[ToolJob] = []
    size = 0
    while turns and len(taken) < most_calls:
        turn = turns.popleft()
        waiting = turn.waiting
        if not waiting or turn.over or (turn.account.why is not None and turn.refuse_rest()):
            continue
        job = waiting[0]
        size += len(job.line)
        if taken and (job.alone or size > MOST_BYTES):
            turns.appendleft(turn)
            break
        taken.append(waiting.popleft())
        if waiting:
            turns.append(turn)
        if job.alone:
            break
    return taken


def give_back_jobs(turns: deque[Turn], jobs: Sequence[ToolJob]) -> None:
    """What a request left undone is first in line again, in its order."""
    for job in reversed([job for job in jobs if not job.turn.over]):
        if not job.turn.waiting:
            turns.appendleft(job.turn)
        job.turn.waiting.appendleft(job)


def serve_request(
    worker: WorkerProcess,
    request: Request,
    kind: WorkerKind,
    late: Callable[[Request], None] = lambda _: None,
    sent: Sent | None = None,
) -> Operation[WorkerStop]:
    """Ask `worker`, which is killed if that does not end well or is interrupted. At least one job is settled, or will
    be at the next try, in a fresh process. `late` is told when the answer is, and may take the jobs away that are
    neither settled nor being run. A turn whose call was being run when something else killed the process fails.
    `sent`: where the worker was asked before."""
    stop: WorkerStop = "died"
    try:
        if sent is None and (request.jobs[0].alone or (len(worker.codes) > _CODES_PER_WORKER and kind != "state")):
            worker.kill()
        fresh = not worker.alive
        if fresh:
            yield from worker.start()

        def is_late(replies: list[WorkerReply]) -> None:
            request.read(replies)
            late(request)

        replies, stop = yield from worker.ask(_lines(worker, request.jobs), len(request.jobs), is_late, sent)
        if stop == "unsent" and fresh:
            stop = "gone"
        if stop == "worn" and kind == "shared" and not (fresh and len(replies) == 1):
            replies.pop()  # perhaps others had used up its memory: once more, in a fresh one
            request.jobs[len(replies)] = request.jobs[len(replies)]._replace(alone=True)
        request.read(replies)
        if stop in ("timeout", "died", "gone") and request.left:
            spent = max(0.0, time.perf_counter() - worker.asked - request.seconds)
            if stop == "gone" and (yield Blocking(worker.was_killed)):
                request.fail(SandboxError(TAKEN))
            else:
                request.settle(_stopped(worker, stop), spent)
    finally:
        if stop != "answered" and (stop, kind) != ("worn", "state"):
            worker.kill()
    return stop


def _lines(worker: WorkerProcess, jobs: Sequence[ToolJob]) -> list[str]:
    known = worker.codes
    new = {job.code.number: job.code.line for job in jobs if job.code.number not in known}
    if not new:
        return [job.line for job in jobs]
    known.update(new)
    return [*new.values(), *[job.line for job in jobs]]


def _stopped(worker: WorkerProcess, stop: WorkerStop) -> ToolResult:
    if stop == "timeout":
        return ToolResult("timeout", f"timed out after {worker.call_timeout:g} seconds")
    return PENDING
