"""Ray as far as a crew needs it, within this process: actors are objects, their methods tasks of the event loop.

    cluster = fake_cluster(cores=2)
    cluster.ray.lose_after(3)          # who is asked for the fourth episode is gone, and all it plays

Left out: everything that makes Ray what it is. tests/real_ray has the real one.
"""

from __future__ import annotations

import asyncio
import pickle
from types import SimpleNamespace
from typing import Any

from harness.distributed.cluster import Cluster
from harness.distributed.sealed_keys import SealedKeys


class ActorLost(Exception):
    """As ray.exceptions.RayActorError."""


class ActorError(Exception):
    """As ray.exceptions.RayTaskError: `cause` is what the actor raised."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("a traceback of another process")
        self.cause = cause


class FakeRay:
    """What stands for the module. `actors` are all that were ever started, `sent` all that they were sent."""

    def __init__(self, cores: int) -> None:
        self.exceptions = SimpleNamespace(
            RayActorError=ActorLost, ObjectLostError=ActorLost, WorkerCrashedError=ActorLost, OutOfMemoryError=ActorLost
        )
        self.actors: list[FakeActor] = []
        self.sent: list[bytes] = []
        self._node = {"Alive": True, "NodeID": "one", "Resources": {"CPU": float(cores)}}
        self._episodes_until_loss: list[int] = []

    def nodes(self) -> list[dict[str, Any]]:
        return [self._node]

    def remote(self, kind: type) -> FakeClass:
        return FakeClass(self, kind)

    def kill(self, actor: FakeActor) -> None:
        actor.lose()

    def wait(self, waiting: list[Any], **_: object) -> None:
        for one in waiting:
            one.close()  # nobody awaits a farewell here

    def lose_after(self, *episodes: int) -> None:
        """Each number is one loss: of the actor that is then asked, so many episodes after the loss before."""
        self._episodes_until_loss = list(episodes)

    def is_lost_now(self) -> bool:
        if not self._episodes_until_loss:
            return False
        self._episodes_until_loss[0] -= 1
        if self._episodes_until_loss[0] >= 0:
            return False
        del self._episodes_until_loss[0]
        return True


class FakeClass:
    def __init__(self, ray: FakeRay, kind: type) -> None:
        self._ray, self._kind = ray, kind

    def options(self, **_: object) -> FakeClass:
        return self

    def remote(self) -> FakeActor:
        actor = FakeActor(self._ray, self._kind())
        self._ray.actors.append(actor)
        return actor


class FakeActor:
    """A handle; what its methods are sent goes through pickle, as it would to another process."""

    def __init__(self, ray: FakeRay, member: Any) -> None:
        self._ray, self.member = ray, member
        self._running: set[asyncio.Task[Any]] = set()
        self.lost = False
        self.prepare, self.play, self.close = (self._method(name) for name in ("prepare", "play", "close"))

    def lose(self) -> None:
        self.lost = True
        for task in self._running:
            task.cancel()
        if (sandbox := getattr(self.member, "_sandbox", None)) is not None:
            sandbox.close()

    def _method(self, name: str) -> SimpleNamespace:
        async def call(sent: bytes) -> Any:
            if self.lost or (name == "play" and self._ray.is_lost_now()):
                self.lose()
                raise ActorLost
            task = asyncio.ensure_future(getattr(self.member, name)(*pickle.loads(sent)))
            self._running.add(task)
            try:
                return pickle.loads(pickle.dumps(await task))
            except asyncio.CancelledError:
                if self.lost:
                    raise ActorLost from None
                raise
            except Exception as error:
                raise ActorError(pickle.loads(pickle.dumps(error))) from None
            finally:
                self._running.discard(task)

        def remote(*args: Any) -> Any:
            sent = pickle.dumps(args)
            self._ray.sent.append(sent)
            return call(sent)

        return SimpleNamespace(remote=remote)


def fake_cluster(cores: int = 2) -> Cluster:
    return Cluster(FakeRay(cores), SealedKeys())
