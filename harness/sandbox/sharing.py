"""Who may use which worker: a pool that lends them out, and the calls of an event loop that wait for one.

Waking a worker and being woken by it costs more than a call. So the plain calls of all episodes that are ready travel
in one request, and while a worker that has been quick is expected to answer no other is woken: what becomes ready
meanwhile travels next. A request that is late no longer holds anybody up: the one call that it is at stays, the others
go to the next worker, and the next requests are short until some have come back in time. So nothing has to be
remembered of single tools, which may be quick in one call and slow in the next.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Generic, NamedTuple, TypeVar

from harness.sandbox.ledger import SLOW_SECONDS
from harness.sandbox.process import Sent, WorkerProcess, WorkerStop
from harness.sandbox.turns import MOST_CALLS, Request, Turn, give_back_jobs, serve_request, take_jobs
from harness.sandbox.waiting import Operation, run_async, run_while_brief

T = TypeVar("T")
_LONG_SECONDS = 0.005  # of a request; calls that are quicker make no episode slow soon
_AT_ONCE = 7  # a round costs as much as a wake-up; more would keep an event loop from what else it has to do


class Pool(Generic[T]):
    """Things that are lent out one at a time, first come first served, to threads and tasks of any event loop."""

    def __init__(self, things: Sequence[T]) -> None:
        self.things = tuple(things)
        self._idle = list(things)
        self._waiting: deque[Future[T]] = deque()
        self._lock = threading.Lock()

    def lend(self) -> T | Lease[T]:
        """The one that was used last, because a worker then knows most of the code; or a wish for one."""
        with self._lock:
            if self._idle:
                return self._idle.pop()
            self._waiting.append(Future())
            return Lease(self.give_back, self._waiting[-1])

    def lend_idle(self) -> T | None:
        """As `lend`, where nobody has to wait."""
        with self._lock:
            return self._idle.pop() if self._idle else None

    def give_back(self, thing: T) -> None:
        with self._lock:
            while self._waiting:
                future = self._waiting.popleft()
                if future.set_running_or_notify_cancel():
                    future.set_result(thing)
                    return
            self._idle.append(thing)


class Lease(NamedTuple, Generic[T]):
    """Wait for something. Whoever stops waiting gives back what he was given meanwhile."""

    give_back: Callable[[T], object]
    future: Future[T]

    def now(self) -> T:
        try:
            return self.future.result()
        except BaseException:
            self.refuse()
            raise

    async def later(self) -> T:
        loop = asyncio.get_running_loop()
        given = asyncio.Event()  # asyncio.wrap_future complains aloud when both its ends settle in one turn of the loop
        self.future.add_done_callback(lambda _: loop.call_soon_threadsafe(given.set))
        try:
            await given.wait()
            return self.future.result()
        except BaseException:
            self.refuse()
            raise

    def refuse(self) -> None:
        if not self.future.cancel() and not self.future.cancelled():
            self.give_back(self.future.result())


class SharedWorkers:
    """The workers that plain tools share, and one more, so that slow episodes never hold them all.

    Whoever is known to be slow needs one of the `slow_places` too, of which there are as many as there are to be
    workers; the last worker is started where all others are busy.
    """

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self.workers = Pool(workers)
        self.slow_places = Pool(range(max(1, len(workers) - 1)))

    def serve(self, turn: Turn) -> Operation[None]:
        """Run a turn on workers that are lent for a request each."""
        turns = deque([turn])
        while turns:
            place = (yield from _borrow(self.slow_places)) if turn.is_slow else None
            try:
                lent = self.workers.lend()
                worker: WorkerProcess = (yield lent) if isinstance(lent, Lease) else lent
                try:
                    request = Request(take_jobs(turns, MOST_CALLS))
                    if request.jobs:
                        yield from serve_request(worker, request, "shared")
                finally:
                    self.workers.give_back(worker)
            finally:
                if place is not None:
                    self.slow_places.give_back(place)
            give_back_jobs(turns, request.left)


def _borrow(pool: Pool[T]) -> Operation[T]:
    lent = pool.lend()
    thing: T = (yield lent) if isinstance(lent, Lease) else lent
    return thing


class CallQueue:
    """The turns that wait in one event loop, and the requests that serve them.

    A turn of which a call is late waits for it before its next call is begun, and those of slow episodes travel alone:
    so that however many calls it has, it is at one worker at a time.
    """

    def __init__(self, shared: SharedWorkers, loop: asyncio.AbstractEventLoop) -> None:
        self._shared = shared
        self._pool = shared.workers
        self.loop = loop
        self._turns: deque[Turn] = deque()
        self._due = False  # whether `_start` is about to run
        self._expecting: Request | None = None  # what is to be answered, or to get a worker, before another is made
        self._most = MOST_CALLS
        self._took_long = False  # whether a turn that waits may have become slow
        self._at_once = 0  # turns that are served as soon as they come

    async def run(self, turn: Turn) -> None:
        """Until every job of `turn` is settled, or it has an error. A call that is being run when nobody waits any more
        is stopped.

        The first to come starts the request.
        """
        if turn.account.seconds > SLOW_SECONDS:
            await run_async(self._shared.serve(turn))
            return
        if not self._ask_briefly(turn):
            self._turns.append(turn)
            if self._is_free:
                self._due = True
                if self._at_once:
                    self._at_once -= 1
                else:
                    await self._gather(turn)
                self._start()
        if turn.unsettled and turn.error is None:
            turn.settled = self.loop.create_future()
            try:
                await turn.settled
            except asyncio.CancelledError:
                if turn.running is not None:
                    turn.running.stop()
                raise

    @property
    def _is_free(self) -> bool:
        return not self._due and self._expecting is None

    def _ask_briefly(self, turn: Turn) -> bool:
        """Most turns that come alone are one call of a tool that is known and quick: its answer is waited for here, in
        less time than a request is made. False where `turn` is not like that, and nothing was done."""
        job, waiting = turn.waiting[0], turn.waiting
        if not self._at_once or self._turns or not self._is_free or len(waiting) > 1 or self._most < MOST_CALLS:
            return False
        worker = self._pool.lend_idle()
        if worker is None:
            return False
        if turn.account.why is not None or not worker.may_be_brief(job.code.number, job.line):
            self._pool.give_back(worker)
            return False
        self._at_once -= 1
        request = Request([waiting.popleft()])
        try:
            reply, sent = worker.ask_briefly(job.line)
        except BaseException:
            worker.kill()
            self._pool.give_back(worker)
            raise
        if reply is None:
            self._begin(request, self._serve(request, worker, sent))
        else:
            self._pool.give_back(worker)
            request.read((reply,))
        return True

    async def _gather(self, turn: Turn) -> None:
        """A round of the event loop, in which others may become ready. Where nobody does, the next few do not wait."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            turn.waiting.clear()
            self.loop.call_soon(self._start)
            raise
        self._at_once = _AT_ONCE if len(self._turns) == 1 else 0

    def _start_soon(self) -> None:
        if self._turns and self._is_free and not self.loop.is_closed():
            self._due = True
            self.loop.call_soon(self._start)

    def _start(self) -> None:
        self._due = False
        request = Request([])
        self._begin(request, self._serve(request))

    def _begin(self, request: Request, steps: Operation[None]) -> None:
        wish = run_while_brief(steps)
        if wish is not None:
            request.task = self.loop.create_task(run_async(steps, wish))

    def _serve(
        self, request: Request, worker: WorkerProcess | None = None, sent: Sent | None = None
    ) -> Operation[None]:
        """One request, as soon as there is a worker for it. Where it was sent to one, the rest of it."""
        self._expecting = request
        try:
            if worker is None:
                lent = self._pool.lend()
                worker = (yield lent) if isinstance(lent, Lease) else lent
                if self._took_long:
                    self._set_slow_aside()
                request.jobs = take_jobs(self._turns, self._most)
            if not worker.is_quick:
                self._stop_expecting(request)
            if request.jobs:
                asked = len(request.jobs)
                stop = yield from serve_request(worker, request, "shared", self._go_on_without, sent)
                self._adapt(request, asked, stop)
        except Exception as error:
            for job in request.left:
                job.turn.fail(error)
        finally:
            if worker is not None:
                self._pool.give_back(worker)
            self._end(request)

    def _set_slow_aside(self) -> None:
        self._took_long = False
        for turn in [turn for turn in self._turns if turn.is_slow]:
            self._turns.remove(turn)
            turn.running = request = Request([])
            request.task = self.loop.create_task(self._serve_slow(turn))

    async def _serve_slow(self, turn: Turn) -> None:
        try:
            await run_async(self._shared.serve(turn))
        except Exception as error:
            turn.fail(error)
        finally:
            turn.running = None

    def _adapt(self, request: Request, asked: int, stop: WorkerStop) -> None:
        if request.seconds > _LONG_SECONDS:
            self._took_long = True
        if request.done == asked:
            self._most = min(2 * self._most, MOST_CALLS)
        elif stop == "answered" and not request.is_late:
            self._most = max(1, request.done)

    def _go_on_without(self, request: Request) -> None:
        """The answer is late: the call that is being run keeps its worker, and the rest need not wait for it."""
        self._most = max(1, request.done)
        running, *rest = request.left
        request.jobs = request.jobs[: request.done + 1]
        request.is_late = True
        running.turn.running = request
        if running.turn.over:
            request.stop()
        give_back_jobs(self._turns, rest)
        with suppress(ValueError):
            self._turns.remove(running.turn)
        self._stop_expecting(request)

    def _end(self, request: Request) -> None:
        late = request.jobs[-1].turn if request.is_late else None
        waits = late is not None and bool(late.waiting)
        if request.left:
            give_back_jobs(self._turns, request.left)
        if late is not None:
            late.running = None
            if waits and not late.over:
                self._turns.append(late)
        self._stop_expecting(request)

    def _stop_expecting(self, request: Request) -> None:
        if self._expecting is request:
            self._expecting = None
        self._start_soon()
