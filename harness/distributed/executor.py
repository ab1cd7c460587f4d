"""Plain functions on the cores of a cluster, behind the interface of concurrent.futures.

A function travels by its name, and the process that runs it is prepared once. What a lost machine was running is run
again by Ray, so only functions may be given that come to the same however often they run.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from harness.distributed.cluster import Cluster, cause_of

Given = ParamSpec("Given")
Made = TypeVar("Made")


def _nothing() -> None:
    """What most functions need to be prepared."""


_prepared: set[Callable[[], None]] = set()


class ClusterExecutor(Executor):
    """`prepare` is called once in each process, before the first function."""

    def __init__(self, cluster: Cluster, prepare: Callable[[], None] = _nothing) -> None:
        self._cluster = cluster
        self._prepare = prepare
        self._remote = cluster.ray.remote(num_cpus=1, max_retries=-1)(run_prepared)

    @property
    def width(self) -> int:
        """How many functions run at once."""
        return max(1, sum(machine.cpus for machine in self._cluster.machines))

    def submit(self, fn: Callable[Given, Made], /, *args: Given.args, **kwargs: Given.kwargs) -> Future[Made]:
        theirs = self._remote.remote(self._prepare, fn, args, kwargs).future()
        ours: Future[Made] = Future()
        theirs.add_done_callback(lambda done: _pass_on(done, ours))
        return ours

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to end: the processes are Ray's."""


def run_prepared(prepare: Callable[[], None], fn: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """In a process of the cluster."""
    if prepare not in _prepared:
        prepare()
        _prepared.add(prepare)
    return fn(*args, **kwargs)


def _pass_on(done: Future[Made], ours: Future[Made]) -> None:
    try:
        ours.set_result(done.result())
    except Exception as error:
        ours.set_exception(cause_of(error))
