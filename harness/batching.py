"""Many episodes at once: the one loop of evaluation and training, and models that answer many requests together.

A local network is fast in batches. Episodes run as they do beside an endpoint (`harness.rollout.play_episode_async`);
here their requests wait until every live episode has one, and are answered together. When an episode ends, the next
takes its place in the following batch, so the batch stays full until the episodes run out. A model may answer some of
a batch and go on with the others in the next, so that one long reply does not hold up everybody.

Left out: splitting a batch by length or memory, which the model does, because it knows its memory.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from enum import Enum
from operator import itemgetter
from typing import TypeVar

from harness.data.schema import Record
from harness.errors import HarnessError, ModelFailure
from harness.types import Model, ModelRequest, Reply, RunKey, Sample, Task

Item = TypeVar("Item")
Played = TypeVar("Played")


class Unfinished(Enum):
    """Said of a request that was not answered yet and is to be asked again; what was generated of its reply is kept."""

    UNFINISHED = "unfinished"


UNFINISHED = Unfinished.UNFINISHED


class BatchModel(Model):
    """A model that answers at most `width` requests at once."""

    width: int
    patience: float | None = None
    """Seconds that UNFINISHED requests wait for those of the other live episodes, whose tools or users may be slow;
    None: until all are there, so that who is in a batch does not depend on time."""

    @abstractmethod
    def batch(self, requests: Sequence[ModelRequest]) -> list[Reply | ModelFailure]:
        """One Reply or ModelFailure a request, in their order."""

    def advance(self, requests: Sequence[ModelRequest]) -> Sequence[Reply | ModelFailure | Unfinished]:
        """As `batch`, for a caller that comes again, with others, for those that are UNFINISHED: never all of them."""
        return self.batch(requests)

    def __call__(self, request: ModelRequest) -> Reply | Awaitable[Reply]:
        """One request alone."""
        (said,) = self.batch([request])
        if isinstance(said, ModelFailure):
            raise said
        return said


class FarModel(Model):
    """A model whose whole episodes are played by other processes, each with a sandbox of its own; here it only has its
    name, and what a run asks of it. Belongs to one event loop from its first episode until `aclose`."""

    at_once: int
    """How many episodes all of them play together."""

    @abstractmethod
    def begin(self, accepted: bool) -> None:
        """Called in the event loop of a run before its first episode. `accepted`: the model's endpoint has replied
        before, in an earlier part of the run."""

    @abstractmethod
    async def play(self, task: Task, sample: Sample, key: RunKey) -> Record:
        """One episode, as its record. Raises HarnessError as playing it here does."""

    @property
    @abstractmethod
    def undecided(self) -> bool:
        """Whether episodes have failed, and its endpoint has accepted no request yet."""

    @abstractmethod
    def check_accepted(self) -> None:
        """Raises NothingAccepted where every request so far was refused."""

    def __call__(self, request: ModelRequest) -> Reply:
        raise HarnessError(f"{self.name} speaks in other processes and is not asked here.")


class Lockstep(Model):
    """The driver. Belongs to one event loop; `episode()` surrounds every episode that speaks through it."""

    def __init__(self, model: BatchModel) -> None:
        self.name, self.fingerprint = model.name, model.fingerprint
        self.width = model.width
        self._model = model
        self._live = 0
        self._waiting: list[tuple[ModelRequest, asyncio.Future[Reply]]] = []
        self._busy: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="model")

    @contextmanager
    def episode(self) -> Iterator[None]:
        """While it lasts, a batch waits for this episode's request."""
        self._live += 1
        try:
            yield
        finally:
            self._live -= 1
            self._start_soon()

    async def __call__(self, request: ModelRequest) -> Reply:
        answer: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._waiting.append((request, answer))
        self._start_soon()
        return await answer

    async def aclose(self) -> None:
        """Ends the thread; a batch that is being generated ends first, because the network may be needed again."""
        await asyncio.to_thread(self._thread.shutdown, wait=True, cancel_futures=True)

    def _start_soon(self) -> None:
        """Not at once: at the beginning of a run the other episodes have not had their turn to ask yet."""
        asyncio.get_running_loop().call_soon(self._start)

    def _start(self, hurries: bool = False) -> None:
        self._waiting = [(request, answer) for request, answer in self._waiting if not answer.done()]
        enough = hurries or len(self._waiting) >= min(self._live, self.width)
        if self._busy is None and self._waiting and enough:
            if self._timer is not None:
                self._timer.cancel()
            taken, self._waiting = self._waiting[: self.width], self._waiting[self.width :]
            self._busy = asyncio.get_running_loop().create_task(self._answer(taken))

    async def _answer(self, taken: Sequence[tuple[ModelRequest, asyncio.Future[Reply]]]) -> None:
        said: Sequence[Reply | BaseException | Unfinished]
        try:
            loop = asyncio.get_running_loop()
            said = await loop.run_in_executor(self._thread, self._together, [request for request, _ in taken])
        except Exception as error:
            said = [error] * len(taken)
        finally:
            self._busy = None
        again = []
        for (request, answer), reply in zip(taken, said, strict=True):
            if answer.done():
                continue
            if reply is UNFINISHED:
                again.append((request, answer))
                continue
            if isinstance(reply, Reply):
                answer.set_result(reply)
            else:
                answer.set_exception(reply)
        self._waiting = again + self._waiting
        if again and self._model.patience is not None:
            self._timer = asyncio.get_running_loop().call_later(self._model.patience, self._start, True)
        self._start_soon()

    def _together(self, requests: Sequence[ModelRequest]) -> Sequence[Reply | BaseException | Unfinished]:
        """The model's answers, checked: whatever else a third party's `batch` does is an error of these requests."""
        try:
            said = list(self._model.advance(requests))
        except StopIteration as error:  # a future cannot hold one
            raise RuntimeError("the model's batch raised StopIteration") from error
        known = all(isinstance(reply, Reply | ModelFailure | Unfinished) for reply in said)
        if len(said) != len(requests) or not known:
            raise TypeError(f"the model's batch must give a Reply or ModelFailure for each of {len(requests)} requests")
        if all(reply is UNFINISHED for reply in said):
            raise TypeError(f"the model's batch must finish one at least of {len(requests)} requests")
        return said


async def play_all(
    items: Iterable[Item],
    model: Model,
    play: Callable[[Item, Model], Awaitable[Played]],
    at_once: int = 1,
    others: Sequence[Model] = (),
) -> list[Played]:
    """Plays every item by `play(item, speaker)`; what that gives, in the order of `items`.

    Bounded concurrency: `at_once` workers, or as many as the model's batch is wide, take items until there are none.
    However it ends, no episode is left running, and the model and `others`, who speak too, have let go of the loop.
    """
    lockstep = Lockstep(model) if isinstance(model, BatchModel) else None
    waiting = iter(enumerate(items))
    played: dict[int, Played] = {}

    async def work() -> None:
        with lockstep.episode() if lockstep else nullcontext():
            for place, item in waiting:
                played[place] = await play(item, lockstep or model)

    workers = [asyncio.create_task(work()) for _ in range(lockstep.width if lockstep else at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        for speaker in (*([lockstep] if lockstep else []), model, *others):
            await speaker.aclose()
    return [said for _, said in sorted(played.items(), key=itemgetter(0))]
