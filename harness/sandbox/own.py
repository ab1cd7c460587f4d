"""Processes that belong to single episodes: how many there may be in all, and what they may hold in memory in all.

An episode has one for its state, and one for each tool that may not share. Where all places are taken, the idle process
that can be started anew makes room, from the episode that has most of them; where there is none, the next episode waits
until another ends. Where memory runs over, the episode that holds most pays. Left out: limits of a single process.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Protocol

from harness.sandbox.ledger import ToolLimits
from harness.sandbox.process import WorkerProcess, resident_bytes
from harness.sandbox.sharing import Lease
from harness.sandbox.waiting import Operation

_LOOK_SECONDS = 0.005  # of calls between two looks at a process's memory: what fills memory takes longer


class Tenant(Protocol):
    """What of an episode has processes; those of one episode have the same `owner`."""

    @property
    def owner(self) -> object: ...

    @property
    def keeps_state(self) -> bool: ...

    def lose_state(self, why: str) -> None: ...


@dataclass(eq=False)
class _Place:
    tenant: Tenant
    busy: bool = True
    used: int = 0
    began_with: int = 0
    """Bytes, by the first look at the process `pid`."""
    pid: int = 0
    bytes: int = 0
    unseen: float = 0.0
    """Seconds of calls since the last look."""

    @property
    def can_go(self) -> bool:
        return not self.busy and not self.tenant.keeps_state

    @property
    def owner(self) -> int:
        return id(self.tenant.owner)


class OwnProcesses:
    """Who has which. Usable from threads and from any event loop."""

    def __init__(self, limits: ToolLimits) -> None:
        self._limits = limits
        self._lock = threading.Lock()
        self._places: dict[WorkerProcess, _Place] = {}
        self._waiting: deque[Future[None]] = deque()
        self._clock = itertools.count(1)

    @property
    def workers(self) -> list[WorkerProcess]:
        with self._lock:
            return list(self._places)

    def enter(self, worker: WorkerProcess, tenant: Tenant) -> Operation[None]:
        """Before `worker` is asked; waits for a place where it has none. `leave` follows.

        An episode that has a place already never waits for another, or two could wait for each other.
        """
        while (lease := self._take(worker, tenant)) is not None:
            yield lease

    def _take(self, worker: WorkerProcess, tenant: Tenant) -> Lease[None] | None:
        with self._lock:
            place = self._places.get(worker)
            if place is not None:
                place.busy = True
                return None
            if len(self._places) >= self._limits.places and not self._end_one() and not self._has_place(tenant):
                self._waiting.append(Future())
                return Lease(self.give_back, self._waiting[-1])
            self._places[worker] = _Place(tenant)
            return None

    def leave(self, worker: WorkerProcess, seconds: float) -> None:
        """After `worker` was asked, and its calls took so long."""
        with self._lock:
            place = self._places.get(worker)
            if place is None:
                return
            place.busy, place.used = False, next(self._clock)
            place.unseen += seconds
            if worker.alive and (place.unseen > _LOOK_SECONDS or place.pid != worker.pid):
                self._look(worker, place)
            if self._waiting:
                self._wake()

    def drop(self, worker: WorkerProcess) -> None:
        """The episode is over, and the process with it."""
        with self._lock:
            worker.kill()
            self._places.pop(worker, None)
            self._wake()

    def end_one(self) -> bool:
        """End an idle process that can be started anew; whether there was one."""
        with self._lock:
            return self._end_one()

    def give_back(self, _: None) -> None:
        """Nothing was given: whoever waits tries again."""

    # --- with the lock held --------------------------------------------------------------------------------------

    def _wake(self) -> None:
        while self._waiting:
            future = self._waiting.popleft()
            if future.set_running_or_notify_cancel():
                future.set_result(None)

    def _has_place(self, tenant: Tenant) -> bool:
        return any(place.tenant.owner is tenant.owner for place in self._places.values())

    def _end_one(self) -> bool:
        """The one used longest ago, of the episode that has most."""
        counts = Counter(place.owner for place in self._places.values())
        idle = [(worker, place) for worker, place in self._places.items() if place.can_go]
        if not idle:
            return False
        worker, _ = max(idle, key=lambda entry: (counts[entry[1].owner], -entry[1].used))
        worker.kill()
        del self._places[worker]
        return True

    def _look(self, worker: WorkerProcess, place: _Place) -> None:
        """What the process holds; where all hold too much, the idle ones of whoever holds most are ended."""
        held = resident_bytes(worker.pid)
        if place.pid != worker.pid:
            place.pid, place.began_with = worker.pid, worker.began_with
        place.bytes, place.unseen = max(0, held - place.began_with), 0.0
        while sum(other.bytes for other in self._places.values()) > self._limits.process_bytes:
            if not self._end_largest():
                break

    def _end_largest(self) -> bool:
        held: Counter[int] = Counter()
        for place in self._places.values():
            held[place.owner] += place.bytes
        idle = [(worker, place) for worker, place in self._places.items() if not place.busy and place.bytes]
        if not idle:
            return False
        worker, place = max(idle, key=lambda entry: (held[entry[1].owner], entry[1].bytes))
        worker.kill()
        place.bytes = 0
        if place.tenant.keeps_state:
            most = self._limits.process_bytes
            place.tenant.lose_state(f"not run, because the episode's state held most of the {most:,} bytes there are")
        return True
