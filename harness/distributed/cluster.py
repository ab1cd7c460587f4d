"""A Ray cluster for the time of one command: one that is there, or one that is started here and ends with the command.

Ray listens on every address of a machine and takes whoever reaches it for a friend. What is started here lets nobody
in without a token, which its own processes have in their environment; it has no dashboard and reports no usage.
A cluster of several machines belongs into a network of one's own (docs/scaling.md).

Left out: ray:// addresses, by which a laptop drives a cluster that it is no part of; machines that join later.
"""

from __future__ import annotations

import importlib
import logging
import os
import secrets
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from harness.distributed.sealed_keys import SealedKeys, seal_keys
from harness.errors import HarnessError, UsageError
from harness.extras import install_command

LOCAL, AUTO = "local", "auto"
PATIENCE = 10.0
"""Seconds that the address of a cluster has to answer."""
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray's variables: no reports of usage, no advice about a future default."""


@dataclass(frozen=True)
class Machine:
    """What Ray may use of one machine."""

    node: str
    cpus: int
    gpus: int


@dataclass(frozen=True)
class Cluster:
    """A cluster that is connected to. `ray` is the module, `keys` the variables that a person lets travel."""

    ray: Any
    keys: SealedKeys

    @property
    def machines(self) -> list[Machine]:
        """Those that are alive."""
        found = [node for node in self.ray.nodes() if node["Alive"]]
        return [
            Machine(node["NodeID"], int(node["Resources"].get("CPU", 0)), int(node["Resources"].get("GPU", 0)))
            for node in found
        ]

    @property
    def lost(self) -> tuple[type[Exception], ...]:
        """What Ray raises where a process or its machine is gone, and what it made with it."""
        errors = self.ray.exceptions
        return (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError, errors.OutOfMemoryError)

    @property
    def runtime_env(self) -> dict[str, Any]:
        """For what reads keys: the variables beside those that its machine has, as nobody can read them."""
        return {"env_vars": dict(self.keys.variables)} if self.keys.variables else {}

    def beside_us(self) -> Any:
        """Ray's strategy for what belongs on the machine of this command."""
        here = self.ray.get_runtime_context().get_node_id()
        return importlib.import_module("ray.util.scheduling_strategies").NodeAffinitySchedulingStrategy(
            here, soft=False
        )


@contextmanager
def connect(address: str, keys: Sequence[str] = ()) -> Iterator[Cluster]:
    """The cluster at an address, or one of this machine's cores (`local`). `keys`: variables that its processes get.
    Raises UsageError where Ray is not installed or the cluster not there, and for a variable that is not set."""
    sealed = seal_keys(keys, os.environ)
    if address == LOCAL and "ray" not in sys.modules and "RAY_AUTH_MODE" not in os.environ:
        os.environ.update({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)})  # read at the import
    ray = import_ray()
    _check_address(address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    try:
        if address == LOCAL:
            ray.init(address=LOCAL, include_dashboard=False, num_cpus=len(os.sched_getaffinity(0)), **quiet)
        else:
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        said = " ".join(str(error).split())
        raise UsageError(f"--ray {address}: there is no cluster to work on: {said}") from None
    try:
        yield Cluster(ray, sealed)
    finally:
        ray.shutdown()


def connect_if(address: str | None) -> AbstractContextManager[Cluster | None]:
    """The cluster of an option --ray, None where it was not given."""
    return nullcontext() if address is None else connect(address)


def _check_address(address: str) -> None:
    """Raises UsageError where nobody listens: Ray would try for minutes."""
    if "://" in address:
        raise UsageError(f"--ray {address}: run the command on a machine of the cluster, with --ray auto.")
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise UsageError(f"--ray {address} is none of {LOCAL}, {AUTO} and HOST:PORT.")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise UsageError(f"--ray {address}: nobody answers there ({error}).") from None


def import_ray() -> Any:
    """Ray's module. Raises UsageError where it is not installed."""
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise UsageError(f"--ray needs the ray extra: {install_command('ray')}.") from None


def cause_of(error: Exception) -> Exception:
    """What another process raised, as if it had been raised here: Ray adds that process's traceback to the text."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return cause
    return HarnessError(f"Ray: {' '.join(str(error).split())[:300]}")
